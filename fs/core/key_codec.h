/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_KEY_CODEC_H
#define FS_CORE_KEY_CODEC_H

#include "fs/core/fs.h"

/*
 * The keys of a volume. Integers are big-endian, so that key order is the order of scans, and the rows of one inode are
 * neighbours, its own row first:
 *   'C' name                          counter
 *   'I' u64 ino 'a'                   inode
 *   'I' u64 ino 'd' name              directory entry of ino
 *   'I' u64 ino 'e' u32 gen u64 chunk chunk of the data of ino
 *   'I' u64 ino 'x' name              extended attribute of ino
 *   'O' 16-byte session u64 ino       orphan: unlinked, still open in that session
 * A name is 1..FS_NAME_MAX bytes without NUL; of a directory entry also without '/', and neither "." nor "..".
 */
enum fs_key_kind {
    FS_KEY_COUNTER = 'C',
    FS_KEY_INODE = 'a',
    FS_KEY_DENTRY = 'd',
    FS_KEY_CHUNK = 'e',
    FS_KEY_XATTR = 'x',
    FS_KEY_ORPHAN = 'O',
};

#define FS_KEY_MAX (1 + 8 + 1 + FS_NAME_MAX + 1) /* one byte of room for fs_key_after */

/* A key, or the prefix of some. */
struct fs_key {
    size_t len;
    uint8_t bytes[FS_KEY_MAX];
};

static inline struct shale_slice fs_key_slice(const struct fs_key *k)
{
    return (struct shale_slice){ .data = k->bytes, .len = k->len };
}

void fs_key_inode(struct fs_key *k, uint64_t ino);
void fs_key_chunk(struct fs_key *k, uint64_t ino, uint32_t gen, uint64_t chunk);
void fs_key_orphan(struct fs_key *k, struct shale_ulid session, uint64_t ino);
/* 0; -ENAMETOOLONG; -EINVAL for a name that is empty or holds what it may not. */
int fs_key_counter(struct fs_key *k, const char *name);
int fs_key_dentry(struct fs_key *k, uint64_t ino, struct shale_slice name);
int fs_key_xattr(struct fs_key *k, uint64_t ino, struct shale_slice name);

/* Prefixes for scans. */
void fs_key_counters(struct fs_key *k);                            /* every counter */
void fs_key_inodes(struct fs_key *k);                              /* every row of every inode */
void fs_key_inode_rows(struct fs_key *k, uint64_t ino);            /* every row of ino */
void fs_key_dentries(struct fs_key *k, uint64_t ino);              /* the entries of directory ino */
void fs_key_chunks(struct fs_key *k, uint64_t ino);                /* the data of ino, of every generation */
void fs_key_gen_chunks(struct fs_key *k, uint64_t ino, uint32_t gen); /* of one generation, in file order */
void fs_key_xattrs(struct fs_key *k, uint64_t ino);
void fs_key_orphans(struct fs_key *k);                             /* of every session */
void fs_key_session_orphans(struct fs_key *k, struct shale_ulid session);

/* Become the least key that is greater: where a scan goes on behind k. k is a whole key, not one made so. */
void fs_key_after(struct fs_key *k);

/* What a key says. Fields that its kind does not have are zero. */
struct fs_key_parts {
    enum fs_key_kind kind;
    uint64_t ino;
    uint32_t gen;
    uint64_t chunk;
    struct shale_ulid session;
    struct shale_slice name; /* borrowed from the key */
};

/* 0, or SHALE_ECORRUPT with a sentence for bytes that no function above makes. */
int fs_key_parse(struct shale_slice key, struct fs_key_parts *out);

/* "directory entry of inode 12", for messages; never the name itself. Returns out. */
const char *fs_key_describe(struct shale_slice key, char *out, size_t cap);

#endif
