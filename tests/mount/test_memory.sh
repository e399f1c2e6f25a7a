#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory does not grow with the file: 512 MiB are copied in and out within 256 MiB. Cache (64 MiB), unwritten data
# (64 MiB), data read ahead (32 MiB, if the store is slow), memtables and compactions have limits of their own.
. "${SRCDIR:-.}/tests/mount/lib.sh"

size=$((512 << 20))
limit_kb=$((256 << 10))

pattern() {
	yes "what memory holds must not depend on how much is written" | head -c "$size"
}

format
"$SHALEFS" mount -f -o "log=$log" "$vol" "$mnt" >/dev/null &
daemon=$!
for _ in $(seq 200); do
	! mountpoint -q "$mnt" || break
	sleep 0.02
done
pattern >"$mnt/file"
pattern | cmp - "$mnt/file"
"$SHALEFS" sync "$mnt"
peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$daemon/status")
echo "peak memory: $((peak >> 10)) MiB"
case $(grep -s "^SAN_CFLAGS = " "$BUILDDIR/Makefile") in
*-fsanitize*) ;; # takes several times as much
*) [ "$peak" -le "$limit_kb" ] || fail "$peak KiB of memory, more than $limit_kb" ;;
esac
umount_it
wait $daemon
check_it
