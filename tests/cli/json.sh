#!/bin/bash
# --json prints one document, for results and for errors; nothing else goes to stdout.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

expect 0 version --json
json out 'd["schema"] == 1 and d["version"]'
expect 0 doctor --json
json out 'd["schema"] == 1 and d["cpu"]["usable"] >= 1 and d["isa"]["level"]'
json out 'isinstance(d["findings"], list) and d["versions"]["spry"]'
expect 0 run "$models/sum.onnx" --json
json out 'd["made_by"]["model_sha256"] and d["made_by"]["seed"] == 0 and d["made_by"]["threads"] >= 1'
hash=$(sha256sum "$models/sum.onnx" | cut -d' ' -f1)
json out "d['made_by']['model_sha256'] == '$hash'"

expect 2 run --nonsense --json
empty err
json out 'd["error"]["code"] == 2 and "--nonsense" in d["error"]["where"]'
expect 2 run --json --threads
json out 'd["error"]["code"] == 2 and d["error"]["what"]'
expect 6 run --json missing.onnx
json out 'd["schema"] == 1 and d["error"]["code"] == 6 and d["error"]["name"] and d["error"]["where"] == "missing.onnx"'
expect 4 run --json "$models/unsupported.onnx"
json out 'd["error"]["code"] == 4 and "Teleport" in d["error"]["what"]'
expect 6 run --json $'quote"\\\x01\xff.onnx'
json out 'd["error"]["code"] == 6'
