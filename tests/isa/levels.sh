#!/bin/bash
# A whole model gives the same answer at every level of instructions that this machine has.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
glyphs=$SPRY_SOURCE_DIR/examples/glyphs
input=(-i "$glyphs/samples/r.png" --preprocess unit)

expect 0 run "$glyphs/glyphs.onnx" "${input[@]}" -o native
for level in generic avx2 avx512 avx512vnni amx; do
    export SPRY_ISA=$level
    # Additions in another order differ in the last bits.
    expect 0 compare "$glyphs/glyphs.onnx" native "${input[@]}" --tolerance 1e-5
    expect 0 bench "$glyphs/glyphs.onnx" --runs 2 --json
    case $level in
    generic) json out 'not any("__a" in o["kernel"] for o in d["ops"])' ;;
    avx2) json out 'not any("avx512" in o["kernel"] or "amx" in o["kernel"] for o in d["ops"])' ;;
    esac
done
