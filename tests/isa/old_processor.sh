#!/bin/bash
# The program that was built here runs on processors that lack what this one has: under QEMU's model
# of an x86-64-v2 processor and of one with AVX2, a model gives the answer that it gives here.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
if [ "$(uname -m)" != x86_64 ] || ! command -v qemu-x86_64 >/dev/null; then
    echo "skipped: no qemu-x86_64 (qemu-user)"
    exit 77
fi
glyphs=$SPRY_SOURCE_DIR/examples/glyphs
input=(-i "$glyphs/samples/r.png" --preprocess unit)

expect 0 run "$glyphs/glyphs.onnx" "${input[@]}" -o native

# check PROCESSOR LEVEL: the level is chosen, the answer is that of here, bit by bit where this
# machine is told to use that level too.
check() {
    qemu-x86_64 -cpu "$1" "$spry" doctor --json >out 2>err || fail "doctor stops on $1"
    json out "d['isa']['level'] == '$2'"
    qemu-x86_64 -cpu "$1" "$spry" run "$glyphs/glyphs.onnx" "${input[@]}" -o "$1" >out 2>err ||
        fail "run stops on $1"
    SPRY_ISA=$2 expect 0 run "$glyphs/glyphs.onnx" "${input[@]}" -o "forced-$2"
    for result in "forced-$2"/*.npy; do
        cmp "$result" "$1/$(basename "$result")" || fail "$1 computes other bits"
    done
    qemu-x86_64 -cpu "$1" "$spry" compare "$glyphs/glyphs.onnx" native "${input[@]}" \
        --tolerance 1e-5 >out 2>err || fail "$1 computes something else"
}
check Nehalem generic
if qemu-x86_64 -cpu Haswell "$spry" doctor --json >out 2>err &&
    grep -q '"level": "avx2"' out && grep -q ' avx2 ' /proc/cpuinfo; then
    check Haswell avx2 # QEMU knows AVX2 from version 7.2 on
fi
