/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_CONFLICT_H
#define DB_CONFLICT_H

#include "base/list.h"
#include "mem/memtable.h"

/*
 * Which keys were written by which recent commits, for as long as a transaction is under way that began before (section
 * 20.3, R287-R296). Only keys and sequence numbers, so that it does not matter when memtables go to L0. The caller
 * serialises all calls (the writers' lock).
 */
struct conflict_log {
    struct list parts; /* of struct log_part, oldest first: what is no longer needed goes part by part */
    size_t n_keys;
};

void conflict_log_init(struct conflict_log *l);
/* Forget everything (no transaction is under way); also the end of it. */
void conflict_log_clear(struct conflict_log *l);
/* Make room for these keys of a commit that is about to happen, so that adding them cannot fail. 0 or -ENOMEM. */
int conflict_log_reserve(struct conflict_log *l, const struct shale_row *rows, size_t n);
/* The key was written by commit seq, which is not less than any before. */
void conflict_log_add(struct conflict_log *l, struct shale_slice key, uint64_t seq);
/* Forget what is not needed by transactions that began at started or later: some may stay. */
void conflict_log_trim(struct conflict_log *l, uint64_t started);

/* Whether a commit after started wrote the key. */
bool conflict_log_has(const struct conflict_log *l, struct shale_slice key, uint64_t started);
/* The same for a key of the range: 1, 0 or -ENOMEM. */
int conflict_log_has_range(const struct conflict_log *l, const struct key_range *range, uint64_t started);

#endif
