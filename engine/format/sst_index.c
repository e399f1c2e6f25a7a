/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index: where each data block begins, and a key that separates it from the block before (storage
 * format 2.5). For the last key p of a block and the first key f of the next, p <= separator <= f; the
 * first block has an empty one. In WAL objects the keys are sequence numbers. Readers borrow the keys
 * from the payload, which a table_index keeps.
 */

#include "format/sst_info.h"

#include "base/alloc.h"
#include "format/wire.h"

#include <errno.h>

enum { INDEX_BLOCKS };
enum { BLOCK_OFFSET, BLOCK_FIRST_KEY };

void sst_index_fini(struct sst_index *x)
{
    mem_free(x->offsets);
    mem_free(x->first_keys);
    mem_free(x->heads);
    *x = (struct sst_index){ 0 };
}

/* Without these rules a block would have a negative length, or a lookup by bisection would miss it. */
static void check_entry(struct fb_reader *r, const struct sst_index *x, size_t i, uint64_t data_end)
{
    if (i == 0 ? x->offsets[0] != 0 : x->offsets[i] <= x->offsets[i - 1])
        fb_fail(r, SHALE_ECORRUPT, "block offsets do not ascend from 0");
    else if (x->offsets[i] >= data_end)
        fb_fail(r, SHALE_ECORRUPT, "a block begins behind the data");
    else if (i > 0 && slice_cmp(x->first_keys[i - 1], x->first_keys[i]) > 0)
        fb_fail(r, SHALE_ECORRUPT, "first keys descend");
}

/* Bytes of key from skip on as a number in the order of keys; behind its end zeros. */
static uint64_t head_of(struct shale_slice key, size_t skip)
{
    uint8_t t[8] = { 0 };

    if (key.len >= skip + 8)
        return get_u64be(key.data + skip);
    if (key.len > skip)
        memcpy(t, key.data + skip, key.len - skip);
    return get_u64be(t);
}

/* The first separator is left out: mostly it is empty and would share nothing with the others. */
static void take_heads(struct sst_index *x)
{
    if (x->n > 1)
        x->skip = slice_common(x->first_keys[1], x->first_keys[x->n - 1]);
    for (size_t i = 1; i < x->n; i++)
        x->heads[i] = head_of(x->first_keys[i], x->skip);
}

int sst_index_decode(struct shale_slice in, uint64_t data_end, struct sst_index *out)
{
    struct sst_index x = { 0 };
    struct fb_reader r;
    struct fb_table root;
    struct fb_vector v;

    fb_reader_init(&r, in, "SST index", FB_MAX_TABLES);
    root = fb_root(&r);
    v = fb_tables_req(&r, &root, INDEX_BLOCKS, "block_meta");
    if (r.rc < 0)
        return r.rc;
    x.offsets = mem_calloc(v.n, sizeof(*x.offsets));
    x.first_keys = mem_calloc(v.n, sizeof(*x.first_keys));
    x.heads = mem_calloc(v.n, sizeof(*x.heads));
    if (!x.offsets || !x.first_keys || !x.heads)
        r.rc = -ENOMEM;
    for (uint32_t i = 0; i < v.n && r.rc == 0; i++) {
        struct fb_table t = fb_table_at(&r, &v, i);

        x.offsets[i] = fb_u64(&r, &t, BLOCK_OFFSET, 0);
        x.first_keys[i] = fb_bytes_req(&r, &t, BLOCK_FIRST_KEY, "first_key");
        if (r.rc == 0)
            check_entry(&r, &x, i, data_end);
    }
    x.n = v.n;
    if (r.rc < 0) {
        sst_index_fini(&x);
        return r.rc;
    }
    take_heads(&x);
    *out = x;
    return 0;
}

static bool is_below(const struct sst_index *x, size_t i, struct shale_slice key, bool or_equal)
{
    int c = slice_cmp(x->first_keys[i], key);

    return c < 0 || (or_equal && c == 0);
}

/* How what all separators but the first begin with compares with key: 0 when key begins with it, too. */
static int compare_shared(const struct sst_index *x, struct shale_slice key)
{
    struct shale_slice shared = slice_of(x->first_keys[1].data, x->skip);

    return slice_has_prefix(key, shared) ? 0 : slice_cmp(shared, key);
}

/* Where heads differ they decide; only equal ones need the keys. */
size_t sst_index_count_below(const struct sst_index *x, struct shale_slice key, bool or_equal)
{
    size_t lo = 1, hi = x->n;
    uint64_t head;
    int c;

    if (x->n == 0 || !is_below(x, 0, key, or_equal))
        return 0;
    c = x->n > 1 ? compare_shared(x, key) : 1;
    if (c != 0)
        return c > 0 ? 1 : x->n;
    head = head_of(key, x->skip);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (x->heads[mid] < head || (x->heads[mid] == head && is_below(x, mid, key, or_equal)))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void sst_index_builder_fini(struct sst_index_builder *b)
{
    mem_free(b->offsets);
    mem_free(b->key_ends);
    shale_buf_fini(&b->keys);
    *b = (struct sst_index_builder){ 0 };
}

int sst_index_builder_add(struct sst_index_builder *b, uint64_t offset, struct shale_slice first_key)
{
    if (vec_reserve(&b->offsets, &b->cap_offsets, b->n + 1, sizeof(*b->offsets)) < 0 ||
        vec_reserve(&b->key_ends, &b->cap_ends, b->n + 1, sizeof(*b->key_ends)) < 0 ||
        buf_append_slice(&b->keys, first_key) < 0)
        return -ENOMEM;
    b->offsets[b->n] = offset;
    b->key_ends[b->n] = b->keys.len;
    b->n++;
    return 0;
}

static fb_ref put_block(struct fb_builder *fb, const struct sst_index_builder *b, size_t i)
{
    size_t from = i ? b->key_ends[i - 1] : 0;
    size_t len = b->key_ends[i] - from;
    fb_ref key = fb_put_bytes(fb, len ? slice_of(b->keys.data + from, len) : slice_of(NULL, 0));

    fb_begin(fb);
    fb_add_u64(fb, BLOCK_OFFSET, b->offsets[i], 0);
    fb_add_ref(fb, BLOCK_FIRST_KEY, key);
    return fb_end(fb);
}

int sst_index_builder_finish(const struct sst_index_builder *b, struct shale_buf *out)
{
    struct fb_builder fb;
    fb_ref *refs, blocks;
    int rc;

    fb_builder_init(&fb);
    refs = wire_refs(&fb, b->n);
    for (size_t i = 0; i < b->n && fb.rc == 0; i++)
        refs[i] = put_block(&fb, b, i);
    blocks = refs ? fb_put_refs(&fb, refs, b->n) : 0;
    fb_begin(&fb);
    fb_add_ref(&fb, INDEX_BLOCKS, blocks);
    rc = fb_finish(&fb, fb_end(&fb), out);
    mem_free(refs);
    fb_builder_fini(&fb);
    return rc;
}
