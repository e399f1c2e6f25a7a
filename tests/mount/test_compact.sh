#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Space of removed data: the mount gives it back by itself, and shalefs compact does beside a mount and without one.
. "${SRCDIR:-.}/tests/mount/lib.sh"
need python3

# figure NAME: a number of the mount's engine
figure() {
	"$SHALEFS" status --json "$mnt" | python3 -c "
import json, sys
print([s for s in json.load(sys.stdin)['sessions'] if 'engine' in s][0]['engine']['$1'])"
}

# until NAME OP VALUE: wait for a figure, a minute at most
until_figure() {
	local deadline=$((SECONDS + 60))
	until [ "$(figure "$1")" "$2" "$3" ]; do
		[ $SECONDS -lt $deadline ] || fail "$1 is $(figure "$1"), waited for $2 $3"
	done
}

garbage_is() {
	grep -q " $1 rows of garbage" "$work/check" || fail "garbage: $(cat "$work/check"), wanted $1 rows"
}

# watch: a standing compactor, in the background
watch() {
	(trap - ERR EXIT; exec "$SHALEFS" compact --watch "$vol" >"$work/watch" 2>&1) &
	pid=$!
}

# newest: number of the newest list of compactions
newest() {
	ls "$vol/compactions" | tail -n 1
}

fails 1 'there is no volume' "$SHALEFS" compact "$work/none"
format
fails 0 'holds nothing' "$SHALEFS" compact "$vol"
mount_it
fails 0 'holds nothing' "$SHALEFS" compact --submit "$vol"

# an idle mount
head -c 3000000 /dev/urandom >"$mnt/goes"
head -c 1000000 /dev/urandom >"$mnt/stays"
sha256sum <"$mnt/stays" >"$work/sum"
"$SHALEFS" sync "$mnt"
rm "$mnt/goes"
until_figure dropped_bytes -ge 3000000
until_figure dead_bytes -eq 0
is "stays" "$(sha256sum <"$mnt/stays")" "$(cat "$work/sum")"
remount
umount_it
check_it
garbage_is 0

# another process, beside the mount, which is not disturbed
mount_it
head -c 80000000 /dev/urandom >"$mnt/goes"
"$SHALEFS" sync "$mnt"
rm "$mnt/goes"
fails 0 'rows of removed data left out' "$SHALEFS" compact "$vol"
echo more >"$mnt/more"
"$SHALEFS" sync "$mnt"
is "stays" "$(sha256sum <"$mnt/stays")" "$(cat "$work/sum")"
umount_it
check_it

# without a mount, until a signal
list=$(newest)
watch
until [ "$(newest)" != "$list" ]; do # it has taken the list over
	kill -0 $pid || fail "the standing compactor ended: $(cat "$work/watch")"
done
fails 0 'compacted' "$SHALEFS" compact "$vol"
status=0
wait $pid || status=$?
is "overtaken" "$status" 1
grep -q 'another compactor took' "$work/watch" || fail "watch: $(cat "$work/watch")"
watch
kill -TERM $pid
wait $pid || true # before it has blocked the signal, that ends it at once
check_it
mount_it
is "stays" "$(sha256sum <"$mnt/stays")" "$(cat "$work/sum")"
umount_it
