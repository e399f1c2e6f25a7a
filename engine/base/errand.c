/* SPDX-License-Identifier: Apache-2.0 */
#include "base/errand.h"

#include <stdio.h>

/* Sentences belong to threads, so this one is carried over. */
static void run(void *arg)
{
    struct errand *e = arg;

    e->rc = e->fn(e->arg);
    if (e->rc < 0)
        snprintf(e->why, sizeof(e->why), "%s", shale_errmsg());
}

void errand_start(struct errand *e, const char *name, int (*fn)(void *arg), void *arg)
{
    *e = (struct errand){ .fn = fn, .arg = arg };
    if (worker_start(&e->w, name, run, e) < 0)
        run(e);
}

int errand_join(struct errand *e, int rc)
{
    worker_join(&e->w);
    if (rc < 0 || e->rc >= 0)
        return rc < 0 ? rc : e->rc;
    return err_set(e->rc, "%s", e->why);
}
