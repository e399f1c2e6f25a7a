/* SPDX-License-Identifier: Apache-2.0 */
#include "db/conflict.h"

#include <assert.h>
#include <errno.h>

/* A part is closed once it has so many keys and a quarter of all: so parts are few, and old keys go in time. */
#define PART_KEYS_MIN 1024

/* Keys as tombstones of the commit's sequence number. */
struct log_part {
    struct list node;
    struct memtable *keys;
    size_t n_keys;
    uint64_t last_seq;
};

void conflict_log_init(struct conflict_log *l)
{
    list_init(&l->parts);
    l->n_keys = 0;
}

static void drop_part(struct conflict_log *l, struct log_part *p)
{
    list_remove(&p->node);
    l->n_keys -= p->n_keys;
    memtable_unref(p->keys);
    mem_free(p);
}

void conflict_log_clear(struct conflict_log *l)
{
    list_for_each_safe(p, next, &l->parts)
        drop_part(l, list_entry(p, struct log_part, node));
}

void conflict_log_trim(struct conflict_log *l, uint64_t started)
{
    list_for_each_safe(p, next, &l->parts) {
        struct log_part *part = list_entry(p, struct log_part, node);

        if (part->last_seq > started)
            break;
        drop_part(l, part);
    }
}

/* The part that the next keys go to. NULL: out of memory. */
static struct log_part *part_for_more(struct conflict_log *l)
{
    struct log_part *p = list_empty(&l->parts) ? NULL : list_entry(l->parts.prev, struct log_part, node);
    uint64_t last_seq = p ? p->last_seq : 0;

    if (p && (p->n_keys < PART_KEYS_MIN || p->n_keys < l->n_keys / 4))
        return p;
    p = mem_zalloc(sizeof(*p));
    if (!p)
        return NULL;
    if (memtable_new(&p->keys) < 0) {
        mem_free(p);
        return NULL;
    }
    p->last_seq = last_seq; /* should the commit fail after all, so that it hides none of the older ones */
    list_append(&l->parts, &p->node);
    return p;
}

int conflict_log_reserve(struct conflict_log *l, const struct shale_row *rows, size_t n)
{
    struct log_part *p = part_for_more(l);
    struct shale_row *keys;
    int rc;

    if (!p)
        return -ENOMEM;
    keys = mem_calloc(n, sizeof(*keys));
    if (!keys)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        keys[i].key = rows[i].key;
    rc = memtable_reserve(p->keys, keys, n);
    mem_free(keys);
    return rc;
}

void conflict_log_add(struct conflict_log *l, struct shale_slice key, uint64_t seq)
{
    struct log_part *p = list_entry(l->parts.prev, struct log_part, node); /* reserving has made sure of it */
    const struct shale_row row = { .key = key, .seq = seq, .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS,
                                   .kind = SHALE_TOMBSTONE };
    int rc = memtable_insert(p->keys, &row, NULL);

    assert(rc == 0 || rc == -EEXIST);
    p->last_seq = seq;
    if (rc == 0) {
        p->n_keys++;
        l->n_keys++;
    }
}

bool conflict_log_has(const struct conflict_log *l, struct shale_slice key, uint64_t started)
{
    for (struct list *p = l->parts.prev; p != &l->parts; p = p->prev) {
        const struct log_part *part = list_entry(p, struct log_part, node);
        const struct shale_row *row;

        if (part->last_seq <= started)
            break; /* and so are those before */
        row = memtable_find(part->keys, key, UINT64_MAX);
        if (row && row->seq > started)
            return true;
    }
    return false;
}

int conflict_log_has_range(const struct conflict_log *l, const struct key_range *range, uint64_t started)
{
    int found = 0;

    if (key_range_is_empty(range))
        return 0;
    for (struct list *p = l->parts.prev; p != &l->parts && found == 0; p = p->prev) {
        const struct log_part *part = list_entry(p, struct log_part, node);
        struct shale_row row;
        struct iter *it;
        int rc;

        if (part->last_seq <= started)
            break;
        rc = memtable_iter_new(part->keys, range, ITER_ASC, &it);
        if (rc < 0)
            return rc;
        while (!found && (rc = iter_next(it, &row)) == 0)
            found = row.seq > started;
        iter_close(it);
        if (rc < 0)
            return rc;
    }
    return found;
}
