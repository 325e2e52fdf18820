#!/bin/sh
# What `make demo` shows: the small network of this repository reads single characters in fonts that
# it has never seen, and says how well and how fast. tools/demo.sh PROGRAM
set -eu
cd "$(dirname "$0")/.."
spry=${1:-build/release/spry}
folder=examples/glyphs
model=$folder/glyphs.onnx

# The first number, or text, called $2 in the JSON text $1.
number() {
    printf '%s' "$1" | tr -d ' \n' | sed "s/\"$2\":/\\n/" | sed -n '2s/^\([-+.0-9eE]*\).*/\1/p'
}
text() {
    printf '%s' "$1" | tr -d ' \n' | sed "s/\"$2\":\"/\\n/" | sed -n '2s/".*//p'
}

# round DIGITS NUMBER
round() {
    awk -v digits="$1" -v number="$2" 'BEGIN { printf "%.*f", digits, number }'
}

row() {
    printf '  %-20s %-24s %s\n' "$1" "$2" "$3"
}

echo
echo "A small network reads single characters, in fonts that it has never seen:"
echo
for picture in a 7 r; do
    answer=$($spry run $model -i $folder/samples/$picture.png --preprocess unit --quiet --json \
        --labels $folder/classes.txt)
    printf '  %s/samples/%s.png   shows %s   is read as %s\n' $folder $picture \
        "$(echo $picture | tr ar AR)" "$(text "$answer" label)"
done

accuracy=$($spry evaluate $model --data npz:$folder/test.npz --preprocess unit --quiet --json)
speed=$($spry bench $model --threads 1 --quiet --json 2>/dev/null)
inside=$($spry inspect $model --quiet --json)

top1=$(number "$accuracy" top1)
count=$(number "$accuracy" count)
right=$(round 0 "$(awk -v a="$top1" -v n="$count" 'BEGIN { print a * n }')")
median=$(awk -v text="$(printf '%s' "$speed" | tr -d ' \n')" 'BEGIN {
    sub(/.*"median":/, "", text); print text + 0 }')

echo
row "What" "Result" "Which means"
row "----" "------" "-----------"
row "model file" "$(round 0 "$(($(wc -c <$model) / 1024))") KiB" \
    "an ONNX file with $(number "$inside" parameters) stored numbers"
row "work" "$(round 1 "$(awk -v m="$(number "$inside" macs)" 'BEGIN { print m / 1e6 }')") million" \
    "multiply-adds for one picture"
row "read correctly" "$right of $count, $(round 2 "$(awk -v a="$top1" 'BEGIN { print 100 * a }')") %" \
    "pictures in test.npz; guessing would give 3 %"
row "time per picture" "$(round 2 "$median") ms" "the median of $(number "$speed" runs) runs on one thread"
row "memory" "$(round 1 "$(number "$speed" peak_rss_mb)") MB" "the whole program at its largest"
row "processor" "$(text "$speed" isa)" "the instruction set that was chosen"
echo
echo "The same network with weights of fewer bits; with 8, activations are integers too:"
echo
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
printf '  %-8s %10s %16s %18s\n' bits file "read correctly" "time per picture"
for bits in 8 4 3; do
    integers=""
    [ $bits -ne 8 ] || integers="--activation-bits 8 --calibrate npz:$folder/test.npz --samples 64"
    # shellcheck disable=SC2086
    report=$($spry quantize $model -o "$scratch/w$bits.onnx" --weight-bits $bits $integers \
        --data npz:$folder/test.npz --preprocess unit --threads 1 --quiet --json 2>/dev/null) || true
    after=$(printf '%s' "$report" | tr -d ' \n' | sed 's/.*"after"://')
    [ $bits -ne 8 ] || before=$(printf '%s' "$report" | tr -d ' \n' | sed 's/.*"before"://')
    [ $bits -ne 8 ] || printf '  %-8s %6s KiB %14s %% %15s ms\n' "f32" \
        "$(($(number "$before" bytes) / 1024))" \
        "$(round 2 "$(awk -v a="$(number "$before" top1)" 'BEGIN { print 100 * a }')")" \
        "$(round 3 "$(number "$before" median_ms)")"
    printf '  %-8s %6s KiB %14s %% %15s ms\n' "$bits" "$(($(number "$after" bytes) / 1024))" \
        "$(round 2 "$(awk -v a="$(number "$after" top1)" 'BEGIN { print 100 * a }')")" \
        "$(round 3 "$(number "$after" median_ms)")"
done
echo
echo "Now your own model:"
echo
echo "  $spry inspect MODEL.onnx         what is inside, and what is unsupported"
echo "  $spry run MODEL.onnx             run it once, on random inputs without -i FILE"
echo "  $spry bench MODEL.onnx           how fast, and where the time goes"
echo "  $spry quantize MODEL.onnx -o SMALL.onnx   smaller and faster, and what it costs"
echo
echo "docs/guide/first-steps.md goes on from here."
