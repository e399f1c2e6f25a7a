/* SPDX-License-Identifier: Apache-2.0 */
/* What a session says of its process, and whether that process is still there. */
#include "fs/core/session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The start of a small file, NUL-terminated. Returns its length or -errno. */
static ssize_t read_text(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -errno;
    do
        n = read(fd, out, cap - 1);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        n = -errno;
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n;
}

/* The first line; empty when there is none, or when it does not look like an id. */
static void read_id(const char *path, char *out, size_t cap)
{
    char text[128];
    size_t len;

    *out = '\0';
    if (read_text(path, text, sizeof(text)) < 0)
        return;
    len = strspn(text, "0123456789abcdefABCDEF-");
    if (len >= cap || (text[len] != '\n' && text[len] != '\0'))
        return;
    memcpy(out, text, len);
    out[len] = '\0';
}

static uint64_t own_pid_namespace(void)
{
    struct stat st;

    return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

/*
 * Field n (from 3) of a line as "123 (name) S 1 ..."; the name may hold anything, so count from the last parenthesis.
 */
static const char *stat_field(const char *line, int n)
{
    const char *p = strrchr(line, ')');

    for (int field = 2; p && field < n; field++)
        p = strchr(p + 1, ' ');
    return p ? p + 1 : NULL;
}

/* Field 22; a process that ended and has not been waited for is gone (state Z or X, and no thread but the first). */
static int parse_start(const char *line, uint64_t *start_time)
{
    const char *state = stat_field(line, 3), *threads = stat_field(line, 20), *start = stat_field(line, 22);
    char *end;
    uint64_t v;

    if (!state || !threads || !start)
        return -EIO;
    if ((*state == 'Z' || *state == 'X') && strtoul(threads, NULL, 10) <= 1)
        return -ESRCH;
    v = strtoull(start, &end, 10);
    if (end == start || *end != ' ')
        return -EIO;
    *start_time = v;
    return 0;
}

/* A missing directory in /proc proves nothing where it hides the processes of others (hidepid), so kill is asked. */
static int process_start(void *ctx, uint32_t pid, uint64_t *start_time)
{
    char path[64], line[2048];
    ssize_t n;

    (void)ctx;
    if (pid == 0 || pid > INT32_MAX)
        return -EINVAL;
    if (kill((pid_t)pid, 0) < 0 && errno == ESRCH)
        return -ESRCH;
    snprintf(path, sizeof(path), "/proc/%" PRIu32 "/stat", pid);
    n = read_text(path, line, sizeof(line));
    return n < 0 ? (n == -ESRCH ? -ESRCH : -EACCES) : parse_start(line, start_time);
}

void session_here_init(struct session_here *here)
{
    memset(here, 0, sizeof(*here));
    read_id("/etc/machine-id", here->machine_id, sizeof(here->machine_id));
    read_id("/proc/sys/kernel/random/boot_id", here->boot_id, sizeof(here->boot_id));
    here->pid_namespace = own_pid_namespace();
    here->process_start = process_start;
}

int session_init(struct session *s, struct shale_ulid id, const char *mount_point, int64_t now_ms)
{
    size_t len = mount_point ? strlen(mount_point) : 0;
    struct session_here here;

    if (len > SESSION_MOUNT_POINT_MAX)
        return -ENAMETOOLONG;
    session_here_init(&here);
    memset(s, 0, sizeof(*s));
    s->id = id;
    if (gethostname(s->host, sizeof(s->host) - 1) < 0)
        s->host[0] = '\0';
    memcpy(s->machine_id, here.machine_id, sizeof(s->machine_id));
    memcpy(s->boot_id, here.boot_id, sizeof(s->boot_id));
    s->pid = (uint32_t)getpid();
    s->pid_namespace = here.pid_namespace;
    if (process_start(NULL, s->pid, &s->start_time) < 0)
        s->start_time = 0;
    if (len)
        memcpy(s->mount_point, mount_point, len);
    s->since_ms = now_ms;
    return 0;
}

static bool same_id(const char *a, const char *b)
{
    return *a && strcmp(a, b) == 0;
}

/*
 * Only certainty counts, since a mount that is wrongly taken for dead is fenced and loses what it has not yet written:
 *   another machine, or ours under an unknown boot    nothing is certain
 *   our machine, another boot                         no process outlives that: dead
 *   this boot, another pid namespace                  its numbers mean nothing here
 *   this boot and namespace                           dead when the process is gone, or has begun at another time
 */
bool session_is_dead_here(const struct session *s, const struct session_here *here)
{
    uint64_t start_time;
    int rc;

    if (s->unreadable || !same_id(s->machine_id, here->machine_id) || !*s->boot_id || !*here->boot_id)
        return false;
    if (!same_id(s->boot_id, here->boot_id))
        return true;
    if (s->pid_namespace == 0 || s->pid_namespace != here->pid_namespace || s->pid == 0)
        return false;
    rc = here->process_start(here->ctx, s->pid, &start_time);
    if (rc == -ESRCH)
        return true;
    return rc == 0 && s->start_time != 0 && start_time != s->start_time;
}

bool session_is_provably_dead(const struct session *s)
{
    struct session_here here;

    session_here_init(&here);
    return session_is_dead_here(s, &here);
}
