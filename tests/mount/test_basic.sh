#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each group of operations with plain tools, and that a remount shows the same.
. "${SRCDIR:-.}/tests/mount/lib.sh"
need python3 getfattr
SRCDIR=$(cd "${SRCDIR:-.}" && pwd)

format
mount_it
cd "$mnt"

# modes and times
umask 022
echo hello >file
is "mode of a file" "$(stat -c %a file)" 644
chmod 4751 file
is "mode after chmod" "$(stat -c %a file)" 4751
mkdir -m 2770 dir
is "mode of a directory" "$(stat -c %a dir)" 2770
touch -d '2001-02-03 04:05:06.789012345 UTC' file
is "mtime" "$(TZ=UTC stat -c %y file)" "2001-02-03 04:05:06.789012345 +0000"
touch -d '1950-01-01 00:00:00 UTC' dir
is "mtime before 1970" "$(stat -c %Y dir)" -631152000
is "names" "$(ls -a | tr '\n' ' ')" ". .. dir file "

# hard links
ln file dir/other
is "links" "$(stat -c %h file)" 2
is "same inode" "$(stat -c %i file)" "$(stat -c %i dir/other)"
echo more >>dir/other
is "contents through a link" "$(cat file)" "$(printf 'hello\nmore')"
rm file
is "links after rm" "$(stat -c %h dir/other)" 1
mv dir/other file

# symbolic links and special files
ln -s ../dir/nowhere link
is "target" "$(readlink link)" ../dir/nowhere
is "size of a symbolic link" "$(stat -c %s link)" 14
long=$(printf 'x%.0s' $(seq 4000))
ln -s "$long" long
is "long target" "$(readlink long)" "$long"
mkfifo pipe
is "type of a pipe" "$(stat -c %F pipe)" fifo
[ "$(id -u)" != 0 ] || { mknod null c 1 3; is "device" "$(stat -c %t,%T null)" 1,3; }

# directories
mkdir -p a/b/c/d
is "links of a directory" "$(stat -c %h a)" 3
! rmdir a 2>/dev/null || fail "rmdir of a full directory"
! mkdir a 2>/dev/null || fail "mkdir of what is there"
! mkdir "$(printf 'n%.0s' $(seq 256))" 2>/dev/null || fail "a name of 256 bytes"
mkdir "$(printf 'n%.0s' $(seq 255))"
rmdir a/b/c/d
is "parent" "$(cd a/b/c && stat -c %i ..)" "$(stat -c %i a/b)"

# rename
echo one >one
echo two >two
mv one two
is "replaced" "$(cat two)" one
[ ! -e one ] || fail "the old name is still there"
mv a/b moved
is "parent of a moved directory" "$(cd moved && stat -c %i ..)" "$(stat -c %i .)"
! mv moved moved/c/ 2>/dev/null || fail "a directory moved into itself"
mv -n two file
is "mv -n" "$(cat two)" one
python3 "$SRCDIR/tests/mount/basic.py"

# set-id bits go when somebody without the right writes, truncates or changes the group
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	chmod 755 "$work"
	unprivileged() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
	mkdir -m 777 open
	for how in 'echo more >>open/s' 'truncate -s 1 open/s' ': >open/s'; do
		rm -f open/s
		echo text >open/s
		chown 65534:65534 open/s
		chmod 6755 open/s
		is "set-id bits" "$(stat -c %a open/s)" 6755
		unprivileged sh -c "$how"
		is "set-id bits after $how" "$(stat -c %a open/s)" 755
	done
	chmod 6755 open/s
	echo more >>open/s
	is "set-id bits after root wrote" "$(stat -c %a open/s)" 6755
	chown 1:1 open/s
	is "set-id bits after chown" "$(stat -c %a open/s)" 755
	! unprivileged cat file 2>/dev/null && chmod 600 file && ! unprivileged cat file 2>/dev/null ||
		fail "permissions are not checked"
fi

# many entries
mkdir big
(cd big && seq -f 'entry%06g' 20000 | xargs touch)
is "entries" "$(ls -f big | wc -l)" 20002
is "entries with attributes" "$(ls -l big | wc -l)" 20001
is "sorted entries" "$(ls big | md5sum)" "$(seq -f 'entry%06g' 20000 | md5sum)"
(cd big && seq -f 'entry%06g' 2 2 20000 | xargs rm)
is "entries left" "$(find big -type f | wc -l)" 10000

# larger than one chunk, and more than one request
head -c 20000000 /dev/urandom >"$work/random"
cp "$work/random" random
cmp "$work/random" random
dd if="$work/random" of=random bs=7001 skip=3 seek=3 count=100 conv=notrunc status=none
cmp "$work/random" random
[ "$(df --output=fstype . | tail -n 1)" = fuse.shalefs ] || fail "df"
sync -f .

listing . >"$work/before"
cd "$work"
remount
listing "$mnt" >"$work/after"
diff "$work/before" "$work/after" || fail "the remount shows something else"
is "attribute" "$(getfattr --only-values -n user.root "$mnt" 2>/dev/null || echo r)" r

rm -rf "${mnt:?}"/*
is "empty" "$(ls -A "$mnt")" ""
umount_it
check_it
mount_it ro
! touch "$mnt/x" 2>/dev/null || fail "wrote on a read-only mount"
umount_it
