/* SPDX-License-Identifier: Apache-2.0 */
#include "db/key_set.h"

#include "base/alloc.h"

#include <assert.h>
#include <errno.h>

/* Notes that are gathered before they are settled, so that keys noted again and again do not pile up. */
#define UNSETTLED_MIN 64

struct key_note {
    size_t at;
    uint32_t len;
    bool removed;
};

void key_set_fini(struct key_set *s)
{
    shale_buf_fini(&s->bytes);
    mem_free(s->notes);
    *s = (struct key_set){ 0 };
}

static struct shale_slice note_key(const struct key_set *s, const struct key_note *n)
{
    return slice_of(s->bytes.data + n->at, n->len);
}

struct shale_slice key_set_at(const struct key_set *s, size_t i)
{
    assert(s->n == s->n_settled && i < s->n);
    return note_key(s, &s->notes[i]);
}

/* Of equal keys the earlier note first; later ones have their bytes further back. */
static int note_order(const void *a, const void *b, void *arg)
{
    const struct key_note *x = a, *y = b;
    int c = slice_cmp(note_key(arg, x), note_key(arg, y));

    return c ? c : (x->at > y->at) - (x->at < y->at);
}

int key_set_settle(struct key_set *s)
{
    struct shale_buf bytes = SHALE_BUF_INIT;
    size_t n = 0;

    if (s->n == s->n_settled)
        return 0;
    if (shale_buf_reserve(&bytes, s->bytes.len) < 0)
        return -ENOMEM;
    qsort_r(s->notes, s->n, sizeof(s->notes[0]), note_order, s);
    for (size_t i = 0; i < s->n; i++) {
        struct key_note note = s->notes[i];
        struct shale_slice key = note_key(s, &note);

        if (i + 1 < s->n && slice_eq(key, note_key(s, &s->notes[i + 1])))
            continue; /* the last note counts */
        if (note.removed)
            continue;
        note.at = bytes.len;
        (void)buf_append_slice(&bytes, key); /* there is room */
        s->notes[n++] = note;
    }
    shale_buf_fini(&s->bytes);
    s->bytes = bytes;
    s->n = s->n_settled = n;
    return 0;
}

static int add_note(struct key_set *s, struct shale_slice key, bool removed)
{
    struct key_note note = { .at = s->bytes.len, .len = (uint32_t)key.len, .removed = removed };

    if (vec_reserve(&s->notes, &s->cap, s->n + 1, sizeof(s->notes[0])) < 0 || buf_append_slice(&s->bytes, key) < 0)
        return -ENOMEM;
    s->notes[s->n++] = note;
    if (s->n - s->n_settled >= UNSETTLED_MIN && s->n - s->n_settled > s->n_settled)
        (void)key_set_settle(s); /* without memory it is done later */
    return 0;
}

int key_set_add(struct key_set *s, struct shale_slice key)
{
    return add_note(s, key, false);
}

int key_set_remove(struct key_set *s, struct shale_slice key)
{
    return add_note(s, key, true);
}

bool key_set_has(const struct key_set *s, struct shale_slice key)
{
    size_t lo = 0, hi = s->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = slice_cmp(key_set_at(s, mid), key);

        if (c == 0)
            return true;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}
