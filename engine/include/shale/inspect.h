/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_INSPECT_H
#define SHALE_INSPECT_H

#include <shale/shale.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A look at the objects of a database, one by one, whether or not it is open somewhere: nothing is written, nobody is
 * fenced. For following changes row by row, and for diagnosis. Any number of threads, but for one struct shale_sst,
 * which one thread uses at a time.
 */
struct shale_inspect;

/* All zero is what most databases need. Pointers are borrowed until the end. */
struct shale_inspect_options {
    struct shale_store *wal_store;                           /* NULL: WAL objects lie in the main store */
    const struct shale_block_transformer *block_transformer; /* that of the database, see shale/hooks.h */
};

/* opt may be NULL. store is borrowed until the end. The database need not exist. */
SHALE_API int shale_inspect_open(struct shale_store *store, const char *path, const struct shale_inspect_options *opt,
                                 struct shale_inspect **out);
SHALE_API void shale_inspect_close(struct shale_inspect *in); /* NULL is fine */

/* A row, borrowed during the call. Return 0 to go on; anything else ends the walk, which returns that value. */
typedef int (*shale_row_fn)(void *arg, const struct shale_row *row);

/*
 * WAL objects hold rows in the order of their commits, one or more whole batches each; an empty one fences. Ids follow
 * one another, so that whoever reads object N and waits for N + 1 misses nothing, as long as he is quicker than
 * the garbage collector (or holds a checkpoint).
 */
typedef int (*shale_wal_fn)(void *arg, uint64_t id, const struct shale_object_meta *meta);
/* Objects first <= id < end, in order of their ids. */
SHALE_API int shale_inspect_wal_list(struct shale_inspect *in, uint64_t first, uint64_t end, shale_wal_fn fn, void *arg);
/* -ENOENT when there is none of that id: not yet, or no longer. So does the next. */
SHALE_API int shale_inspect_wal_meta(struct shale_inspect *in, uint64_t id, struct shale_object_meta *out);
/* Every row, tombstones and operands included, as it was written. */
SHALE_API int shale_inspect_wal_rows(struct shale_inspect *in, uint64_t id, shale_row_fn fn, void *arg);

/* Each compacted SST (L0 or part of a sorted run) under the path, referred to or not, in the order of ids. */
typedef int (*shale_sst_fn)(void *arg, struct shale_ulid id, const struct shale_object_meta *meta);
SHALE_API int shale_inspect_sst_list(struct shale_inspect *in, shale_sst_fn fn, void *arg);

struct shale_sst;

/* -ENOENT; SHALE_ECORRUPT; SHALE_EVERSION. An SST that a clone shares with another database is found there. */
SHALE_API int shale_inspect_sst(struct shale_inspect *in, struct shale_ulid id, struct shale_sst **out);
SHALE_API void shale_sst_close(struct shale_sst *sst); /* NULL is fine */

struct shale_sst_info {
    uint16_t version;             /* of the blocks */
    enum shale_codec codec;
    struct shale_slice first_key; /* borrowed from the SST, as last_key */
    struct shale_slice last_key;  /* empty when it does not tell */
    uint64_t data_bytes;          /* stored size of the blocks */
    uint64_t index_bytes, filter_bytes, stats_bytes; /* stored; 0: there is none */
    size_t n_blocks;
};

SHALE_API void shale_sst_info(const struct shale_sst *sst, struct shale_sst_info *out);

struct shale_sst_counts {
    uint64_t puts, deletes, merges, raw_key_bytes, raw_value_bytes;
};

/* What it says of its rows; -ENOENT when it says nothing. */
SHALE_API int shale_sst_counts(struct shale_sst *sst, struct shale_sst_counts *out);

struct shale_sst_block {
    uint64_t offset, len;        /* stored, checksum included */
    struct shale_slice separator; /* not above any key of the block; borrowed from the SST */
};

/* Block i of n_blocks; -EINVAL when there is none. */
SHALE_API int shale_sst_block(const struct shale_sst *sst, size_t i, struct shale_sst_block *out);
/* Every row version in order. */
SHALE_API int shale_sst_rows(struct shale_sst *sst, shale_row_fn fn, void *arg);

/* An SST of L0, or a sorted run. */
struct shale_tree_layer {
    bool is_run;
    uint32_t run;         /* of a run: its id */
    struct shale_ulid l0; /* else the id of the SST's view */
    size_t n_ssts;
    uint64_t bytes;       /* blocks, indexes and filters */
};

/* A compaction that is wanted or runs. */
struct shale_tree_compaction {
    struct shale_ulid id;
    bool is_running;
    uint32_t destination;
    uint32_t n_l0, n_runs;  /* sources */
    uint32_t n_outputs;     /* SSTs that are written and recorded */
    uint64_t source_bytes;
    uint64_t written_bytes; /* of these outputs: how far it is, as seen from outside; it may end below source_bytes */
};

/* The shape of the tree, as the newest manifest and the list of compactions have it. */
struct shale_tree {
    uint64_t manifest_id, writer_epoch, compactor_epoch;
    uint64_t last_l0_seq;
    uint64_t replay_after_wal_id, last_wal_id; /* the last one as far as the manifest knows */
    size_t n_checkpoints;
    size_t n_l0, n_runs;
    uint64_t l0_bytes, run_bytes;
    const struct shale_tree_layer *layers; /* n_l0 and then n_runs, each from the newest */
    const struct shale_tree_compaction *compactions;
    size_t n_compactions;
};

/* -ENOENT when there is no database. Free it with shale_tree_free. */
SHALE_API int shale_inspect_tree(struct shale_inspect *in, struct shale_tree **out);
SHALE_API void shale_tree_free(struct shale_tree *tree); /* NULL is fine */

/*
 * What the property collector (shale/hooks.h) said of the rows of an SST, or of a WAL object. *has_blob false: it has
 * none, which is not an empty one: nothing is known of its rows but that they are there. blob is replaced when there is
 * one. SHALE_ECORRUPT when it is damaged; SHALE_EHOOK; -ENOENT for a WAL object that is not there.
 */
SHALE_API int shale_sst_properties(struct shale_sst *sst, bool *has_blob, struct shale_buf *blob);
SHALE_API int shale_inspect_wal_properties(struct shale_inspect *in, uint64_t id, bool *has_blob,
                                           struct shale_buf *blob);

/* One object of a state of the database. */
struct shale_properties {
    enum shale_sst_kind kind;
    struct shale_ulid id;     /* L0 and runs */
    uint32_t run;             /* runs: the id of the sorted run */
    uint64_t wal_id;          /* WAL objects */
    bool is_partial;          /* only a part of its keys is seen; blob describes all */
    bool has_blob;            /* as above */
    struct shale_slice blob;  /* borrowed during the call */
};

/* Return 0 to go on; anything else ends the walk, which returns that value. */
typedef int (*shale_properties_fn)(void *arg, const struct shale_properties *p);

/*
 * The properties of everything that the database consists of, now or (checkpoint not NULL) as a checkpoint keeps it:
 * each WAL object that is not in SSTs yet, in order of ids, each L0 SST from the newest, each SST of each run. An SST
 * that the tree uses twice comes twice. A row that moves on meanwhile is described at least once: the manifest is read
 * before the WAL is listed. Rows that only the memory of a writer has are not seen.
 *
 * The first error ends it: -ENOENT when there is no database or no such checkpoint; SHALE_ECORRUPT, naming the object;
 * SHALE_EHOOK; -ESTALE when an object of the current state was replaced and collected meanwhile: begin anew, forgetting
 * what was told. A checkpoint protects against that.
 */
SHALE_API int shale_inspect_properties(struct shale_inspect *in, const struct shale_uuid *checkpoint,
                                       shale_properties_fn fn, void *arg);

/*
 * The manifest knows, a minute apart, the times (Unix seconds) of sequence numbers. Which time a sequence number has, and
 * which was the newest at a time: of the known point at or before (round_up: at or after). -ERANGE when there is none.
 * The first two look at the newest manifest, -ENOENT when there is no database; those of a handle also at what is not in L0 yet.
 */
SHALE_API int shale_inspect_time_of_seq(struct shale_inspect *in, uint64_t seq, bool round_up, int64_t *time_s);
SHALE_API int shale_inspect_seq_at_time(struct shale_inspect *in, int64_t time_s, bool round_up, uint64_t *seq);
SHALE_API int shale_db_time_of_seq(struct shale_db *db, uint64_t seq, bool round_up, int64_t *time_s);
SHALE_API int shale_db_seq_at_time(struct shale_db *db, int64_t time_s, bool round_up, uint64_t *seq);

#ifdef __cplusplus
}
#endif
#endif
