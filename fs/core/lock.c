/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/lock.h"

#include "base/cancel.h"

#include <assert.h>

void oplock_init(struct oplock *l, int rank, const char *name)
{
    mutex_init(&l->mu, rank, name);
    cond_init(&l->idle);
    l->busy = false;
}

void oplock_fini(struct oplock *l)
{
    assert(!l->busy);
    cond_fini(&l->idle);
    mutex_fini(&l->mu);
}

/*
 * The mutex is held for moments only; who has to wait sleeps on the condition. So the holder may wait for the store,
 * which no holder of a mutex may (base/sync.h). Nobody is first in line: who comes as it is let go may take it before
 * one that was woken.
 */
void oplock_lock(struct oplock *l)
{
    mutex_lock(&l->mu);
    while (l->busy)
        cond_wait(&l->idle, &l->mu);
    l->busy = true;
    mutex_unlock(&l->mu);
}

/* Who gives up may have been the one that was woken, so he wakes the next. */
int oplock_take(struct oplock *l)
{
    int rc = 0;

    mutex_lock(&l->mu);
    while (l->busy && !cancel_wanted())
        (void)cancel_cond_wait(&l->idle, &l->mu, 0);
    if (l->busy)
        rc = cancel_error(l->mu.name);
    else
        l->busy = true;
    if (rc < 0)
        cond_signal(&l->idle);
    mutex_unlock(&l->mu);
    return rc;
}

void oplock_unlock(struct oplock *l)
{
    mutex_lock(&l->mu);
    assert(l->busy);
    l->busy = false;
    cond_signal(&l->idle);
    mutex_unlock(&l->mu);
}
