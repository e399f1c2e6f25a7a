/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control_client.h"

#include "base/buf.h"
#include "fs/ops/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

/*
 * Through the kernel, by the root directory: so it reaches the process that serves this mount, whatever else has the
 * volume. The value gets a NUL behind it that is not counted.
 */
int control_ask(const char *dir, const char *what, struct shale_buf *out)
{
    char name[128];
    ssize_t n;

    snprintf(name, sizeof(name), CONTROL_PREFIX "%s", what);
    buf_clear(out);
    if (shale_buf_reserve(out, FS_XATTR_MAX + 1) < 0)
        return -ENOMEM;
    n = getxattr(dir, name, out->data, FS_XATTR_MAX);
    if (n < 0)
        return -errno;
    out->len = (size_t)n;
    out->data[n] = '\0';
    return 0;
}

int control_metrics(const char *dir, struct shale_buf *out)
{
    struct shale_buf part = SHALE_BUF_INIT;
    unsigned long from = 0;
    int rc = 0;

    buf_clear(out);
    do {
        char what[64], *text;

        snprintf(what, sizeof(what), "metrics.%lu", from);
        rc = control_ask(dir, what, &part);
        if (rc < 0)
            break;
        from = strtoul((const char *)part.data, &text, 10);
        if (*text++ != '\n')
            rc = -EPROTO;
        else
            rc = shale_buf_append(out, text, (size_t)((char *)part.data + part.len - text));
    } while (rc == 0 && from > 0);
    shale_buf_fini(&part);
    return rc;
}

static int listen_at(const char *name, int *fd)
{
    struct sockaddr_un addr;
    int len = control_address(name, &addr);

    if (len < 0)
        return len;
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return -errno;
    if (bind(*fd, (const struct sockaddr *)&addr, (socklen_t)len) == 0 && listen(*fd, 1) == 0)
        return 0;
    len = -errno;
    close(*fd);
    return len;
}

/*
 * We listen and let the mount connect to us: its end is then the end of the connection, whether it says something
 * before or not. The name is random, so that nobody else can be there first.
 */
int control_watch_begin(const char *dir, struct control_watch *w)
{
    struct shale_buf pid = SHALE_BUF_INIT;
    char name[64], what[96];
    uint64_t r = 0;
    int listener, rc;

    if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
        return -errno;
    snprintf(name, sizeof(name), "shalefs-umount-%016llx", (unsigned long long)r);
    snprintf(what, sizeof(what), "watch.%s", name);
    rc = listen_at(name, &listener);
    if (rc < 0)
        return rc;
    rc = control_ask(dir, what, &pid);
    if (rc == 0) {
        w->pid = (pid_t)strtol((const char *)pid.data, NULL, 10);
        rc = w->pid > 0 ? 0 : -EPROTO; /* a signal to 0 or less would go to many processes */
    }
    if (rc == 0) {
        w->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC); /* it has connected: this does not wait */
        rc = w->fd < 0 ? -errno : 0;
    }
    close(listener);
    shale_buf_fini(&pid);
    return rc;
}

/* Until the other side closes, which a process that is killed does, too. */
int control_watch_wait(struct control_watch *w, struct shale_buf *out)
{
    buf_clear(out);
    for (;;) {
        char part[512];
        ssize_t n = read(w->fd, part, sizeof(part));

        if (n == 0 || (n < 0 && errno == ECONNRESET))
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (shale_buf_append(out, part, (size_t)n) < 0)
            return -ENOMEM;
    }
    if (shale_buf_append(out, "", 1) < 0)
        return -ENOMEM;
    out->len--;
    return 0;
}

void control_watch_end(struct control_watch *w)
{
    close(w->fd);
}
