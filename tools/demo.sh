#!/bin/sh
# What `make demo` shows: the small network of this repository recognises glyphs in fonts that it
# has never seen, and says how fast. tools/demo.sh PROGRAM
set -eu
cd "$(dirname "$0")/.."
spry=${1:-build/release/spry}
model=examples/glyphs/glyphs.onnx
data=examples/glyphs/test.npz

# The number called $2 in the JSON text $1.
number() {
    printf '%s' "$1" | tr -d ' \n' | sed -n "s/.*\"$2\":\\([-+.0-9eE]*\\).*/\\1/p"
}

accuracy=$($spry evaluate $model --data npz:$data --preprocess unit --json)
speed=$($spry bench $model --threads 1 --json)

top1=$(number "$accuracy" top1)
# Fractions and percentages both read as percentages.
top1=$(awk -v v="$top1" 'BEGIN { printf "%.2f", v <= 1 ? 100 * v : v }')
size=$(du -k --apparent-size $model | cut -f1)

row() {
    printf '  %-34s %s\n' "$1" "$2"
}
echo
echo "Spry ran $model, a network that reads letters and digits:"
echo
row "model file" "$size KiB of ONNX"
row "pictures shown" "$(number "$accuracy" count), in fonts that it was not trained on"
row "read correctly" "$top1 %"
row "time for one picture" "$(number "$speed" median) ms (median, one thread)"
row "memory used" "$(number "$speed" peak_rss_mb) MB"
echo
echo "The same for your own model:"
echo "  $spry inspect MODEL.onnx"
echo "  $spry run MODEL.onnx -o out"
