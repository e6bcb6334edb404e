#!/usr/bin/env bash
# Runs every fuzz target for the given number of seconds (default 60), two at a time.
#   scripts/fuzz.sh [SECONDS [TARGET...]]
# What grows is kept in build/fuzz/corpus/<target>; an input that crashes, leaks or hangs lies in
# build/fuzz/found/<target>-*: mend the defect, then commit the input to tests/fuzz/corpus/<target>/.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
tree=build/fuzz

cmake -S . -B $tree -G Ninja -DCMAKE_C_COMPILER=clang-14 -DLODE_FUZZ=ON -DLODE_TESTS=OFF \
    -DLODE_SANITIZE=address,undefined > /dev/null
[ $# -gt 0 ] || set -- $(cd tests/fuzz && ls fuzz_*.c | sed 's/fuzz_\(.*\)\.c/\1/')
ninja -C $tree "${@/#/fuzz_}"
mkdir -p $tree/found

fuzz_one() {
    name=$1
    mkdir -p "$tree/corpus/$name"
    if "$tree/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="$tree/found/$name-" "$tree/corpus/$name" \
        "tests/fuzz/corpus/$name" > "$tree/$name.log" 2>&1; then
        echo "$name: nothing found in $(sed -n 's/^stat::number_of_executed_units: *//p' "$tree/$name.log") runs"
    else
        tail -n 40 "$tree/$name.log"
        echo "$name: FOUND something; see $tree/found/ and $tree/$name.log"
        return 1
    fi
}
export -f fuzz_one
export tree seconds
printf '%s\n' "$@" | xargs -P 2 -I{} bash -c 'set -u; fuzz_one {}'
