#!/bin/sh
# Common misspellings, by codespell where it is installed. Words it gets wrong: tools/lint/words.txt
set -eu
lint=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$lint/../..}"
command -v codespell >/dev/null || exit 0

list=$(mktemp)
trap 'rm -f "$list" "$list.out"' EXIT
git ls-files -co --exclude-standard -- '*.c' '*.h' '*.md' '*.sh' '*.py' '*.cmake' '*.txt' \
    2>/dev/null | while read -r file; do [ ! -f "$file" ] || echo "$file"; done >"$list"
[ -s "$list" ] || exit 0
xargs codespell --ignore-words "$lint/words.txt" <"$list" |
    sed 's/$/ (spelling; a word of the trade goes into tools\/lint\/words.txt)/' >"$list.out"
cat "$list.out"
[ ! -s "$list.out" ]
