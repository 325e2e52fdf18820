#!/bin/bash
# spry new: the list, the file it writes, the same bits each time, and what is refused.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

expect 0 new --list
contains out "resnet20"
expect 0 new --list --json
json out '{a["name"]: a["parameters"] for a in d["architectures"]}["resnet20"] == 269722'
json out 'all("patch" in a for a in d["architectures"] if a["name"].startswith("vit"))'

expect 0 new lenet -o a.onnx --classes 7 --image 32x28x3
contains out "lenet"
expect 0 inspect a.onnx --json
json out 'd["inputs"][0]["type"] == "f32[1,3,32,28]" and d["outputs"][0]["type"] == "f32[1,7]"'
json out 'not d["unsupported"]'
expect 0 new lenet -o b.onnx --classes 7 --image 32x28x3
cmp a.onnx b.onnx || fail "the same seed gave another file"
SPRY_ISA=generic expect 0 new lenet -o b.onnx --classes 7 --image 32x28x3 --force
cmp a.onnx b.onnx || fail "another instruction set gave another file"
expect 0 new lenet -o b.onnx --classes 7 --image 32x28x3 --force --seed 1 --json
json out 'd["architecture"] == "lenet" and d["output"] == "b.onnx" and d["made_by"]["seed"] == 1'
! cmp -s a.onnx b.onnx || fail "another seed gave the same file"

expect 0 new vit-cifar -o v.onnx --image 16 --units 24 --heads 2 --depth 1 --patch 8
expect 0 run v.onnx --json
json out 'd["outputs"][0]["shape"] == [1, 10]'

expect 2 new lenet -o a.onnx
contains err "--force"
expect 2 new lenet
contains err "-o FILE"
expect 2 new -o c.onnx
contains err "--list"
expect 2 new lenett -o c.onnx
contains err "lenett"
for image in 0 32x 32x32x3x1 32x-1 x 99999999999; do
    expect 2 new lenet -o c.onnx --image $image
    contains err "--image"
done
expect 2 new lenet -o c.onnx --image 8
contains err "too small"
expect 2 new lenet -o c.onnx --heads 2
contains err "no such option"
expect 2 new vit-tiny -o c.onnx --patch 15
contains err "patches"
expect 6 new lenet -o missing/c.onnx
[ ! -e c.onnx ] || fail "a file was written in spite of the failure"
