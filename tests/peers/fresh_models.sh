#!/bin/bash
# Every architecture of `spry new`, small enough to take no time, in Spry and in ONNX Runtime.
#   fresh_models.sh [PROGRAM] [--full: as large as they are by default]
set -euo pipefail
cd "$(dirname "$0")/../.."
spry=${1:-build/release/spry}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
while read -r name; do
    options="--classes 7 --image 40x32x2 --units 8"
    case $name in
    vit-*) options="--classes 7 --image 24x16x2 --patch 8 --units 24 --heads 3 --depth 2" ;;
    r2plus1d) options="--classes 7 --image 20x24x2 --frames 5 --units 8" ;;
    gcn) options="--classes 7 --features 19 --units 8 --depth 3" ;;
    mlp) options="--classes 7 --image 9x8x2 --units 33 --depth 3" ;;
    esac
    [ "${2:-}" != --full ] || options=""
    # shellcheck disable=SC2086
    "$spry" new "$name" -o "$folder/$name.onnx" $options >/dev/null
done < <("$spry" new --list | awk 'NR > 1 { print $1 }')
python3 tests/peers/ort_agreement.py "$folder" --spry "$spry"
