/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ERRAND_H
#define BASE_ERRAND_H

#include "base/err.h"
#include "base/pool.h"

/*
 * One call that goes on while its caller does something else, for work that waits for a store. What it returns, and the
 * sentence of a failure, are the caller's when he waits for it.
 */
struct errand {
    struct worker w;
    int (*fn)(void *arg);
    void *arg;
    int rc;
    char why[ERR_TEXT_MAX];
};

/* Without a thread for it, it is done here and now. fn and arg last until errand_join, which has to follow. */
void errand_start(struct errand *e, const char *name, int (*fn)(void *arg), void *arg);
/*
 * Wait for it. rc is how the caller's own work went: returned, with its sentence, when that is negative; otherwise
 * what fn returned, with the sentence that belongs to it.
 */
int errand_join(struct errand *e, int rc);

#endif
