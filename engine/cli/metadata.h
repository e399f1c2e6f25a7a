/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_METADATA_H
#define CLI_METADATA_H

#include "cli/json.h"
#include "format/compactions_codec.h"

/* [id, manifest] and [id, compactions], as SlateDB 0.12.1 prints them with sorted keys. 0 or -ENOMEM. */
int metadata_print_manifest(struct json *j, uint64_t id, const struct manifest *m);
int metadata_print_compactions(struct json *j, uint64_t id, const struct compactions *c);
/* One record of the list. */
void metadata_print_compaction(struct json *j, const struct compaction *c);

#endif
