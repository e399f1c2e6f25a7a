#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Drives `shale` and `slatedb-interop` (the real SlateDB) around each other's databases; see README.md.

Every case is a function of one seed, printed when it fails; --seed and --only run it again.
"""
import argparse
import itertools
import json
import os
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
CODECS = ("none", "snappy", "zlib", "lz4", "zstd")
BLOCKS = ("1k", "2k", "4k", "8k", "16k", "32k", "64k")
CLOCK = "1700000000000"
WAIT_S = 60  # for what happens in the background; far more than it takes


class Different(Exception):
    pass


class Defect(Exception):
    """SlateDB ran into a defect of its own on what it alone wrote, so there is nothing to compare with."""


# A memtable whose rows all vanish on their way to L0 (expired operands) becomes an SST without blocks, which SlateDB
# 0.12.1 cannot search (H34).
NO_BLOCKS = "assertion failed: idx < self.len()"


def first_difference(a, b):
    a, b = a.split("\n"), b.split("\n")
    for i, (x, y) in enumerate(zip(a + [None] * len(b), b + [None] * len(a))):
        if x != y:
            return "line %d:\n  shale    %s\n  slatedb  %s" % (i + 1, str(x)[:400], str(y)[:400])
    return "none"


def check_equal(what, ours, theirs):
    if ours != theirs:
        raise Different("%s differ in %s" % (what, first_difference(ours, theirs)))


class Ring:
    """A temporary directory and the two programs."""

    def __init__(self, shale, slatedb, shalefs, tmp):
        self.shale, self.slatedb, self.shalefs, self.tmp = shale, slatedb, shalefs, tmp
        self.n = 0

    def dir(self, name):
        self.n += 1
        path = os.path.join(self.tmp, "%03d-%s" % (self.n, name))
        os.mkdir(path)
        return path

    def copy(self, root):
        """Opening for writing changes a database, so a copy is given to whoever does."""
        self.n += 1
        path = os.path.join(self.tmp, "%03d-copy" % self.n)
        shutil.copytree(root, path)
        if os.path.isdir(root + ".wal"):
            shutil.copytree(root + ".wal", path + ".wal")
        return path

    def run(self, argv, status=0, stdin=None):
        p = subprocess.run(argv, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=300)
        if p.returncode != status:
            error = p.stderr.decode()
            raise Different("%s: exit status %d, expected %d\n%s%s" % (
                " ".join(argv), p.returncode, status, p.stdout.decode()[-2000:],
                error if len(error) < 4000 else error[:2000] + "\n...\n" + error[-2000:]))
        return p.stdout.decode()

    def ours(self, command, root, *args, **kw):
        args = list(args)
        where = "file://%s/db" % root
        if os.path.isdir(root + ".wal"):
            args += ["--wal-url", "file://%s.wal/db" % root]
        return self.run([self.shale, *command.split(), where] + args, **kw)

    def theirs(self, command, root, *args, **kw):
        args = list(args)
        if os.path.isdir(root + ".wal"):
            args += ["--wal-root", root + ".wal"]
        return self.run([self.slatedb, *command.split(), "--root", root] + args, **kw)

    def theirs_alone(self, command, root, *args):
        """As theirs, on a database that only SlateDB has written."""
        try:
            return self.theirs(command, root, *args)
        except Different as e:
            if NO_BLOCKS in str(e):
                raise Defect("SlateDB met an SST without blocks that it had written") from e
            raise

    def ours_at(self, command, root, path, *args):
        return self.run([self.shale, *command.split(), "file://%s/%s" % (root, path)] + list(args))

    def objects(self, root, kind):
        path = os.path.join(root, "db", kind)
        return set(os.listdir(path)) if os.path.isdir(path) else set()

    def expect_equal_views(self, root, op):
        """Every way to look at a database gives the same with both programs."""
        check_equal("rows", self.ours("rows", root), self.theirs("rows", root))
        check_equal("manifests", self.ours("manifest", root), self.theirs("manifest", root))
        check_equal("compactions", self.ours("compactions", root), self.theirs("compactions", root))
        ours = self.ours("dump", root, "--merge-op", op)
        check_equal("dumps", ours, self.theirs("dump", self.copy(root), "--merge-op", op))
        expected = os.path.join(self.dir("expected"), "rows")
        with open(expected, "w") as f:
            f.write(ours)
        check_equal("checks", self.ours("check", root, "--expected", expected, "--merge-op", op),
                    self.theirs("check", self.copy(root), "--expected", expected, "--merge-op", op))
        return ours


def settings(r):
    """Options of a writer that both programs know."""
    return ["--codec", r.choice(CODECS), "--block-size", r.choice(BLOCKS), "--min-filter-keys",
            r.choice(("0", "1", "20", "1000")), "--filter-bits", r.choice(("5", "10", "20"))]


def write_script(ring, r, *args):
    path = os.path.join(ring.dir("script"), "script")
    with open(path, "w") as f:
        subprocess.run([sys.executable, os.path.join(HERE, "gen-script.py"), "--seed", str(r.getrandbits(32))] +
                       list(args), stdout=f, check=True)
    return path


# ---- the cases ----

def theirs_to_ours(ring, r):
    """Databases of gen-random are read here, and written on."""
    op = r.choice(("append", "sum"))
    root = ring.dir("theirs")
    expected = os.path.join(root + ".rows")
    how = settings(r) + ["--merge-op", op]
    extra = [a for a in ("--merge", "--ttl", "--compact", "--short-keys") if r.random() < 0.6]
    ring.theirs_alone("gen-random", root, "--seed", str(r.getrandbits(32)), "--ops", str(r.randint(50, 900)),
                      "--expected", expected, "--max-value", "20000", "--keys", str(r.choice((20, 200, 500))), *how,
                      *extra)
    with open(expected) as f:
        check_equal("dump and model", ring.ours("dump", root, "--bare", "--merge-op", op), f.read())
    rows = ring.expect_equal_views(root, op)
    script = write_script(ring, r, "--ops", "60", "--merge")
    with_clock = how + ["--clock", "4100000000000"]
    ours, theirs = ring.copy(root), ring.copy(root)
    check_equal("answers after their writes", ring.ours("apply", ours, script, *with_clock),
                ring.theirs("apply", theirs, script, *with_clock))
    ring.expect_equal_views(ours, op)
    return len(rows.splitlines())


def ours_to_theirs(ring, r):
    """Databases that shale wrote are read by SlateDB."""
    op = r.choice(("append", "sum"))
    root = ring.dir("ours")
    how = settings(r) + ["--merge-op", op]
    extra = [a for a in ("--merge", "--ttl", "--snapshots", "--short-keys") if r.random() < 0.7]
    if r.random() < 0.2:
        how += ["--no-wal"]
        extra += ["--no-wal"]
    if r.random() < 0.3:
        how += ["--default-ttl", str(r.randint(1, 10**6))]
    if r.random() < 0.3:
        how += ["--l0-size", str(r.randint(1, 60000))]
    script = write_script(ring, r, "--ops", str(r.randint(20, 500)), "--keys", str(r.choice((10, 60, 400))), *extra)
    ring.ours("apply", root, script, "--clock", CLOCK, *how)
    return len(ring.expect_equal_views(root, op).splitlines())


def same_answers(ring, r):
    """One script, both programs, the same answers line by line, and the same objects at the end."""
    op = r.choice(("append", "sum", "none"))
    how = settings(r) + ["--merge-op", op, "--clock", CLOCK]
    extra = [a for a in ("--ttl", "--snapshots", "--short-keys") if r.random() < 0.8]
    extra.append("--settled")
    if op != "none":
        extra.append("--merge")
    if r.random() < 0.2:
        how += ["--no-wal"]
        extra += ["--no-wal"]
    small = r.random() < 0.25  # tables are frozen and flushed on the way, when is not the same in both
    if small:
        extra = [a for a in extra if a != "--ttl"]  # and what has expired is gone with that
        how += ["--l0-size", str(r.randint(15000, 60000))]
    elif r.random() < 0.3:
        how += ["--default-ttl", str(r.randint(1, 10**6))]
    script = write_script(ring, r, "--ops", str(r.randint(50, 500)), "--keys", str(r.choice((5, 40, 200))), *extra)
    ours, theirs = ring.dir("ours"), ring.dir("theirs")
    answers = ring.ours("apply", ours, script, *how)
    check_equal("answers", answers, ring.theirs_alone("apply", theirs, script, *how))
    if small:
        check_equal("last dumps", *(ring.ours("dump", root, "--merge-op", op) for root in (ours, theirs)))
        ring.expect_equal_views(theirs, op)
        return answers.count("\n")
    check_equal("objects", rows_shape(ring.ours("rows", ours), op), rows_shape(ring.theirs("rows", theirs), op))
    check_equal("manifests", manifest_shape(ring.ours("manifest", ours)),
                manifest_shape(ring.theirs("manifest", theirs)))
    ring.expect_equal_views(ours, op)
    return answers.count("\n")


ULID = r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b"


def rows_shape(text, op):
    """Without what is drawn at random (ULIDs) and what depends on a compressor's version (lengths).

    SlateDB passes an operand that is alone in its batch through the operator, too, shale stores it as it is: the same
    to every reader, but for `sum` not the same bytes.
    """
    def widen(m):
        return m.group(1) + (m.group(2).replace("-", "") + "0" * 16)[:16]
    text = re.sub(r"(?m)^# compacted/" + ULID, "# compacted/ULID", re.sub(r" bytes=\d+", "", text))
    if op == "sum":
        text = re.sub(r"(?m)(\tM\t\S+\t\S+\t)(\S+)$", widen, text)
    objects = re.split(r"(?m)^(?=# )", text)
    wal = [o for o in objects if o.startswith("# wal/")]
    return "".join(wal + sorted(o for o in objects if o not in wal))  # the clock stands: ids of L0 have no order


def manifest_shape(text):
    """As for rows; and without what tells how often the manifest was written.

    SlateDB writes it once more on close. A memtable that holds only replayed rows is stamped by SlateDB with the last
    WAL object with rows, by shale with the fence behind it, which is empty.
    """
    text = re.sub(r'"(filter|index|stats)_(len|offset)": \d+', r'"\1_\2": N', re.sub('"' + ULID + '"', "ULID", text))
    text = re.sub(r"^\[\n  \d+,", "[", text)
    return re.sub(r'"replay_after_wal_id": \d+', '"replay_after_wal_id": N', text)


class Conversation:
    """An `apply -` that is talked to line by line."""

    def __init__(self, argv):
        self.p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def say(self, line):
        self.p.stdin.write(line.encode() + b"\n")
        self.p.stdin.flush()
        if not select.select([self.p.stdout], [], [], WAIT_S)[0]:
            raise Different("no answer to '%s'" % line)
        return self.p.stdout.readline().decode().rstrip("\n")

    def expect(self, line, pattern):
        answer = self.say(line)
        if not re.fullmatch(pattern, answer):
            raise Different("'%s' was answered '%s', expected '%s'" % (line, answer, pattern))
        return answer

    def end(self):
        self.p.stdin.close()
        status = self.p.wait(WAIT_S)
        self.p.stdout.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()
        self.p.stdin.close()
        self.p.stdout.close()


def talk_ours(ring, root, *args):
    where = ["--wal-url", "file://%s.wal/db" % root] if os.path.isdir(root + ".wal") else []
    return Conversation([ring.shale, "apply", "file://%s/db" % root, "-"] + where + list(args))


def talk_theirs(ring, root, *args):
    where = ["--wal-root", root + ".wal"] if os.path.isdir(root + ".wal") else []
    return Conversation([ring.slatedb, "apply", "--root", root, "-"] + where + list(args))


def fencing(ring, r):
    """A writer of one fences a writer of the other: what it acknowledges afterwards as durable would be lost."""
    pairs = ((talk_ours, talk_theirs), (talk_theirs, talk_ours), (talk_ours, talk_ours))
    for first, second, wal in [pair + (wal,) for pair in pairs for wal in (False, True)]:
        root = ring.dir("fence")
        if wal:
            os.mkdir(root + ".wal")
        flush = r.choice(("flush wal", "flush memtable"))
        with first(ring, root) as a:
            a.expect("put 61 01", r"ok 1")
            a.expect("flush wal", "ok")
            a.expect("put 62 02", r"ok 2")  # not durable: lost with its writer
            with second(ring, root) as b:
                b.expect("get 61", r"61\t01\t1\t\d+\t-")
                b.expect("get 62", "none")
                b.expect("put 63 03", r"ok 2")
                b.expect("flush wal", "ok")
                a.expect(flush, r"error .*")
                if a.end() != 2:
                    raise Different("a fenced writer did not end with status 2")
                b.expect("put 64 04", r"ok 3")
                b.expect("flush memtable", "ok")
                if b.end() != 0:
                    raise Different("the fencing writer failed")
        dump = ring.expect_equal_views(root, "append")
        if [line.split("\t")[0] for line in dump.splitlines()] != ["61", "63", "64"]:
            raise Different("after fencing the database holds\n" + dump)
    return 6


def their_compaction(ring, r):
    """SlateDB compacts what shale wrote; then shale reads and writes on, and so forth."""
    op = r.choice(("append", "sum"))
    root = ring.dir("ours")
    now = int(CLOCK)
    for _ in range(3):
        how = settings(r) + ["--merge-op", op]
        script = write_script(ring, r, "--ops", str(r.randint(50, 250)), "--merge", "--ttl", "--snapshots")
        ring.ours("apply", root, script, "--clock", str(now), *how)
        ring.run([ring.shale, "apply", "file://%s/db" % root, "-", "--clock", str(now + 20000000)] + how,
                 stdin=one_line_flush(ring))
        now += 40000000
        plan = r.choice((["--full"], ["--l0"], ["--l0", "--l0-oldest", "2"]))
        if r.random() < 0.5:
            plan += ["--embedded"] + settings(r)
        ring.theirs("compact", root, *plan, "--max-sst-size", str(r.choice((2000, 20000, 1 << 28))), "--merge-op", op,
                    "--clock", str(now))
        ring.expect_equal_views(root, op)
    return 3


def one_line_flush(ring):
    path = os.path.join(ring.dir("line"), "line")
    with open(path, "w") as f:
        f.write("flush memtable\n")
    return open(path)


def wait_for_compactions(talk, n):
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        m = re.fullmatch(r"ok l0=(\d+) runs=(\d+) compacting=(\d+) compactions=(\d+) .*", talk.say("status"))
        if not m:
            raise Different("bad answer to status")
        if int(m.group(3)) == 0 and int(m.group(4)) >= n:
            return
        talk.expect("sleep 5", "ok")
    raise Different("no compaction within %d s" % WAIT_S)


def our_compaction(ring, r):
    """Our compactor works on what SlateDB wrote; then SlateDB reads, checks and compacts on."""
    op = r.choice(("append", "sum"))
    root = ring.dir("theirs")
    how = settings(r) + ["--merge-op", op]
    extra = [a for a in ("--ttl", "--compact") if r.random() < 0.5]
    ring.theirs("gen-random", root, "--seed", str(r.getrandbits(32)), "--ops", "300", "--expected", root + ".rows",
                "--max-value", "9000", "--keys", "100", "--merge", "--short-keys", *how, *extra)
    before = ring.ours("dump", root, "--bare", "--merge-op", op)
    compactor = ["--compactor", "--min-sources", "2", "--max-sst-size", str(r.choice((3000, 30000, 1 << 28)))]
    with talk_ours(ring, root, *how, *compactor) as a:
        a.expect("delete 00ff5a00", r"ok \d+") # as good as certainly no key of theirs
        a.expect("flush memtable", "ok")
        a.expect("delete 00ff5a00", r"ok \d+")
        a.expect("flush memtable", "ok")
        wait_for_compactions(a, 1)
        if a.end() != 0:
            raise Different("shale with its compactor failed")
    check_equal("before and after compaction", ring.ours("dump", root, "--bare", "--merge-op", op), before)
    ring.expect_equal_views(root, op)
    ring.theirs("compact", root, "--full", "--merge-op", op)
    check_equal("before and after both compactions", ring.ours("dump", root, "--bare", "--merge-op", op), before)
    ring.expect_equal_views(root, op)
    return len(before.splitlines())


def lived_in(ring, r, op):
    """A database of SlateDB with compactions, and how to write on."""
    root = ring.dir("lived-in")
    how = settings(r) + ["--merge-op", op]
    ring.theirs("gen-random", root, "--seed", str(r.getrandbits(32)), "--ops", "200", "--expected", root + ".rows",
                "--max-value", "3000", "--keys", "60", "--merge", "--short-keys", "--compact", *how)
    return root, how


def write_on(ring, r, root, how):
    write = r.choice((ring.ours, ring.theirs))
    write("apply", root, write_script(ring, r, "--ops", "40", "--merge"), *how)


def flush(ring, r, root):
    uuid = r.choice((ring.ours, ring.theirs))("checkpoint create", root, "--flush").split()[0]
    r.choice((ring.ours, ring.theirs))("checkpoint delete", root, uuid)


def checkpoints(ring, r):
    """Checkpoints and clones that one makes are listed and read by the other, and cloned on."""
    op = r.choice(("append", "sum"))
    root, how = lived_in(ring, r, op)
    held = {}
    for i in range(3):
        make = r.choice((ring.ours, ring.theirs))
        extra = r.choice(([], ["--flush"], ["--name", "n%d" % i], ["--lifetime-s", "3000000000"]))
        uuid = make("checkpoint create", root, *extra).split()[0]
        held[uuid] = ring.ours("dump", root, "--checkpoint", uuid, "--merge-op", op)
        check_equal("dumps at a checkpoint", held[uuid],
                    ring.theirs("dump", ring.copy(root), "--checkpoint", uuid, "--merge-op", op))
        write_on(ring, r, root, how)
    check_equal("lists", ring.ours("checkpoint list", root), ring.theirs("checkpoint list", root))
    for i, uuid in enumerate(held):
        first, second, third = "first%d" % i, "second%d" % i, "third%d" % i
        ring.ours_at("clone", root, first, "--from", "db", "--checkpoint", uuid)
        ring.theirs("clone", root, "--path", second, "--from", "db", "--checkpoint", uuid)
        ring.theirs("clone", root, "--path", first, "--from", "db", "--checkpoint", uuid)  # is there, and whole
        ring.ours_at("clone", root, second, "--from", "db", "--checkpoint", uuid)
        if r.random() < 0.5:
            ring.ours_at("clone", root, third, "--from", second)
        else:
            ring.theirs("clone", root, "--path", third, "--from", first)
        for path in first, second, third:
            check_equal("clone " + path, ring.ours_at("dump", root, path, "--merge-op", op), held[uuid])
            check_equal("clone " + path, ring.theirs("dump", ring.copy(root), "--path", path, "--merge-op", op),
                        held[uuid])
    first, *rest = held
    r.choice((ring.ours, ring.theirs))("checkpoint delete", root, first)
    r.choice((ring.ours, ring.theirs))("checkpoint refresh", root, rest[0], "--lifetime-s", "3000000000")
    check_equal("lists", ring.ours("checkpoint list", root), ring.theirs("checkpoint list", root))
    return len(held)


def garbage(ring, r):
    """What one's collector leaves is all that the other needs; the two leave the same SSTs."""
    op = r.choice(("append", "sum"))
    root, how = lived_in(ring, r, op)
    uuid = r.choice((ring.ours, ring.theirs))("checkpoint create", root).split()[0]
    held = ring.ours("dump", root, "--checkpoint", uuid, "--merge-op", op)
    ring.theirs("clone", root, "--path", "c", "--from", "db")
    if r.random() < 0.5:
        r.choice((ring.ours, ring.theirs))("checkpoint delete", root, uuid)
        held = None
    for _ in range(2):
        write_on(ring, r, root, how)
        flush(ring, r, root)
        ring.theirs("compact", root, "--full", "--merge-op", op)
    write_on(ring, r, root, how)
    flush(ring, r, root)
    for c in json.loads(ring.ours("checkpoint list", root)):
        if c["expire_time"] is not None:  # of the compactor, for 15 minutes
            r.choice((ring.ours, ring.theirs))("checkpoint delete", root, c["id"])
    rows = ring.ours("dump", root, "--merge-op", op)
    cloned = ring.ours_at("dump", root, "c", "--merge-op", op)
    ours, theirs = ring.copy(root), ring.copy(root)
    would = set(os.path.basename(n) for n in ring.ours("gc", ours, "--min-age-s", "0", "--dry-run").split())
    before = {kind: ring.objects(ours, kind) for kind in ("manifest", "wal", "compacted", "compactions")}
    ring.ours("gc", ours, "--min-age-s", "0")
    for kind, names in before.items():
        if kind != "manifest" and ring.objects(ours, kind) != names - would:
            raise Different("the dry run told something else of %s/" % kind)
    ring.theirs("gc", theirs, "--min-age-s", "0")
    for kind in "compacted", "compactions":
        check_equal(kind + "/", "\n".join(sorted(ring.objects(ours, kind))),
                    "\n".join(sorted(ring.objects(theirs, kind))))
    for kind in "manifest", "wal":  # ours keeps fences, and manifests of the last two minutes
        if not ring.objects(ours, kind) >= ring.objects(theirs, kind):
            raise Different("%s/: shale removed what slatedb keeps" % kind)
    for left in ours, theirs:
        ring.expect_equal_views(left, op)
        check_equal("rows after gc", ring.ours("dump", left, "--merge-op", op), rows)
        check_equal("the clone after gc", ring.theirs("dump", ring.copy(left), "--path", "c", "--merge-op", op), cloned)
        if held is not None:
            check_equal("the checkpoint after gc", ring.ours("dump", left, "--checkpoint", uuid, "--merge-op", op), held)
            check_equal("the checkpoint after gc",
                        ring.theirs("dump", ring.copy(left), "--checkpoint", uuid, "--merge-op", op), held)
    n = len(before["compacted"]) - len(ring.objects(ours, "compacted"))
    if n == 0:
        raise Different("there was no garbage: the case proves nothing")
    return n


def wal_store(ring, r):
    """WAL objects in a store of their own."""
    how = settings(r) + ["--clock", CLOCK]
    script = write_script(ring, r, "--ops", "150", "--merge", "--snapshots")
    ours, theirs = ring.dir("ours"), ring.dir("theirs")
    for root in (ours, theirs):
        os.mkdir(root + ".wal")
    a = ring.ours("apply", ours, script, *how)
    check_equal("answers", a, ring.theirs("apply", theirs, script, *how))
    check_equal("dumps", ring.ours("dump", ours), ring.ours("dump", theirs))
    for root in (ours, theirs):
        ring.expect_equal_views(root, "append")
        if ring.objects(root, "wal") or not os.listdir(os.path.join(root + ".wal", "db", "wal")):
            raise Different("WAL objects of %s are where they should not be" % root)
    return a.count("\n") + turns(ring, r, ours, [], now=int(CLOCK) + 10**9)


def turns(ring, r, root, extra, now):
    """Both write on in turns, and give the same answers on what the other left; what they leave is the same to both."""
    n = 0
    for writer in r.sample((ring.ours, ring.theirs), 2):
        how = settings(r) + ["--clock", str(now)] + extra
        script = write_script(ring, r, "--ops", "30", "--merge", *extra)
        other = ring.copy(root)
        a = writer("apply", root, script, *how)
        check_equal("answers of both on one database", *sorted_by(
            ring, writer, a, (ring.theirs if writer == ring.ours else ring.ours)("apply", other, script, *how)))
        check_equal("dumps", ring.ours("dump", root), ring.ours("dump", other))
        ring.expect_equal_views(root, "append")
        now += 10**9
        n += a.count("\n")
    return n


def sorted_by(ring, writer, a, b):
    return (a, b) if writer == ring.ours else (b, a)


def no_wal(ring, r):
    """Databases without WAL, made by one, written on by both in turns; then with a WAL again."""
    first = r.choice((ring.ours, ring.theirs))
    root = ring.dir("no-wal")
    script = write_script(ring, r, "--ops", "60", "--merge", "--snapshots", "--no-wal")
    n = first("apply", root, script, "--no-wal", "--clock", CLOCK, *settings(r)).count("\n")
    ring.expect_equal_views(root, "append")
    n += turns(ring, r, root, ["--no-wal"], int(CLOCK) + 10**9)
    if ring.objects(root, "wal"):
        raise Different("a database without WAL has WAL objects")
    n += turns(ring, r, root, [], int(CLOCK) + 10**10)
    return n + turns(ring, r, root, ["--no-wal"], int(CLOCK) + 2 * 10**10)


def interrupted(ring, r):
    """A compaction that one begins and is killed at is gone on with, and finished, by the other, or by both in turns."""
    n = 0
    for first, second in ((ring.ours, ring.theirs), (ring.theirs, ring.ours)):
        op = r.choice(("append", "sum"))
        root, how = lived_in(ring, r, op)
        for _ in range(3):
            write_on(ring, r, root, how)
            flush(ring, r, root)
        before = ring.ours("dump", root, "--bare", "--merge-op", op)
        limit = ["--max-sst-size", str(r.choice((2000, 5000))), "--merge-op", op]
        # SlateDB itself cannot resume L0 SSTs into a new run: the list does not say which, and it takes 0.
        plan = "--l0" if second == ring.ours and r.random() < 0.5 else "--full"
        said = first("compact", root, plan, *limit, "--kill-after", "1").strip()
        written = recorded(ring, root)
        if said == "[Running]" and plan == "--full" and r.random() < 0.5:
            said = second("compact", root, "--resume", *limit, "--kill-after", str(len(written) + 1)).strip()
            second, first = first, second
        if said == "[Running]":
            check_equal("rows in between", ring.ours("dump", root, "--bare", "--merge-op", op), before)
            said = second("compact", root, "--resume", *limit).strip()
            n += 1
        if said != "[Completed]":
            raise Different("the compaction ended as " + said)
        check_equal("rows", ring.ours("dump", root, "--bare", "--merge-op", op), before)
        ring.expect_equal_views(root, op)
    return n


def recorded(ring, root):
    """Ids of the outputs that the list of compactions has."""
    found = json.loads(ring.ours("compactions", root))[1]["core"]["recent_compactions"].values()
    return [o["id"]["Compacted"] for c in found for o in c["output_ssts"]]


EDGES = """begin
commit
put 61 01 bogus=1
put 61
put 6 01
frobnicate
snapshot-scan nope
drop nope
commit
flush sideways
get zz
put 61 *3:ab ttl=1 ttl=2
get 61
scan - 61
scan 61 -
scan - -
merge 61 0102
get 61
put 62 - noexpiry
get 62
put 63 03 expire_at=5
get 63
delete 61
get 61
begin
put 64 01
begin
put 65 02
commit
get 64
get 65
put 66 07 ttl=18446744073709551615
put 67 07 expire_at=-5
put 68 07 ttl=0
  # comment

  scan
snapshot a
put 62 ff
snapshot-scan a
snapshot a
snapshot-scan a
  drop   a
drop a
advance 5
put 6a 01
flush memtable
flush wal
reopen
scan
"""


def large_blocks(ring, r):
    """Separators behind large blocks, which are not SlateDB's: it finds every key, its neighbours, and all versions."""
    root = ring.dir("ours")
    keys = ["".join(t) for n in (1, 2, 3) for t in itertools.product(("00", "61", "62", "ff"), repeat=n)]
    how = ["--codec", "none", "--block-size", r.choice(BLOCKS), "--min-filter-keys", "1"]
    chosen = r.sample(keys, 24)
    lines = []
    for version in range(3):
        lines += ["put %s *%d:%02x" % (k, r.choice((10, 140000, 140000)), r.randrange(256)) for k in chosen
                  if version == 0 or r.random() < 0.3]
        lines.append("snapshot s%d" % version)
    lines.append("flush memtable")
    path = os.path.join(ring.dir("script"), "script")
    with open(path, "w") as f:
        f.write("\n".join(lines) + "\n")
    ring.ours("apply", root, path, "--clock", CLOCK, *how)
    looks = ["get " + k for k in keys]
    looks += ["scan %s %s" % tuple(sorted(r.sample(keys, 2), key=bytes.fromhex)) for _ in range(10)]
    for side in (None, ring.theirs, ring.ours):
        if side:
            side("compact", root, "--full")
        with open(path, "w") as f:
            f.write("\n".join(looks) + "\n")
        check_equal("answers", *(who("apply", ring.copy(root), path, "--clock", CLOCK)
                                 for who in (ring.ours, ring.theirs)))
    ring.expect_equal_views(root, "append")
    return len(looks)


def edges(ring, r):
    """The odd lines of scripts: errors on the same ones, whatever the words."""
    path = os.path.join(ring.dir("script"), "script")
    with open(path, "w") as f:
        f.write(EDGES)
    how = ["--keep-going", "--clock", CLOCK] + settings(r)
    ours, theirs = (p("apply", ring.dir("db"), path, *how) for p in (ring.ours, ring.theirs))
    check_equal("answers", re.sub("(?m)^error .*", "error", ours), re.sub("(?m)^error .*", "error", theirs))
    return ours.count("\n")


def one_shots(ring, r):
    """Commands of one operation, ways to look at a part, and exit statuses."""
    root = ring.dir("db")
    script = write_script(ring, r, "--ops", "100", "--merge", "--short-keys")
    ring.theirs("apply", root, script, "--clock", CLOCK)
    ours, theirs = ring.copy(root), ring.copy(root)
    n = 0

    def both(what, *args, status=0):
        nonlocal n
        n += 1
        looks = what in ("get", "dump")  # theirs then opens for writing, and leaves a fence
        check_equal(what + " " + " ".join(args), ring.ours(what, ours, *args, status=status),
                    ring.theirs(what, ring.copy(theirs) if looks else theirs, *args, status=status))

    lines = ring.ours("dump", root).splitlines()
    some = r.choice(lines).split("\t")[0]
    both("get", some)
    both("get", "00ffff0102030405", status=1)
    both("get", "0", status=2)
    for args in (("--from", some), ("--to", some), ("--from", "-", "--to", "-"), ("--bare",), ("--digest=3",),
                 ("--bare", "--digest")):
        both("dump", *args)
    both("rows", "--digest=40")
    for i in ("1", "2"):
        both("manifest", "--id", i)
    both("manifest", "--id", "99", status=2)
    both("compactions", "--id", "7")
    for what, args in (("put", ("aa", "bb")), ("put", ("ab", "-", "ttl=100000")), ("merge", ("aa", "cc")),
                       ("delete", ("ab",)), ("delete", ("ac",)), ("put", (some, "*2000:01", "noexpiry"))):
        both(what, *args, "--clock", str(int(CLOCK) + 10**8))
        both("dump")
    both("put", "aa", "bb", "sometimes", status=2)
    wrong = {"missing": lines + ["ffffffff\t00"], "expected": ["%s\t00" % some if x.startswith(some + "\t") else x
                                                              for x in lines], "unexpected": lines[:-1]}
    for name, rows in wrong.items():
        path = os.path.join(ring.dir("expected"), name)
        with open(path, "w") as f:
            f.write("\n".join(rows) + "\n")
        a = ring.ours("check", ring.copy(root), "--expected", path, status=1)
        check_equal("checks with a row " + name, a, ring.theirs("check", ring.copy(root), "--expected", path, status=1))
        n += 1
    return n


def operands_of_a_batch(ring, r):
    """What SlateDB writes as two rows with one sequence number is read as SlateDB itself reads it (H4)."""
    batches = (("delete 61", "merge 61 aa ttl=100000"),
               ("merge 61 aa ttl=100000", "merge 61 bb"),
               ("merge 61 bb", "merge 61 aa ttl=100000", "merge 61 cc ttl=5"),
               ("put 61 cc ttl=1000", "merge 61 bb", "merge 61 dd ttl=99"))
    for batch in batches:
        root = ring.dir("theirs")
        path = os.path.join(ring.dir("script"), "script")
        with open(path, "w") as f:
            f.write("\n".join(("put 61 99", "begin") + batch + ("commit", "put 62 01", "flush wal", "crash")) + "\n")
        ring.theirs("apply", root, path, "--clock", CLOCK)
        check_equal("dumps after " + ", ".join(batch), ring.ours("dump", root), ring.theirs("dump", ring.copy(root)))
    return len(batches)


def counts_of_objects(rows):
    """By object, what `--collect counts` says of its rows: kinds, bytes, sums of CRC-32."""
    objects = {}
    for line in rows.splitlines():
        if line.startswith("# "):
            counts = objects.setdefault(line[2:].split()[0].split("/")[1], [0] * 7)
            continue
        key, _, kind, _, _, value = line.split("\t")
        key, value = (bytes.fromhex(cell.replace("-", "")) for cell in (key, value))
        counts["PDM".index(kind)] += 1
        for i, n in enumerate((len(key), len(value), zlib.crc32(key), zlib.crc32(value))):
            counts[3 + i] += n
    return {name: "".join("%016x" % n for n in counts) for name, counts in objects.items()}


def expect_properties(ring, root, whose):
    """Each SST and WAL object that has properties has those of its rows; whose(kind, name) says which have some."""
    counts = counts_of_objects(ring.ours("rows", root))
    n = 0
    for line in ring.ours("properties", root).splitlines():
        kind, name, blob = line.split("\t")
        empty = counts[name] == "0" * len(counts[name])  # a fence
        want = counts[name] if whose(kind, name) and not empty else "none"
        if blob != want:
            raise Different("properties of %s %s are %s, expected %s" % (kind, name, blob, want))
        n += blob != "none"
    return n


def properties(ring, r):
    """SSTs with properties are read, checked and compacted by SlateDB; mixed trees are read and compacted here."""
    op = r.choice(("append", "sum"))
    root = ring.dir("ours")
    n, foreign = 0, set()

    def mine(kind, name):
        return name not in foreign

    for _ in range(2):
        how = settings(r) + ["--merge-op", op]
        ours = how + ["--collect", "counts"]
        script = write_script(ring, r, "--ops", str(r.randint(50, 250)), "--merge", "--snapshots")
        ring.ours("apply", root, script, *ours)
        ring.run([ring.shale, "apply", "file://%s/db" % root, "-"] + ours, stdin=one_line_flush(ring))
        n += expect_properties(ring, root, mine)
        ring.expect_equal_views(root, op)
        plan = r.choice((["--l0"], ["--l0", "--l0-oldest", "1"]))
        before = ring.objects(root, "compacted")
        ring.theirs("compact", root, *plan, "--max-sst-size", str(r.choice((2000, 20000, 1 << 28))), "--merge-op", op)
        foreign |= {name[:-4] for name in ring.objects(root, "compacted") - before}
        n += expect_properties(ring, root, mine)
        ring.expect_equal_views(root, op)
        if r.random() < 0.5:
            ring.ours("compact", root, "--full", "--max-sst-size", str(r.choice((2000, 20000, 1 << 28))), *ours)
            n += expect_properties(ring, root, mine)
            ring.expect_equal_views(root, op)
    ring.theirs("compact", root, "--full", "--merge-op", op)
    foreign = {name[:-4] for name in ring.objects(root, "compacted")}
    expect_properties(ring, root, mine)
    ring.expect_equal_views(root, op)
    return n


def block_transformer(ring, r):
    """Through one that both programs know, each reads, writes on and compacts what the other wrote."""
    if "--block-transformer" not in ring.run([ring.slatedb, "dump", "--help"]):
        print("skipped block_transformer: slatedb-interop is an older one, without it")
        return 0
    op = r.choice(("append", "sum"))
    root = ring.dir("both")
    turns = [ring.ours, ring.theirs, r.choice((ring.ours, ring.theirs))]
    xor = ["--block-transformer", "xor", "--merge-op", op]

    def equal_views():
        rows = ring.ours("dump", root, *xor)
        check_equal("dumps", rows, ring.theirs("dump", ring.copy(root), *xor))
        check_equal("dumps of readers", rows, ring.theirs("dump", ring.copy(root), "--reader", *xor))
        expected = os.path.join(ring.dir("expected"), "rows")
        with open(expected, "w") as f:
            f.write(rows)
        check_equal("checks", ring.ours("check", root, "--expected", expected, *xor),
                    ring.theirs("check", ring.copy(root), "--expected", expected, *xor))
        return len(rows.splitlines())

    r.shuffle(turns)
    for turn in turns:
        how = settings(r) + xor + (["--collect", "counts"] if turn == ring.ours else [])
        script = write_script(ring, r, "--ops", str(r.randint(50, 200)), "--merge")
        turn("apply", root, script, *how)
        equal_views()
        turn("apply", root, one_line_flush(ring).name, *how)
        r.choice(turns)("compact", root, *r.choice((["--full"], ["--l0"])), *xor)
        n = equal_views()
    ring.ours("dump", root, "--merge-op", op, status=2)
    ring.theirs("dump", ring.copy(root), "--merge-op", op, status=2)
    return n


def change_files(top, r):
    """Some of everything that a volume can hold."""
    names = []
    for i in range(r.randint(20, 80)):
        name = os.path.join(top, "f%03d" % i)
        with open(name, "wb") as f:
            f.write(r.randbytes(r.choice((0, 10, 4096, 5000, 200000))))
            if r.random() < 0.3:
                f.seek(r.randint(0, 300000))
                f.write(r.randbytes(5000))
        names.append(name)
    os.mkdir(os.path.join(top, "dir"))
    for name in names:
        n = r.random()
        if n < 0.2:
            os.unlink(name)
        elif n < 0.4:
            os.rename(name, os.path.join(top, "dir", os.path.basename(name)))
        elif n < 0.5:
            os.truncate(name, r.randint(0, 100000))
        elif n < 0.6:
            os.link(name, name + ".link")
        elif n < 0.7:
            os.symlink("somewhere", name + ".symlink")


def volume(ring, r):
    """What a mounted file system wrote is a database that SlateDB reads."""
    if not ring.shalefs or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        print("skipped volume: no shalefs or no /dev/fuse")
        return 0
    root, mnt = ring.dir("store"), ring.dir("mnt")
    ring.run([ring.shalefs, "format", root + "/db"])
    for _ in range(2):
        ring.run([ring.shalefs, "mount", root + "/db", mnt])
        try:
            top = os.path.join(mnt, "d%d" % r.getrandbits(32))
            os.mkdir(top)
            change_files(top, r)
            ring.run([ring.shalefs, "sync", mnt])
            ring.expect_equal_views(ring.copy(root), "append")
        finally:
            ring.run([ring.shalefs, "umount", mnt])
        ring.expect_equal_views(root, "append")
    return 2


CASES = (theirs_to_ours, ours_to_theirs, same_answers, fencing, their_compaction, our_compaction, interrupted,
         checkpoints, garbage, wal_store, no_wal, operands_of_a_batch, large_blocks, edges, one_shots, properties,
         block_transformer, volume)


def run_case(ring, case, seed):
    started = time.monotonic()
    try:
        n = case(ring, random.Random("%s %d" % (case.__name__, seed)))
    except Defect as e:
        print("left %s seed %d: %s" % (case.__name__, seed, e), flush=True)
        return
    print("ok %s seed %d: %d, %.1f s" % (case.__name__, seed, n, time.monotonic() - started), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--shale", required=True)
    p.add_argument("--slatedb", required=True)
    p.add_argument("--shalefs", default=None, help="without it the case 'volume' is skipped")
    p.add_argument("--seed", type=int, default=None)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--only", choices=[c.__name__ for c in CASES], default=None)
    p.add_argument("--keep", action="store_true", help="keep the databases of a failure")
    a = p.parse_args()
    seed = a.seed if a.seed is not None else int.from_bytes(os.urandom(4), "little")
    failed = 0
    print("seeds %d to %d" % (seed, seed + a.rounds - 1), flush=True)
    for n in range(seed, seed + a.rounds):
        for case in CASES:
            if a.only and case.__name__ != a.only:
                continue
            tmp = tempfile.mkdtemp(prefix="shale-interop-")
            try:
                run_case(Ring(a.shale, a.slatedb, a.shalefs, tmp), case, n)
            except (Different, subprocess.SubprocessError, OSError) as e:
                failed += 1
                print("FAILED %s: SEED=%d ONLY=%s ROUNDS=1 runs it again\n%s" % (case.__name__, n, case.__name__, e))
                if not isinstance(e, Different):
                    traceback.print_exc()
                if a.keep:
                    print("databases are in " + tmp, flush=True)
                    continue
            shutil.rmtree(tmp, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
