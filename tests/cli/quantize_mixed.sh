#!/bin/bash
# spry quantize --mixed: bits per operator, chosen by measuring.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
glyphs=$SPRY_SOURCE_DIR/examples/glyphs
model=$glyphs/glyphs.onnx
calibrate=(-c "npz:$glyphs/test.npz" --preprocess unit --samples 32)

# Times vary; the bounds, and that the recipe repeats the choice, do not.
expect 0 quantize "$model" -o mixed.onnx --mixed --max-drop 1 "${calibrate[@]}" --trials 4 \
    --data "npz:$glyphs/test.npz" --limit 300 --save-recipe chosen.json --sensitivity --json --no-bench
json out 'd["mixed"]["met"] and len(d["mixed"]["choice"]) == 9 and len(d["sensitivity"]) == len(d["layers"])'
json out 'd["before"]["top1"] - d["after"]["top1"] <= 0.01'
json out '{l["node"]: l["bits"] for l in d["layers"]} == {c["node"]: c["bits"] for c in d["mixed"]["choice"] if c["bits"]}'
json out 'sum(t["kept"] for t in d["mixed"]["trials"]) >= 1 and len(d["mixed"]["trials"]) <= 6'
json out 'all(b[0] > b[1] and b[0] > b[2] for b in [c["bytes"] for c in d["mixed"]["choice"]])'
expect 0 quantize "$model" -o again.onnx --recipe chosen.json "${calibrate[@]}" --no-bench
cmp mixed.onnx again.onnx || fail "the recipe does not repeat the choice"

# The page: one well-formed file that fetches nothing and says what the JSON report says.
expect 0 quantize "$model" -o page.onnx -a 8 "${calibrate[@]}" --data "npz:$glyphs/test.npz" --limit 100 \
    --bits 'halve*=3/0' --exclude 'classify' --sensitivity --html page.html --report page.json --no-bench
python3 - page.html page.json <<'PY' || fail "the page differs from the report"
import html.parser, json, sys

VOID = {"meta", "br", "hr"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.layers, self.sides, self.at = [], {}, {}, None

    def handle_starttag(self, tag, attributes, closed=False):
        a = dict(attributes)
        assert not {"src", "href", "srcset"} & set(a), (tag, a)
        assert tag not in ("script", "link", "iframe", "img"), tag
        if "data-layer" in a:
            self.at = self.layers.setdefault(a["data-layer"], {})
        elif "data-side" in a:
            self.at = self.sides.setdefault(a["data-side"], {})
        elif tag == "tr":
            self.at = None
        if "data-key" in a and self.at is not None:
            self.at[a["data-key"]] = float(a["data-value"])
        if tag not in VOID and not closed:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes, True)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


text = open(sys.argv[1], encoding="utf-8").read()
page, report = Page(), json.load(open(sys.argv[2], encoding="utf-8"))
page.feed(text)
assert not page.open and "url(" not in text and "@import" not in text
assert len(page.layers) == len(report["layers"]) == text.count("<svg") == 8
costs = {s["node"]: s["divergence"] for s in report["sensitivity"]}
for layer in report["layers"]:
    cells = page.layers[layer["node"]]
    for key in ("weights", "bits", "bits_per_weight", "sqnr_db"):
        assert cells[key] == layer[key], (layer["node"], key)
    assert cells["divergence"] == costs[layer["node"]]
for side in ("before", "after"):
    assert page.sides[side]["bytes"] == report[side]["bytes"]
    assert page.sides[side]["top1"] == report[side]["top1"]
PY
expect 0 quantize "$model" -o swift.onnx --max-ms 1000 "${calibrate[@]}" --trials 2 --no-bench -w 8
contains out "whole models tried"
expect 1 quantize "$model" -o never.onnx --max-ms 0.000001 "${calibrate[@]}" --trials 2 --no-bench
contains err "comes closest"
expect 2 quantize "$model" -o no.onnx --mixed
contains err "--max-drop POINTS or --max-ms MS"
expect 2 quantize "$model" -o no.onnx --max-ms 1
contains err "--calibrate"
expect 2 quantize "$model" -o no.onnx --save-recipe no.json
contains err "--mixed"
