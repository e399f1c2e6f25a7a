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

# one that was asked for before, and that the same sources belong to, comes first
mount_it l0_sst_size_bytes=1M,compactor.min_sources=1000,compactor.max_sources=1000
for i in 1 2 3 4 5 6; do # each sync ends a batch, which fills a memtable
	head -c 1500000 /dev/urandom >"$mnt/more$i"
	"$SHALEFS" sync "$mnt"
done
until_figure l0_ssts -ge 4
umount_it
fails 0 'asked for' "$SHALEFS" compact --submit "$vol"
fails 0 'compacted' "$SHALEFS" compact "$vol"
check_it

# Checkpoints live: what they do not hold comes back all the same, and what they hold when they are gone.
# stored: MiB in SSTs
stored() {
	"$SHALEFS" status --json "$vol" | python3 -c 'import json, sys
print(json.load(sys.stdin)["objects"]["compacted"]["bytes"] >> 20)'
}

# until_stored OP MIB: a minute at most
until_stored() {
	local deadline=$((SECONDS + 60))
	until [ "$(stored)" "$1" "$2" ]; do
		[ $SECONDS -lt $deadline ] || fail "$(stored) MiB are stored, waited for $1 $2"
	done
}

checkpoint() {
	"$BUILDDIR/shale" checkpoint "$1" "file://$vol" ${2:+$2} | cut -d ' ' -f 1
}

rm -rf "$vol"
format
busy=l0_sst_size_bytes=1M,gc.interval_ms=100,gc.min_age_ms=200,compactor.poll_interval_ms=100
mount_it "$busy"
head -c 8000000 /dev/urandom >"$mnt/held"
head -c 8000000 /dev/urandom >"$mnt/stays"
sha256sum <"$mnt/held" >"$work/held"
"$SHALEFS" sync "$mnt"
until_figure unflushed_bytes -lt 2000000
first=$(checkpoint create)
head -c 24000000 /dev/urandom >"$mnt/not-held"
"$SHALEFS" sync "$mnt"
until_figure unflushed_bytes -lt 2000000
rm "$mnt/not-held" "$mnt/held"
dropped=$(figure dropped_bytes)
until_figure dead_bytes -eq 0
[ "$(figure dropped_bytes)" -ge $((dropped + 31000000)) ] || fail "dropped $(figure dropped_bytes), before $dropped"
# the first two files and what compaction made of the second; not-held is gone
until_stored -le 26
[ "$(stored)" -ge 22 ] || fail "only $(stored) MiB are stored: what the checkpoint holds is not all there"
mkdir "$work/past"
"$SHALEFS" mount -o "checkpoint=$first,log=$log" "$vol" "$work/past" >/dev/null
is "held" "$(sha256sum <"$work/past/held")" "$(cat "$work/held")"
[ ! -e "$work/past/not-held" ] || fail "the checkpoint shows what came after it"
fails 1 'Read-only' touch "$work/past/x"
"$SHALEFS" umount "$work/past"
checkpoint delete "$first"
head -c 4000000 /dev/urandom >"$mnt/more" # SSTs go when younger L0s have come and were compacted
"$SHALEFS" sync "$mnt"
until_stored -le 15
fails 1 "has no checkpoint" "$SHALEFS" mount -o "checkpoint=$first,log=$log" "$vol" "$work/past"
umount_it
check_it
