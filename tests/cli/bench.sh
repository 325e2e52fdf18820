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
