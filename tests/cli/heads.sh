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

# ---- heads that look at few keys ----
policy=(adapt "$models/reader_bert.onnx" --method head-policy --vocab "$models/reader_vocab.txt")
expect 0 "${policy[@]}" -o few.onnx --text text.txt --window 48 --limit 6 --epsilon 0.6 --cosine 0
contains out "method      head-policy"
contains out "look at few keys, for sequences of 48 tokens"
expect 0 "${policy[@]}" -o few.onnx --force --text text.txt --window 48 --limit 6 --epsilon 0.6 \
    --cosine 0 --json
json out 'd["method"] == "head-policy" and d["tokens"] == 48 and d["dense"] < len(d["heads"])' \
    'all(h["mode"] == "dense" or h["before"] >= 0 for h in d["heads"])' \
    'all(h["kept"] >= 0.4 for h in d["heads"])'
expect 0 inspect few.onnx
contains out "ai.spry 1"
contains out "HeadPolicy"
expect 0 inspect few.onnx --heads --text text.txt --vocab "$models/reader_vocab.txt" --window 32
# What must not change at all looks at everything: the model stays as it is.
expect 0 "${policy[@]}" -o all.onnx --text text.txt --window 32 --limit 4 --cosine 1 --epsilon 0.9
contains out " 0 of "
expect 0 inspect all.onnx
lacks out "HeadPolicy"
expect 4 adapt few.onnx -o again.onnx --method head-policy --text text.txt --epsilon 0.6 --cosine 0 \
    --vocab "$models/reader_vocab.txt" --window 48
contains err "policies already"
[ ! -e again.onnx ] || fail "a refused run left a model"
expect 2 "${policy[@]}" -o few.onnx --text text.txt
contains err "--force"
expect 2 "${policy[@]}" -o x.onnx
contains err "text"
expect 2 "${policy[@]}" -o x.safetensors --text text.txt
expect 2 "${policy[@]}" -o x.onnx --text short.txt
expect 2 "${policy[@]}" -o x.onnx --text text.txt --classes 3
contains err "trains nothing"
expect 2 "${policy[@]}" -o x.onnx --text text.txt --epsilon 1
