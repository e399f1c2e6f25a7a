#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An outage does not hold programs: what waits for the store ends when it is interrupted, and the mount goes on. So
# does the mount itself when it is to end.
. "${SRCDIR:-.}/tests/s3/lib.sh"
[ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: mounting needs /dev/fuse and root"; exit 77; }
s3_start
chaos_start seed=$$
export SHALE_VOLUMES=s3://$S3_BUCKET
mounts_use s3_stop

# 90 times a directory, a file in it and data, so that each lies in a block of its own in SSTs
fill() {
	mount_it l0_sst_size_bytes=64K,l0_max_ssts=1000
	for i in $(seq 0 89); do
		mkdir "$mnt/dir$i"
		echo $i >"$mnt/dir$i/file"
		head -c 100000 /dev/urandom >"$mnt/data$i"
	done
	(cd "$mnt" && sha256sum data* dir*/file >"$work/sums")
	"$SHALEFS" sync "$mnt"
	for _ in $(seq 600); do # all but the last few is in SSTs
		[ "$("$SHALEFS" status "$mnt" | awk '$1 == "unflushed_bytes" { print $2 }')" -gt 400000 ] || break
		sleep 0.1
	done
	umount_it
	"$SHALEFS" compact "$vol" >/dev/null # or a mount would do so, and read everything
}
# none of it is in memory
cold() {
	mount_it l0_sst_size_bytes=64K
	stat "$mnt" >/dev/null
}
whole() {
	(cd "$mnt" && sha256sum -c --quiet "$work/sums") || fail "data differs"
}
# outage COUNT CASES SETTINGS: programs that wait are interrupted
outage() {
	local at="http://127.0.0.1:$chaos_port/__chaos"
	python3 "$SRCDIR/tests/s3/interrupt.py" "$mnt" "$1" "$2" "curl -s '$at?$3' >/dev/null" \
		"curl -s '$at?p503=0&pstall=0' >/dev/null" || fail "$*"
	"$SHALEFS" sync "$mnt"
}
format
fill
cold

# each kind of wait, and then so many at once that no thread would be left if each held one for good
# (apart from each other: in the kernel an fsync of a directory waits for look-ups in it)
outage 1 fsync-int,fsync-kill,sync-int p503=1
outage 1 stat-int,stat-kill,stat-usr1,mkdir-int,open-int,read-int,read-kill p503=1
[ ! -e "$mnt/dir73/new" ] || fail "an interrupted mkdir made the directory"
umount_it
cold
outage 15 fsync-int,stat-int,read-int p503=1
whole

# a store that takes requests and does not answer
umount_it
cold
outage 1 stat-int,read-kill,readdir-term 'pstall=1&stall_ms=6000'
whole

# the end of a mount: asked for twice, it does not wait for what cannot be stored, and says so
echo kept >"$mnt/kept"
"$SHALEFS" sync "$mnt"
daemon=$(getfattr --absolute-names --only-values -n shalefs.pid "$mnt")
chaos p503=1 >/dev/null
echo lost >"$mnt/lost"
"$SHALEFS" umount --force "$mnt" >"$work/umount" 2>&1 &
umount=$!
log_says 'signal 15: unmounting'
sleep 0.5
kill -0 $umount || fail "umount --force did not wait for the store: $(cat "$work/umount")"
kill -TERM "$daemon"
timeout 60 tail -s 0.1 --pid="$daemon" -f /dev/null || fail "the mount goes on after a second signal"
! wait $umount || fail "umount --force was content"
grep -q 'not everything is in the store' "$work/umount" || fail "umount --force said $(cat "$work/umount")"
grep -q 'a second signal: ending .* without what is not in the store' "$log" || fail "no line in the log"
chaos p503=0 >/dev/null
mount_it
is "synced before the end" "$(cat "$mnt/kept")" kept
whole

# unmounted while the store does not answer: it waits, a signal begins its patience, a second one ends it
daemon=$(getfattr --absolute-names --only-values -n shalefs.pid "$mnt")
echo more >"$mnt/more"
chaos p503=1 >/dev/null
umount "$mnt"
kill -TERM "$daemon"
log_says 'signal 15: unmounting' 2
kill -TERM "$daemon"
timeout 60 tail -s 0.1 --pid="$daemon" -f /dev/null || fail "an unmounted one goes on after a second signal"
chaos p503=0 >/dev/null
mount_it
is "synced before the end" "$(cat "$mnt/kept")" kept

if [ -n "${SHALE_LONG:-}" ]; then # a single signal
	daemon=$(getfattr --absolute-names --only-values -n shalefs.pid "$mnt")
	echo lost >"$mnt/lost"
	chaos p503=1 >/dev/null
	kill -TERM "$daemon"
	timeout 120 tail -s 0.1 --pid="$daemon" -f /dev/null || fail "the mount goes on"
	log_says 'the store does not answer: ending'
	chaos p503=0 >/dev/null
	mount_it
fi
umount_it
check_it
