#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Followers beside a writer: whatever the kernel keeps of a file, a name, a directory, an attribute or an absent name, what the
# writer commits shows within about a second (given half a minute here, on machines that have other things to do; what the
# kernel keeps by itself lasts longer).
. "${SRCDIR:-.}/tests/mount/lib.sh"
need python3 getfattr setfattr
f1=$work/f1 f2=$work/f2
mkdir "$f1" "$f2"

# follow DIR [OPTIONS]
follow() {
	"$SHALEFS" mount -o "ro,log=$1.log${2:+,$2}" "$vol" "$1" >/dev/null
}

# soon COMMAND...: it succeeds within half a minute
soon() {
	local end=$((SECONDS + 30))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || fail "still not: $*"
		sleep 0.05
	done
}

# On both followers: {} is where they are mounted.
both() {
	local dir
	for dir in "$f1" "$f2"; do
		soon "${@//\{\}/$dir}"
	done
}

holds() { [ "$(cat "$1")" = "$2" ]; }
absent() { ! [ -e "$1" ]; }
same() { [ "$(stat -c "$1" "$2")" = "$(stat -c "$1" "$3")" ]; }
lists() { [ "$(ls "$1" | tr '\n' ' ')" = "$2" ]; }
attr_is() { [ "$(getfattr --absolute-names --only-values -n "$2" "$1")" = "$3" ]; }
leads_to() { [ "$(readlink "$1")" = "$2" ]; }
figure() { "$SHALEFS" status "$2" | awk -v n="$1" '$1 == n { print $2; exit }'; }

format --chunk 64K
mount_it commit=0.1
mkdir -p "$mnt/dir/sub"
echo one >"$mnt/file"
echo inside >"$mnt/dir/sub/inside"
"$SHALEFS" sync "$mnt"
follow "$f1" poll=0.3
follow "$f2" poll=0.2

# The kernel keeps all of it, a name that is absent included.
for f in "$f1" "$f2"; do
	is "a file" "$(cat "$f/file")" one
	is "a file below" "$(cat "$f/dir/sub/inside")" inside
	absent "$f/new" && absent "$f/dir/moved" || fail "names that nobody made"
	is "a listing" "$(ls "$f" | tr '\n' ' ')" "dir file "
done

# data, by whatever way it is kept
python3 - "$mnt" "$f1" "$f2" <<'X'
import errno, mmap, os, sys, time

writer, followers = sys.argv[1], sys.argv[2:]

def soon(what, fn):
    end = time.monotonic() + 30
    while not fn():
        if time.monotonic() > end:
            sys.exit("still not: " + what)
        time.sleep(0.02)

def stale(fd):
    try:
        os.pread(fd, 1, 0)
    except OSError as e:
        return e.errno == errno.ESTALE
    return False

size = 300000
with open(writer + "/big", "wb") as f:
    f.write(b"a" * size)
for d in followers:
    soon("a new file", lambda: os.path.exists(d + "/big") and os.path.getsize(d + "/big") == size)
opened = [open(d + "/big", "rb", buffering=0) for d in followers]
maps = [mmap.mmap(f.fileno(), size, prot=mmap.PROT_READ) for f in opened]
for f, m in zip(opened, maps):
    assert f.read() == b"a" * size and m[:] == b"a" * size
with open(writer + "/big", "r+b") as f:
    f.seek(100000)
    f.write(b"changed")
for f, m in zip(opened, maps):
    soon("a change in a mapping", lambda: m[100000:100007] == b"changed")
    soon("a change in an open file", lambda: os.pread(f.fileno(), 9, 99999) == b"achangeda")
    assert m[:100000] == b"a" * 100000 and m[100007:] == b"a" * (size - 100007)
with open(writer + "/big", "ab") as f:
    f.write(b"tail")
for f in opened:
    soon("an appended tail", lambda: os.pread(f.fileno(), 100, size) == b"tail")
os.truncate(writer + "/big", 70000)
os.truncate(writer + "/big", size)
for f, m in zip(opened, maps):
    soon("what was cut", lambda: os.pread(f.fileno(), size, 0) == b"a" * 70000 + b"\0" * (size - 70000))
    soon("what was cut, in a mapping", lambda: m[:] == b"a" * 70000 + b"\0" * (size - 70000))
os.unlink(writer + "/big")
for d, f in zip(followers, opened):
    soon("a removed name", lambda: not os.path.exists(d + "/big"))
    soon("a removed file", lambda: stale(f.fileno()))
X

echo two >"$mnt/file"
both holds "{}/file" two
printf 'longer than before\n' >>"$mnt/file"
both same %s "{}/file" "$mnt/file"

# names
echo new >"$mnt/new"
both holds "{}/new" new
mv "$mnt/new" "$mnt/dir/moved"
both holds "{}/dir/moved" new
both absent "{}/new"
echo other >"$mnt/.tmp" && mv "$mnt/.tmp" "$mnt/file"
both holds "{}/file" other
both lists "{}" "dir file "
(cd "$f1/dir/sub" && mv "$mnt/dir" "$mnt/elsewhere" && soon absent "$f1/dir" && holds ./inside inside) || fail "in a renamed directory"
both holds "{}/elsewhere/sub/inside" inside
rm -r "$mnt/elsewhere"
both lists "{}" "file "
ln "$mnt/file" "$mnt/link"
ln -s target "$mnt/symlink"
both lists "{}" "file link symlink "
both same %h "{}/file" "$mnt/file"
rm "$mnt/link" "$mnt/symlink" && ln -s another "$mnt/symlink"
both leads_to "{}/symlink" another

# attributes
chmod 640 "$mnt/file" && touch -d 2001-02-03 "$mnt/file"
both same '%a %Y %h' "{}/file" "$mnt/file"
setfattr -n user.a -v 1 "$mnt/file"
both attr_is "{}/file" user.a 1
setfattr -n user.a -v 2 "$mnt/file"
both attr_is "{}/file" user.a 2

# many at once
mkdir "$mnt/tree"
(cd "${SRCDIR:-.}" && tar cf - fs tests/mount) | tar xf - -C "$mnt/tree"
"$SHALEFS" sync "$mnt"
listing "$mnt/tree" >"$work/wanted"
alike() { listing "$1" | cmp -s - "$work/wanted"; }
both alike "{}/tree"
find "$mnt/tree" -name '*.c' -exec chmod 600 {} + -exec sed -i 's/struct/STRUCT/' {} +
find "$mnt/tree" -name '*.h' -delete
"$SHALEFS" sync "$mnt"
listing "$mnt/tree" >"$work/wanted"
both alike "{}/tree"

# all at once
python3 "${SRCDIR:-.}/tests/mount/follow.py" "$mnt" "$f1" "$f2"

# nothing can be changed, and status tells what it is
fails 1 'Read-only' touch "$f1/x"
is "poll of a follower" "$(figure poll_ms "$f2")" 200
[ "$(figure look_age_ms "$f1")" -lt 30000 ] || fail "a follower that does not look"
is "requests that nobody answered" "$(figure look_error "$f1")" 0
default=$work/default
mkdir "$default"
follow "$default"
"$SHALEFS" status --json "$default" | python3 -c 'import json, sys; assert json.load(sys.stdin)["follower"]["poll_ms"] == 1000'
is "with the usual poll" "$(cat "$default/file")" other
echo usual >"$mnt/file"
soon holds "$default/file" usual
"$SHALEFS" umount "$default"
echo other >"$mnt/file"
both holds "{}/file" other

# the writer goes and another comes; one that stands still shows what was
stood=$work/still
mkdir "$stood"
follow "$stood" poll=0
remount commit=0.1
echo later >"$mnt/file"
both holds "{}/file" later
is "a mount that stands still" "$(cat "$stood/file")" other
"$SHALEFS" umount "$stood"
umount_it
is "without a writer" "$(cat "$f1/file")" later
"$SHALEFS" umount "$f1"
"$SHALEFS" umount "$f2"
check_it
