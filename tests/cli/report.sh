#!/bin/bash
# spry report: a page that fetches nothing and says what the JSON report says, two sides, a trace;
# and in a browser, where there is one.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
glyphs=$SPRY_SOURCE_DIR/examples/glyphs/glyphs.onnx

cat >check.py <<'PY'
import html.parser

VOID = {"meta", "input", "br"}


class Page(html.parser.HTMLParser):
    """Keeps what stands in cells with a key, by the row they are in."""

    def __init__(self):
        super().__init__()
        self.open, self.rows, self.at, self.ids, self.count = [], {}, None, [], {}

    def handle_starttag(self, tag, attributes, closed=False):
        a = dict(attributes)
        assert len(a) == len(attributes), attributes
        assert not {"src", "srcset", "onerror", "action"} & set(a), (tag, a)
        assert a.get("href", "#").startswith("#"), a
        assert tag not in ("link", "iframe", "img", "object"), tag
        if tag == "tr":
            key = next(((k, v) for k, v in attributes if k.startswith("data-")), None)
            self.at = self.rows.setdefault(key, {})
        if "data-key" in a:
            self.at[a["data-key"]] = float(a["data-value"])
        if "id" in a:
            self.ids.append(a["id"])
        name = a.get("class", "").split(" ")[0]
        self.count[tag, name] = self.count.get((tag, name), 0) + 1
        if tag not in VOID and not closed:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes, True)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


def read(path):
    text = open(path, encoding="utf-8").read()
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open and "@import" not in text and text.count("url(") == text.count("url(#")
    assert "default-src 'none'" in text
    assert len(set(page.ids)) == len(page.ids), page.ids
    return text, page
PY

# What the report says, the page says.
expect 0 report "$glyphs" --threads 2 --runs 5 --html page.html --trace trace.json --json -q
python3 - out page.html trace.json <<'PY' || fail "the page differs from the report"
import json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, ".")
from check import read

report = json.load(open(sys.argv[1], encoding="utf-8"))
text, page = read(sys.argv[2])
assert report["runs"] == 5 and report["median_ms"] > 0 and report["one_thread_ms"] > 0
assert abs(sum(l["share"] for l in report["layers"]) - 1) < 1e-9
for i, layer in enumerate(report["layers"]):
    row = page.rows["data-layer", str(i)]
    assert row["ms"] == layer["ms"] and row["share"] == layer["share"], (row, layer)
    assert layer["bound_by"] in ("arithmetic", "memory", "overhead", "general code")
assert any(l["fused"] == "BatchNormalization, Relu" for l in report["layers"])
for name in ("words", "costliest", "timeline", "operators", "roofline", "layers", "memory",
             "drawing", "machine", "graph", "nodes"):
    assert name in page.ids, name
assert "against" not in page.ids
assert page.count["rect", "span"] >= len(report["layers"]) and page.count["rect", "frame"] > 0
for word in report["words"]:
    assert word.replace("'", "&#39;") in text or word in text, word
peaks = report["machine"]["peak_gflops"]
assert page.rows["data-peak", "f32"]["gflops"] == peaks["f32"]
events = json.load(open(sys.argv[3], encoding="utf-8"))["traceEvents"]
assert sum(e["ph"] == "X" for e in events) >= 5 * len(report["layers"])
PY

# Nothing is overwritten unasked; text alone needs no file.
expect 2 report "$glyphs" --html page.html
contains err "--force"
expect 2 report "$glyphs" --trace trace.json
expect 0 report "$glyphs" --threads 1 --runs 3 --html page.html --force -q
contains out "bound by"
contains out "wrote page.html"
expect 2 report "$glyphs" --runs 51
expect 2 report "$glyphs" --against-precision int9
expect 6 report missing.onnx
expect 6 report "$glyphs" --against missing.onnx --runs 1 -q
expect 4 report "$models/unsupported.onnx" -q

# Two sides: other options, another model.
expect 0 report "$glyphs" --threads 1 --against-threads 2 --runs 3 --no-one-thread --json -q
json out 'd["against"]["pairs"] == [[i, i] for i in range(len(d["layers"]))]'
json out '"one_thread_ms" not in d and "2 threads" in d["against"]["label"]'
expect 0 quantize "$glyphs" -o int8.onnx --activation-bits 8 -q
expect 0 report "$glyphs" --against int8.onnx --threads 1 --runs 3 --html both.html -q
python3 - both.html <<'PY' || fail "not the page of two sides"
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, ".")
from check import read

text, page = read(sys.argv[1])
assert "against" in page.ids and "pairs" in page.ids
assert "int8.onnx" in text
PY

# Names that markup must not take literally.
python3 - "$models/sum.onnx" hostile.onnx <<'PY'
import sys

data = open(sys.argv[1], "rb").read()
open(sys.argv[2], "wb").write(data)
PY
cp hostile.onnx '<img src=x onerror=alert(1)>.onnx'
expect 0 report '<img src=x onerror=alert(1)>.onnx' --runs 2 --html hostile.html -q
python3 -c 'import sys; sys.dont_write_bytecode = True
sys.path.insert(0, "."); from check import read; read("hostile.html")' || fail "a name became markup"

# ---- in a browser ----

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
    echo "skipped: no browser"
    exit 0
fi
cat >probe.js <<'JS'
<script>
(() => {
    const say = [];
    const check = (what, ok) => ok || say.push(what);
    const table = document.getElementById("all-layers");
    const ms = () => [...table.tBodies[0].rows].map((r) => Number(r.cells[2].dataset.value));
    const button = table.tHead.rows[0].cells[2].querySelector("button");
    button.click();
    check("descending", ms().every((v, i, all) => i === 0 || all[i - 1] >= v));
    button.click();
    check("ascending", ms().every((v, i, all) => i === 0 || all[i - 1] <= v));
    document.querySelector(".span").dispatchEvent(new MouseEvent("click", { bubbles: true }));
    check("chosen", table.querySelectorAll("tr.on").length === 1);
    check("told", document.getElementById("chosen").textContent.includes("bound by"));
    const key = (name) => document.querySelector(".timeline").dispatchEvent(
        new KeyboardEvent("keydown", { key: name }));
    key("ArrowRight");
    const first = document.querySelector("tr.on").dataset.layer;
    key("ArrowRight");
    check("keys", document.querySelector("tr.on").dataset.layer !== first);
    document.querySelector('[data-zoom="2"]').click();
    check("wider", document.querySelector(".timeline svg").getAttribute("width") === "200%");
    const filter = document.getElementById("filter");
    filter.value = "classify";
    filter.dispatchEvent(new Event("input"));
    check("filter", [...table.tBodies[0].rows].filter((r) => !r.hidden).length === 1);
    document.querySelector("#graph .b").dispatchEvent(new MouseEvent("click", { bubbles: true }));
    check("detail", !document.getElementById("detail").hidden);
    const root = document.documentElement;
    check(`fits ${innerWidth} (${root.scrollWidth})`, root.scrollWidth <= innerWidth);
    for (const e of document.querySelectorAll("button, input")) {
        check("named " + e.outerHTML, e.textContent || e.title || e.ariaLabel || e.placeholder);
    }
    parent.postMessage(say.length ? say.join(", ") : "fine", "*");
})();
</script>
JS
expect 0 report "$glyphs" --threads 2 --against int8.onnx --runs 3 --html page.html --force -q
python3 - <<'PY'
text = open("page.html", encoding="utf-8").read()
open("probe.html", "w", encoding="utf-8").write(
    text.replace("</body>", open("probe.js", encoding="utf-8").read() + "</body>"))
PY
# Both widths in one browser: frames tell the page around them.
cat >frames.html <<'HTML'
<!DOCTYPE html><title>waiting</title>
<script>
const told = [];
onmessage = (event) => {
    told.push(event.data);
    document.title = told.join(" / ");
};
</script>
<iframe src="probe.html" width="1280" height="900"></iframe>
<iframe src="probe.html" width="390" height="900"></iframe>
HTML
timeout 100 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" \
    --enable-logging=stderr --window-size=1400,1000 --virtual-time-budget=3000 --dump-dom \
    "file://$work/frames.html" >dom 2>log || fail "the browser gave up"
grep -q '<title>fine / fine</title>' dom || fail "$(grep -o '<title>[^<]*' dom | head -n 1)"
if grep CONSOLE log; then fail "something on the console"; fi
