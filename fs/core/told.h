/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_TOLD_H
#define FS_CORE_TOLD_H

#include "base/list.h"
#include "base/sync.h"

#include <stdint.h>

/*
 * The names of which a follower has told a cache above it: that they lead to an inode, or that they are absent. A
 * change of any other name need not be told. Each name belongs to a live inode, and is forgotten with it: to the one
 * that it leads to, or, when it is absent, to its directory. From any thread.
 */
struct told {
    struct mutex mu; /* rank FS_RANK_TOLD; also of the lists that inodes have */
    struct list *buckets;
    size_t n_buckets; /* a power of two */
    size_t n, n_absent;
};

/* Absent names that are kept at most: no cache says when it has forgotten one. */
#define TOLD_ABSENT_MAX 65536u

int told_init(struct told *t);
void told_fini(struct told *t); /* t zeroed is fine */

/* owned: the list of the inode that the name belongs to. 0, -ENOMEM, or -ENOSPC for one absent name too many. */
int told_add(struct told *t, uint64_t dir, const char *name, bool absent, struct list *owned);
bool told_has(struct told *t, uint64_t dir, const char *name, size_t len);
/* The inode goes. */
void told_drop(struct told *t, struct list *owned);

/* Call fn for each name that is there from beginning to end, without the lock. 0 or -ENOMEM. */
typedef void (*told_fn)(void *arg, uint64_t dir, const char *name);
int told_each(struct told *t, told_fn fn, void *arg);

#endif
