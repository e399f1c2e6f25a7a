/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_VOLUME_OPEN_H
#define FS_CORE_VOLUME_OPEN_H

#include "fs/core/volume_state.h"

/* Sets store, patient and path of fs by url and fs->opt.store, as far as it gets; close_store frees what is set. */
int volume_open_store(struct fs *fs, const char *url, bool create);
void volume_close_store(struct fs *fs);

/*
 * Open a volume for looking: store, path, volume and db of fs are set, nothing is written and no session made.
 * close accepts what open left, also after a failure. Codes and sentences as of fs_open.
 */
int volume_open_reader(const char *url, const struct shale_store_options *store, struct fs *fs);
void volume_close_reader(struct fs *fs);

/* How the database of the volume is opened, and compacted by whoever does; uses fs->opt, volume and filter. */
void volume_db_options(struct fs *fs, struct shale_options *opt);

#endif
