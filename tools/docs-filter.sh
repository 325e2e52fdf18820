#!/bin/sh
# Doxygen reads headers through this: the house writes plain comments, Doxygen wants marked ones.
# A comment that starts a line describes what follows, one behind code what stands before it; the
# first of a file describes the file.
exec sed -e '1s|^/\* |/** @file\n * |' \
    -e 's|^\([[:space:]]*\)/\* |\1/** |' \
    -e 's|^\([[:space:]]*[^[:space:]/*].*[[:space:]]\)/\* |\1/**< |' "$1"
