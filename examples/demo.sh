#!/usr/bin/env bash
# make demo: a real model, from training to rollback, on an embedded root below build/demo.
set -eu
cd "$(dirname "$0")/.."
demo=$PWD/build/demo
rm -rf "$demo"
mkdir -p "$demo"
export LODE_URL=$demo/root LODE_CACHE=$demo/cache

step() { printf '\n$ %s\n' "$*"; "$@"; }

step lode init "$LODE_URL"
python examples/demo.py "$demo/work"
step lode ls digits --sort metrics.accuracy:desc
step lode diff digits@1 digits@2
step lode verify --all
step lode log digits

cat <<TEXT

Next, in this shell:
  export LODE_URL=$LODE_URL PATH=\$PATH:$PWD/build/release
  lode show digits@prod --tensors        what is in it
  lode load digits@prod                  into memory, timed and checked
  lode promote digits@2 prod -m 'again'  while 'lode watch digits' runs in another shell
  lode serve                             then: curl http://127.0.0.1:7740/v1/models
  lode help                              every command
TEXT
