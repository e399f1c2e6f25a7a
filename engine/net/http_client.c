/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that drives libcurl, and the lines before it.
 *   in line   queue[class]; anybody may add, the thread takes
 *   on the wire   libcurl has its handle; at most limit[class] of a class
 *   done      x->done, the waiter is woken; x is its caller's again
 * mu guards the lines, the counts and done; it is never held across a call of libcurl but for waking its poll.
 */

#include "net/http.h"

#include "base/alloc.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/pool.h"
#include "base/requests.h"
#include "base/sync.h"
#include "net/http_pace.h"
#include "net/http_transfer.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#define HTTP_RANK 850
#define LOOK_MS 250    /* how often transfers that do not move are looked at */
#define IDLE_MS 60000

struct http_client {
    struct http_options opt; /* read-only */
    CURLM *multi;            /* the thread's, but for curl_multi_wakeup */
    struct worker thread;
    struct requests *requests; /* owned; NULL: nobody is told */
    struct list idle;        /* transfers; the thread's */
    struct list active;      /* transfers; the thread's */
    struct mutex mu;         /* rank HTTP_RANK */
    struct list queue[IO_CLASSES]; /* GUARDED_BY(mu) */
    uint32_t n_active[IO_CLASSES]; /* GUARDED_BY(mu) */
    bool has_unwanted;             /* GUARDED_BY(mu); in the lines or on the wire */
    bool stopped;                  /* GUARDED_BY(mu); nothing goes out any more */
    bool quit;                     /* GUARDED_BY(mu); the thread is to end */
};

static void finish(struct http_client *c, struct http_exchange *x, bool was_active)
{
    mutex_lock(&c->mu);
    if (was_active)
        c->n_active[x->cls]--;
    x->done = true;
    if (x->waiter)
        cond_signal(x->waiter); /* under the lock: x and its waiter may be gone behind it */
    mutex_unlock(&c->mu);
}

/* The answer to a request for keys is not one of the store. */
static enum shale_request_op op_of(const struct http_exchange *x)
{
    static const enum shale_request_op by_method[] = {
        [HTTP_GET] = SHALE_REQUEST_GET, [HTTP_HEAD] = SHALE_REQUEST_HEAD, [HTTP_PUT] = SHALE_REQUEST_PUT,
        [HTTP_POST] = SHALE_REQUEST_UNKNOWN, [HTTP_DELETE] = SHALE_REQUEST_DELETE,
    };

    if (x->secret)
        return SHALE_REQUEST_CREDENTIALS;
    return x->op ? x->op : by_method[x->method];
}

/* It was on the wire: count it, and tell of it. */
static void note_end(struct http_client *c, const struct http_exchange *x)
{
    const struct shale_request done = {
        .op = op_of(x),
        .io_class = io_class_name(x->cls),
        .object = x->object,
        .offset = x->range_offset,
        .len = x->range_len,
        .begun_ms = x->begun_ms,
        .queued_ns = x->queued_ns,
        .wire_ns = x->wire_ns,
        .bytes_sent = x->bytes_out,
        .bytes_received = x->bytes_in,
        .attempt = x->attempt ? x->attempt : 1,
        .status = x->rc == 0 ? x->status : 0,
    };

    requests_ended(c->requests, x->cls, &done);
}

static void cancel(struct http_exchange *x)
{
    x->rc = SHALE_ECANCELED;
    snprintf(x->why, sizeof(x->why), "stopped");
}

/* Move what may go out now from the lines to out, the classes that somebody waits for first. */
static void take_startable_locked(struct http_client *c, struct list *out)
{
    for (int i = 0; i < IO_CLASSES; i++) {
        while (!list_empty(&c->queue[i]) && (c->stopped || c->n_active[i] < c->opt.limit[i])) {
            struct list *n = c->queue[i].next;

            list_remove(n);
            list_append(out, n);
            c->n_active[i]++;
        }
    }
}

static struct http_transfer *idle_transfer(struct http_client *c)
{
    struct http_transfer *t;

    if (list_empty(&c->idle))
        return http_transfer_new(&c->opt);
    t = list_entry(c->idle.next, struct http_transfer, node);
    list_remove(&t->node);
    return t;
}

static int start(struct http_client *c, struct http_exchange *x)
{
    struct http_transfer *t = idle_transfer(c);
    int rc;

    if (!t)
        return -ENOMEM;
    x->queued_ns = clock_mono_ns() - x->submitted_ns;
    x->begun_ms = clock_wall_ms();
    rc = http_transfer_begin(t, x);
    if (rc == 0 && curl_multi_add_handle(c->multi, t->easy) != CURLM_OK)
        rc = -ENOMEM;
    if (rc < 0) {
        http_transfer_end(t, CURLE_OK);
        list_append(&c->idle, &t->node);
        return rc;
    }
    list_append(&c->active, &t->node);
    return 0;
}

static void start_all(struct http_client *c, struct list *what, bool stopped)
{
    list_for_each_safe(p, next, what) {
        struct http_exchange *x = list_entry(p, struct http_exchange, node);
        int rc = 0;

        list_remove(&x->node);
        if (stopped)
            cancel(x);
        else
            rc = start(c, x);
        requests_dequeued(c->requests, x->cls, !stopped && rc == 0);
        if (rc < 0) {
            x->rc = rc;
            if (!x->why[0])
                snprintf(x->why, sizeof(x->why), "%s", rc == -ENOMEM ? "out of memory" : shale_strerror(rc));
        }
        if (stopped || rc < 0)
            finish(c, x, true);
    }
}

static void end_transfer(struct http_client *c, struct http_transfer *t, CURLcode code, bool canceled)
{
    struct http_exchange *x = t->x;

    curl_multi_remove_handle(c->multi, t->easy);
    list_remove(&t->node);
    http_transfer_end(t, code);
    list_append(&c->idle, &t->node);
    if (canceled)
        cancel(x);
    note_end(c, x);
    finish(c, x, true);
}

static void collect(struct http_client *c)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
        char *t = NULL;

        if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t) == CURLE_OK && t)
            end_transfer(c, (struct http_transfer *)(void *)t, m->data.result, false);
    }
}

static bool has_startable_locked(const struct http_client *c)
{
    for (int i = 0; i < IO_CLASSES; i++)
        if (!list_empty(&c->queue[i]) && (c->stopped || c->n_active[i] < c->opt.limit[i]))
            return true;
    return false;
}

/* Move what nobody waits for any more to the lists, from the lines and from the wire. */
static void take_unwanted_locked(struct http_client *c, struct list *waiting, struct list *active)
{
    for (int i = 0; i < IO_CLASSES; i++) {
        list_for_each_safe(p, next, &c->queue[i]) {
            if (!list_entry(p, struct http_exchange, node)->unwanted)
                continue;
            list_remove(p);
            list_append(waiting, p);
        }
    }
    list_for_each_safe(p, next, &c->active) {
        if (!list_entry(p, struct http_transfer, node)->x->unwanted)
            continue;
        list_remove(p);
        list_append(active, p);
    }
    c->has_unwanted = false;
}

static void drop_unwanted(struct http_client *c)
{
    struct list waiting, active;

    list_init(&waiting);
    list_init(&active);
    mutex_lock(&c->mu);
    if (c->has_unwanted)
        take_unwanted_locked(c, &waiting, &active);
    mutex_unlock(&c->mu);
    list_for_each_safe(p, next, &waiting) {
        struct http_exchange *x = list_entry(p, struct http_exchange, node);

        list_remove(&x->node);
        cancel(x);
        requests_dequeued(c->requests, x->cls, false);
        finish(c, x, false);
    }
    list_for_each_safe(q, next, &active)
        end_transfer(c, list_entry(q, struct http_transfer, node), CURLE_OK, true);
}

/* One turn. false: the thread is to end. */
static bool turn(struct http_client *c)
{
    struct list ready;
    bool stopped, quit, more;
    int running;

    list_init(&ready);
    drop_unwanted(c);
    mutex_lock(&c->mu);
    take_startable_locked(c, &ready);
    stopped = c->stopped;
    quit = c->quit;
    mutex_unlock(&c->mu);
    start_all(c, &ready, stopped);
    if (stopped)
        list_for_each_safe(p, next, &c->active)
            end_transfer(c, list_entry(p, struct http_transfer, node), CURLE_OK, true);
    curl_multi_perform(c->multi, &running);
    collect(c);
    if (quit && list_empty(&c->active))
        return false;
    mutex_lock(&c->mu);
    more = has_startable_locked(c);
    mutex_unlock(&c->mu);
    if (!more)
        curl_multi_poll(c->multi, NULL, 0, list_empty(&c->active) ? IDLE_MS : LOOK_MS, NULL);
    return true;
}

static void client_main(void *arg)
{
    while (turn(arg))
        ;
}

/* Times by class stay as they are: http_pace.c knows what a 0 means. */
static void fill_options(struct http_options *o)
{
    if (!o->connect_ms)
        o->connect_ms = 10000;
    for (int i = 0; i < IO_CLASSES; i++)
        o->limit[i] = http_pace_limit_of(o, (enum io_class)i);
}

static void init_libcurl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int make_multi(struct http_client *c)
{
    uint32_t all = 0;

    c->multi = curl_multi_init();
    if (!c->multi)
        return -ENOMEM;
    for (int i = 0; i < IO_CLASSES; i++)
        all += c->opt.limit[i];
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)all); /* none is closed only to be opened again */
    return 0;
}

int http_client_new(const struct http_options *opt, struct http_client **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct http_client *c = mem_zalloc(sizeof(*c));
    int rc;

    if (!c)
        return err_set(-ENOMEM, "out of memory for an HTTP client");
    pthread_once(&once, init_libcurl);
    if (opt)
        c->opt = *opt;
    fill_options(&c->opt);
    list_init(&c->idle);
    list_init(&c->active);
    for (int i = 0; i < IO_CLASSES; i++)
        list_init(&c->queue[i]);
    mutex_init(&c->mu, HTTP_RANK, "HTTP client");
    rc = make_multi(c);
    if (rc == 0)
        rc = requests_new(c->opt.watch, &c->requests);
    if (rc == 0)
        rc = worker_start(&c->thread, "http", client_main, c);
    if (rc < 0) {
        http_client_free(c);
        return err_set(rc, "cannot start an HTTP client: %s", shale_strerror(rc));
    }
    *out = c;
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    mutex_lock(&c->mu);
    c->quit = true;
    mutex_unlock(&c->mu);
    if (c->thread.running)
        curl_multi_wakeup(c->multi);
    worker_join(&c->thread);
    list_for_each_safe(p, next, &c->idle)
        http_transfer_free(list_entry(p, struct http_transfer, node));
    if (c->multi)
        curl_multi_cleanup(c->multi);
    requests_free(c->requests);
    mutex_fini(&c->mu);
    mem_free(c);
}

void http_client_stop(struct http_client *c)
{
    mutex_lock(&c->mu);
    c->stopped = true;
    mutex_unlock(&c->mu);
    curl_multi_wakeup(c->multi);
}

void http_submit(struct http_client *c, struct http_exchange *x)
{
    x->done = x->unwanted = false;
    x->waiter = NULL;
    x->rc = 0;
    x->status = 0;
    x->why[0] = '\0';
    x->transfer = NULL;
    x->queued_ns = 0;
    x->submitted_ns = clock_mono_ns();
    requests_queued(c->requests, x->cls);
    mutex_lock(&c->mu);
    list_append(&c->queue[x->cls], &x->node);
    mutex_unlock(&c->mu);
    curl_multi_wakeup(c->multi);
}

bool http_is_done(struct http_client *c, struct http_exchange *x)
{
    bool done;

    mutex_lock(&c->mu);
    done = x->done;
    mutex_unlock(&c->mu);
    return done;
}

/* The thread still has x, so it is what ends it, and is waited for. */
static void abandon_locked(struct http_client *c, struct http_exchange *x)
{
    if (x->unwanted || (x->method != HTTP_GET && x->method != HTTP_HEAD) || !cancel_wanted())
        return;
    x->unwanted = c->has_unwanted = true;
    curl_multi_wakeup(c->multi);
}

/* With a condition of its own: many wait, each for another exchange, and only one of them is to wake. */
void http_wait(struct http_client *c, struct http_exchange *x)
{
    struct cond done;

    cond_init(&done);
    mutex_lock(&c->mu);
    x->waiter = &done;
    while (!x->done) {
        abandon_locked(c, x);
        (void)cancel_cond_wait(&done, &c->mu, 0);
    }
    x->waiter = NULL;
    mutex_unlock(&c->mu);
    cond_fini(&done);
}

int http_run(struct http_client *c, struct http_exchange *x)
{
    http_submit(c, x);
    http_wait(c, x);
    return x->rc;
}
