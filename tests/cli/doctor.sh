#!/bin/bash
# spry doctor: what it says follows the machine and the environment.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

expect 0 doctor
contains out "Instruction sets"
contains out "L1 cache"
empty err
SPRY_ISA=generic expect 0 doctor
contains out "kernels use    generic (asked for by SPRY_ISA)"
SPRY_ISA=sse17 expect 0 doctor
contains out "SPRY_ISA=sse17 is no instruction-set level"
SPRY_ISA=generic expect 0 doctor --json
json out 'd["isa"]["level"] == "generic"'
if command -v taskset >/dev/null && [ "$(nproc)" -gt 1 ]; then
    first=$(taskset -cp $$ | sed 's/.*: *\([0-9]*\).*/\1/')
    taskset -c "$first" "$spry" doctor --json >out
    json out 'd["cpu"]["usable"] == 1'
fi
