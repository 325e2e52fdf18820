#!/bin/bash
# Every method of `spry adapt` on models of several makes, in Spry and in ONNX Runtime.
#   adapted_models.sh PROGRAM MODEL ...
set -euo pipefail
cd "$(dirname "$0")/../.."
spry=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$spry" new vit-cifar -o "$folder/vit.onnx" --image 24x16x2 --patch 8 --units 24 --heads 3 \
    --depth 2 >/dev/null
"$spry" new small-cnn -o "$folder/cnn.onnx" >/dev/null
"$spry" new resnet50 -o "$folder/resnet.onnx" --image 40 --classes 10 >/dev/null
for model in "$folder/vit.onnx" "$folder/cnn.onnx" "$folder/resnet.onnx" "$@"; do
    name=$(basename "$model" .onnx)
    for method in lora adapter bias prompt head full lasnet; do
        "$spry" adapt "$model" -o "$folder/$name.$method.onnx" --method "$method" --classes 7 \
            --masker-bias 0.001 >/dev/null 2>&1 || echo "$name: $method does not fit"
    done
    "$spry" adapt "$model" -o "$folder/$name.block-skim.onnx" --method block-skim --block 4 \
        >/dev/null 2>&1 || echo "$name: block-skim does not fit"
    for target in linear conv; do
        "$spry" adapt "$model" -o "$folder/$name.lora-$target.onnx" --target "$target" \
            >/dev/null 2>&1 || echo "$name: lora on $target does not fit"
    done
done
"$spry" new vit-cifar -o "$folder/glyphs.onnx" --image 28x28x1 --patch 4 --units 32 --heads 2 \
    --depth 2 >/dev/null
"$spry" adapt "$folder/glyphs.onnx" -o "$folder/glyphs.energon.onnx" --method energon \
    --target-keep 0.3 --calibrate npz:examples/glyphs/test.npz --preprocess unit --limit 16 -q >/dev/null
"${PYTHON:-python3}" tests/peers/ort_agreement.py "$folder" --spry "$spry"
