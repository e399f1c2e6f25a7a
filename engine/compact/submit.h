/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_SUBMIT_H
#define COMPACT_SUBMIT_H

#include "manifest/compactions_store.h"
#include "manifest/manifest_store.h"

#include <shale/compact.h>

/* The sources that spec means in m, as a submitted compaction without id. 0; SHALE_END: none; -EINVAL; -ENOMEM. */
int compaction_of_spec(const struct manifest *m, const struct shale_compaction_spec *spec, struct compaction *out);

/* A new id, greater than every one in the list: ids also order what starts first. */
struct shale_ulid compactions_new_id(const struct compactions *cs, int64_t now_ms);

/* As shale_compaction_submit, for an owner of a retrying store. */
int compaction_submit(struct shale_store *store, const char *root, const struct shale_compaction_spec *spec,
                      int64_t now_ms, int64_t timeout_ms, struct shale_ulid *id);

/* What of a record is told. */
struct shale_compaction compaction_told(const struct compaction *c);

#endif
