/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* One long-lived thread with a name (at most 15 characters show in ps and gdb). All signals are blocked in it. */
struct worker {
    pthread_t thread;
    bool running;
};

/* 0 or -errno. fn runs until it returns; worker_join waits for that and may be called when it never started. */
int worker_start(struct worker *w, const char *name, void (*fn)(void *arg), void *arg);
void worker_join(struct worker *w);

/*
 * A queue of jobs and n_threads threads that take them in order. Safe from any thread.
 * Jobs begin in order of submission; with several threads they may end in any. A job may submit
 * others, and must not free its pool.
 */
struct pool;

int pool_new(const char *name, size_t n_threads, struct pool **out);
/* 0 or -ENOMEM. The job runs exactly once, also when pool_free is called meanwhile. */
int pool_submit(struct pool *p, void (*fn)(void *arg), void *arg);
/* Runs what is queued, then ends the threads. NULL is fine. */
void pool_free(struct pool *p);

#endif
