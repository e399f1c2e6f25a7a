/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens are looked at every now and then; nobody is woken. Waking would have to know the condition that is waited on
 * and take its mutex, in the middle of whatever lock the asker holds, and a wait that takes so long that somebody
 * gives it up loses nothing by a tenth of a second. So an operation that never waits long pays nothing for its token.
 */

#include "base/cancel.h"

#include "base/clock.h"
#include "base/err.h"

static _Thread_local const struct cancel *current;

void cancel_request(struct cancel *c)
{
    atomic_store_explicit(&c->wanted, true, memory_order_relaxed);
}

const struct cancel *cancel_set(const struct cancel *c)
{
    const struct cancel *was = current;

    current = c;
    return was;
}

bool cancel_wanted(void)
{
    for (const struct cancel *c = current; c; c = c->also)
        if (atomic_load_explicit(&c->wanted, memory_order_relaxed) || (c->asked && c->asked(c->arg)))
            return true;
    return false;
}

int cancel_error(const char *what)
{
    return err_set(SHALE_ECANCELED, "gave up waiting for %s, as asked", what);
}

/* The caller has looked at cancel_wanted, so this is not asked for again before the wait. */
bool cancel_cond_wait(struct cond *cv, struct mutex *mu, int64_t deadline_ms)
{
    int64_t look_ms;

    if (!current) {
        if (deadline_ms)
            return cond_wait_until(cv, mu, deadline_ms);
        cond_wait(cv, mu);
        return true;
    }
    look_ms = clock_mono_ms() + CANCEL_LOOK_MS;
    if (deadline_ms && deadline_ms <= look_ms)
        return cond_wait_until(cv, mu, deadline_ms);
    (void)cond_wait_until(cv, mu, look_ms);
    return true;
}
