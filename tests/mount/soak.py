# SPDX-License-Identifier: Apache-2.0
"""A mount at its busiest, for SECONDS: soak.py SHALEFS SHALE WORKER WORK SECONDS SEED [LIMIT_MIB]

Workers do random file system work, each in a directory of its own and against a model of it, on a volume whose
memtables are small, whose compactor and collector look all the time, and whose checkpoints come and go, while other
processes compact it and collect its garbage, too. Meanwhile a sampler sees to it that the tree, the objects and the
memory stay bounded. Now and then all stops and everything is compared: as it is, after an unmount, after the daemon was
killed, and as a checkpoint shows it. At the end the volume is checked, and nothing may lie in its store that is not
referred to. Run by test_soak.sh.
"""
import collections, json, os, random, re, signal, subprocess, sys, threading, time

SHALEFS, SHALE, WORKER, WORK = sys.argv[1:5]
SECONDS, SEED = float(sys.argv[5]), int(sys.argv[6])
LIMIT_MIB = int(sys.argv[7]) if len(sys.argv) > 7 else 0  # of memory, 0: none
MNT, PAST, LOG = (os.path.join(WORK, name) for name in ("mnt", "past", "log"))
VOL = os.environ.get("SOAK_VOLUME") or os.path.join(WORK, "vol")
IN_BUCKET = VOL.startswith("s3://")
URL = VOL if IN_BUCKET else "file://" + VOL
if IN_BUCKET:
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "s3"))
    import s3list
AGE_S = 20 if IN_BUCKET else 1  # of garbage that others collect: no reader may be slower than that
WORKERS = 3
CHECKPOINTS = 6
L0_MAX = 8
# A merge begins with two of about the same size (a factor of four), so there are few more than one for each size from
# an L0 SST to the whole, and what comes in while a long merge runs. 55 minutes of it had 10 at most.
RUNS_MAX = 24
OBJECTS_MAX = 2000    # of each kind, manifests excepted
MANIFESTS_MAX = 100   # that are old
OPTIONS = ",".join([
    "log=" + LOG, "commit=0.2", "cache=4M", "dirty=4M", "l0_sst_size_bytes=256K", f"l0_max_ssts={L0_MAX}",
    "max_unflushed_bytes=4M", "freeze_wal_count=64", "compactor.poll_interval_ms=50", "compactor.max_sst_size=1M",
    "compactor.min_sources=2", "compactor.max_sources=8", "gc.interval_ms=100", f"gc.min_age_ms={AGE_S * 500}",
])
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


class Failure(Exception):
    pass


def run(*args, ok=(0,), timeout=120):
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
    if p.returncode not in ok:
        raise Failure(f"{' '.join(args)} ended with {p.returncode}: {p.stdout.strip()}")
    return p.stdout


def objects(kind):
    """Name: (size, time) of those in a directory of the store; without what killed processes began."""
    if IN_BUCKET:
        return s3list.objects(VOL, kind)
    path, found = os.path.join(VOL, kind), {}
    if os.path.isdir(path):  # it is made with the first
        for n in os.listdir(path):
            try:
                if "#" not in n:
                    s = os.stat(os.path.join(path, n))
                    found[n] = s.st_size, s.st_mtime
            except FileNotFoundError:
                pass
    return found


def names(kind):
    return set(objects(kind))


def old_manifests():
    """Who looked at the manifest within two minutes relies on those that followed: many stay, but few old ones."""
    return [n for n, (_, t) in objects("manifest").items() if t < time.time() - 150]


class Worker:
    """One soak_worker, which see."""

    def __init__(self, i):
        self.name = f"w{i}"
        self.p = subprocess.Popen([WORKER, os.path.join(MNT, self.name), str(SEED + i)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, bufsize=1)
        self.answer("ok")

    def say(self, line):
        try:
            self.p.stdin.write(line + "\n")
        except BrokenPipeError:
            pass  # it has said why

    def answer(self, *wanted):
        line = self.p.stdout.readline().strip()
        word, _, self.ops = line.partition(" ")
        if word not in wanted:
            raise Failure(f"worker {self.name}: {line or 'it ended'} {self.p.stdout.read() if not line else ''}")
        return word


class Soak:
    def __init__(self):
        self.rng = random.Random(SEED)
        self.end = time.monotonic() + SECONDS
        self.stop = threading.Event()
        self.up = threading.Lock()  # held while the volume is taken from its mount
        self.failed = None
        self.max = collections.Counter()
        self.did = collections.Counter()
        self.daemon = None
        self.mounts = 0
        self.now = {}                       # figures of the mount
        self.before = collections.Counter() # of those before it, added up

    # ---- the mount ----

    def mount(self, more=""):
        log = open(os.path.join(WORK, "stderr"), "a")
        self.daemon = subprocess.Popen([SHALEFS, "mount", "-f", "-o", OPTIONS + "," + more, VOL, MNT],
                                       stdout=log, stderr=log)
        self.mounts += 1
        for name in ("l0_flushes", "compactions", "wal_objects_written"):
            self.before[name] += self.now.get(name, 0)
        self.now = {}
        while not os.path.ismount(MNT):
            if self.daemon.poll() is not None:
                raise Failure(f"the daemon ended with {self.daemon.returncode} instead of mounting")
            time.sleep(0.01)

    def wait_daemon(self, want):
        if self.daemon.wait(timeout=120) != want:
            raise Failure(f"the daemon ended with {self.daemon.returncode} instead of {want}")
        self.daemon = None

    def umount(self):
        run(SHALEFS, "umount", MNT)
        self.wait_daemon(0)

    def check(self):
        out = run(SHALEFS, "check", VOL, ok=(0, 1))
        if "\n0 problems" not in out:
            raise Failure("check: " + out)

    def status(self):
        text = os.getxattr(MNT, "shalefs.status").decode()
        return {name: int(value) for name, value in (line.split() for line in text.splitlines())}

    # ---- sampling ----

    def bound(self, name, value, limit):
        self.max[name] = max(self.max[name], value)
        if limit and value > limit:
            raise Failure(f"{name}: {value}, more than {limit}")

    def sample(self, n):
        """Shape of the tree, every time; memory and objects, now and then; what the store says of the shape, seldom."""
        s = self.status()
        if s["error"]:
            raise Failure(f"the volume is dead: error {s['error']}")
        self.bound("L0s", s["l0_ssts"], L0_MAX)
        self.bound("runs", s["runs"], RUNS_MAX)
        self.bound("unflushed MiB", s["unflushed_bytes"] >> 20, 16)
        self.now = s
        if n % 8 == 0:
            with open(f"/proc/{self.daemon.pid}/status") as f:
                self.bound("memory MiB", int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) >> 10, LIMIT_MIB)
            for kind in ("compacted", "wal", "compactions"):
                self.bound(kind + " objects", len(names(kind)), OBJECTS_MAX)
        if n % 64 == 0:
            m = json.loads(run(SHALE, "manifest", URL))
            self.bound("L0s in the manifest", len(find(m, "l0")), L0_MAX)
            self.bound("runs in the manifest", len(find(m, "compacted")), RUNS_MAX)
            self.bound("old manifests", len(old_manifests()), MANIFESTS_MAX)

    def sampler(self):
        n = 0
        while not self.stop.wait(0.03):
            with self.up:
                self.sample(n)
            n += 1
            self.did["samples"] += 1

    # ---- what others do to the volume ----

    def checkpoint_ids(self):
        return [c["id"] for c in json.loads(run(SHALE, "checkpoint", "list", URL)) if c["name"] != "past"]

    def checkpoint_create(self):
        if len(self.checkpoint_ids()) < CHECKPOINTS:
            life = ["--lifetime-s", str(self.rng.randint(1, 5))] if self.rng.random() < 0.5 else []
            run(SHALE, "checkpoint", "create", URL, *life)
            self.did["checkpoints"] += 1

    def checkpoint_change(self):
        ids = self.checkpoint_ids()
        if ids and self.rng.random() < 0.3:
            # It may be gone meanwhile.
            run(SHALE, "checkpoint", "refresh", URL, self.rng.choice(ids), "--lifetime-s", "2", ok=(0, 2))
        elif ids:  # compactors leave some, too
            for id in self.rng.sample(ids, max(1, len(ids) - CHECKPOINTS)):
                run(SHALE, "checkpoint", "delete", URL, id)

    def other(self):
        what = self.rng.choice(["checkpoint", "change", "submit", "gc", "status"] * 3 + ["compact"])
        if what == "checkpoint":
            self.checkpoint_create()
        elif what == "change":
            self.checkpoint_change()
        elif what == "compact":
            # Another one may take over from it, as the mount does when it waits for long.
            run(SHALEFS, "compact", VOL, ok=(0, 1))
        elif what == "submit":
            run(SHALEFS, "compact", "--submit", VOL)
        elif what == "gc":
            run(SHALE, "gc", URL, "--min-age-s", str(AGE_S))
        else:
            run(SHALEFS, "status", "--json", VOL)
        self.did["by others: " + what] += 1

    def others(self):
        while not self.stop.wait(self.rng.uniform(0.05, 1)):
            self.other()

    def thread(self, fn):
        def body():
            try:
                fn()
            except Exception as e:
                if not self.stop.is_set():
                    self.failed = self.failed or e
                    self.stop.set()
        t = threading.Thread(target=body)
        t.start()
        return t

    # ---- what is done to all workers ----

    def tell(self, line, *wanted):
        for w in self.workers:
            w.say(line)
        return [w.answer(*wanted) for w in self.workers]

    def pause(self):
        self.tell("pause", "paused")

    def resume(self):
        for w in self.workers:
            w.say("run")

    def verify(self):
        self.pause()
        self.tell("verify", "ok")
        self.resume()

    def remount(self):
        self.pause()
        self.tell("close", "ok")
        with self.up:
            self.umount()
            self.check()
            self.mount()
        self.tell("synced", "ok")
        self.tell("verify", "ok")
        self.resume()

    def crash(self):
        with self.up:
            self.daemon.send_signal(signal.SIGKILL)
            self.wait_daemon(-signal.SIGKILL)
            self.tell("pause", "dead", "paused")  # who did nothing meanwhile has not seen it
            self.tell("close", "ok")
            run("umount", "-l", MNT)
            self.check()
            self.mount()
        self.tell("recovered", "ok")
        self.resume()

    def sync(self):
        self.pause()
        run(SHALEFS, "sync", MNT)
        self.tell("synced", "ok")
        self.resume()

    def past(self):
        """A checkpoint of some moment, through a mount of its own."""
        self.tell("pin", "ok")
        s = self.status()
        flushed = s["l0_flushes"] + s["memtables"] + 1
        while self.status()["l0_flushes"] <= flushed and not self.stop.is_set():
            time.sleep(0.05)
        out = run(SHALE, "checkpoint", "create", URL, "--name", "past").split()
        id = out[0]
        run(SHALEFS, "mount", "-o", f"checkpoint={id},log={LOG}.past", VOL, PAST)
        for w in self.workers:
            w.say("past " + os.path.join(PAST, w.name))
            w.answer("ok")
        run(SHALEFS, "umount", PAST)
        run(SHALE, "checkpoint", "delete", URL, id)
        self.tell("unpin", "ok")

    def work(self):
        turns = []
        while not self.stop.is_set() and time.monotonic() < self.end:
            self.stop.wait(min(self.rng.uniform(0.5, 4), max(0.0, self.end - time.monotonic())))
            if self.stop.is_set():
                return
            if not turns:
                turns = [self.verify, self.remount, self.crash, self.crash, self.sync, self.past]
                self.rng.shuffle(turns)
            what = turns.pop()
            what()
            self.did[what.__name__] += 1

    # ---- the end ----

    def finish(self):
        self.pause()
        self.tell("verify", "ok")
        self.tell("close", "ok")
        for w in self.workers:
            w.p.stdin.close()
            w.p.wait()
        self.umount()
        self.check()
        # Everything goes into one run, and an L0 comes after: what is older than both and in neither has to go.
        run(SHALEFS, "compact", VOL)
        for id in self.checkpoint_ids():  # those of compactors that keep their sources, too
            run(SHALE, "checkpoint", "delete", URL, id)
        self.mount("compactor.min_sources=1000,compactor.max_sources=1000")
        with open(os.path.join(MNT, "last"), "wb") as f:
            f.write(os.urandom(1 << 20))
        run(SHALEFS, "sync", MNT)
        while self.status()["l0_ssts"] == 0:
            time.sleep(0.05)
        self.umount()
        self.check()
        run(SHALE, "gc", URL, "--min-age-s", "0")
        self.check_objects()

    def check_objects(self):
        """Nothing lies about that the manifest does not refer to, and all is there that it does."""
        m = json.loads(run(SHALE, "manifest", URL))
        referred = set(ULID.findall(json.dumps(m)))
        ssts = {n.split(".")[0] for n in names("compacted")}
        if ssts - referred:
            raise Failure(f"SSTs that nothing refers to: {sorted(ssts - referred)}; " + run(SHALE, "compactions", URL))
        wals = {n: size for n, (size, _) in objects("wal").items()
                if int(n.split(".")[0]) < find(m, "replay_after_wal_id")}
        fat = [n for n, size in wals.items() if size > 1024]
        if fat or len(wals) > self.mounts:  # empty ones fence, for a day
            raise Failure(f"WAL objects that are not needed: {wals}, too large for a fence: {fat}")
        if len(old_manifests()) > 1 or len(names("compactions")) > 2 or names("session"):
            raise Failure(f"left at the end: {old_manifests()}, {names('compactions')}, {names('session')}")

    def soak(self):
        os.mkdir(PAST)
        run(SHALEFS, "format", "--chunk", "64K", "--block", "4K", VOL)
        self.mount()
        self.workers = [Worker(i) for i in range(WORKERS)]
        run(SHALEFS, "sync", MNT)
        self.tell("synced", "ok")
        self.resume()
        threads = [self.thread(self.sampler), self.thread(self.others)]
        try:
            self.work()
        except Exception as e:
            self.failed = self.failed or e
        self.stop.set()
        for t in threads:
            t.join()
        if self.failed:
            raise self.failed
        self.finish()

    def report(self):
        ops = sum(int(w.ops) for w in self.workers)
        figures = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in self.before.items())
        print(f"{ops} operations in {SECONDS:.0f} s, {figures}")
        print("did: " + ", ".join(f"{n} {what}" for what, n in sorted(self.did.items())))
        print("at most: " + ", ".join(f"{n} {what}" for what, n in sorted(self.max.items())))


def find(tree, name):
    """The first value of that name, at whatever depth."""
    if isinstance(tree, dict):
        if name in tree:
            return tree[name]
        tree = list(tree.values())
    for v in tree if isinstance(tree, list) else []:
        found = find(v, name)
        if found is not None:
            return found
    return None


def main():
    s = Soak()
    try:
        s.soak()
        s.report()
    except (Failure, OSError, subprocess.SubprocessError) as e:
        print(f"FAILED: {e}")
        sys.stdout.flush()
        s.stop.set()
        os._exit(1)  # whatever waits; the script takes the mounts away


main()
