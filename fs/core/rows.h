/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_ROWS_H
#define FS_CORE_ROWS_H

#include "fs/core/key_codec.h"
#include "fs/core/volume_state.h"

/*
 * Reads of the volume's rows, whatever it is opened for: by the database of a writer or of one moment, or by a reader
 * that follows a writer. As shale_db_get, shale_db_scan and shale_db_scan_prefix. -ESTALE of a scan: begin it anew,
 * behind what it gave.
 */
int rows_get(struct fs *fs, const struct fs_key *key, const struct shale_read_options *opt, struct shale_buf *out);
int rows_scan(struct fs *fs, const struct shale_key_range *range, const struct shale_read_options *opt,
              struct shale_iter **out);
int rows_scan_prefix(struct fs *fs, const struct fs_key *prefix, const struct shale_read_options *opt,
                     struct shale_iter **out);

#endif
