/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A point read of one SST: view -> filter -> index -> block, and out at the first that lacks the key (R126, R143). It is
 * what an sst_iter over a range of one key does, without an iterator to make: this is the way of every get, for each SST
 * that might have the key.
 */

#include "sst/sst_lookup.h"

#include "base/buf.h"
#include "base/err.h"
#include "format/key_range.h"
#include "sst/block_window.h"
#include "sst/sst_section.h"

/* What is read in one go of more than two blocks that can hold the key. */
#define WINDOW_BYTES ((uint64_t)128 << 10)

/* One SST while it is asked. */
struct asked {
    struct sst_lookup *l;
    struct sst_source src;
    const struct table_index *index;
    sst_version_fn fn;
    void *arg;
    bool found;   /* fn was told a version */
    bool settled; /* fn wants no more, or there is another key behind */
};

void sst_lookup_init(struct sst_lookup *l, struct table_store *ts, struct shale_slice key, bool fill_cache)
{
    l->ts = ts;
    l->key = key;
    l->fill_cache = fill_cache;
    l->has_hash = l->has_rows = false;
}

void sst_lookup_fini(struct sst_lookup *l)
{
    if (l->has_rows)
        block_iter_fini(&l->rows);
    l->has_rows = false;
}

/* 1 when the filter leaves a chance, 0 or an error; 2 when there is none. Hashed once for all SSTs. */
static int ask_filter(struct sst_lookup *l, const struct sst_source *src)
{
    struct table_filter *f = NULL;
    int rc = table_filter_read(l->ts, src, &f);

    if (rc < 0 || !f)
        return rc < 0 ? rc : 2;
    if (!l->has_hash)
        l->hash = filter_hash(l->key);
    l->has_hash = true;
    rc = filter_may_contain(&f->f, l->hash);
    table_filter_unref(f);
    table_metrics_filter(l->ts->metrics, rc);
    return rc;
}

static int block_failed(const struct asked *a, size_t number, int rc)
{
    struct sst_part part = { .kind = "block", .number = number, .offset = a->index->x.offsets[number] };
    struct shale_buf name = SHALE_BUF_INIT;

    if (table_store_sst_name(a->l->ts, a->src.sst->id, &name) == 0) {
        part.object = (const char *)name.data;
        (void)part_err_add(rc, &part); /* returns rc */
    }
    shale_buf_fini(&name);
    return rc;
}

static int open_rows(struct sst_lookup *l, const struct block *b, int version)
{
    int rc = l->has_rows ? block_iter_reset(&l->rows, block_payload(b), version, ITER_ASC)
                         : block_iter_init(&l->rows, block_payload(b), version, ITER_ASC);

    l->has_rows = true;
    return rc == 0 ? block_iter_seek(&l->rows, l->key) : rc;
}

/* Tell what block number i has of the key. 0, what fn returned, or an error; a->settled when no other block matters. */
static int tell_block(struct asked *a, size_t i, const struct block *b)
{
    int rc = open_rows(a->l, b, a->src.sst->version);
    struct shale_row row;

    while (rc == 0) {
        rc = block_iter_next(&a->l->rows, &row);
        if (rc == SHALE_END)
            return 0;
        if (rc == 0 && !slice_eq(row.key, a->l->key)) {
            a->settled = true;
            return 0;
        }
        if (rc == 0) {
            a->found = true;
            rc = a->fn(a->arg, &row);
            if (rc != 0) {
                a->settled = true;
                return rc;
            }
        }
    }
    return block_failed(a, i, rc);
}

/*
 * Nearly always there is one block. A first row that equals its separator makes the block before a candidate, too, in
 * vain nearly always: so both are read at once. Versions may go on over many: these are read some at a time.
 */
static int tell_blocks(struct asked *a, size_t first, size_t last)
{
    struct block_window w = { .ts = a->l->ts, .src = a->src, .index = a->index, .fill_cache = a->l->fill_cache,
                              .bytes = WINDOW_BYTES };
    struct block *b, *two[2] = { NULL, NULL };
    int rc = 0;

    if (last - first < 2) {
        rc = table_blocks_read(a->l->ts, &a->src, a->index, first, last - first + 1, a->l->fill_cache, two);
        for (size_t i = first; rc == 0 && !a->settled && i <= last; i++)
            rc = tell_block(a, i, two[i - first]);
        block_unref(two[0]);
        block_unref(two[1]);
        return rc;
    }
    for (size_t i = first; rc == 0 && !a->settled && i <= last; i++) {
        rc = block_window_get(&w, i, first, last, ITER_ASC, &b);
        if (rc < 0)
            break;
        rc = tell_block(a, i, b);
        block_unref(b);
    }
    block_window_fini(&w);
    return rc;
}

int sst_lookup_in(struct sst_lookup *l, const struct sst_view *view, sst_version_fn fn, void *arg)
{
    struct asked a = { .l = l, .src = sst_source_compacted(view->sst), .fn = fn, .arg = arg };
    struct key_range point = key_range_point(l->key);
    struct table_index *index;
    size_t first, last;
    int rc, chance;

    if (!sst_view_may_have(view, l->key))
        return 0;
    chance = ask_filter(l, &a.src);
    if (chance <= 0)
        return chance;
    rc = table_index_read(l->ts, &a.src, &index);
    if (rc < 0)
        return rc;
    a.index = index;
    rc = sst_index_covering(&index->x, &point, &first, &last) ? tell_blocks(&a, first, last) : 0;
    table_index_unref(index);
    if (chance == 1 && rc == 0 && !a.found)
        table_metrics_false_positive(l->ts->metrics);
    return rc;
}
