#!/bin/bash
# Each check of `make lint` finds what it is there for, and names file, line and remedy.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p src/base src/model tools
cp -r "$SPRY_SOURCE_DIR/tools/lint" tools/
cp "$SPRY_SOURCE_DIR/.clang-format" .
export PYTHONDONTWRITEBYTECODE=1

# expect CHECK TEXT: the check fails and prints a line that starts with TEXT.
expect() {
    local output
    if output=$("tools/lint/$1" "$work" 2>&1); then
        echo "$1 passed, \"$2\" was expected"
        exit 1
    fi
    if ! grep -qF -- "$2" <<<"$output"; then
        printf '%s: "%s" was expected, not:\n%s\n' "$1" "$2" "$output"
        exit 1
    fi
}

cat >src/base/bad.c <<'C'
#include "model/graph.h"
#include "gone.h"
/* A comment may say strcpy(a, b). */
int bad(char *a, const char *b)
{
    struct list *x = next(a);
    x->free(x);
    strcpy(a, "free(a)");
    free(a);
        return 0;
}
C
touch src/model/graph.h
expect includes.py 'src/base/bad.c:1: base includes "model/graph.h" of a higher layer'
expect includes.py 'src/base/bad.c:2: "gone.h" is no file below src/'
expect banned.py 'src/base/bad.c:8: strcpy is banned here'
expect banned.py 'src/base/bad.c:9: free is banned here'
[ "$(tools/lint/banned.py "$work" | wc -l)" -eq 2 ]
expect folders.py 'src/base/README.md:1: is missing'
if command -v clang-format >/dev/null; then
    expect format.sh 'src/base/bad.c:9: not in the house style'
fi

if command -v pmccabe >/dev/null; then
    {
        echo 'int branchy(int a)'
        echo '{'
        for value in $(seq 30); do printf '    if (a == %d) {\n        return 1;\n    }\n' "$value"; done
        for _ in $(seq 40); do echo '    a += 1;'; done
        echo '    return a;'
        echo '}'
    } >src/base/branchy.c
    expect lengths.py 'src/base/branchy.c:1: branchy has complexity 31'
    expect lengths.py 'src/base/branchy.c:1: branchy has 13'
fi
