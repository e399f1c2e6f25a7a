/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks with ranks. A debug build keeps the locks of each thread in a small table and aborts on the
 * first acquisition against the order, whether or not it would have led to a deadlock this time. A
 * release build pays nothing.
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#include "base/sync.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef SHALE_DEBUG
#define HELD_MAX 32

static _Thread_local struct {
    const void *lock;
    int rank;
    const char *name;
} held[HELD_MAX];
static _Thread_local int n_held;

/*
 * Equal ranks are refused as well, so that two locks of one kind are never held together; and so is a
 * second acquisition of the same lock.
 */
static void note_lock(const void *lock, int rank, const char *name)
{
    for (int i = 0; i < n_held; i++) {
        if (held[i].rank >= rank) {
            fprintf(stderr, "lock order: %s (rank %d) taken while holding %s (rank %d)\n", name, rank, held[i].name,
                    held[i].rank);
            abort();
        }
    }
    assert(n_held < HELD_MAX);
    held[n_held].lock = lock;
    held[n_held].rank = rank;
    held[n_held].name = name;
    n_held++;
}

/* Any order of release is fine: the rest moves up. */
static void note_unlock(const void *lock, const char *name)
{
    for (int i = n_held - 1; i >= 0; i--) {
        if (held[i].lock != lock)
            continue;
        for (int k = i; k + 1 < n_held; k++)
            held[k] = held[k + 1];
        n_held--;
        return;
    }
    fprintf(stderr, "lock order: %s released by a thread that does not hold it\n", name);
    abort();
}

bool mutex_held(const struct mutex *mu)
{
    for (int i = 0; i < n_held; i++)
        if (held[i].lock == mu)
            return true;
    return false;
}
#else
static inline void note_lock(const void *lock, int rank, const char *name)
{
    (void)lock, (void)rank, (void)name;
}

static inline void note_unlock(const void *lock, const char *name)
{
    (void)lock, (void)name;
}

bool mutex_held(const struct mutex *mu)
{
    (void)mu;
    return true;
}
#endif

void mutex_init(struct mutex *mu, int rank, const char *name)
{
    pthread_mutex_init(&mu->m, NULL);
    mu->rank = rank;
    mu->name = name;
}

void mutex_fini(struct mutex *mu)
{
    pthread_mutex_destroy(&mu->m);
}

void mutex_lock(struct mutex *mu)
{
    note_lock(mu, mu->rank, mu->name);
    pthread_mutex_lock(&mu->m);
}

void mutex_unlock(struct mutex *mu)
{
    note_unlock(mu, mu->name); /* first: once unlocked, another thread may free what it is part of */
    pthread_mutex_unlock(&mu->m);
}

/*
 * Deadlines count on the monotonic clock: setting the wall clock must neither wake nor hold up a
 * waiter.
 */
void cond_init(struct cond *cv)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&cv->c, &attr);
    pthread_condattr_destroy(&attr);
}

void cond_fini(struct cond *cv)
{
    pthread_cond_destroy(&cv->c);
}

/*
 * The lock stays in the table of held locks while it is given up: the thread sleeps and takes no other
 * one meanwhile.
 */
void cond_wait(struct cond *cv, struct mutex *mu)
{
    pthread_cond_wait(&cv->c, &mu->m);
}

bool cond_wait_until(struct cond *cv, struct mutex *mu, int64_t deadline_ms)
{
    struct timespec ts = { .tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000 };

    return pthread_cond_timedwait(&cv->c, &mu->m, &ts) != ETIMEDOUT;
}

void cond_signal(struct cond *cv)
{
    pthread_cond_signal(&cv->c);
}

void cond_broadcast(struct cond *cv)
{
    pthread_cond_broadcast(&cv->c);
}

void rwlock_init(struct rwlock *l, int rank, const char *name)
{
    pthread_rwlock_init(&l->l, NULL);
    l->rank = rank;
    l->name = name;
}

void rwlock_fini(struct rwlock *l)
{
    pthread_rwlock_destroy(&l->l);
}

void rwlock_rdlock(struct rwlock *l)
{
    note_lock(l, l->rank, l->name);
    pthread_rwlock_rdlock(&l->l);
}

void rwlock_wrlock(struct rwlock *l)
{
    note_lock(l, l->rank, l->name);
    pthread_rwlock_wrlock(&l->l);
}

void rwlock_unlock(struct rwlock *l)
{
    note_unlock(l, l->name);
    pthread_rwlock_unlock(&l->l);
}
