/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANIFEST_NUMBERED_H
#define MANIFEST_NUMBERED_H

#include "base/buf.h"
#include "object/paths.h"

#include <shale/object_store.h>

/* Objects with consecutive numbers, of which the greatest is the current one (storage format section 1.5). */
struct numbered {
    struct shale_store *store; /* borrowed, as root */
    const char *root;
    enum path_kind kind; /* PATH_MANIFEST or PATH_COMPACTIONS */
};

/* The greatest id in the store and when it was created; id 0 when there is none. mtime_ms may be NULL. */
int numbered_last(const struct numbered *n, uint64_t *id, int64_t *mtime_ms);

/* Object id replaces out / what the store knows of it. -ENOENT when there is none. */
int numbered_get(const struct numbered *n, uint64_t id, struct shale_buf *out);
int numbered_head(const struct numbered *n, uint64_t id, struct shale_object_meta *out);

/* Create object id. -EEXIST when there is one. */
int numbered_put(const struct numbered *n, uint64_t id, struct shale_slice data);

#endif
