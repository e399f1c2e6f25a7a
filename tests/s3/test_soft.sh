#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A mount with soft=SECONDS fails what would wait longer for its store. A failed read is one read; a commit that was given up
# on may be in the store or not, so nothing is written after it until the volume is mounted again.
. "${SRCDIR:-.}/tests/s3/lib.sh"
[ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: mounting needs /dev/fuse and root"; exit 77; }
s3_start
chaos_start seed=$$
export SHALE_VOLUMES=s3://$S3_BUCKET
mounts_use s3_stop

# ends_with_eio MS COMMAND...: it fails with EIO, and not before so long
ends_with_eio() {
	local begin least=$1 took
	shift
	begin=$(date +%s%N)
	fails 1 'Input/output error\|Errno 5' "$@"
	took=$((($(date +%s%N) - begin) / 1000000))
	[ $took -ge $least ] || fail "'$*' failed after $took ms"
	echo "'$1 ...' failed after $took ms"
}
fsync() {
	python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, sys.argv[2].encode())
os.fsync(fd)' "$@"
}
export -f fsync

format
mount_it l0_sst_size_bytes=64K
for i in $(seq 0 9); do
	mkdir "$mnt/dir$i"
	echo $i >"$mnt/dir$i/file"
	head -c 100000 /dev/urandom >"$mnt/data$i"
done
(cd "$mnt" && sha256sum data* dir*/file >"$work/sums")

# reads: EIO while the store is away, and all is well when it is back
remount soft=1
stat "$mnt" >/dev/null
chaos p503=1 >/dev/null
ends_with_eio 1000 cat "$mnt/dir3/file"
ends_with_eio 1000 find "$mnt/dir4"
chaos p503=0 >/dev/null
(cd "$mnt" && sha256sum -c --quiet "$work/sums") || fail "data differs after a failed read"
fsync "$mnt/new" one || fail "fsync after a failed read"

# a store that takes requests and does not answer: no longer than the limit for each step of a request
umount_it
mount_it soft=1
chaos pstall=1 stall_ms=6000 >/dev/null
ends_with_eio 1000 cat "$mnt/dir5/file"
chaos pstall=0 >/dev/null
is "read when it answers again" "$(cat "$mnt/dir5/file")" 5

# a commit: the mount writes no more, reads go on, the log says what to do
chaos p503=1 >/dev/null
ends_with_eio 1000 bash -c "fsync $mnt/new two"
chaos p503=0 >/dev/null
ends_with_eio 0 bash -c "fsync $mnt/other three"
ends_with_eio 0 mkdir "$mnt/newdir"
log_says 'can no longer be written until it is unmounted and mounted again'
(cd "$mnt" && sha256sum -c --quiet "$work/sums") || fail "data differs after a failed commit"
fails 1 'not everything is in the store' "$SHALEFS" umount "$mnt"
mount_it soft=1
(cd "$mnt" && sha256sum -c --quiet "$work/sums") || fail "data differs after a remount"
case $(cat "$mnt/new") in one | two) ;; *) fail "new holds '$(cat "$mnt/new")'" ;; esac
fsync "$mnt/other" three || fail "fsync after a remount"
umount_it
check_it

# mounting fails in time, too
chaos p503=1 >/dev/null
fails 1 'gave up after' "$SHALEFS" mount -o "soft=1,log=$log" "$vol" "$mnt"
chaos p503=0 >/dev/null
