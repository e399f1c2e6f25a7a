/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEM_ROW_TREE_H
#define MEM_ROW_TREE_H

#include "base/slice.h"

#include <stdatomic.h>

/*
 * Keys in order, each with the newest version of its row: a B+-tree for one inserting thread and any number of readers
 * without a lock. Keys are never removed. The memory of versions is the caller's and outlives the tree.
 */

/* A row in memory. All but older is immutable once the tree has it. */
struct version {
    struct shale_row row;
    _Atomic(struct version *) older; /* of the same key; stored with release, loaded with acquire */
    struct version *jump;            /* itself, or an older one, some way down; see version_visible */
    uint32_t depth;                  /* how many older ones there were */
};

#define TREE_FANOUT 14
#define TREE_LEVELS_MAX 20

/*
 * Nodes are filled in order of arrival, so that nothing a reader looks at moves: slots never change place, and perm
 * tells their order. It is published with release, when the new slot is complete.
 *   perm      nibble 0: how many slots are in use; nibble i + 1: the slot that comes i-th
 *   words[s]  8 bytes of the key of slot s behind the skip bytes which all keys of the node share, as a big-endian
 *             number, short keys padded with zeros; 0 for what comes first in an inner node, as it has no lower bound
 *   refs[s]   leaf: the newest version of the key; inner: a child
 */
struct tree_node {
    _Atomic uint64_t perm;
    const struct version *low; /* the least key that may be here; NULL: no bound */
    _Atomic(struct tree_node *) next; /* leaf: the one behind it */
    uint32_t level;            /* 0: leaf */
    uint32_t skip;
    _Atomic uint64_t words[TREE_FANOUT];
    _Atomic(void *) refs[TREE_FANOUT];
};

struct tree_slab;

struct row_tree {
    _Atomic(struct tree_node *) root;
    _Atomic uint64_t alloc_bytes; /* written by the inserter, read by anybody (relaxed) */
    /* Of the inserter alone. */
    const struct version *last;   /* the newest key */
    size_t n_nodes[TREE_LEVELS_MAX];
    struct tree_slab *slabs;      /* nodes are cut off the first; the others are used up, or reserved behind it */
    struct tree_slab *reserved;
    size_t n_free;                /* nodes that are left in them */
    struct tree_node first;       /* the first leaf, so that a small table needs no other */
};

void row_tree_init(struct row_tree *t);
void row_tree_fini(struct row_tree *t);
/* Make sure that n keys can be inserted without allocating. 0 or -ENOMEM. */
int row_tree_reserve(struct row_tree *t, size_t n);

/* Where a key is, or goes: for the inserter, until the next insertion. */
struct tree_place {
    struct shale_slice key;
    _Atomic(void *) *found; /* where the newest version of the key is; NULL: it is not there */
    struct tree_node *nodes[TREE_LEVELS_MAX]; /* by level */
    unsigned at[TREE_LEVELS_MAX]; /* in the leaf: before which entry; above: in which child */
};

void row_tree_place(const struct row_tree *t, struct shale_slice key, struct tree_place *p);
/* Make sure that inserting there needs no memory. 0 or -ENOMEM. */
int row_tree_reserve_place(struct row_tree *t, const struct tree_place *p);
/* A key that was not found enters with its first version. What it needs was reserved. */
void row_tree_insert(struct row_tree *t, const struct tree_place *p, struct version *v);

/* The newest version of key, or NULL. */
struct version *row_tree_find(const struct row_tree *t, struct shale_slice key);

/*
 * A place between readers' rows: keys that were there when it was set are met, in order; later ones perhaps.
 * leaf NULL: past the end (or, going back, the beginning).
 */
struct tree_cursor {
    const struct tree_node *leaf;
    uint64_t perm;
    unsigned at;
};

/* At the first key at or behind key (after: behind it); with key NULL at the first of all. */
void tree_cursor_set(struct tree_cursor *c, const struct row_tree *t, const struct shale_slice *key, bool after);
/* At the last key at or before key (before: before it); with key NULL at the last of all. */
void tree_cursor_set_back(struct tree_cursor *c, const struct row_tree *t, const struct shale_slice *key, bool before);
/* The newest version of the key where it is; NULL past the end. */
struct version *tree_cursor_get(const struct tree_cursor *c);
void tree_cursor_next(struct tree_cursor *c);
void tree_cursor_prev(struct tree_cursor *c, const struct row_tree *t);

#endif
