/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/dentry.h"

#include "base/bytes.h"
#include "base/err.h"
#include "fs/core/fs.h"

#include <errno.h>
#include <sys/stat.h>

void dentry_encode(const struct dentry *d, uint8_t out[DENTRY_VALUE_LEN])
{
    put_u64be(out, d->ino);
    out[8] = (uint8_t)((d->type & S_IFMT) >> 12);
}

/*
 * What a row may say. Others are refused when they are read, so that damage never reaches the kernel as a strange
 * file.
 */
static bool known_type(mode_t type)
{
    return S_ISREG(type) || S_ISDIR(type) || S_ISLNK(type) || S_ISCHR(type) || S_ISBLK(type) || S_ISFIFO(type) ||
           S_ISSOCK(type);
}

int dentry_decode(struct shale_slice value, struct dentry *out)
{
    if (value.len != DENTRY_VALUE_LEN)
        return err_set(SHALE_ECORRUPT, "directory entry of %zu bytes instead of %d", value.len, DENTRY_VALUE_LEN);
    out->ino = get_u64be(value.data);
    out->type = (mode_t)value.data[8] << 12;
    if (out->ino == 0 || value.data[8] > 15 || !known_type(out->type))
        return err_set(SHALE_ECORRUPT, "directory entry for inode %llu of type %u", (unsigned long long)out->ino,
                       value.data[8]);
    return 0;
}

/* The kernel checks as much before it asks; other callers of the core, and a kernel with other limits, do not. */
int dentry_check_name(const char *name)
{
    size_t len = strlen(name);

    if (len > FS_NAME_MAX)
        return -ENAMETOOLONG;
    if (len == 0 || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EINVAL;
    return 0;
}
