#!/bin/bash
# What attention heads look at: spry inspect --heads.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
for i in $(seq 40); do
    printf 'The old bridge of Rollo was built in 1204 by the Normans, in stone. '
    printf 'The new bridge was opened in June 1875, and the old one stood for %d years. ' "$i"
done >text.txt
bert=(inspect "$models/reader_bert.onnx" --heads --vocab "$models/reader_vocab.txt")

# A table, JSON with the same numbers, and a page that says them too.
expect 0 "${bert[@]}" --text text.txt --window 32 --limit 8 --threads 1
contains out "layer  heads"
contains out "cluster"
contains out "sequences of 32 tokens"
expect 0 "${bert[@]}" --text text.txt --window 32 --limit 8 --clusters 2 --ablate --json \
    --html heads.html
json out 'd["tokens"] == 32 and d["sequences"] == 8 and not d["causal"]' \
    'len(d["heads"]) == sum(c["heads"] for c in d["cluster_list"])' \
    'all(0 <= x <= 1 for h in d["heads"] for x in h["mean"].values())' \
    'all(c["ablation"]["removed"] >= 0 for c in d["cluster_list"])' \
    'abs(sum(h["mean"]["special"] for h in d["heads"])) > 0'
contains heads.html "default-src 'none'"
contains heads.html "Layers and heads"
contains heads.html "Mean maps"
contains heads.html "What clusters do"
lacks heads.html "<script"
lacks heads.html "nan"
cp out first
expect 0 "${bert[@]}" --text text.txt --window 32 --limit 8 --clusters 2 --ablate --json --threads 2
python3 - first out <<'PY' || fail "clusters depend on the threads"
import json, sys

a, b = (json.load(open(p, encoding="utf-8")) for p in sys.argv[1:])
assert a["heads"] == b["heads"] and a["cluster_list"] == b["cluster_list"]
PY

# What cannot be done is said.
expect 2 "${bert[@]}" --text text.txt --html heads.html
contains err "--force"
expect 2 "${bert[@]}"
contains err "text"
expect 2 inspect "$models/reader_bert.onnx" --heads --text text.txt
contains err "vocab"
expect 2 inspect "$models/reader_bert.onnx" --limit 3
contains err "--heads"
expect 2 "${bert[@]}" --text text.txt --nodes
printf 'Stone.\n' >short.txt
expect 2 "${bert[@]}" --text short.txt
contains err "8"
: >empty.txt
expect 2 "${bert[@]}" --text empty.txt
printf 'bridge \377\376 stone\n' >bytes.txt
expect 3 "${bert[@]}" --text bytes.txt
contains err "UTF-8"
expect 2 "${bert[@]}" --text text.txt --window 5
expect 6 "${bert[@]}" --text absent.txt
expect 4 inspect "$models/reader.onnx" --heads --text text.txt --vocab "$models/reader_vocab.txt"
contains err "no attention between tokens"
expect 2 inspect "$models/sum.onnx" --heads --text text.txt --vocab "$models/reader_vocab.txt"
