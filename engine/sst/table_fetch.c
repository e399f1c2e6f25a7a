/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a part to who wants it:
 *   cache? -> under way by another (flights)? -> read it, with what lies around it -> cache -> reference for the caller
 * Nothing that is read along is worth an error: when a read of more than what is wanted fails, what is wanted is read
 * by itself. No lock is held across a read.
 */

#include "sst/table_parts.h"

#include "base/alloc.h"
#include "base/err.h"

#include <assert.h>
#include <errno.h>

/* Of the right type, or NULL. (A corrupt index could point at the place of another part.) Takes the reference. */
static struct cache_item *of_type(struct cache_item *item, void (*type)(struct cache_item *))
{
    if (!item || item->free == type)
        return item;
    cache_item_unref(item);
    return NULL;
}

/* What the cache has at offset. WAL objects have no place in it. */
static struct cache_item *cache_find(struct table_store *ts, const struct sst_source *src, enum table_part part,
                                     uint64_t offset, void (*type)(struct cache_item *))
{
    struct cache_item *item;

    if (!ts->cache || src->is_wal)
        return NULL;
    item = of_type(block_cache_get(ts->cache, (struct cache_key){ .sst = src->sst->id, .offset = offset }), type);
    table_metrics_access(ts->metrics, part, item != NULL);
    return item;
}

/* Without counting as a look. A reference, or NULL. */
static struct cache_item *cache_peek(const struct table_store *ts, const struct sst_source *src, uint64_t offset)
{
    return ts->cache ? block_cache_peek(ts->cache, (struct cache_key){ .sst = src->sst->id, .offset = offset }) : NULL;
}

static bool is_cached(const struct table_store *ts, const struct sst_source *src, uint64_t offset)
{
    struct cache_item *item = cache_peek(ts, src, offset);

    cache_item_unref(item);
    return item != NULL;
}

/* ---- index and filter ---- */

/* The two, or one of them. What is there afterwards is in the cache as well. */
struct meta {
    struct table_index *index;
    struct table_filter *filter;
};

static void meta_fini(struct meta *m)
{
    table_index_unref(m->index);
    table_filter_unref(m->filter);
    *m = (struct meta){ 0 };
}

static int read_index(struct table_store *ts, const struct sst_source *src, struct meta *m)
{
    int rc;

    m->index = table_index_new();
    rc = m->index ? table_index_load(ts, src, m->index) : -ENOMEM;
    if (rc < 0)
        meta_fini(m);
    else
        table_part_keep(ts, src, src->sst->info.index_offset, &m->index->item, true);
    return rc;
}

static int read_filter(struct table_store *ts, const struct sst_source *src, struct meta *m)
{
    int rc;

    m->filter = table_filter_new();
    rc = m->filter ? table_filter_load(ts, src, m->filter) : -ENOMEM;
    if (rc < 0)
        meta_fini(m);
    else
        table_part_keep(ts, src, src->sst->info.filter_offset, &m->filter->item, true);
    return rc;
}

static int read_both(struct table_store *ts, const struct sst_source *src, struct meta *m)
{
    int rc;

    m->index = table_index_new();
    m->filter = table_filter_new();
    rc = m->index && m->filter ? table_meta_load(ts, src, m->index, m->filter) : -ENOMEM;
    if (rc < 0) {
        meta_fini(m);
        return rc;
    }
    table_part_keep(ts, src, src->sst->info.index_offset, &m->index->item, true);
    table_part_keep(ts, src, src->sst->info.filter_offset, &m->filter->item, true);
    return 0;
}

/* With a window, and when the other one is not there either, and nobody is reading it. */
static bool worth_both(struct table_store *ts, const struct sst_source *src, enum table_part wanted)
{
    const struct sst_info *info = &src->sst->info;
    uint64_t other = wanted == TABLE_PART_INDEX ? info->filter_offset : info->index_offset;

    return ts->window.max > 0 && table_meta_is_one(src) && !is_cached(ts, src, other) &&
           !flights_has(&ts->flights, src->sst->id, other);
}

static int read_meta(struct table_store *ts, const struct sst_source *src, enum table_part wanted, bool both,
                     struct meta *m)
{
    if (both && read_both(ts, src, m) == 0)
        return 0;
    return wanted == TABLE_PART_INDEX ? read_index(ts, src, m) : read_filter(ts, src, m);
}

/* The part, from an item that may be there or not, whose reference it takes. */
static bool take_item(struct cache_item *item, enum table_part wanted, struct meta *m)
{
    item = of_type(item, wanted == TABLE_PART_INDEX ? table_index_free : table_filter_free);
    if (item && wanted == TABLE_PART_INDEX)
        m->index = container_of(item, struct table_index, item);
    else if (item)
        m->filter = container_of(item, struct table_filter, item);
    return item != NULL;
}

/* A part that is not in the cache: m.index or m.filter, perhaps both. */
static int fetch_meta(struct table_store *ts, const struct sst_source *src, enum table_part wanted, struct meta *m)
{
    const struct sst_info *info = &src->sst->info;
    const uint64_t offsets[2] = { info->filter_offset, info->index_offset }; /* ascending */
    const size_t w = wanted == TABLE_PART_INDEX;
    struct flight *others[2] = { NULL, NULL }, *mine = NULL;
    bool both = !src->is_wal && worth_both(ts, src, wanted);
    int rc;

    if (src->is_wal)
        return read_meta(ts, src, wanted, false, m);
    rc = flights_join(&ts->flights, src->sst->id, both ? offsets : &offsets[w], both ? 2 : 1,
                      both ? others : &others[w], &mine);
    if (rc < 0)
        return rc;
    flight_leave(&ts->flights, others[!w]);
    if (others[w]) {
        flight_land(&ts->flights, mine);
        if (take_item(flight_wait(&ts->flights, others[w], offsets[w]), wanted, m))
            return 0;
        return read_meta(ts, src, wanted, false, m);
    }
    both = both && !others[!w];
    /* It may have landed between the caller's look into the cache and ours for flights. */
    if (!take_item(cache_peek(ts, src, offsets[w]), wanted, m))
        rc = read_meta(ts, src, wanted, both, m);
    if (rc == 0 && m->index && (w || both))
        flight_bring(mine, info->index_offset, &m->index->item);
    if (rc == 0 && m->filter && (!w || both))
        flight_bring(mine, info->filter_offset, &m->filter->item);
    flight_land(&ts->flights, mine);
    return rc;
}

int table_index_read(struct table_store *ts, const struct sst_source *src, struct table_index **out)
{
    struct cache_item *item =
        cache_find(ts, src, TABLE_PART_INDEX, src->sst->info.index_offset, table_index_free);
    struct meta m = { 0 };
    int rc = 0;

    if (item)
        m.index = container_of(item, struct table_index, item);
    else
        rc = fetch_meta(ts, src, TABLE_PART_INDEX, &m);
    if (rc < 0)
        return rc;
    *out = m.index;
    table_filter_unref(m.filter);
    return 0;
}

int table_filter_read(struct table_store *ts, const struct sst_source *src, struct table_filter **out)
{
    const struct sst_info *info = &src->sst->info;
    struct cache_item *item;
    struct meta m = { 0 };
    int rc = 0;

    if (info->filter_len == 0) {
        *out = NULL;
        return 0;
    }
    item = cache_find(ts, src, TABLE_PART_FILTER, info->filter_offset, table_filter_free);
    if (item)
        m.filter = container_of(item, struct table_filter, item);
    else
        rc = fetch_meta(ts, src, TABLE_PART_FILTER, &m);
    if (rc < 0)
        return rc;
    *out = m.filter;
    table_index_unref(m.index);
    return 0;
}

/* ---- blocks ---- */

/*
 * A fetch of blocks lo..lo+n-1, of which wanted..wanted+n_wanted-1 are what the caller asked for.
 * got has what is there of them, NULL for what is to be read; others, the flights of other threads.
 */
struct fetch {
    struct table_store *ts;
    const struct sst_source *src;
    const struct sst_index *x;
    bool fill;
    size_t wanted, n_wanted, lo, n;
    struct block **got;
    struct flight **others, *mine;
    size_t n_asked;    /* what the flights were asked about: */
    uint64_t *offsets; /* where it is, and ... */
    size_t *of;        /* which k each is of */
};

/* Stands in got for what another thread reads. */
static struct block elsewhere;

static bool is_wanted(const struct fetch *f, size_t i)
{
    return i >= f->wanted && i - f->wanted < f->n_wanted;
}

/* Whether block i is in the cache because somebody wanted it. */
static bool is_near(const struct fetch *f, size_t i)
{
    struct cache_item *item = of_type(cache_peek(f->ts, f->src, f->x->offsets[i]), table_block_free);
    bool near = item && !atomic_load_explicit(&container_of(item, struct block, item)->along, memory_order_relaxed);

    cache_item_unref(item);
    return near;
}

/*
 * Whether block i may be read along: it begins in the window, and nobody has it or is getting it. What takes half a
 * window by itself was not meant.
 */
static bool fits(const struct fetch *f, size_t i, uint64_t begin, uint64_t bytes)
{
    uint64_t offset = f->x->offsets[i];

    return offset >= begin && offset - begin < bytes && table_block_end(f->src, f->x, i) - offset <= bytes / 2 &&
           !is_cached(f->ts, f->src, offset) &&
           !flights_has(&f->ts->flights, f->src->sst->id, offset);
}

/*
 * Widen the fetch to what else is missing in the window around the wanted blocks. One stretch without holes: one
 * request. What is as large as a window by itself has no neighbours in it.
 */
static void widen(struct fetch *f)
{
    const struct sst_index *x = f->x;
    uint64_t begin = x->offsets[f->wanted], end = table_block_end(f->src, x, f->wanted + f->n_wanted - 1), bytes;
    size_t hi = f->wanted + f->n_wanted;
    bool near;

    if (f->ts->window.max == 0 || !f->fill || end - begin >= f->ts->window.max)
        return;
    near = (f->wanted > 0 && is_near(f, f->wanted - 1)) || (hi < x->n && is_near(f, hi));
    bytes = read_window_bytes(&f->ts->window, near);
    if (bytes == 0)
        return;
    begin &= ~(bytes - 1);
    while (f->lo > 0 && fits(f, f->lo - 1, begin, bytes))
        f->lo--;
    while (hi < x->n && fits(f, hi, begin, bytes))
        hi++;
    f->n = hi - f->lo;
}

static int fetch_init(struct fetch *f, struct block *const *have)
{
    f->got = mem_calloc(f->n, sizeof(struct block *));
    for (size_t k = 0; f->got && k < f->n_wanted; k++)
        f->got[f->wanted - f->lo + k] = have[k];
    f->others = mem_calloc(f->n, sizeof(struct flight *));
    f->offsets = mem_calloc(f->n, sizeof(*f->offsets));
    f->of = mem_calloc(f->n, sizeof(*f->of));
    return f->got && f->others && f->offsets && f->of ? 0 : -ENOMEM;
}

/* What came into the cache between the look there and the look for flights, when another one landed. */
static struct block *landed(const struct fetch *f, uint64_t offset)
{
    struct cache_item *item = of_type(cache_peek(f->ts, f->src, offset), table_block_free);

    return item ? container_of(item, struct block, item) : NULL;
}

/* Find out who reads what. */
static int fetch_join(struct fetch *f)
{
    int rc;

    for (size_t k = 0; k < f->n; k++) {
        if (f->got[k])
            continue;
        f->offsets[f->n_asked] = f->x->offsets[f->lo + k];
        f->of[f->n_asked++] = k;
    }
    rc = flights_join(&f->ts->flights, f->src->sst->id, f->offsets, f->n_asked, f->others, &f->mine);
    for (size_t a = 0; rc == 0 && a < f->n_asked; a++)
        f->got[f->of[a]] = f->others[a] ? &elsewhere : landed(f, f->offsets[a]);
    return rc;
}

/* What was read along says so, until somebody wants it. */
static void mark_along(struct fetch *f)
{
    uint32_t n = 0;

    for (size_t k = 0; k < f->n; k++) {
        if (is_wanted(f, f->lo + k) || !f->got[k] || f->got[k] == &elsewhere)
            continue;
        atomic_store_explicit(&f->got[k]->along, true, memory_order_relaxed);
        n++;
    }
    if (n > 0)
        read_window_note_along(&f->ts->window, n);
}

static int load_wanted(struct fetch *f)
{
    return table_blocks_load(f->ts, f->src, f->x, f->wanted, f->n_wanted, NULL, f->fill, f->got + (f->wanted - f->lo));
}

/* What falls to the caller's thread, and the news of it. */
static int fetch_mine(struct fetch *f)
{
    struct blocks_along along = { .wanted = f->wanted, .n_wanted = f->n_wanted, .left = f->ts->window.max };
    int rc;

    if (!f->mine)
        return 0;
    rc = table_blocks_load(f->ts, f->src, f->x, f->lo, f->n, &along, f->fill, f->got);
    if (rc == 0)
        mark_along(f);
    else if (f->n > f->n_wanted && rc != SHALE_ECANCELED)
        rc = load_wanted(f);
    for (size_t a = 0; a < f->n_asked; a++)
        if (!f->others[a] && f->got[f->of[a]])
            flight_bring(f->mine, f->offsets[a], &f->got[f->of[a]]->item);
    flight_land(&f->ts->flights, f->mine);
    return rc;
}

/* Somebody wants b: whether it was worth reading along is known now. */
static void note_wanted(struct table_store *ts, struct block *b)
{
    if (atomic_load_explicit(&b->along, memory_order_relaxed) &&
        atomic_exchange_explicit(&b->along, false, memory_order_relaxed))
        read_window_note_used(&ts->window);
}

/* What others bring of the wanted blocks. Some may be missing still. */
static void fetch_others(struct fetch *f)
{
    for (size_t a = 0; a < f->n_asked; a++) {
        size_t k = f->of[a];
        struct cache_item *item;

        if (!f->others[a])
            continue;
        f->got[k] = NULL;
        if (!is_wanted(f, f->lo + k)) {
            flight_leave(&f->ts->flights, f->others[a]);
            continue;
        }
        item = of_type(flight_wait(&f->ts->flights, f->others[a], f->offsets[a]), table_block_free);
        if (item) {
            f->got[k] = container_of(item, struct block, item);
            note_wanted(f->ts, f->got[k]);
        }
    }
}

/* Hands the wanted blocks to have, and drops the rest; after a failure, all but what was there. */
static void fetch_fini(struct fetch *f, int rc, struct block **have)
{
    for (size_t k = 0; f->got && k < f->n; k++) {
        if (is_wanted(f, f->lo + k) && (rc == 0 || have[f->lo + k - f->wanted]))
            have[f->lo + k - f->wanted] = f->got[k];
        else
            block_unref(f->got[k]);
    }
    mem_free(f->of);
    mem_free(f->offsets);
    mem_free(f->others);
    mem_free(f->got);
}

/*
 * Fill the NULLs of have. What another has failed to bring is read last, and by this thread alone.
 */
static int fetch_blocks(struct table_store *ts, const struct sst_source *src, const struct sst_index *x, size_t first,
                        size_t n, bool fill, struct block **have)
{
    struct fetch f = { .ts = ts, .src = src, .x = x, .fill = fill, .wanted = first, .n_wanted = n, .lo = first,
                       .n = n };
    int rc;

    if (src->is_wal)
        return table_blocks_load(ts, src, x, first, n, NULL, fill, have);
    widen(&f);
    rc = fetch_init(&f, have);
    if (rc == 0)
        rc = fetch_join(&f);
    if (rc == 0) {
        rc = fetch_mine(&f);
        fetch_others(&f);
    }
    if (rc == 0)
        rc = load_wanted(&f);
    fetch_fini(&f, rc, have);
    return rc;
}

int table_blocks_read(struct table_store *ts, const struct sst_source *src, const struct table_index *index,
                      size_t first, size_t n, bool fill, struct block **out)
{
    const struct sst_index *x = &index->x;
    size_t missing = 0;
    int rc;

    assert(n > 0 && first < x->n && n <= x->n - first);
    for (size_t i = 0; i < n; i++) {
        struct cache_item *item = cache_find(ts, src, TABLE_PART_BLOCK, x->offsets[first + i], table_block_free);

        out[i] = item ? container_of(item, struct block, item) : NULL;
        if (item)
            note_wanted(ts, out[i]);
        missing += !item;
    }
    if (missing == 0)
        return 0;
    rc = fetch_blocks(ts, src, x, first, n, fill, out);
    for (size_t i = 0; rc < 0 && i < n; i++) {
        block_unref(out[i]);
        out[i] = NULL;
    }
    return rc;
}
