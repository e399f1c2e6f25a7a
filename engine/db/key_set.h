/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_KEY_SET_H
#define DB_KEY_SET_H

#include "base/buf.h"

#include <stdbool.h>

/*
 * A set of keys that is filled first and looked at then: adding and removing are notes, which settling makes into a
 * sorted set. A key may be noted any number of times; memory follows the number of different ones.
 */
struct key_set {
    struct shale_buf bytes; /* keys, one behind the other */
    struct key_note *notes; /* the first n_settled: in order, different, all of them in the set */
    size_t n, cap, n_settled;
};

void key_set_fini(struct key_set *s); /* all zero is empty */
/* 0 or -ENOMEM (nothing changed). */
int key_set_add(struct key_set *s, struct shale_slice key);
int key_set_remove(struct key_set *s, struct shale_slice key);
/* 0 or -ENOMEM. Afterwards n keys, in order, can be looked at until the next note. */
int key_set_settle(struct key_set *s);
struct shale_slice key_set_at(const struct key_set *s, size_t i);
/* REQUIRES settled */
bool key_set_has(const struct key_set *s, struct shale_slice key);

#endif
