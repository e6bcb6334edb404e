#!/usr/bin/env bash
# Where io_uring is forbidden, as in most containers: push, load and pull work all the same, and doctor says what is missing.
set -eu
cc -o "$TMPDIR/deny_uring" "$LODE_SOURCE/tests/system/deny_uring.c"
deny=$TMPDIR/deny_uring
status=0
"$deny" true || status=$?
[ "$status" = 0 ] || exit "$status"

fail() { echo "FAILED: $*" >&2; exit 1; }
export LODE_URL=$TMPDIR/root
head -c 5000001 /dev/urandom > "$TMPDIR/weights.bin"
"$deny" "$LODE_BIN" init
"$deny" "$LODE_BIN" push rank "$TMPDIR/weights.bin" --alias prod
"$deny" "$LODE_BIN" pull rank@prod "$TMPDIR/out"
cmp "$TMPDIR/weights.bin" "$TMPDIR/out/weights.bin" || fail "other bytes came back"
"$deny" "$LODE_BIN" cat rank@prod/weights.bin | cmp - "$TMPDIR/weights.bin" || fail "cat gave other bytes"
"$deny" "$LODE_BIN" verify rank@prod
"$deny" "$LODE_BIN" doctor > "$TMPDIR/doctor" || true
grep -qi 'io_uring' "$TMPDIR/doctor" || { cat "$TMPDIR/doctor"; fail "doctor does not mention io_uring"; }
if LODE_IO=uring "$deny" "$LODE_BIN" verify rank@prod 2> "$TMPDIR/forced"; then fail "LODE_IO=uring did not insist"; fi
grep -qi 'io_uring' "$TMPDIR/forced" || { cat "$TMPDIR/forced"; fail "the refusal does not say io_uring"; }
