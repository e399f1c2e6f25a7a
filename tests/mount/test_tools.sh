#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ordinary tools at ordinary work: tar, git, a compiler, sqlite, rsync; then everything is there after a remount.
. "${SRCDIR:-.}/tests/mount/lib.sh"
need python3 tar git cc make sqlite3 rsync
export HOME=$work GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org
export GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org

# A source tree of 5,400 files, the same each time: sizes from 0 to 300,000 bytes, links, odd names and modes, attributes.
python3 - "$work/tree" <<'END'
import os, random, sys
top = sys.argv[1]
r = random.Random(20261123)
words = [bytes(r.choices(b"abcdefghijklmnopqrstuvwxyz_", k=r.randint(2, 9))) for _ in range(2000)]
for d in range(180):
    path = os.path.join(top, "m%02d" % (d % 20), "sub %d" % (d // 20), "x" * (1 + d % 7))
    os.makedirs(path, exist_ok=True)
    for f in range(30):
        size = r.choice([0, 10, 200, 1000, 4000, 4097, 10000, 30000]) if f else r.randint(100000, 300000)
        name = os.path.join(path, "f%02d-%s.c" % (f, words[d * 7 % 2000].decode()))
        with open(name, "wb") as out:
            text = b" ".join(r.choices(words, k=size // 6 + 1)) if r.random() < 0.9 else r.randbytes(size)
            out.write(text[:size])
        os.chmod(name, r.choice([0o644, 0o600, 0o755, 0o444]))
        os.utime(name, ns=(10**18 + d * 10**9 + f, 10**18 + d * 10**9 + f * 1001))
    os.symlink("f01", os.path.join(path, "symlink"))
    os.link(name, os.path.join(path, "hard link \u00e4\n"))
END
tar -C "$work" --format=posix -cf "$work/tree.tar" tree
is "files made" "$(find "$work/tree" -type f | wc -l | awk '{ print ($1 >= 5000) }')" 1

format
mount_it
cd "$mnt"

# tar
tar -xf "$work/tree.tar"
diff -r --no-dereference "$work/tree" tree || fail "tar"
listing "$work/tree" >"$work/want"
listing tree >"$work/got"
diff "$work/want" "$work/got" >/dev/null || fail "tar: $(diff "$work/want" "$work/got" | head -n 4)"

# git: everything in it, history, a clone, garbage collection
git init -q -b main repo
cp -r tree/m0[0-3] repo/
cat >repo/main.c <<'END'
#include <stdio.h>
int answer(void);
int main(void) { printf("%d\n", answer()); return 0; }
END
echo 'int answer(void) { return 42; }' >repo/answer.c
printf 'prog: main.o answer.o\n\tcc -o $@ $^\n%%.o: %%.c\n\tcc -O1 -c -o $@ $<\nclean:\n\trm -f prog *.o\n' >repo/Makefile
git -C repo add -A
git -C repo commit -q -m first
for i in 1 2 3; do
	echo "$i" >>repo/notes
	git -C repo add notes
	git -C repo commit -q -m "note $i"
done
git -C repo checkout -q -b side HEAD~2
git -C repo checkout -q main
git clone -q repo clone
git clone -q --no-local repo far
git -C repo gc -q
for r in repo clone far; do
	git -C $r fsck --strict >/dev/null 2>"$work/fsck" || fail "git fsck: $(cat "$work/fsck")"
	is "git status of $r" "$(git -C $r status --porcelain)" ""
done

# a compiler and make
make -s -C clone -j2
is "the program" "$(clone/prog)" 42
sed -i s/42/43/ clone/answer.c
make -s -C clone
is "the program, built again" "$(clone/prog)" 43

# sqlite with both journals; a reader in another process while it writes
for mode in delete wal; do
	sqlite3 $mode.db "pragma journal_mode=$mode; create table t (id integer primary key, v text);" >/dev/null
	for i in 1 2 3 4 5; do
		sqlite3 $mode.db "begin; with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000)
			insert into t (v) select hex(randomblob(40)) from n; commit;"
		sqlite3 $mode.db 'update t set v = v || id where id % 7 = 0; delete from t where id % 11 = 0;'
		is "a reader" "$(sqlite3 -readonly $mode.db 'select count(*) > 1000 from t')" 1
	done
	sqlite3 $mode.db "begin; delete from t; rollback;"
	is "integrity of $mode.db" "$(sqlite3 $mode.db 'pragma integrity_check')" ok
	sqlite3 $mode.db 'select count(*), sum(length(v)) from t' >"$work/$mode.sum"
done

# rsync with extended attributes, then again with nothing to do
setfattr -n user.kind -v source "$work/tree/m00" 2>/dev/null || true
rsync -aXH "$work/tree/" copy/
rsync -aXH --delete --checksum --itemize-changes "$work/tree/" copy/ >"$work/changes"
is "a second rsync" "$(cat "$work/changes")" ""
diff -r --no-dereference "$work/tree" copy || fail "rsync"

# locks are the kernel's
flock -x lock -c 'flock -n -x lock -c true && exit 1 || exit 0' || fail "flock"

cd "$work"
listing "$mnt" >"$work/before"
remount
listing "$mnt" >"$work/after"
diff "$work/before" "$work/after" >/dev/null || fail "after a remount: $(diff "$work/before" "$work/after" | head -n 4)"
diff -r --no-dereference "$work/tree" "$mnt/tree" || fail "tree after a remount"
for mode in delete wal; do
	is "integrity after a remount" "$(sqlite3 "$mnt/$mode.db" 'pragma integrity_check')" ok
	is "rows after a remount" "$(sqlite3 "$mnt/$mode.db" 'select count(*), sum(length(v)) from t')" "$(cat "$work/$mode.sum")"
done
git -C "$mnt/repo" fsck --strict >/dev/null 2>&1 || fail "git fsck after a remount"
rm -rf "$mnt/copy" "$mnt/far"
umount_it
check_it
