/* SPDX-License-Identifier: Apache-2.0 */
#include "db/txn.h"

#include <errno.h>

static void stretch_fini(struct txn_stretch *t)
{
    shale_buf_fini(&t->from);
    shale_buf_fini(&t->to);
}

/* Begin a stretch at a bound; it holds nothing yet. */
static int begin(struct txn_scan *s, enum key_bound_kind kind, struct shale_slice key)
{
    struct txn_stretch t = { 0 };

    if (vec_reserve(&s->stretches, &s->cap, s->n + 1, sizeof(s->stretches[0])) < 0 ||
        buf_set(s->descending ? &t.to : &t.from, key) < 0)
        return -ENOMEM;
    t.range.from_kind = s->descending ? KEY_UNBOUNDED : kind;
    t.range.to_kind = s->descending ? kind : KEY_UNBOUNDED;
    t.range.from = slice_of_buf(&t.from);
    t.range.to = slice_of_buf(&t.to);
    s->stretches[s->n++] = t;
    return 0;
}

/* The current stretch reaches to a bound. */
static int extend(struct txn_scan *s, enum key_bound_kind kind, struct shale_slice key)
{
    struct txn_stretch *t = &s->stretches[s->n - 1];
    struct shale_buf *b = s->descending ? &t->from : &t->to;

    if (buf_set(b, key) < 0)
        return -ENOMEM;
    if (s->descending) {
        t->range.from_kind = kind;
        t->range.from = slice_of_buf(b);
    } else {
        t->range.to_kind = kind;
        t->range.to = slice_of_buf(b);
    }
    t->is_read = true;
    return 0;
}

int txn_scan_new(const struct key_range *range, bool descending, struct txn_scan **out)
{
    struct txn_scan *s = mem_zalloc(sizeof(*s));
    int rc;

    if (!s)
        return -ENOMEM;
    list_init(&s->node);
    s->refs = 1;
    s->descending = descending;
    s->end_kind = descending ? range->from_kind : range->to_kind;
    rc = buf_set(&s->end, descending ? range->from : range->to);
    if (rc == 0)
        rc = descending ? begin(s, range->to_kind, range->to) : begin(s, range->from_kind, range->from);
    if (rc < 0) {
        txn_scan_unref(s);
        return rc;
    }
    *out = s;
    return 0;
}

struct txn_scan *txn_scan_ref(struct txn_scan *s)
{
    s->refs++;
    return s;
}

void txn_scan_unref(struct txn_scan *s)
{
    if (!s || --s->refs > 0)
        return;
    for (size_t i = 0; i < s->n; i++)
        stretch_fini(&s->stretches[i]);
    mem_free(s->stretches);
    shale_buf_fini(&s->end);
    mem_free(s);
}

int txn_scan_note_row(struct txn_scan *s, struct shale_slice key)
{
    return extend(s, KEY_INCLUDED, key);
}

int txn_scan_note_end(struct txn_scan *s)
{
    return extend(s, s->end_kind, slice_of_buf(&s->end));
}

int txn_scan_note_seek(struct txn_scan *s, struct shale_slice key)
{
    return begin(s, KEY_INCLUDED, key);
}
