#!/bin/sh
# Builds a preset: tools/build.sh PRESET [JOBS [TARGET]]. Configures only the first time (CMake
# itself notices later changes of its files and of the lists of sources), prints little.
set -eu
cd "$(dirname "$0")/.."
preset=${1:-release}
jobs=${2:-2}
target=${3:-all}

if [ ! -f "build/$preset/build.ninja" ]; then
    log=$(mktemp)
    if ! cmake --preset "$preset" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        exit 1
    fi
    rm -f "$log"
fi
cmake --build "build/$preset" -j "$jobs" --target "$target"
