/* SPDX-License-Identifier: Apache-2.0 */
#define FUSE_USE_VERSION 314

#include "fs/ops/killpriv.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* libfuse handles a request on the thread that read it, from the read to the reply. */
static _Thread_local struct {
    uint32_t init_adds; /* flags of an INIT that the kernel offers and libfuse does not take up */
    uint64_t init_unique;
    bool write_kills;
} current;

/*
 * libfuse 3.14 knows nothing of FUSE_HANDLE_KILLPRIV_V2: neither that the kernel offers it, nor the flag on a write
 * that says that set-id bits have to go. Both are seen here, in the bytes of the request. And before 3.16.2 it keeps
 * FUSE_PARALLEL_DIROPS from the kernel, which then lets only one look-up or listing of a directory through at a time,
 * and those that wait for it cannot even be killed. An INIT of an older kernel is shorter.
 */
static void look_at(const char *request, size_t len)
{
    struct fuse_in_header h;
    const char *arg = request + sizeof(h);

    memset(&current, 0, sizeof(current));
    if (len < sizeof(h))
        return;
    memcpy(&h, request, sizeof(h));
    len -= sizeof(h);
    if (h.opcode == FUSE_WRITE && len >= sizeof(struct fuse_write_in)) {
        struct fuse_write_in in;

        memcpy(&in, arg, sizeof(in));
        current.write_kills = (in.write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
    } else if (h.opcode == FUSE_INIT && len >= offsetof(struct fuse_init_in, flags2)) {
        struct fuse_init_in in;

        memset(&in, 0, sizeof(in));
        memcpy(&in, arg, len < sizeof(in) ? len : sizeof(in));
        current.init_adds = in.flags & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_PARALLEL_DIROPS);
        current.init_unique = h.unique;
    }
}

/* As libfuse does by itself, with a look at what came. */
static ssize_t read_request(int fd, void *buf, size_t len, void *userdata)
{
    ssize_t n = read(fd, buf, len);

    (void)userdata;
    if (n > 0)
        look_at(buf, (size_t)n);
    return n;
}

/* libfuse sends the header and the answer to INIT as two pieces. */
static void amend_init(const struct iovec *iov, int count)
{
    struct fuse_out_header h;
    struct fuse_init_out *out;

    if (count != 2 || iov[0].iov_len != sizeof(h) || iov[1].iov_len < FUSE_COMPAT_22_INIT_OUT_SIZE)
        return;
    memcpy(&h, iov[0].iov_base, sizeof(h));
    if (h.unique != current.init_unique || h.error != 0)
        return;
    out = iov[1].iov_base;
    out->flags |= current.init_adds;
    current.init_adds = 0;
}

/* As libfuse does by itself; once, for INIT, with our flags. */
static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata)
{
    (void)userdata;
    if (current.init_adds)
        amend_init(iov, count);
    return writev(fd, iov, count);
}

int killpriv_attach(struct fuse_session *se)
{
    static const struct fuse_custom_io io = { .read = read_request, .writev = write_reply };

    return fuse_session_custom_io(se, &io, fuse_session_fd(se)) == 0 ? 0 : -ENOMEM;
}

bool killpriv_offered(void)
{
    return (current.init_adds & FUSE_HANDLE_KILLPRIV_V2) != 0;
}

bool killpriv_write_kills(void)
{
    return current.write_kills;
}
