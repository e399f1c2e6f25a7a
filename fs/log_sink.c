/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/log_sink.h"

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

/* fd is replaced by dup2 onto the same number, so that writers need no lock. */
static struct {
    int fd;
    char *path;
} sink = { .fd = STDERR_FILENO };

/*
 * From any thread, with locks of any rank held: so no lock is taken and nothing is allocated. One write for each line
 * keeps lines of several threads and processes apart (O_APPEND). Too long a line is cut, and stays a line.
 */
static void sink_line(void *ctx, enum shale_log_level level, const char *line)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    char text[LINE_MAX_BYTES];
    struct timespec now;
    struct tm tm;
    int n;

    (void)ctx;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    n = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ [%ld] %s: %s\n", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000, (long)getpid(),
                 names[level], line);
    if (n >= (int)sizeof(text)) {
        n = (int)sizeof(text) - 1;
        text[n - 1] = '\n';
    }
    /* There is nobody to tell when the log is full. */
    (void)!write(sink.fd, text, (size_t)n);
}

/* Those above the file. */
static void make_directories(const char *path)
{
    char *copy = mem_strdup(path);

    if (!copy)
        return;
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        (void)mkdir(copy, 0755); /* opening the file tells what is wrong */
        *p = '/';
    }
    mem_free(copy);
}

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

/* Before there are other threads. */
int log_sink_open(const char *path, enum shale_log_level level)
{
    if (path) {
        char *copy = mem_strdup(path);
        int fd;

        if (!copy)
            return -ENOMEM;
        make_directories(path);
        fd = open_file(path);
        if (fd < 0) {
            int rc = -errno;

            mem_free(copy);
            return err_set(rc, "cannot open the log %s: %s", path, strerror(-rc));
        }
        sink.fd = fd;
        mem_free(sink.path);
        sink.path = copy;
    }
    shale_log_set(sink_line, NULL, level);
    return 0;
}

void log_sink_reopen(void)
{
    int fd = sink.path ? open_file(sink.path) : -1;

    if (fd < 0)
        return;
    (void)dup3(fd, sink.fd, O_CLOEXEC); /* the old file stays when it fails */
    close(fd);
}

/* For root as other daemons do; for others where the XDG rules put it. A home that is no absolute path is none. */
static char *state_directory(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *dir = NULL;
    int n;

    if (geteuid() == 0)
        return mem_strdup("/var/log/shalefs");
    if (state && state[0] == '/')
        n = asprintf(&dir, "%s/shalefs", state);
    else if (home && home[0] == '/')
        n = asprintf(&dir, "%s/.local/state/shalefs", home);
    else
        return NULL;
    return n < 0 ? NULL : dir;
}

char *log_sink_default_path(const char *volume_url)
{
    const char *name = strrchr(volume_url, '/');
    char *dir = state_directory(), *path = NULL;

    name = name && name[1] ? name + 1 : "volume";
    if (dir && asprintf(&path, "%s/%s.log", dir, name) < 0)
        path = NULL;
    mem_free(dir);
    return path;
}
