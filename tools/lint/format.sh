#!/bin/sh
# The C sources are as clang-format writes them: tools/lint/format.sh [--fix | ROOT]
set -eu
fix=""
root="$(dirname "$0")/../.."
case ${1:-} in
--fix) fix=yes ;;
?*) root=$1 ;;
esac
cd "$root"

list=$(mktemp)
log=$(mktemp)
trap 'rm -f "$list" "$log"' EXIT
{ git ls-files -co --exclude-standard -- '*.c' '*.h' 2>/dev/null ||
    find src include tests examples bench -name '*.[ch]' 2>/dev/null; } |
    while read -r file; do [ ! -f "$file" ] || echo "$file"; done >"$list"
[ -s "$list" ] || exit 0

if [ -n "$fix" ]; then
    xargs clang-format -i <"$list"
    exit 0
fi
# One line per place; two processes share the files.
if ! xargs -n 40 -P 2 clang-format --dry-run -Werror --ferror-limit=3 <"$list" 2>"$log"; then
    sed -n 's/^\([^ ]*:[0-9]*\):[0-9]*: error: code should be clang-formatted.*/\1: not in the house style; run make format/p' "$log" |
        sort -u
    exit 1
fi
