#!/bin/bash
# The beginning of `make demo-train`: the same bits with one thread and with two, and it learns.
set -euo pipefail
[ -n "${SPRY_BINARY:-}" ] || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
train() {
    bash "$SPRY_SOURCE_DIR/tools/demo-train.sh" "$SPRY_BINARY" "$folder/$1" 1 --quiet "${@:2}"
}
train one --steps 6 --threads 1 >/dev/null
train two --steps 6 --threads 2 >/dev/null
cmp "$folder/one/trained.onnx" "$folder/two/trained.onnx"
train all --steps 96 >"$folder/out"
right=$(sed -n 's/^top-1 *\([0-9]*\)\..*/\1/p' "$folder/out")
# Guessing would be right in 3 of 100.
[ "${right:-0}" -ge 15 ] || { cat "$folder/out"; exit 1; }
