/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts of rows and bytes, for inspection only: no read depends on them. Fields are added largest
 * first, as the builder asks, and absent ones are 0.
 */

#include "format/sst_info.h"

#include "base/alloc.h"
#include "format/wire.h"

#include <errno.h>

enum { STATS_PUTS, STATS_DELETES, STATS_MERGES, STATS_KEY_BYTES, STATS_VALUE_BYTES, STATS_BLOCKS };
enum { BLOCK_PUTS, BLOCK_DELETES, BLOCK_MERGES };

void sst_stats_fini(struct sst_stats *s)
{
    mem_free(s->blocks);
    *s = (struct sst_stats){ 0 };
}

static fb_ref put_block(struct fb_builder *b, const struct sst_block_stats *s)
{
    fb_begin(b);
    fb_add_u16(b, BLOCK_MERGES, s->merges, 0);
    fb_add_u16(b, BLOCK_DELETES, s->deletes, 0);
    fb_add_u16(b, BLOCK_PUTS, s->puts, 0);
    return fb_end(b);
}

/* More tables than SlateDB accepts in stats make them unreadable, so a longer list is left out: it is optional. */
static fb_ref put_blocks(struct fb_builder *b, const struct sst_stats *s)
{
    fb_ref *refs, out;

    if (s->n_blocks == 0 || s->n_blocks >= FB_MAX_TABLES_STATS)
        return 0;
    refs = wire_refs(b, s->n_blocks);
    if (!refs)
        return 0;
    for (size_t i = 0; i < s->n_blocks; i++)
        refs[i] = put_block(b, &s->blocks[i]);
    out = fb_put_refs(b, refs, s->n_blocks);
    mem_free(refs);
    return out;
}

int sst_stats_encode(const struct sst_stats *s, struct shale_buf *out)
{
    struct fb_builder b;
    fb_ref blocks;
    int rc;

    fb_builder_init(&b);
    blocks = put_blocks(&b, s);
    fb_begin(&b);
    fb_add_u64(&b, STATS_VALUE_BYTES, s->raw_value_bytes, 0);
    fb_add_u64(&b, STATS_KEY_BYTES, s->raw_key_bytes, 0);
    fb_add_u64(&b, STATS_MERGES, s->merges, 0);
    fb_add_u64(&b, STATS_DELETES, s->deletes, 0);
    fb_add_u64(&b, STATS_PUTS, s->puts, 0);
    fb_add_ref(&b, STATS_BLOCKS, blocks);
    rc = fb_finish(&b, fb_end(&b), out);
    fb_builder_fini(&b);
    return rc;
}

static void get_blocks(struct fb_reader *r, const struct fb_vector *v, struct sst_stats *s)
{
    s->blocks = mem_calloc(v->n, sizeof(*s->blocks));
    if (!s->blocks) {
        fb_nomem(r);
        return;
    }
    s->n_blocks = s->cap_blocks = v->n;
    for (uint32_t i = 0; i < v->n && r->rc == 0; i++) {
        struct fb_table t = fb_table_at(r, v, i);

        s->blocks[i] = (struct sst_block_stats){
            .puts = fb_u16(r, &t, BLOCK_PUTS, 0),
            .deletes = fb_u16(r, &t, BLOCK_DELETES, 0),
            .merges = fb_u16(r, &t, BLOCK_MERGES, 0),
        };
    }
}

int sst_stats_decode(struct shale_slice in, struct sst_stats *out)
{
    struct sst_stats s = { 0 };
    struct fb_reader r;
    struct fb_table root;
    struct fb_vector v;

    fb_reader_init(&r, in, "SST stats", FB_MAX_TABLES_STATS);
    root = fb_root(&r);
    s.puts = fb_u64(&r, &root, STATS_PUTS, 0);
    s.deletes = fb_u64(&r, &root, STATS_DELETES, 0);
    s.merges = fb_u64(&r, &root, STATS_MERGES, 0);
    s.raw_key_bytes = fb_u64(&r, &root, STATS_KEY_BYTES, 0);
    s.raw_value_bytes = fb_u64(&r, &root, STATS_VALUE_BYTES, 0);
    if (fb_vector(&r, &root, STATS_BLOCKS, 4, &v) && v.n > 0)
        get_blocks(&r, &v, &s);
    if (r.rc < 0)
        sst_stats_fini(&s);
    else
        *out = s;
    return r.rc;
}
