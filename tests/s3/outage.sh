#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# outage.sh SECONDS: a mount of a bucket while its store cannot be reached (run by test_faults.sh, whose proxy listens
# at CHAOS_PORT): what is read comes from memory, what is written waits, a sync waits too, and all goes on when it is
# over.
. "$SRCDIR/tests/mount/lib.sh"
seconds=$1

chaos() {
	curl -sS -o /dev/null "http://127.0.0.1:$((CHAOS_PORT + 1))/__chaos?$1"
}

logged() {
	for _ in $(seq 600); do
		! grep -q "$1" "$log" || return 0
		sleep 0.1
	done
	fail "the log does not say: $1"
}

# outage KIND, as the proxy has them
outage() {
	local sync

	: >"$log"
	mount_it commit=0.5
	echo before >"$mnt/before-$1"
	"$SHALEFS" sync "$mnt"
	chaos down=$1
	echo during >"$mnt/during-$1" # memory takes it
	"$SHALEFS" sync "$mnt" &
	sync=$!
	sleep "$seconds"
	is "a file that is known" "$(cat "$mnt/before-$1")" before
	is "a file that is not in the store yet" "$(cat "$mnt/during-$1")" during
	kill -0 $sync || fail "a sync during the outage ended"
	chaos down=0
	wait $sync || fail "the sync failed"
	# What is taken and not answered is noticed only when a time-out is over.
	if [ $1 = 1 ] || [ "$seconds" -ge 60 ]; then
		logged 'it answers again, after'
		grep -q 'trying again until it answers' "$log" || fail "no line at the start of the outage"
	fi
	remount
	is "what was written before" "$(cat "$mnt/before-$1")" before
	is "what was written during the outage" "$(cat "$mnt/during-$1")" during
	umount_it
	check_it
}

format
outage 1
outage 2
