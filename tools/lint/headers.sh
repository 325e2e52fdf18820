#!/bin/sh
# Every public header compiles alone, without a warning, as C17 and as C++17.
set -eu
cd "${1:-$(dirname "$0")/../..}"
[ -d include/spry ] || exit 0

status=0
check() {
    compiler=$1
    language=$2
    standard=$3
    header=$4
    if ! log=$(echo "#include \"$header\"" | $compiler -x "$language" "-std=$standard" -Iinclude \
        -Wall -Wextra -Wpedantic -Wshadow -Werror -fsyntax-only - 2>&1); then
        echo "$log" | grep -E 'error|warning' | head -3
        echo "include/$header:1: does not compile alone as $standard; include what it uses"
        status=1
    fi
}
for file in include/spry/*.h; do
    [ -f "$file" ] || continue
    check gcc c c17 "${file#include/}"
    check g++ c++ c++17 "${file#include/}"
done
exit $status
