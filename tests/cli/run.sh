#!/bin/bash
# spry run: inputs from files and random numbers, outputs as files.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

# 1 2 and 10 -20 as bare 32-bit floats.
printf '\0\0\200\077\0\0\0\100' >a.bin
printf '\0\0\040\101\0\0\240\301' >b.raw
expect 0 run "$models/sum.onnx" -i a=a.bin --input=b=b.raw -o first
contains out "first/a_sum.npy"
contains out "positive"
[ "$(floats first/a_sum.npy 2)" = "11 -18" ] || fail "1 2 + 10 -20 is $(floats first/a_sum.npy 2)"
[ "$(floats first/positive.npy 2)" = "11 0" ] || fail "rectified: $(floats first/positive.npy 2)"
lacks err random

# Nothing is replaced unless asked; what is there stays.
before=$(sha256sum first/*)
expect 2 run "$models/sum.onnx" -o first
contains err "--force"
[ "$before" = "$(sha256sum first/*)" ] || fail "files changed"
expect 0 run "$models/sum.onnx" -i a=first/a_sum.npy -i b=first/a_sum.npy -o first --force
[ "$(floats first/a_sum.npy 2)" = "22 -36" ] || fail "not replaced"
[ -z "$(find first -name '.*' -type f)" ] || fail "temporary files stay"

# Random inputs: the same for a seed, different for others, and said.
expect 0 run "$models/sum.onnx" -o seed0
contains err "input a is random, seed 0"
contains err "dimension batch is taken as 1"
expect 0 run "$models/sum.onnx" -o again
cmp -s seed0/a_sum.npy again/a_sum.npy || fail "seed 0 gave two results"
expect 0 run "$models/sum.onnx" -o seed1 --seed 1
! cmp -s seed0/a_sum.npy seed1/a_sum.npy || fail "seeds 0 and 1 gave one result"

# Open dimensions: bound by an option, by an input, or 1.
expect 0 run "$models/sum.onnx" --set batch=3 -o three --json
json out 'd["outputs"][0]["shape"] == [3, 2] and d["inputs"][0]["random"]'
expect 0 run "$models/sum.onnx" -i a=three/a_sum.npy --json
json out 'd["inputs"][1]["shape"] == [3, 2] and not d["inputs"][0]["random"]'
expect 2 run "$models/sum.onnx" --set bath=3
contains err "its open dimensions are: batch"
for word in batch batch= =3 batch=x batch=-1 batch=99999999999; do
    expect 2 run "$models/sum.onnx" --set "$word"
done

# Integer inputs are valid token numbers, masks are ones.
expect 0 run "$models/words.onnx" --set tokens=50 --json
json out '0 <= d["outputs"][0]["min"] and 10 < d["outputs"][0]["max"] < 100'

# What NumPy's files cannot hold is narrowed on the way in.
expect 0 run "$models/narrow.onnx" -i seed0/a_sum.npy --json
json out 'd["inputs"][0]["type"] == "bf16" and d["outputs"][0]["type"] == "bf16"'

# Sequences become one file per item.
printf '\0\0\200\077\0\0\0\100\0\0\100\100' >three.bin
expect 0 run "$models/pieces.onnx" -i three.bin -o pieces
[ "$(floats pieces/parts.2.npy 1)" = 3 ] || fail "the third item is $(floats pieces/parts.2.npy 1)"
expect 2 run "$models/pieces.onnx" -i three.bin -o pieces
contains err "parts.0.npy"

# Pictures through a recipe, with names of classes: letters that the example model knows.
glyphs=$SPRY_SOURCE_DIR/examples/glyphs
for sample in 7:7 a:A r:R; do
    expect 0 run "$glyphs/glyphs.onnx" -i "$glyphs/samples/${sample%:*}.png" --preprocess unit \
        --labels "$glyphs/classes.txt" --json
    json out "d['outputs'][0]['top'][0]['label'] == '${sample#*:}'"
done

# Mistakes with inputs.
expect 2 run "$models/sum.onnx" -i c=a.bin
contains err "no input of this name"
expect 2 run "$models/sum.onnx" -i a.bin
contains err "NAME=FILE"
expect 6 run "$models/sum.onnx" -i a=missing.npy
expect 3 run "$models/sum.onnx" -i a="$models/make.py" -i b=b.raw
printf 'x' >short.bin
expect 3 run "$models/sum.onnx" -i a=short.bin
expect 2 run "$models/sum.onnx" --preprocess sepia
# Two inputs that disagree about the size of an open dimension.
expect 2 run "$models/sum.onnx" -i a=three/a_sum.npy -i b=seed0/a_sum.npy
contains err "f32[3,2]"

# Where outputs cannot be written.
expect 6 run "$models/sum.onnx" -o /proc/nowhere
touch file
expect 6 run "$models/sum.onnx" -o file

# A timeline, which is not overwritten either.
expect 0 run "$models/sum.onnx" --trace trace.json
json trace.json 'sum(e["ph"] == "X" for e in d["traceEvents"]) == 2'
expect 2 run "$models/sum.onnx" --trace trace.json
expect 0 run "$models/sum.onnx" --trace trace.json --force --repeat 3
json trace.json 'sum(e["ph"] == "X" for e in d["traceEvents"]) == 6'
