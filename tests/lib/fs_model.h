/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FS_MODEL_H
#define TESTS_FS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/*
 * A file system without any cleverness, to compare with. Operations return 0 or the negative errno that a program expects, and
 * change nothing then. Out of memory aborts.
 */
#define MODEL_XATTRS 4
#define MODEL_NAME 16

/* The contents of a file after an operation. */
struct model_version {
    uint64_t op;   /* which operation made it */
    bool cut;      /* by a truncation, which commits in the order of names */
    uint64_t size, hash;
};

struct model_node {
    uint64_t ino;
    mode_t mode;
    uint32_t nlink;
    unsigned n_open;
    int64_t mtime_ns; /* as utimens said, and nothing has changed since; or -1 */
    /* files */
    uint8_t *data;
    bool *written;    /* which bytes are data and not a hole */
    size_t size, cap;
    struct model_version *versions;
    size_t n_versions, cap_versions;
    uint64_t carried; /* the last operation that made what was written before it last as it does itself */
    /* symlinks */
    char target[MODEL_NAME];
    /* directories: entries in order of their names */
    struct model_node *parent;
    struct model_entry *entries;
    size_t n, cap_entries;
    char *xattr[MODEL_XATTRS]; /* the value of attribute number i, NULL: none */
    struct model_node *next;   /* of all nodes */
};

struct model_entry {
    char name[MODEL_NAME];
    struct model_node *node;
};

struct fs_model {
    struct model_node *root, *all;
    struct model_node *dead; /* nodes without a name and a handle, when keep_dead */
    bool keep_dead;
    uint64_t op;         /* the current operation, noted by versions */
    uint64_t next_ino;   /* what a new node gets; the caller may change it to what was given */
    size_t n_nodes;
};

void model_init(struct fs_model *m);
void model_fini(struct fs_model *m);
/* Free the nodes that keep_dead has kept. */
void model_forget_dead(struct fs_model *m);

struct model_node *model_find(const struct model_node *dir, const char *name);
int model_create(struct fs_model *m, struct model_node *dir, const char *name, mode_t mode, const char *target,
                 struct model_node **out);
int model_link(struct fs_model *m, struct model_node *n, struct model_node *dir, const char *name);
int model_remove(struct fs_model *m, struct model_node *dir, const char *name, bool is_dir);
int model_rename(struct fs_model *m, struct model_node *from, const char *name, struct model_node *to,
                 const char *new_name, unsigned flags);
void model_write(struct fs_model *m, struct model_node *n, uint64_t offset, const void *data, size_t len);
void model_truncate(struct fs_model *m, struct model_node *n, uint64_t size);
int model_set_xattr(struct model_node *n, unsigned i, const char *value, int flags);
int model_remove_xattr(struct model_node *n, unsigned i);
void model_open(struct model_node *n);
void model_close(struct fs_model *m, struct model_node *n);
/* 512-byte blocks, where data of each chunk is counted apart. */
uint64_t model_blocks(const struct model_node *n, size_t chunk_bytes);
uint64_t model_hash(const void *data, size_t len);

#endif
