/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As many flights are under way as threads wait for the store, so the list is short and searched from its beginning. An
 * error is not passed on: the read of one may have been cut short for reasons of its own, and who waited for it reads
 * alone, at once and without a flight, so that many who waited fail or succeed side by side.
 */

#include "sst/flights.h"

#include "base/alloc.h"
#include "base/cancel.h"

#include <assert.h>
#include <errno.h>

#define FLIGHTS_RANK 605

struct flight_part {
    uint64_t offset;
    struct cache_item *item; /* a reference; NULL until it was brought */
};

struct flight {
    struct list node; /* GUARDED_BY(mu of the flights), as refs and landed */
    struct shale_ulid sst;
    unsigned refs;
    bool landed;
    size_t n;
    struct flight_part parts[]; /* its maker's until it has landed, read-only afterwards; offsets ascend and stay */
};

void flights_init(struct flights *f)
{
    mutex_init(&f->mu, FLIGHTS_RANK, "reads under way");
    cond_init(&f->landed);
    list_init(&f->under_way);
}

void flights_fini(struct flights *f)
{
    assert(list_empty(&f->under_way));
    cond_fini(&f->landed);
    mutex_fini(&f->mu);
}

static struct flight_part *part_at(struct flight *x, uint64_t offset)
{
    size_t lo = 0, hi = x->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (x->parts[mid].offset == offset)
            return &x->parts[mid];
        if (x->parts[mid].offset < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static struct flight *find_locked(struct flights *f, struct shale_ulid sst, uint64_t offset)
{
    list_for_each(p, &f->under_way) {
        struct flight *x = list_entry(p, struct flight, node);

        if (ulid_eq(x->sst, sst) && part_at(x, offset))
            return x;
    }
    return NULL;
}

/* Whether that was the last reference; the caller frees it without the lock, as items may be freed with it. */
static bool unref_locked(struct flight *x)
{
    assert(x->refs > 0);
    return --x->refs == 0;
}

static void flight_free(struct flight *x)
{
    for (size_t k = 0; k < x->n; k++)
        cache_item_unref(x->parts[k].item);
    mem_free(x);
}

int flights_join(struct flights *f, struct shale_ulid sst, const uint64_t *offsets, size_t n, struct flight **others,
                 struct flight **mine)
{
    struct flight *x = mem_alloc(size_add(sizeof(*x), size_mul(n, sizeof(x->parts[0]))));

    for (size_t k = 0; k < n; k++)
        others[k] = NULL;
    *mine = NULL;
    if (!x)
        return -ENOMEM;
    *x = (struct flight){ .sst = sst, .refs = 1 };
    mutex_lock(&f->mu);
    for (size_t k = 0; k < n; k++) {
        others[k] = find_locked(f, sst, offsets[k]);
        if (others[k])
            others[k]->refs++;
        else
            x->parts[x->n++] = (struct flight_part){ .offset = offsets[k] };
    }
    if (x->n > 0)
        list_append(&f->under_way, &x->node);
    mutex_unlock(&f->mu);
    if (x->n > 0)
        *mine = x;
    else
        mem_free(x);
    return 0;
}

bool flights_has(struct flights *f, struct shale_ulid sst, uint64_t offset)
{
    bool has;

    mutex_lock(&f->mu);
    has = find_locked(f, sst, offset) != NULL;
    mutex_unlock(&f->mu);
    return has;
}

void flight_bring(struct flight *mine, uint64_t offset, struct cache_item *item)
{
    struct flight_part *p = part_at(mine, offset);

    assert(p && !p->item);
    p->item = cache_item_ref(item);
}

void flight_land(struct flights *f, struct flight *mine)
{
    bool last;

    if (!mine)
        return;
    mutex_lock(&f->mu);
    mine->landed = true;
    list_remove(&mine->node);
    last = unref_locked(mine);
    cond_broadcast(&f->landed);
    mutex_unlock(&f->mu);
    if (last)
        flight_free(mine);
}

struct cache_item *flight_wait(struct flights *f, struct flight *other, uint64_t offset)
{
    const struct flight_part *p = part_at(other, offset);
    struct cache_item *item = NULL;
    bool last;

    mutex_lock(&f->mu);
    while (!other->landed && !cancel_wanted())
        (void)cancel_cond_wait(&f->landed, &f->mu, 0); /* there is no deadline */
    if (other->landed && p && p->item)
        item = cache_item_ref(p->item);
    last = unref_locked(other);
    mutex_unlock(&f->mu);
    if (last)
        flight_free(other);
    return item;
}

void flight_leave(struct flights *f, struct flight *other)
{
    bool last;

    if (!other)
        return;
    mutex_lock(&f->mu);
    last = unref_locked(other);
    mutex_unlock(&f->mu);
    if (last)
        flight_free(other);
}
