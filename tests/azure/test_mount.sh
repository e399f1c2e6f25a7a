#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real mount of a container, behind a proxy that delays, refuses, drops, loses answers, cuts bodies and stalls: what
# tests/mount does on a directory (AZURE_MOUNT_TESTS="basic tools" takes minutes), by a shared access signature. Then
# shalefs alone, with the key: a tree is filled, found again after a remount, and checked; and the log has nothing of the key.
. "${SRCDIR:-.}/tests/azure/lib.sh"
[ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: mounting needs /dev/fuse and root"; exit 77; }
azure_start
azure_use_sas
chaos_start seed=$$ get_ms=2 put_ms=4 p503=0.02 p500=0.02 pdrop=0.02 plost=0.02 pcut=0.02 pstall=0.005 stall_ms=500
echo "seed of the faults: $$"
export SRCDIR BUILDDIR SHALE_VOLUMES=az://$AZURE_CONTAINER
for t in ${AZURE_MOUNT_TESTS:-basic}; do
	bash "$SRCDIR/tests/mount/test_$t.sh"
	echo "$t is good"
done
chaos seed=$$ | sed -n 's/^requests=/requests: /p'
unset AZURE_STORAGE_SAS_TOKEN
export AZURE_STORAGE_KEY=$azure_key

mounts_use azure_stop
format
mount_it
tar -C "$SRCDIR" -cf - engine/object engine/net tests/s3 tests/azure | tar -C "$mnt" -xf -
git init -q "$mnt/repo"
cp -r "$SRCDIR/engine/base" "$mnt/repo"
git -C "$mnt/repo" add .
git -C "$mnt/repo" -c user.name=t -c user.email=t@example.org commit -qm first
head -c 20000000 /dev/urandom >"$mnt/large"
sum=$(sha256sum <"$mnt/large")
listing "$mnt" >"$work/before"
remount
listing "$mnt" >"$work/after"
cmp "$work/before" "$work/after" || fail "the tree is another one after a remount"
is "a large file" "$(sha256sum <"$mnt/large")" "$sum"
git -C "$mnt/repo" fsck --strict 2>/dev/null || fail "git fsck"
umount_it
check_it
! grep -qF -e "$azure_key" "$log" || fail "the key is in the log"
