# SPDX-License-Identifier: Apache-2.0
"""Programs that wait for a store that does not answer, and are interrupted.

    interrupt.py MNT COUNT CASE,CASE,... BEGIN END      COUNT programs of each case; commands that begin and end the outage

A case says what the programs do, which signal they get, and whether Python's handler takes it: a program with a
handler waits until its system call returns, one without is ended by the kernel where that can. All of them have to wait
first, and to end within END_S after the signal; but for those whose signal is not meant to end anything, which have to
go on waiting, and to succeed when the outage is over.
"""
import os, select, signal, subprocess, sys, time

END_S = 30
# a first write asks for an attribute of the file, which may have to be read
FSYNC, READ, OPENAT, STAT, MKDIR, GETDENTS = (74, 1), (17,), (257,), (262, 4, 332), (83, 258), (217,)

# name: (system calls to be found in, handler, signal, program)
CASES = {
    "fsync-int": (FSYNC, True, "INT", "fd = os.open(mnt + '/new' + n, os.O_WRONLY | os.O_CREAT); go(); os.write(fd, b'new'); os.fsync(fd)"),
    "fsync-kill": (FSYNC, False, "KILL", "fd = os.open(mnt + '/new' + n, os.O_WRONLY | os.O_CREAT); go(); os.write(fd, b'new'); os.fsync(fd)"),
    "sync-int": (FSYNC, True, "INT", "fd = os.open(mnt, os.O_RDONLY); go(); os.fsync(fd)"),
    "stat-int": (STAT, True, "INT", "go(); os.stat(mnt + '/dir%d/file' % (int(n) + 40))"),
    "stat-usr1": (STAT, True, "USR1", "go(); os.stat(mnt + '/dir%d/file' % (int(n) + 78))"),
    "stat-kill": (STAT, False, "KILL", "go(); os.stat(mnt + '/dir%d/file' % (int(n) + 71))"),
    "mkdir-int": (MKDIR, True, "INT", "go(); os.mkdir(mnt + '/dir%d/new' % (int(n) + 73))"),
    "readdir-term": (OPENAT + GETDENTS, False, "TERM", "go(); os.listdir(mnt + '/dir%d' % (int(n) + 75))"),
    "open-int": (OPENAT, True, "INT", "go(); os.open(mnt + '/dir%d/file' % (int(n) + 77), os.O_RDONLY)"),
    "read-int": (READ, False, "INT", "fd = os.open(mnt + '/data' + n, os.O_RDONLY); go(); os.pread(fd, 1 << 20, 0)"),
    "read-kill": (READ, False, "KILL", "fd = os.open(mnt + '/data%d' % (int(n) + 35), os.O_RDONLY); go(); os.pread(fd, 1 << 20, 0)"),
}

PRELUDE = """
import os, signal, sys
mnt, n = sys.argv[1:]
signal.signal(signal.SIGINT, %s)
signal.signal(signal.SIGUSR1, lambda *a: None)
def go():
    os.write(1, b'.')
    os.read(0, 1)
"""


def start(mnt, case, n):
    calls, handler, sig, program = CASES[case]
    text = PRELUDE % ("signal.default_int_handler" if handler else "signal.SIG_DFL") + program
    p = subprocess.Popen([sys.executable, "-c", text, mnt, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL)
    p.case, p.calls, p.sig = case, calls, getattr(signal, "SIG" + sig)
    return p


def waits(p):
    try:
        call = open("/proc/%d/syscall" % p.pid).read().split()[0]
    except (OSError, IndexError):
        return False
    return call.isdigit() and int(call) in p.calls


def main():
    mnt, count, cases, begin_it, end_it = sys.argv[1:]
    programs = [start(mnt, case, n) for case in cases.split(",") for n in range(int(count))]
    for p in programs:
        if p.stdout.read(1) != b".":
            sys.exit("%s did not begin" % p.case)
    subprocess.check_call(begin_it, shell=True)
    for p in programs:
        p.stdin.write(b".")
        p.stdin.flush()
    deadline = time.monotonic() + 60
    for p in programs:
        while not waits(p):
            if p.poll() is not None:
                sys.exit("%s ended with %s although the store does not answer" % (p.case, p.returncode))
            if time.monotonic() > deadline:
                sys.exit("%s does not wait" % p.case)
            time.sleep(0.02)
    time.sleep(0.5)  # in the store by now, not only in the system call
    begin = time.monotonic()
    for p in programs:
        if p.poll() is not None:
            sys.exit("%s did not wait" % p.case)
        p.send_signal(p.sig)
    go_on = [p for p in programs if p.sig == signal.SIGUSR1]
    for p in programs:
        if p in go_on:
            continue
        try:
            p.wait(max(0.1, begin + END_S - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.system("cat /proc/%d/stack" % p.pid)
            sys.exit("%s goes on %d s after the signal" % (p.case, END_S))
        if p.returncode == 0:
            sys.exit("%s succeeded although the store does not answer" % p.case)
    print("%d programs in %s ended within %.1f s" % (len(programs) - len(go_on), cases, time.monotonic() - begin))
    for p in go_on:
        if p.poll() is not None:
            sys.exit("%s ended with %s by a signal that means nothing" % (p.case, p.returncode))
    subprocess.check_call(end_it, shell=True)
    for p in go_on:
        if p.wait(60) != 0:
            sys.exit("%s ended with %s" % (p.case, p.returncode))


main()
