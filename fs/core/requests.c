/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/requests.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/sync.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define REQUESTS_RANK 13 /* taken by a thread of the store, which holds nothing */
#define MINUTE_MS 60000
#define SLOTS 60

/* The requests of one minute. */
struct slot {
    int64_t minute;
    uint32_t n[SHALE_REQUEST_N_OPS];
};

struct fs_requests {
    struct shale_request_watch watch;
    struct shale_metrics *metrics; /* owned */
    void (*also)(void *arg, const struct shale_request *r);
    void *arg;
    int64_t since_ms;
    struct mutex mu;
    struct slot slots[SLOTS]; /* GUARDED_BY(mu); by minute modulo SLOTS */
};

static void on_end(void *ctx, const struct shale_request *done)
{
    struct fs_requests *r = ctx;

    fs_requests_note(r, done, clock_mono_ms());
    if (r->also)
        r->also(r->arg, done);
}

int fs_requests_new(int64_t now_ms, void (*also)(void *arg, const struct shale_request *r), void *arg,
                    struct fs_requests **out)
{
    struct fs_requests *r = mem_zalloc(sizeof(*r));
    int rc = r ? shale_metrics_new(SHALE_METRIC_INFO, NULL, &r->metrics) : -ENOMEM;

    if (rc < 0) {
        mem_free(r);
        return rc;
    }
    r->watch = (struct shale_request_watch){ .metrics = r->metrics, .ended = on_end, .ctx = r };
    r->also = also;
    r->arg = arg;
    r->since_ms = now_ms;
    mutex_init(&r->mu, REQUESTS_RANK, "requests");
    *out = r;
    return 0;
}

void fs_requests_free(struct fs_requests *r)
{
    if (!r)
        return;
    shale_metrics_free(r->metrics);
    mutex_fini(&r->mu);
    mem_free(r);
}

const struct shale_request_watch *fs_requests_watch(const struct fs_requests *r)
{
    return &r->watch;
}

struct shale_metrics *fs_requests_metrics(const struct fs_requests *r)
{
    return r->metrics;
}

void fs_requests_note(struct fs_requests *r, const struct shale_request *done, int64_t now_ms)
{
    int64_t minute = now_ms / MINUTE_MS;
    struct slot *s = &r->slots[minute % SLOTS];

    mutex_lock(&r->mu);
    if (s->minute != minute)
        *s = (struct slot){ .minute = minute };
    s->n[done->op]++;
    mutex_unlock(&r->mu);
}

/* From the beginning of the oldest minute that is kept, or from the mount. */
static int put_recent(struct fs_requests *r, int64_t now_ms, struct shale_buf *out)
{
    int64_t first = now_ms / MINUTE_MS - (SLOTS - 1);
    int64_t from_ms = first * MINUTE_MS > r->since_ms ? first * MINUTE_MS : r->since_ms;
    uint64_t n[SHALE_REQUEST_N_OPS] = { 0 };
    int rc;

    mutex_lock(&r->mu);
    for (size_t i = 0; i < SLOTS; i++)
        for (size_t op = 0; r->slots[i].minute >= first && op < SHALE_REQUEST_N_OPS; op++)
            n[op] += r->slots[i].n[op];
    mutex_unlock(&r->mu);
    rc = buf_printf(out, "elapsed_ms %" PRId64 "\nwindow_ms %" PRId64 "\n", now_ms - r->since_ms, now_ms - from_ms);
    for (size_t op = 0; rc == 0 && op < SHALE_REQUEST_N_OPS; op++)
        if (n[op])
            rc = buf_printf(out, "recent %s %" PRIu64 "\n", shale_request_op_name((enum shale_request_op)op), n[op]);
    return rc;
}

struct totals {
    struct shale_buf *out;
    uint64_t sent, received, repeated;
};

static const char *label(const struct shale_metric *m, const char *name)
{
    for (size_t i = 0; i < m->desc->n_labels; i++)
        if (strcmp(m->desc->labels[i].name, name) == 0)
            return m->desc->labels[i].value;
    return "?";
}

static int put_total(void *arg, const struct shale_metric *m)
{
    static const char prefix[] = "shale.object_store.";
    const char *name = m->desc->name + strlen(prefix);
    struct totals *t = arg;

    if (strncmp(m->desc->name, prefix, strlen(prefix)) != 0 || m->count == 0)
        return 0;
    if (strcmp(name, "requests") == 0)
        return buf_printf(t->out, "requests %s %s %" PRIu64 "\n", label(m, "op"), label(m, "class"), m->count);
    if (strcmp(name, "errors") == 0)
        return buf_printf(t->out, "errors %s %" PRIu64 "\n", label(m, "kind"), m->count);
    if (strcmp(name, "bytes_sent") == 0)
        t->sent += m->count;
    else if (strcmp(name, "bytes_received") == 0)
        t->received += m->count;
    else if (strcmp(name, "repeated_requests") == 0)
        t->repeated += m->count;
    return 0;
}

int fs_requests_text(struct fs_requests *r, int64_t now_ms, struct shale_buf *out)
{
    struct totals t = { .out = out };
    int rc = put_recent(r, now_ms, out);

    if (rc == 0)
        rc = shale_metrics_each(r->metrics, put_total, &t);
    if (rc == 0)
        rc = buf_printf(out, "bytes_sent %" PRIu64 "\nbytes_received %" PRIu64 "\nrepeated %" PRIu64 "\n", t.sent,
                        t.received, t.repeated);
    return rc;
}
