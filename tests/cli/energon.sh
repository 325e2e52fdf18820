#!/bin/bash
# Attention that filters its keys: spry adapt --method energon, and spry run --survivors.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
glyphs="npz:$SPRY_SOURCE_DIR/examples/glyphs/test.npz"
expect 0 new vit-cifar -o vit.onnx --image 28x28x1 --patch 4 --units 32 --heads 2 --depth 2 \
    --classes 62
energon=(adapt vit.onnx --method energon --calibrate "$glyphs" --preprocess unit)

# Calibrated, told, written; the share that is asked for is met on the samples held out.
expect 0 "${energon[@]}" -o few.onnx --target-keep 0.25 --limit 24 --threads 1
contains out "method   energon"
contains out "filter their keys"
contains out "may lose"
expect 0 "${energon[@]}" -o again.onnx --target-keep 0.25 --limit 24 --threads 2 --json
json out 'd["method"] == "energon" and d["target_keep"] == 0.25 and len(d["layers"]) == 2' \
    'all(len(l["heads"]) == 2 and l["size"] == 16 for l in d["layers"])' \
    'abs(sum(h["held_out"]["kept"] for l in d["layers"] for h in l["heads"]) / 4 - 0.25) < 0.03' \
    'all(l["kept"][1] <= l["kept"][0] <= l["keys"] for l in d["layers"])' \
    'all(l["exact_products"] == 2 * l["kept"][1] * l["size"] for l in d["layers"])' \
    'all(0 < h["held_out"]["mass"] <= 1 for l in d["layers"] for h in l["heads"])' \
    'all(1 - h["held_out"]["mass"] <= h["held_out"]["certificate"] + 1e-6 for l in d["layers"] for h in l["heads"])'
cmp -s few.onnx again.onnx || fail "the model depends on the threads"

# The function's body, run as written, computes the same; the dense model does not.
expect 0 run few.onnx --seed 3 --set N=2 -o kernels
expect 0 run vit.onnx --seed 3 --set N=2 -o dense
cmp -s kernels/logits.npy dense/logits.npy && fail "nothing is filtered"
expect 0 bench few.onnx --explain --runs 2 --warmup 0 --threads 1 --json
json out 'sum(op["way"] == "keys filtered" for op in d["ops"]) == 2' \
    'all(0.02 < op["density"] < 0.9 for op in d["ops"] if op["way"] == "keys filtered")'

# What survives.
expect 0 run few.onnx --seed 3 --set N=2 --survivors kept.npz
expect 2 run few.onnx --seed 3 --survivors kept.npz
contains err "--force"
expect 2 run vit.onnx --survivors none.npz
contains err "energon"
python3 - kept.npz <<'PY' || fail "survivors do not hang together"
import struct, sys, zipfile


def load(archive, name):
    data = archive.read(name + ".npy")
    length = struct.unpack("<H", data[8:10])[0]
    kind = {"<i4": "i", "<i8": "q", "|u1": "B"}[data[10:10 + length].decode().split("'")[3]]
    return struct.unpack("<%d%s" % ((len(data) - 10 - length) // struct.calcsize(kind), kind),
                         data[10 + length:])


with zipfile.ZipFile(sys.argv[1]) as archive:
    for layer in ("000", "001"):
        batch, heads, groups, queries, keys, size, rounds = load(archive, layer + ".form")
        visible, offsets, found, survived, work = (
            load(archive, layer + "." + x) for x in ("visible", "offsets", "keys", "rounds",
                                                     "work"))
        assert (batch, heads, groups, size, rounds) == (2, 2, 2, 16, 2) and queries == keys
        assert len(visible) == batch * heads * queries == len(offsets) - 1
        assert offsets[0] == 0 and offsets[-1] == len(found) == len(survived) == work[1]
        assert work[0] == sum(visible) and work[2] == sum(s == rounds for s in survived)
        assert work[5] == 4 * (work[0] + work[1]) * 4 and work[6] == 2 * work[2] * size
        for q in range(len(visible)):
            of_query = found[offsets[q]:offsets[q + 1]]
            assert list(of_query) == sorted(set(of_query)) and 0 < len(of_query) <= visible[q]
            assert rounds in survived[offsets[q]:offsets[q + 1]]
PY

# A text; and what cannot be done is said.
for i in $(seq 30); do
    printf 'The old bridge of Rollo was built in 1204 by the Normans, in stone. '
    printf 'The new bridge was opened in June 1875, and the old one stood for %d years. ' "$i"
done >text.txt
expect 0 adapt "$models/reader_bert.onnx" -o bert.onnx --method energon --calibrate text:text.txt \
    --vocab "$models/reader_vocab.txt" --window 40 --target-keep 0.3
contains out "filter their keys"
expect 2 adapt "$models/reader_bert.onnx" -o no.onnx --method energon --calibrate text:text.txt
contains err "--vocab"
expect 2 "${energon[@]}" -o few.onnx
contains err "--force"
expect 2 "${energon[@]}" -o few.safetensors
expect 2 adapt vit.onnx -o no.onnx --method energon
contains err "--calibrate"
expect 2 "${energon[@]}" -o no.onnx --data "$glyphs"
contains err "trains nothing"
expect 2 "${energon[@]}" -o no.onnx --target-keep 1
expect 2 "${energon[@]}" -o no.onnx --target-keep 0
expect 4 adapt few.onnx -o no.onnx --method energon --calibrate "$glyphs" --preprocess unit --limit 4
contains err "filters"
expect 4 adapt "$SPRY_SOURCE_DIR/examples/glyphs/glyphs.onnx" -o no.onnx --method energon \
    --calibrate "$glyphs" --preprocess unit --limit 4
contains err "no attention"
expect 6 adapt vit.onnx -o no.onnx --method energon --calibrate npz:absent.npz
