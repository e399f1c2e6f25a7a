/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANIFEST_COMPACTIONS_STORE_H
#define MANIFEST_COMPACTIONS_STORE_H

#include "format/compactions_codec.h"

#include <shale/object_store.h>

/*
 * The chain of compactions objects (R109-R117), used by one thread at a time.
 * epoch is what load compares with; writing does not check it, since who writes has loaded.
 */
struct compactions_store {
    struct shale_store *store; /* borrowed */
    char *root;                /* owned */
    uint64_t id;               /* newest that was read or written; 0: none */
    uint64_t epoch;            /* claimed; 0: none */
};

int compactions_store_init(struct compactions_store *s, struct shale_store *store, const char *root);
void compactions_store_fini(struct compactions_store *s);
/* The newest; -ENOENT when there is none. SHALE_EFENCED when its epoch is greater than the claimed one. */
int compactions_store_load(struct compactions_store *s, struct compactions *out);
/*
 * The same when there is a newer one than s->id, else SHALE_END, out as it was: objects never change, so that the
 * listing tells, and nothing is read again.
 */
int compactions_store_load_newer(struct compactions_store *s, struct compactions *out);
int compactions_store_read(struct compactions_store *s, uint64_t id, struct compactions *out);
/* Store c as the next id; -EEXIST when somebody else was first: load, merge, try again. */
int compactions_store_write(struct compactions_store *s, const struct compactions *c);

#endif
