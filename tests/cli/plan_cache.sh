#!/bin/bash
# --plan-cache: written once, read afterwards, by level of instructions; never in the way.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
model=$SPRY_SOURCE_DIR/examples/glyphs/glyphs.onnx

expect 0 run "$model" -t 1 -o plain
cp "$model" copy.onnx
for level in generic avx2 avx512 avx512vnni; do
    export SPRY_ISA=$level
    expect 0 run copy.onnx -t 1 -o "none-$level"
    expect 0 run copy.onnx -t 1 -o "cold-$level" --plan-cache cache -v
    expect 0 run copy.onnx -t 1 -o "warm-$level" --plan-cache cache -v
    contains err "plan cache: read: cache/"
    for file in "none-$level"/*; do
        cmp "$file" "cold-$level/${file##*/}" || fail "$level: written, and other results"
        cmp "$file" "warm-$level/${file##*/}" || fail "$level: read, and other results"
    done
done
unset SPRY_ISA
[ -z "$(find cache -name '.*' -type f)" ] || fail "temporary files stay"

# Quiet but for -v; what is damaged is ignored and written anew; evaluate and bench take it too.
expect 0 run copy.onnx -t 1 --plan-cache cache
lacks err "plan cache"
for file in cache/*.spryplan; do
    printf 'spoiled' | dd of="$file" bs=1 seek=20 conv=notrunc status=none
done
expect 0 run copy.onnx -t 1 -o spoiled --plan-cache cache -v
contains err "plan cache: ignored what was there"
contains err "written anew"
for file in plain/*; do
    cmp "$file" "spoiled/${file##*/}" || fail "spoiled, and other results"
done
expect 0 bench copy.onnx -t 1 --runs 1 --warmup 0 --plan-cache cache -v
contains err "plan cache: read"

# A folder that cannot be made is an error of its own.
: >file
expect 6 run copy.onnx --plan-cache file/inside
contains err "is not a folder"
