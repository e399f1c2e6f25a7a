/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of keys with inclusive, exclusive and open bounds; no allocation, all bounds borrowed. */

#include "format/key_range.h"

#include "base/buf.h"
#include "format/row.h"

bool key_range_is_empty(const struct key_range *r)
{
    int c;

    if (r->from_kind == KEY_UNBOUNDED || r->to_kind == KEY_UNBOUNDED)
        return false;
    c = slice_cmp(r->from, r->to);
    return c > 0 || (c == 0 && !(r->from_kind == KEY_INCLUDED && r->to_kind == KEY_INCLUDED));
}

size_t key_range_common(const struct key_range *r)
{
    if (r->from_kind == KEY_UNBOUNDED || r->to_kind == KEY_UNBOUNDED)
        return 0;
    return row_key_common(r->from, r->to);
}

/* The narrower of two starts becomes the start of r. */
static void raise_start(struct key_range *r, enum key_bound_kind kind, struct shale_slice key)
{
    int c;

    if (kind == KEY_UNBOUNDED)
        return;
    c = r->from_kind == KEY_UNBOUNDED ? 1 : slice_cmp(key, r->from);
    if (c > 0 || (c == 0 && kind == KEY_EXCLUDED)) {
        r->from_kind = kind;
        r->from = key;
    }
}

/* Of two equal bounds the exclusive one is the narrower. */
static void lower_end(struct key_range *r, enum key_bound_kind kind, struct shale_slice key)
{
    int c;

    if (kind == KEY_UNBOUNDED)
        return;
    c = r->to_kind == KEY_UNBOUNDED ? -1 : slice_cmp(key, r->to);
    if (c < 0 || (c == 0 && kind == KEY_EXCLUDED)) {
        r->to_kind = kind;
        r->to = key;
    }
}

struct key_range key_range_intersect(const struct key_range *a, const struct key_range *b)
{
    struct key_range r = *a;

    raise_start(&r, b->from_kind, b->from);
    lower_end(&r, b->to_kind, b->to);
    return r;
}

struct key_range sst_view_range(const struct sst_view *v)
{
    const struct sst_info *info = &v->sst->info;
    struct key_range r = { 0 };

    /* The first entry of a WAL object is a sequence number, and its keys are in no order. */
    if (info->type == SST_COMPACTED) {
        if (info->has_first)
            raise_start(&r, KEY_INCLUDED, slice_of_buf(&info->first));
        if (info->has_last)
            lower_end(&r, KEY_INCLUDED, slice_of_buf(&info->last));
    }
    if (v->has_range) {
        raise_start(&r, v->start.kind, slice_of_buf(&v->start.key));
        lower_end(&r, v->end.kind, slice_of_buf(&v->end.key));
    }
    return r;
}

bool sst_view_may_have(const struct sst_view *v, struct shale_slice key)
{
    const struct sst_info *info = &v->sst->info;

    if (v->has_range) {
        struct key_range r = sst_view_range(v);

        return key_in_range(&r, key);
    }
    if (info->type != SST_COMPACTED)
        return true;
    return !(info->has_first && slice_cmp(key, slice_of_buf(&info->first)) < 0) &&
           !(info->has_last && slice_cmp(key, slice_of_buf(&info->last)) > 0);
}

/*
 * The successor of a prefix: trailing 0xff bytes go, the last other byte is incremented. A prefix of
 * nothing but 0xff has no successor, and the range no end (R151).
 */
int key_range_prefix(struct shale_slice prefix, struct shale_buf *end, struct key_range *out)
{
    struct key_range r = { 0 };
    size_t n = prefix.len;
    int rc;

    if (prefix.len > 0) {
        r.from_kind = KEY_INCLUDED;
        r.from = prefix;
    }
    while (n > 0 && prefix.data[n - 1] == 0xff)
        n--;
    if (n > 0) {
        rc = buf_set(end, slice_of(prefix.data, n));
        if (rc < 0)
            return rc;
        end->data[n - 1]++;
        r.to_kind = KEY_EXCLUDED;
        r.to = slice_of_buf(end);
    }
    *out = r;
    return 0;
}

/*
 * A separator equal to a key says that versions of it may begin in the block before, so an included start begins there;
 * an excluded one wants none of them.
 */
bool sst_index_covering(const struct sst_index *x, const struct key_range *r, size_t *first, size_t *last)
{
    size_t begin = 0, end = x->n;

    if (r->from_kind != KEY_UNBOUNDED)
        begin = sst_index_count_below(x, r->from, r->from_kind == KEY_EXCLUDED);
    if (r->to_kind != KEY_UNBOUNDED)
        end = sst_index_count_below(x, r->to, r->to_kind == KEY_INCLUDED);
    *first = begin ? begin - 1 : 0;
    *last = end ? end - 1 : 0;
    return end > 0 && *first <= *last;
}
