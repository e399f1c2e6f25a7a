/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_GC_LIVE_H
#define COMPACT_GC_LIVE_H

#include "format/compactions_codec.h"

/* SSTs that something refers to. All zero is empty; sorted by live_set_settle, before which nothing is found. */
struct live_set {
    struct shale_ulid *ids; /* owned */
    size_t n, cap;
};

void live_set_fini(struct live_set *s);
/* Each 0 or -ENOMEM. */
int live_set_add_manifest(struct live_set *s, const struct manifest *m);
int live_set_add_outputs(struct live_set *s, const struct compactions *c);
void live_set_settle(struct live_set *s);
bool live_set_has(const struct live_set *s, struct shale_ulid id);

/*
 * When SSTs were first seen without a reference, by id, for a collector that runs again and again. A run walks over
 * the SSTs in order of their ids and builds the next state from this one. All zero is empty.
 */
struct gc_memory {
    struct gc_seen {
        struct shale_ulid id;
        int64_t since_ms;
    } *list; /* owned, ascending */
    size_t n, cap;
};

void gc_memory_fini(struct gc_memory *m);
/* Since when id is garbage, by old; now_ms if it is news. Into next, whose last id is smaller. 0 or -ENOMEM. */
int gc_memory_carry(const struct gc_memory *old, struct gc_memory *next, struct shale_ulid id, int64_t now_ms,
                    int64_t *since_ms);

#endif
