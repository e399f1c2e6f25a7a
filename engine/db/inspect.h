/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_INSPECT_H
#define DB_INSPECT_H

#include "manifest/manifest_store.h"
#include "sst/table_store.h"

#include <shale/inspect.h>

/* Set at its opening and read-only since; what it points to looks after its own locks. */
struct shale_inspect {
    struct shale_store *store, *wal_store; /* owned retry wrappers; wal_store NULL: the same */
    struct table_store ts;
    bool has_ts;
    struct manifest_store *manifests;
};

struct shale_sst {
    struct shale_inspect *in; /* borrowed */
    struct sst_handle *handle;
    struct table_index *index;
};

#endif
