#!/bin/bash
# spry inspect: counts, sizes of free dimensions, what is unsupported, and the page.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

expect 0 inspect "$models/sum.onnx"
contains out "inputs"
contains out "Everything in this model can be run."
contains err "per sample"
expect 0 inspect "$models/sum.onnx" --json --nodes
json out 'd["schema"] == 1 and d["nodes"] == len(d["node_list"]) and d["unsupported"] == []'
json out 'd["batch_assumed"] and d["peak_activation_bytes"] > 0'
cp out one
expect 0 inspect "$models/sum.onnx" --json --nodes --set batch=3
json out 'not d["batch_assumed"] and d["inputs"][0]["type"] == "f32[3,2]"'

expect 2 inspect "$models/sum.onnx" --set bath=3
expect 2 inspect "$models/sum.onnx" --set batch
contains err "--set batch=8"
expect 2 inspect "$models/sum.onnx" --set batch=-1

# What is unsupported is a finding, not a failure.
expect 0 inspect "$models/unsupported.onnx" --json
json out 'len(d["unsupported"]) >= 1 and d["unsupported"][0]["where"]'

# The page: one file, not replaced unless asked.
expect 0 inspect "$models/sum.onnx" --html page.html
[ -s page.html ] || fail "no page"
contains page.html "<svg"
lacks page.html "src="
expect 2 inspect "$models/sum.onnx" --html page.html
contains err "--force"
expect 0 inspect "$models/sum.onnx" --html page.html --force
expect 3 inspect "$tests/inspect.sh"
expect 6 inspect missing.onnx
