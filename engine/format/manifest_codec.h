/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_MANIFEST_CODEC_H
#define FORMAT_MANIFEST_CODEC_H

#include "base/ulid.h"
#include "format/seq_tracker.h"
#include "format/sst_info.h"

#include <stdatomic.h>

/*
 * The manifest object (storage format section 6). Written as version 1; versions 1 and 2 are read.
 * Source: SlateDB 0.12.1, schemas/manifest.fbs, flatbuffer_types.rs, db_state.rs.
 */

/* An SST as the manifest knows it. Immutable once published; shared: refcounted. */
struct sst_handle {
    _Atomic int refs; /* relaxed to add, acq_rel to drop */
    struct shale_ulid id;
    uint16_t version; /* of its blocks */
    struct sst_info info;
};

int sst_handle_new(struct shale_ulid id, uint16_t version, const struct sst_info *info, struct sst_handle **out);
struct sst_handle *sst_handle_ref(struct sst_handle *h);
void sst_handle_unref(struct sst_handle *h);
/* Bytes up to the end of the index (R237). */
uint64_t sst_handle_size(const struct sst_handle *h);

/* A bound of a visible range. */
enum key_bound_kind { KEY_UNBOUNDED, KEY_INCLUDED, KEY_EXCLUDED };
struct key_bound {
    enum key_bound_kind kind;
    struct shale_buf key;
};

/*
 * A use of an SST: its own id (the SST's in version 1) and possibly only a part of its keys.
 * id is what compactions name as a source. A range hides keys of the SST, for projections of a
 * clone.
 */
struct sst_view {
    struct shale_ulid id;
    struct sst_handle *sst; /* shared */
    bool has_range;
    struct key_bound start, end;
};

void sst_view_fini(struct sst_view *v);
int sst_view_copy(struct sst_view *to, const struct sst_view *from);

struct sorted_run {
    uint32_t id;
    struct sst_view *ssts; /* ascending, disjoint but for the versions of a boundary key */
    size_t n, cap;
};

void sorted_run_fini(struct sorted_run *r);
int sorted_run_copy(struct sorted_run *to, const struct sorted_run *from);
uint64_t sorted_run_size(const struct sorted_run *r);

struct checkpoint {
    struct shale_uuid id;
    uint64_t manifest_id;
    uint32_t expire_s; /* Unix seconds; 0: never */
    uint32_t create_s;
    char *name;        /* owned; NULL: none */
};

struct external_db {
    char *path; /* owned */
    struct shale_uuid source_checkpoint;
    bool has_final;
    struct shale_uuid final_checkpoint;
    struct shale_ulid *ssts; /* owned */
    size_t n_ssts;
};

/*
 * The state of the tree. Fields as in storage format section 6.3.
 * Who may change what (storage format 6.4): the writer l0 (in front), replay_after_wal_id,
 * wal_id_last_seen, the last_l0 fields, recent_snapshot_min_seq and tracker; the compactor runs, l0 (at
 * its end) and l0_last_compacted; anybody checkpoints. Each epoch is its owner's. Since every change is
 * made to the newest version, by compare and swap, nothing has to be merged.
 */
struct manifest {
    bool initialized;
    uint64_t writer_epoch, compactor_epoch;
    uint64_t replay_after_wal_id, wal_id_last_seen;
    bool has_l0_last_compacted;
    struct shale_ulid l0_last_compacted;
    struct sst_view *l0; /* newest first */
    size_t n_l0, cap_l0;
    struct sorted_run *runs; /* id descending */
    size_t n_runs, cap_runs;
    int64_t last_l0_clock_tick; /* SHALE_NO_TS in a fresh database */
    uint64_t last_l0_seq;
    uint64_t recent_snapshot_min_seq;
    struct checkpoint *checkpoints;
    size_t n_checkpoints, cap_checkpoints;
    struct external_db *externals;
    size_t n_externals, cap_externals;
    char *wal_store_uri; /* NULL: WAL in the main store */
    struct seq_tracker tracker;
};

/* Version numbers that the object may begin with. */
#define MANIFEST_V1 1
#define MANIFEST_V2 2

/* A fresh database. */
void manifest_init(struct manifest *m);
void manifest_fini(struct manifest *m);
int manifest_copy(struct manifest *to, const struct manifest *from);

/* Append the whole object (version bytes and FlatBuffer, version 1). */
int manifest_encode(const struct manifest *m, struct shale_buf *out);
/*
 * Read a whole object. SHALE_EVERSION for a version other than 1 and 2 (or version 2 with segments, which need a later
 * engine); SHALE_ECORRUPT for what the verifier or the rules of section 5.6 refuse: enums, ranges, missing or empty
 * first keys, run order.
 */
int manifest_decode(struct shale_slice in, struct manifest *out);

#endif
