/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SYNC_H
#define BASE_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Mutexes with a rank. A thread takes them in ascending rank only; a debug build (--enable-debug) checks this and
 * that an unlocker is the owner, and aborts naming both locks. The ranks are listed in ARCHITECTURE.md.
 */
struct mutex {
    pthread_mutex_t m;
    int rank;
    const char *name;
};

void mutex_init(struct mutex *mu, int rank, const char *name);
void mutex_fini(struct mutex *mu);
void mutex_lock(struct mutex *mu);
void mutex_unlock(struct mutex *mu);
/* For assert: this thread holds it. Always true in a build without the checks. */
bool mutex_held(const struct mutex *mu);

/* A condition; waits loop on a predicate. Time is monotonic. */
struct cond {
    pthread_cond_t c;
};

void cond_init(struct cond *cv);
void cond_fini(struct cond *cv);
void cond_wait(struct cond *cv, struct mutex *mu);
/* Wait until deadline_ms of clock_mono_ms at the latest; false when that has passed. */
bool cond_wait_until(struct cond *cv, struct mutex *mu, int64_t deadline_ms);
/*
 * Both may be called with or without the mutex. The predicate must have been changed under it, or a
 * waiter may miss it.
 */
void cond_signal(struct cond *cv);
void cond_broadcast(struct cond *cv);

/* Many readers or one writer; same rank rules. */
struct rwlock {
    pthread_rwlock_t l;
    int rank;
    const char *name;
};

void rwlock_init(struct rwlock *l, int rank, const char *name);
void rwlock_fini(struct rwlock *l);
void rwlock_rdlock(struct rwlock *l);
void rwlock_wrlock(struct rwlock *l);
void rwlock_unlock(struct rwlock *l);

#endif
