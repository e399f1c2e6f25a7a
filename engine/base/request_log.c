/* SPDX-License-Identifier: Apache-2.0 */
/* Two buffers: one gathers lines, the other one is being written, without the lock. */

#include "base/request_log.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_LOG_RANK 940
#define BUFFER_BYTES ((size_t)1 << 20)
#define MANY_BYTES ((size_t)64 << 10)
#define LINE_BYTES 1400 /* a name has at most 1024 */
#define EVERY_MS 1000

static const char header[] = "# time class op object range status sent received attempt queued_ms wire_ms\n";

struct request_log {
    char *path; /* owned */
    int fd;     /* the thread's, once it runs */
    struct worker thread;
    bool failing; /* the thread's, as the next one: the last write did */
    bool torn;    /* the file ends within a line */
    struct mutex mu; /* rank REQUEST_LOG_RANK */
    struct cond wake;
    struct shale_buf lines; /* GUARDED_BY(mu) */
    uint64_t missing;       /* GUARDED_BY(mu); lines dropped since the last one in lines */
    bool reopen, stop;      /* GUARDED_BY(mu) */
};

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

int request_log_open(const char *path, struct request_log **out)
{
    struct request_log *l = mem_zalloc(sizeof(*l));
    int rc = 0;

    if (!l || !(l->path = mem_strdup(path))) {
        mem_free(l);
        return err_set(-ENOMEM, "out of memory for the request log");
    }
    l->fd = open_file(path);
    if (l->fd < 0)
        rc = err_set(-errno, "cannot open the request log %s: %s", path, strerror(errno));
    mutex_init(&l->mu, REQUEST_LOG_RANK, "request log");
    cond_init(&l->wake);
    if (rc < 0)
        request_log_close(l);
    else
        *out = l;
    return rc;
}

/* A failure is told once; the lines are lost, and counted as missing. */
static void write_out(struct request_log *l, const struct shale_buf *b)
{
    size_t done = 0;
    uint64_t lost = 0;
    ssize_t n = l->torn && b->len ? write(l->fd, "\n", 1) : 0;

    l->torn = l->torn && n != 1;
    while (n >= 0 && done < b->len && (n = write(l->fd, b->data + done, b->len - done)) > 0)
        done += (size_t)n;
    if (done)
        l->torn = b->data[done - 1] != '\n';
    if (n < 0 && !l->failing)
        log_warn("the request log %s cannot be written: %s", l->path, strerror(errno));
    l->failing = n < 0;
    for (size_t i = done; i < b->len; i++)
        lost += b->data[i] == '\n';
    if (lost) {
        mutex_lock(&l->mu);
        l->missing += lost;
        mutex_unlock(&l->mu);
    }
}

static void write_header(struct request_log *l)
{
    const struct shale_buf b = { .data = (uint8_t *)(uintptr_t)header, .len = sizeof(header) - 1 };

    if (lseek(l->fd, 0, SEEK_END) == 0)
        write_out(l, &b);
}

static void open_again(struct request_log *l)
{
    int fd = open_file(l->path);

    if (fd < 0) {
        log_warn("the request log %s cannot be opened again: %s", l->path, strerror(errno));
        return;
    }
    close(l->fd);
    l->fd = fd;
    write_header(l);
}

/* Wait until there is something to do; false: that is the last. */
static bool wait_for_lines(struct request_log *l, struct shale_buf *out, bool *reopen)
{
    int64_t deadline = clock_mono_ms() + EVERY_MS;
    struct shale_buf empty = *out;
    bool go_on;

    buf_clear(&empty);
    mutex_lock(&l->mu);
    while (!l->stop && !l->reopen && l->lines.len < MANY_BYTES)
        if (!cond_wait_until(&l->wake, &l->mu, deadline))
            break;
    *out = l->lines;
    l->lines = empty;
    *reopen = l->reopen;
    l->reopen = false;
    go_on = !l->stop;
    mutex_unlock(&l->mu);
    return go_on;
}

/* Lines that came before the file was moved away still belong to it. */
static void log_main(void *arg)
{
    struct request_log *l = arg;
    struct shale_buf lines = SHALE_BUF_INIT;
    bool go_on, reopen;

    write_header(l);
    do {
        go_on = wait_for_lines(l, &lines, &reopen);
        write_out(l, &lines);
        if (reopen)
            open_again(l);
    } while (go_on);
    shale_buf_fini(&lines);
}

int request_log_start(struct request_log *l)
{
    int rc = worker_start(&l->thread, "request log", log_main, l);

    return rc < 0 ? err_set(rc, "cannot start a thread for the request log: %s", strerror(-rc)) : 0;
}

void request_log_close(struct request_log *l)
{
    if (!l)
        return;
    mutex_lock(&l->mu);
    l->stop = true;
    cond_signal(&l->wake);
    mutex_unlock(&l->mu);
    worker_join(&l->thread);
    if (l->fd >= 0)
        close(l->fd);
    shale_buf_fini(&l->lines);
    cond_fini(&l->wake);
    mutex_fini(&l->mu);
    mem_free(l->path);
    mem_free(l);
}

static size_t put_time(int64_t ms, char *out, size_t size)
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;

    gmtime_r(&s, &tm);
    return (size_t)snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                            tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

/* Without memory: the length is in the caller's buffer, which is long enough for any line. */
static size_t put_line(const struct shale_request *r, char *out, size_t size)
{
    char range[48] = "-", status[16] = "-";
    size_t n = put_time(r->begun_ms, out, size);

    if (r->len)
        snprintf(range, sizeof(range), "%" PRIu64 "+%" PRIu64, r->offset, r->len);
    if (r->status)
        snprintf(status, sizeof(status), "%d", r->status);
    return n + (size_t)snprintf(out + n, size - n, " %s %s %.1024s %s %s %" PRIu64 " %" PRIu64 " %u %.1f %.1f\n",
                                r->io_class, shale_request_op_name(r->op), r->object && r->object[0] ? r->object : "-",
                                range, status, r->bytes_sent, r->bytes_received, r->attempt,
                                (double)r->queued_ns / 1e6, (double)r->wire_ns / 1e6);
}

void request_log_note(void *log, const struct shale_request *r)
{
    struct request_log *l = log;
    char line[LINE_BYTES], gap[64];
    size_t n = put_line(r, line, sizeof(line)), before;
    bool fits;

    mutex_lock(&l->mu);
    before = l->lines.len;
    fits = before + n + sizeof(gap) <= BUFFER_BYTES;
    if (fits && l->missing) {
        snprintf(gap, sizeof(gap), "# %" PRIu64 " requests are missing here\n", l->missing);
        fits = shale_buf_append(&l->lines, gap, strlen(gap)) == 0;
    }
    if (fits)
        fits = shale_buf_append(&l->lines, line, n) == 0;
    if (fits)
        l->missing = 0;
    else
        l->missing++;
    if (before < MANY_BYTES && l->lines.len >= MANY_BYTES)
        cond_signal(&l->wake);
    mutex_unlock(&l->mu);
}

void request_log_reopen(struct request_log *l)
{
    if (!l)
        return;
    mutex_lock(&l->mu);
    l->reopen = true;
    cond_signal(&l->wake);
    mutex_unlock(&l->mu);
}
