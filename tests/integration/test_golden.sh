#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every golden database, through the program shale: each way to look at it prints what SlateDB printed; a copy of it
# is written on, flushed and reopened, and the rows stay right.
# $1, $2, ...: only these scenarios.
set -u
src=${SRCDIR:?} shale=${BUILDDIR:?}/shale
tmp=$(mktemp -d "${TMPDIR:-/tmp}/shale-golden-XXXXXX") || exit 99
trap 'rm -rf "$tmp"' EXIT
trap 'exit 99' HUP INT TERM
failed=0 n=0
key=7368616c652d6b6579

fail() {
	failed=$((failed + 1))
	echo "FAILED $name/$db: $*"
}

# Run shale COMMAND on the database; its output goes to $tmp/out.
run() {
	command=$1
	shift
	if [ -d "$dir/wal-store" ]; then
		set -- "$@" --wal-url "file://$dir/wal-store/$db"
	fi
	"$shale" "$command" "file://$dir/store/$db" "$@" >"$tmp/out" 2>"$tmp/err" || {
		fail "shale $command: status $?: $(head -n 3 "$tmp/out" "$tmp/err")"
		return 1
	}
}

# The output is that file.
same() {
	cmp -s "$tmp/out" "$1" && return
	fail "$2 differs from $1:"
	diff "$tmp/out" "$1" | head -n 6 | cut -c 1-200
}

look() {
	run rows --digest && same "$gold/raw$suffix.rows" rows
	run manifest && same "$gold/manifest$suffix.json" manifest
	if [ -f "$gold/compactions$suffix.json" ]; then
		run compactions && same "$gold/compactions$suffix.json" compactions
	else
		run compactions && [ "$(cat "$tmp/out")" = null ] || fail "compactions is not null"
	fi
	run dump --digest --merge-op "$op" && same "$gold/expected$suffix.rows" dump
	run check --merge-op "$op" --expected "$gold/expected$suffix.rows"
	find "$dir" -type f | sort >"$tmp/after"
	cmp -s "$tmp/before" "$tmp/after" || fail "looking changed the store: $(diff "$tmp/before" "$tmp/after" | head -n 3)"
}

# Without rows that have expired: a flush makes tombstones of them (and so does SlateDB).
living() {
	awk -F '\t' -v now="$clock" '$5 == "-" || $5 > now' "$1"
}

# The rows are those expected, and beside them our key with this value.
rows_with() {
	run dump --digest --merge-op "$op" || return
	grep "^$key	" "$tmp/out" | cut -f 2 >"$tmp/mine"
	[ "$(cat "$tmp/mine")" = "$1" ] || fail "our key has $(cat "$tmp/mine") instead of $1 $2"
	grep -v "^$key	" "$tmp/out" >"$tmp/all"
	living "$tmp/all" >"$tmp/rest"
	living "$gold/expected$suffix.rows" >"$tmp/expected"
	cmp -s "$tmp/rest" "$tmp/expected" || {
		fail "other rows changed $2:"
		diff "$tmp/rest" "$tmp/expected" | head -n 6 | cut -c 1-200
	}
}

# Time stands where the scenario ended, so that nothing expires meanwhile.
write() {
	clock=$(awk -F '\t' '$4 ~ /^[0-9]+$/ && $4 > t { t = $4 } END { printf "%.0f", t ? t : 1700000000000 }' \
		"$gold/raw$suffix.rows")
	printf '%s\n' "put $key 01" 'flush wal' "get $key" 'reopen' "put $key 02" >"$tmp/script"
	run apply --merge-op "$op" --clock "$clock" "$tmp/script" || return
	rows_with 02 'after a reopen'
	printf '%s\n' 'flush memtable' "get $key" "put $key 03" 'flush memtable' 'crash' >"$tmp/script"
	run apply --merge-op "$op" --clock "$clock" "$tmp/script" || return
	rows_with 03 'after a flush'
	run check --merge-op "$op"
	run get --merge-op "$op" "$key"
}

one() {
	name=$1 gold=$src/tests/golden/$1
	op=append
	[ "$name" = merge-sum ] && op=sum
	for store in "$gold"/store/*/; do
		db=$(basename "$store") suffix=
		[ "$db" = db ] || suffix=.$db
		dir=$gold
		find "$dir" -type f | sort >"$tmp/before"
		look
		dir=$tmp/copy
		rm -rf "$dir"
		cp -r "$gold" "$dir" && chmod -R u+w "$dir"
		write
		n=$((n + 1))
	done
}

if [ $# -eq 0 ]; then
	set -- $(ls "$src/tests/golden" | grep -v '\.md$')
fi
for scenario; do
	one "$scenario"
done
echo "$n databases, $failed failures"
[ "$failed" -eq 0 ] && [ "$n" -gt 0 ]
