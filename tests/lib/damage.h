/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_DAMAGE_H
#define TESTS_DAMAGE_H

#include "base/rng.h"

#include <shale/object_store.h>
#include <stdbool.h>

/* All objects of a store, taken out so that they can be put into others, damaged. */
struct stored {
    char *name; /* owned */
    struct shale_buf data;
};

struct stored_set {
    struct stored *v; /* by name, ascending */
    size_t n, cap;
};

/* Each aborts the test when it fails. */
void stored_load(struct stored_set *s, struct shale_store *store);
void stored_fini(struct stored_set *s);

enum damage_kind {
    DAMAGE_FLIP,    /* of the bit at (in bits) */
    DAMAGE_CUT,     /* to at bytes */
    DAMAGE_ZEROS,   /* as long as before */
    DAMAGE_GARBAGE, /* likewise, random bytes from seed at */
    DAMAGE_SWAP,    /* with the object other */
};

struct damage {
    enum damage_kind kind;
    size_t victim, other; /* indexes of the set */
    uint64_t at;
};

/* Overwrite everything in store with the set, damaged. */
void damage_apply(const struct stored_set *s, const struct damage *d, struct shale_store *store);
/* "bit 3 of byte 77 of t/db/wal/... flipped"; a static buffer. */
const char *damage_text(const struct stored_set *s, const struct damage *d);
/* The part of the name behind the last slash is in the sentence of the error; of a swap, of one of the two. */
bool damage_named(const struct stored_set *s, const struct damage *d, const char *sentence);

/* What comes may take so many seconds; then the process says what it was (borrowed) and aborts. 0: not any more. */
void damage_watch(const char *text, unsigned seconds);

#endif
