# SPDX-License-Identifier: Apache-2.0
"""follow.py WRITER FOLLOWER... : a writer replaces, rewrites, renames and removes files as fast as it can while readers go through
the followers, so that answers and call-backs meet in every order. Whenever the writer pauses each follower must come to show what it
has, before anything that the kernel keeps could have expired by itself."""
import errno
import os
import random
import sys
import threading
import time

FILES, DIRS, ROUNDS, SECONDS, PATIENCE = 40, 4, 3, 1.5, 30
writer, followers = sys.argv[1], sys.argv[2:]
stop = threading.Event()
wrong = []


def path(root, i, name=None):
    return "%s/storm/d%d/f%d" % (root, i % DIRS, i if name is None else name)


def write(seed):
    rng, seq = random.Random(seed), 0
    while not stop.is_set():
        i, kind, seq = rng.randrange(FILES), rng.random(), seq + 1
        data = (b"%06d%06d|" % (i, seq)) * rng.choice([1, 400, 9000])
        try:
            if kind < 0.5:
                with open(path(writer, i) + ".t", "wb") as f:
                    f.write(data)
                os.rename(path(writer, i) + ".t", path(writer, i))
            elif kind < 0.8:
                with open(path(writer, i), "r+b") as f:
                    f.truncate(0)
                    f.write(data)
            elif kind < 0.9:
                os.unlink(path(writer, i))
            else:
                os.rename(path(writer, i), path(writer, (i + DIRS) % FILES))
        except FileNotFoundError:
            pass


def read(root, seed):
    rng = random.Random(seed)
    while not stop.is_set():
        i = rng.randrange(FILES)
        try:
            with open(path(root, i), "rb", buffering=0) as f:
                f.read(60000)
                os.fstat(f.fileno())
            os.listdir(os.path.dirname(path(root, i)))
            for name in range(FILES):
                os.path.exists(path(root, i, name))
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ESTALE):
                wrong.append(str(e))


def state(root):
    seen = {}
    for d in range(DIRS):
        for name in sorted(os.listdir("%s/storm/d%d" % (root, d))):
            p = "%s/storm/d%d/%s" % (root, d, name)
            with open(p, "rb") as f:
                seen[d, name] = f.read(), os.stat(p).st_size, os.stat(p).st_mtime_ns
        for i in range(FILES):
            seen[d, i] = os.path.exists(path(root, d, i))
    return seen


def settles(root, wanted):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if state(root) == wanted:
                return
        except OSError:
            pass
        time.sleep(0.02)
    sys.exit("%s does not show what was written" % root)


for d in range(DIRS):
    os.makedirs("%s/storm/d%d" % (writer, d))
seed = int(os.environ.get("SHALE_SEED", time.time()))
for r in range(ROUNDS):
    print("SHALE_SEED=%d" % (seed + r), flush=True)
    stop.clear()
    threads = [threading.Thread(target=write, args=(seed + r,))]
    threads += [threading.Thread(target=read, args=(root, k)) for root in followers for k in range(2)]
    for t in threads:
        t.start()
    time.sleep(SECONDS)
    stop.set()
    for t in threads:
        t.join()
    wanted = state(writer)
    for root in followers:
        settles(root, wanted)
if wrong:
    sys.exit("a read failed: " + wrong[0])
