/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memtable: rows in an arena, found through a tree of their keys (row_tree.h), for one writer and any number of
 * readers without a lock. The tree leads to the newest version of a key, from which the older ones hang:
 *   leaf   ... [a] [b] [c] ...
 *               |   |   |
 *              @7  @9  @1
 *                   |
 *                  @2
 * A version is filled in first and then linked by a release store; readers load links with acquire, so whoever reaches
 * it sees all of it. Nothing is ever unlinked or freed before the table itself, hence no reader needs protection from
 * the writer. Readers that came before an insertion may or may not meet its row; they filter by sequence number (R133).
 */

#include "mem/memtable.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "mem/row_tree.h"

#include <assert.h>
#include <errno.h>

#define BLOCK_MIN ((size_t)4 << 10)
#define BLOCK_MAX ((size_t)1 << 20)
/* A row larger than this has a block of its own, so that little of the current block is ever left unused. */
#define OVERSIZE (BLOCK_MAX / 4)

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data */
    uint8_t data[];
};

struct memtable {
    _Atomic int refs; /* relaxed to add, acq_rel to drop */
    /* Written by the inserter only, read by anybody (relaxed). */
    _Atomic size_t n_rows;
    _Atomic uint64_t row_bytes, alloc_bytes, first_seq, last_seq;
    _Atomic int64_t max_create_ts;

    /* Of the inserter alone. */
    struct arena_block *blocks; /* all but the spare ones */
    uint8_t *pos, *end;         /* what is left of the current block */
    size_t block_size;          /* of the next one */
    struct arena_block *spare;  /* reserved for oversize rows */

    struct row_tree keys;
};

static void blocks_free(struct arena_block *b)
{
    while (b) {
        struct arena_block *next = b->next;

        mem_free(b);
        b = next;
    }
}

/* Of at least total bytes, its header included. */
static struct arena_block *block_new(struct memtable *m, size_t total)
{
    struct arena_block *b = mem_alloc(total);

    if (!b)
        return NULL;
    b->size = total - sizeof(*b);
    atomic_store_explicit(&m->alloc_bytes, atomic_load_explicit(&m->alloc_bytes, memory_order_relaxed) + total,
                          memory_order_relaxed);
    return b;
}

/*
 * Make the current block one with room for at least n bytes.
 * What is left of the old block is given up: at most OVERSIZE bytes of a block.
 */
static int arena_grow(struct memtable *m, size_t n)
{
    size_t total = size_add(sizeof(struct arena_block), n);
    struct arena_block *b = block_new(m, total > m->block_size ? total : m->block_size);

    if (!b)
        return -ENOMEM;
    b->next = m->blocks;
    m->blocks = b;
    m->pos = b->data;
    m->end = b->data + b->size;
    if (m->block_size < BLOCK_MAX)
        m->block_size *= 2;
    return 0;
}

/*
 * A block for one row: a reserved one that is large enough, else a new one.
 * Goes to the front of the list of blocks without becoming current: the current one may still
 * have room.
 */
static uint8_t *arena_own_block(struct memtable *m, size_t n)
{
    struct arena_block **at = &m->spare;
    struct arena_block *b;

    while (*at && (*at)->size < n)
        at = &(*at)->next;
    b = *at;
    if (b)
        *at = b->next;
    else
        b = block_new(m, size_add(sizeof(*b), n));
    if (!b)
        return NULL;
    b->next = m->blocks;
    m->blocks = b;
    return b->data;
}

static uint8_t *arena_take(struct memtable *m, size_t n)
{
    uint8_t *p;

    if (n > OVERSIZE)
        return arena_own_block(m, n);
    if ((size_t)(m->end - m->pos) < n && arena_grow(m, n) < 0)
        return NULL;
    p = m->pos;
    m->pos += n;
    return p;
}

static size_t version_size(const struct shale_row *row)
{
    size_t n = size_add(size_add(row->key.len, row->value.len), sizeof(struct version));

    return size_add(n, 7) & ~(size_t)7;
}

/* A copy of row, with its bytes behind it; not linked yet. */
static struct version *version_new(struct memtable *m, const struct shale_row *row)
{
    struct version *v = (struct version *)(void *)arena_take(m, version_size(row));
    uint8_t *bytes;

    if (!v)
        return NULL;
    bytes = (uint8_t *)(v + 1);
    v->row = *row;
    v->row.key.data = bytes;
    v->row.value.data = bytes + row->key.len;
    if (row->key.len)
        memcpy(bytes, row->key.data, row->key.len);
    if (row->value.len)
        memcpy(bytes + row->key.len, row->value.data, row->value.len);
    return v;
}

static struct version *version_older(const struct version *v)
{
    return atomic_load_explicit(&v->older, memory_order_acquire);
}

/*
 * Hang older, which may be NULL, below v, which nobody sees yet. Jumps are those of a skew-binary list: with them
 * the way to any version takes a logarithmic number of steps, however often a key was written.
 */
static void version_set_older(struct version *v, struct version *older)
{
    atomic_init(&v->older, older);
    v->jump = v;
    v->depth = 0;
    if (!older)
        return;
    v->depth = older->depth + 1;
    v->jump = older;
    if (older->depth - older->jump->depth == older->jump->depth - older->jump->jump->depth)
        v->jump = older->jump->jump;
}

/*
 * The newest of v and the older ones with seq <= max_seq, or NULL. A jump that leads to a version still too new passes
 * over such only, even when one came in between later.
 */
static struct version *version_visible(struct version *v, uint64_t max_seq)
{
    while (v && v->row.seq > max_seq)
        v = v->jump != v && v->jump->row.seq > max_seq ? v->jump : version_older(v);
    return v;
}

int memtable_new(struct memtable **out)
{
    struct memtable *m = mem_zalloc(sizeof(*m));

    if (!m)
        return -ENOMEM;
    atomic_init(&m->refs, 1);
    atomic_init(&m->alloc_bytes, sizeof(*m));
    atomic_init(&m->max_create_ts, SHALE_NO_TS);
    m->block_size = BLOCK_MIN;
    row_tree_init(&m->keys);
    *out = m;
    return 0;
}

struct memtable *memtable_ref(struct memtable *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void memtable_unref(struct memtable *m)
{
    int left;

    if (!m)
        return;
    left = atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) - 1;
    assert(left >= 0);
    if (left > 0)
        return;
    row_tree_fini(&m->keys);
    blocks_free(m->blocks);
    blocks_free(m->spare);
    mem_free(m);
}

/* There is one writer, so no read-modify-write is needed. */
#define STAT_GET(m, f) atomic_load_explicit(&(m)->f, memory_order_relaxed)
#define STAT_SET(m, f, v) atomic_store_explicit(&(m)->f, (v), memory_order_relaxed)

/*
 * Plain loads and stores suffice with one writer. Readers on other threads get values that may be
 * a row apart from each other.
 */
static void count_row(struct memtable *m, const struct shale_row *row)
{
    size_t n = STAT_GET(m, n_rows);

    if (n == 0 || row->seq < STAT_GET(m, first_seq))
        STAT_SET(m, first_seq, row->seq);
    if (row->seq > STAT_GET(m, last_seq))
        STAT_SET(m, last_seq, row->seq);
    if (row->create_ts > STAT_GET(m, max_create_ts))
        STAT_SET(m, max_create_ts, row->create_ts);
    STAT_SET(m, row_bytes, STAT_GET(m, row_bytes) + row_size_estimate(row));
    STAT_SET(m, n_rows, n + 1);
}

/* The version that row goes right in front of, among those of its key; *newer is the one before it, or NULL. */
static struct version *version_place(struct version *newest, uint64_t seq, struct version **newer)
{
    struct version *v = newest;

    *newer = NULL;
    while (v && v->row.seq > seq) {
        *newer = v;
        v = version_older(v);
    }
    return v;
}

/* Rows of a key nearly always come in the order of their sequence numbers: in front. */
static int insert_version(struct memtable *m, const struct tree_place *p, const struct shale_row *row,
                          struct version **out)
{
    struct version *newest = atomic_load_explicit(p->found, memory_order_relaxed), *newer;
    struct version *older = version_place(newest, row->seq, &newer), *v;

    if (older && older->row.seq == row->seq)
        return -EEXIST;
    v = version_new(m, row);
    if (!v)
        return -ENOMEM;
    version_set_older(v, older);
    if (newer)
        atomic_store_explicit(&newer->older, v, memory_order_release);
    else
        atomic_store_explicit(p->found, v, memory_order_release);
    *out = v;
    return 0;
}

static int insert_key(struct memtable *m, const struct tree_place *p, const struct shale_row *row, struct version **out)
{
    int rc = row_tree_reserve_place(&m->keys, p);
    struct version *v = rc == 0 ? version_new(m, row) : NULL;

    if (!v)
        return -ENOMEM;
    version_set_older(v, NULL);
    row_tree_insert(&m->keys, p, v);
    *out = v;
    return 0;
}

int memtable_insert(struct memtable *m, const struct shale_row *row, const struct shale_row **stored)
{
    struct version *v = NULL;
    struct tree_place p;
    int rc;

    assert(row->key.len >= 1 && row->key.len <= SHALE_KEY_MAX);
    row_tree_place(&m->keys, row->key, &p);
    rc = p.found ? insert_version(m, &p, row, &v) : insert_key(m, &p, row, &v);
    if (rc < 0)
        return rc;
    count_row(m, &v->row);
    if (stored)
        *stored = &v->row;
    return 0;
}

/* In place, which only replay may do: it has no readers yet. The old bytes stay in the arena, unused. */
int memtable_replace(struct memtable *m, const struct shale_row *row)
{
    struct version *old = row_tree_find(&m->keys, row->key), *newer, *fresh;

    old = version_place(old, row->seq, &newer);
    if (!old || old->row.seq != row->seq)
        return -ENOENT;
    fresh = version_new(m, row); /* is not linked in: it only holds the bytes */
    if (!fresh)
        return -ENOMEM;
    STAT_SET(m, row_bytes, STAT_GET(m, row_bytes) - row_size_estimate(&old->row) + row_size_estimate(row));
    if (row->create_ts > STAT_GET(m, max_create_ts))
        STAT_SET(m, max_create_ts, row->create_ts);
    old->row = fresh->row;
    return 0;
}

/* A spare block for each row that needs one: they are used in order, and those that were left over serve again. */
static int reserve_oversize(struct memtable *m, const struct shale_row *rows, size_t n)
{
    struct arena_block **at = &m->spare;

    for (size_t i = 0; i < n; i++) {
        size_t need = version_size(&rows[i]);

        if (need <= OVERSIZE)
            continue;
        while (*at && (*at)->size < need)
            at = &(*at)->next;
        if (!*at) {
            struct arena_block *b = block_new(m, size_add(sizeof(*b), need));

            if (!b)
                return -ENOMEM;
            b->next = NULL;
            *at = b;
        }
        at = &(*at)->next;
    }
    return 0;
}

int memtable_reserve(struct memtable *m, const struct shale_row *rows, size_t n)
{
    size_t small = 0;
    bool oversize = false;

    for (size_t i = 0; i < n; i++) {
        size_t need = version_size(&rows[i]);

        if (need <= OVERSIZE)
            small = size_add(small, need);
        else
            oversize = true;
    }
    if (oversize && reserve_oversize(m, rows, n) < 0)
        return -ENOMEM;
    if (row_tree_reserve(&m->keys, n) < 0)
        return -ENOMEM;
    return (size_t)(m->end - m->pos) >= small ? 0 : arena_grow(m, small);
}

void memtable_stats(const struct memtable *m, struct memtable_stats *out)
{
    *out = (struct memtable_stats){
        .n_rows = STAT_GET(m, n_rows),
        .row_bytes = STAT_GET(m, row_bytes),
        .alloc_bytes = STAT_GET(m, alloc_bytes) + STAT_GET(m, keys.alloc_bytes),
        .first_seq = STAT_GET(m, first_seq),
        .last_seq = STAT_GET(m, last_seq),
        .max_create_ts = STAT_GET(m, max_create_ts),
    };
}

const struct shale_row *memtable_find(const struct memtable *m, struct shale_slice key, uint64_t max_seq)
{
    const struct version *v = version_visible(row_tree_find(&m->keys, key), max_seq);

    return v ? &v->row : NULL;
}

/* From the row back to its version: rows handed out by insert and find are inside versions. */
const struct shale_row *memtable_older(const struct shale_row *row)
{
    const struct version *v = (const struct version *)(const void *)((const char *)row - offsetof(struct version, row));

    v = version_older(v);
    return v ? &v->row : NULL;
}

/* Keys in either direction; the versions of each from the newest. */
struct memtable_iter {
    struct iter base;
    struct memtable *m; /* a reference */
    struct key_range range;
    struct shale_buf bounds; /* bytes of range */
    enum iter_order order;
    bool started;
    struct tree_cursor at;
    const struct version *cur; /* comes next, of the key at; NULL: the end */
};

/* Begin with the key at the cursor, unless it lies behind the far end of the range. */
static void iter_enter_key(struct memtable_iter *mi)
{
    const struct version *v = tree_cursor_get(&mi->at);

    if (v && (mi->order == ITER_ASC ? key_after_range(&mi->range, v->row.key) : key_before_range(&mi->range, v->row.key)))
        v = NULL;
    mi->cur = v;
}

static void iter_start(struct memtable_iter *mi)
{
    const struct key_range *r = &mi->range;

    mi->started = true;
    if (mi->order == ITER_ASC)
        tree_cursor_set(&mi->at, &mi->m->keys, r->from_kind == KEY_UNBOUNDED ? NULL : &r->from,
                        r->from_kind == KEY_EXCLUDED);
    else
        tree_cursor_set_back(&mi->at, &mi->m->keys, r->to_kind == KEY_UNBOUNDED ? NULL : &r->to,
                             r->to_kind == KEY_EXCLUDED);
    iter_enter_key(mi);
}

static int memtable_iter_next(struct iter *it, struct shale_row *out)
{
    struct memtable_iter *mi = container_of(it, struct memtable_iter, base);

    if (!mi->started)
        iter_start(mi);
    if (!mi->cur)
        return SHALE_END;
    *out = mi->cur->row;
    mi->cur = version_older(mi->cur);
    if (mi->cur)
        return 0;
    if (mi->order == ITER_ASC)
        tree_cursor_next(&mi->at);
    else
        tree_cursor_prev(&mi->at, &mi->m->keys);
    iter_enter_key(mi);
    return 0;
}

static int memtable_iter_seek(struct iter *it, struct shale_slice key)
{
    struct memtable_iter *mi = container_of(it, struct memtable_iter, base);
    int c;

    if (!mi->started)
        iter_start(mi);
    if (!mi->cur)
        return 0;
    c = slice_cmp(mi->cur->row.key, key);
    if (mi->order == ITER_ASC && c < 0)
        tree_cursor_set(&mi->at, &mi->m->keys, &key, false);
    else if (mi->order == ITER_DESC && c > 0)
        tree_cursor_set_back(&mi->at, &mi->m->keys, &key, false);
    else
        return 0;
    iter_enter_key(mi);
    return 0;
}

static void memtable_iter_close(struct iter *it)
{
    struct memtable_iter *mi = container_of(it, struct memtable_iter, base);

    memtable_unref(mi->m);
    shale_buf_fini(&mi->bounds);
    mem_free(mi);
}

static const struct iter_ops memtable_iter_ops = {
    .next = memtable_iter_next,
    .seek = memtable_iter_seek,
    .close = memtable_iter_close,
};

int memtable_iter_new(struct memtable *m, const struct key_range *range, enum iter_order order, struct iter **out)
{
    struct memtable_iter *mi = mem_zalloc(sizeof(*mi));

    if (!mi)
        return -ENOMEM;
    if (shale_buf_reserve(&mi->bounds, size_add(range->from.len, range->to.len)) < 0) {
        mem_free(mi);
        return -ENOMEM;
    }
    /* Neither append can fail now, nor move the bytes. */
    (void)buf_append_slice(&mi->bounds, range->from);
    (void)buf_append_slice(&mi->bounds, range->to);
    mi->base.ops = &memtable_iter_ops;
    mi->m = memtable_ref(m);
    mi->order = order;
    mi->range = *range;
    mi->range.from.data = mi->bounds.data;
    mi->range.to = slice_from(slice_of_buf(&mi->bounds), range->from.len);
    *out = &mi->base;
    return 0;
}

#define KEY_TERM_WAL 8

/*
 * Term for term that of SlateDB (R27), as freezing at the same point gives L0 SSTs of the same
 * size.
 */
uint64_t sst_size_estimate(uint64_t n, uint64_t row_bytes, uint32_t block_size, uint32_t key_term,
                           uint32_t min_filter_keys, uint32_t bits_per_key)
{
    uint64_t rows = row_bytes + 9 * n;
    uint64_t blocks = (rows + block_size - 1) / block_size;
    uint64_t total;

    if (n == 0)
        return 0;
    total = rows + 2 * n + 4 * blocks;   /* data */
    total += blocks * key_term + 2 + 4;  /* index */
    total += key_term + 32 + 2 + 8 + 2;  /* info, trailer */
    if (key_term == KEY_TERM_WAL)
        return total;
    if (n >= min_filter_keys)
        total += (n * bits_per_key + 7) / 8 + 2 + 4;
    return total + 44; /* stats */
}
