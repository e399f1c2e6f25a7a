/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drops versions that nobody can see any more (R246-R252). For each key, newest to oldest:
 *   seq > min_seq                   kept: a reader at min_seq or later may need it
 *   an operand                      kept, and so is the next: it lies on something
 *   the first other one             kept: the state at min_seq. All older ones are dropped (done)
 *   expired                         a value becomes a tombstone in its place, an operand is dropped
 *   drop_tombstones                 tombstones at the oldest end go, as nothing is below for them to hide
 * SlateDB buffers all versions of a key; here only tombstones wait, so that a key with a million
 * versions needs no memory.
 */

#include "read/retention_iter.h"

#include "base/alloc.h"

#include <errno.h>

/* A tombstone that waits to be known as not the oldest; it has no value, and its key is that of the iterator. */
struct held_tombstone {
    uint64_t seq;
    int64_t create_ts, expire_ts;
};

/*
 * Versions are judged as they come, newest to oldest, and handed on at once. Only with drop_tombstones a run of
 * tombstones has to wait for what follows it: an older version of the key sets it free, the end of the key drops
 * it.
 */
struct retention_iter {
    struct iter base;
    struct iter *child;
    struct retention_options opt;
    bool has_key;
    bool done; /* what is left of this key is dropped */
    struct shale_buf key;
    struct held_tombstone *held;
    size_t n_held, cap_held, next_held;
    bool releasing;       /* held ones go out, then behind */
    struct shale_row behind;
};

/* R249: whether the version is young enough to be kept whatever lies above it. */
static bool within_timeout(const struct retention_iter *r, uint64_t seq)
{
    int64_t time_s, time_ms, until;

    if (!r->opt.has_timeout)
        return false;
    if (!r->opt.tracker || !seq_tracker_time_of(r->opt.tracker, seq, true, &time_s))
        time_ms = r->opt.now_ms;
    else if (__builtin_mul_overflow(time_s, (int64_t)1000, &time_ms))
        return time_s > 0;
    if (__builtin_add_overflow(time_ms, r->opt.timeout_ms, &until))
        return r->opt.timeout_ms > 0;
    return until > r->opt.now_ms;
}

static int enter_key(struct retention_iter *r, struct shale_slice key)
{
    if (r->has_key && slice_eq(slice_of_buf(&r->key), key))
        return 0;
    r->has_key = true;
    r->done = false;
    r->n_held = 0;
    return buf_set(&r->key, key);
}

/*
 * Whether the row is kept (R247), as what it then is; sets done when it is the last one of its key.
 * done is decided before the row is changed: an expired value still ends the versions below it.
 */
static bool keep(struct retention_iter *r, struct shale_row *row)
{
    bool expired = row->expire_ts != SHALE_NO_TS && row->expire_ts <= r->opt.clock_tick;

    if (r->done)
        return false;
    r->done = row->kind != SHALE_MERGE && !(r->opt.has_min_seq && row->seq > r->opt.min_seq) &&
              !within_timeout(r, row->seq);
    if (!expired)
        return true;
    if (row->kind == SHALE_PUT) {
        row->kind = SHALE_TOMBSTONE;
        row->value = slice_of(NULL, 0);
        row->expire_ts = SHALE_NO_TS;
    }
    return row->kind == SHALE_TOMBSTONE;
}

static int hold(struct retention_iter *r, const struct shale_row *row)
{
    int rc = vec_reserve(&r->held, &r->cap_held, r->n_held + 1, sizeof(*r->held));

    if (rc < 0)
        return rc;
    r->held[r->n_held++] =
        (struct held_tombstone){ .seq = row->seq, .create_ts = row->create_ts, .expire_ts = row->expire_ts };
    return 0;
}

/*
 * The next of the held tombstones and the row that set them free.
 * behind borrows from the child, which has not moved since.
 */
static void release(struct retention_iter *r, struct shale_row *out)
{
    const struct held_tombstone *t;

    if (r->next_held == r->n_held) {
        *out = r->behind;
        r->releasing = false;
        r->n_held = 0;
        return;
    }
    t = &r->held[r->next_held++];
    *out = (struct shale_row){
        .key = slice_of_buf(&r->key),
        .seq = t->seq,
        .create_ts = t->create_ts,
        .expire_ts = t->expire_ts,
        .kind = SHALE_TOMBSTONE,
    };
}

static int retention_iter_next(struct iter *it, struct shale_row *out)
{
    struct retention_iter *r = container_of(it, struct retention_iter, base);
    int rc;

    while (!r->releasing) {
        rc = iter_next(r->child, out);
        if (rc != 0)
            return rc;
        rc = enter_key(r, out->key);
        if (rc < 0)
            return rc;
        if (!keep(r, out))
            continue;
        if (r->opt.drop_tombstones && out->kind == SHALE_TOMBSTONE) {
            rc = hold(r, out);
            if (rc < 0)
                return rc;
            continue;
        }
        if (r->n_held == 0)
            return 0;
        r->behind = *out;
        r->next_held = 0;
        r->releasing = true;
    }
    release(r, out);
    return 0;
}

/* What waits is of the current key, so that seeking that one changes nothing. */
static int retention_iter_seek(struct iter *it, struct shale_slice key)
{
    struct retention_iter *r = container_of(it, struct retention_iter, base);

    if (r->releasing && slice_eq(r->behind.key, key))
        return 0;
    r->releasing = false;
    r->n_held = 0;
    return iter_seek(r->child, key);
}

static void retention_iter_close(struct iter *it)
{
    struct retention_iter *r = container_of(it, struct retention_iter, base);

    iter_close(r->child);
    mem_free(r->held);
    shale_buf_fini(&r->key);
    mem_free(r);
}

static const struct iter_ops retention_iter_ops = {
    .next = retention_iter_next,
    .seek = retention_iter_seek,
    .close = retention_iter_close,
};

int retention_iter_new(struct iter *child, const struct retention_options *opt, struct iter **out)
{
    struct retention_iter *r = mem_zalloc(sizeof(*r));

    if (!r) {
        iter_close(child);
        return -ENOMEM;
    }
    r->base.ops = &retention_iter_ops;
    r->child = child;
    r->opt = *opt;
    *out = &r->base;
    return 0;
}
