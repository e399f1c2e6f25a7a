/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_DB_H
#define DB_DB_H

#include "base/list.h"
#include "base/pool.h"
#include "base/rng.h"
#include "base/sync.h"
#include "compact/compactor.h"
#include "compact/gc.h"
#include "db/conflict.h"
#include "db/metrics.h"
#include "manifest/manifest_store.h"
#include "mem/batch.h"
#include "mem/memtable.h"
#include "read/point_get.h"
#include "sst/sst_writer.h"
#include "sst/table_store.h"

#include <shale/shale.h>

/*
 * A database handle.
 *
 * Locks: wmu (rank 20) is held by the one writer that commits a batch, or freezes the memtable; mu (rank 30)
 * guards the state and is held for moments. Neither is held across I/O or a callback. Order: manifest update (15),
 * wmu, mu, manifest (40).
 *
 * A row's way: active memtable and WAL batch (committed) -> WAL object (durable) -> frozen memtable -> L0 SST that
 * the manifest names (flushed); the frozen memtable is dropped with that. Two threads move it: the WAL flusher and
 * the memtable flusher.
 */

/*
 * What reads look at: immutable, shared, replaced as a whole on freeze and on each new manifest version.
 * refs: an increment needs no ordering, as who has a reference has seen the view; the last
 * decrement must come after all others, hence acq_rel. The same holds for every reference count
 * of the engine.
 */
struct db_view {
    _Atomic int refs; /* relaxed to add, acq_rel to drop */
    struct manifest_version *mv;
    uint64_t tables_after; /* rows of the tables up to here are not seen: the SSTs have them (a reader's tables) */
    size_t n_tables;
    struct memtable *tables[]; /* the active one, then frozen ones, newest first */
};

/*
 * A frozen memtable on its way to L0.
 * Immutable but for refs and node. Ordered by age in shale_db.imms; sequence numbers of
 * neighbours do not overlap.
 */
struct imm {
    struct list node;
    int refs; /* GUARDED_BY(mu): the list and the memtable flusher */
    struct memtable *table;
    uint64_t wal_id;     /* newest WAL object that this table and older ones hold whole */
    uint64_t last_seq;
    uint64_t row_bytes;
    int64_t tick;        /* greatest create_ts; SHALE_NO_TS: none */
    struct seq_tracker tracker; /* points taken while it was active */
};

/*
 * Rows of one batch that wait for their WAL object. They lie in table, of which this holds a reference.
 * The rows lie in the memtable's arena, which never moves them: the WAL object is encoded from
 * there, without a copy.
 */
struct wal_batch {
    struct list node;
    struct memtable *table;
    uint64_t seq;
    uint64_t row_bytes;
    size_t n;
    const struct shale_row *rows[];
};

/*
 * GUARDED_BY(mu), all of it.
 * next_id moves only when an object is in the store, so next_id = last_id + 1 always; the id of
 * the object in flight is next_id.
 */
struct wal_state {
    struct list pending;     /* of struct wal_batch, oldest first */
    size_t n_rows;           /* of pending */
    uint64_t row_bytes;      /* of pending */
    uint64_t flying_bytes;   /* row bytes of the object in flight */
    int64_t since_ms;        /* monotonic; since when pending is not empty */
    int64_t linger_ms;       /* monotonic; until then the flusher looks whether rows came without being told; 0: not */
    bool asleep;             /* the flusher looks at nothing until it is told */
    bool has_follower;       /* the memtable flusher waits for rows to become durable */
    uint64_t wanted_seq;     /* somebody waits until this is durable */
    uint64_t next_id;
    uint64_t last_id;        /* newest that is in the store */
    uint64_t objects;        /* written by this handle */
    uint32_t n_waiters;      /* durable writes and flushes that wait since the last object */
    uint32_t last_woken;     /* so many waited for the last object */
    int64_t sure_mono_ms, sure_wall_ms; /* nobody else was the writer at that time */
};

/* Collecting garbage; one run at a time, of the collector's thread or of a caller. */
struct gc_state {
    struct worker thread;
    struct cond idle;        /* a run has ended; also wakes the thread to end */
    bool running;            /* GUARDED_BY(mu) */
    struct gc_memory memory; /* of whoever runs */
};

#define DB_ERROR_TEXT_MAX 512

/* What is stored is below these, so that counting on from it never comes round to 0 while a handle lives. */
#define DB_SEQ_END (UINT64_MAX - ((uint64_t)1 << 56))

struct shale_txn;

struct shale_db {
    struct shale_options opt; /* set before any thread starts, then read-only; so are the next ones */
    char *root;
    struct db_metrics metrics;
    struct counted_store stores[DB_N_STORES];
    struct shale_store *store, *wal_store; /* the first two of them, for use; wal_store NULL: the same */
    struct block_cache *cache;
    struct table_store ts;
    struct table_store compactor_ts; /* on the compactor's store; counts nothing of its reads */
    bool has_ts;
    struct manifest_store *manifests;
    void (*look_for_newer)(void *arg); /* of a reader: installs a newer manifest, if there is one; NULL: db_poll_manifest does */
    void *look_arg;
    struct compactor *compactor;
    uint64_t writer_epoch;
    int64_t clock_wait_max_ms; /* longest wait for a clock that went back */
    int64_t put_trust_ms;      /* so long after the last look at the epoch a WAL put is followed by one */
    struct worker wal_thread, flush_thread;
    struct rng rng;            /* of the memtable flusher, when opt.seed is set */

    struct mutex wmu;          /* order of writers; see above. Guards the next two */
    struct list txns;          /* of struct shale_txn, in the order of their beginning */
    struct conflict_log conflicts; /* commits that may be in their way */

    struct mutex mu;           /* guards everything below */
    struct cond wal_work;      /* for the WAL flusher */
    struct cond flush_work;    /* for the memtable flusher: a table, durability, a manifest, stop */
    struct cond durable;       /* durable_seq moved */
    struct cond flushed;       /* flushed_seq moved */
    struct cond room;          /* writers that wait for room or for the clock */
    struct cond idle;          /* n_waiting became 0 */
    int error;                 /* what the handle died of, 0: alive */
    char error_text[DB_ERROR_TEXT_MAX];
    _Atomic bool stop;         /* written under mu, read anywhere; the threads are to end */
    _Atomic bool abandon;      /* as stop: and to write nothing more */
    bool closing;              /* close has memtables flushed: l0_max_ssts holds nothing back any more */
    uint32_t n_waiting;        /* calls that wait on durable, flushed or room */
    struct memtable *active;   /* also stable under wmu */
    struct list imms;          /* of struct imm, oldest first */
    uint32_t n_imms;
    uint64_t imm_bytes;        /* row bytes of imms */
    uint64_t active_wal_bytes; /* row bytes of the active table that are not durable */
    int64_t active_since_ms;   /* monotonic; of its first row, for the timer without WAL */
    uint64_t last_freeze_id;   /* WAL id that the last freeze was stamped with */
    struct manifest_version *mv;
    struct db_view *view;
    uint64_t last_seq, committed_seq, durable_seq;
    int64_t last_tick;         /* newest create_ts; SHALE_NO_TS: none */
    struct seq_tracker tracker;
    struct wal_state wal;
    struct list snapshots;     /* of struct shale_snapshot, seq ascending */
    struct list checkpoints;   /* of struct checkpoint_wait */
    struct gc_state gc;
    uint64_t l0_flushes;
};

/* Freed by its owner; the handle frees what is left at close. */
struct shale_snapshot {
    struct list node;
    uint64_t seq;
};

/* db.c */
int64_t db_now_ms(const struct shale_db *db);
/* The handle's error with its sentence, or 0. */
int db_alive_locked(struct shale_db *db);
int db_alive(struct shale_db *db);
/*
 * The handle dies of rc, whose sentence this thread has; the first death counts. Wakes everybody.
 * Never undone. db_die also logs it, outside the lock, as the log's sink may take its time; it is
 * for background threads, behind which the handle is not freed before they end.
 */
bool db_die_locked(struct shale_db *db, int rc); /* REQUIRES(mu). Whether it was the first */
void db_die(struct shale_db *db, int rc);
/*
 * Wait for cv and be counted, so that close waits for us. A deadline of 0 is none; false when it has passed.
 * REQUIRES(mu), which is given up while waiting; everything read before has to be read again.
 */
bool db_wait_locked(struct shale_db *db, struct cond *cv, int64_t deadline_ms);
/* Wait and be awake again early when the handle stops; for background threads. */
void db_pause_locked(struct shale_db *db, struct cond *cv, int64_t ms);
/* A background failure that is worth another attempt. */
bool db_may_retry(int rc);
/* Bytes that count against max_unflushed_bytes. */
uint64_t db_pending_bytes_locked(const struct shale_db *db);
/* They, or what waits for the WAL, have changed: the gauges follow (R89). */
void db_note_memory_locked(struct shale_db *db);
/* Least seq of the snapshots, or none when there is none. */
uint64_t db_snapshot_min_locked(const struct shale_db *db, uint64_t none);

/* view.c */
struct db_view *db_view_ref(struct db_view *v);
void db_view_unref(struct db_view *v); /* NULL is fine */
/* The view and the sequence number up to which a read with opt sees rows (R140). */
struct db_view *db_view_get(struct shale_db *db, const struct shale_read_options *opt, uint64_t *max_seq);
/* Build the first view. */
int db_view_init(struct shale_db *db);
/*
 * Freeze the active memtable, stamped with wal_id, unless it is empty. REQUIRES(wmu, mu). 0 or -ENOMEM, when nothing
 * happened: the table just goes on growing.
 */
int db_freeze_locked(struct shale_db *db, uint64_t wal_id);
/* Whether it should be frozen (R64). REQUIRES(wmu, mu). */
bool db_freeze_is_due_locked(const struct shale_db *db, uint64_t wal_id);
/*
 * A manifest version newer than ours replaces it: frozen tables that it covers are dropped. v is moved.
 * From any thread of the handle, with no lock held.
 */
void db_install(struct shale_db *db, struct manifest_version *v);
/*
 * Look whether somebody else changed the manifest, and install that. Only fencing is fatal. From any thread, with no lock
 * held.
 */
void db_poll_manifest(struct shale_db *db);
void imm_unref_locked(struct imm *m, struct list *dead);
/* Free what imm_unref_locked put on the list; without mu. */
void imm_free_list(struct list *dead);

/*
 * replay.c: read WAL objects first..last into memtables (section 8.2). Nothing else runs yet. largest: as of wal_find_last.
 * A missing object is SHALE_ECORRUPT, as is one that cannot be decoded: opening then fails,
 * nothing is skipped.
 */
int db_replay(struct shale_db *db, uint64_t first, uint64_t last, uint64_t largest);

/* write_path.c: commit a batch, of a transaction or (NULL) not, as shale_db_write does; and wait until it is durable. */
int db_write(struct shale_db *db, const struct shale_batch *b, struct shale_txn *txn, struct shale_write_result *out);
int db_wait_durable(struct shale_db *db, uint64_t seq);

/*
 * wal_flush.c
 * The body of the WAL flusher's thread; without WAL, of the timer that freezes memtables. Ends on
 * stop or death.
 */
void db_wal_main(void *arg);
/* Wait until seq is durable, asking for it. REQUIRES(mu) */
int db_wait_durable_locked(struct shale_db *db, uint64_t seq);
/* Ask for what is committed to be made durable. */
void db_wal_request_locked(struct shale_db *db, uint64_t seq);
/* The epoch was found ours by a look that began then. */
void db_wal_trust(struct shale_db *db, int64_t mono_ms, int64_t wall_ms);
/* A batch joins the pending ones (moved). */
void db_wal_append_locked(struct shale_db *db, struct wal_batch *b);
void wal_batch_free(struct wal_batch *b);

/*
 * flush.c
 * The body of the memtable flusher's thread. Ends on stop, death, or its own failure, of which
 * the handle dies.
 */
void db_flush_main(void *arg);
/* Freeze and wait until all that is committed is in L0. */
int db_flush_memtables(struct shale_db *db);

/* read_only.c: the part of an open that only reads, once the manifest is there. Nothing is claimed, no thread starts. */
int db_open_read_only(struct shale_db *db);
/* 0, or -EROFS with a sentence. */
int db_writable(const struct shale_db *db);

/*
 * checkpoint.c: checkpoints that wait for rows to get into L0 ride in the manifest update that brings them there
 * (R271). attach is a part of its edit, for rows up to seq; settle tells those who wait that v, which was stored, has
 * them.
 */
int db_checkpoint_attach(struct shale_db *db, struct manifest *m, uint64_t seq, uint64_t next_id);
void db_checkpoint_settle(struct shale_db *db, const struct manifest_version *v);

/* collector.c */
void db_gc_main(void *arg);

/* open.c, close.c. A handle of which nothing is open; NULL without memory. */
struct shale_db *db_alloc(const struct shale_options *opt, const char *root);
void db_free(struct shale_db *db);
/*
 * layers.c. Stores and what reads and writes objects on them, and what all of it counts, under the name of component. Nothing
 * is read or written yet.
 */
int db_open_layers(struct shale_db *db, struct shale_store *store, const char *component);
/* Whoever waits in a store goes on, see store_retry_stop. */
void db_stop_stores(struct shale_db *db);
/* Whether db->mv is of a database that can be opened, with these options. */
int db_check_manifest(struct shale_db *db);
/* SHALE_ECORRUPT when db->mv holds numbers that leave no room to count on. */
int db_check_counters(const struct shale_db *db);

#endif
