/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/rows.h"

#include <shale/reader.h>

int rows_get(struct fs *fs, const struct fs_key *key, const struct shale_read_options *opt, struct shale_buf *out)
{
    struct shale_slice k = fs_key_slice(key);

    if (!fs->reader)
        return shale_db_get(fs->db, k, opt, out);
    return volume_note_gone(fs, shale_reader_get(fs->reader, k, opt, out));
}

int rows_scan(struct fs *fs, const struct shale_key_range *range, const struct shale_read_options *opt,
              struct shale_iter **out)
{
    return fs->reader ? shale_reader_scan(fs->reader, range, opt, out) : shale_db_scan(fs->db, range, opt, out);
}

int rows_scan_prefix(struct fs *fs, const struct fs_key *prefix, const struct shale_read_options *opt,
                     struct shale_iter **out)
{
    struct shale_slice p = fs_key_slice(prefix);

    return fs->reader ? shale_reader_scan_prefix(fs->reader, p, opt, out) : shale_db_scan_prefix(fs->db, p, opt, out);
}
