#!/bin/bash
# Models that skip blocks of a text: made, taught, asked, and refused where they cannot be made.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
vocab=$models/reader_vocab.txt
context="the old bridge of rollo was built in 1204 by the normans , and the new bridge was opened \
in june 1875"
printf '%s\n' "$context" >bridge.txt
cat >questions.json <<END
{"data": [{"title": "t", "paragraphs": [{"context": "$context", "qas": [
 {"id": "1", "question": "when ?", "answers": [{"text": "1204", "answer_start": 37}]},
 {"id": "2", "question": "who ?", "answers": [{"text": "the normans", "answer_start": 45}]}]}]}]}
END
skim=(--method block-skim --block 8)
learn=(--data squad:questions.json --vocab "$vocab" --window 40)

# ---- made, with nothing learnt: nothing is dropped ----
expect 0 adapt "$models/reader_deep.onnx" -o made.onnx "${skim[@]}"
contains out "method      block-skim"
expect 0 ask made.onnx --vocab "$vocab" -c bridge.txt -Q "when ?"
contains out "by layer 100.0, 100.0, 100.0 % computed"
expect 0 ask "$models/reader_deep.onnx" --vocab "$vocab" -c bridge.txt -Q "when ?"
lacks out "by layer"

# ---- taught, with thresholds ----
expect 0 adapt "$models/reader_deep.onnx" -o taught.onnx "${skim[@]}" "${learn[@]}" --batch 2 \
    --steps 3 --lr 0.01 --calibrate squad:questions.json --threshold 0.99 --threads 1
contains out "after layer  threshold  answers  recall    kept"
expect 0 evaluate taught.onnx --data squad:questions.json --vocab "$vocab" --json
json out 'd["count"] == 2' 'len(d["blocks"]) == 3' 'd["blocks"][1] <= d["blocks"][0] == 8'
expect 0 ask taught.onnx --vocab "$vocab" -c bridge.txt -Q "when ?" --json
json out 'd["blocks"][0] == 4' 'd["blocks"][1] >= d["blocks"][2] >= 1'

# ---- thresholds anew ----
expect 0 adapt taught.onnx -o dense.onnx --calibrate squad:questions.json --vocab "$vocab" \
    --window 40 --threshold 0 --json
json out '[l["threshold"] for l in d["layers"]] == [0, 0]' 'd["layers"][0]["recall"] == 1'
expect 0 evaluate dense.onnx --data squad:questions.json --vocab "$vocab"
contains out "by layer 100.0, 100.0, 100.0 % computed"

# ---- refused ----
expect 2 adapt "$models/reader_deep.onnx" -o no.onnx "${skim[@]}" --data squad:questions.json
contains err "the model's vocabulary is needed"
expect 2 adapt "$models/reader_deep.onnx" -o no.onnx "${learn[@]}"
contains err "does not learn from questions"
expect 2 train "$models/reader_deep.onnx" -o no.onnx --data squad:questions.json
contains err "this command does not learn from questions"
expect 2 adapt "$models/reader_deep.onnx" -o no.onnx --method block-skim --block 6
contains err "blocks of 6 tokens"
expect 2 adapt "$models/reader_deep.onnx" -o no.onnx "${skim[@]}" "${learn[@]}" --stride 0
contains err "--stride"
expect 4 adapt "$models/reader_bert.onnx" -o no.onnx "${skim[@]}"
contains err "1 encoder layers were found"
[ ! -e no.onnx ] || fail "a refused model was written"
