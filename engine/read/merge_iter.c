/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merges k sorted children with a binary heap: key first, then sequence number descending, then
 * the order of the children, newest layer first (R120-R124). The same (key, sequence number) from
 * several children comes out once, from the newest layer: a WAL replayed over an L0 that has its
 * rows already must not show them twice. Eight bytes of each key are kept in the heap's entry,
 * complemented for descending order, so that most comparisons touch one word; behind what all keys
 * share, when the caller knows how much that is.
 */

#include "read/merge_iter.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <errno.h>

struct merge_child {
    struct iter *it;
    struct shale_row row; /* its current one; valid until it is asked for the next */
    uint64_t prefix;      /* 8 bytes of the key behind what all share, zero-padded, complemented for descending order */
    size_t rank;          /* place in the caller's array: decides between equal rows */
};

/*
 * A binary heap of the children that have a row. The root is the row handed out last as long as taken says so: it moves
 * on only when the next one is asked for, as the caller still looks at its bytes.
 */
struct merge_iter {
    struct iter base;
    struct merge_child *children; /* the caller's order; closed together */
    size_t n;
    struct merge_child **heap;
    size_t n_heap;
    size_t shared; /* leading bytes that are the same in all keys */
    bool descending, dedup;
    bool started, taken;
    /* What was handed out last: the other copies of it, or all other versions of its key, are passed over. */
    bool has_last, skip_key;
    struct shale_buf last_key;
    uint64_t last_prefix, last_seq;
    uint64_t bytes;
};

/* Of keys that are shorter than what all are said to share, nothing is left. */
static inline uint64_t order_prefix(const struct merge_iter *m, struct shale_slice key)
{
    uint8_t t[8] = { 0 };
    uint64_t p;

    if (key.len >= m->shared + 8) {
        p = get_u64be(key.data + m->shared);
    } else {
        if (key.len > m->shared)
            memcpy(t, key.data + m->shared, key.len - m->shared);
        p = get_u64be(t);
    }
    return m->descending ? ~p : p;
}

/*
 * Whether a comes out before b.
 * rank makes the order total, and the outcome independent of the heap's shape.
 */
static bool child_before(const struct merge_iter *m, const struct merge_child *a, const struct merge_child *b)
{
    int c;

    if (a->prefix != b->prefix)
        return a->prefix < b->prefix;
    c = slice_cmp(a->row.key, b->row.key);
    if (c != 0)
        return m->descending ? c > 0 : c < 0;
    if (a->row.seq != b->row.seq)
        return a->row.seq > b->row.seq;
    return a->rank < b->rank;
}

static void sift_down(struct merge_iter *m, size_t i)
{
    struct merge_child *x = m->heap[i];

    for (;;) {
        size_t kid = 2 * i + 1;

        if (kid >= m->n_heap)
            break;
        if (kid + 1 < m->n_heap && child_before(m, m->heap[kid + 1], m->heap[kid]))
            kid++;
        if (!child_before(m, m->heap[kid], x))
            break;
        m->heap[i] = m->heap[kid];
        i = kid;
    }
    m->heap[i] = x;
}

/* Read a child's next row. 0, SHALE_END or an error. */
static int child_next(struct merge_iter *m, struct merge_child *c)
{
    int rc = iter_next(c->it, &c->row);

    if (rc != 0)
        return rc;
    c->prefix = order_prefix(m, c->row.key);
    return 0;
}

/* Children are opened on the first next or seek, in this thread, one after the other. */
static int merge_start(struct merge_iter *m)
{
    m->started = true;
    for (size_t i = 0; i < m->n; i++) {
        int rc = child_next(m, &m->children[i]);

        if (rc < 0)
            return rc;
        if (rc == 0)
            m->heap[m->n_heap++] = &m->children[i];
    }
    for (size_t i = m->n_heap / 2; i-- > 0;)
        sift_down(m, i);
    return 0;
}

/*
 * Move the root's child on.
 * Only here does a child move: the row handed out last is valid until then.
 */
static int advance_root(struct merge_iter *m)
{
    struct merge_child *c = m->heap[0];
    int rc = child_next(m, c);

    m->taken = false;
    if (rc < 0)
        return rc;
    if (rc == SHALE_END)
        m->heap[0] = m->heap[--m->n_heap];
    if (m->n_heap > 1)
        sift_down(m, 0);
    return 0;
}

static bool is_repeated(const struct merge_iter *m, const struct merge_child *c)
{
    if (!m->has_last || c->prefix != m->last_prefix || (!m->skip_key && c->row.seq != m->last_seq))
        return false;
    return slice_eq(c->row.key, slice_of_buf(&m->last_key));
}

/*
 * Remember what is handed out. A lone child without deduplication repeats nothing.
 * The key is copied, since the child it came from moves before the copies of it in other children
 * are compared.
 */
static int remember(struct merge_iter *m, const struct merge_child *c)
{
    if (m->n == 1 && !m->dedup)
        return 0;
    m->has_last = true;
    m->skip_key = m->dedup && c->row.kind != SHALE_MERGE;
    m->last_prefix = c->prefix;
    m->last_seq = c->row.seq;
    return buf_set(&m->last_key, c->row.key);
}

static int merge_iter_next(struct iter *it, struct shale_row *out)
{
    struct merge_iter *m = container_of(it, struct merge_iter, base);
    struct merge_child *c;
    int rc = 0;

    if (!m->started)
        rc = merge_start(m);
    if (rc == 0 && m->taken)
        rc = advance_root(m);
    while (rc == 0 && m->n_heap && is_repeated(m, m->heap[0])) {
        m->bytes += m->heap[0]->row.key.len + m->heap[0]->row.value.len;
        rc = advance_root(m);
    }
    if (rc < 0)
        return rc;
    if (m->n_heap == 0)
        return SHALE_END;
    c = m->heap[0];
    rc = remember(m, c);
    if (rc < 0)
        return rc;
    m->bytes += c->row.key.len + c->row.value.len;
    m->taken = true;
    *out = c->row;
    return 0;
}

/*
 * Children whose row lies before key move there, the others stay where they are (R123).
 * Children at or past the target keep their row: a seek in a scan that is near its target costs
 * nothing for them.
 */
static int merge_iter_seek(struct iter *it, struct shale_slice key)
{
    struct merge_iter *m = container_of(it, struct merge_iter, base);
    size_t n = 0;
    int rc;

    if (!m->started) {
        for (size_t i = 0; i < m->n; i++) {
            rc = iter_seek(m->children[i].it, key);
            if (rc < 0)
                return rc;
        }
        return 0;
    }
    if (m->taken) {
        rc = advance_root(m);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < m->n_heap; i++) {
        struct merge_child *c = m->heap[i];
        int order = slice_cmp(c->row.key, key);

        rc = 0;
        if (m->descending ? order > 0 : order < 0) {
            rc = iter_seek(c->it, key);
            if (rc == 0)
                rc = child_next(m, c);
        }
        if (rc < 0)
            return rc;
        if (rc == 0)
            m->heap[n++] = c;
    }
    m->n_heap = n;
    for (size_t i = n / 2; i-- > 0;)
        sift_down(m, i);
    return 0;
}

static void merge_iter_close(struct iter *it)
{
    struct merge_iter *m = container_of(it, struct merge_iter, base);

    for (size_t i = 0; i < m->n; i++)
        iter_close(m->children[i].it);
    shale_buf_fini(&m->last_key);
    mem_free(m->heap);
    mem_free(m->children);
    mem_free(m);
}

static const struct iter_ops merge_iter_ops = {
    .next = merge_iter_next,
    .seek = merge_iter_seek,
    .close = merge_iter_close,
};

int merge_iter_new(struct iter **children, size_t n, enum iter_order order, bool dedup, struct iter **out)
{
    struct merge_iter *m = mem_zalloc(sizeof(*m));

    if (m) {
        m->children = mem_calloc(n, sizeof(*m->children));
        m->heap = mem_calloc(n, sizeof(*m->heap));
    }
    if (!m || !m->children || !m->heap) {
        for (size_t i = 0; i < n; i++)
            iter_close(children[i]);
        if (m)
            merge_iter_close(&m->base);
        return -ENOMEM;
    }
    m->base.ops = &merge_iter_ops;
    m->n = n;
    m->descending = order == ITER_DESC;
    m->dedup = dedup;
    for (size_t i = 0; i < n; i++) {
        m->children[i].it = children[i];
        m->children[i].rank = i;
    }
    *out = &m->base;
    return 0;
}

void merge_iter_share(struct iter *it, size_t n)
{
    container_of(it, struct merge_iter, base)->shared = n;
}

uint64_t merge_iter_bytes(const struct iter *it)
{
    const struct merge_iter *m = (const struct merge_iter *)(const void *)it; /* base comes first */

    return m->bytes;
}
