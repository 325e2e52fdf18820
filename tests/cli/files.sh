#!/bin/bash
# Bad model files: each kind has its exit code, and the error names the file.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

for command in run bench; do
    expect 6 "$command" missing.onnx
    contains err "missing.onnx"
    expect 6 "$command" .
    : >empty.onnx
    expect 3 "$command" empty.onnx
    printf 'this is no model' >text.onnx
    expect 3 "$command" text.onnx
    contains err "text.onnx"
    head -c 100 "$models/scores.onnx" >cut.onnx
    expect 3 "$command" cut.onnx
    contains err "cut.onnx"
    expect 4 "$command" "$models/unsupported.onnx"
    contains err "Teleport"
    contains err "beam"
    empty out
done
