# SPDX-License-Identifier: Apache-2.0
# What plain tools cannot say, in the current directory: a mount, where "file" is a file. Run by test_basic.sh.
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def rename2(a, b, flags):
    return 0 if libc.renameat2(-100, a, -100, b, flags) == 0 else ctypes.get_errno()
open("x", "w").write("x"); os.mkdir("y")
assert rename2(b"x", b"y", 1) == errno.EEXIST
assert rename2(b"x", b"y", 2) == 0
assert os.path.isdir("x") and open("y").read() == "x"
assert rename2(b"x", b"z", 1) == 0
assert rename2(b"z", b"absent", 2) == errno.ENOENT
assert rename2(b"y", b"absent", 4) == errno.EINVAL
os.rmdir("z"); os.unlink("y")

# a file that has no name any more
fd = os.open("gone", os.O_RDWR | os.O_CREAT, 0o600)
os.write(fd, b"still here"); os.unlink("gone")
assert os.fstat(fd).st_nlink == 0 and os.pread(fd, 100, 0) == b"still here"
os.ftruncate(fd, 5); os.pwrite(fd, b"!", 9); assert os.pread(fd, 100, 0) == b"still\0\0\0\0!"
os.close(fd)

# sparse files and sizes
fd = os.open("sparse", os.O_RDWR | os.O_CREAT, 0o600)
os.pwrite(fd, b"end", 5 << 30); os.fsync(fd)
st = os.fstat(fd)
assert st.st_size == (5 << 30) + 3 and st.st_blocks * 512 < 1 << 21, st
assert os.pread(fd, 8192, 1 << 30) == bytes(8192)
os.ftruncate(fd, 3 << 20); assert os.pread(fd, 100, (3 << 20) - 10) == bytes(10)
os.pwrite(fd, b"a" * 300000, 100000); os.ftruncate(fd, 200000); os.ftruncate(fd, 500000)
assert os.pread(fd, 500000, 0) == bytes(100000) + b"a" * 100000 + bytes(300000)
os.close(fd)

# append, shared mappings
import mmap
with open("mapped", "wb") as f: f.write(b"m" * 100000)
with open("mapped", "r+b") as f:
    m = mmap.mmap(f.fileno(), 0); m[50000:50005] = b"hello"; m.flush(); m.close()
assert open("mapped", "rb").read()[49999:50006] == b"mhellom"
a = os.open("appended", os.O_WRONLY | os.O_CREAT | os.O_APPEND); b = os.open("appended", os.O_WRONLY | os.O_APPEND)
os.write(a, b"1"); os.write(b, b"2"); os.write(a, b"3")
assert open("appended").read() == "123"

# what there is not
def refused(want, call, *args):
    try: call(*args)
    except OSError as e: assert e.errno == want, e
    else: assert False, call
refused(errno.EOPNOTSUPP, os.open, ".", os.O_TMPFILE | os.O_RDWR)
assert libc.fallocate(a, 1, ctypes.c_long(0), ctypes.c_long(4096)) == -1 and ctypes.get_errno() == errno.EOPNOTSUPP
refused(errno.EOPNOTSUPP, os.setxattr, "file", "system.posix_acl_access", b"\2\0\0\0")

# extended attributes
os.setxattr("file", "user.one", b"1"); os.setxattr("file", "user.two", b"\0" * 5000)
assert sorted(os.listxattr("file")) == ["user.one", "user.two"]
assert os.getxattr("file", "user.two") == b"\0" * 5000
refused(errno.EEXIST, os.setxattr, "file", "user.one", b"2", os.XATTR_CREATE)
refused(errno.ENODATA, os.setxattr, "file", "user.three", b"2", os.XATTR_REPLACE)
refused(errno.ENODATA, os.getxattr, "file", "user.three")
os.removexattr("file", "user.one"); refused(errno.ENODATA, os.removexattr, "file", "user.one")
os.setxattr(".", "user.root", b"r")
assert os.listxattr(".") == ["user.root"], os.listxattr(".")

# a directory that changes while it is read: what stays is seen once
os.mkdir("churn")
for i in range(3000): open("churn/%05d" % i, "w").close()
seen = []
with os.scandir("churn") as it:
    for n, e in enumerate(it):
        seen.append(e.name)
        if n % 3 == 0 and n < 2900:
            os.unlink("churn/%05d" % (2999 - n)) if os.path.exists("churn/%05d" % (2999 - n)) else None
            open("churn/new%05d" % n, "w").close()
assert len(seen) == len(set(seen)); left = {n for n in os.listdir("churn") if not n.startswith("new")}
assert left <= set(seen), sorted(left - set(seen))[:5]

# set-id bits go when an owner without privilege changes the group, of files of any type; a directory keeps them
if os.getuid() == 0:
    import stat
    os.chmod(".", 0o777)
    os.mkfifo("fifo"); os.mknod("device", stat.S_IFCHR | 0o600, os.makedev(1, 3)); open("plain", "w").close(); os.mkdir("dir6")
    for name in ("fifo", "device", "plain", "dir6"):
        os.chown(name, 65534, 65533); os.chmod(name, 0o6555)
        pid = os.fork()
        if pid == 0:
            os.setgroups([65532]); os.setresgid(65533, 65533, 65533); os.setresuid(65534, 65534, 65534)
            os.chown(name, -1, 65532); os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        want = 0o6555 if name == "dir6" else 0o555
        assert stat.S_IMODE(os.lstat(name).st_mode) == want, (name, oct(os.lstat(name).st_mode))
