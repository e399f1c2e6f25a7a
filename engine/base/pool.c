/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where all threads of the engine begin: single workers that run until they return, and pools that take
 * jobs from one queue. All signals are blocked in them: the handlers of the program then run in its own
 * threads only, and no system call here sees EINTR for them.
 */

#include "base/pool.h"

#include "base/alloc.h"
#include "base/sync.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define POOL_RANK 900

struct start {
    void (*fn)(void *arg);
    void *arg;
    char name[16];
};

/* The start record is copied and freed first: the thread may run for as long as the process. */
static void *run(void *arg)
{
    struct start s = *(struct start *)arg;

    mem_free(arg);
    pthread_setname_np(pthread_self(), s.name);
    s.fn(s.arg);
    return NULL;
}

/*
 * The mask is set before the thread exists, as a new one inherits it: there is no moment in which a
 * signal could be delivered to it.
 */
int worker_start(struct worker *w, const char *name, void (*fn)(void *arg), void *arg)
{
    struct start *s = mem_alloc(sizeof(*s));
    sigset_t all, old;
    int err;

    w->running = false;
    if (!s)
        return -ENOMEM;
    s->fn = fn;
    s->arg = arg;
    snprintf(s->name, sizeof(s->name), "%s", name);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    err = pthread_create(&w->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    w->running = err == 0;
    if (err)
        mem_free(s);
    return -err;
}

void worker_join(struct worker *w)
{
    if (!w->running)
        return;
    pthread_join(w->thread, NULL);
    w->running = false;
}

struct job {
    struct job *next;
    void (*fn)(void *arg);
    void *arg;
};

/*
 * The lock is held for moments and never while a job runs. last points at the link to fill next, so
 * that appending needs no search; an empty queue points at first.
 */
struct pool {
    struct mutex mu;
    struct cond has_work;
    struct job *first, **last; /* GUARDED_BY(mu) */
    bool stop;                 /* GUARDED_BY(mu) */
    size_t n_threads;
    struct worker *threads;
};

static bool pool_has_work_locked(const struct pool *p)
{
    return p->first || p->stop;
}

/*
 * Jobs come before stop: what was submitted is run even when the pool is being freed, as somebody waits
 * for its outcome. NULL: the queue is empty and nothing more will come.
 */
static struct job *pool_take(struct pool *p)
{
    struct job *j;

    mutex_lock(&p->mu);
    while (!pool_has_work_locked(p))
        cond_wait(&p->has_work, &p->mu);
    j = p->first;
    if (j) {
        p->first = j->next;
        if (!p->first)
            p->last = &p->first;
    }
    mutex_unlock(&p->mu);
    return j;
}

static void pool_run(void *arg)
{
    struct pool *p = arg;
    struct job *j;

    while ((j = pool_take(p)) != NULL) {
        j->fn(j->arg);
        mem_free(j);
    }
}

int pool_new(const char *name, size_t n_threads, struct pool **out)
{
    struct pool *p = mem_zalloc(sizeof(*p));
    int rc = -ENOMEM;

    if (!p)
        return rc;
    mutex_init(&p->mu, POOL_RANK, "pool");
    cond_init(&p->has_work);
    p->last = &p->first;
    p->threads = mem_calloc(n_threads, sizeof(*p->threads));
    if (!p->threads)
        goto out;
    for (; p->n_threads < n_threads; p->n_threads++) {
        rc = worker_start(&p->threads[p->n_threads], name, pool_run, p);
        if (rc < 0)
            goto out;
    }
    *out = p;
    return 0;
out:
    pool_free(p);
    return rc;
}

int pool_submit(struct pool *p, void (*fn)(void *arg), void *arg)
{
    struct job *j = mem_alloc(sizeof(*j));

    if (!j)
        return -ENOMEM;
    *j = (struct job){ .fn = fn, .arg = arg };
    mutex_lock(&p->mu);
    *p->last = j;
    p->last = &j->next;
    cond_signal(&p->has_work);
    mutex_unlock(&p->mu);
    return 0;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    mutex_lock(&p->mu);
    p->stop = true;
    cond_broadcast(&p->has_work);
    mutex_unlock(&p->mu);
    for (size_t i = 0; i < p->n_threads; i++)
        worker_join(&p->threads[i]);
    mem_free(p->threads);
    cond_fini(&p->has_work);
    mutex_fini(&p->mu);
    mem_free(p);
}
