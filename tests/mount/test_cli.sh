#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The commands, what they say when something is wrong, and how a mount begins and ends.
. "${SRCDIR:-.}/tests/mount/lib.sh"
need python3 getfattr

pid_of_mount() {
	getfattr --absolute-names --only-values -n shalefs.pid "$1"
}

# the process is gone, within a minute
gone() {
	timeout 60 tail -s 0.1 --pid="$1" -f /dev/null || fail "process $1 goes on"
}

unmounted() {
	! grep -q " $1 " /proc/self/mountinfo || fail "$1 is still mounted"
}

# help and versions
fails 0 'COMMAND' "$SHALEFS" --help
fails 0 '^shalefs [0-9]' "$SHALEFS" version
fails 0 '^shalefs [0-9]' "$SHALEFS" --version
for c in format mount umount sync status check compact; do
	fails 0 "usage: shalefs $c" "$SHALEFS" $c --help
	fails 2 "shalefs $c --help" "$SHALEFS" $c
	fails 2 'shalefs: unknown option' "$SHALEFS" $c --no-such-option x
done
fails 2 'usage' "$SHALEFS"
fails 2 'unknown command frobnicate' "$SHALEFS" frobnicate

# format
fails 2 'chunk 3M is wrong' "$SHALEFS" format --chunk 3M "$vol"
fails 2 'codec rot13 is wrong' "$SHALEFS" format --codec rot13 "$vol"
fails 2 'mode 9 is wrong' "$SHALEFS" format --mode 9 "$vol"
fails 1 'shalefs: cannot format gopher://x' "$SHALEFS" format gopher://x
fails 0 "formatted file://$vol" "$SHALEFS" format --name scratch --owner 12:34 --mode 1777 "$vol"
fails 1 "shalefs: cannot format $vol: " "$SHALEFS" format "$vol"
(cd "$work" && fails 0 "formatted file://$work/second" "$SHALEFS" format ./second/)

# what cannot be mounted
fails 1 "shalefs: cannot mount $work/none .*no volume" "$SHALEFS" mount -o log="$log" "$work/none" "$mnt"
fails 1 "$work/nowhere does not exist" "$SHALEFS" mount "$vol" "$work/nowhere"
fails 1 "$work/no/where does not exist" "$SHALEFS" mount "$vol" "$work/no/where"
touch "$work/a-file"
fails 1 'a-file is not a directory' "$SHALEFS" mount "$vol" "$work/a-file"
mkdir -p "$work/full/of"
fails 1 'full is not empty' "$SHALEFS" mount "$vol" "$work/full"
fails 2 'unknown mount option frob' "$SHALEFS" mount -o ro,frob "$vol" "$mnt"
fails 2 'mount option commit=0 is wrong' "$SHALEFS" mount -o commit=0 "$vol" "$mnt"
fails 2 'mount option dirty=12Q is wrong' "$SHALEFS" mount -o dirty=12Q "$vol" "$mnt"
fails 2 'mount option cache needs a value' "$SHALEFS" mount -o cache "$vol" "$mnt"
fails 2 'mount option ro takes no value' "$SHALEFS" mount -o ro=1 "$vol" "$mnt"
fails 2 'mount option soft=0 is wrong: seconds from 1 to 86400' "$SHALEFS" mount -o soft=0 "$vol" "$mnt"
fails 2 'mount option endpoint=here is wrong: https://HOST' "$SHALEFS" mount -o endpoint=here "$vol" "$mnt"
fails 2 'mount option endpoint= is wrong: no user or password' "$SHALEFS" mount -o endpoint=http://a:HUSH@b "$vol" "$mnt"
! grep -q HUSH "$work/said" || fail "a password was repeated"
fails 2 'mount option ca=/no/such is wrong: cannot read' "$SHALEFS" mount -o ca=/no/such "$vol" "$mnt"
fails 2 'unknown mount option secret_key' "$SHALEFS" mount -o secret_key=x "$vol" "$mnt"
fails 0 'soft=SECONDS' "$SHALEFS" mount --help
for c in format status check compact; do
	fails 0 '--endpoint URL' "$SHALEFS" $c --help
	fails 2 '--endpoint is wrong: https://HOST' "$SHALEFS" $c --endpoint here "$vol"
	fails 2 'unknown option or missing value: --region' "$SHALEFS" $c "$vol" --region
done
fails 0 '--virtual-host' "$BUILDDIR/shale" --help
fails 2 '--ca: cannot read /no/such' "$BUILDDIR/shale" dump "$vol" --ca /no/such
fails 1 'cannot open the log' "$SHALEFS" mount -o log="$work/a-file/x" "$vol" "$mnt"

# damaged and foreign volumes
cp -r "$vol" "$work/damaged"
for f in "$work/damaged"/volume/*.vol; do
	chmod u+w "$f"
	sed -i 's/^chunk-size=1/chunk-size=2/' "$f"
done
fails 1 'shalefs: cannot mount .*damaged' "$SHALEFS" mount -o log="$log" "$work/damaged" "$mnt"
fails 1 'shalefs: cannot tell about .*damaged' "$SHALEFS" status "$work/damaged"
cp -r "$vol" "$work/newer"
python3 - "$work/newer" <<'END'
import glob, os, re, sys, zlib
name, = glob.glob(sys.argv[1] + "/volume/*.vol")
os.chmod(name, 0o600)
data = open(name, "rb").read()
data = data[:data.rindex(b"crc32=")].replace(b"\nformat=1\n", b"\nformat=99\n")
open(name, "wb").write(data + b"crc32=%08x\n" % zlib.crc32(data))
END
fails 1 'format' "$SHALEFS" mount -o log="$log" "$work/newer" "$mnt"
unmounted "$mnt"

# a mount in the background
fails 0 "file://$vol is mounted on $mnt (log: $log)" "$SHALEFS" mount -o log="$log" "$vol" "$mnt"
is "name of the mount" "$(findmnt -n -o SOURCE,FSTYPE "$mnt" 2>/dev/null || echo "file://$vol fuse.shalefs")" "file://$vol fuse.shalefs"
is "owner and mode of the root" "$(stat -c %u:%g:%a "$mnt")" 12:34:1777
grep -q "mounted file://$vol" "$log" || fail "nothing in the log"
fails 1 "$mnt is a mount point already" "$SHALEFS" mount -o log="$log" "$work/second" "$mnt"
mkdir "$work/mnt2"
fails 1 'shalefs: cannot mount .*\(process\|in use\)' "$SHALEFS" mount -o log="$log" "$vol" "$work/mnt2"
unmounted "$work/mnt2"
fails 0 'name      scratch' "$SHALEFS" status "$vol"
fails 0 "mounted at $mnt" "$SHALEFS" status "$vol"
fails 0 'wal_objects_written' "$SHALEFS" status "$mnt"
"$SHALEFS" status --json "$vol" | python3 -c "
import json, sys
s = json.load(sys.stdin)
assert s['volume'] == 'file://$vol' and s['name'] == 'scratch', s
session, = s['sessions']
assert session['mount_point'] == '$mnt' and not session['gone'] and session['engine']['error'] == 0, s
assert session['pid'] == $(pid_of_mount "$mnt")"
fails 0 'tree      manifest [1-9]' "$SHALEFS" status "$mnt"
"$SHALEFS" status --json "$mnt" | python3 -c "
import json, sys
t = json.load(sys.stdin)['tree']
assert t['manifest'] > 0 and t['compactions'] == [] and isinstance(t['l0'], list) and isinstance(t['runs'], list), t"

# what the engine of the mount counts, in parts of which each fits into an attribute; for the directory and for the volume
"$SHALEFS" status --metrics "$mnt" >"$work/metrics"
python3 - "$work/metrics" "$mnt" <<'END'
import os, re, sys
text = open(sys.argv[1]).read()
assert text.endswith("\n") and len(text) > 40000, len(text)
names = re.findall(r"^# TYPE (\S+) \S+$", text, re.M)
assert len(names) == len(set(names)) and "slatedb_gc_count_total" in names, names
samples = [l.split(" ")[0] for l in text.splitlines() if l[0] != "#"]
assert len(samples) == len(set(samples))
assert re.search(r'^slatedb_object_store_request_count_total\{component="db",store_type="main",op="put",api="put"\} [1-9]', text, re.M)
first = os.getxattr(sys.argv[2], "shalefs.metrics.0")
assert 30000 < len(first) < 65536 and int(first.split(b"\n")[0]) > 0, first[:10]
last = os.getxattr(sys.argv[2], "shalefs.metrics.999999")
assert last == b"0\n", last
for bad in ("", "x", "1x"):
    try:
        os.getxattr(sys.argv[2], "shalefs.metrics." + bad)
        sys.exit("there is an attribute metrics." + bad)
    except OSError:
        pass
END
echo counted >"$mnt/counted"
"$SHALEFS" sync "$mnt"
"$SHALEFS" status --metrics "$vol" >"$work/metrics2"
flushes() {
	awk '$1 == "slatedb_db_wal_buffer_flushes_total" { print $2 }' "$1"
}
[ "$(flushes "$work/metrics2")" -gt "$(flushes "$work/metrics")" ] || fail "a commit did not count"
rm "$mnt/counted"
fails 2 'give --json or --metrics' "$SHALEFS" status --json --metrics "$vol"
fails 1 'not mounted on this machine' "$SHALEFS" status --metrics "$work/second"
fails 1 'is not in a shalefs mount' "$SHALEFS" sync "$work"
fails 1 'is not a shalefs mount' "$SHALEFS" umount "$work"
mkdir "$mnt/sub"
echo text >"$mnt/sub/file"
fails 0 '' "$SHALEFS" sync "$mnt/sub"
fails 1 'is not a shalefs mount' "$SHALEFS" umount "$mnt/sub"

# what was synced is there after the process was killed; what remains of the mount is cleared away
daemon=$(pid_of_mount "$mnt")
kill -9 "$daemon"
gone "$daemon"
fails 1 'run shalefs umount' "$SHALEFS" mount -o log="$log" "$vol" "$mnt"
fails 0 '' "$SHALEFS" umount "$mnt"
unmounted "$mnt"
mount_it
is "after a crash" "$(cat "$mnt/sub/file")" text

# busy
daemon=$(pid_of_mount "$mnt")
exec 9>"$mnt/held"
echo 1 >&9
fails 1 "cannot unmount $mnt: it is in use by .* ($$)" "$SHALEFS" umount "$mnt"
echo 2 >&9
fails 0 '' "$SHALEFS" umount --force "$mnt"
gone "$daemon"
unmounted "$mnt"
! echo 3 >&9 2>/dev/null || fail "wrote to a mount that was ended"
exec 9>&-
mount_it
is "written before the mount was ended" "$(cat "$mnt/held")" "$(printf '1\n2')"
daemon=$(pid_of_mount "$mnt")
exec 9>"$mnt/held"
"$SHALEFS" umount --lazy "$mnt" 9>&- &
lazy=$!
until ! grep -q " $mnt " /proc/self/mountinfo; do sleep 0.1; done
echo lazy >&9
exec 9>&-
wait $lazy || fail "umount --lazy"
gone "$daemon"

# pages that only the kernel has are written before a mount is ended by a signal, and by sync
cat >"$work/map.py" <<'END'
import mmap, os, select, signal, subprocess, sys
name, pid, how, program, mnt = sys.argv[1:]
files = [os.open(name + str(i), os.O_RDWR | os.O_CREAT, 0o600) for i in range(20)]
maps = []
for fd in files:
    os.ftruncate(fd, 3 << 20)
    maps.append(mmap.mmap(fd, 3 << 20))
for i, m in enumerate(maps):
    for at in range(0, 3 << 20, 65536): m[at:at + 8] = b"%s%04d" % (how.encode()[:4].ljust(4, b"!"), i)
ended = os.pidfd_open(int(pid))
if how == "SYNC":
    subprocess.run([program, "sync", mnt], check=True)
    how = "KILL"
os.kill(int(pid), getattr(signal, "SIG" + how))
assert select.select([ended], [], [], 60)[0], "it goes on"
os._exit(0)
END
for how in TERM INT SYNC; do
	mount_it
	daemon=$(pid_of_mount "$mnt")
	python3 "$work/map.py" "$mnt/mapped$how" "$daemon" $how "$SHALEFS" "$mnt"
	gone "$daemon"
	[ $how != SYNC ] || "$SHALEFS" umount "$mnt"
	unmounted "$mnt"
	mount_it
	for i in 0 7 19; do
		is "pages written through a mapping" "$(tr -d '\0' <"$mnt/mapped$how$i" | grep -o "$how" | wc -l)" 48
	done
	umount_it
done
is "sessions left" "$(ls "$vol/session" 2>/dev/null | wc -l)" 0

# an unlinked file that is open when the mount is ended leaves nothing
mount_it
exec 9>"$mnt/orphan"
rm "$mnt/orphan"
echo x >&9
"$SHALEFS" umount --force "$mnt" || fail "umount --force"
exec 9>&-
check_it
grep -q ' 0 orphans' "$work/check" || fail "$(cat "$work/check")"

# in the foreground; other ways to unmount
"$SHALEFS" mount -f "$vol" "$mnt" 2>"$work/foreground" &
foreground=$!
until grep -q 'is mounted on' "$work/foreground"; do
	kill -0 $foreground || fail "$(cat "$work/foreground")"
	sleep 0.1
done
echo x >"$mnt/foreground"
if [ "$(id -u)" = 0 ]; then umount "$mnt"; else fusermount3 -u "$mnt"; fi
wait $foreground || fail "status in the foreground: $(cat "$work/foreground")"
fails 1 'is not empty' "$SHALEFS" mount -f "$vol" "$work/full"
mount_it
is "kept" "$(cat "$mnt/foreground")" x
daemon=$(pid_of_mount "$mnt")
fusermount3 -uz "$mnt"
gone "$daemon"

# the form that mount(8) and mount.fuse3 use
fails 0 'is mounted on' "$SHALEFS" "file://$vol" "$mnt" -o rw,nofail,_netdev,x-systemd.automount,log="$log"
umount_it
ln -s "$SHALEFS" "$work/mount.fuse.shalefs"
fails 0 '' "$work/mount.fuse.shalefs" "file://$vol" "$mnt" -f -n -o ro
unmounted "$mnt"
fails 0 'is mounted on' "$work/mount.fuse.shalefs" "file://$vol" "$mnt" -s -o "ro,log=$log" -t fuse.shalefs
fails 1 'Read-only' touch "$mnt/x"
umount_it

# taking over: the first mount is fenced and says so
mount_it
echo before >"$mnt/f"
"$SHALEFS" sync "$mnt"
fails 0 'is mounted on' "$SHALEFS" mount -o "takeover,log=$work/log2" "$vol" "$work/mnt2"
is "seen by the second" "$(cat "$work/mnt2/f")" before
echo second >"$work/mnt2/g"
"$SHALEFS" sync "$work/mnt2"
fails 1 'not everything of' sh -c "echo late >'$mnt/late'; '$SHALEFS' sync '$mnt'"
fails 1 'not everything is in the store' "$SHALEFS" umount "$mnt"
unmounted "$mnt"
"$SHALEFS" umount "$work/mnt2"
mount_it
[ ! -e "$mnt/late" ] || fail "a fenced mount wrote"
is "second" "$(cat "$mnt/g")" second
umount_it
check_it
