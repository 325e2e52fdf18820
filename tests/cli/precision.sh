#!/bin/bash
# --precision: bf16 answers like f32, int8 is for quantized models. The trained models classify a few
# hundred pictures, with SPRY_TEST_LONG=1 all 10,000 (some minutes): top-1 may move by 0.2 points.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

expect 4 run "$models/points.onnx" --precision int8
contains err "quantize the model first"
expect 2 run "$models/points.onnx" --precision f16
expect 0 run "$models/points.onnx" --precision bf16

data=${SPRY_DATA:-}
if [ ! -d "$data/cifar10" ]; then
    echo "skipped the rest: no data"
    exit 0
fi
limit=300
points=1.4 # four pictures of 300, which may all lie on the edge
if [ "${SPRY_TEST_LONG:-}" = 1 ]; then
    limit=0
    points=0.2
fi
for pair in resnet/resnet20:imagenet vit/vit_d64_preln:unit vit/vit_d128_postln:cifar; do
    for precision in f32 bf16; do
        expect 0 evaluate "$data/cifar10-${pair%:*}.onnx" --precision $precision --json \
            --data "cifar10:$data/cifar10/test_batch.bin" --preprocess "${pair#*:}" --limit $limit
        cp out $precision.json
    done
    python3 - "$pair" $points <<'PY' || fail "bf16 moved the top-1 of $pair"
import json, sys
exact, rounded = (100 * json.load(open(name + ".json"))["top1"] for name in ("f32", "bf16"))
print("%s: top-1 %.2f %% in f32, %.2f %% in bf16" % (sys.argv[1], exact, rounded))
sys.exit(abs(exact - rounded) > float(sys.argv[2]))
PY
done
