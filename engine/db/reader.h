/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_READER_H
#define DB_READER_H

#include "db/db.h"

#include <shale/reader.h>

/*
 * A follower. Reads are those of a database handle that claimed nothing and runs no thread; one thread replaces its view. What
 * a view shows: the SSTs of its manifest, and of the WAL tables the rows above last_l0_seq. (The rows below are in the SSTs, perhaps
 * folded into others: an operand seen in a table once more would hide what it was folded with.)
 */

/* Rows of a WAL object, copied, before they go into a table. */
struct object_rows {
    struct shale_buf bytes; /* keys and values */
    struct shale_row *rows; /* their slices have no data until the end: bytes may move */
    size_t n, cap;
};

struct shale_reader {
    struct shale_reader_options opt; /* set before the thread starts, as are the next two */
    struct shale_db *db;
    bool follows;

    /* Of the thread that follows; before it runs, of the opener. */
    struct memtable **tables; /* rows of the WAL, oldest first; the last one grows. Empty with skip_wal_replay */
    size_t n_tables, cap_tables;
    uint64_t after_wal_id;    /* objects up to this one are done with, or were never needed */
    struct object_rows object;
    bool has_checkpoint;      /* also written under db->mu, for others to read; so are the next ones */
    struct shale_uuid checkpoint;
    int64_t expire_ms;

    bool tells;               /* the open is done: steps count */
    bool is_behind;           /* the last look at the WAL left objects for the next */
    uint32_t n_wal_looks;     /* since the last at the manifest */

    struct worker thread;
    struct cond work;    /* with db->mu: somebody wants a look, or stop */
    struct cond looked;  /* with db->mu: a look is done */
    uint64_t n_asked;    /* GUARDED_BY(db->mu), as the rest: number of the last look that somebody wants */
    uint64_t n_looked;   /* looks begun at or after these requests are done */
    uint64_t n_steps;    /* written with the view */
    uint64_t n_looks;
    int64_t good_look_ms; /* monotonic; when the last look that went well began */
    int look_rc;         /* outcome of the last one */
    char look_text[DB_ERROR_TEXT_MAX];
};

/* reader_follow.c: one look at the end of the WAL, and then, when it is due, at the manifest. */
int reader_look(struct shale_reader *r, bool manifest);
/* A look at the manifest alone, unless that leads behind the end of the WAL that was seen. */
int reader_look_at_manifest(struct shale_reader *r);
/* Let reads go by manifest version v (borrowed), keeping of the WAL tables what it does not have. */
int reader_install(struct shale_reader *r, struct manifest_version *v);
/* Take in the WAL objects that follow, up to last at most: a missing one is the end (R102). */
int reader_replay(struct shale_reader *r, uint64_t last);
/* Whether this thread is in a call of on_change, and must not wait for a look. */
bool reader_is_telling(const struct shale_reader *r);
void reader_free_tables(struct shale_reader *r);

/* reader_checkpoint.c. v (a reference) is the version that then holds. Replace: a new checkpoint on the newest state. */
int reader_checkpoint_replace(struct shale_reader *r, struct manifest_version **v);
/* Extend its life when half of it is over. -ENOENT: it is gone. */
int reader_checkpoint_renew(struct shale_reader *r);
int reader_checkpoint_remove(struct shale_reader *r);

#endif
