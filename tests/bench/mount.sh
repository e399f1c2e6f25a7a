#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rates of a mounted volume beside libfuse's example passthrough_ll over tmpfs, and peak memory for a file of 2 GiB.
# Run it in the build directory: SRCDIR=.. ../tests/bench/mount.sh
# ROUNDS (5), FILES (5000), STREAM_MB (512) and BIG_MB (2048) change the amounts; BENCH_DIR (/dev/shm) is where
# everything lies.
#
# Two processes that wait for each other run ten times slower or faster with where the scheduler puts them, so all is
# pinned to one CPU (and runs at real-time priority where that is allowed, so that other load does not count), and the
# two take turns.
set -eu
SRCDIR=${SRCDIR:-.}
BUILDDIR=${BUILDDIR:-$(pwd)}
SHALEFS=${SHALEFS:-$BUILDDIR/shalefs}
ROUNDS=${ROUNDS:-5} FILES=${FILES:-5000} STREAM_MB=${STREAM_MB:-512} BIG_MB=${BIG_MB:-2048}
EXAMPLES=${EXAMPLES:-/usr/share/doc/libfuse3-dev/examples}

[ -f "$EXAMPLES/passthrough_ll.c" ] || { echo "no $EXAMPLES/passthrough_ll.c: install libfuse3-dev"; exit 77; }
bin=$BUILDDIR/tests/bench
mkdir -p "$bin"
cc -O2 -w -I"$EXAMPLES" "$EXAMPLES/passthrough_ll.c" -o "$bin/passthrough_ll" $(pkg-config --cflags --libs fuse3)
cc -O2 -pthread "$SRCDIR/tests/bench/fsmeta.c" -o "$bin/fsmeta"

work=$(mktemp -d "${BENCH_DIR:-/dev/shm}/shalefs-bench.XXXXXX")
mkdir "$work/src" "$work/pass" "$work/shale"
pinned="taskset -c 0"
! chrt -r 1 true 2>/dev/null || pinned="chrt -r 1 $pinned"

cleanup() {
	umount "$work/pass" 2>/dev/null || fusermount3 -u "$work/pass" 2>/dev/null || true
	"$SHALEFS" umount "$work/shale" >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap cleanup EXIT

# passthrough_ll keeps a descriptor for each file that the kernel knows
ulimit -n "$(ulimit -Hn)"

now() { date +%s%N; }

# stream NAME FS: megabytes a second of a large file, written (with fsync) and read from behind the page cache
stream() {
	local t file=$work/$1/stream

	t=$(now)
	$pinned dd if=/dev/zero of="$file" bs=1M count="$STREAM_MB" conv=fsync status=none
	echo "write-MB/s-$2 $1 $((STREAM_MB * 1000000000 / ($(now) - t)))"
	sync
	echo 1 >/proc/sys/vm/drop_caches 2>/dev/null || true
	t=$(now)
	$pinned dd if="$file" of=/dev/null bs=1M status=none
	echo "read-MB/s-$2 $1 $((STREAM_MB * 1000000000 / ($(now) - t)))"
	rm "$file"
}

# meta NAME THREADS: "phase-THREADS NAME rate" lines
meta() {
	$pinned "$bin/fsmeta" "$work/$1" "$FILES" "$2" 4096 |
		awk -v fs="$1" -v threads="$2" '$3 == "ops" { print $1 "-" threads, fs, $6 }'
}

$pinned "$bin/passthrough_ll" -o source="$work/src" -o cache=always "$work/pass"
"$SHALEFS" format "$work/vol" >/dev/null
$pinned "$SHALEFS" mount -o log="$work/log" "$work/vol" "$work/shale" >/dev/null
for ((round = 0; round < ROUNDS; round++)); do
	for threads in 1 4; do
		for fs in pass shale; do
			meta $fs $threads
		done
	done
	for fs in pass shale; do
		stream $fs 1
	done
done >"$work/figures"
"$SHALEFS" umount "$work/shale"

echo "medians of $ROUNDS rounds, operations a second; -1 and -4 are threads"
awk '
{ if (!($1 in n)) order[++k] = $1; n[$1] = 1; c = ++count[$1, $2]; v[$1, $2, c] = $3 }
function median(p, fs,    m, i, j, t, a) {
	m = count[p, fs]
	for (i = 1; i <= m; i++) a[i] = v[p, fs, i] + 0
	for (i = 2; i <= m; i++) for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
	return a[int((m + 1) / 2)]
}
END {
	printf "%-18s %14s %14s %7s\n", "", "passthrough_ll", "shalefs", "ratio"
	for (i = 1; i <= k; i++) {
		p = median(order[i], "pass"); s = median(order[i], "shale")
		if (p > 0) printf "%-18s %14d %14d %7.2f\n", order[i], p, s, s / p
	}
}' "$work/figures"

# Peak memory, with a daemon of its own.
"$SHALEFS" format "$work/vol2" >/dev/null
"$SHALEFS" mount -f -o log="$work/log" "$work/vol2" "$work/shale" >/dev/null &
daemon=$!
until mountpoint -q "$work/shale"; do sleep 0.02; done
yes "a line that is written again and again" | head -c $((BIG_MB << 20)) >"$work/shale/big"
cat "$work/shale/big" >/dev/null
peak=$(awk '/^VmHWM/ { print $2 }' /proc/$daemon/status)
"$SHALEFS" umount "$work/shale"
wait $daemon
echo "peak memory, $BIG_MB MiB copied in and out: $((peak >> 10)) MiB (limit 512)"
[ "$peak" -le $((512 << 10)) ]
