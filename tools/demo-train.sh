#!/bin/sh
# What `make demo-train` does: a network that knows nothing learns to read single characters from the
# pictures of this repository, and is asked about fonts that it has never seen.
#   tools/demo-train.sh PROGRAM [FOLDER [EPOCHS [OPTION...]]]
# FOLDER receives fresh.onnx and trained.onnx; OPTION goes to `spry train`.
set -eu
cd "$(dirname "$0")/.."
spry=${1:-build/release/spry}
folder=${2:-build/demo}
epochs=${3:-16}
[ $# -le 3 ] && shift $# || shift 3
glyphs=examples/glyphs
recipe="--preprocess unit --augment crop:2,invert:1,jitter:0.6,invert,noise:10 --batch 128 --optimizer adamw
    --lr 0.004 --schedule one-cycle --weight-decay 0.02 --label-smoothing 0.05 --seed 1"

mkdir -p "$folder"
"$spry" new small-cnn -o "$folder/fresh.onnx" --seed 1 --force
# shellcheck disable=SC2086
"$spry" train "$folder/fresh.onnx" -o "$folder/trained.onnx" --data npz:$glyphs/train.npz $recipe \
    --epochs "$epochs" --force "$@"
echo
echo "In fonts that it has never seen:"
"$spry" evaluate "$folder/trained.onnx" --data npz:$glyphs/test.npz --preprocess unit --quiet
