#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One compaction of everything, by 'shale compact' and by the real SlateDB, in turn: the shape of SlateDB's own benchmark
# of compaction, 4 SSTs of 1 GiB whose keys interleave. Both work on the same SSTs (hard links), each in a process of its
# own, which does nothing else.
# Run it in the build directory: SRCDIR=.. ../tests/bench/compaction.sh [--rounds 3] [--ssts 4] [--mib 256] [--codec none]
#   --mib M      keys and values of one SST; 1024 for SlateDB's figures, which then takes twice 4 GiB of memory on tmpfs
#   --ours       ours alone
#   BENCH_DIR    where the databases lie (/dev/shm)
#   SLATEDB_INTEROP   a --release build of tests/interop; otherwise it is built here, where cargo is present
# MiB are those of keys and values that go in.
set -eu
SRCDIR=${SRCDIR:-.}
BUILDDIR=${BUILDDIR:-$(pwd)}
rounds=3 ssts=4 mib=256 codec=none ours_only=
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=$2; shift 2 ;;
	--ssts) ssts=$2; shift 2 ;;
	--mib) mib=$2; shift 2 ;;
	--codec) codec=$2; shift 2 ;;
	--ours) ours_only=1; shift ;;
	*) echo "unknown option $1"; exit 2 ;;
	esac
done

bench=$BUILDDIR/tests/bench/bench_compaction
make -s -C "$BUILDDIR" shale tests/bench/bench_compaction

theirs=${SLATEDB_INTEROP:-}
if [ -z "$theirs" ] && [ -z "$ours_only" ] && command -v cargo >/dev/null; then
	CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$BUILDDIR/tests/interop/target}
	export CARGO_TARGET_DIR
	cargo build --quiet --release --locked --manifest-path "$SRCDIR/tests/interop/Cargo.toml"
	theirs=$CARGO_TARGET_DIR/release/slatedb-interop
fi
[ -z "$ours_only" ] || theirs=

work=$(mktemp -d "${BENCH_DIR:-/dev/shm}/shale-compaction.XXXXXX")
trap 'rm -rf "$work"' EXIT

"$bench" load "$work/base" "$ssts" "$mib" 32 224 "$codec"

# one NAME PROGRAM ARGUMENT...: a line of figures, of a compaction of a copy of the loaded database
one() {
	local name=$1
	shift
	cp -al "$work/base" "$work/db"
	printf '%s %s\n' "$name" "$("$bench" measure "$@" 2>"$work/log" || { cat "$work/log" >&2; echo failed; })"
	rm -rf "$work/db"
}

# SlateDB's standalone compactor knows no codec
as_database=()
[ "$codec" = none ] || as_database=(--embedded --codec "$codec")
for ((round = 0; round < rounds; round++)); do
	one ours "$BUILDDIR/shale" compact "$work/db/db" --full --codec "$codec"
	[ -z "$theirs" ] || one SlateDB "$theirs" compact --root "$work/db" --path db --full "${as_database[@]}"
done | tee "$work/figures"

awk -v total=$((ssts * mib)) '
$2 == "failed" { bad = 1; exit 1 }
{ n[$1]++; for (i = 2; i <= 4; i++) v[$1, i, n[$1]] = $i }
function median(p, i,    m, j, k, t, a) {
	m = n[p]
	for (j = 1; j <= m; j++) a[j] = v[p, i, j] + 0
	for (j = 2; j <= m; j++) for (k = j; k > 1 && a[k - 1] > a[k]; k--) { t = a[k]; a[k] = a[k - 1]; a[k - 1] = t }
	return a[int((m + 1) / 2)]
}
function line(what, o, s, better) {
	if (s) printf "%-24s %10.1f %10.1f %8.2f\n", what, o, s, better
	else printf "%-24s %10.1f\n", what, o
}
END {
	if (bad) exit 1
	printf "medians of %d rounds, %d MiB\n%-24s %10s %10s %8s\n", n["ours"], total, "", "ours", "SlateDB", "better"
	for (i = 2; i <= 4; i++) { o[i] = median("ours", i); if (n["SlateDB"]) s[i] = median("SlateDB", i) }
	line("MiB/s", total / o[2], s[2] ? total / s[2] : 0, s[2] / o[2])
	line("MiB per CPU second", total / o[3], s[3] ? total / s[3] : 0, s[3] / o[3])
	line("seconds", o[2], s[2], s[2] / o[2])
	line("CPU seconds", o[3], s[3], s[3] / o[3])
	line("peak memory, MiB", o[4], s[4], s[4] / o[4])
}' "$work/figures"
