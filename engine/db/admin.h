/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_ADMIN_H
#define DB_ADMIN_H

#include "manifest/manifest_store.h"
#include "object/store_metered.h"

#include <shale/admin.h>

/* A database that is looked at and changed by its objects alone, without a handle. */
struct admin {
    struct counted_store main, wal;        /* the second one only where there is a store for the WAL */
    struct shale_store *store, *wal_store; /* of these, for use; wal_store may be store */
    struct manifest_store *manifests;
    int64_t now_ms;
};

/* a may be NULL. component: who counts, where a has metrics. Does no I/O. */
int admin_open(struct admin *ad, struct shale_store *store, const char *path, const struct shale_admin_options *a,
               const char *component);
void admin_close(struct admin *ad); /* also of one that was zeroed, or failed to open */

#endif
