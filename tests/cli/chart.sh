#!/bin/bash
# spry chart: a picture that is well-formed and shows every point, and what is refused.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

printf '%s\n' 'network,ms,top-1,epochs' 'static,0.46,97.11,11' '"<b>, masked",0.36,96.45,17' '' \
    'static,,90,1' 'thin,0.42,96.87,11' >table.csv

# shapes FILE EXPRESSION...: Python expressions over the elements by name.
shapes() {
    python3 - "$@" <<'PY' || fail "$1 is not as it should be"
import sys
import xml.etree.ElementTree as tree

root = tree.parse(sys.argv[1]).getroot()
all = {}
for e in root.iter():
    all.setdefault(e.tag.split("}")[1], []).append(e)
assert not any(a in ("href", "src", "onload") for e in root.iter() for a in e.attrib)
texts = [e.text for e in all["text"]]
points = [e for e in all["circle"] if len(e)]
wrong = [expression for expression in sys.argv[2:] if not eval(expression)]
print(*("not " + expression for expression in wrong), sep="\n", end="")
sys.exit(bool(wrong))
PY
}

expect 0 chart table.csv -o a.svg --x ms --y top-1 --by network --label network --title 'A & B'
contains err "wrote a.svg, 4 points"
shapes a.svg 'len(points) == 3' '"A & B" in texts' 'texts.count("<b>, masked") == 2' \
    '"ms" in texts and "top-1" in texts' '"polyline" not in all'
expect 0 chart table.csv -o b.svg --x epochs --y top-1 --y ms --lines --log y --json
json out 'd["series"] == 2 and d["points"] == 8' 'd["output"] == "b.svg"'
shapes b.svg 'len(all["polyline"]) == 2' 'len(points) == 7' '"top-1" in texts'
# The first two columns, unless others are named; semicolons, numbers in quotes.
printf '%s\r\n' 'measured;predicted' '"1";1.1' '10;9' >pairs.csv
expect 0 chart pairs.csv -o c.svg --diagonal --log xy --x-name 'measured, ms' -q
empty err
shapes c.svg 'len(points) == 2' '"measured, ms" in texts and "predicted" in texts' \
    'any(e.get("class") == "diagonal" for e in all["path"])'

expect 2 chart table.csv
contains err "--output"
expect 2 chart table.csv -o a.svg --x ms --y top-1
contains err "--force"
expect 2 chart table.csv -o d.svg --x speed
contains err "no column 'speed'"
expect 2 chart table.csv -o d.svg --x ms --y top-1 --y epochs --by network
expect 2 chart table.csv -o d.svg --x ms --y top-1 --width 10
expect 3 chart table.csv -o d.svg --x network --y ms
contains err "is no number"
printf '"a,b\n1,2\n' >quote.csv
expect 3 chart quote.csv -o d.svg
: >nothing.csv
expect 3 chart nothing.csv -o d.svg
printf 'a,b\n' >header.csv
expect 2 chart header.csv -o d.svg
contains err "no point"
expect 6 chart none.csv -o d.svg
[ ! -e d.svg ] || fail "a refused table left a picture"
