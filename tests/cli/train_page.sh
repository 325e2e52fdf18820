#!/bin/bash
# spry train --html: one well-formed page that fetches nothing and says what the JSON report says.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

# Points about centres, of few classes with names that markup must not take literally, and of many.
python3 - <<'PY'
import csv, random

random.seed(3)
names = ['<script>alert(1)</script>', '"quoted" & \'so\'', '<img src="x" onerror=alert(2)>',
         'a name far too long to stand beside a grid of cells']


def write(path, classes, count):
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        for i in range(count):
            label = i % len(classes)
            table.writerow([round(random.gauss((label >> bit) % 2, 0.4), 3) for bit in range(7)]
                           + [classes[label]])


write("few.csv", names, 160)
write("many.csv", list(range(70)), 210)
PY
expect 0 new mlp -o few.onnx --image 1x7x1 --classes 4 --units 8 -q
expect 0 new mlp -o many.onnx --image 1x7x1 --classes 70 --units 8 -q
few=(--data csv:few.csv --preprocess raw --validate csv:few.csv --batch 10 --epochs 3)

# What the report says, the page says; every sample is in one cell of the grid.
expect 0 train few.onnx -o few-trained.onnx "${few[@]}" --html page.html --json
python3 - out page.html <<'PY' || fail "the page differs from the report"
import json, os, re, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.environ["SPRY_SOURCE_DIR"] + "/tests/cli")
from page_check import read

report = json.load(open(sys.argv[1], encoding="utf-8"))
text, page = read(sys.argv[2])
for row in report["epochs"]:
    shown = page.rows["data-epoch", str(row["epoch"])]
    for key in ("step", "loss", "accuracy", "validation", "validation_loss", "rate", "seconds"):
        assert shown[key] == row[key], (key, shown, row)
cells = [re.match(r"(wrong, )?(\d+) of 40 \((.*?) %\): (.*)", t, re.S) for t in page.titles]
cells = [c for c in cells if c]
assert "confusions" in page.ids and sum(int(c[2]) for c in cells) == 160
right = sum(int(c[2]) for c in cells if not c[1])
assert abs(right / 160 - report["epochs"][-1]["validation"]) < 1e-9, right
assert any("<script>alert(1)</script>" in c[4] for c in cells)
assert "<script" not in text and "<img" not in text
assert "few.csv" in text and ("data-option", "batch") in page.rows and len(page.lines) == 5
assert len([r for r in page.rows if r and r[0] == "data-class"]) == 4
PY

# Of many classes the most frequent confusions; many steps; no validation, no confusions.
expect 0 train many.onnx -o a.onnx --data csv:many.csv --preprocess raw --batch 1 --epochs 4 \
    --validate csv:many.csv --html many.html -q
expect 0 train many.onnx -o b.onnx --data csv:many.csv --preprocess raw --batch 10 --steps 3 \
    --dp-noise 1 --html plain.html -q
python3 - <<'PY' || fail "not the pages that were to be expected"
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.environ["SPRY_SOURCE_DIR"] + "/tests/cli")
from page_check import read

text, page = read("many.html")
assert 'table id="confusions"' in text and max(map(len, page.lines)) == 600
text, page = read("plain.html")
assert "confusions" not in page.ids and "Privacy spent" in text
PY

# A run that had ended already has no steps to show.
for page in first second; do
    expect 0 train few.onnx -o r.onnx "${few[@]}" --resume run --html "$page.html" -q --force
done
contains first.html '<polyline class="rate"'
lacks second.html '<polyline class="rate"'
contains second.html "nothing was left to train"

# Nothing is overwritten unasked, and spry adapt writes the page too.
expect 2 train few.onnx -o c.onnx "${few[@]}" --html page.html
contains err "--force"
[ ! -e c.onnx ] || fail "a refused run left a model"
expect 0 train few.onnx -o c.onnx "${few[@]}" --html page.html --force
contains out "wrote page.html"
expect 0 adapt few.onnx -o d.onnx --method head "${few[@]}" --html adapt.html -q
contains adapt.html 'id="confusions"'
