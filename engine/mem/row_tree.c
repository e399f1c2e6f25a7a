/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A B+-tree that is read without locks. What makes that work:
 *   - A key joins a node by filling in an unused slot and then publishing the order with it, one store.
 *   - A full node is not cut but replaced by two new ones. In the parent the right one is published first: keys in it
 *     are then looked for there, the others still in the old node, which has all of them. Then the left one takes the
 *     old node's place. A full parent is replaced likewise; its two halves become visible above. So a child is right
 *     only if the order that led to it still held when it was read (child_for): who has the order from before and the
 *     left node would miss the keys of the right one.
 *   - A replaced node stays as it was, for those who are in it: it is complete for whoever came before. Leaves are
 *     chained, and a chain from a replaced leaf leads on to leaves that were current when it was replaced.
 * Nodes are looked through by eight bytes of their keys, those behind what all keys between the node's bounds share,
 * so that rows are seldom touched on the way. Nothing is freed before the tree.
 */

#include "mem/row_tree.h"

#include "base/alloc.h"
#include "base/bytes.h"

#include <assert.h>
#include <errno.h>

#define COUNT_MASK 15u

/* Where two threads can come between each other; the test puts the other one's work there. */
#ifndef ROW_TREE_STEP
#define ROW_TREE_STEP() ((void)0)
#endif

/* Memory for nodes. */
struct tree_slab {
    struct tree_slab *next;
    struct tree_node *nodes; /* on cache lines of their own */
    size_t n;                /* not yet taken */
};

#define CACHE_LINE 64
#define SLAB_NODES_MIN 8
#define SLAB_NODES_MAX 4096

static inline unsigned perm_count(uint64_t perm)
{
    return perm & COUNT_MASK;
}

static inline unsigned perm_slot(uint64_t perm, unsigned i)
{
    return perm >> (4 * i + 4) & 15;
}

/* With slot as the i-th; there is one more then. */
static uint64_t perm_insert(uint64_t perm, unsigned i, unsigned slot)
{
    unsigned shift = 4 * i + 4;
    uint64_t below = perm & (((uint64_t)1 << shift) - 1), above = perm >> shift;

    return (below | (uint64_t)slot << shift | above << (shift + 4)) + 1;
}

/* Both halves of a published slot; its order was loaded with acquire, or the caller is the inserter. */
static inline uint64_t word_at(const struct tree_node *n, uint64_t perm, unsigned i)
{
    return atomic_load_explicit(&n->words[perm_slot(perm, i)], memory_order_relaxed);
}

static inline void *ref_at(const struct tree_node *n, uint64_t perm, unsigned i)
{
    return atomic_load_explicit(&n->refs[perm_slot(perm, i)], memory_order_acquire);
}

static inline uint64_t node_perm(const struct tree_node *n)
{
    return atomic_load_explicit(&n->perm, memory_order_acquire);
}

static inline uint64_t key_word(struct shale_slice key, size_t skip)
{
    uint8_t t[8] = { 0 };

    if (key.len >= skip + 8)
        return get_u64be(key.data + skip);
    if (key.len > skip)
        memcpy(t, key.data + skip, key.len - skip);
    return get_u64be(t);
}

/*
 * How many of the slots in use have a word of at most w. In any order, and without a branch to mispredict: a slot that
 * fills meanwhile is not counted.
 */
static inline unsigned count_upto(const struct tree_node *n, unsigned count, uint64_t w)
{
    unsigned k = 0;

#pragma GCC unroll 14
    for (unsigned s = 0; s < TREE_FANOUT; s++)
        k += (unsigned)(atomic_load_explicit(&n->words[s], memory_order_relaxed) <= w) & (unsigned)(s < count);
    return k;
}

/* The child that holds key; below: or, when a child begins with it, the one before. */
static unsigned find_child(const struct tree_node *n, uint64_t perm, struct shale_slice key, bool below)
{
    uint64_t w = key_word(key, n->skip);
    unsigned k = count_upto(n, perm_count(perm), w);

    /* Children that begin with the same word: their keys tell. */
    while (k > 1 && word_at(n, perm, k - 1) == w) {
        const struct tree_node *child = ref_at(n, perm, k - 1);
        int c = slice_cmp(child->low->row.key, key);

        if (c < 0 || (c == 0 && !below))
            break;
        k--;
    }
    return k - 1; /* the first has the word 0 */
}

/* The first entry of a leaf whose key is not below key; *equal tells whether it is key. */
static unsigned find_entry(const struct tree_node *n, uint64_t perm, struct shale_slice key, bool *equal)
{
    uint64_t w = key_word(key, n->skip);
    unsigned count = perm_count(perm);
    unsigned k = w ? count_upto(n, count, w - 1) : 0;

    *equal = false;
    while (k < count && word_at(n, perm, k) == w) {
        const struct version *v = ref_at(n, perm, k);
        int c = slice_cmp(v->row.key, key);

        *equal = c == 0;
        if (c >= 0)
            break;
        k++;
    }
    return k;
}

static inline const struct tree_node *tree_root(const struct row_tree *t)
{
    return atomic_load_explicit(&t->root, memory_order_acquire);
}

/* All of a node is looked at. */
static inline void node_prefetch(const struct tree_node *n)
{
    for (size_t i = 0; i < sizeof(*n); i += CACHE_LINE)
        __builtin_prefetch((const char *)n + i);
}

/* Which way down. */
enum way { TO_KEY, BELOW_KEY, TO_FIRST, TO_LAST };

/*
 * The child on the way. A left node is stored with release behind the order that has the right one: whoever read it
 * sees the new order, and looks again.
 */
static inline const struct tree_node *child_for(const struct tree_node *n, enum way way, struct shale_slice key)
{
    const struct tree_node *child;
    uint64_t perm;

    do {
        unsigned at = 0;

        perm = node_perm(n);
        if (way == TO_LAST)
            at = perm_count(perm) - 1;
        else if (way != TO_FIRST)
            at = find_child(n, perm, key, way == BELOW_KEY);
        ROW_TREE_STEP();
        child = ref_at(n, perm, at);
    } while (node_perm(n) != perm);
    return child;
}

static inline const struct tree_node *find_leaf(const struct row_tree *t, enum way way, struct shale_slice key)
{
    const struct tree_node *n = tree_root(t);

    while (n->level) {
        n = child_for(n, way, key);
        node_prefetch(n);
    }
    return n;
}

struct version *row_tree_find(const struct row_tree *t, struct shale_slice key)
{
    const struct tree_node *n = find_leaf(t, TO_KEY, key);
    uint64_t perm = node_perm(n);
    bool equal;
    unsigned i = find_entry(n, perm, key, &equal);

    return equal ? ref_at(n, perm, i) : NULL;
}

void row_tree_place(const struct row_tree *t, struct shale_slice key, struct tree_place *p)
{
    struct tree_node *n = atomic_load_explicit(&t->root, memory_order_relaxed);
    uint64_t perm;
    bool equal;

    p->key = key;
    for (;;) {
        p->nodes[n->level] = n;
        perm = node_perm(n);
        if (n->level == 0)
            break;
        p->at[n->level] = find_child(n, perm, key, false);
        n = ref_at(n, perm, p->at[n->level]);
        node_prefetch(n);
    }
    p->at[0] = find_entry(n, perm, key, &equal);
    p->found = equal ? &n->refs[perm_slot(perm, p->at[0])] : NULL;
}

static void slabs_free(struct tree_slab *s)
{
    while (s) {
        struct tree_slab *next = s->next;

        mem_free(s);
        s = next;
    }
}

void row_tree_init(struct row_tree *t)
{
    memset(t, 0, sizeof(*t));
    t->n_nodes[0] = 1;
    atomic_init(&t->root, &t->first);
}

void row_tree_fini(struct row_tree *t)
{
    slabs_free(t->slabs);
    slabs_free(t->reserved);
}

/* Have at least n nodes free. Slabs grow with the tree; what is never used of one costs no memory but addresses. */
static int have_nodes(struct row_tree *t, size_t n)
{
    size_t in_use = 0, size, bytes;
    struct tree_slab *s, **end = &t->reserved;

    if (t->n_free >= n)
        return 0;
    for (int i = 0; i < TREE_LEVELS_MAX; i++)
        in_use += t->n_nodes[i];
    size = in_use < SLAB_NODES_MIN ? SLAB_NODES_MIN : in_use > SLAB_NODES_MAX ? SLAB_NODES_MAX : in_use;
    if (size < n - t->n_free)
        size = n - t->n_free;
    bytes = size_add(sizeof(*s) + CACHE_LINE, size_mul(size, sizeof(struct tree_node)));
    s = mem_alloc(bytes);
    if (!s)
        return -ENOMEM;
    s->next = NULL;
    s->nodes = (void *)(((uintptr_t)(s + 1) + CACHE_LINE - 1) & ~(uintptr_t)(CACHE_LINE - 1));
    s->n = size;
    while (*end)
        end = &(*end)->next;
    *end = s;
    t->n_free += size;
    atomic_store_explicit(&t->alloc_bytes, atomic_load_explicit(&t->alloc_bytes, memory_order_relaxed) + bytes,
                          memory_order_relaxed);
    return 0;
}

static struct tree_node *take_node(struct row_tree *t, uint32_t level)
{
    assert(t->n_free > 0);
    while (!t->slabs || t->slabs->n == 0) {
        struct tree_slab *s = t->reserved;

        t->reserved = s->next;
        s->next = t->slabs;
        t->slabs = s;
    }
    t->n_free--;
    t->slabs->n--;
    t->n_nodes[level]++;
    return t->slabs->nodes++;
}

/*
 * How many nodes n insertions take at most. A node splits into halves with room for at least six more, and, when keys
 * come in order, once without being halved: so entries that come to a level, and those that are there in full nodes,
 * split a third of their number at most. A new root is a node more on its level.
 */
int row_tree_reserve(struct row_tree *t, size_t n)
{
    const struct tree_node *root = tree_root(t);
    size_t splits = n, total = 0;

    if (root->level == 0 && n <= TREE_FANOUT - perm_count(node_perm(root)))
        return 0;
    for (int level = 0; level < TREE_LEVELS_MAX && splits; level++) {
        size_t full = size_mul(t->n_nodes[level], TREE_FANOUT / 2);
        size_t most = t->n_nodes[level] ? size_add(splits, full) / 3 + 2 : splits / 3;

        if (splits > most)
            splits = most;
        total = size_add(total, size_add(1, size_mul(splits, 2)));
    }
    /* The root's level has splits left over: one more root. */
    return have_nodes(t, size_add(total, 1));
}

int row_tree_reserve_place(struct row_tree *t, const struct tree_place *p)
{
    uint32_t top = tree_root(t)->level, level = 0;

    while (level <= top && perm_count(node_perm(p->nodes[level])) == TREE_FANOUT)
        level++;
    return have_nodes(t, 2 * (size_t)level + (level > top));
}

/* The upper bound of p's node on a level: where the next child to the right begins. NULL: none. */
static const struct version *upper_bound(const struct row_tree *t, const struct tree_place *p, uint32_t level)
{
    uint32_t top = tree_root(t)->level;

    while (++level <= top) {
        uint64_t perm = node_perm(p->nodes[level]);

        if (p->at[level] + 1 < perm_count(perm))
            return ((const struct tree_node *)ref_at(p->nodes[level], perm, p->at[level] + 1))->low;
    }
    return NULL;
}

static size_t shared_len(const struct version *low, const struct version *high)
{
    return low && high ? slice_common(low->row.key, high->row.key) : 0;
}

/* The entries of a full node and one more, in order. */
struct entries {
    void *refs[TREE_FANOUT + 1];
};

static void gather(const struct tree_node *n, unsigned at, void *ref, struct entries *out)
{
    uint64_t perm = node_perm(n);

    for (unsigned i = 0; i < TREE_FANOUT; i++)
        out->refs[i + (i >= at)] = ref_at(n, perm, i);
    out->refs[at] = ref;
}

static const struct version *first_of(uint32_t level, void *ref)
{
    return level ? ((const struct tree_node *)ref)->low : (const struct version *)ref;
}

/* A node of its own, not visible yet. */
static struct tree_node *make_node(struct row_tree *t, uint32_t level, const struct version *low,
                                   const struct version *high, void *const *refs, unsigned n)
{
    struct tree_node *node = take_node(t, level);
    uint64_t perm = 0;

    node->low = low;
    node->level = level;
    node->skip = (uint32_t)shared_len(low, high);
    atomic_init(&node->next, NULL);
    for (unsigned i = 0; i < n; i++) {
        uint64_t w = level && i == 0 ? 0 : key_word(first_of(level, refs[i])->row.key, node->skip);

        atomic_init(&node->words[i], w);
        atomic_init(&node->refs[i], refs[i]);
        perm = perm_insert(perm, i, i);
    }
    for (unsigned i = n; i < TREE_FANOUT; i++) {
        atomic_init(&node->words[i], 0);
        atomic_init(&node->refs[i], NULL);
    }
    atomic_init(&node->perm, perm);
    return node;
}

/* Put an entry into a node that has room. */
static void node_add(struct tree_node *n, unsigned at, struct shale_slice key, void *ref)
{
    uint64_t perm = node_perm(n);
    unsigned slot = perm_count(perm);

    atomic_store_explicit(&n->words[slot], key_word(key, n->skip), memory_order_relaxed);
    atomic_store_explicit(&n->refs[slot], ref, memory_order_release);
    atomic_store_explicit(&n->perm, perm_insert(perm, at, slot), memory_order_release);
}

/* What takes the place of a node: left may be the node itself, which then has not changed. */
struct halves {
    struct tree_node *left, *right;
};

/*
 * Two nodes with the entries of the full node of a level and one more. in_order: the entry follows the one that came
 * last, so that the next will follow it; the node stays full then.
 */
static struct halves split(struct row_tree *t, const struct tree_place *p, uint32_t level, const struct entries *e,
                           bool in_order)
{
    struct tree_node *n = p->nodes[level];
    unsigned half = in_order ? TREE_FANOUT : (TREE_FANOUT + 1) / 2;
    const struct version *high = upper_bound(t, p, level), *mid = first_of(level, e->refs[half]);
    struct halves h = { .left = n };

    h.right = make_node(t, level, mid, high, e->refs + half, TREE_FANOUT + 1 - half);
    if (!in_order) {
        h.left = make_node(t, level, n->low, mid, e->refs, half);
        t->n_nodes[level]--; /* n is out of use */
    }
    return h;
}

/* The leaf in front of that of p; NULL: it is the first. */
static struct tree_node *leaf_before(const struct row_tree *t, const struct tree_place *p)
{
    uint32_t top = tree_root(t)->level, level = 1;
    struct tree_node *n;

    while (level <= top && p->at[level] == 0)
        level++;
    if (level > top)
        return NULL;
    n = ref_at(p->nodes[level], node_perm(p->nodes[level]), p->at[level] - 1);
    while (n->level) {
        uint64_t perm = node_perm(n);

        n = ref_at(n, perm, perm_count(perm) - 1);
    }
    return n;
}

static void chain_leaves(const struct row_tree *t, const struct tree_place *p, const struct halves *h)
{
    struct tree_node *old = p->nodes[0], *before;
    struct tree_node *behind = atomic_load_explicit(&old->next, memory_order_relaxed);

    atomic_store_explicit(&h->right->next, behind, memory_order_relaxed);
    if (h->left == old) {
        atomic_store_explicit(&old->next, h->right, memory_order_release);
        return;
    }
    atomic_store_explicit(&h->left->next, h->right, memory_order_relaxed);
    before = leaf_before(t, p);
    if (before)
        atomic_store_explicit(&before->next, h->left, memory_order_release);
}

/* Let both halves take the place of the node on the level below; returns false when they become halves of a parent. */
static bool replace_child(struct row_tree *t, const struct tree_place *p, uint32_t level, struct halves *h)
{
    struct tree_node *n = p->nodes[level];
    uint64_t perm = node_perm(n);
    unsigned at = p->at[level];
    struct entries e;
    bool in_order;

    if (perm_count(perm) < TREE_FANOUT) {
        node_add(n, at + 1, h->right->low->row.key, h->right);
        ROW_TREE_STEP();
        atomic_store_explicit(&n->refs[perm_slot(perm, at)], h->left, memory_order_release);
        return true;
    }
    gather(n, at + 1, h->right, &e);
    in_order = h->left == e.refs[at] && at + 1 == TREE_FANOUT;
    e.refs[at] = h->left;
    *h = split(t, p, level, &e, in_order);
    return false;
}

void row_tree_insert(struct row_tree *t, const struct tree_place *p, struct version *v)
{
    struct tree_node *leaf = p->nodes[0];
    uint32_t top = tree_root(t)->level;
    struct entries e;
    struct halves h;
    uint64_t perm = node_perm(leaf);
    bool in_order;

    if (perm_count(perm) < TREE_FANOUT) {
        node_add(leaf, p->at[0], v->row.key, v);
        t->last = v;
        return;
    }
    in_order = p->at[0] == TREE_FANOUT && ref_at(leaf, perm, TREE_FANOUT - 1) == t->last;
    gather(leaf, p->at[0], v, &e);
    h = split(t, p, 0, &e, in_order);
    ROW_TREE_STEP();
    chain_leaves(t, p, &h);
    ROW_TREE_STEP();
    t->last = v;
    for (uint32_t level = 1; level <= top; level++)
        if (replace_child(t, p, level, &h))
            return;
    atomic_store_explicit(&t->root, make_node(t, top + 1, NULL, NULL, (void *[]){ h.left, h.right }, 2),
                          memory_order_release);
}

static void enter_leaf(struct tree_cursor *c, const struct tree_node *leaf)
{
    c->leaf = leaf;
    c->perm = leaf ? node_perm(leaf) : 0;
}

/* The rows that are about to be met come all at once, instead of one after the other. */
static void rows_prefetch(const struct tree_cursor *c)
{
    for (unsigned i = c->at; i < perm_count(c->perm); i++) {
        const struct version *v = ref_at(c->leaf, c->perm, i);

        __builtin_prefetch(v);
        __builtin_prefetch((const char *)v + CACHE_LINE);
    }
}

/* Go on to the next leaf when this one has no more. */
static void settle_forward(struct tree_cursor *c)
{
    while (c->leaf && c->at >= perm_count(c->perm)) {
        const struct tree_node *next = atomic_load_explicit(&c->leaf->next, memory_order_acquire);

        enter_leaf(c, next);
        c->at = 0;
        if (!next)
            return;
        rows_prefetch(c);
        next = atomic_load_explicit(&next->next, memory_order_acquire);
        if (next)
            node_prefetch(next);
    }
}

void tree_cursor_set(struct tree_cursor *c, const struct row_tree *t, const struct shale_slice *key, bool after)
{
    bool equal = false;

    enter_leaf(c, key ? find_leaf(t, TO_KEY, *key) : find_leaf(t, TO_FIRST, slice_of(NULL, 0)));
    c->at = key ? find_entry(c->leaf, c->perm, *key, &equal) : 0;
    if (equal && after)
        c->at++;
    rows_prefetch(c);
    settle_forward(c);
}

/*
 * The leaf is the one that may have keys below key, and then it has one: what it begins with is a key that is there,
 * and in the first leaf of all something lies below any bound.
 */
static void set_below(struct tree_cursor *c, const struct row_tree *t, struct shale_slice key)
{
    bool equal;

    enter_leaf(c, find_leaf(t, BELOW_KEY, key));
    c->at = find_entry(c->leaf, c->perm, key, &equal);
    if (c->at-- == 0)
        c->leaf = NULL;
}

void tree_cursor_set_back(struct tree_cursor *c, const struct row_tree *t, const struct shale_slice *key, bool before)
{
    bool equal = false;

    if (!key) {
        enter_leaf(c, find_leaf(t, TO_LAST, slice_of(NULL, 0)));
        c->at = perm_count(c->perm) - 1;
        if (perm_count(c->perm) == 0)
            c->leaf = NULL;
        return;
    }
    if (!before) {
        enter_leaf(c, find_leaf(t, TO_KEY, *key));
        c->at = find_entry(c->leaf, c->perm, *key, &equal);
    }
    if (!equal)
        set_below(c, t, *key);
}

struct version *tree_cursor_get(const struct tree_cursor *c)
{
    return c->leaf ? ref_at(c->leaf, c->perm, c->at) : NULL;
}

void tree_cursor_next(struct tree_cursor *c)
{
    c->at++;
    settle_forward(c);
}

void tree_cursor_prev(struct tree_cursor *c, const struct row_tree *t)
{
    if (c->at-- > 0)
        return;
    if (c->leaf->low)
        set_below(c, t, c->leaf->low->row.key);
    else
        c->leaf = NULL;
}
