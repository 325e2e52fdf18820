#!/bin/bash
# spry simulate --html, --trace, --csv: the page is well-formed, fetches nothing, fits wide and narrow
# windows, and says what the JSON document says; the trace is one that viewers take.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

printf '%s\n%s\n%s\n%s\n' 'id,type,src,dst list,bytes,release,due,group' \
    '1,multicast,0,1 2 3,256,0,,' '2,unicast,1,3,256,0,,' '3,reduce,4 5 6,7,256,0,,' >flows.csv
expect 0 new resnet20 -o '<b>net&.onnx' -q
four=(--set interconnect.width=4 --set interconnect.height=4)

# Everything that a model tells: what its page and trace must hold. Words behind the name: options.
cat >check.py <<'PY'
import collections, json, os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.environ["SPRY_SOURCE_DIR"] + "/tests/cli")
from page_check import read

name, report = sys.argv[1], json.load(open("out", encoding="utf-8"))
text, page = read("page.html")
assert "<b>net" not in text
for key, value in page.facts.items():
    assert value is None or value == report[key], (key, value)
numbers = {k for k, v in report.items() if isinstance(v, (int, float)) and k != "schema"}
assert numbers - {"joules"} == {k for k, v in page.facts.items() if v is not None}
for key, rows in page.tables.items():
    if key == "t-energy":
        parts = report["energy"]
        total = sum(p["count"] * p["picojoules"] for p in parts) * 1e-12
        assert abs(total - report["joules"]) <= 1e-12 * total
        assert all(p["source"] not in ("", None) for p in parts)
        assert [r["count"] for r in rows] == [p["count"] for p in parts]
        assert abs(sum(r["share"] for r in rows) - 1) < 1e-9 or total == 0
    elif key is not None:
        listed = report[key[2:]]
        assert len(rows) == len(listed) > 0, key
        for shown, said in zip(rows, listed):
            assert all(said[k] == v for k, v in shown.items()), (shown, said)
            assert set(said) - set(shown) == {k for k, v in said.items() if isinstance(v, str)}
assert ("joules" in report) == ("t-energy" in page.tables)
for heat in (v for v in report.values() if isinstance(v, dict) and "cells" in v):
    assert len(heat["cells"]) == heat["width"] * heat["height"]
    assert "links" not in heat or len(heat["links"]) == 4 * len(heat["cells"])
    assert "h9" in page.classes and min(heat["cells"]) >= 0

trace = json.load(open("trace.json", encoding="utf-8"))
assert trace["displayTimeUnit"] == "ns"
spans = collections.defaultdict(list)
named = set()
for e in trace["traceEvents"]:
    if e["ph"] == "M" and e["name"] == "thread_name":
        named.add(e["tid"])
    if e["ph"] == "X":
        assert e["pid"] == 1 and e["dur"] >= 0 and e["name"]
        spans[e["tid"]].append((round(e["ts"] * 1e9), round(e["dur"] * 1e9)))
assert set(spans) <= named and sum(map(len, spans.values())) <= 200000
for tid, ones in spans.items():
    ones.sort()
    for (start, length), (following, _) in zip(ones, ones[1:]):
        assert start + length <= following + 1, (tid, start, length, following)
assert ("What happened when" in text) == bool(spans)
assert spans or "widths" in report or name == "energon"
PY

# The browser's word on the page: nothing is complained about, nothing wider than the window.
look() {
    local view
    command -v chromium >/dev/null || return 0
    # A copy that measures itself: pages have no scripts, and refuse them.
    python3 - <<'PY'
import re
text = open("page.html", encoding="utf-8").read()
text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
script = ("<script>document.title = 'wide ' + document.documentElement.scrollWidth + ' of ' + "
          "innerWidth</script></body>")
open("measured.html", "w", encoding="utf-8").write(text.replace("</body>", script))
PY
    for view in page:1280 measured:1280 measured:390; do
        timeout 60 chromium --headless --no-sandbox --disable-gpu --user-data-dir="$work/browser" \
            --enable-logging=stderr --window-size="${view#*:},900" --dump-dom \
            "file://$work/${view%:*}.html" >dom 2>log </dev/null ||
            { echo "no browser here: not looked at" && return 0; }
        ! grep -F CONSOLE log || fail "the browser complains about the page of $1"
        [ "$view" = page:1280 ] || python3 - <<'PY' || fail "the page of $1 is too wide: $view"
import re
wide, window = map(int, re.search(r"<title>wide (\d+) of (\d+)",
                                  open("dom", encoding="utf-8").read()).groups())
assert wide <= window, (wide, window)
PY
    done
}

# tell OPTIONS...: all that is told of one simulation, checked.
tell() {
    expect 0 simulate "$@" --json --html page.html --trace trace.json --csv rows.csv --force -q
    python3 check.py "$1" || fail "page or trace of spry simulate $*"
    contains page.html "<h1>"
    [ "$(wc -l <rows.csv)" -ge 2 ] || fail "no rows of spry simulate $*"
}

tell noc "${four[@]}" --sweep 0.1:0.5:0.2 --cycles 400 --packet 2
contains page.html "Latency against load"
contains page.html "Throughput against load"
look noc
tell noc --set interconnect.width=1 --set interconnect.height=1 --cycles 50
tell dram --requests 500 --traffic mixed
tell dram --target hbm2 --requests 200
tell metro flows.csv "${four[@]}" --compare --exact
look metro
tell metro '<b>net&.onnx' "${four[@]}" --generations 0
tell metro '<b>net&.onnx' "${four[@]}" --generations 0 --flits 64,256 --compare
contains page.html "Moving against the width of links"
tell toy
tell dual-side 64x64x64
tell energon 2x40x64x32 --keep 0.2 --compare
tell tpu '<b>net&.onnx' --compare
tell tpu '<b>net&.onnx' --level cycle --target edge32
expect 0 simulate systolic 40x30x20 --json --html page.html --trace trace.json -q --force
python3 check.py systolic || fail "page or trace of an array"
expect 0 simulate systolic 40x30x20 --dataflow outputs --json --html page.html --trace trace.json \
    -q --force
python3 check.py systolic || fail "page or trace of an array whose outputs stay"
expect 2 simulate systolic 40x30x20 --csv rows.csv --force
contains err "no rows"

# Nothing is overwritten unasked, and before anything is simulated.
for option in csv html trace; do
    : >taken
    expect 2 simulate noc --cycles 1000000000 --$option taken
    contains err "--force"
done
expect 6 simulate noc --cycles 10 --html missing/page.html
