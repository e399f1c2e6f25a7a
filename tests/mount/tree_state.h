/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_TREE_STATE_H
#define TESTS_TREE_STATE_H

#include "lib/fs_model.h"

/*
 * What a directory tree shows, of a mount or of a model, in a form that can be compared: a line for each name with
 * type, mode, links, target and attributes (user.n0 ...), in order, and beside it what its regular files hold.
 * Out of memory and files that cannot be read end the program.
 */
struct tree_file {
    size_t line;                     /* where its line begins in the text */
    const struct model_node *node;   /* of a model: borrowed */
    uint64_t carried;                /* of a model: as it was then */
    uint64_t size, hash;             /* of a mount */
};

struct tree_state {
    char *text;
    size_t len, cap;
    struct tree_file *files;         /* in the order of the text */
    size_t n_files, cap_files;
};

#define TREE_STATE_INIT { .text = NULL }
#define TREE_XATTR "user.n%u"
/* Names that begin so are passed over: what comes and goes within one operation. */
#define TREE_TEMPORARY 't'

void tree_state_fini(struct tree_state *t);
void tree_of_model(struct tree_state *t, const struct fs_model *m);
/* Names alone, or contents too; size_max: a greater file is a failure. */
void tree_of_dir(struct tree_state *t, const char *root, bool contents, size_t size_max);
bool tree_names_equal(const struct tree_state *a, const struct tree_state *b);
/* The first line in which b differs from a, in static memory. */
const char *tree_difference(const struct tree_state *a, const struct tree_state *b);
/* The path that file stands under, in static memory. */
const char *tree_path(const struct tree_state *t, const struct tree_file *file);

/*
 * Whether a file may have these contents when a crash left the names of operation p: what it had after an operation
 * from carried on, with no truncation behind p in between. The node has its versions up to the last operation.
 */
bool tree_file_matches(const struct model_node *node, uint64_t p, uint64_t carried, uint64_t size, uint64_t hash);
/*
 * The same for all files of there (of a mount), whose names are those of at (of a model, after operation p). NULL, or
 * the one that does not match.
 */
const struct tree_file *tree_first_mismatch(const struct tree_state *at, uint64_t p, const struct tree_state *there);

/* The bytes that operation op writes at offset: each says where it belongs and who wrote it. */
void tree_fill(uint8_t *p, uint64_t op, uint64_t offset, size_t len);

void tree_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
