#!/usr/bin/env bash
# Runs ONNX's backend tests that are on this machine and checks the counts that the project promises:
#   run.sh CONFORMANCE-PROGRAM WORK-FOLDER
# Sources: Debian's libonnx-testdata, and $SPRY_DATA/onnx-conformance (archives per set).
# UPDATE=1 writes docs/conformance.md.
set -euo pipefail

program=$1
work=$2
source_dir=${SPRY_SOURCE_DIR:?}
debian=/usr/share/libonnx-testdata/data
archives=${SPRY_DATA:-/nonexistent}/onnx-conformance

mkdir -p "$work"
tables=()
if [ -d "$debian" ]; then
    "$program" "$debian"/{node,pytorch-converted,pytorch-operator,simple} > "$work/debian.tsv"
    tables+=("debian=$work/debian.tsv")
fi
if [ -d "$archives" ]; then
    for set in node node-new simple light pytorch-converted pytorch-operator; do
        [ -d "$work/$set" ] || tar -xzf "$archives/$set.tar.gz" -C "$work"
    done
    "$program" "$work"/{node,node-new,simple,light,pytorch-converted,pytorch-operator} \
        > "$work/current.tsv"
    tables+=("current=$work/current.tsv")
fi
if [ ${#tables[@]} = 0 ]; then
    echo "skipped: no data"
    exit 77
fi
if [ "${UPDATE:-0}" = 1 ]; then
    exec python3 "$source_dir/tools/conformance.py" --write "$source_dir/docs/conformance.md" "${tables[@]}"
fi
exec python3 "$source_dir/tools/conformance.py" "${tables[@]}"
