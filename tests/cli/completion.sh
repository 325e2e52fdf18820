#!/bin/bash
# Completion scripts parse in their shells, and bash's offers the right words.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

for shell in bash zsh fish; do
    expect 0 help --completion "$shell"
    cp out "completion.$shell"
    if command -v "$shell" >/dev/null; then
        "$shell" -n "completion.$shell" || fail "$shell does not understand its completion"
    fi
    for command in $(commands); do
        contains "completion.$shell" "$command"
    done
done
expect 2 help --completion csh
contains err "bash, zsh, fish"

# shellcheck disable=SC1091
. ./completion.bash

# offers WORDS... -- EXPECTED...: completing the last word offers exactly what is expected.
offers() {
    COMP_WORDS=()
    while [ "$1" != -- ]; do
        COMP_WORDS+=("$1")
        shift
    done
    shift
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _spry
    [ "${COMPREPLY[*]}" = "$*" ] || fail "${COMP_WORDS[*]}: '${COMPREPLY[*]}', not '$*'"
}
touch model.onnx
offers spry vers -- version
offers spry help vers -- version
offers spry version --col -- --color
offers spry run --color n -- never
offers spry run --precision b -- bf16
offers spry run --threads "" --
offers spry run mod -- model.onnx
offers spry run -o mod -- model.onnx
