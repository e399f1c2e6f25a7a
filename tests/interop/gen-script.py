#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints a random script for `shale apply` and `slatedb-interop apply`.

Everything follows from --seed. What SlateDB 0.12.1 does not define is left out: operands of one key with different
expiry in one batch (a tombstone below them has none), empty keys, ranges that hold nothing.
"""
import argparse
import random


def make_key(r, short):
    n = r.random()
    if n < 0.003 and not short:
        n = r.randint(65000, 65535)
    elif n < 0.05:
        n = r.randint(200, 1024)
    elif n < 0.4:
        n = r.randint(1, 4)
    else:
        n = r.randint(5, 40)
    kind = r.randrange(4)
    if kind == 0:
        return r.randbytes(n)
    if kind == 1:
        return bytes(r.choice((0, 1, 254, 255)) for _ in range(n))
    if kind == 2:
        return bytes(r.choice(b"abc") for _ in range(n))
    key = bytearray(b"p" * n)
    key[r.randrange(n)] = r.randrange(256)
    return bytes(key)


def make_value(r, limit):
    n = r.random()
    if n < 0.05:
        n = 0
    elif n < 0.7:
        n = r.randint(1, 64)
    elif n < 0.95:
        n = r.randint(65, 2000)
    else:
        n = r.randint(2000, 12000)
    n = min(n, limit)
    if n == 0:
        return "-"
    return r.randbytes(n).hex() if r.random() < 0.6 else "*%d:%02x" % (n, r.randrange(256))


class Script:
    def __init__(self, opt):
        self.opt = opt
        self.r = random.Random(opt.seed)
        self.keys = sorted({make_key(self.r, opt.short_keys) for _ in range(opt.keys)})
        self.snapshots = []
        self.n_snapshots = 0

    def key(self):
        return self.r.choice(self.keys).hex()

    def ttl(self):
        r = self.r
        if not self.opt.ttl or r.random() < 0.5:
            return ""
        return r.choice((" noexpiry", " ttl=%d" % r.randint(1, 40000), " ttl=%d" % r.randint(10**7, 10**10),
                         " expire_at=%d" % r.randint(1700000000000, 1700000300000)))

    def write(self):
        r = self.r
        n = r.random()
        if n < 0.2:
            return "delete " + self.key()
        if n < 0.5 and self.opt.merge:
            return "merge %s %s%s" % (self.key(), make_value(r, 200), self.ttl())
        return "put %s %s%s" % (self.key(), make_value(r, self.opt.max_value), self.ttl())

    def batch(self):
        r = self.r
        ttl_of = {}
        yield "begin"
        hot = self.key()
        for _ in range(r.randint(1, 12)):
            key = hot if r.random() < 0.4 else self.key()
            n = r.random()
            if n < 0.2:
                ttl_of[key] = " noexpiry"
                yield "delete " + key
            elif n < 0.6 and self.opt.merge:
                yield "merge %s %s%s" % (key, make_value(r, 200), ttl_of.setdefault(key, self.ttl()))
            else:
                yield "put %s %s%s" % (key, make_value(r, min(3000, self.opt.max_value)),
                                       ttl_of.setdefault(key, self.ttl()))
        yield "commit"

    def scan(self):
        r = self.r
        a, b = sorted(r.sample(range(len(self.keys)), 2))
        lo = "-" if r.random() < 0.2 else self.keys[a].hex()
        hi = "-" if r.random() < 0.2 else self.keys[b].hex()
        return "scan %s %s" % (lo, hi)

    def snapshot(self):
        r = self.r
        n = r.random()
        if self.snapshots and n < 0.3:
            name = r.choice(self.snapshots)
            self.snapshots.remove(name)
            return "drop " + name
        if self.snapshots and n < 0.6 or len(self.snapshots) > 6:
            return "snapshot-scan " + r.choice(self.snapshots)
        self.n_snapshots += 1
        self.snapshots.append("s%d" % self.n_snapshots)
        return "snapshot " + self.snapshots[-1]

    def step(self):
        r, opt = self.r, self.opt
        n = r.random()
        if n < 0.55:
            return [self.write()]
        if n < 0.68:
            return list(self.batch())
        if n < 0.78:
            key = self.key() if r.random() < 0.8 else make_key(r, True).hex()
            return ["get " + key]
        if n < 0.81:
            return [self.scan()]
        if n < 0.87:
            return ["flush memtable" if opt.no_wal else "flush wal"]
        if n < 0.89:
            return ["flush wal", "flush memtable"] if opt.settled and not opt.no_wal else ["flush memtable"]
        if n < 0.93:
            return [self.snapshot()] if opt.snapshots else []
        if n < 0.98:
            return ["advance %d" % r.choice((0, 1, 999, 7000, r.randint(0, 100000)))]
        if n < 0.985:
            self.snapshots = []
            return ["reopen"]
        return []

    def lines(self):
        for _ in range(self.opt.ops):
            yield from self.step()
        yield "scan"


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--ops", type=int, default=300)
    p.add_argument("--keys", type=int, default=60)
    p.add_argument("--max-value", type=int, default=12000)
    p.add_argument("--short-keys", action="store_true")
    p.add_argument("--merge", action="store_true")
    p.add_argument("--ttl", action="store_true")
    p.add_argument("--snapshots", action="store_true")
    p.add_argument("--settled", action="store_true",
                   help="nothing is waiting for the WAL when a memtable is flushed: both then keep the same versions")
    p.add_argument("--no-wal", action="store_true")
    for line in Script(p.parse_args()).lines():
        print(line)


if __name__ == "__main__":
    main()
