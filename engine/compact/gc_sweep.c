/* SPDX-License-Identifier: Apache-2.0 */
#include "compact/gc_sweep.h"

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>
#include <string.h>

/* What is garbage is removed so many at a time: memory stays bounded, and a store takes up to 1000 names at once. */
#define BATCH_MAX 1000
#define BATCH_IS_FULL 1

struct batch {
    struct sweep *s;
    struct sweep_object list[BATCH_MAX];
    size_t n;
    char last[PATH_NAME_MAX]; /* name that was judged last; "": none */
};

static int stopped(const struct sweep *s)
{
    return s->stopped && s->stopped(s->stopped_arg) ? err_set(SHALE_ECANCELED, "the collector was stopped") : 0;
}

static int collect(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct batch *b = arg;
    struct sweep_object o = { .name = (char *)(uintptr_t)name, .size = meta->size, .mtime_ms = meta->mtime_ms };
    int rc;

    if (strlen(name) >= sizeof(b->last))
        return 0; /* longer than any name of ours */
    rc = b->s->judge(b->s->arg, &o);
    if (rc == 1) {
        o.name = mem_strdup(name);
        if (o.name)
            b->list[b->n++] = o;
        else
            rc = -ENOMEM;
    }
    if (rc < 0)
        return rc;
    strcpy(b->last, name);
    return b->n == BATCH_MAX ? BATCH_IS_FULL : 0;
}

static void clear(struct batch *b)
{
    while (b->n)
        mem_free(b->list[--b->n].name);
}

/* Leave in the batch what is garbage indeed, and tell of it. */
static int confirm(struct batch *b)
{
    struct sweep *s = b->s;
    size_t n = 0;
    int rc = 0;

    for (size_t i = 0; i < b->n; i++) {
        struct sweep_object o = b->list[i];
        int is = 1;

        if (rc == 0)
            rc = stopped(s);
        if (rc == 0 && s->confirm)
            is = s->confirm(s->arg, &o);
        if (rc == 0 && is < 0)
            rc = is;
        if (rc == 0 && is && s->opt->report)
            rc = s->opt->report(s->opt->report_arg, s->kind, o.name);
        if (rc == 0 && is)
            b->list[n++] = o;
        else
            mem_free(o.name);
    }
    b->n = n;
    return rc;
}

static int remove_batch(struct batch *b)
{
    const char *names[BATCH_MAX];
    int rc = 0;

    if (b->n == 0)
        return 0;
    for (size_t i = 0; i < b->n; i++)
        names[i] = b->list[i].name;
    if (!b->s->opt->dry_run)
        rc = shale_store_delete_many(b->s->store, names, b->n);
    if (rc == 0)
        b->s->removed += b->n;
    return rc;
}

int sweep_run(struct sweep *s)
{
    struct batch *b = mem_zalloc(sizeof(*b));
    bool more = true;
    int rc = b ? 0 : -ENOMEM;

    if (b)
        b->s = s;
    while (rc == 0 && more) {
        rc = stopped(s);
        if (rc == 0)
            rc = shale_store_list(s->store, s->prefix, b->last[0] ? b->last : NULL, collect, b);
        more = rc == BATCH_IS_FULL;
        if (rc >= 0)
            rc = confirm(b);
        if (rc == 0)
            rc = remove_batch(b);
        clear(b);
    }
    mem_free(b);
    return rc;
}
