#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Rates of one thread on the engine, on SlateDB (tests/interop/bench, built with cargo) and on RocksDB (db_bench of
# rocksdb-tools, where it is installed), in turn in one run; medians and ratios.
# Run it in the build directory, behind `make tests/bench/bench_engine`: SRCDIR=.. ../tests/bench/engine.sh
#   ROUNDS (3), ROWS (1000000), PHASES (wal,mem,lsm)   how much
#   STORE (memory)       or a directory, which must not exist yet: below it lies what the engines write
#   PIN ()               a command in front of each, as "taskset -c 0"
#   CARGO_TARGET_DIR     where SlateDB's program is or gets built; SLATEDB_OPS the program itself, "none" leaves it out
# RocksDB has no store in memory: it lies in BENCH_DIR (/dev/shm). Its lines are those of its benchmarks that do the
# same; Debian builds it with assertions.
set -eu
SRCDIR=${SRCDIR:-.}
ROUNDS=${ROUNDS:-3} ROWS=${ROWS:-1000000} PHASES=${PHASES:-wal,mem,lsm} STORE=${STORE:-memory} PIN=${PIN:-}
ours=${BENCH_ENGINE:-$(pwd)/tests/bench/bench_engine}
work=$(mktemp -d "${BENCH_DIR:-/dev/shm}/shale-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

[ -x "$ours" ] || { echo "no $ours: make tests/bench/bench_engine"; exit 1; }
slatedb=${SLATEDB_OPS:-}
if [ -z "$slatedb" ] && command -v cargo >/dev/null; then
	export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/shale-bench-target}
	# a copy, since cargo wants to write beside the manifest
	cp -r "$SRCDIR/tests/interop/bench" "$work/src"
	(cd "$work/src" && cargo build --quiet --release)
	slatedb=$CARGO_TARGET_DIR/release/slatedb-ops
fi
[ "$slatedb" != none ] || slatedb=

# figures ENGINE: from lines of both programs "engine|phase|rows a second|us of CPU a row"
figures() {
	awk -v engine="$1" '/ rows\/s / {
		phase = substr($0, 1, 44); sub(/ +$/, "", phase)
		for (i = 2; i <= NF; i++) { if ($i == "rows/s") rate = $(i - 1); if ($i == "us") cpu = $(i - 1) }
		print engine "|" phase "|" rate "|" cpu
	}'
}

# program ENGINE COMMAND: one run of it, in a store of its own
program() {
	local store=$STORE

	if [ "$store" != memory ]; then
		store=$STORE/$1
		mkdir -p "$store"
	fi
	$PIN "$2" "$store" "$ROWS" 16 100 "$PHASES" | figures "$1"
	[ "$STORE" = memory ] || rm -rf "$store"
}

# rocks PHASES OPTION...: db_bench with these options; PHASES names its results in their order, "|" between them
rocks() {
	local phases=$1

	shift
	$PIN db_bench --db="$work/rocksdb" --num="$ROWS" --key_size=16 --value_size=100 --threads=1 \
		--compression_type=none --bloom_bits=10 --cache_size=$((640 << 20)) "$@" 2>/dev/null |
		awk -v phases="$phases" 'BEGIN { split(phases, name, "|") }
			/ ops\/sec / { for (i = 2; i <= NF; i++) if ($i == "ops/sec") print "rocksdb|" name[++n] "|" $(i - 1) "|0" }'
}

seeks() {
	rocks "|$1" --use_existing_db=1 --reads=20000 --seek_nexts=20 --benchmarks=seekrandom,seekrandom | grep -v '||'
}

rocksdb() {
	if [[ $PHASES == *wal* ]]; then
		rocks "wal: put, defaults, not awaited" --benchmarks=fillrandom
		rocks "wal: the same rows in batches of 100" --benchmarks=fillrandom --batch_size=100
	fi
	if [[ $PHASES == *mem* ]]; then
		rocks "mem: put, no WAL, all in the memtable|mem: get, memtable|mem: get of an absent key, memtable|mem: full scan, memtable|mem: get, 1 L0 SST, cold block cache|mem: get, 1 L0 SST, warm block cache|mem: get of an absent key, 1 L0 SST (filter)|mem: full scan, 1 L0 SST" \
			--disable_wal=1 --write_buffer_size=$((4 << 30)) \
			--benchmarks=filluniquerandom,readrandom,readmissing,readseq,flush,readrandom,readrandom,readmissing,readseq
		seeks "mem: scans of 20 rows (per scan)"
	fi
	if [[ $PHASES == *lsm* ]]; then
		rocks "lsm: put, no WAL, 16 MiB L0, compactor on|lsm: get, 3 L0 + sorted runs, cold cache|lsm: get, 3 L0 + sorted runs, warm cache|lsm: get of an absent key (filters)|lsm: full scan, 3 L0 + sorted runs|lsm: full scan again" \
			--disable_wal=1 --write_buffer_size=$((16 << 20)) --target_file_size_base=$((32 << 20)) \
			--benchmarks=filluniquerandom,waitforcompaction,readrandom,readrandom,readmissing,readseq,readseq
		seeks "lsm: scans of 20 rows (per scan)"
	fi
	rm -rf "$work/rocksdb"
}

for ((round = 0; round < ROUNDS; round++)); do
	[ -z "$slatedb" ] || program slatedb "$slatedb"
	program shale "$ours"
	! command -v db_bench >/dev/null || rocksdb
done >"$work/figures"

echo "$ROWS rows, store $STORE; medians of $ROUNDS rounds, rows (scans of 20: scans) a second; x: how often as fast shale is"
awk -F'|' '
{ if (!($2 in seen)) order[++k] = $2; seen[$2] = 1; c = ++count[$1, $2]; rate[$1, $2, c] = $3; cpu[$1, $2, c] = $4 }
function median(v, e, p,    m, i, j, t, a) {
	m = count[e, p]
	for (i = 1; i <= m; i++) a[i] = v[e, p, i] + 0
	for (i = 2; i <= m; i++) for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
	return m ? a[int((m + 1) / 2)] : 0
}
function ratio(a, b) { return b > 0 ? sprintf("%.1f", a / b) : "" }
END {
	printf "%-44s %10s %10s %6s %10s %6s   %s\n", "", "shale", "SlateDB", "x", "RocksDB", "x", "us of CPU a row: shale, SlateDB"
	for (i = 1; i <= k; i++) {
		p = order[i]; o = median(rate, "shale", p); s = median(rate, "slatedb", p); r = median(rate, "rocksdb", p)
		printf "%-44s %10d %10s %6s %10s %6s   %7.2f %7s\n", p, o, s ? s : "", ratio(o, s), r ? r : "", ratio(o, r),
			median(cpu, "shale", p), s ? median(cpu, "slatedb", p) : ""
	}
}' "$work/figures"
