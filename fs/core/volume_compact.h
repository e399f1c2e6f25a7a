/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_VOLUME_COMPACT_H
#define FS_CORE_VOLUME_COMPACT_H

#include <shale/compact.h>
#include <shale/object_store.h>

/*
 * A compactor of a volume in a process without mount, with the volume's merge operator, filter, block size and codec
 * (H18). It takes the compactions over from the mount that has the volume, whose writing goes on; that mount takes
 * them back when there is work that nobody does.
 */
struct volume_compactor;

/*
 * store: as of fs_options. -ENOENT: no volume; -EROFS: it has features that this program may not write; and as of
 * shale_compactor_open.
 */
int volume_compactor_open(const char *url, const struct shale_store_options *store,
                          const struct shale_compactor_config *cfg, struct volume_compactor **out);
/* Want everything to be compacted into one run. SHALE_END: there is nothing. */
int volume_compactor_submit(struct volume_compactor *c, struct shale_ulid *id);
/* Rows and bytes of removed files and cut data that were left out so far. */
void volume_compactor_dropped(const struct volume_compactor *c, uint64_t *rows, uint64_t *bytes);
void volume_compactor_close(struct volume_compactor *c); /* NULL is fine */

/* The same for whoever compacts the volume now, the mount that has it for one. */
int volume_compact_submit(const char *url, const struct shale_store_options *store, struct shale_ulid *id);

#endif
