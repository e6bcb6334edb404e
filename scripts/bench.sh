#!/usr/bin/env bash
# Runs every benchmark of bench/ in turn: bench/*.sh and bench/*.py, each beside its peer in one run.
#   scripts/bench.sh [NAME...]
set -eu
cd "$(dirname "$0")/.."
scripts/deps.sh bench
[ $# -gt 0 ] || set -- $(cd bench && ls -- *.sh bench_*.py 2> /dev/null)
export PATH="$PWD/build/release:$PATH"
python=python3
[ ! -x build/venv/bin/python ] || python=build/venv/bin/python
for name in "$@"; do
    echo "==== $name"
    case $name in
        *.py) "$python" "bench/$name" ;;
        *) bash "bench/$name" ;;
    esac
done
