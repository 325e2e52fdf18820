#!/bin/bash
# Manual pages are well-formed and have what readers look for.
# shellcheck source=tests/cli/_common.sh
. "$SPRY_SOURCE_DIR/tests/cli/_common.sh"

for command in "" $(commands); do
    # shellcheck disable=SC2086
    expect 0 help --man $command
    grep '^\.SH' out | tr -d '"' >sections
    for section in NAME SYNOPSIS DESCRIPTION 'EXIT STATUS' ENVIRONMENT 'SEE ALSO'; do
        contains sections ".SH $section"
    done
    if command -v groff >/dev/null; then
        groff -man -Tutf8 -ww -z out 2>warnings || fail "groff failed on the page of '$command'"
        [ ! -s warnings ] || fail "$command: $(cat warnings)"
    fi
done
expect 0 help --man run
contains out '\fB\-\-threads\fR'
contains out '.SH EXAMPLES'
