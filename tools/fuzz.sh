#!/bin/sh
# Runs every fuzz target, each for SECONDS: tools/fuzz.sh [SECONDS [JOBS [TARGET...]]]
# New inputs gather in build/fuzz/corpus/<name>, findings in build/fuzz/findings/; a finding is
# minimised, mended, and its input stored below tests/fuzz/corpus/<name>/ for ever.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
jobs=${2:-2}
[ $# -lt 2 ] || shift
[ $# -lt 1 ] || shift

tools/build.sh fuzz "$jobs"
cd build/fuzz
mkdir -p findings
if [ $# -eq 0 ]; then
    set -- fuzz_*
    [ -x "$1" ] || { echo "fuzz: tests/fuzz holds no fuzz_*.c" >&2; exit 1; }
fi

fuzz_one='
    name=${1#fuzz_}
    stored=../../tests/fuzz/corpus/$name
    mkdir -p "corpus/$name"
    [ -d "$stored" ] || stored=
    if "./$1" -max_total_time="$0" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="findings/$name-" "corpus/$name" $stored >"$name.log" 2>&1; then
        runs=$(sed -n "s/^stat::number_of_executed_units: *//p" "$name.log")
        printf "%-24s ok, %s inputs in %s s\n" "$1" "$runs" "$0"
    else
        printf "%-24s FINDING, see build/fuzz/%s.log and build/fuzz/findings/\n" "$1" "$name"
        tail -n 30 "$name.log"
        exit 1
    fi'
printf '%s\n' "$@" | grep -v '\.log$' | xargs -n 1 -P "$jobs" sh -c "$fuzz_one" "$seconds"
