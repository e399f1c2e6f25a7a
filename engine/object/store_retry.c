/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repeats what ended in SHALE_ETRANSIENT, for ever unless limited: an unreachable store is waited for
 * like a hard NFS mount. The rest is about not repeating what must happen once:
 *   create-if-absent   a put id tells our own object from another writer's after a lost reply (R174)
 *   list               goes on behind the last name told, so that no name comes twice
 *   upload             each part is repeated by itself; finishing may find that it had happened
 * No lock is held across a call of the inner store; mu guards the flag that ends the waiting.
 */

#include "object/store_retry.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io_class.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rng.h"
#include "base/sync.h"
#include "base/ulid.h"
#include "object/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#define WARN_EVERY_MS 60000
#define CONTACT_MS 30000

struct retry_store {
    struct shale_store base;
    struct shale_store *inner;
    struct store_retry_options opt; /* set at creation, then read-only, as the next one */
    struct metric *retries[IO_CLASSES]; /* NULL: not counted */
    struct mutex mu;                /* rank STORE_RANK_RETRY */
    struct cond wake;
    bool stopped;                   /* GUARDED_BY(mu) */
    atomic_bool answered;           /* relaxed; a call had an answer: never false again */
    struct rng rng;                 /* GUARDED_BY(mu) */
    int64_t down_since_ms;          /* GUARDED_BY(mu); 0: the store answers, as far as we know */
    int64_t last_warned_ms;         /* GUARDED_BY(mu) */
    unsigned n_failed;              /* GUARDED_BY(mu); attempts since down_since_ms */
};

struct retry_upload {
    struct shale_upload base;
    struct shale_upload *inner;
    char name[];
};

/* One call and its attempts so far. */
struct attempts {
    struct retry_store *r;
    const char *verb;
    const char *name;
    int64_t start_ms;
    int64_t delay_ms;
    bool failed; /* an attempt did */
    unsigned n;  /* attempts that have ended */
};

static struct retry_store *retry_of(struct shale_store *s)
{
    return container_of(s, struct retry_store, base);
}

static struct attempts attempts_of(struct shale_store *s, const char *verb, const char *name)
{
    struct retry_store *r = retry_of(s);

    io_attempt_set(1);
    return (struct attempts){
        .r = r, .verb = verb, .name = name, .start_ms = clock_mono_ms(), .delay_ms = r->opt.base_ms
    };
}

/*
 * False when the store was stopped, or the caller is to give up.
 * Stopping wakes the sleepers at once. A thread inside the inner store is not interrupted; its result
 * counts, but there is no further attempt.
 */
static bool sleep_until(struct retry_store *r, int64_t deadline_ms)
{
    bool end;

    mutex_lock(&r->mu);
    while (!(end = r->stopped || cancel_wanted()) && clock_mono_ms() < deadline_ms)
        (void)cancel_cond_wait(&r->wake, &r->mu, deadline_ms); /* the clock decides */
    mutex_unlock(&r->mu);
    return !end;
}

/* An attempt failed: how long to wait, and whether to warn of an outage. */
static int64_t note_failure(struct attempts *a, bool *warn)
{
    struct retry_store *r = a->r;
    int64_t now = clock_mono_ms(), asked = store_retry_after_taken(), wait;

    a->failed = true;
    mutex_lock(&r->mu);
    *warn = r->down_since_ms == 0 || now - r->last_warned_ms >= WARN_EVERY_MS;
    if (r->down_since_ms == 0) {
        r->down_since_ms = now;
        r->n_failed = 0;
    }
    r->n_failed++;
    if (*warn)
        r->last_warned_ms = now;
    wait = a->delay_ms - (int64_t)rng_below(&r->rng, (uint64_t)a->delay_ms / 4 + 1);
    mutex_unlock(&r->mu);
    return asked > wait ? asked : wait;
}

/* A call has its answer; if it had failed before, the store is back. */
static void note_answer(struct attempts *a)
{
    struct retry_store *r = a->r;
    int64_t since;
    unsigned n;

    if (!atomic_load_explicit(&r->answered, memory_order_relaxed))
        atomic_store_explicit(&r->answered, true, memory_order_relaxed);
    if (!a->failed)
        return;
    mutex_lock(&r->mu);
    since = r->down_since_ms;
    n = r->n_failed;
    r->down_since_ms = 0;
    mutex_unlock(&r->mu);
    if (since)
        log_info("object store: it answers again, after %" PRId64 " ms and %u failed attempts", clock_mono_ms() - since, n);
}

/*
 * For whom somebody waits. Work in the background loses nothing by waiting on, and what it does may be needed by all
 * that comes after: giving it up would end the handle.
 */
static int64_t limit_ms(const struct retry_store *r)
{
    enum io_class cls = io_class_get();

    return cls == IO_FOREGROUND || cls == IO_WAL ? r->opt.limit_ms : 0;
}

/* How long a call may last, 0: as long as it takes. */
static int64_t limit_of(const struct retry_store *r)
{
    int64_t limit = limit_ms(r), contact = r->opt.contact_ms;

    if (contact < 0 || atomic_load_explicit(&r->answered, memory_order_relaxed))
        return limit;
    return limit && limit < contact ? limit : contact;
}

/*
 * After an attempt that ended with *rc: true, having slept, when another one is due; else *rc is the result. The delay
 * doubles from base_ms to cap_ms, and is cut to what is left of limit_ms. That is looked at before sleeping, so that a
 * call never sleeps only to give up.
 */
static bool wait_for_next(struct attempts *a, int *rc)
{
    int64_t now = clock_mono_ms(), wait, limit;
    bool warn = false;

    if (*rc != SHALE_ETRANSIENT) {
        (void)store_retry_after_taken(); /* of a request that did not decide */
        if (*rc != SHALE_ECANCELED)
            note_answer(a);
        return false;
    }
    wait = note_failure(a, &warn);
    limit = limit_of(a->r);
    if (limit && wait > a->start_ms + limit - now && wait <= a->delay_ms)
        wait = a->start_ms + limit - now; /* one last attempt; but a store that asked for longer is not asked before */
    if (limit && (wait <= 0 || now + wait - a->start_ms > limit)) {
        *rc = err_add(*rc, "gave up after %" PRId64 " ms", now - a->start_ms);
        return false;
    }
    if (warn)
        log_warn("object store: %s %s: %s; trying again until it answers", a->verb, a->name, shale_errmsg());
    else
        log_debug("object store: %s %s: %s; again in %" PRId64 " ms", a->verb, a->name, shale_errmsg(), wait);
    if (!sleep_until(a->r, now + wait)) {
        *rc = err_set(SHALE_ECANCELED, "stopped waiting to %s %s again", a->verb, a->name);
        return false;
    }
    a->delay_ms = a->delay_ms < a->r->opt.cap_ms / 2 ? a->delay_ms * 2 : a->r->opt.cap_ms;
    return true;
}

/* The same, counted and told of: to whoever makes the requests of the next attempt by io_attempt_get. */
static bool again(struct attempts *a, int *rc)
{
    bool more = wait_for_next(a, rc);

    a->n++;
    io_attempt_set(more ? a->n + 1 : 1);
    if (more)
        metric_count(a->r->retries[io_class_get()], 1);
    return more;
}

static int retry_get(struct shale_store *s, const char *name, struct shale_buf *out)
{
    struct attempts a = attempts_of(s, "read", name);
    int rc;

    do
        rc = shale_store_get(a.r->inner, name, out);
    while (again(&a, &rc));
    return rc;
}

static int retry_get_range(struct shale_store *s, const char *name, uint64_t offset, uint64_t len,
                           struct shale_buf *out)
{
    struct attempts a = attempts_of(s, "read", name);
    int rc;

    do
        rc = shale_store_get_range(a.r->inner, name, offset, len, out);
    while (again(&a, &rc));
    return rc;
}

/* Moves those of n ranges that may be asked for again to the front. Their number. */
static size_t keep_pending(struct shale_range_get **at, size_t n)
{
    size_t left = 0;

    for (size_t i = 0; i < n; i++)
        if (at[i]->rc == SHALE_ETRANSIENT)
            at[left++] = at[i];
    return left;
}

/* One attempt at the n ranges; todo is room for them. Negative when the whole call failed for good. */
static int attempt_ranges(struct shale_store *inner, struct shale_range_get **at, struct shale_range_get *todo,
                          size_t n)
{
    int rc;

    for (size_t i = 0; i < n; i++)
        todo[i] = *at[i];
    rc = shale_store_get_ranges(inner, todo, n);
    for (size_t i = 0; i < n; i++) {
        *at[i] = todo[i];
        if (rc == SHALE_ETRANSIENT)
            at[i]->rc = rc;
    }
    return rc == SHALE_ETRANSIENT ? 0 : rc;
}

/* Only the ranges that failed are asked for again, together. */
static int retry_get_ranges(struct shale_store *s, struct shale_range_get *r, size_t n)
{
    struct attempts a = attempts_of(s, "read", r[0].name);
    struct shale_range_get **at = mem_calloc(n, sizeof(*at));
    struct shale_range_get *todo = mem_calloc(n, sizeof(*todo));
    int rc = 0, why = SHALE_ETRANSIENT;

    if (!at || !todo) {
        rc = err_set(-ENOMEM, "out of memory for %zu ranges", n);
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        at[i] = &r[i];
    do {
        rc = attempt_ranges(a.r->inner, at, todo, n);
        n = rc == 0 ? keep_pending(at, n) : 0;
    } while (n > 0 && again(&a, &why));
    for (size_t i = 0; i < n; i++)
        at[i]->rc = why;
out:
    mem_free(at);
    mem_free(todo);
    return rc;
}

static int retry_head(struct shale_store *s, const char *name, struct shale_object_meta *out)
{
    struct attempts a = attempts_of(s, "look at", name);
    int rc;

    do
        rc = shale_store_head(a.r->inner, name, out);
    while (again(&a, &rc));
    return rc;
}

/*
 * The name is taken, but perhaps by an attempt of ours whose reply was lost.
 * -ENOENT of the head means that the object went again meanwhile: whoever made it, our put cannot be
 * said to have succeeded.
 */
static int resolve_exists(struct shale_store *s, const char *name, const char *put_id)
{
    struct shale_object_meta meta;
    int rc = retry_head(s, name, &meta);

    if (rc < 0 && rc != -ENOENT)
        return err_add(rc, "cannot tell who wrote %s", name);
    if (rc == 0 && strcmp(meta.put_id, put_id) == 0)
        return 0;
    return err_set(-EEXIST, "object %s exists already%s", name,
                   rc == 0 && !meta.put_id[0] ? " (and has no put id to tell whose it is)" : "");
}

/* On a first attempt -EEXIST is a lost race and needs no look: nothing of ours can be there yet. */
static int retry_put(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
                     const char *put_id)
{
    struct attempts a = attempts_of(s, "write", name);
    char fresh[SHALE_PUT_ID_LEN + 1];
    bool first = true;
    int rc;

    if (!put_id && mode == SHALE_PUT_IF_ABSENT) {
        ulid_format(ulid_new(clock_wall_ms(), NULL), fresh);
        put_id = fresh;
    }
    for (;;) {
        rc = store_put_with_id(a.r->inner, name, data, mode, put_id);
        if (!again(&a, &rc))
            break;
        first = false;
    }
    return rc == -EEXIST && !first ? resolve_exists(s, name, put_id) : rc;
}

static int retry_remove(struct shale_store *s, const char *name)
{
    struct attempts a = attempts_of(s, "delete", name);
    int rc;

    do
        rc = shale_store_delete(a.r->inner, name);
    while (again(&a, &rc));
    return rc;
}

/* A store that deletes one by one is asked so: repeating all for the sake of one might never end. */
static int retry_remove_many(struct shale_store *s, const char *const *names, size_t n)
{
    struct attempts a = attempts_of(s, "delete", names[0]);
    int rc = 0;

    if (!a.r->inner->ops->remove_many) {
        for (size_t i = 0; i < n; i++) {
            int one = retry_remove(s, names[i]);

            rc = rc ? rc : one;
        }
        return rc;
    }
    do
        rc = shale_store_delete_many(a.r->inner, names, n);
    while (again(&a, &rc));
    return rc;
}

struct relay {
    shale_list_fn fn;
    void *arg;
    bool progress; /* something was passed on in this attempt */
    int ended;     /* what fn ended the listing with, whatever the store makes of it */
    char last[STORE_NAME_MAX + 1];
};

static int relay_one(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct relay *relay = arg;
    size_t len = strlen(name);
    int rc;

    if (len > STORE_NAME_MAX) /* of no object of ours, and there is no room to go on behind it */
        rc = err_set(-EIO, "the store lists a name of %zu bytes", len);
    else
        rc = relay->fn(relay->arg, name, meta);
    relay->progress = true;
    relay->ended = rc;
    if (len <= STORE_NAME_MAX)
        memcpy(relay->last, name, len + 1);
    return rc;
}

static int retry_list(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn, void *arg)
{
    struct attempts a = attempts_of(s, "list", *prefix ? prefix : "everything");
    struct relay relay = { .fn = fn, .arg = arg };
    const char *after = start_after;
    int rc;

    do {
        relay.progress = false;
        rc = shale_store_list(a.r->inner, prefix, after, relay_one, &relay);
        if (relay.ended)
            return relay.ended;
        if (relay.progress) {
            after = relay.last;
            a = attempts_of(s, a.verb, a.name);
        }
    } while (again(&a, &rc));
    return rc;
}

static int retry_upload_begin(struct shale_store *s, const char *name, struct shale_upload **out)
{
    struct attempts a = attempts_of(s, "begin the upload of", name);
    size_t len = strlen(name);
    struct retry_upload *u = mem_zalloc(sizeof(*u) + len + 1);
    int rc;

    if (!u)
        return err_set(-ENOMEM, "out of memory for the upload of %s", name);
    memcpy(u->name, name, len + 1);
    u->base.store = s;
    do
        rc = shale_upload_begin(a.r->inner, name, &u->inner);
    while (again(&a, &rc));
    if (rc < 0)
        mem_free(u);
    else
        *out = &u->base;
    return rc;
}

static int retry_upload_write(struct shale_upload *up, struct shale_slice data)
{
    struct retry_upload *u = container_of(up, struct retry_upload, base);
    struct attempts a = attempts_of(up->store, "upload", u->name);
    int rc;

    do
        rc = shale_upload_write(u->inner, data);
    while (again(&a, &rc));
    return rc;
}

/*
 *   rc of the last attempt     u->inner    u
 *   0 or a permanent error     ended       freed
 *   transient, limit reached   alive       alive: the dispatcher aborts it
 *   transient, stopped         aborted     freed
 */
static int retry_upload_finish(struct shale_upload *up)
{
    struct retry_upload *u = container_of(up, struct retry_upload, base);
    struct attempts a = attempts_of(up->store, "finish the upload of", u->name);
    bool alive;
    int rc;

    do {
        rc = store_upload_try_finish(u->inner);
        alive = rc == SHALE_ETRANSIENT;
    } while (again(&a, &rc));
    if (rc == SHALE_ETRANSIENT)
        return rc;
    if (alive) /* stopped */
        shale_upload_abort(u->inner);
    mem_free(u);
    return rc;
}

static void retry_upload_abort(struct shale_upload *up)
{
    struct retry_upload *u = container_of(up, struct retry_upload, base);

    shale_upload_abort(u->inner);
    mem_free(u);
}

static void retry_upload_in_parts(struct shale_upload *up)
{
    store_upload_in_parts(container_of(up, struct retry_upload, base)->inner);
}

static void retry_close(struct shale_store *s)
{
    struct retry_store *r = retry_of(s);

    cond_fini(&r->wake);
    mutex_fini(&r->mu);
    mem_free(r);
}

static const struct shale_store_ops retry_ops = {
    .scheme = "retry",
    .get = retry_get,
    .get_range = retry_get_range,
    .get_ranges = retry_get_ranges,
    .head = retry_head,
    .put = retry_put,
    .remove = retry_remove,
    .remove_many = retry_remove_many,
    .list = retry_list,
    .upload_begin = retry_upload_begin,
    .upload_write = retry_upload_write,
    .upload_finish = retry_upload_finish,
    .upload_abort = retry_upload_abort,
    .upload_in_parts = retry_upload_in_parts,
    .close = retry_close,
};

static int add_metrics(struct retry_store *r)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < IO_CLASSES; i++) {
        const struct shale_metric_label l = { "class", io_class_name((enum io_class)i) };
        const struct shale_metric_desc d = { .kind = SHALE_METRIC_COUNTER,
                                             .name = "shale.object_store.retries",
                                             .help = "Attempts of calls of the object store beyond the first",
                                             .labels = &l,
                                             .n_labels = 1 };

        rc = metrics_add(r->opt.metrics, SHALE_METRIC_INFO, &d, &r->retries[i]);
    }
    return rc;
}

int store_retry_new(struct shale_store *inner, const struct store_retry_options *opt, struct shale_store **out)
{
    struct retry_store *r = mem_zalloc(sizeof(*r));
    int rc;

    if (!r)
        return err_set(-ENOMEM, "out of memory for a retrying store");
    r->base.ops = &retry_ops;
    r->inner = inner;
    if (opt)
        r->opt = *opt;
    if (!r->opt.base_ms)
        r->opt.base_ms = 100;
    if (!r->opt.cap_ms)
        r->opt.cap_ms = 1000;
    if (!r->opt.contact_ms)
        r->opt.contact_ms = CONTACT_MS;
    rc = r->opt.metrics ? add_metrics(r) : 0;
    if (rc < 0) {
        mem_free(r);
        return rc;
    }
    mutex_init(&r->mu, STORE_RANK_RETRY, "retrying store");
    cond_init(&r->wake);
    rng_seed(&r->rng, (uint64_t)clock_wall_ns());
    *out = &r->base;
    return 0;
}

int shale_store_retrying(struct shale_store *inner, int64_t limit_ms, struct shale_store **out)
{
    return store_retry_new(inner, &(struct store_retry_options){ .limit_ms = limit_ms }, out);
}

void store_retry_stop(struct shale_store *s)
{
    struct retry_store *r = retry_of(s);

    mutex_lock(&r->mu);
    r->stopped = true;
    cond_broadcast(&r->wake);
    mutex_unlock(&r->mu);
}
