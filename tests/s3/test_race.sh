#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two who want one volume of a bucket, each behind a proxy of its own, which counts. Mounts that race: one has it, the
# other says who. Takeovers: from a mount that works, that stands still, that is cut off from the store; it is fenced
# then, says so, its fsyncs fail, and it sends the store nothing more that changes it. Formats that race: one makes the
# volume. RACE_ROUNDS says how often mounts and formats race (3).
. "${SRCDIR:-.}/tests/s3/lib.sh"
[ -c /dev/fuse ] && [ "$(id -u)" = 0 ] || { echo "skipped: mounting needs /dev/fuse and root"; exit 77; }
s3_start
chaos_proxy "$s3_port" trace=2 2>"$s3_dir/a.changes"
port_a=$chaos_port
chaos_proxy "$s3_port"
port_b=$chaos_port
trap - EXIT # lib.sh of the mounts has its own
export SHALE_VOLUMES=s3://$S3_BUCKET
. "$SRCDIR/tests/mount/lib.sh"
cleanup_all() {
	status=$?
	trap - ERR
	kill -CONT "${pid_a:-$$}" 2>/dev/null || true
	if [ $status != 0 ]; then
		echo "--- log of a"
		tail -n 20 "$work/a.log"
		echo "--- what a asked to change"
		tail -n 20 "$s3_dir/a.changes"
	fi
	for m in $(mounts_below_work); do
		timeout 20 "$SHALEFS" umount --force "$m" >/dev/null 2>&1 || umount -l "$m" || true
	done
	rm -rf "$work"
	s3_stop
	exit $status
}
trap cleanup_all EXIT
rounds=${RACE_ROUNDS:-3}
mkdir "$work/a" "$work/b"

# as A|B COMMAND...: through that one's proxy
as() {
	local port=port_$1
	shift
	AWS_ENDPOINT_URL_S3=http://127.0.0.1:${!port} "$@"
}

# mount_as a|b [OPTIONS]
mount_as() {
	as "$1" timeout 60 "$SHALEFS" mount -o "log=$work/$1.log,commit=0.2${2:+,$2}" "$vol" "$work/$1" \
		>"$work/$1.said" 2>&1
}

# How many requests that change something has the proxy of a seen?
changes_of_a() {
	chaos_at $port_a | tr ' ' '\n' | awk -F= '$1 ~ /^(put|post|delete)$/ { n += $2 } END { print n }'
}

# wait_for SECONDS COMMAND...
wait_for() {
	local n=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $((n--)) -gt 0 ] || fail "in vain: $*"
		sleep 0.1
	done
}

# ---- formats, then mounts, that race ----

for ((i = 1; i <= rounds; i++)); do
	new_volume
	as a "$SHALEFS" format "$vol" >"$work/a.said" 2>&1 &
	pa=$!
	as b "$SHALEFS" format "$vol" >"$work/b.said" 2>&1 &
	pb=$!
	ra=0 rb=0
	wait $pa || ra=$?
	wait $pb || rb=$?
	[ $((!ra + !rb)) = 1 ] || fail "formats that race: $ra and $rb: $(cat "$work/a.said" "$work/b.said")"

	mount_as a &
	pa=$!
	mount_as b &
	pb=$!
	ra=0 rb=0
	wait $pa || ra=$?
	wait $pb || rb=$?
	[ $((!ra + !rb)) = 1 ] || fail "mounts that race: $ra and $rb: $(cat "$work/a.said" "$work/b.said")"
	winner=$([ $ra = 0 ] && echo a || echo b)
	loser=$([ $ra = 0 ] && echo b || echo a)
	grep -q "mounted at $work/$winner" "$work/$loser.said" ||
		fail "the loser names nobody: $(cat "$work/$loser.said")"
	echo "round $i" >"$work/$winner/file"
	"$SHALEFS" umount "$work/$winner"
	check_it
done
echo "races are good"

# ---- both take over ----

for ((i = 1; i <= 2; i++)); do
	new_volume
	format
	mount_as a takeover &
	pa=$!
	mount_as b takeover &
	pb=$!
	ra=0 rb=0
	wait $pa || ra=$?
	wait $pb || rb=$?
	[ $ra = 0 ] || [ $rb = 0 ] || fail "both takeovers failed: $(cat "$work/a.said" "$work/b.said")"
	alive=
	for m in a b; do
		mountpoint -q "$work/$m" || continue
		echo $m >"$work/$m/$m" 2>/dev/null || true
		! "$SHALEFS" sync "$work/$m" >/dev/null 2>&1 || alive=$alive$m
	done
	[ "${#alive}" = 1 ] || fail "alive after two takeovers: '$alive'"
	for m in a b; do
		! mountpoint -q "$work/$m" || "$SHALEFS" umount --force "$work/$m" >/dev/null 2>&1 || true
	done
	check_it
done
echo "two takeovers are good"

# ---- the fenced one ----

# begin: a has the volume, something in it, and more under way
begin() {
	new_volume
	rm -f "$work/a.log"
	format
	mount_as a
	pid_a=$(pgrep -f "log=$work/a.log" | head -n 1)
	echo one >"$work/a/kept"
	"$SHALEFS" sync "$work/a"
}

# b has it now, and what a made durable; and goes on
take_over() {
	mount_as b takeover || fail "no takeover: $(cat "$work/b.said")"
	is "what the first one made durable" "$(cat "$work/b/kept")" one
	for n in 1 2 3; do
		echo "by b" >"$work/b/new$n"
		"$SHALEFS" sync "$work/b"
	done
}

# a knows that it is fenced: nothing can be written there, and nothing goes out
is_fenced() {
	local before

	grep -q 'a newer writer' "$work/a.log" || fail "the log of a does not say that it is fenced"
	before=$(changes_of_a)
	! (echo more >"$work/a/more") 2>/dev/null || ! "$SHALEFS" sync "$work/a" 2>/dev/null ||
		fail "a sync of a fenced mount"
	for n in $(seq 12); do
		! dd if=/dev/zero of="$work/a/kept" bs=64k count=4 conv=fsync,notrunc 2>/dev/null ||
			fail "an fsync of a fenced mount"
		! mkdir "$work/a/dir$n" 2>/dev/null || fail "a directory in a fenced mount"
		sleep 0.1
	done
	is "what the fenced one shows" "$(head -c 3 "$work/a/kept")" one
	timeout 60 "$SHALEFS" umount "$work/a" >/dev/null 2>&1 || umount -l "$work/a" 2>/dev/null || true
	wait_for 30 eval "! kill -0 $pid_a"
	is "requests of a fenced mount that change something" "$(changes_of_a)" "$before"
}

finish() {
	is "what the second one wrote" "$(cat "$work"/b/new[123] | sort -u)" "by b"
	is "the first one's file" "$(cat "$work/b/kept")" one
	"$SHALEFS" umount "$work/b"
	check_it
	as b mount_as b
	is "what the second one wrote, mounted again" "$(cat "$work"/b/new[123] | sort -u)" "by b"
	"$SHALEFS" umount "$work/b"
}

begin
take_over
wait_for 30 grep -q 'newer writer' "$work/a.log" # it looks at the manifest each second
is_fenced
finish
echo "a takeover is good"

begin
echo lost >"$work/a/lost"
kill -STOP "$pid_a"
take_over
kill -CONT "$pid_a"
wait_for 30 grep -q 'newer writer' "$work/a.log"
is_fenced
[ ! -e "$work/b/lost" ] || is "what was not synced" "$(cat "$work/b/lost")" lost
finish
echo "a takeover from one that stood still is good"

begin
chaos_at $port_a down=1 >/dev/null
echo lost >"$work/a/lost"
("$SHALEFS" sync "$work/a" 2>/dev/null && echo synced || echo failed) >"$work/sync" &
sync=$!
wait_for 60 grep -q 'trying again until it answers' "$work/a.log"
take_over
[ ! -e "$work/b/lost" ] || fail "what was cut off is there"
chaos_at $port_a down=0 >/dev/null
wait_for 60 grep -q 'newer writer' "$work/a.log"
wait $sync
is "the sync of who was cut off" "$(cat "$work/sync")" failed
is_fenced
[ ! -e "$work/b/lost" ] || fail "what was cut off came through"
finish
echo "a takeover from one that was cut off is good"
