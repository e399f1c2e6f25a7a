/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FS_FIXTURE_H
#define TESTS_FS_FIXTURE_H

#include "lib/check.h"
#include "lib/store_fault.h"

#include "base/buf.h"
#include "base/rng.h"
#include "fs/core/check.h"
#include "fs/core/fs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/*
 * A volume in memory, or in a directory, and a handle on it. Programs link with $(FS_FIXTURE_WRAP): every store that is opened by
 * URL then stands behind a store_fault, and the engine's bounds can be made small.
 */
struct fs_fixture {
    char url[512];
    char *dir;                 /* a temporary directory, NULL in memory */
    struct shale_store *keep;  /* a store in memory lasts as long as somebody has it */
    struct fs_options opt;     /* of the next open */
    struct fs_format_options format;
    struct fs *fs;
};

void fixture_init(struct fs_fixture *f);          /* an empty volume in memory, open */
void fixture_init_closed(struct fs_fixture *f);   /* formatted, not open */
void fixture_init_dir(struct fs_fixture *f);      /* formatted, in a directory under /dev/shm or /tmp, not open */
void fixture_fini(struct fs_fixture *f);
int fixture_setup(void **state);
int fixture_teardown(void **state);

void fixture_open(struct fs_fixture *f);
void fixture_close(struct fs_fixture *f);
/* Close, check, open again. */
void fixture_reopen(struct fs_fixture *f);
/* The closed volume has no problem; each is shown. */
void fixture_check(struct fs_fixture *f);

/* The store of the volume that was opened last. */
struct shale_store *fixture_store(void);
/* The next store that is opened has this rule from the start. */
void fixture_next_rule(const struct fault_rule *rule);
/* Stores that are opened from now on stand alone: store_fault aborts when memory runs out. */
void fixture_plain_stores(bool plain);

/* Bounds of the engine in volumes opened from now on: so small, by chance, that tables are flushed and merged; or the usual. */
void fixture_tune_small(struct rng *rng);
void fixture_tune_off(void);

#define check_ok(expr) check_rc(0, (expr), #expr, __FILE__, __LINE__)
#define check_err(want, expr) check_rc((want), (expr), #expr, __FILE__, __LINE__)
void check_rc(int64_t want, int64_t rc, const char *expr, const char *file, int line);

extern const struct fs_cred root_cred;

/* Make a node; the number. */
uint64_t make_dir(struct fs_fixture *f, uint64_t parent, const char *name);
uint64_t make_file(struct fs_fixture *f, uint64_t parent, const char *name);
/* The number that a name leads to, 0 when there is none. */
uint64_t look(struct fs_fixture *f, uint64_t parent, const char *name);
struct fs_attr attr_of(struct fs_fixture *f, uint64_t ino);
int set_size(struct fs_fixture *f, uint64_t ino, uint64_t size);

struct fs_file *open_file(struct fs_fixture *f, uint64_t ino, int flags);
void write_text(struct fs_file *file, uint64_t offset, const char *text);
void write_fill(struct fs_file *file, uint64_t offset, uint8_t byte, size_t len);
/* The whole file is this. */
void check_text(struct fs_fixture *f, uint64_t ino, const char *text);
/* len bytes from offset are all byte. */
void check_fill(struct fs_file *file, uint64_t offset, uint8_t byte, size_t len);
/* "a b c": the names of a directory, without the dots, in order. */
void check_names(struct fs_fixture *f, uint64_t dir, const char *names);

#endif
