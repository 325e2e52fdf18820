#!/bin/sh
# Builds presets and runs all their tests as one CTest run: tools/test.sh JOBS PRESET... [-- OPTIONS]
# One run means one summary: its last lines speak for every preset. OPTIONS are CTest's.
set -eu
cd "$(dirname "$0")/.."
jobs=$1
shift

suite=build/suite
mkdir -p $suite
: >$suite/CTestTestfile.cmake
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    tools/build.sh "$1" "$jobs"
    echo "subdirs(../$1)" >>$suite/CTestTestfile.cmake
    shift
done
[ $# -eq 0 ] || shift
exec ctest --test-dir $suite -j "$jobs" --output-on-failure --no-tests=error "$@"
