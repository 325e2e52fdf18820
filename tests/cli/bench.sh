#!/bin/bash
# spry bench: the figures are there and make sense.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
model=$models/sum.onnx

expect 0 bench "$model" --runs 20 --warmup 1 --threads 1 --json
json out 'd["runs"] == 20 and d["made_by"]["threads"] == 1 and d["warmup"] == 1'
json out '0 < d["latency_ms"]["min"] <= d["latency_ms"]["median"] <= d["latency_ms"]["p99"] <= d["latency_ms"]["max"]'
json out 'd["load_ms"] > 0 and d["peak_rss_mb"] > 1 and d["first_run_ms"] > 0'
json out '[o["type"] for o in d["ops"]] == ["Add", "Relu"]'
json out 'all(o["kernel"] and o["calls"] > 0 and o["ms"] > 0 for o in d["ops"])'
json out 'all(o["way"] == "" and o["threads"] == 0 and o["foretold_ms"] == 0 for o in d["ops"])'
json out 'd["peak_gflops"]["f32"] > 0 and d["peak_gflops"]["s8"] > 0 and d["clock_ghz"] > 0'
json out 'abs(sum(o["percent"] for o in d["ops"]) - 100) < 0.01'

expect 0 bench "$model" --runs 5 --set batch=4
contains out "median"
contains out "Slowest nodes"
lacks err "dimension batch"
expect 0 bench "$model" --seconds 0.01 --explain
contains out "Every node"
contains out "% of peak"
contains out "GFLOP/s per core"

# A convolution says how it was planned, and stays below the peak: four times the peak where it needs
# a quarter of the multiplications that are counted.
expect 0 bench "$SPRY_SOURCE_DIR/examples/glyphs/glyphs.onnx" --runs 20 --threads 1 --json
json out 'any(o["way"] and o["threads"] == 1 for o in d["ops"] if o["type"] == "Conv")'
json out 'all(0 < o["percent_of_peak"] < 400 for o in d["ops"] if o["type"] == "Conv")'

expect 0 bench "$model" --runs 5 --csv
[ "$(wc -l <out)" -eq 2 ] || fail "a summary has a title row and a row"
python3 -c 'import csv, sys
rows = list(csv.reader(sys.stdin))
sys.exit(len({len(row) for row in rows}) != 1)' <out || fail "rows differ in length"
expect 0 bench "$model" --runs 5 --csv --explain
[ "$(wc -l <out)" -eq 3 ] || fail "two nodes are three rows"
expect 0 bench "$model" --runs 5 --md
contains out "| model | median ms |"
expect 2 bench "$model" --runs -1

# Beside somebody else's work: what the system does not tell is said, and versions are chosen from.
glyphs=$SPRY_SOURCE_DIR/examples/glyphs/glyphs.onnx
expect 0 bench "$glyphs" --threads 1 --aggressor 2 --seconds 0.02 --json -q
json out 'd["aggressor"]["level"] == 2 and 0 < d["aggressor"]["share"] <= 1'
json out 'd["aggressor"]["stream_gigabytes_per_second"] > 0 and d["alone_ms"] > 0 and d["beside_ms"] > 0'
json out 'd["proxy"]["operators"] > 0 and d["proxy"]["level"] in range(5)'
json out 'all(d["system"][k] == "yes" or d["system"][k].startswith("not available: ") for k in ("counters", "traffic", "pressure", "steal"))'
expect 0 bench "$glyphs" --threads 1 --aggressor 0 --seconds 0.01 -q
contains out "aggressor none"
contains out "proxy"
expect 2 bench "$glyphs" --aggressor 6
expect 0 bench "$glyphs" --threads 2 --versions --seconds 0.005 --json -q
json out 'len(d["versions"]) == 4 and len(d["choices"]) == 6 and d["target_ms"] > 0'
json out 'd["fastest_alone"] in [v["name"] for v in d["versions"] if v["kept"]]'
json out 'all(len(v["ms"]) == (6 if v["kept"] else 0) for v in d["versions"])'
json out 'all(c["fixed_ms"] > 0 and c["adaptive_ms"] > 0 and c["level"] in range(5) for c in d["choices"])'
expect 0 bench "$glyphs" --threads 1 --versions --target 0.000001 --seconds 0.002 -q
contains out "fastest alone"
