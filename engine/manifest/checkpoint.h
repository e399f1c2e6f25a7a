/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANIFEST_CHECKPOINT_H
#define MANIFEST_CHECKPOINT_H

#include "manifest/manifest_store.h"

#include <shale/admin.h>

/* Edits of a manifest's list of checkpoints (storage format section 8.1), and the same by compare-and-swap. */

/* NULL when there is none. Borrowed until the manifest changes. */
struct checkpoint *checkpoint_find(const struct manifest *m, struct shale_uuid id);
/* Whether it has expired at now_ms. */
bool checkpoint_is_expired(const struct checkpoint *c, int64_t now_ms);
/* Unix seconds in which something of lifetime_ms from now_ms on ends. At least 1, since 0 stands for never. */
uint32_t checkpoint_expiry(int64_t now_ms, int64_t lifetime_ms);

/* What is to be added; the id is chosen before the first attempt, so that a repeated one is recognised. */
struct checkpoint_request {
    struct shale_uuid id;
    const char *name;   /* borrowed; NULL: none */
    uint32_t create_s, expire_s;
    bool has_source;
    struct shale_uuid source;
};

/* With a fresh id. opt may be NULL. */
void checkpoint_request_init(struct checkpoint_request *r, const struct shale_checkpoint_options *opt, int64_t now_ms);
/*
 * Add it to m, which is to be stored as next_id (R116). 0; MANIFEST_UNCHANGED when it is there already; -ENOENT when
 * its source is not; SHALE_EINITIALIZED; -ENOMEM.
 */
int checkpoint_add(struct manifest *m, const struct checkpoint_request *r, uint64_t next_id);
/* The same with manifest_store_update; *manifest_id is the version that it keeps. out may be NULL: a reference. */
int checkpoint_store_add(struct manifest_store *s, enum epoch_role role, const struct checkpoint_request *r,
                         uint64_t *manifest_id, struct manifest_version **out);

/* Whether there was one. */
bool checkpoint_remove(struct manifest *m, struct shale_uuid id);
/* How many were removed. */
size_t checkpoint_remove_expired(struct manifest *m, int64_t now_ms);
/* 0 also when there was none. */
int checkpoint_store_remove(struct manifest_store *s, struct shale_uuid id);
/* expire_s 0: never. -ENOENT when there is none. */
int checkpoint_store_refresh(struct manifest_store *s, struct shale_uuid id, uint32_t expire_s);

#endif
