#!/bin/bash
# spry quantize --mixed: bits per operator, chosen by measuring.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
glyphs=$SPRY_SOURCE_DIR/examples/glyphs
model=$glyphs/glyphs.onnx
calibrate=(-c "npz:$glyphs/test.npz" --preprocess unit --samples 32)

# Times vary; the bounds, and that the recipe repeats the choice, do not.
expect 0 quantize "$model" -o mixed.onnx --mixed --max-drop 1 "${calibrate[@]}" --trials 4 \
    --data "npz:$glyphs/test.npz" --limit 300 --save-recipe chosen.json --sensitivity --json --no-bench
json out 'd["mixed"]["met"] and len(d["mixed"]["choice"]) == 9 and len(d["sensitivity"]) == len(d["layers"])'
json out 'd["before"]["top1"] - d["after"]["top1"] <= 0.01'
json out '{l["node"]: l["bits"] for l in d["layers"]} == {c["node"]: c["bits"] for c in d["mixed"]["choice"] if c["bits"]}'
json out 'sum(t["kept"] for t in d["mixed"]["trials"]) >= 1 and len(d["mixed"]["trials"]) <= 6'
json out 'all(b[0] > b[1] and b[0] > b[2] for b in [c["bytes"] for c in d["mixed"]["choice"]])'
expect 0 quantize "$model" -o again.onnx --recipe chosen.json "${calibrate[@]}" --no-bench
cmp mixed.onnx again.onnx || fail "the recipe does not repeat the choice"
expect 0 quantize "$model" -o swift.onnx --max-ms 1000 "${calibrate[@]}" --trials 2 --no-bench -w 8
contains out "whole models tried"
expect 1 quantize "$model" -o never.onnx --max-ms 0.000001 "${calibrate[@]}" --trials 2 --no-bench
contains err "comes closest"
expect 2 quantize "$model" -o no.onnx --mixed
contains err "--max-drop POINTS or --max-ms MS"
expect 2 quantize "$model" -o no.onnx --max-ms 1
contains err "--calibrate"
expect 2 quantize "$model" -o no.onnx --save-recipe no.json
contains err "--mixed"
