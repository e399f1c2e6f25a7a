#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon is killed while random operations go on. What a new mount shows must be what ARCHITECTURE promises.
# SHALE_ROUNDS says how often (20), SHALE_SEED replays a round as far as its timing allows, SHALE_KILL_MS is the longest
# time before the kill (700).
. "${SRCDIR:-.}/tests/mount/lib.sh"

rounds=${SHALE_ROUNDS:-20}
first=${SHALE_SEED:-$((RANDOM * 32768 + RANDOM))}
[ -z "${SHALE_SEED:-}" ] || rounds=${SHALE_ROUNDS:-1}
ops=$BUILDDIR/tests/mount/crash_ops

# serve [OPTIONS]: the daemon in the foreground of a job of its own, pid in $daemon
serve() {
	"$SHALEFS" mount -f -o "log=$log${1:+,$1}" "$vol" "$mnt" >/dev/null &
	daemon=$!
	for _ in $(seq 6000); do
		! mountpoint -q "$mnt" || return 0
		kill -0 $daemon 2>/dev/null || fail "the daemon did not mount"
		sleep 0.02
	done
	fail "no mount after two minutes"
}

crash() {
	local seed=$1 interval

	interval=$(awk "BEGIN { print $((seed % 5)) ? 0.1 : 60 }")
	serve "commit=$interval"
	"$ops" run "$mnt" "$seed" "$work/ops" $daemon || fail "seed $seed: operations went wrong"
	wait $daemon 2>/dev/null || true
	umount -l "$mnt" 2>/dev/null || fusermount3 -uz "$mnt"
}

for ((seed = first; seed < first + rounds; seed++)); do
	echo "SHALE_SEED=$seed"
	rm -rf "$log"
	new_volume
	format
	crash "$seed"
	check_it
	mount_it
	"$ops" check "$mnt" "$seed" "$work/ops" || fail "seed $seed: what is there cannot be"
	umount_it
	check_it
done
