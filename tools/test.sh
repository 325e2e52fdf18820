#!/bin/sh
# Builds presets and runs all their tests as one CTest run: tools/test.sh JOBS PRESET...
# One run means one summary: its last lines speak for every preset.
set -eu
cd "$(dirname "$0")/.."
jobs=$1
shift

suite=build/suite
mkdir -p $suite
: >$suite/CTestTestfile.cmake
for preset in "$@"; do
    tools/build.sh "$preset" "$jobs"
    echo "subdirs(../$preset)" >>$suite/CTestTestfile.cmake
done
exec ctest --test-dir $suite -j "$jobs" --output-on-failure --no-tests=error
