/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_KEY_RANGE_H
#define FORMAT_KEY_RANGE_H

#include "base/slice.h"
#include "format/iter.h"
#include "format/manifest_codec.h"

/*
 * A range of keys with any bounds. The slices are borrowed. All zero is every key.
 * Bounds may be crossed or equal: such a range is empty, which is no error.
 */
struct key_range {
    enum key_bound_kind from_kind, to_kind;
    struct shale_slice from, to;
};

/* Exactly one key. */
static inline struct key_range key_range_point(struct shale_slice key)
{
    return (struct key_range){ .from_kind = KEY_INCLUDED, .to_kind = KEY_INCLUDED, .from = key, .to = key };
}

static inline bool key_range_is_point(const struct key_range *r)
{
    return r->from_kind == KEY_INCLUDED && r->to_kind == KEY_INCLUDED && slice_eq(r->from, r->to);
}

/* Whether key lies before the start / behind the end. */
static inline bool key_before_range(const struct key_range *r, struct shale_slice key)
{
    int c;

    if (r->from_kind == KEY_UNBOUNDED)
        return false;
    c = slice_cmp(key, r->from);
    return c < 0 || (c == 0 && r->from_kind == KEY_EXCLUDED);
}

static inline bool key_after_range(const struct key_range *r, struct shale_slice key)
{
    int c;

    if (r->to_kind == KEY_UNBOUNDED)
        return false;
    c = slice_cmp(key, r->to);
    return c > 0 || (c == 0 && r->to_kind == KEY_EXCLUDED);
}

static inline bool key_in_range(const struct key_range *r, struct shale_slice key)
{
    return !key_before_range(r, key) && !key_after_range(r, key);
}

/* True when no key can lie in it (bounds crossed, or equal and not both included). */
bool key_range_is_empty(const struct key_range *r);
/* How many leading bytes are the same in all its keys, as far as the bounds tell. */
size_t key_range_common(const struct key_range *r);
/* The keys that lie in both; the result borrows from both. */
struct key_range key_range_intersect(const struct key_range *a, const struct key_range *b);
/* The visible range of a view, intersected with the first and last key of its SST where known. Borrows from it. */
struct key_range sst_view_range(const struct sst_view *v);
/* Whether key lies in it. */
bool sst_view_may_have(const struct sst_view *v, struct shale_slice key);
/*
 * Which blocks of an SST can hold keys of the range (storage format section 2.5): *first to *last. False when there
 * are none.
 */
bool sst_index_covering(const struct sst_index *x, const struct key_range *r, size_t *first, size_t *last);
/*
 * The keys that begin with prefix: from prefix, to its successor, which end holds (R151); borrows both.
 * 0 or -ENOMEM.
 */
int key_range_prefix(struct shale_slice prefix, struct shale_buf *end, struct key_range *out);

#endif
