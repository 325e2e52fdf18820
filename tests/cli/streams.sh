#!/bin/bash
# Results go to stdout, everything else to stderr; full disks, closed pipes and terminals.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"
escape=$(printf '\033')

expect 0 run "$models/sum.onnx"
contains err "note:"
lacks out "note:"
expect 0 run --quiet "$models/sum.onnx"
empty err
expect 0 run -v "$models/sum.onnx"
contains err "loaded in"

# Not a terminal: no colour unless it is asked for.
expect 6 run missing.onnx
lacks err "$escape"
expect 6 run --color=always missing.onnx
contains err "$escape"
NO_COLOR=1 expect 6 run --color=always missing.onnx
contains err "$escape"
# A terminal of its own: needs script(1), and a /dev/pts, which bare containers may lack.
if script -qec true /dev/null </dev/null >/dev/null 2>&1; then
    terminal() {
        script -qec "$* '$spry' run missing.onnx" /dev/null </dev/null || true
    }
    terminal env >out
    contains out "${escape}["
    terminal env NO_COLOR=1 >out
    lacks out "${escape}["
    terminal env TERM=dumb >out
    lacks out "${escape}["
else
    echo "skipped: colour on a terminal (no pseudo-terminal here)"
fi

got=0
"$spry" help >/dev/full 2>err || got=$?
[ "$got" -eq 6 ] || fail "a full disk gave $got"
contains err "could not be written"
got=0
"$spry" run --json "$models/sum.onnx" >/dev/full 2>err || got=$?
[ "$got" -eq 6 ] || fail "a full disk gave $got"
contains err "could not be written"

# A reader that has seen enough ends the program quietly.
set +o pipefail
"$spry" help --completion bash 2>err | head -n 1 >out
set -o pipefail
empty err
"$spry" version >&- 2>err && fail "a closed stdout went unnoticed"
contains err "could not be written"
