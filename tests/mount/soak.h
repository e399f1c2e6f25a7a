/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SOAK_H
#define TESTS_SOAK_H

#include "mount/tree_state.h"

#include "base/rng.h"

#include <limits.h>

/* A worker of the soak test: random work in a directory of its own, and a model of what must be there. */
enum {
    SOAK_NODES = 200,
    SOAK_HELD = 6,
    SOAK_PAGE = 4096,
    SOAK_WRITE_MAX = 160 << 10,
    SOAK_FILE_MAX = 400 << 10, /* several chunks of a volume formatted with small ones */
};

/* The names after an operation, and how far the files had been carried then. */
struct soak_moment {
    uint64_t op;
    struct tree_state names;
};

struct soak {
    const char *dir;
    struct fs_model m;
    struct rng rng;
    struct {
        struct model_node *node;
        int fd;
    } held[SOAK_HELD];
    uint8_t *data;                 /* SOAK_WRITE_MAX, aligned for direct I/O */
    char path[PATH_MAX], path2[PATH_MAX]; /* which the operation names */
    bool dead;                     /* the daemon serves no more */
    /* In order of operations, from the last that synced (or is pinned) on. A crash leaves the names of one. */
    struct soak_moment *moments;
    size_t n_moments, cap_moments;
    uint64_t synced, pinned;       /* operations */
    bool is_pinned;                /* all moments from pinned on are kept */
};

/* ---- soak_ops.c ---- */

/* One random operation, with its answer compared. */
void soak_step(struct soak *s);

/* ---- soak_state.c ---- */

void soak_init(struct soak *s, const char *dir, uint64_t seed);
void soak_fini(struct soak *s);
/* Where node is (name NULL), or would be below it. */
void soak_path(const struct soak *s, const struct model_node *node, const char *name, char *out);
/*
 * The answer of a system call (below 0: errno) against the model's, 0 or a negative errno. The first sign of the
 * daemon's death sets dead.
 */
void soak_answer(struct soak *s, const char *doing, int want, int64_t got);
/* The current operation may have changed names, or cut a file. */
void soak_note(struct soak *s);
/* It has made everything before it durable, and what was written to n; NULL: what was written to any file. */
void soak_synced(struct soak *s, struct model_node *n);
/* From now on every moment is kept, for soak_check_moment; and no more. */
void soak_pin(struct soak *s);
void soak_unpin(struct soak *s);
void soak_close_held(struct soak *s);

/* The directory is as the model says, and open files, too. */
void soak_verify(struct soak *s);
/* The tree dir shows what a crash at the current operation may leave, but nothing older than operation floor. */
void soak_check_moment(struct soak *s, const char *dir, uint64_t floor);
/* After a crash: what is there must be possible, and is what the model goes on from. */
void soak_recover(struct soak *s);

#endif
