/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CANCEL_H
#define BASE_CANCEL_H

#include "base/sync.h"

#include <stdatomic.h>

/*
 * Giving up a wait. Who begins an operation that somebody may want to end sets a token on its thread; whatever waits on
 * that thread for long (for a store that does not answer, for a commit, for another operation) looks at it, and then
 * returns SHALE_ECANCELED. Only waits are given up: what was changed stays changed, and what others wait for goes on. A
 * thread without a token waits as ever.
 */
struct cancel {
    atomic_bool wanted;        /* relaxed: nothing is handed over with it */
    bool (*asked)(void *arg);  /* NULL, or whether it is wanted; called with mutexes held, and takes none of ours */
    void *arg;
    const struct cancel *also; /* NULL, or one that counts as well and lives longer than this */
};

#define CANCEL_LOOK_MS 100

/* From any thread, as often as one likes. Never taken back. */
void cancel_request(struct cancel *c);
/* Of the calling thread, borrowed until the next call; NULL: none. Returns what it was. */
const struct cancel *cancel_set(const struct cancel *c);
/* Whether the calling thread is to give up. */
bool cancel_wanted(void);
/* The code to give up with, and the sentence: "gave up waiting for WHAT, as asked". */
int cancel_error(const char *what);

/*
 * As cond_wait (deadline_ms 0) or cond_wait_until, but returns after CANCEL_LOOK_MS at the latest where the thread has
 * a token: so the caller's loop looks at cancel_wanted beside its predicate. False when the deadline has passed.
 */
bool cancel_cond_wait(struct cond *cv, struct mutex *mu, int64_t deadline_ms);

#endif
