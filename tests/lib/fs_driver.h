/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FS_DRIVER_H
#define TESTS_FS_DRIVER_H

#include "lib/fs_model.h"

#include "base/rng.h"
#include "fs/core/fs.h"

/*
 * Random operations, done to a model and to a file system alike. What is chosen depends on the seed and the model alone, so that a
 * driver without a file system goes through the same states.
 */
#define DRIVER_SLOTS 6u
#define DRIVER_FILE_MAX (300u << 10)
#define DRIVER_XATTR "user.n%u"

enum driver_kind {
    DRIVE_CREATE, DRIVE_CREATE_OPEN, DRIVE_MKDIR, DRIVE_SYMLINK, DRIVE_LINK, DRIVE_UNLINK, DRIVE_RMDIR, DRIVE_RENAME,
    DRIVE_CHMOD, DRIVE_UTIMENS, DRIVE_TRUNCATE, DRIVE_SET_XATTR, DRIVE_REMOVE_XATTR, DRIVE_OPEN, DRIVE_CLOSE, DRIVE_WRITE,
    DRIVE_READ, DRIVE_FSYNC, DRIVE_FSYNC_DIR, DRIVE_SYNC, DRIVE_LOOKUP, DRIVE_N_KINDS,
};

struct driver_op {
    enum driver_kind kind;
    struct model_node *dir, *dir2, *node; /* of the model before the operation */
    uint64_t dir_ino, dir2_ino, node_ino;
    char name[MODEL_NAME], name2[MODEL_NAME];
    unsigned slot, flags, x;
    mode_t mode;
    uint64_t offset, len;
    int64_t time_ns;
};

struct fs_driver {
    struct fs_model model;
    struct rng rng;
    struct fs *fs;         /* NULL: the model alone */
    size_t chunk_bytes;
    struct {
        struct model_node *node;
        struct fs_file *file;
    } slots[DRIVER_SLOTS];
    struct driver_op op;   /* the last one */
    uint64_t fsync_limit;  /* an fsync by a later operation is not counted on */
    int failure;           /* when may_fail: what the file system first answered other than the model */
    bool may_fail;
};

void driver_init(struct fs_driver *d, uint64_t seed, size_t chunk_bytes);
void driver_fini(struct fs_driver *d);
/* Choose operation model.op + 1; then do it. driver_step does both. */
void driver_choose(struct fs_driver *d);
void driver_apply(struct fs_driver *d);
void driver_step(struct fs_driver *d);
/* Whether the operation makes everything before it durable. */
bool driver_is_sync(const struct driver_op *op);
/* Handles are closed before the file system is, and files may be opened again. */
void driver_close_all(struct fs_driver *d);
/* Everything that the file system shows is what the model has. */
void driver_compare(struct fs_driver *d);
void driver_describe(const struct driver_op *op, char *out, size_t cap);

#endif
