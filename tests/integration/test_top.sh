#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shale top: the shape of a tree as text and JSON, once and refreshed, beside a writer, and what is no database.
set -eu
shale=$BUILDDIR/shale
command -v python3 >/dev/null || { echo 'skipped: python3 is missing'; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/shale-top.XXXXXX")
trap 'kill $writer 2>/dev/null || true; rm -rf "$work"' EXIT
writer=
db=$work/db

fail() {
	echo "FAILED: $*"
	exit 1
}

# check JSON_FILE PYTHON: the expression holds of t
check() {
	python3 -c "
import json, sys
t = json.load(open(sys.argv[1]))
sys.exit(0 if eval(sys.argv[2]) else 'FAILED: %s: %s' % (sys.argv[2], t))" "$1" "$2"
}

# has PATTERN FILE
has() {
	grep -qE -e "$1" "$2" || fail "no '$1' in: $(cat "$2")"
}

# Two L0 SSTs, then a run, then one more.
script=$(printf 'put 61 01\nflush memtable\nput 62 02\nflush memtable\n')
"$shale" apply "$db" - <<<"$script" >"$work/said" || fail "$(cat "$work/said")"
"$shale" top "$db" --json >"$work/a.json"
check "$work/a.json" "len(t['l0']) == 2 and t['runs'] == [] and t['compactions'] == [] and t['writer_epoch'] == 1"
check "$work/a.json" "t['l0_bytes'] == sum(x['bytes'] for x in t['l0']) > 0 and t['run_bytes'] == 0"
check "$work/a.json" "len(t['l0'][0]['id']) == 26 and t['l0'][0]['id'] > t['l0'][1]['id']"
"$shale" top "$db" >"$work/a.txt" # no terminal: once
has '^L0 +2 SSTs +[0-9.]+ (B|KiB)$' "$work/a.txt"
has '^runs +0$' "$work/a.txt"
has '^compactions +0$' "$work/a.txt"
[ "$(grep -c '^  01' "$work/a.txt")" = 2 ] || fail "$(cat "$work/a.txt")"

# What is wanted shows as waiting, with its sources; then as a run.
"$shale" compact "$db" >/dev/null
"$shale" put "$db" 63 03 >/dev/null
"$shale" apply "$db" - <<<'flush memtable' >/dev/null
"$shale" compact "$db" --submit-only >/dev/null
"$shale" top "$db" --once >"$work/b.txt"
has '^L0 +1 SSTs' "$work/b.txt"
has '^runs +1 ' "$work/b.txt"
has '^  run 0 +1 SSTs +[0-9.]+ (B|KiB)$' "$work/b.txt"
has '^  [0-9A-Z]{26}  1 L0 \+ 1 runs -> run 0  waiting  [0-9.]+ (B|KiB)$' "$work/b.txt"
"$shale" top "$db" --json >"$work/b.json"
check "$work/b.json" "t['runs'][0]['id'] == 0 and t['runs'][0]['ssts'] == 1 and t['run_bytes'] == t['runs'][0]['bytes']"
check "$work/b.json" "t['compactions'][0]['status'] == 'submitted' and t['compactions'][0]['destination'] == 0"
check "$work/b.json" "t['compactions'][0]['source_bytes'] == t['l0_bytes'] + t['run_bytes']"

# One that was interrupted in the middle shows how far it came.
big=$work/big
python3 -c "
for i in range(600):
    print('put %08x *900:%02x' % (i, i % 256))
    if i % 300 == 299:
        print('flush memtable')" >"$work/script"
"$shale" apply "$big" "$work/script" >/dev/null
"$shale" compact "$big" --max-sst-size 100000 --kill-after 2 >/dev/null 2>&1 || true
"$shale" top "$big" --json >"$work/c.json"
check "$work/c.json" "t['compactions'][0]['status'] == 'running' and t['compactions'][0]['outputs'] == 2"
check "$work/c.json" "0 < t['compactions'][0]['written_bytes'] < t['compactions'][0]['source_bytes']"
"$shale" top "$big" >"$work/c.txt"
has '2 L0 \+ 0 runs -> run 0   [1-9][0-9]? %  [0-9.]+ KiB of [0-9.]+ KiB, 2 SSTs$' "$work/c.txt"

# Beside a writer, which is not disturbed; nothing is written.
mkfifo "$work/in"
"$shale" apply "$db" - <"$work/in" >"$work/out" &
writer=$!
exec 3>"$work/in"
echo 'put 64 04' >&3
until [ -s "$work/out" ]; do
	kill -0 $writer || fail "the writer ended: $(cat "$work/out")"
	read -rt 0.05 _ <><(:) || true
done
find "$db" -type f | sort >"$work/before"
"$shale" top "$db" --json >"$work/d.json"
check "$work/d.json" "t['writer_epoch'] > $(python3 -c "import json; print(json.load(open('$work/b.json'))['writer_epoch'])")"
find "$db" -type f | sort | cmp - "$work/before" || fail "top wrote something"
printf 'put 65 05\nflush memtable\n' >&3
exec 3>&-
wait $writer || fail "the writer was disturbed: $(cat "$work/out")"
writer=

# On a terminal it draws again and again, until it is told to end.
python3 - "$shale" "$db" <<'END' || fail "on a terminal"
import os, pty, signal, sys
pid, fd = pty.fork()
if pid == 0:
    signal.signal(signal.SIGINT, signal.SIG_DFL) # a background job of a shell ignores it
    os.execv(sys.argv[1], [sys.argv[1], "top", sys.argv[2], "--interval-s", "0"])
seen = b""
while seen.count(b"\033[H\033[J") < 3:
    seen += os.read(fd, 65536)
os.kill(pid, signal.SIGINT)
try:
    while os.read(fd, 65536):
        pass
except OSError:
    pass
_, status = os.waitpid(pid, 0)
assert os.WIFSIGNALED(status), status
assert b"compactions" in seen
END

# What is none.
status=0
"$shale" top "$work/none" >"$work/said" 2>&1 || status=$?
[ $status = 2 ] || fail "status $status of what does not exist"
mkdir "$work/empty"
status=0
"$shale" top "$work/empty/db" >"$work/said" 2>&1 || status=$?
[ $status = 2 ] || fail "status $status of what is no database"
has "shale: top: there is no database at 'db'" "$work/said"
status=0
"$shale" top "$db" --interval-s x >"$work/said" 2>&1 || status=$?
[ $status = 2 ] || fail "status $status of a bad interval"
