#!/bin/sh
# The reference and the guide as HTML in build/docs/html; any warning of Doxygen is a failure.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/docs
version=$(sed -n 's/^project(spry VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
if ! { cat docs/Doxyfile && echo "PROJECT_NUMBER = $version"; } | doxygen - >build/docs/log 2>&1; then
    cat build/docs/log
    echo "docs: mend the comments named above" >&2
    exit 1
fi
echo "docs: build/docs/html/index.html"
