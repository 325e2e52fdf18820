#!/bin/bash
# spry tune: plans that run with the same results, and what is refused.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

export XDG_CACHE_HOME=$work/cache
expect 0 new small-cnn -o model.onnx --quiet
expect 0 tune model.onnx -o foretold.plan --budget 0s --strategy dp --threads 2 --json
contains err "was not calibrated"
json out 'd["command"] == "tune" and d["strategy"] == "s7" and d["threads"] == 2 and d["is_guessed"]' \
    'd["measured_ms"] == 0 and d["tried"] == 0 and d["predicted_ms"] > 0' \
    'sum(len(r["layers"]) for r in d["rows"]) > 4'
json foretold.plan 'd["spry_plan"] == 1 and d["threads"] == 2 and d["model"] == "model.onnx"' \
    'len(d["model_sha256"]) == 64 and d["inputs"][0]["shape"] == [1, 1, 32, 32]'
mkdir -p cache/spry
echo '{"cpu": {"threads": 1}}' >cache/spry/cpu.json # of an older Spry
expect 0 tune model.onnx -o blocks.plan --budget 0s --strategy s5 --threads 1
contains out "nothing was measured"
json blocks.plan 'any(len(b["layers"]) > 1 for b in d["blocks"])'
expect 0 tune model.onnx -o measured.plan --budget 200ms --compare --threads 1
contains out "ms with the plan"
contains out "DLFusion"
json measured.plan '0 < d["measured_ms"] <= d["unfused_ms"]'

# Results are the same bits.
expect 0 run model.onnx --threads 1 --quiet --output plain
for plan in blocks measured; do
    expect 0 run model.onnx --plan $plan.plan --quiet --output $plan
    for file in plain/*; do
        cmp "$file" "$plan/${file##*/}" || fail "$plan changes the result"
    done
done
expect 0 bench model.onnx --plan blocks.plan --runs 5 --explain --json
contains out '"type": "Block"'

# What does not fit is refused, and the remedy named.
expect 2 tune model.onnx -o blocks.plan --budget 0s
expect 2 tune model.onnx --budget 10
expect 2 tune model.onnx --budget fast
expect 2 tune model.onnx --strategy best
expect 2 tune model.onnx --target v200
expect 2 run model.onnx --plan blocks.plan --threads 2
contains err "was made for 1 threads"
expect 2 run model.onnx --plan blocks.plan --precision bf16
expect 6 run model.onnx --plan nowhere.plan
expect 0 new small-cnn -o other.onnx --quiet --seed 1
expect 3 run other.onnx --plan blocks.plan
contains err "other content"
contains err "spry tune"
sed 's/"machine": "[^"]*"/"machine": "a processor of old"/' blocks.plan >foreign.plan
expect 3 run model.onnx --plan foreign.plan
contains err "another machine"
sed 's/"spry_plan": 1/"spry_plan": 7/' blocks.plan >newer.plan
expect 3 run model.onnx --plan newer.plan
contains err "newer Spry"
head -c 900 blocks.plan >cut.plan
expect 3 run model.onnx --plan cut.plan
contains err "cut.plan:"
contains err "spry tune"
python3 - <<'PY'
import json
d = json.load(open("blocks.plan"))
d["blocks"][0]["layers"][0] = "nobody"
json.dump(d, open("unknown.plan", "w"))
PY
expect 3 run model.onnx --plan unknown.plan
contains err "unknown.plan: blocks[0].layers[0]"
