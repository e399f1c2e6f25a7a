/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memtable: a skip list in an arena, for one writer and any number of readers without a lock.
 * Rows are ordered by key, then by sequence number descending, so that the first row found at
 * (key, max_seq) is the one a reader wants.
 *   level 2   head ------------------> n3 ---------->
 *   level 1   head ------> n1 -------> n3 ---------->
 *   level 0   head -> n0 -> n1 -> n2 -> n3 -> n4 ---->
 * A node is filled in first and then linked from the lowest level up, each link by a release
 * store; readers load links with acquire, so whoever reaches a node sees all of it. Nothing is
 * ever unlinked or freed before the table itself, hence no reader needs protection from the
 * writer. Readers that came before an insertion may or may not meet its row; they filter by
 * sequence number (R133).
 */

#include "mem/memtable.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/rng.h"

#include <assert.h>
#include <errno.h>

/*
 * Every other node reaches the next level: more levels than with fewer, but on each the search waits for one node
 * at most, as the one below is on its way meanwhile. Twenty serve a million rows well and ten million still.
 */
#define MAX_HEIGHT 20

#define BLOCK_MIN ((size_t)4 << 10)
#define BLOCK_MAX ((size_t)1 << 20)
/* A node larger than this has a block of its own, so that little of the current block is ever left unused. */
#define OVERSIZE (BLOCK_MAX / 4)

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data */
    uint8_t data[];
};

/*
 * A node's links lie in front of it, level 0 nearest, so that the hot links share a cache line with the prefix:
 *   [link n-1] ... [link 1] [link 0] [prefix] [row] [key bytes] [value bytes]
 * All but the links is immutable once the node can be reached.
 */
struct node {
    uint64_t prefix; /* first 8 bytes of the key as a big-endian number, short keys padded with zeros */
    struct shale_row row;
};

/* Stored with release when the node behind it is complete; loaded with acquire by everybody. */
typedef _Atomic(struct node *) link_t;

struct memtable {
    _Atomic int refs; /* relaxed to add, acq_rel to drop */
    _Atomic int height; /* relaxed: a reader with an old one starts lower and finds the same */
    struct node *head;

    /* Written by the inserter only, read by anybody (relaxed). */
    _Atomic size_t n_rows;
    _Atomic uint64_t row_bytes, alloc_bytes, first_seq, last_seq;
    _Atomic int64_t max_create_ts;

    /* Of the inserter alone. */
    struct arena_block *blocks; /* all but the spare ones */
    uint8_t *pos, *end;         /* what is left of the current block */
    size_t block_size;          /* of the next one */
    struct arena_block *spare;  /* reserved for oversize nodes */
    struct rng rng;
    struct node *prev[MAX_HEIGHT]; /* on each level the last node before the place right behind prev[0] */
};

/* Links grow towards lower addresses from the node: link i lies i + 1 places in front of it. */
static link_t *node_link(const struct node *n, int level)
{
    return (link_t *)(uintptr_t)n - 1 - level;
}

static struct node *node_next(const struct node *n, int level)
{
    return atomic_load_explicit(node_link(n, level), memory_order_acquire);
}

/*
 * Ordering by prefix agrees with ordering by key; only equal prefixes need the key's bytes, which
 * are another cache line away.
 */
static uint64_t key_prefix(struct shale_slice key)
{
    uint8_t t[8] = { 0 };

    if (key.len >= 8)
        return get_u64be(key.data);
    if (key.len)
        memcpy(t, key.data, key.len);
    return get_u64be(t);
}

/* A place in the order of rows: key ascending, then sequence number descending. */
struct place {
    uint64_t prefix;
    struct shale_slice key;
    uint64_t seq;
};

static struct place place_of(struct shale_slice key, uint64_t seq)
{
    return (struct place){ .prefix = key_prefix(key), .key = key, .seq = seq };
}

static inline int node_cmp(const struct node *n, const struct place *p)
{
    int c;

    if (n->prefix != p->prefix)
        return n->prefix < p->prefix ? -1 : 1;
    c = slice_cmp(n->row.key, p->key);
    if (c != 0)
        return c;
    return (n->row.seq < p->seq) - (n->row.seq > p->seq);
}

/*
 * The last node before p (the head when there is none); prev, if given, gets the one on each level in use. *next
 * is the node that followed it then: reading the link again might give one that came in meanwhile and lies before
 * p. bound is the node that ended the search one level up: meeting it again needs no comparison.
 */
static struct node *find_before(const struct memtable *m, const struct place *p, struct node **prev, struct node **next)
{
    int level = atomic_load_explicit(&m->height, memory_order_relaxed) - 1;
    struct node *x = m->head;
    struct node *bound = NULL; /* known not to lie before p */

    for (;;) {
        struct node *n = node_next(x, level);

        if (n && level > 0)
            __builtin_prefetch(node_next(x, level - 1));
        if (n && n != bound && node_cmp(n, p) < 0) {
            x = n;
            continue;
        }
        bound = n;
        if (prev)
            prev[level] = x;
        if (level == 0) {
            *next = n;
            return x;
        }
        level--;
    }
}

static struct node *find_at_or_after(const struct memtable *m, const struct place *p)
{
    struct node *next;

    (void)find_before(m, p, NULL, &next);
    return next;
}

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
 * A block for one node: a reserved one that is large enough, else a new one.
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

static size_t node_size(const struct shale_row *row, int height)
{
    size_t n = size_add(row->key.len, row->value.len);

    n = size_add(n, (size_t)height * sizeof(link_t) + sizeof(struct node));
    return size_add(n, 7) & ~(size_t)7;
}

/* The node with a copy of row, not linked yet. */
static struct node *node_new(struct memtable *m, const struct shale_row *row, uint64_t prefix, int height)
{
    uint8_t *p = arena_take(m, node_size(row, height));
    struct node *n;
    uint8_t *bytes;

    if (!p)
        return NULL;
    n = (struct node *)(void *)(p + (size_t)height * sizeof(link_t));
    bytes = (uint8_t *)(n + 1);
    n->prefix = prefix;
    n->row = *row;
    n->row.key.data = bytes;
    n->row.value.data = bytes + row->key.len;
    if (row->key.len)
        memcpy(bytes, row->key.data, row->key.len);
    if (row->value.len)
        memcpy(bytes + row->key.len, row->value.data, row->value.len);
    for (int i = 0; i < height; i++)
        atomic_init(node_link(n, i), NULL);
    return n;
}

int memtable_new(struct memtable **out)
{
    static const struct shale_row none = { .seq = 0 };
    struct memtable *m = mem_zalloc(sizeof(*m));

    if (!m)
        return -ENOMEM;
    atomic_init(&m->refs, 1);
    atomic_init(&m->height, 1);
    atomic_init(&m->alloc_bytes, sizeof(*m));
    atomic_init(&m->max_create_ts, SHALE_NO_TS);
    m->block_size = BLOCK_MIN;
    rng_seed(&m->rng, 0x6d656d7461626c65u); /* heights need no secret, and a fixed seed makes runs repeatable */
    m->head = node_new(m, &none, 0, MAX_HEIGHT);
    if (!m->head) {
        memtable_unref(m);
        return -ENOMEM;
    }
    for (int i = 0; i < MAX_HEIGHT; i++)
        m->prev[i] = m->head;
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
    blocks_free(m->blocks);
    blocks_free(m->spare);
    mem_free(m);
}

/* Each level has half the nodes of the one below. */
static int random_height(struct memtable *m)
{
    uint64_t r = rng_next(&m->rng);
    int h = 1;

    while (h < MAX_HEIGHT && (r & 1) == 0) {
        h++;
        r >>= 1;
    }
    return h;
}

/*
 * Set prev to where p goes, and return what follows there. Rows that come in ascending order go right behind the one
 * before, where prev stands already.
 * prev on the higher levels is right as well then: the node before stood there, or something
 * before it did, and nothing lies between.
 */
static struct node *find_place(struct memtable *m, const struct place *p)
{
    struct node *last = m->prev[0], *next;

    if (last == m->head || node_cmp(last, p) < 0) {
        next = node_next(last, 0);
        if (!next || node_cmp(next, p) >= 0)
            return next;
    }
    (void)find_before(m, p, m->prev, &next);
    return next;
}

/*
 * From the lowest level up, so that whoever finds the node on a level finds it on those below.
 * The node's own link is set before the node can be reached, so relaxed is enough for it; the
 * release is the store into prev.
 */
static void node_link_in(struct memtable *m, struct node *n, int height)
{
    int used = atomic_load_explicit(&m->height, memory_order_relaxed);

    for (int i = 0; i < height; i++) {
        atomic_store_explicit(node_link(n, i), node_next(m->prev[i], i), memory_order_relaxed);
        atomic_store_explicit(node_link(m->prev[i], i), n, memory_order_release);
        m->prev[i] = n;
    }
    if (height > used)
        atomic_store_explicit(&m->height, height, memory_order_relaxed);
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

/* -EEXIST leaves prev where it found the place, which is still right for the next insertion. */
int memtable_insert(struct memtable *m, const struct shale_row *row, const struct shale_row **stored)
{
    struct place p = place_of(row->key, row->seq);
    struct node *next, *n;
    int height;

    assert(row->key.len >= 1 && row->key.len <= SHALE_KEY_MAX);
    next = find_place(m, &p);
    if (next && node_cmp(next, &p) == 0)
        return -EEXIST;
    height = random_height(m);
    n = node_new(m, row, p.prefix, height);
    if (!n)
        return -ENOMEM;
    node_link_in(m, n, height);
    count_row(m, &n->row);
    if (stored)
        *stored = &n->row;
    return 0;
}

/* In place, which only replay may do: it has no readers yet. The old bytes stay in the arena, unused. */
int memtable_replace(struct memtable *m, const struct shale_row *row)
{
    struct place p = place_of(row->key, row->seq);
    struct node *old = find_place(m, &p), *fresh;

    if (!old || node_cmp(old, &p) != 0)
        return -ENOENT;
    fresh = node_new(m, row, p.prefix, 1); /* is not linked in: it only holds the bytes */
    if (!fresh)
        return -ENOMEM;
    STAT_SET(m, row_bytes, STAT_GET(m, row_bytes) - row_size_estimate(&old->row) + row_size_estimate(row));
    if (row->create_ts > STAT_GET(m, max_create_ts))
        STAT_SET(m, max_create_ts, row->create_ts);
    old->row = fresh->row;
    return 0;
}

/*
 * Counts each node at its greatest height, so that no random height needs more. What is left over
 * is used by later rows.
 */
int memtable_reserve(struct memtable *m, const struct shale_row *rows, size_t n)
{
    struct arena_block **at = &m->spare;
    size_t small = 0;

    /* Spare blocks are used in order, and those of an earlier reservation that was not used up serve again. */
    for (size_t i = 0; i < n; i++) {
        size_t need = node_size(&rows[i], MAX_HEIGHT);

        /* A tower lower than the highest may bring a node back under the limit: it then counts as small, too. */
        if (node_size(&rows[i], 1) <= OVERSIZE)
            small = size_add(small, need);
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
    if ((size_t)(m->end - m->pos) >= small)
        return 0;
    return arena_grow(m, small);
}

void memtable_stats(const struct memtable *m, struct memtable_stats *out)
{
    *out = (struct memtable_stats){
        .n_rows = STAT_GET(m, n_rows),
        .row_bytes = STAT_GET(m, row_bytes),
        .alloc_bytes = STAT_GET(m, alloc_bytes),
        .first_seq = STAT_GET(m, first_seq),
        .last_seq = STAT_GET(m, last_seq),
        .max_create_ts = STAT_GET(m, max_create_ts),
    };
}

const struct shale_row *memtable_find(const struct memtable *m, struct shale_slice key, uint64_t max_seq)
{
    struct place p = place_of(key, max_seq);
    const struct node *n = find_at_or_after(m, &p);

    return n && n->prefix == p.prefix && slice_eq(n->row.key, key) ? &n->row : NULL;
}

/* From the row back to its node: rows handed out by insert and find are inside nodes. */
const struct shale_row *memtable_older(const struct shale_row *row)
{
    const struct node *n = (const struct node *)(const void *)((const char *)row - offsetof(struct node, row));
    const struct node *next = node_next(n, 0);

    return next && next->prefix == n->prefix && slice_eq(next->row.key, row->key) ? &next->row : NULL;
}

struct memtable_iter {
    struct iter base;
    struct memtable *m; /* a reference */
    struct key_range range;
    struct shale_buf bounds; /* bytes of range */
    enum iter_order order;
    bool started;
    const struct node *cur;   /* comes next; NULL: the end (ascending), or below comes next (descending) */
    const struct node *below; /* descending: last node whose key lies before that of cur; head: none */
};

/*
 * Descending: go to the newest version of the key that n, its oldest, has.
 *   descending:   ... [b@7 b@4] [c@9 c@2]        keys backwards, the versions of each forwards
 *                     below ^   cur ^ -> c@2, then the group of below
 * The list has no links back: the node before a key is found by a search from the top, once for
 * each key.
 */
static void iter_enter_key(struct memtable_iter *mi, const struct node *n)
{
    struct place p;
    struct node *before, *next;

    mi->cur = NULL;
    mi->below = mi->m->head;
    if (n == mi->m->head || key_before_range(&mi->range, n->row.key))
        return;
    p = place_of(n->row.key, UINT64_MAX);
    before = find_before(mi->m, &p, NULL, &next);
    mi->below = before;
    mi->cur = next;
}

/* The first node of key or behind it; or the first behind all its versions (sequence number 0 sorts last). */
static const struct node *find_from(const struct memtable *m, struct shale_slice key, bool excluded)
{
    struct place p = place_of(key, excluded ? 0 : UINT64_MAX);
    const struct node *n = find_at_or_after(m, &p);

    return excluded && n && node_cmp(n, &p) == 0 ? node_next(n, 0) : n;
}

/* The last node before all versions of key, or the last of those. */
static const struct node *find_up_to(const struct memtable *m, struct shale_slice key, bool excluded)
{
    struct place p = place_of(key, excluded ? UINT64_MAX : 0);
    struct node *next, *n = find_before(m, &p, NULL, &next);

    return !excluded && next && node_cmp(next, &p) == 0 ? next : n;
}

static const struct node *find_last(const struct memtable *m)
{
    const struct node *x = m->head;

    for (int level = atomic_load_explicit(&m->height, memory_order_relaxed) - 1; level >= 0; level--) {
        const struct node *next;

        while ((next = node_next(x, level)))
            x = next;
    }
    return x;
}

static void iter_start(struct memtable_iter *mi)
{
    const struct key_range *r = &mi->range;

    mi->started = true;
    if (mi->order == ITER_DESC)
        iter_enter_key(mi, r->to_kind == KEY_UNBOUNDED ? find_last(mi->m)
                                                       : find_up_to(mi->m, r->to, r->to_kind == KEY_EXCLUDED));
    else if (r->from_kind == KEY_UNBOUNDED)
        mi->cur = node_next(mi->m->head, 0);
    else
        mi->cur = find_from(mi->m, r->from, r->from_kind == KEY_EXCLUDED);
}

/*
 * cur was read before out is handed over: rows inserted behind it later are met, those before it
 * are not.
 */
static int memtable_iter_next(struct iter *it, struct shale_row *out)
{
    struct memtable_iter *mi = container_of(it, struct memtable_iter, base);
    const struct node *n;

    if (!mi->started)
        iter_start(mi);
    if (!mi->cur && mi->order == ITER_DESC && mi->below)
        iter_enter_key(mi, mi->below);
    n = mi->cur;
    if (!n || (mi->order == ITER_ASC && key_after_range(&mi->range, n->row.key))) {
        mi->cur = mi->below = NULL;
        return SHALE_END;
    }
    *out = n->row;
    mi->cur = node_next(n, 0);
    if (mi->order == ITER_DESC && mi->cur && !slice_eq(mi->cur->row.key, n->row.key))
        mi->cur = NULL;
    return 0;
}

static int memtable_iter_seek(struct iter *it, struct shale_slice key)
{
    struct memtable_iter *mi = container_of(it, struct memtable_iter, base);
    const struct node *at;

    if (!mi->started)
        iter_start(mi);
    at = mi->cur ? mi->cur : mi->below;
    if (!at || at == mi->m->head)
        return 0;
    if (mi->order == ITER_ASC) {
        if (slice_cmp(at->row.key, key) < 0)
            mi->cur = find_from(mi->m, key, false);
    } else if (slice_cmp(at->row.key, key) > 0) {
        iter_enter_key(mi, find_up_to(mi->m, key, false));
    }
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
