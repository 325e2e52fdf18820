#!/bin/bash
# spry sparsify: zeros at once and while learning, what is told, and what is refused.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

test_data="npz:$SPRY_SOURCE_DIR/examples/glyphs/test.npz"
expect 0 new lenet -o base.onnx --image 28x28x1 --classes 62 --units 16
sum=$(sha256sum base.onnx)

# Every method makes as many zeros as were asked for, in a model that runs.
for method in lanes magnitude panel block filter; do
    expect 0 sparsify base.onnx -o "$method.onnx" -m "$method" --ratio 0.6 --no-bench --json \
        --report "$method.json"
    json out "d['method'] == '$method' and d['output'] == '$method.onnx'" \
        'abs(sum(l["zeros"] for l in d["layers"]) / sum(l["weights"] for l in d["layers"]) - 0.6) < 0.03' \
        'd["layers"][0]["zeros"] < 3 and d["layers"][-1]["zeros"] < 3'
    json "$method.json" 'd["layers"]'
    expect 0 run "$method.onnx" --json
done
[ "$(sha256sum base.onnx)" = "$sum" ] || fail "the base was changed"
expect 0 sparsify base.onnx -o nm.onnx -m nm --pattern 1:4 --no-bench
contains out "75.0"
expect 0 sparsify base.onnx -o again.onnx -m lanes --ratio 0.6 --no-bench -q
cmp lanes.onnx again.onnx || fail "the same command made another file"

# Text, with latencies and accuracies.
expect 0 sparsify base.onnx -o told.onnx --validate "$test_data" --preprocess unit --threads 1
contains out "times as fast"
contains out "top-1"
contains out "wrote told.onnx"

# While it learns.
glyphs=(--data "$test_data" --preprocess unit --batch 16 --steps 12 --threads 1 --no-bench -q)
expect 0 sparsify base.onnx -o learnt.onnx --ratio 0.7 "${glyphs[@]}" --grow-steps 2 --json
json out 'abs(sum(l["zeros"] for l in d["layers"]) / sum(l["weights"] for l in d["layers"]) - 0.7) < 0.03'
expect 0 sparsify base.onnx -o once.onnx --ratio 0.7 "${glyphs[@]}" --grow 0:0 --distill-only

# A plan for speed: foretold, chosen, measured.
expect 0 sparsify base.onnx -o plan.onnx --target-speedup 1 --ratio 0.5 --threads 1 --no-bench --json
json out 'sum(l["zeros"] for l in d["layers"]) / sum(l["weights"] for l in d["layers"]) >= 0.49'
expect 1 sparsify base.onnx -o no.onnx --target-speedup 500 --threads 1
contains err "is the most"
[ ! -e no.onnx ] || fail "written without being as fast"

# Refused.
expect 2 sparsify base.onnx
contains err "--output"
expect 2 sparsify base.onnx -o lanes.onnx
contains err "--force"
expect 2 sparsify base.onnx -o no.onnx --pattern four
expect 2 sparsify base.onnx -o no.onnx --exclude 'no such*'
expect 2 sparsify base.onnx -o no.onnx --exclude '*'
expect 2 sparsify base.onnx -o no.onnx "${glyphs[@]}" --grow 1:0
expect 2 sparsify base.onnx -o no.onnx "${glyphs[@]}" --best --validate "$test_data"
contains err "fewer zeros"
[ ! -e no.onnx ] || fail "written in spite of an error"
