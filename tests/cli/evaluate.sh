#!/bin/bash
# spry evaluate on four points whose scores are themselves.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

# Samples [4,3] and labels: three are right at once, one has its class in second place.
python3 - <<'PY'
import struct, zipfile

def npy(kind, shape, body):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (kind, shape)
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head.encode() + body

x = [9, 1, 0, 0, 9, 1, 1, 0, 9, 9, 8, 0]
with zipfile.ZipFile("points.npz", "w") as z:
    z.writestr("x.npy", npy("<f4", "(4, 3)", struct.pack("<12f", *x)))
    z.writestr("labels.npy", npy("<i8", "(4,)", struct.pack("<4q", 0, 1, 2, 1)))
PY
model=$models/points.onnx

expect 0 evaluate "$model" --data npz:points.npz --json
json out 'd["schema"] == 1 and d["top1"] == 0.75 and d["top5"] == 1 and d["count"] == 4'
json out 'd["seconds"] > 0'
expect 0 evaluate "$model" --data npz:points.npz --batch 3 --per-class
contains out "75.00 %"
expect 0 evaluate "$model" --data npz:points.npz --limit 3 --json
json out 'd["top1"] == 1 and d["count"] == 3'
expect 1 evaluate "$model" --data npz:points.npz --at-least 0.8
contains err "below 0.8"
expect 0 evaluate "$model" --data npz:points.npz --at-least 0.75

expect 0 evaluate "$model" --data npz:points.npz --predictions all.npz
[ -s all.npz ] || fail "no predictions"
expect 2 evaluate "$model" --data npz:points.npz --predictions all.npz
contains err "--force"

expect 2 evaluate "$model"
expect 2 evaluate "$model" --data npz:points.npz --class-offset 1
contains err "class-offset"
expect 2 evaluate "$model" --data npz:points.npz --output nonsense
expect 2 evaluate "$model" --data nonsense:points.npz
