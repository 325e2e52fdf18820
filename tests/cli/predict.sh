#!/bin/bash
# spry predict: figures, files, and what it refuses.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

# The published figures: per image on a V100, dense and with half of the squares.
expect 0 predict resnet101 --target v100 --compat --granularity 8-4-7-1 --density 0.5 --json
json out 'd["schema"] == 1 and d["command"] == "predict"' \
    'abs(d["dense_ms"] - 1.6770) < 5e-5' 'abs(d["sparse_ms"] - 1.186) < 5e-4' \
    'len(d["blocks"]) == 33 and len(d["stages"]) == 4' 'd["batch"] == 128 and d["halo"] == "ignore"' \
    '[s["granularity"] for s in d["stages"]] == [8, 4, 7, 1]' \
    'abs(sum(b["sparse_ms"] for b in d["blocks"]) - d["sparse_ms"]) < 1e-9' \
    '"memory.dram.bandwidth" in d["target_read"]'
# Single pixels are slower there, and pay on the smaller machine.
expect 0 predict resnet101 --target v100 --compat --granularity 1-1-1-1 --json
json out 'd["sparse_ms"] > 1.2 * d["dense_ms"] and 0 < d["break_even"] < 0.5'
expect 0 predict resnet101 --target tx2 --compat --granularity 1-1-1-1 --json --sweep
json out 'd["sparse_ms"] < 0.7 * d["dense_ms"] and len(d["sweep"]) == 30'

expect 0 predict regnety-400m --target nano --sweep
contains out "break-even"
contains out "layer4.5"
for skip in channels layers; do
    expect 0 predict resnet50 --target rtx3060 --skip $skip --density 0.3 --json
    json out "d['skip'] == '$skip' and d['sparse_ms'] < d['dense_ms']"
done

# A model's blocks are those of the table.
expect 0 predict resnet50 --target tx2 --granularity 4-4-2-1 --json
cp out table
expect 0 new resnet50 -o resnet50.onnx
expect 0 predict resnet50.onnx --target tx2 --granularity 4-4-2-1 --json
json out 'd["outside_ms"] > 0 and len(d["blocks"]) == 16' \
    'abs(d["dense_ms"] - json.load(open("table"))["dense_ms"]) < 1e-9' \
    'abs(d["sparse_ms"] - json.load(open("table"))["sparse_ms"]) < 1e-9'
expect 0 predict small-cnn --target tx2
contains out "outside of blocks"
# The machine can be changed, and be the user's own.
expect 0 predict resnet50 --target tx2 --set compute.units=20 --set 'memory.dram.bandwidth=1 TB/s' \
    --granularity 4-4-2-1 --json
json out 'd["dense_ms"] < json.load(open("table"))["dense_ms"] / 3'
cp "$SPRY_SOURCE_DIR/targets/tx2.json" mine.json
expect 0 predict resnet50 --target mine.json --granularity 4-4-2-1 --json
json out 'd["dense_ms"] == json.load(open("table"))["dense_ms"]'

# Refused, saying what would be right.
expect 2 predict resnet50 --target v101
contains err "v100"
contains err "tx2"
export XDG_CACHE_HOME=$work/cache
expect 2 predict resnet50
contains err "spry doctor --calibrate"
for density in -0.1 1.1 half nan; do
    expect 2 predict resnet50 --target v100 --density "$density"
done
for squares in 0-1-1-1 4-4-2 4-4-2-1-1 4--2-1 x -1 4-4-2-; do
    expect 2 predict resnet50 --target v100 "--granularity=$squares"
done
expect 2 predict
expect 2 predict resnet50 --target v100 --set compute.units
expect 3 predict resnet50 --target v100 --set compute.unit=3
contains err "compute.unit"
expect 3 predict resnet50 --target v100 --set compute.units=0
expect 3 predict resnet50 --target v100 --set compute.clock=3
contains err "1.5 GHz"
printf '{"compute": {"units": 1}}' >bad.json
expect 3 predict resnet50 --target bad.json
contains err "bad.json"
contains err "compute.macs_per_cycle is missing"
printf '{"compute": ' >bad.json
expect 3 predict resnet50 --target bad.json
expect 6 predict resnet50 --target missing.json
expect 6 predict missing.onnx --target v100
expect 4 predict "$models/sum.onnx" --target v100
contains err "no convolution"

# This machine, once it was measured: quickly, whatever else runs, so nothing is said of how well.
expect 0 doctor --calibrate --json
json out 'd["probes"] >= 20 and d["checked"] >= 30 and d["mean_error"] > 0' \
    '-1 <= d["rank_correlation"] <= 1' 'len(d["squares"]["points"]) >= 30' \
    '-1 <= d["squares"]["rank_correlation"] <= 1' 'd["squares"]["mean_error"] > 0'
[ -s cache/spry/cpu.json ] || fail "no description in the cache"
expect 0 predict resnet50 --json
json out 'd["target"] == "cpu" and d["batch"] == 1 and d["sparse_ms"] < d["dense_ms"]'
cp out here
expect 0 predict resnet50 --target cache/spry/cpu.json --set cpu.threads=2 --json
json out 'd["dense_ms"] < json.load(open("here"))["dense_ms"]'
sed 's/winograd/winogrand/' cache/spry/cpu.json >typo.json
expect 3 predict resnet50 --target typo.json
contains err "cpu.scale.winograd is missing"
XDG_CACHE_HOME=/dev/null expect 6 doctor --calibrate
unset XDG_CACHE_HOME
HOME='' expect 6 predict resnet50 --target cpu
