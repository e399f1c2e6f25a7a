/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-ahead for one iterator: neighbouring blocks are asked for together, in the direction of
 * travel, as many as fit the byte budget, which counts what compressed blocks become. Blocks behind the current window are let go when the
 * next is loaded; those the iterator still walks have a reference of their own.
 */

#include "sst/block_window.h"

#include "base/alloc.h"

#include <assert.h>
#include <errno.h>

/* What is read in one go before it is known how far the blocks expand: some do 200 times. */
#define FIRST_BYTES (16u << 10)

static void forget(struct block_window *w)
{
    for (size_t i = 0; i < w->n; i++)
        block_unref(w->blocks[i]);
    w->n = 0;
}

void block_window_fini(struct block_window *w)
{
    forget(w);
    mem_free(w->blocks);
    w->blocks = NULL;
    w->cap = 0;
}

/*
 * As stored, compressed. The last block ends where the filter would begin (storage format 2.1).
 * Offsets ascend strictly (sst_index_decode), so no length is negative or 0.
 */
static uint64_t stored_len(const struct block_window *w, size_t i)
{
    const struct sst_index *x = &w->index->x;

    return (i + 1 < x->n ? x->offsets[i + 1] : w->src.sst->info.filter_offset) - x->offsets[i];
}

/* How many stored bytes to read, so that w->bytes holds for them and twice that for what they become. */
static uint64_t budget(const struct block_window *w)
{
    uint64_t stored = w->bytes;

    if (w->src.sst->info.codec == SHALE_CODEC_NONE)
        return stored;
    if (w->expansion > 2)
        stored = w->bytes / w->expansion * 2;
    return w->expansion == 0 && stored > FIRST_BYTES ? FIRST_BYTES : stored;
}

/*
 * How many blocks from i on, in the given direction and not past end, to read. At least one, whatever its size; end
 * itself may be taken.
 */
static size_t count_blocks(const struct block_window *w, size_t i, size_t end, enum iter_order order)
{
    uint64_t sum = stored_len(w, i), max = budget(w);
    size_t n = 1;

    while (i != end) {
        i = order == ITER_ASC ? i + 1 : i - 1;
        sum += stored_len(w, i);
        if (sum > max)
            break;
        n++;
    }
    return n;
}

/* Rounded up, and at least 1. */
static void note_expansion(struct block_window *w)
{
    uint64_t stored = 0, decoded = 0;

    for (size_t k = 0; k < w->n; k++) {
        stored += stored_len(w, w->first + k);
        decoded += w->blocks[k]->len;
    }
    w->expansion = stored > 0 && decoded > stored ? (decoded + stored - 1) / stored : 1;
}

/* w->n is 0 while reading, so that after a failure the window holds nothing. */
static int load(struct block_window *w, size_t i, size_t lo, size_t hi, enum iter_order order)
{
    size_t n = count_blocks(w, i, order == ITER_ASC ? hi : lo, order);
    size_t first = order == ITER_ASC ? i : i - (n - 1);
    int rc;

    forget(w);
    rc = vec_reserve(&w->blocks, &w->cap, n, sizeof(struct block *));
    if (rc == 0)
        rc = table_blocks_read(w->ts, &w->src, w->index, first, n, w->fill_cache, w->blocks);
    if (rc < 0)
        return rc;
    w->first = first;
    w->n = n;
    note_expansion(w);
    return 0;
}

int block_window_get(struct block_window *w, size_t i, size_t lo, size_t hi, enum iter_order order,
                     struct block **out)
{
    struct block *b;

    assert(lo <= i && i <= hi);
    if (i < w->first || i - w->first >= w->n) {
        int rc = load(w, i, lo, hi, order);

        if (rc < 0)
            return rc;
    }
    b = w->blocks[i - w->first];
    (void)cache_item_ref(&b->item); /* returns its argument */
    *out = b;
    return 0;
}
