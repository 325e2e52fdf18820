#!/bin/sh
# Fetches and builds what bench/table.py needs, as far as it can be had, and runs it:
#   tools/bench.sh JOBS [OPTION or ROW ...]
# What is missing in the end (no network, no room) becomes a line that says so.
set -u
cd "$(dirname "$0")/.."
jobs=$1
shift

tools/setup.sh build bench || echo "bench: some packages are missing" >&2
if [ ! -e bench/peers/node_modules ]; then
    (cd bench/peers && npm ci --ignore-scripts --no-audit --no-fund) ||
        echo "bench: no ONNX Runtime" >&2
fi
/usr/bin/python3 tools/models/make_models.py build/models >/dev/null ||
    echo "bench: not all models could be made" >&2
# The peers' libraries may have come since the last configuration.
cmake --preset release -DSPRY_BUILD_BENCH=ON -U "BENCH_DNNL*" >/dev/null || exit 1
cmake --build build/release -j "$jobs" --target product bench_programs || exit 1
exec /usr/bin/python3 bench/table.py "$@"
