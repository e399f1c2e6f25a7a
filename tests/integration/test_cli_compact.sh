#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shale compact: what is chosen, what is left, who goes on. With SLATEDB_INTEROP, the built program of tests/interop, also
# both engines on one database: what one began and was killed at, the other finishes.
set -eEu
BUILDDIR=${BUILDDIR:-$(pwd)}
shale=${SHALE:-$BUILDDIR/shale}
real=${SLATEDB_INTEROP:-}
[ -x "$shale" ] || { echo "no program $shale"; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/shale-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

fail() {
	echo "FAILED: $*"
	exit 1
}

# is WHAT GOT WANTED
is() {
	[ "$2" = "$3" ] || fail "$1: got '$2', wanted '$3'"
}

# fails STATUS PATTERN COMMAND...
fails() {
	local want=$1 pattern=$2 status=0
	shift 2
	timeout 60 "$@" >"$work/said" 2>&1 || status=$?
	[ "$status" = "$want" ] || fail "'$*' ended with $status, wanted $want: $(cat "$work/said")"
	grep -q -e "$pattern" "$work/said" || fail "'$*' said '$(cat "$work/said")', wanted $pattern"
}

# fill N: a fresh database of N L0 SSTs of some 20 KB that share keys
fill() {
	rm -rf "$work/db"
	for s in $(seq "$1"); do
		for k in $(seq -f %02.0f 40 79); do
			echo "put $k$k *500:$(printf %02x "$((s * k % 256))")"
			echo "merge ff$k 0$s"
		done
		echo "delete $((s + 50))$((s + 50))"
		echo 'flush memtable'
	done | "$shale" apply "$work/db" - >/dev/null
	"$shale" dump "$work/db" --reader >"$work/want"
}

unchanged() {
	"$shale" dump "$work/db" --reader >"$work/got"
	cmp "$work/want" "$work/got" || fail "$1: rows differ"
	"$shale" check "$work/db" >"$work/said" || fail "$1: check: $(cat "$work/said")"
}

# "L0 SSTs:ids of the runs"
shape() {
	"$shale" manifest "$work/db" | python3 -c '
import json, sys
core = json.load(sys.stdin)[1]
core = core.get("core", core)
print("%d:%s" % (len(core["l0"]), " ".join(str(r["id"]) for r in core["compacted"])))'
}

l0_ids() {
	"$shale" manifest "$work/db" | python3 -c '
import json, sys
core = json.load(sys.stdin)[1]
core = core.get("core", core)
print(" ".join(v["id"] for v in core["l0"]))'
}

compact() {
	"$shale" compact "$work/db" "$@"
}

# the choice
fill 4
fails 2 'no compactions object' "$shale" compact "$work/db" --submit-only
is 'oldest two' "$(compact --l0 --l0-oldest 2)" '[Completed]'
is shape "$(shape)" '2:0'
unchanged 'oldest two'
is 'the rest' "$(compact --l0)" '[Completed]'
is shape "$(shape)" '0:1 0'
is runs "$(compact --runs 0,1)" '[Completed]'
is shape "$(shape)" '0:0'
unchanged runs
fails 2 'sorted run 7 is not in the manifest' "$shale" compact "$work/db" --runs 7
fails 2 "not a number\|--runs" "$shale" compact "$work/db" --runs 1,x
fill 3
set -- $(l0_ids)
fails 2 'would stay behind' "$shale" compact "$work/db" --spec "{\"sources\":[{\"SstView\":\"$1\"}],\"destination\":0}"
is spec "$(compact --spec "{\"sources\" : [{\"SstView\":\"$2\"}, {\"SstView\":\"$3\"}], \"destination\": 0}")" '[Completed]'
is shape "$(shape)" '1:0'
for bad in '{' '{}' '[]' '{"sources":[],"destination":0' '{"sources":[{"SortedRun":0}],"destination":0}x' \
	'{"sources":[{"SortedRun":-1}],"destination":0}' '{"sources":[{"SortedRun":4294967296}],"destination":0}' \
	'{"sources":[{"Other":0}],"destination":0}' '{"sources":[{"SstView":"01"}],"destination":0}' \
	'{"sources":[{"SortedRun":0},{"SstView":"'"$1"'"}],"destination":0}' '{"destination":0}' '{"sources":"\'; do
	fails 2 'not of the form' "$shale" compact "$work/db" --spec "$bad"
done
fails 2 'it has to be 0' "$shale" compact "$work/db" --spec '{"sources":[{"SortedRun":0}],"destination":3}'
is full "$(compact)" '[Completed]'
is shape "$(shape)" '0:0'
unchanged full
is embedded "$(compact --embedded --block-size 1k --codec zstd)" 'Completed'
unchanged embedded
is 'nothing to resume' "$(compact --resume)" 'nothing to resume'
fails 2 'there is no database\|No such file' "$shale" compact "$work/nowhere"

# a volume is not for the operators that this program has
mkdir "$work/db/volume"
touch "$work/db/volume/00000000000000000001.vol"
fails 2 "shalefs compact" "$shale" compact "$work/db"

# a request, worked off later; killed in between and gone on with
fill 5
compact --l0 --l0-oldest 1 >/dev/null
compact --submit-only | grep -q '"status": "Submitted"' || fail 'the request is not shown'
is resume "$(compact --resume)" '[Completed]'
is shape "$(shape)" '0:0'
for how in '' --embedded; do
	fill 5
	is "killed $how" "$(compact --block-size 1k --max-sst-size 1000 --kill-after 3 $how)" '[Running]'
	is "not published $how" "$(shape)" '5:'
	is "resumed $how" "$(compact --block-size 1k --max-sst-size 1000 --kill-after 5 --resume)" '[Running]'
	is "finished $how" "$(compact --block-size 1k --max-sst-size 1000 --resume)" '[Completed]'
	is shape "$(shape)" '0:0'
	unchanged "killed and resumed $how"
done

# a standing one ends with a signal, or when another takes over
fill 5
"$shale" compact "$work/db" --watch >"$work/watch" 2>&1 &
pid=$!
until [ "$(shape)" = 0:0 ]; do
	kill -0 $pid || fail "the standing compactor ended: $(cat "$work/watch")"
done
kill -TERM $pid
wait $pid || fail 'the standing compactor failed'
grep -q 'Completed into run 0' "$work/watch"
unchanged watch

[ -n "$real" ] || { echo 'the real program is not there: SLATEDB_INTEROP'; exit 0; }

theirs() {
	local command=$1
	shift
	"$real" "$command" --root "$work/root" --path db "$@"
}

# both_ways SEED FIRST SECOND: rows as expected after FIRST was killed at a full compaction and SECOND has finished it
both_ways() {
	local seed=$1 first=$2 second=$3 said
	rm -rf "$work/root" "$work/expected.rows"
	theirs gen-random --seed "$seed" --ops 3000 --merge --short-keys --max-value 2000 >/dev/null
	said=$($first --max-sst-size 20000 --kill-after 2)
	is "seed $seed, $first" "$said" '[Running]'
	is "seed $seed, $second" "$($second --max-sst-size 20000 --resume)" '[Completed]'
	theirs check --expected "$work/expected.rows" >"$work/said" || fail "seed $seed, $first then $second: $(cat "$work/said")"
	"$shale" check "$work/root/db" >"$work/said" || fail "seed $seed, $first then $second: $(cat "$work/said")"
}

ours_compact() { "$shale" compact "$work/root/db" "$@"; }
theirs_compact() { theirs compact "$@"; }
for i in 1 2 3; do
	seed=${SEED:-$RANDOM}
	both_ways "$seed" ours_compact theirs_compact
	both_ways "$seed" theirs_compact ours_compact
done
# requests cross, too
theirs gen-random --seed 4 --ops 500 --merge --short-keys >/dev/null 2>&1 || true
ours_compact --l0 >/dev/null || true
ours_compact --submit-only >/dev/null
is 'request of ours' "$(theirs_compact --resume)" '[Completed]'
theirs_compact --submit-only >/dev/null
is 'request of theirs' "$(ours_compact --resume)" '[Completed]'
echo 'with the real program'
