/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_ADMIN_H
#define DB_ADMIN_H

#include "manifest/manifest_store.h"

#include <shale/admin.h>

/* A database that is looked at and changed by its objects alone, without a handle. */
struct admin {
    struct shale_store *store, *wal_store; /* retrying; wal_store is store, or owned as store is */
    struct manifest_store *manifests;
    int64_t now_ms;
};

/* a may be NULL. Does no I/O. */
int admin_open(struct admin *ad, struct shale_store *store, const char *path, const struct shale_admin_options *a);
void admin_close(struct admin *ad); /* also of one that was zeroed, or failed to open */

#endif
