#!/bin/bash
# The beginning of `make demo-train`: it learns, and the same bits with one thread and with two.
set -euo pipefail
[ -n "${SPRY_BINARY:-}" ] || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for threads in 1 2; do
    bash "$SPRY_SOURCE_DIR/tools/demo-train.sh" "$SPRY_BINARY" "$folder/$threads" 1 --steps 32 \
        --threads "$threads" >"$folder/out"
done
cmp "$folder/1/trained.onnx" "$folder/2/trained.onnx"
right=$(sed -n 's/^top-1 *\([0-9]*\)\..*/\1/p' "$folder/out")
# Guessing would be right in 3 of 100.
[ "${right:-0}" -ge 12 ] || { cat "$folder/out"; exit 1; }
