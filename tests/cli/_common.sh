# Shared by the tests of whole commands: source it first. Leaves the test in an empty folder.
# shellcheck shell=bash disable=SC2034
set -euo pipefail
spry=$SPRY_BINARY
tests=$SPRY_SOURCE_DIR/tests/cli
models=$tests/models
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unset NO_COLOR SPRY_ISA
export COLUMNS=80 TERM=xterm

fail() {
    printf 'FAILED: %s\n' "$*"
    [ ! -s out ] || sed 's/^/  stdout: /' out
    [ ! -s err ] || sed 's/^/  stderr: /' err
    exit 1
}

# expect CODE WORDS...: `spry WORDS` ends with CODE; its output is in the files out and err.
expect() {
    local code=$1 got=0
    shift
    "$spry" "$@" >out 2>err </dev/null || got=$?
    [ "$got" -eq "$code" ] || fail "spry $* ended with $got, not $code"
}

# contains FILE TEXT, lacks FILE TEXT
contains() {
    grep -qF -- "$2" "$1" || fail "no \"$2\" in $1"
}
lacks() {
    ! grep -qF -- "$2" "$1" || fail "\"$2\" in $1"
}

empty() {
    [ ! -s "$1" ] || fail "$1 should be empty"
}

# json FILE EXPRESSION...: the file is one JSON document d for which the Python expressions hold.
json() {
    python3 - "$@" <<'PY' || fail "$1 is not as it should be"
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    d = json.load(file)
wrong = [expression for expression in sys.argv[2:] if not eval(expression)]
print(*("not " + expression for expression in wrong), sep="\n", end="")
sys.exit(bool(wrong))
PY
}

# floats FILE COUNT: the last COUNT elements of a file of 32-bit floats, in one line.
floats() {
    tail -c $(($2 * 4)) "$1" | od -An -v -tf4 -w$(($2 * 4)) | tr -s ' ' | sed 's/^ //'
}

# The commands there are.
commands() {
    "$spry" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\)  .*/\1/p'
}
