#!/usr/bin/env bash
# Runs a test program as an ordinary user who may lock 64 KiB of memory: what root never notices shows here.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$1" "$scratch/test"
chmod 755 "$scratch" "$scratch/test"
mkdir -m 777 "$scratch/tmp"
export TMPDIR=$scratch/tmp HOME=$scratch/tmp
cd "$scratch/tmp"
if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=65534 --regid=65534 --clear-groups prlimit --memlock=65536:65536 "$scratch/test"
else
    prlimit --memlock=65536:65536 "$scratch/test"
fi
