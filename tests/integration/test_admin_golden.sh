#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checkpoints, clones and garbage of the golden databases, through the program shale.
set -u
src=${SRCDIR:?}/tests/golden shale=${BUILDDIR:?}/shale
tmp=$(mktemp -d "${TMPDIR:-/tmp}/shale-admin-XXXXXX") || exit 99
trap 'rm -rf "$tmp"' EXIT
trap 'exit 99' HUP INT TERM
failed=0

fail() {
	failed=$((failed + 1))
	echo "FAILED: $*"
}

# same EXPECTED COMMAND...: it prints what the file holds.
same() {
	expected=$1
	shift
	"$shale" "$@" >"$tmp/out" 2>"$tmp/err" || fail "shale $*: status $?: $(cat "$tmp/err")"
	cmp -s "$tmp/out" "$expected" || fail "shale $* differs from $expected: $(diff "$tmp/out" "$expected" | head -n 4)"
}

run() {
	"$shale" "$@" >"$tmp/out" 2>"$tmp/err" || fail "shale $*: status $?: $(cat "$tmp/err")"
}

copy() {
	rm -rf "$tmp/store"
	cp -r "$src/$1/store" "$tmp/store" && chmod -R u+w "$tmp/store" || exit 99
	db=$tmp/store/db
}

# Each checkpoint shows what SlateDB saw at it: to a reader, in a clone, and after garbage was collected. One had a
# lifetime that is over.
copy checkpointed
gold=$src/checkpointed
same "$gold/checkpoints.json" checkpoint list "$db"
for f in "$gold"/expected.checkpoint-*.rows; do
	id=${f##*checkpoint-} id=${id%.rows}
	same "$f" dump "$db" --digest --checkpoint "$id"
	run clone "$tmp/store/c-$id" --from db --checkpoint "$id"
	same "$f" dump "$tmp/store/c-$id" --digest
done
run gc "$db" --min-age-s 0
for f in "$gold"/expected.checkpoint-*.rows; do
	id=${f##*checkpoint-} id=${id%.rows}
	same "$f" dump "$tmp/store/c-$id" --digest
	if ! grep -A 2 "$id" "$gold/checkpoints.json" | grep -q '"expire_time": "2023'; then
		same "$f" dump "$db" --digest --checkpoint "$id"
	else
		"$shale" dump "$db" --checkpoint "$id" >"$tmp/out" 2>&1 && fail "checkpoint $id has expired and is there"
	fi
done
same "$gold/expected.rows" dump "$db" --digest

# Clones read what they borrow, are cloned on, and keep it from their lenders' collectors.
copy clone
gold=$src/clone
for d in db clone clone2; do
	run clone "$tmp/store/of-$d" --from "$d"
done
for d in db clone clone2; do
	run gc "$tmp/store/$d" --min-age-s 0
	run gc "$tmp/store/of-$d" --min-age-s 0
done
for d in db clone clone2; do
	rows=$gold/expected.$d.rows
	[ "$d" = db ] && rows=$gold/expected.rows
	same "$rows" dump "$tmp/store/$d" --digest
	same "$rows" dump "$tmp/store/of-$d" --digest
	run clone "$tmp/store/of-$d" --from "$d" # is there, and whole
done

# SlateDB has collected it: there is nothing left for us.
copy gc
same /dev/null gc "$db" --min-age-s 0 --dry-run
run gc "$db" --min-age-s 0
same "$src/gc/expected.rows" dump "$db" --digest

# What is asked for in vain.
"$shale" clone "$db" --from db >/dev/null 2>&1 && fail 'a clone of itself was made'
"$shale" clone "$tmp/store/x" >/dev/null 2>&1 && fail 'a clone of nothing was made'
"$shale" gc "$db" --only wal,walnuts >/dev/null 2>&1 && fail 'gc --only walnuts'
"$shale" checkpoint delete "$db" no-uuid >/dev/null 2>&1 && fail 'a checkpoint no-uuid was deleted'
"$shale" checkpoint refresh "$db" 00000000-0000-4000-8000-000000000000 >/dev/null 2>&1 &&
	fail 'a checkpoint that is not there was refreshed'
"$shale" checkpoint "$db" >/dev/null 2>&1 && fail 'checkpoint alone is a command'

[ "$failed" = 0 ] && echo 'checkpointed, clone, gc: as SlateDB has them'
[ "$failed" = 0 ]
