#!/bin/bash
# Questions to small models: spry ask, spry evaluate on SQuAD, spry tokenize.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
vocab=$models/reader_vocab.txt
question="When was the new bridge opened?"
printf 'The old bridge of Rollo was built in 1204 by the Normans. %s\n' \
    'The new bridge was opened in June 1875.' >bridge.txt

# ---- ask ----
for model in reader reader_joint; do
    expect 0 ask "$models/$model.onnx" --vocab "$vocab" -c bridge.txt -Q "$question"
    contains out "answer  June 1875"
    contains out "opened in [June 1875]."
done
contains out "window 2 of 2"
expect 0 ask "$models/reader.onnx" --vocab "$vocab" -c bridge.txt -Q "$question" --top 3 --json
json out 'd["answers"][0]["text"] == "June 1875"' 'd["answers"][0]["score"] == 8' \
    '[(a["begin"], a["end"]) for a in d["answers"]] == [(87, 96), (92, 96), (37, 41)]' \
    'd["context_tokens"] == 22 and d["question_tokens"] == 7 and d["windows"] == 1'
expect 0 ask "$models/reader.onnx" --vocab "$vocab" -c bridge.txt -Q "$question" --longest 1
contains out "answer  1875"
expect 0 ask "$models/reader.onnx" --vocab "$vocab" -c bridge.txt -Q "$question" --color always
contains out $'\033[1mJune 1875\033[0m'
NO_COLOR=1 expect 0 ask "$models/reader.onnx" --vocab "$vocab" -c bridge.txt -Q "$question"
lacks out $'\033'

# Narrow windows find the same answer.
for window in 11 12 16 23 40; do
    expect 0 ask "$models/reader.onnx" --vocab "$vocab" -c bridge.txt -Q "$question" \
        --window "$window" --stride 3 --json
    json out 'd["answers"][0]["text"] in ("June 1875", "1875")' 'd["windows"] >= 1'
done
printf 'Stone.\n' >stone.txt
expect 0 ask "$models/reader.onnx" --vocab "$vocab" -c stone.txt -Q "$question" --may-be-none
contains out "no answer"
expect 0 ask "$models/reader.onnx" --vocab "$vocab" -c bridge.txt -Q "$question" --may-be-none
contains out "June 1875"

# The whole path through a BERT: the spans of its logits, found here by trying all of them.
expect 0 ask "$models/reader_bert.onnx" --vocab "$vocab" -c bridge.txt -Q "$question" --top 3 --json
cp out answers.json
expect 0 tokenize "$vocab" "$question" --pair "$(cat bridge.txt)" --json
cp out tokens.json
python3 - <<'PY'
import json, struct
tokens = json.load(open("tokens.json"))["tokens"]
def npy(name, row):
    head = "{'descr': '<i8', 'fortran_order': False, 'shape': (1, %d), }" % len(row)
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    with open(name, "wb") as file:
        file.write(b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head.encode()
                   + struct.pack("<%dq" % len(row), *row))
npy("ids.npy", [t["id"] for t in tokens])
npy("mask.npy", [1] * len(tokens))
npy("types.npy", [t["segment"] for t in tokens])
PY
expect 0 run "$models/reader_bert.onnx" -i input_ids=ids.npy -i attention_mask=mask.npy \
    -i token_type_ids=types.npy -o logits
python3 - <<'PY' || fail "the answers are not the best spans"
import json, struct
tokens = json.load(open("tokens.json"))["tokens"]
found = json.load(open("answers.json"))["answers"]
def row(name):
    with open(name, "rb") as file:
        return struct.unpack("<%df" % len(tokens), file.read()[-4 * len(tokens):])
start, end = row("logits/start_logits.npy"), row("logits/end_logits.npy")
spans = [(start[i] + end[k], tokens[i]["begin"], tokens[k]["end"])
         for i in range(len(tokens)) for k in range(i, min(i + 30, len(tokens)))
         if tokens[i]["source"] == 1 and tokens[k]["source"] == 1]
best = sorted(spans, reverse=True)[:3]
for (score, first, last), answer in zip(best, found):
    assert (first, last) == (answer["begin"], answer["end"]), (best, found)
    assert abs(score - answer["score"]) < 1e-4
PY

# ---- what cannot be asked ----
: >empty.txt
expect 2 ask "$models/reader.onnx" --vocab "$vocab" -c empty.txt -Q "$question"
contains err "context is empty"
expect 2 ask "$models/reader.onnx" --vocab "$vocab" -c bridge.txt -Q " "
contains err "question is empty"
expect 2 ask "$models/reader.onnx" --vocab "$vocab" -c bridge.txt -Q "$question" --window 10
contains err "leave no room in windows of 10"
expect 2 ask "$models/reader.onnx" --vocab "$vocab" -c bridge.txt
contains err "question"
expect 2 ask "$models/points.onnx" --vocab "$vocab" -c bridge.txt -Q "$question"
contains err "not made from text"
expect 6 ask "$models/reader.onnx" --vocab nowhere.txt -c bridge.txt -Q "$question"
printf 'a\0b' >binary.txt
expect 3 ask "$models/reader.onnx" --vocab "$vocab" -c binary.txt -Q "$question"
printf 'a\377b' >latin.txt
expect 3 ask "$models/reader.onnx" --vocab "$vocab" -c latin.txt -Q "$question"
contains err "byte 1, 0xff"

# ---- evaluate ----
python3 - <<'PY'
import json
context = open("bridge.txt").read()
def question(key, *answers, **more):
    return {"id": key, "question": "When was the new bridge opened?",
            "answers": [{"text": a, "answer_start": context.index(a)} for a in answers], **more}
def write(name, contexts):
    json.dump({"version": "1.1", "data": [{"title": "T", "paragraphs": contexts}]}, open(name, "w"))
asked = [question("right", "June 1875"), question("article", "the Normans", "in June 1875"),
         question("wrong", "Rollo")]
write("v1.json", [{"context": context, "qas": asked}])
write("v2.json", [{"context": context, "qas": asked[:1]},
                  {"context": "Stone.", "qas": [question("none", is_impossible=True)]},
                  {"context": context, "qas": [question("none2", is_impossible=True)]}])
PY
# June 1875 against "in June 1875": 2 of 2 words, 2 of 3, so F1 is 0.8.
expect 0 evaluate "$models/reader.onnx" --data squad:v1.json --vocab "$vocab" --json \
    --predictions said.json
json out 'abs(d["exact"] - 1 / 3) < 1e-9' 'abs(d["f1"] - 1.8 / 3) < 1e-9' 'd["count"] == 3' \
    'd["unanswerable"] == 0'
json said.json 'd == {"right": "June 1875", "article": "June 1875", "wrong": "June 1875"}'
expect 2 evaluate "$models/reader.onnx" --data squad:v1.json --vocab "$vocab" \
    --predictions said.json
contains err "--force"
expect 0 evaluate "$models/reader.onnx" --data squad:v2.json --vocab "$vocab" --json
json out 'd["count"] == 3 and d["unanswerable"] == 2' 'abs(d["exact"] - 2 / 3) < 1e-9' \
    'd["answerable_exact"] == 1 and d["unanswerable_exact"] == 0.5'
expect 0 evaluate "$models/reader.onnx" --data squad:v2.json --vocab "$vocab"
contains out "abstained  50.00 % of 2"
expect 0 evaluate "$models/reader.onnx" --data squad:v2.json --vocab "$vocab" --json \
    --none-threshold -100
json out 'd["unanswerable_exact"] == 1 and d["answerable_exact"] == 0'
expect 1 evaluate "$models/reader.onnx" --data squad:v1.json --vocab "$vocab" --at-least 0.7
contains err "F1 0.6000 is below 0.7"
expect 0 evaluate "$models/reader.onnx" --data squad:v1.json --vocab "$vocab" --limit 1
contains out "F1         100.00 %"
expect 2 evaluate "$models/reader.onnx" --data squad:v1.json
contains err "--vocab"
expect 2 evaluate "$models/reader.onnx" --data squad:v1.json --vocab "$vocab" --labels x
expect 2 evaluate "$models/reader.onnx" --data text:bridge.txt --vocab "$vocab" --at-least 0.5
expect 2 evaluate "$models/reader.onnx" --data text:bridge.txt --vocab "$vocab"
contains err "does not have logits [N,T,V]"

# ---- tokenize ----
expect 0 tokenize "$vocab" "Olds, June?" --ids
[ "$(cat out)" = "2 45 47 24 44 22 3" ] || fail "other ids"
expect 0 tokenize "$vocab" "Bridge [MASK]" --no-special --json
json out '[t["token"] for t in d["tokens"]] == ["bridge", "[UNK]", "[UNK]", "[UNK]"]' \
    'd["kind"] == "WordPiece" and d["lower_case"]'
expect 0 tokenize "$vocab" --file bridge.txt
contains out "normans"
expect 2 tokenize "$vocab"
expect 2 tokenize "$vocab" a --file bridge.txt
expect 3 tokenize bridge.txt "a"
contains err "no token [UNK]"
