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
