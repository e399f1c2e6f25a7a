/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_INODE_CODEC_H
#define FS_CORE_INODE_CODEC_H

#include "fs/core/fs.h"

#include <sys/stat.h>

/*
 * The row of an inode is a record, which says everything, or an operand, which says what changes. The first byte tells
 * them apart. Integers are varints, shortest form (fs/core/wire.h); masks say which fields follow; a field that has its
 * default is left out, so that every record and operand has one encoding.
 *
 * Record:  [u8 1][mask][mode][uid][gid][nlink][u64be mtime]
 *          then, if the mask has it: [ctime - mtime][atime - mtime][btime - mtime] (signed, modulo 2^64) [size][blocks]
 *          [rdev][flags][project] [next_gen, n, n times: first_chunk less that of the entry before, gen]
 *          and by type:  directory [parent][n_entries]     symlink [len][target]
 * Operand: [u8 2][mask] then, if the mask has it: [nlink][entries][blocks] (signed) [size] [u64be mtime]
 *          [ctime - mtime][atime - mtime] (signed; mtime 0 when it is not set) [flags]
 */
#define INODE_GENS_MAX 64u

/* inode_rec.flags. Those that are not known here are kept. */
enum { INODE_HAS_HOLES = 1 << 0 }; /* blocks are not simply what the size says */

/* Chunks from first_chunk on, up to the next entry, have this generation. */
struct inode_gen {
    uint64_t first_chunk;
    uint32_t gen;
};

/* Start from inode_rec_init, which makes the pointers NULL; they are owned, inode_rec_fini frees them. */
struct inode_rec {
    uint32_t mode; /* with the type, S_IFMT */
    uint32_t uid, gid;
    uint32_t nlink;
    uint32_t flags;
    uint32_t project;
    uint32_t rdev;
    uint64_t size;   /* at most FS_SIZE_MAX */
    uint64_t blocks; /* of 512 bytes */
    int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
    uint32_t next_gen; /* greater than every generation in use; 1 for a new file */
    uint32_t n_gens;
    struct inode_gen *gens; /* regular files; ascending first_chunk; chunks before the first entry have generation 0 */
    char *target;           /* symlinks; 1..FS_SYMLINK_MAX bytes */
    uint64_t parent;        /* directories */
    uint64_t n_entries;     /* directories */
};

void inode_rec_init(struct inode_rec *rec);
void inode_rec_fini(struct inode_rec *rec);
/* dst, initialized, becomes a copy. 0 or -ENOMEM (dst is unchanged). */
int inode_rec_copy(struct inode_rec *dst, const struct inode_rec *src);

/* Append the encoding. 0, -ENOMEM, or -EINVAL for a record that could not be decoded. */
int inode_rec_encode(const struct inode_rec *rec, struct shale_buf *out);
/* out, initialized, is replaced on success. SHALE_ECORRUPT, also for an operand; -ENOMEM. */
int inode_rec_decode(struct shale_slice value, struct inode_rec *out);
/* Whether a value says of itself that it is a record (as against an operand without anything below it). */
bool inode_is_record(struct shale_slice value);

/* inode_op.set: which times are set. */
enum { INODE_OP_MTIME = 1 << 0, INODE_OP_CTIME = 1 << 1, INODE_OP_ATIME = 1 << 2 };

/*
 * Changes to an inode. All zero changes nothing. nlink, entries and blocks are differences; the size becomes at least
 * size_max; a time is set, the later operand wins; flags are added.
 */
struct inode_op {
    unsigned set;
    int64_t nlink, entries, blocks;
    uint64_t size_max;
    int64_t atime_ns, mtime_ns, ctime_ns; /* as set says; else 0 */
    uint32_t flags;
};

/* Append the encoding. 0, -ENOMEM, or -EINVAL for a size above FS_SIZE_MAX. */
int inode_op_encode(const struct inode_op *op, struct shale_buf *out);
/* SHALE_ECORRUPT, also for a record. */
int inode_op_decode(struct shale_slice value, struct inode_op *out);

/*
 * op becomes the one operand that does what op and then later do. Associative. SHALE_EMERGE when a sum leaves its range
 * (op is unchanged).
 */
int inode_op_fold(struct inode_op *op, const struct inode_op *later);
/*
 * Change rec. SHALE_EMERGE with a sentence, rec unchanged, when a number would fall below 0 or leave its range, or when
 * entries change of what is no directory.
 */
int inode_op_apply(struct inode_rec *rec, const struct inode_op *op);

/* The generation under which a chunk of the file is found. */
uint32_t inode_gen_for_chunk(const struct inode_rec *rec, uint64_t chunk);

#define INODE_GENS_FULL 1

/*
 * Forget the chunks from first_chunk on: they get a new generation, under which there is no row. Wanted only when there
 * may be data there. 0; -ENOMEM; INODE_GENS_FULL when the list has no room (or generations are used up): nothing
 * changed, and the caller lays holes over those chunks instead.
 */
int inode_truncate_gens(struct inode_rec *rec, uint64_t first_chunk);

#endif
