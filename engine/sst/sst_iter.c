/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of one SST in a key range, in either direction (R125-R130). Binary search over the index's
 * separators gives the blocks lo..hi that can hold keys of the range; the rows of each come from
 * a block_iter, the blocks through a block_window.
 *   ST_NEW     nothing was read; seeks only narrow the range
 *   ST_OPEN    block number at is current, rows walks it
 *   ST_DONE    next gives SHALE_END, again and again
 *   ST_FAILED  next gives the same error, again and again
 * Within a block no key is compared with the range but at its edges (edge, leading): inner blocks
 * lie wholly inside. One key may span several blocks; ascending that needs nothing, descending it
 * needs the key_group below, since its newest version lies in the first of them.
 */

#include "sst/sst_iter.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "format/block.h"
#include "sst/block_window.h"
#include "sst/sst_section.h"
#include "sst/sst_stream.h"

#include <assert.h>
#include <errno.h>

/* What is read in one go of the blocks that can hold the key of a point range. */
#define POINT_BYTES ((uint64_t)128 << 10)

/*
 * State: ST_NEW until the first next (seeks only narrow the range), ST_OPEN with a current block, ST_DONE behind the
 * last row, ST_FAILED.
 */
enum iter_state { ST_NEW, ST_OPEN, ST_DONE, ST_FAILED };

/* The versions of one key that go over several blocks: those blocks from first to last, read ascending. */
struct key_group {
    bool active;
    size_t at, last;
    struct shale_buf key;
    struct block *first; /* where the descent goes on afterwards, block number first_at */
    size_t first_at;
    struct block *block; /* that rows walks */
    struct block_iter rows;
    bool has_rows;
};

struct sst_iter {
    struct iter base;
    enum iter_state state;
    int failure;
    enum iter_order order;
    struct sst_handle *sst;    /* shared */
    struct shale_buf from, to; /* what range points at */
    struct key_range range;    /* of what may still come: a seek narrows it */
    struct table_index *index; /* shared */
    struct block_window window;
    size_t lo, hi;             /* blocks that can hold keys of the range */
    size_t at;
    struct block *block;       /* number at, that rows walks; shared */
    struct block_iter rows;
    bool has_rows;
    bool edge;                 /* rows of this block can lie behind the end of the range */
    bool leading;              /* rows can still lie before its start */
    bool may_be_false;         /* a filter said that the key of the range may be there, and it did not come yet */
    bool has_last;
    struct shale_slice last;   /* key of the row given out last; borrowed from rows or group */
    struct key_group group;
};

static struct sst_iter *self(struct iter *base)
{
    return container_of(base, struct sst_iter, base);
}

static const struct sst_index *index_of(const struct sst_iter *it)
{
    return &it->index->x;
}

static void group_drop(struct sst_iter *it)
{
    struct key_group *g = &it->group;

    g->active = false;
    block_unref(g->first);
    block_unref(g->block);
    g->first = g->block = NULL;
}

/* Let go of what only an iterator under way needs. */
static void release(struct sst_iter *it)
{
    block_unref(it->block);
    it->block = NULL;
    group_drop(it);
    block_window_fini(&it->window);
    table_index_unref(it->index);
    it->index = NULL;
    it->has_last = false;
}

static int finish(struct sst_iter *it)
{
    if (it->may_be_false && !it->has_last)
        table_metrics_false_positive(it->window.ts->metrics);
    it->may_be_false = false;
    release(it);
    it->state = ST_DONE;
    return SHALE_END;
}

static int fail(struct sst_iter *it, int rc)
{
    release(it);
    it->state = ST_FAILED;
    it->failure = rc;
    return rc;
}

static int fail_in_block(struct sst_iter *it, size_t number, int rc)
{
    struct sst_part part = { .kind = "block", .number = number, .offset = index_of(it)->offsets[number] };
    struct shale_buf name = SHALE_BUF_INIT;

    if (table_store_sst_name(it->window.ts, it->sst->id, &name) == 0) {
        part.object = (const char *)name.data;
        (void)part_err_add(rc, &part); /* returns rc */
    }
    shale_buf_fini(&name);
    return fail(it, rc);
}

static size_t one_less(size_t n)
{
    return n ? n - 1 : 0;
}

/*
 * Make b, block number i, the current one; takes the reference.
 * The row iterator is reused, with its buffers, for every block.
 */
static int enter_block(struct sst_iter *it, size_t i, struct block *b)
{
    int rc;

    block_unref(it->block);
    it->block = b;
    it->at = i;
    it->edge = i == (it->order == ITER_ASC ? it->hi : it->lo);
    it->has_last = false;
    if (it->has_rows)
        rc = block_iter_reset(&it->rows, block_payload(b), it->sst->version, it->order);
    else
        rc = block_iter_init(&it->rows, block_payload(b), it->sst->version, it->order);
    it->has_rows = true;
    return rc < 0 ? fail_in_block(it, i, rc) : 0;
}

static int load_block(struct sst_iter *it, size_t i)
{
    struct block *b;
    int rc = block_window_get(&it->window, i, it->lo, it->hi, it->order, &b);

    return rc < 0 ? fail(it, rc) : enter_block(it, i, b);
}

static int seek_in_block(struct sst_iter *it, struct shale_slice key)
{
    int rc = block_iter_seek(&it->rows, key);

    it->has_last = false;
    return rc < 0 ? fail_in_block(it, it->at, rc) : 0;
}

/*
 * Begin at the near end of the range.
 * leading: an excluded bound may have rows of its key in the first block, which are passed over;
 * otherwise seek_in_block has gone behind them already.
 */
static int position(struct sst_iter *it)
{
    const struct key_range *r = &it->range;
    bool asc = it->order == ITER_ASC;
    enum key_bound_kind kind = asc ? r->from_kind : r->to_kind;
    int rc = load_block(it, asc ? it->lo : it->hi);

    it->leading = kind == KEY_EXCLUDED;
    if (rc == 0 && kind != KEY_UNBOUNDED)
        rc = seek_in_block(it, asc ? r->from : r->to);
    return rc;
}

/*
 * Whether the filter leaves a chance that the one key of the range is there. 1, 0 or an error.
 * Before the index: for most SSTs that lack the key it saves reading the index, and always the
 * block.
 */
static int ask_filter(struct sst_iter *it)
{
    struct table_filter *f = NULL;
    int rc = table_filter_read(it->window.ts, &it->window.src, &f);

    if (rc < 0)
        return rc;
    if (!f)
        return 1;
    rc = filter_may_contain(&f->f, filter_hash(it->range.from));
    table_filter_unref(f);
    table_metrics_filter(it->window.ts->metrics, rc);
    it->may_be_false = rc;
    return rc;
}

/*
 * 0 when there is a current block, SHALE_END or an error otherwise.
 * What the first next costs is here, so that iterators over SSTs which a merge never reaches cost
 * nothing.
 */
static int start(struct sst_iter *it)
{
    int rc = 1;

    if (key_range_is_empty(&it->range))
        return finish(it);
    if (key_range_is_point(&it->range))
        rc = ask_filter(it);
    if (rc == 0)
        return finish(it);
    if (rc > 0)
        rc = table_index_read(it->window.ts, &it->window.src, &it->index);
    if (rc < 0)
        return fail(it, rc);
    it->window.index = it->index;
    if (!sst_index_covering(index_of(it), &it->range, &it->lo, &it->hi))
        return finish(it);
    /* A first row often equals its separator, and then the block before is a candidate too: one read for both. */
    if (key_range_is_point(&it->range) && it->window.bytes < POINT_BYTES)
        it->window.bytes = POINT_BYTES;
    it->state = ST_OPEN;
    return position(it);
}

/* What next and seek do when there is no current block. */
static int not_open(struct sst_iter *it)
{
    if (it->state == ST_NEW)
        return start(it);
    return it->state == ST_DONE ? SHALE_END : it->failure;
}

/* it->last borrows from the block, which stays until the next call. */
static int asc_next(struct iter *base, struct shale_row *out)
{
    struct sst_iter *it = self(base);
    int rc = it->state == ST_OPEN ? 0 : not_open(it);

    while (rc == 0) {
        rc = block_iter_next(&it->rows, out);
        if (rc == 0) {
            if (it->leading && key_before_range(&it->range, out->key))
                continue;
            it->leading = false;
            if (it->edge && key_after_range(&it->range, out->key))
                return finish(it);
            it->last = out->key;
            it->has_last = true;
            return 0;
        }
        if (rc < 0)
            return fail_in_block(it, it->at, rc);
        rc = it->at == it->hi ? finish(it) : load_block(it, it->at + 1);
    }
    return rc;
}

/* Walk block number i of the group from its key on; takes the reference. */
static int group_enter_block(struct sst_iter *it, size_t i, struct block *b)
{
    struct key_group *g = &it->group;
    int rc;

    block_unref(g->block);
    g->block = b;
    g->at = i;
    if (g->has_rows)
        rc = block_iter_reset(&g->rows, block_payload(b), it->sst->version, ITER_ASC);
    else
        rc = block_iter_init(&g->rows, block_payload(b), it->sst->version, ITER_ASC);
    g->has_rows = true;
    if (rc == 0)
        rc = block_iter_seek(&g->rows, slice_of_buf(&g->key));
    return rc < 0 ? fail_in_block(it, i, rc) : 0;
}

/*
 * The row that the descent came upon has a key which equals the separator of its block: newer versions may lie in the
 * blocks before. Read all versions ascending, from the first block that can hold one.
 *   blocks:   first          ...         at
 *             k@9 k@8 | k@7 k@6 | k@5 a-later-key     separators of the 2nd and 3rd are k
 * The descent arrives at block at from the right and finds k@5 first, though k@9 has to come
 * first. So all blocks that can hold k are read ascending, then the descent goes on in front of k
 * in block first.
 */
static int group_begin(struct sst_iter *it, struct shale_slice key)
{
    struct key_group *g = &it->group;
    size_t first = one_less(sst_index_count_below(index_of(it), key, false));
    int rc = buf_set(&g->key, key);

    if (rc == 0)
        rc = block_window_get(&it->window, first, it->lo, it->hi, ITER_DESC, &g->first);
    if (rc < 0)
        return fail(it, rc);
    g->first_at = first;
    g->last = it->at;
    g->active = true;
    (void)cache_item_ref(&g->first->item); /* a reference for g->block */
    return group_enter_block(it, first, g->first);
}

/* The block in which the descent stands is there already, the others come through the window. */
static int group_next_block(struct sst_iter *it)
{
    struct key_group *g = &it->group;
    size_t i = g->at + 1;
    struct block *b = it->block;
    int rc = 0;

    if (i == it->at)
        (void)cache_item_ref(&b->item); /* returns its argument */
    else
        rc = block_window_get(&it->window, i, it->lo, g->last, ITER_ASC, &b);
    return rc < 0 ? fail(it, rc) : group_enter_block(it, i, b);
}

/* A row; SHALE_END behind the last version; an error. */
static int group_next(struct sst_iter *it, struct shale_row *out)
{
    struct key_group *g = &it->group;
    int rc = 0;

    while (rc == 0) {
        rc = block_iter_next(&g->rows, out);
        if (rc < 0)
            return fail_in_block(it, g->at, rc);
        if (rc == 0 && slice_eq(out->key, slice_of_buf(&g->key))) {
            it->last = slice_of_buf(&g->key);
            it->has_last = true;
            return 0;
        }
        if (g->at == g->last)
            return SHALE_END;
        if (rc == 0)
            return fail_in_block(it, g->at, err_set(SHALE_ECORRUPT, "its keys pass the separator behind it"));
        rc = group_next_block(it);
    }
    return rc;
}

/*
 * Go on below the group's key, in the block where it begins.
 * The range shrinks by the key that is done with, so that the rest of its block is passed over as
 * lying behind the end.
 */
static int group_end(struct sst_iter *it)
{
    struct key_group *g = &it->group;
    struct block *b = g->first;
    int rc;

    g->first = NULL; /* moved */
    group_drop(it);
    rc = enter_block(it, g->first_at, b);
    if (rc < 0)
        return rc;
    rc = buf_set(&it->to, slice_of_buf(&g->key));
    if (rc < 0)
        return fail(it, rc);
    it->range.to_kind = KEY_EXCLUDED;
    it->range.to = slice_of_buf(&it->to);
    it->leading = true;
    return seek_in_block(it, it->range.to);
}

/*
 * The next row, or what to do to get one: 0 with *given false means ask again.
 * A group begins only where the key equals the separator: otherwise no block before can have the
 * key (storage format 2.5).
 */
static int desc_step(struct sst_iter *it, struct shale_row *out, bool *given)
{
    int rc;

    *given = false;
    if (it->group.active) {
        rc = group_next(it, out);
        *given = rc == 0;
        return rc == SHALE_END ? group_end(it) : rc;
    }
    rc = block_iter_next(&it->rows, out);
    if (rc < 0)
        return fail_in_block(it, it->at, rc);
    if (rc == SHALE_END)
        return it->at == it->lo ? finish(it) : load_block(it, it->at - 1);
    if (it->leading && key_after_range(&it->range, out->key))
        return 0;
    it->leading = false;
    if (it->edge && key_before_range(&it->range, out->key))
        return finish(it);
    if (it->at > it->lo && slice_eq(out->key, index_of(it)->first_keys[it->at]))
        return group_begin(it, out->key);
    it->last = out->key;
    it->has_last = true;
    *given = true;
    return 0;
}

static int desc_next(struct iter *base, struct shale_row *out)
{
    struct sst_iter *it = self(base);
    int rc = it->state == ST_OPEN ? 0 : not_open(it);
    bool given = false;

    while (rc == 0 && !given)
        rc = desc_step(it, out, &given);
    return rc;
}

/* Go to block i unless it is the current one, and to key in it. */
static int jump(struct sst_iter *it, size_t i, struct shale_slice key)
{
    int rc = i == it->at ? 0 : load_block(it, i);

    it->leading = false;
    return rc < 0 ? rc : seek_in_block(it, key);
}

/*
 * Never to a block before the current one, even if the separator says so: rows that were passed
 * do not come again.
 */
static int asc_seek(struct iter *base, struct shale_slice key)
{
    struct sst_iter *it = self(base);
    struct key_range *r = &it->range;
    size_t i;
    int rc;

    if (it->state == ST_DONE || it->state == ST_FAILED)
        return it->state == ST_DONE ? 0 : it->failure;
    /* only forward */
    if ((r->from_kind != KEY_UNBOUNDED && slice_cmp(key, r->from) <= 0) ||
        (it->has_last && slice_cmp(key, it->last) <= 0))
        return 0;
    rc = buf_set(&it->from, key);
    if (rc < 0)
        return fail(it, rc);
    r->from_kind = KEY_INCLUDED;
    r->from = slice_of_buf(&it->from);
    if (key_after_range(r, r->from)) {
        (void)finish(it); /* nothing is left, which next tells */
        return 0;
    }
    if (it->state == ST_NEW)
        return 0;
    i = one_less(sst_index_count_below(index_of(it), r->from, false));
    return jump(it, i < it->at ? it->at : i, r->from);
}

static int desc_seek(struct iter *base, struct shale_slice key)
{
    struct sst_iter *it = self(base);
    struct key_range *r = &it->range;
    size_t i;
    int rc;

    if (it->state == ST_DONE || it->state == ST_FAILED)
        return it->state == ST_DONE ? 0 : it->failure;
    if ((r->to_kind != KEY_UNBOUNDED && slice_cmp(key, r->to) >= 0) ||
        (it->has_last && slice_cmp(key, it->last) >= 0))
        return 0;
    rc = buf_set(&it->to, key);
    if (rc < 0)
        return fail(it, rc);
    r->to_kind = KEY_INCLUDED;
    r->to = slice_of_buf(&it->to);
    if (key_before_range(r, r->to)) {
        (void)finish(it); /* nothing is left, which next tells */
        return 0;
    }
    if (it->state == ST_NEW)
        return 0;
    group_drop(it); /* its blocks lie behind the target's */
    i = one_less(sst_index_count_below(index_of(it), r->to, true));
    return jump(it, i < it->lo ? it->lo : i > it->at ? it->at : i, r->to);
}

static void sst_iter_close(struct iter *base)
{
    struct sst_iter *it = self(base);

    release(it);
    if (it->has_rows)
        block_iter_fini(&it->rows);
    if (it->group.has_rows)
        block_iter_fini(&it->group.rows);
    shale_buf_fini(&it->group.key);
    shale_buf_fini(&it->from);
    shale_buf_fini(&it->to);
    sst_handle_unref(it->sst);
    mem_free(it);
}

static const struct iter_ops asc_ops = { .next = asc_next, .seek = asc_seek, .close = sst_iter_close };
static const struct iter_ops desc_ops = { .next = desc_next, .seek = desc_seek, .close = sst_iter_close };

/* Take over a bound that other memory holds. */
static int own_bound(struct shale_buf *buf, struct shale_slice *bound)
{
    int rc = buf_set(buf, *bound);

    *bound = slice_of_buf(buf);
    return rc;
}

/*
 * Nothing is read here. The intersection borrows from both ranges; own_bound then copies what is
 * left of them.
 */
int sst_iter_new(struct table_store *ts, const struct sst_view *view, const struct key_range *range,
                 const struct sst_iter_options *opt, struct iter **out)
{
    struct key_range visible = sst_view_range(view);
    struct sst_iter *it;
    int rc;

    if (opt->once)
        return sst_stream_new(ts, view, range, opt->read_ahead_bytes, out);
    it = mem_zalloc(sizeof(*it));
    if (!it)
        return -ENOMEM;
    it->base.ops = opt->order == ITER_ASC ? &asc_ops : &desc_ops;
    it->order = opt->order;
    it->sst = sst_handle_ref(view->sst);
    it->window = (struct block_window){ .ts = ts, .src = sst_source_compacted(it->sst),
                                        .fill_cache = opt->fill_cache, .bytes = opt->read_ahead_bytes };
    it->range = key_range_intersect(range, &visible);
    rc = opt->borrow_range ? 0 : own_bound(&it->from, &it->range.from);
    if (rc == 0 && !opt->borrow_range)
        rc = own_bound(&it->to, &it->range.to);
    if (rc < 0) {
        sst_iter_close(&it->base);
        return rc;
    }
    *out = &it->base;
    return 0;
}
