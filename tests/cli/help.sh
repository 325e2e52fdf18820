#!/bin/bash
# Help texts: those in help/ word by word (SPRY_UPDATE=1 rewrites them), all of them in form.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

for golden in "$tests"/help/*.txt; do
    command=$(basename "$golden" .txt)
    expect 0 "$command" --help
    empty err
    if [ "${SPRY_UPDATE:-}" = 1 ]; then
        cp out "$golden"
    fi
    diff -u "$golden" out || fail "the help of $command has changed (SPRY_UPDATE=1 accepts it)"
    cp out once
    expect 0 help "$command"
    cmp -s once out || fail "help $command and $command --help differ"
done

for command in $(commands); do
    expect 0 "$command" --help
    [ "$(head -n 1 out)" = "Examples:" ] || fail "$command: examples come first"
    [ "$(sed -n '/^Examples:/,/^$/p' out | grep -c "^  spry $command")" -ge 2 ] ||
        fail "$command: two examples are missing"
    sed '/^Examples:/,/^$/d' out | awk 'length > 80 { exit 1 }' || fail "$command: a long line"
    contains out "Usage: spry $command"
done

COLUMNS=50 expect 0 run --help
sed '/^Examples:/,/^$/d; /^Usage/d' out | awk 'length > 50 { exit 1 }' || fail "not wrapped at 50"
