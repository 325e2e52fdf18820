#!/bin/sh
# What `make bench` measures: the repository's own model always, and, where they are, the executable
# files of bench/ (each answers one question and says what it lacks). tools/bench.sh PROGRAM
set -eu
cd "$(dirname "$0")/.."
spry=${1:-build/release/spry}

echo "examples/glyphs/glyphs.onnx, one thread and all:"
$spry bench examples/glyphs/glyphs.onnx --threads 1
$spry bench examples/glyphs/glyphs.onnx
for question in bench/*; do
    [ -f "$question" ] && [ -x "$question" ] || continue
    echo
    echo "$question:"
    SPRY_BINARY=$spry "$question" || echo "$question: not measured (status $?)"
done
