/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_DIR_FILE_H
#define OBJECT_DIR_FILE_H

#include <stdint.h>
#include <sys/stat.h>

/* What the files of a directory store have in common. */

/* Where the put id is kept; file systems without extended attributes keep none. */
#define STORE_DIR_PUT_ID_XATTR "user.shale.putid"

static inline int64_t store_dir_mtime_ms(const struct stat *sb)
{
    return (int64_t)sb->st_mtim.tv_sec * 1000 + sb->st_mtim.tv_nsec / 1000000;
}

#endif
