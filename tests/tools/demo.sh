#!/bin/bash
# What `make demo` prints ends in a table with real figures.
set -euo pipefail
[ -n "${SPRY_BINARY:-}" ] || exit 77
output=$(bash "$SPRY_SOURCE_DIR/tools/demo.sh" "$SPRY_BINARY")
for line in 'a.png +shows A +is read as A$' '7.png +shows 7 +is read as 7$' \
    'model file +232 KiB +an ONNX file with [0-9]+ stored' 'work +[0-9.]+ million' \
    'read correctly +1[78][0-9]{2} of 1800, 9[0-9.]+ %' 'time per picture +[0-9]+\.[0-9]{2} ms' \
    'memory +[0-9]+\.[0-9] MB' 'processor +[a-z0-9]+ '; do
    grep -qE -- "$line" <<<"$output" || { echo "no line like '$line' in:"; echo "$output"; exit 1; }
done
