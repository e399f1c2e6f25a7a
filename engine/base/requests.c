/* SPDX-License-Identifier: Apache-2.0 */
#include "base/requests.h"

#include "base/alloc.h"
#include "base/metrics.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum error_kind {
    ERROR_NOT_FOUND,
    ERROR_EXISTS,
    ERROR_REFUSED,
    ERROR_SLOW_DOWN,
    ERROR_CLIENT,
    ERROR_SERVER,
    ERROR_NETWORK,
    N_ERRORS
};

static const char *const error_names[N_ERRORS] = {
    [ERROR_NOT_FOUND] = "not_found", [ERROR_EXISTS] = "exists", [ERROR_REFUSED] = "refused",
    [ERROR_SLOW_DOWN] = "slow_down", [ERROR_CLIENT] = "client", [ERROR_SERVER] = "server",
    [ERROR_NETWORK] = "network",
};

/* Relaxed: what a pointer leads to was made under the registry's lock, and two who make it at once get the same. */
typedef struct metric *_Atomic metric_slot_t;

struct requests {
    const struct shale_request_watch *watch;
    struct {
        metric_slot_t n, sent, received, repeated;
    } of[SHALE_REQUEST_N_OPS][IO_CLASSES];
    metric_slot_t errors[SHALE_REQUEST_N_OPS][N_ERRORS];
    metric_slot_t wire_seconds[SHALE_REQUEST_N_OPS];
    metric_slot_t in_flight[IO_CLASSES], queued[IO_CLASSES], queue_seconds[IO_CLASSES];
};

/* What they have in common; labels may be fewer. */
struct family {
    enum shale_metric_kind kind;
    const char *name, *help;
};

static const struct family family_n = { SHALE_METRIC_COUNTER, "shale.object_store.requests",
                                        "Requests on the wire, every attempt" };
static const struct family family_sent = { SHALE_METRIC_COUNTER, "shale.object_store.bytes_sent",
                                           "Bytes of the bodies of requests" };
static const struct family family_received = { SHALE_METRIC_COUNTER, "shale.object_store.bytes_received",
                                               "Bytes of the bodies of answers" };
static const struct family family_repeated = { SHALE_METRIC_COUNTER, "shale.object_store.repeated_requests",
                                               "Requests on the wire that were not the first attempt" };
static const struct family family_errors = { SHALE_METRIC_COUNTER, "shale.object_store.errors",
                                             "Requests on the wire that had no answer, or one that is no success" };
static const struct family family_wire = { SHALE_METRIC_HISTOGRAM, "shale.object_store.wire_seconds",
                                           "From when a request went out to its end" };
static const struct family family_flight = { SHALE_METRIC_UP_DOWN_COUNTER, "shale.object_store.in_flight",
                                             "Requests that are on the wire now" };
static const struct family family_queued = { SHALE_METRIC_UP_DOWN_COUNTER, "shale.object_store.queued",
                                             "Requests that wait in line now" };
static const struct family family_queue = { SHALE_METRIC_HISTOGRAM, "shale.object_store.queue_seconds",
                                            "How long requests waited in line" };

const char *shale_request_op_name(enum shale_request_op op)
{
    static const char *const names[SHALE_REQUEST_N_OPS] = {
        [SHALE_REQUEST_UNKNOWN] = "other",
        [SHALE_REQUEST_GET] = "get",
        [SHALE_REQUEST_HEAD] = "head",
        [SHALE_REQUEST_PUT] = "put",
        [SHALE_REQUEST_LIST] = "list",
        [SHALE_REQUEST_DELETE] = "delete",
        [SHALE_REQUEST_DELETE_MANY] = "delete_many",
        [SHALE_REQUEST_UPLOAD_BEGIN] = "upload_begin",
        [SHALE_REQUEST_UPLOAD_PART] = "upload_part",
        [SHALE_REQUEST_UPLOAD_COMPLETE] = "upload_complete",
        [SHALE_REQUEST_UPLOAD_ABORT] = "upload_abort",
        [SHALE_REQUEST_CREDENTIALS] = "credentials",
    };

    return (unsigned)op < SHALE_REQUEST_N_OPS ? names[op] : NULL;
}

int requests_new(const struct shale_request_watch *watch, struct requests **out)
{
    struct requests *r = NULL;

    if (watch && (watch->metrics || watch->ended)) {
        r = mem_zalloc(sizeof(*r));
        if (!r)
            return -ENOMEM;
        r->watch = watch;
    }
    *out = r;
    return 0;
}

void requests_free(struct requests *r)
{
    mem_free(r);
}

/* NULL when nobody counts, or without memory: the next request tries again. */
static struct metric *metric_of(const struct requests *r, metric_slot_t *slot, const struct family *f,
                                const struct shale_metric_label *labels, size_t n)
{
    struct metric *m = atomic_load_explicit(slot, memory_order_relaxed);
    struct shale_metric_desc d = { .kind = f->kind, .name = f->name, .help = f->help, .labels = labels, .n_labels = n };

    if (m || !r->watch->metrics)
        return m;
    if (f->kind == SHALE_METRIC_HISTOGRAM) {
        d.bounds = metric_latency_bounds;
        d.n_bounds = ARRAY_SIZE(metric_latency_bounds);
    }
    if (metrics_add(r->watch->metrics, SHALE_METRIC_INFO, &d, &m) < 0)
        return NULL;
    atomic_store_explicit(slot, m, memory_order_relaxed);
    return m;
}

static struct metric *of_class(const struct requests *r, metric_slot_t *slot, const struct family *f, enum io_class cls)
{
    const struct shale_metric_label l = { "class", io_class_name(cls) };

    return metric_of(r, slot, f, &l, 1);
}

void requests_queued(struct requests *r, enum io_class cls)
{
    if (r)
        metric_step(of_class(r, &r->queued[cls], &family_queued, cls), 1);
}

void requests_dequeued(struct requests *r, enum io_class cls, bool goes_out)
{
    if (!r)
        return;
    metric_step(of_class(r, &r->queued[cls], &family_queued, cls), -1);
    if (goes_out)
        metric_step(of_class(r, &r->in_flight[cls], &family_flight, cls), 1);
}

/* -1: none. */
static int kind_of(int status)
{
    switch (status) {
    case 0:
        return ERROR_NETWORK;
    case 401:
    case 403:
        return ERROR_REFUSED;
    case 404:
        return ERROR_NOT_FOUND;
    case 409:
    case 412:
        return ERROR_EXISTS;
    case 429:
    case 503:
        return ERROR_SLOW_DOWN;
    default:
        return status < 300 ? -1 : status < 500 ? ERROR_CLIENT : ERROR_SERVER;
    }
}

const char *request_error_kind(int status)
{
    int kind = kind_of(status);

    return kind < 0 ? NULL : error_names[kind];
}

static void count_sizes(struct requests *r, enum io_class cls, const struct shale_request *done)
{
    const struct shale_metric_label l[] = { { "op", shale_request_op_name(done->op) },
                                            { "class", io_class_name(cls) } };

    metric_count(metric_of(r, &r->of[done->op][cls].n, &family_n, l, 2), 1);
    if (done->bytes_sent)
        metric_count(metric_of(r, &r->of[done->op][cls].sent, &family_sent, l, 2), done->bytes_sent);
    if (done->bytes_received)
        metric_count(metric_of(r, &r->of[done->op][cls].received, &family_received, l, 2), done->bytes_received);
    if (done->attempt > 1)
        metric_count(metric_of(r, &r->of[done->op][cls].repeated, &family_repeated, l, 2), 1);
}

void requests_ended(struct requests *r, enum io_class cls, const struct shale_request *done)
{
    int kind = kind_of(done->status);
    struct shale_metric_label l[] = { { "op", shale_request_op_name(done->op) }, { "kind", "" } };

    if (!r)
        return;
    count_sizes(r, cls, done);
    metric_observe(metric_of(r, &r->wire_seconds[done->op], &family_wire, l, 1), (double)done->wire_ns / 1e9);
    metric_observe(of_class(r, &r->queue_seconds[cls], &family_queue, cls), (double)done->queued_ns / 1e9);
    metric_step(of_class(r, &r->in_flight[cls], &family_flight, cls), -1);
    if (kind >= 0) {
        l[1].value = error_names[kind];
        metric_count(metric_of(r, &r->errors[done->op][kind], &family_errors, l, 2), 1);
    }
    if (r->watch->ended)
        r->watch->ended(r->watch->ctx, done);
}
