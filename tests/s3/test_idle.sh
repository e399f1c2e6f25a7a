#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What an idle mount asks of its bucket, counted by a proxy: nothing that writes, and at most six requests a minute.
# Waits until background work has ended, then counts for IDLE_SECONDS (20; make check-long: 180). Then what a mount
# tells of its requests: the log of them, the metrics, and the costs.
. "${SRCDIR:-.}/tests/s3/lib.sh"
[ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: mounting needs /dev/fuse and root"; exit 77; }
s3_start
chaos_start
export SRCDIR BUILDDIR SHALE_VOLUMES=s3://$S3_BUCKET
trap - ERR EXIT # lib.sh of the mounts has its own
. "$SRCDIR/tests/mount/lib.sh"
trap 'cleanup_all' EXIT
cleanup_all() {
	status=$?
	(exit $status) || true
	for m in $(mounts_below_work); do
		timeout 60 "$SHALEFS" umount --force "$m" >/dev/null 2>&1 || umount -l "$m" || true
	done
	[ -n "${KEEP:-}" ] || rm -rf "$work"
	s3_stop
	exit $status
}

# count NAME...: the sum of these counters of the proxy
count() {
	chaos | tr ' ' '\n' | awk -F= -v names=" $* " 'index(names, " " $1 " ") { sum += $2 } END { print sum + 0 }'
}

# The proxy counts get (HEAD, too), list, put, post and delete.
writes="put post delete"
all="get list put post delete"
seconds=${IDLE_SECONDS:-20}
requests=$work/requests

format
mount_it "request_log=$requests"
mkdir "$mnt/dir"
for i in 1 2 3 4 5; do
	head -c 300000 /dev/urandom >"$mnt/dir/file$i"
	"$SHALEFS" sync "$mnt"
done
rm "$mnt/dir/file1"
"$SHALEFS" sync "$mnt"
ls -l "$mnt/dir" >/dev/null

# Quiet: no request for so long that those to come are four times as far apart, and a minute in the long run.
before=$(count $all)
for _ in $(seq 60); do
	sleep 5
	now=$(count $all)
	[ "$now" != "$before" ] || break
	before=$now
done
[ "$now" = "$before" ] || fail "the mount never becomes quiet"
[ "$seconds" -lt 120 ] || sleep 60

before=$(count $all)
before_writes=$(count $writes)
sleep "$seconds"
n=$(($(count $all) - before))
n_writes=$(($(count $writes) - before_writes))
echo "$n requests in $seconds idle seconds, $n_writes of them write"
# Polls lie where they lie: a short window may have one of each kind beyond its share.
[ "$n_writes" = 0 ] || fail "an idle mount writes: $(tail -n 20 "$requests")"
[ "$n" -le $((seconds * 6 / 60 + (seconds < 120 ? 2 : 0))) ] ||
	fail "$n requests in $seconds s: $(tail -n 30 "$requests")"

# It is awake at once.
echo more >"$mnt/dir/more"
"$SHALEFS" sync "$mnt"
is "the file" "$(cat "$mnt/dir/more")" more

# What it tells. The log is a second behind.
"$SHALEFS" status --metrics "$mnt" >"$work/metrics"
grep -q '^shale_object_store_requests_total{op="put",class="wal"} [1-9]' "$work/metrics" || fail "no metric of WAL puts"
grep -q '^shale_object_store_wire_seconds_bucket{op="get",le="1.0"} [1-9]' "$work/metrics" ||
	grep -q '^shale_object_store_wire_seconds_bucket{op="get",le="1"} [1-9]' "$work/metrics" || fail "no latencies"
"$SHALEFS" status "$mnt" >"$work/status"
grep -q "^prices    no list price is known for $AWS_ENDPOINT_URL_S3; give --prices NAME" "$work/status" ||
	fail "status tells no server: $(cat "$work/status")"
grep -q '^  put  *[0-9]*: .*wal [0-9]' "$work/status" || fail "status tells no requests: $(cat "$work/status")"
"$SHALEFS" status --prices s3 "$mnt" >"$work/status"
grep -q '^cost      \$[0-9.]* for these requests; \$[0-9.]* a month at the rate' "$work/status" ||
	fail "no cost: $(cat "$work/status")"
"$SHALEFS" status --json --prices s3 "$mnt" | python3 -c '
import json, sys
s = json.load(sys.stdin)
r = s["sessions"][0]["requests"]
assert s["prices"] == "s3" and s["storage_dollars_a_month"] > 0
assert r["put"]["wal"] > 0 and r["dollars"] > 0 and r["dollars_a_month"] > 0 and r["bytes_sent"] > 1000000, r
'
fails 2 'no prices are known as nobody' "$SHALEFS" status --prices nobody "$mnt"

mv "$requests" "$requests.1"
kill -HUP "$(getfattr --only-values -n shalefs.pid "$mnt" 2>/dev/null || python3 -c "
import os; print(os.getxattr('$mnt', 'shalefs.pid').decode())")"
for _ in $(seq 100); do
	[ -s "$requests" ] && break
	sleep 0.1
done
[ -s "$requests" ] || fail "SIGHUP does not open the request log again"
echo again >"$mnt/dir/again"
umount_it
is "columns" "$(head -n 1 "$requests")" "# time class op object range status sent received attempt queued_ms wire_ms"
grep -Eq '^[0-9T:.Z-]{24} wal put [^ ]*/wal/[0-9]{20}\.sst - 200 [0-9]+ 0 1 [0-9.]+ [0-9.]+$' "$requests" ||
	fail "no put of the WAL in the request log: $(cat "$requests")"
grep -Eq ' gc list [^ ]*/wal/ - 200 ' "$requests.1" || fail "no listing of the collector: $(cat "$requests.1")"
! grep -Ei 'testsecret|signature|authorization|x-amz' "$requests" "$requests.1" || fail "secrets in the request log"
awk '!/^#/ && NF != 11 { print; bad = 1 } END { exit bad }' "$requests" "$requests.1" || fail "lines of other columns"
check_it

# The same log of the other program.
"$BUILDDIR/shale" manifest "$vol" --request-log "$work/shale.log" >/dev/null
grep -Eq ' foreground get [^ ]*/manifest/[0-9]*\.manifest - 200 ' "$work/shale.log" ||
	fail "no line of shale's requests"
