/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SSTs and their visible ranges as manifests and compactions objects hold them; what only an info section needs is in
 * wire.c. Enum numbers and slots are those of SlateDB's schemas (storage format 5.3).
 */
#include "format/wire_sst.h"

#include "base/alloc.h"
#include "format/wire.h"

#include <errno.h>

enum { SST_ID, SST_INFO, SST_RANGE };
enum { RANGE_START, RANGE_END };
enum { BOUND_KEY, BOUND_TYPE };
enum { BOUND_UNBOUNDED = 1, BOUND_INCLUDED = 2, BOUND_EXCLUDED = 3 };

/* Binary search over a run relies on first keys, and SlateDB aborts where one is missing. */
static void check_keys(struct fb_reader *r, const struct sst_info *i)
{
    if (!i->has_first || i->first.len == 0 || (i->has_last && i->last.len == 0))
        fb_fail(r, SHALE_ECORRUPT, "an SST has no first key, or an empty one");
    else if (i->has_last && slice_cmp(slice_of_buf(&i->first), slice_of_buf(&i->last)) > 0)
        fb_fail(r, SHALE_ECORRUPT, "the first key of an SST lies behind its last");
}

/* A handle that failed half way is released here; the caller only ever gets a whole one. */
int wire_get_sst(struct fb_reader *r, const struct fb_table *t, unsigned version_slot, struct sst_handle **out)
{
    struct fb_table id = fb_table_req(r, t, SST_ID, "id of an SST");
    struct fb_table info = fb_table_req(r, t, SST_INFO, "info of an SST");
    uint16_t version = fb_u16(r, t, version_slot, 1);
    struct sst_handle *h;

    if (r->rc != 0)
        return r->rc;
    h = mem_zalloc(sizeof(*h));
    if (!h)
        return fb_nomem(r);
    atomic_init(&h->refs, 1);
    h->id = wire_get_ulid(r, &id);
    h->version = version;
    if (wire_get_info(r, &info, &h->info) == 0)
        check_keys(r, &h->info);
    if (version < 1 || version > SST_VERSION_MAX)
        fb_fail(r, SHALE_EVERSION, "unknown block version");
    if (r->rc == 0)
        *out = h;
    else
        sst_handle_unref(h);
    return r->rc;
}

static fb_ref put_bound(struct fb_builder *b, const struct key_bound *k)
{
    static const uint8_t types[] = {
        [KEY_UNBOUNDED] = BOUND_UNBOUNDED, [KEY_INCLUDED] = BOUND_INCLUDED, [KEY_EXCLUDED] = BOUND_EXCLUDED,
    };
    fb_ref key = k->kind == KEY_UNBOUNDED ? 0 : fb_put_bytes(b, slice_of_buf(&k->key));

    fb_begin(b);
    fb_add_ref(b, BOUND_KEY, key);
    fb_add_u8(b, BOUND_TYPE, types[k->kind], 0);
    return fb_end(b);
}

static fb_ref put_range(struct fb_builder *b, const struct sst_view *v)
{
    fb_ref start = put_bound(b, &v->start);
    fb_ref end = put_bound(b, &v->end);

    fb_begin(b);
    fb_add_ref(b, RANGE_END, end);
    fb_add_ref(b, RANGE_START, start);
    return fb_end(b);
}

fb_ref wire_put_sst(struct fb_builder *b, const struct sst_handle *h, const struct sst_view *range)
{
    fb_ref id = wire_put_ulid(b, h->id);
    fb_ref info = wire_put_info(b, &h->info);
    fb_ref visible = range && range->has_range ? put_range(b, range) : 0;

    fb_begin(b);
    fb_add_ref(b, SST_RANGE, visible);
    fb_add_ref(b, SST_INFO, info);
    fb_add_ref(b, SST_ID, id);
    fb_add_u16_always(b, WIRE_SST_SLOT_VERSION, h->version);
    return fb_end(b);
}

/* SlateDB aborts on every combination but these; an empty key is one that no row can have. */
static void get_bound(struct fb_reader *r, const struct fb_table *t, struct key_bound *out)
{
    uint8_t type = fb_u8(r, t, BOUND_TYPE, 0);
    struct shale_slice key;
    bool has_key = fb_bytes(r, t, BOUND_KEY, &key);

    if (r->rc != 0)
        return;
    if (type == BOUND_UNBOUNDED && !has_key)
        out->kind = KEY_UNBOUNDED;
    else if ((type == BOUND_INCLUDED || type == BOUND_EXCLUDED) && has_key && key.len > 0)
        out->kind = type == BOUND_INCLUDED ? KEY_INCLUDED : KEY_EXCLUDED;
    else
        fb_fail(r, SHALE_ECORRUPT, "impossible bound of a visible range");
    if (has_key && r->rc == 0 && buf_set(&out->key, key) < 0)
        fb_nomem(r);
}

/* Whether some key from start on can lie at or before the end bound. */
static bool reaches(struct shale_slice start, const struct key_bound *end)
{
    int c;

    if (end->kind == KEY_UNBOUNDED)
        return true;
    c = slice_cmp(start, slice_of_buf(&end->key));
    return end->kind == KEY_INCLUDED ? c <= 0 : c < 0;
}

static bool range_is_sane(const struct sst_view *v)
{
    const struct sst_info *i = &v->sst->info;
    struct shale_slice start = slice_of_buf(&v->start.key);

    if (v->start.kind == KEY_EXCLUDED || !reaches(slice_of_buf(&i->first), &v->end))
        return false;
    if (v->start.kind == KEY_UNBOUNDED)
        return true;
    return reaches(start, &v->end) && (!i->has_last || slice_cmp(start, slice_of_buf(&i->last)) <= 0);
}

int wire_get_range(struct fb_reader *r, const struct fb_table *t, struct sst_view *v)
{
    struct fb_table start = fb_table_req(r, t, RANGE_START, "start of a visible range");
    struct fb_table end = fb_table_req(r, t, RANGE_END, "end of a visible range");

    get_bound(r, &start, &v->start);
    get_bound(r, &end, &v->end);
    v->has_range = true;
    if (r->rc == 0 && !range_is_sane(v))
        fb_fail(r, SHALE_ECORRUPT, "a visible range is empty or misses its SST");
    return r->rc;
}
