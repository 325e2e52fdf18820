#!/bin/bash
# spry compare: a model with itself and with its stored outputs.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

expect 0 compare "$models/sum.onnx" "$models/sum.onnx" --random 3 --layers --tolerance 0 --json
json out 'd["runs"] == 3 and d["outputs"][0]["max_abs"] == 0 and d["outputs"][0]["cosine"] == 1'
json out 'd["suspects"] == []'
expect 0 compare "$models/sum.onnx" "$models/sum.onnx"
contains out "equal"

# Against a folder: the same seed gives the same inputs, another one does not.
expect 0 run "$models/sum.onnx" -o stored --seed 5
expect 0 compare "$models/sum.onnx" stored --seed 5 --tolerance 0
expect 1 compare "$models/sum.onnx" stored --seed 6 --tolerance 0.001
contains err "differs by more than"
expect 2 compare "$models/sum.onnx" stored --layers

mkdir empty
expect 2 compare "$models/sum.onnx" empty
contains err "no counterpart"
expect 6 compare "$models/sum.onnx" missing.onnx

# A quantized model against the float one it was made of, on real samples: the operator that was
# given two bits comes first, whichever side is the quantized one.
glyphs=$SPRY_SOURCE_DIR/examples/glyphs
samples=(--data "npz:$glyphs/test.npz" --preprocess unit)
expect 0 quantize "$glyphs/glyphs.onnx" -o rough.onnx -a 8 -c "npz:$glyphs/test.npz" --samples 64 \
    --preprocess unit --no-bench --bits 'widen.pointwise*=2'
expect 0 compare "$glyphs/glyphs.onnx" rough.onnx --layers "${samples[@]}" --json
json out 'len(d["layers"]) == 20 and d["suspects"][0].startswith("widen.pointwise")'
json out '"widen.pointwise.conv" in d["look_at"]'
json out 'all(l["sqnr_db"] < 60 for l in d["layers"])'
cp out forward
expect 0 compare rough.onnx "$glyphs/glyphs.onnx" --layers "${samples[@]}" --json
python3 -c 'import json,sys; a,b = (sorted(map(str, json.load(open(f))["layers"])) for f in sys.argv[1:]); sys.exit(a != b)' \
    forward out || fail "the float model is not the reference"
expect 0 compare rough.onnx "$glyphs/glyphs.onnx" --layers "${samples[@]}"
contains err "look at Conv 'widen.pointwise.conv' first"
