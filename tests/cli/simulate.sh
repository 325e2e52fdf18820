#!/bin/bash
# spry simulate: figures, files, and what it refuses.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

four=(--set interconnect.width=4 --set interconnect.height=4)
# BookSim 2: 20.40 cycles at 0.3, 3.5 routers on the way.
expect 0 simulate noc "${four[@]}" --rate 0.3 --json
json out 'd["command"] == "simulate" and d["model"] == "noc" and d["target"]["interconnect.width"] == 4' \
    'abs(d["points"][0]["latency"] / 20.40 - 1) < 0.015' 'abs(d["points"][0]["hops"] - 3.5) < 0.05' \
    'abs(d["points"][0]["accepted"] - 0.3) < 0.006' 'd["points"][0]["drained"]'
expect 0 simulate noc --traffic transpose --rate 0.05 --packet 4 --routing romm --json
json out 'd["routing"] == "romm" and abs(d["points"][0]["latency"] / 36.70 - 1) < 0.015'
expect 0 simulate noc "${four[@]}" --cycles 2000 --sweep 0.1:0.3:0.1 --csv rows.csv
contains out "flit-hops"
[ "$(wc -l <rows.csv)" -eq 4 ] || fail "three rates and a title"
cp rows.csv first.csv
expect 2 simulate noc "${four[@]}" --cycles 2000 --sweep 0.1:0.3:0.1 --csv rows.csv
expect 0 simulate noc "${four[@]}" --cycles 2000 --sweep 0.1:0.3:0.1 --csv rows.csv --force
cmp rows.csv first.csv || fail "equal options, other rows"
for sweep in 0.1 0.1:0.2 0.2:0.1:0.1 0.1:0.2:0 a:b:c 0.1:0.2:0.1:1 0.1:2:0.1; do
    expect 2 simulate noc --sweep $sweep
done
expect 2 simulate noc --routing best
expect 2 simulate noc --traffic random
expect 2 simulate noc --requests 5
expect 0 simulate noc --cycles 500 --csv one.csv
[ "$(wc -l <one.csv)" -eq 2 ] || fail "one rate and a title"
expect 2 simulate noc --traffic transpose --set interconnect.width=4
expect 3 simulate noc --set interconnect.width=65
expect 3 simulate noc --set interconnect.with=6
expect 3 simulate noc --set interconnect.routing=best
contains err "interconnect.routing"
expect 3 simulate noc --target ddr4-2400
expect 2 simulate
expect 2 simulate cache

expect 0 simulate dram --json
json out 'd["reads"] == 10000 and d["writes"] == 0 and abs(d["gigabytes_per_second"] / 15.01 - 1) < 0.05' \
    '{c["command"]: c["count"] for c in d["commands"]}["read"] == 10000 and "joules" not in d'
expect 0 simulate dram --target hbm2 --traffic mixed --requests 48000 --json
json out '11500 < d["writes"] < 12500 and abs(d["gigabytes_per_second"] / 61.57 - 1) < 0.05'
# One read of a closed page: a queue's cycle, tRCD + CL + burst.
printf '# one\n0x1000 READ 100\n\n' >one.trace
expect 0 simulate dram one.trace --json
json out 'd["reads"] == 1 and 38 <= d["read_latency"] <= 40 and d["cycles"] >= 138'
python3 - "$SPRY_SOURCE_DIR/targets/ddr4-2400.json" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
d["energy"] = {"dram": {"activate": "2 nJ", "read": "3 nJ", "write": "4 nJ", "refresh": "100 nJ"}}
json.dump(d, open("priced.json", "w"))
PY
expect 0 simulate dram --target priced.json one.trace --json
json out 'abs(d["joules"] - 5e-9) < 1e-15'
expect 0 simulate dram --target priced.json one.trace
contains out "energy"
for line in '1000 READ 5' '0x10 LOAD 5' '0x10 READ' '0x10 READ -1' '0x10 READ 1 2' '0x10 READ 1'; do
    printf '0x40 W 3\n%s\n' "$line" >bad.trace
    expect 3 simulate dram bad.trace
    contains err "bad.trace:2"
done
: >empty.trace
expect 3 simulate dram empty.trace
expect 6 simulate dram missing.trace
expect 2 simulate dram one.trace --traffic random
expect 2 simulate dram --traffic uniform
expect 2 simulate dram --rate 0.5
expect 3 simulate dram --target mesh-8x8

# A row: 2 x 4 + 8 cycles; a gather of three: the least way, then 24 flits.
head='id,type,src,dst list,bytes,release,due,group'
printf '%s\n1,multicast,0,1 2 3,256,0,,\n' "$head" >flows.csv
expect 0 simulate metro flows.csv "${four[@]}" --json
json out 'd["makespan"] == 16 and d["bound"] == 16 and d["gap"] == 0'
printf '1,gather,1 2 3,0,8,0,20,7\n' >flows.csv
expect 0 simulate metro flows.csv "${four[@]}" --flit 8
contains out "bound     28"
for line in '1,unicast,0,16,8,0,,' '1,unicast,0,1 2,8,0,,' '1,cast,0,1,8,0,,' '1,unicast,0,1,-8,0,,' \
    '1,unicast,0,1,8,0,' '1,unicast,0,,8,0,,'; do
    printf '%s\n%s\n' "$head" "$line" >bad.csv
    expect 3 simulate metro bad.csv "${four[@]}"
    contains err "bad.csv:2"
done
expect 2 simulate metro
expect 2 simulate noc flows.csv

expect 0 simulate systolic 37x19x50 --set array.rows=8 --set array.columns=4 --json
json out 'd["cycles"] == d["closed_form"] and d["difference"] < 1e-6'
expect 0 simulate systolic 37x19x50 --dataflow outputs
contains out "formula"
for sizes in 3x4 3x4x 0x1x1 3x4x5x6 axbxc; do
    expect 2 simulate systolic $sizes
done
expect 3 simulate systolic 4x4x4 --target hbm2
expect 0 new resnet20 -o resnet20.onnx
expect 0 simulate tpu resnet20.onnx --json
json out 'len(d["layers"]) == 20 and d["level"] == "fast" and abs(d["macs"] / 40.8e6 - 1) < 0.02' \
    'sum(l["cycles"] for l in d["layers"]) == d["cycles"]' 'd["layers"][0]["taps_together"] == 3'
expect 0 simulate tpu resnet20.onnx --level cycle --target edge32 --csv layers.csv
[ "$(wc -l <layers.csv)" -eq 21 ] || fail "a row per layer and a title"
contains out "channel-first"
expect 0 simulate tpu resnet20.onnx --compare --multi-tile off --batch 4
contains out "explicit"
expect 2 simulate tpu resnet20.onnx --csv layers.csv
expect 2 simulate tpu
expect 3 simulate tpu resnet20.onnx --target v100
printf '{"compute":{"clock":"1 GHz"},"array":{"rows":8,"columns":8},"memory":{"sram":{"size":"64 KiB"},"dram":{"bandwidth":"1 GB/s"}}}' >plain.json
expect 0 simulate tpu resnet20.onnx --target ./plain.json
expect 3 simulate tpu resnet20.onnx --target ./plain.json --level cycle

expect 0 simulate metro resnet20.onnx --json --generations 5 "${four[@]}"
json out 'len(d["layers"]) == 20 and d["bound"] <= d["makespan"] <= 1.1 * d["bound"]' \
    'all(l["floor"] <= l["makespan"] for l in d["layers"])'
expect 0 simulate metro resnet20.onnx -q --generations 0 --compare "${four[@]}"
contains out "tree_sums"
expect 2 simulate metro flows.csv --generations x
expect 6 simulate metro missing.onnx

# METRO's other ends: the exact search, headers, files, tables that overflow, rows per width.
printf '%s\n1,unicast,0,3,256,0,,\n2,unicast,1,3,256,0,,\n' "$head" >two.csv
expect 0 simulate metro two.csv "${four[@]}" --exact --schedule s.json --json
json out 'd["makespan"] == 22 and d["optimum"] == 22 and d["floor"] == 22' 'd["joules"] > 0'
expect 0 simulate metro s.json --json
json out 'd["makespan"] == 22 and d["bursts"] == 1 and d["flows"] == 2'
python3 - <<'PY'
import json
d = json.load(open("s.json"))
d["bursts"][0]["injections"][1][1] -= 1
json.dump(d, open("early.json", "w"))
PY
expect 3 simulate metro early.json
contains err "early.json: burst 0: cycle"
printf '{"bursts": [{"width": 4}]}' >odd.json
expect 3 simulate metro odd.json
contains err "odd.json"
expect 2 simulate metro two.csv "${four[@]}" --schedule s.json
expect 0 simulate metro two.csv "${four[@]}" --headers chunk --json
json out 'd["makespan"] == 24'
expect 4 simulate metro two.csv "${four[@]}" --set interconnect.table=1 --chunk 1
contains err "router 1 needs 2 entries of 1"
for i in {1..13}; do printf '%d,unicast,%d,0,8,0,,\n' "$i" "$i"; done >many.csv
expect 2 simulate metro many.csv "${four[@]}" --exact
contains err "12 flows"
expect 0 simulate metro resnet20.onnx -q --generations 0 --flits 64,128,256 --compare "${four[@]}" --json
json out '[w["flit"] for w in d["widths"]] == [64, 128, 256]' \
    'all(a["makespan"] > b["makespan"] and a["processing"] >= b["processing"]
         for a, b in zip(d["widths"], d["widths"][1:]))' \
    'all(a["dor"] >= b["dor"] >= 1 for a, b in zip(d["widths"], d["widths"][1:]))'
for flits in 4 64, 64,x 64,65537 ''; do
    expect 2 simulate metro two.csv --flits "$flits"
done

# Equal options give equal bytes, whatever the number of threads.
for threads in 1 2 4; do
    expect 0 simulate metro resnet20.onnx "${four[@]}" --generations 3 --threads $threads --json -q
    grep -v '"threads"' out >"threads-$threads"
    cmp threads-1 "threads-$threads" || fail "$threads threads, another result"
done
for what in "noc --cycles 300" "dram --requests 300 --traffic mixed" "systolic 9x8x7" \
    "tpu resnet20.onnx --level cycle" "toy"; do
    # shellcheck disable=SC2086
    expect 0 simulate $what --json --trace one.trace.json --html one.html --force
    cp out first.json && cp one.trace.json first.trace && cp one.html first.html
    # shellcheck disable=SC2086
    expect 0 simulate $what --json --trace one.trace.json --html one.html --force
    cmp out first.json && cmp one.trace.json first.trace && cmp one.html first.html ||
        fail "spry simulate $what: equal options, other bytes"
done

# What is wrong with a machine or with work is named with its file and its key or line.
python3 - "$SPRY_SOURCE_DIR/targets" <<'PY'
import copy, json, sys
mesh = json.load(open(sys.argv[1] + "/mesh-8x8.json"))
tpu = json.load(open(sys.argv[1] + "/edge32.json"))


def write(name, base, section, key, value):
    d = copy.deepcopy(base)
    place = d
    for part in section.split("."):
        place = place[part]
    if value is None:
        del place[key]
    else:
        place[key] = value
    json.dump(d, open(name + ".json", "w"))


write("unknown", mesh, "interconnect", "breadth", 4)
write("zero", mesh, "interconnect", "width", 0)
write("missing", mesh, "interconnect", "height", None)
write("plain", tpu, "compute", "clock", 5)
write("wrong", tpu, "memory.sram", "size", "64 GHz")
write("empty", tpu, "memory.sram", "size", "0 B")
write("price", mesh, "energy.noc", "link", "0.1 pJ")
write("some", mesh, "energy.noc", "entry", None)
PY
while read -r name key what; do
    # shellcheck disable=SC2086
    expect 3 simulate $what --target ./$name.json
    contains err "$name.json"
    contains err "$key"
done <<'END'
unknown interconnect.breadth noc
zero interconnect.width noc
missing interconnect.height metro two.csv
plain compute.clock tpu resnet20.onnx
wrong memory.sram.size tpu resnet20.onnx
empty memory.sram.size systolic 4x4x4
price energy.noc.link noc
some energy.noc.entry metro two.csv
END
expect 3 simulate metro two.csv --set interconnect.width=2 --set interconnect.height=1
contains err "two.csv:2"
expect 3 simulate toy --set vector.lanes=0
expect 3 simulate toy --set compute.clock=1
contains err "compute.clock"
expect 2 simulate toy --batch 2
expect 2 simulate toy 3
contains err "spry simulate toy"

# Blocks of layers on an accelerator of many cores. Sums must agree, and no strategy beats the best.
expect 0 new resnet18 -o resnet18.onnx --quiet
expect 0 simulate mlu resnet18.onnx --compare --json
json out 'd["model"] == "mlu" and d["target"]["fusion.launch"] == "20 us"' \
    'len(d["strategies"]) == 7 and sum(b["strategy"] == "s1" for b in d["blocks"]) == d["layers"]' \
    'all(b["cores"] == 1 for b in d["blocks"] if b["strategy"] == "s1")' \
    'all(abs(sum(b["milliseconds"] for b in d["blocks"] if b["strategy"] == s["strategy"]) - s["milliseconds"]) < 1e-9 for s in d["strategies"])' \
    'all(sum(b["layers"] for b in d["blocks"] if b["strategy"] == s["strategy"]) == d["layers"] for s in d["strategies"])' \
    '(lambda t: t["s1"] == 1 and 3 < t["s6"] < 10 and max(t["s2"], t["s4"], t["s5"]) < t["s3"] < t["s6"] and t["s6"] >= 0.9 * t["s7"])({s["strategy"]: s["speed"] for s in d["strategies"]})' \
    'd["speed"] > d["speed_of_cores"] > 1 and d["speed_of_fusion"] > 1'
expect 0 simulate mlu resnet18.onnx --csv blocks.csv
contains out "from the number of cores alone"
grep -q "fusion.launch *20 us *assumed" out || fail "what is assumed is not said"
expect 0 simulate mlu resnet18.onnx --compare --csv all.csv
[ "$(grep -c '^"*s1"*,' all.csv)" -eq 31 ] || fail "a row per layer"
expect 2 simulate mlu resnet18.onnx --csv blocks.csv
expect 2 simulate mlu resnet18.onnx --level cycle
expect 2 simulate mlu
expect 3 simulate mlu resnet18.onnx --set fusion.lunch="5 us"
expect 3 simulate mlu resnet18.onnx --set fusion.on_chip="0 KiB"
contains err "fusion.on_chip"
expect 3 simulate mlu resnet18.onnx --target edge32
expect 2 simulate mlu resnet18.onnx --target nowhere
# Tensor cores that skip zeros.
expect 0 simulate dual-side 256x128x512 --density 0.5:0.25 --level cycle --json
json out 'd["model"] == "dual-side" and d["difference"] == 0 and 0 < d["products"] < 256 * 128 * 512 / 6' \
    'd["instructions"] + d["skipped"] == 8 * 512 * (256 // 32) * (128 // 32)'
cp out cycle.json
expect 0 simulate dual-side 256x128x512 --density 0.5:0.25 --json
json out 'd["instructions"] == json.load(open("cycle.json"))["instructions"]'
expect 0 simulate dual-side 256x128x512 --level cycle --set tensor_core.banks=32 --compare
contains out "compressed"
expect 0 simulate dual-side "$SPRY_SOURCE_DIR/examples/glyphs/glyphs.onnx" --level cycle --batch 4 --csv dual.csv
contains out "difference from f32"
head -1 dual.csv | grep -q "^name,input_density" || fail "no titles in dual.csv"
expect 2 simulate dual-side 256x128x512 --density 0.5
expect 2 simulate dual-side 256x128x512 --density 2:0.5
expect 2 simulate dual-side 256x128x512 --flit 8
expect 3 simulate dual-side 256x128x512 --set tensor_core.banks=48
expect 3 simulate dual-side 256x128x512 --set tensor_core.bank=32
expect 6 simulate dual-side none.onnx
# Sizes that only the data decides: the node is named.
for what in tpu metro; do
    expect 4 simulate $what "$models/growing.onnx"
    contains err "grown"
done

# A co-processor for attention.
expect 0 simulate energon 2x40x64x32 --keep 0.2 --compare --json
json out 'd["model"] == "energon" and [m["machine"] for m in d["machines"]] == ["energon", "dense"]' \
    'd["heads"] == 2 and d["queries"] == 80 and abs(d["kept"] - 20) < 3 and d["bytes"] > 0'
expect 0 new vit-cifar -o vit.onnx --quiet
expect 0 simulate energon vit.onnx --compare --json
json out 'len(d["machines"]) == 4 and d["machines"][1]["machine"] == "dense" and d["machines"][1]["speed"] == 1' \
    'all(0 < m["mass"] <= 100.001 and m["cosine"] > 0.3 for m in d["machines"])' \
    'd["machines"][0]["kept"] < 60'
cp out twice.json
expect 0 simulate energon vit.onnx --compare --json --threads 2
python3 -c 'import json; a, b = (json.load(open(f)) for f in ("out", "twice.json")); assert all(a[k] == b[k] for k in a if k != "made_by")' || fail "threads change cycles"
expect 2 simulate energon vit.onnx --alpha 1,0
expect 6 simulate energon vit.onnx -i missing.npy
expect 6 simulate dual-side vit.onnx -i missing.npy
expect 2 simulate energon vit.onnx --alpha 0,0,0,0
expect 3 simulate energon 1x4x600x64
contains err "coprocessor.codes"
expect 3 simulate energon 1x4x4x4 --set coprocessor.fifo=0
expect 4 simulate energon resnet18.onnx
echo nothing >broken.npz
expect 3 simulate energon broken.npz
