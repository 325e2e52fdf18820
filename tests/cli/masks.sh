#!/bin/bash
# Where a model computes: densities and pictures of spry run, evaluate and inspect.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
data=npz:$SPRY_SOURCE_DIR/examples/glyphs/test.npz

expect 0 new resnet20 -o net.onnx --image 28x28x1 --units 4 --classes 62 -q
# Small biases: random weights of the maskers decide.
expect 0 adapt net.onnx -o masked.onnx -m lasnet --granularity 4-2-1 --masker-bias 0.01 -q

# pictures FILE...: width and height of PNGs.
pictures() {
    python3 - "$@" <<'PY'
import struct, sys
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        head = file.read(24)
    assert head[:8] == b"\x89PNG\r\n\x1a\n", path
    print(*struct.unpack(">II", head[16:24]))
PY
}

expect 0 evaluate masked.onnx --data "$data" --preprocess unit --limit 3 --masks seen --json -q
json out 'len(d["masks"]) == 9' 'd["masks"][0]["block"] == "layer1.0.add"' \
    'all(0 <= m["density"] <= 1 for m in d["masks"])' 'any(m["density"] < 1 for m in d["masks"])'
[ "$(pictures seen/*.png | sort | uniq -c | tr -s ' ')" = " 3 858 84" ] || fail "$(pictures seen/*.png)"

expect 0 run masked.onnx --densities
contains out "layer3.2.add"
contains out "mean"
lacks out "mask"
expect 0 run masked.onnx --masks one --json -q
json out 'len(d["masks"]) == 9' 'len(d["outputs"]) == 1'
[ "$(pictures one/000000.png)" = "858 84" ] || fail "$(pictures one/000000.png)"
expect 2 run net.onnx --densities

# The page shows samples and blocks, and fetches nothing for it.
expect 0 inspect masked.onnx --html page.html --data "$data" --preprocess unit --samples 2 -q
python3 - <<'PY' || fail "not the page that was to be expected"
import base64, html.parser


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.captions, self.groups, self.at = [], [], [], None

    def handle_starttag(self, tag, attributes):
        self.at = tag
        if tag == "img":
            source = dict(attributes)["src"]
            assert source.startswith("data:image/png;base64,"), source[:40]
            self.images.append(base64.b64decode(source[22:], validate=True))

    def handle_data(self, text):
        if self.at in ("figcaption", "h3") and text.strip():
            (self.captions if self.at == "figcaption" else self.groups).append(text)


page = Page()
with open("page.html", encoding="utf-8") as file:
    text = file.read()
page.feed(text)
assert page.groups == ["sample 0", "sample 1"], page.groups
assert len(page.images) == len(page.captions) == 2 * 10
assert page.captions[0] == "the sample" and page.captions[1].startswith("layer1.0.add, ")
assert page.captions[1].endswith(" %")
assert all(i[:8] == b"\x89PNG\r\n\x1a\n" for i in page.images)
assert page.images[0] != page.images[10]
assert "default-src 'none'" in text and "img-src data:" in text
PY
python3 - <<'PY'
import struct
with open("x.npy", "wb") as file:
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1, 28, 28), }"
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
    file.write(struct.pack("<2352f", *(i % 97 / 97 for i in range(2352))))
PY
expect 0 inspect masked.onnx --html page.html --input x.npy --force -q
[ "$(grep -o '<img' page.html | wc -l)" -eq 30 ] || fail "not three samples"

expect 2 inspect masked.onnx --input x.npy
contains err "--html"
expect 2 inspect masked.onnx --html no.html --input x.npy --data "$data"
expect 2 inspect net.onnx --html no.html --input x.npy
expect 6 inspect masked.onnx --html no.html --input none.npy
[ ! -e no.html ] || fail "a refused look left a page"
