#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real mounts of a bucket, behind a proxy that delays, refuses, drops, loses answers, cuts bodies and stalls: what
# tests/mount does on a directory (S3_MOUNT_TESTS="basic tools" takes minutes). Then an outage, during which a mount
# waits, and after which it goes on.
. "${SRCDIR:-.}/tests/s3/lib.sh"
[ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: mounting needs /dev/fuse and root"; exit 77; }
s3_start
chaos_start seed=$$ get_ms=2 put_ms=4 p503=0.01 p500=0.01 pdrop=0.01 plost=0.01 pcut=0.01 pstall=0.005 stall_ms=500
echo "seed of the faults: $$"
export SRCDIR BUILDDIR SHALE_VOLUMES=s3://$S3_BUCKET
for t in ${S3_MOUNT_TESTS:-basic}; do
	bash "$SRCDIR/tests/mount/test_$t.sh"
	echo "$t is good"
done
chaos seed=$$ | sed -n 's/^requests=/requests: /p'

# an outage
chaos p503=0 p500=0 pdrop=0 plost=0 pcut=0 pstall=0 get_ms=0 put_ms=0 >/dev/null
mounts_use s3_stop
format
mount_it
echo before >"$mnt/file"
"$SHALEFS" sync "$mnt"
chaos p503=1 >/dev/null
echo during >"$mnt/file2" # memory takes it
"$SHALEFS" sync "$mnt" &
sync=$!
for _ in $(seq 600); do
	grep -q 'trying again until it answers' "$log" && break
	sleep 0.1
done
grep -q 'trying again until it answers' "$log" || fail "no line at the start of the outage"
kill -0 $sync || fail "a sync during the outage ended"
chaos p503=0 >/dev/null
wait $sync
grep -q 'it answers again, after' "$log" || fail "no line at its end"
remount
is "what was written before" "$(cat "$mnt/file")" before
is "what was written during the outage" "$(cat "$mnt/file2")" during
umount_it
check_it
