/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_DENTRY_H
#define FS_CORE_DENTRY_H

#include <shale/types.h>
#include <sys/types.h>

/* The value of a directory entry: u64be inode number, u8 type (the S_IFMT bits of its mode shifted right by 12). */
struct dentry {
    uint64_t ino;
    mode_t type; /* S_IFMT bits */
};

#define DENTRY_VALUE_LEN 9

void dentry_encode(const struct dentry *d, uint8_t out[DENTRY_VALUE_LEN]);
/* 0 or SHALE_ECORRUPT with a sentence. */
int dentry_decode(struct shale_slice value, struct dentry *out);

/* 0; -ENAMETOOLONG; -EINVAL for "", ".", ".." or a name with a slash. */
int dentry_check_name(const char *name);

#endif
