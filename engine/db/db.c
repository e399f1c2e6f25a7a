/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all files of db/ share: life and death of a handle, waiting, status. A handle is in one of
 * these states, and only ever moves down:
 *   alive      error 0
 *   dead       error set, by the first failure that no retry mends: fenced, corrupt, refused by the store. Writes and
 *              flushes fail with it and its sentence, reads go on, the background threads end
 *   stopping   stop set by close: the threads end; with abandon they also give up what they are writing
 *   closed     error SHALE_ECLOSED for whoever still waits; then the memory goes
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#include "db/db.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>

const char *shale_version(void)
{
    return PACKAGE_VERSION;
}

int64_t db_now_ms(const struct shale_db *db)
{
    const struct shale_clock *c = db->opt.clock;

    return c ? c->now_ms(c->ctx) : clock_wall_ms();
}

/*
 * The sentence is kept beside the code, as it was left on the thread that failed and each caller
 * has to find it on its own.
 */
int db_alive_locked(struct shale_db *db)
{
    return db->error ? err_set(db->error, "%s", db->error_text) : 0;
}

int db_alive(struct shale_db *db)
{
    int rc;

    mutex_lock(&db->mu);
    rc = db_alive_locked(db);
    mutex_unlock(&db->mu);
    return rc;
}

/* Every condition is woken: whoever waits has the handle's death in his predicate. */
bool db_die_locked(struct shale_db *db, int rc)
{
    if (db->error)
        return false;
    db->error = rc;
    snprintf(db->error_text, sizeof(db->error_text), "%s",
             shale_errmsg()[0] ? shale_errmsg() : shale_strerror(rc));
    cond_broadcast(&db->wal_work);
    cond_broadcast(&db->flush_work);
    cond_broadcast(&db->durable);
    cond_broadcast(&db->flushed);
    cond_broadcast(&db->room);
    cond_broadcast(&db->gc.idle);
    return true;
}

/* The text needs no lock once it is there: it never changes again. */
void db_die(struct shale_db *db, int rc)
{
    bool first;

    mutex_lock(&db->mu);
    first = db_die_locked(db, rc);
    mutex_unlock(&db->mu);
    if (first)
        log_error("database '%s': %s", db->root, db->error_text);
}

/*
 * Only waits of callers go through here. Those of the background threads do not count: close
 * joins these threads instead.
 */
bool db_wait_locked(struct shale_db *db, struct cond *cv, int64_t deadline_ms)
{
    bool in_time;

    db->n_waiting++;
    in_time = cancel_cond_wait(cv, &db->mu, deadline_ms);
    if (--db->n_waiting == 0)
        cond_broadcast(&db->idle);
    return in_time;
}

/*
 * Ends early on stop or death only, not on whatever else the condition is signalled for: it is
 * the delay between two attempts.
 */
void db_pause_locked(struct shale_db *db, struct cond *cv, int64_t ms)
{
    int64_t deadline = clock_mono_ms() + ms;

    while (!db->stop && !db->error && cond_wait_until(cv, &db->mu, deadline))
        ;
}

int db_writable(const struct shale_db *db)
{
    return db->opt.read_only ? err_set(-EROFS, "the database '%s' was opened for reading only", db->root) : 0;
}

/*
 * Without memory now is not without memory for ever, and the rows are still there; whether what the
 * application's functions do may succeed another time only it knows. What the store says for good is
 * final here: the retrying store below has tried already.
 */
bool db_may_retry(int rc)
{
    return rc == SHALE_ETRANSIENT || rc == -ENOMEM || rc == SHALE_EHOOK;
}

/*
 * Frozen tables whole, and of the active one what is not in the WAL yet: every row counts once
 * (H25). Durable rows of the active table are bounded by l0_sst_size_bytes, which freezes it.
 */
uint64_t db_pending_bytes_locked(const struct shale_db *db)
{
    return db->imm_bytes + db->active_wal_bytes;
}

void db_note_memory_locked(struct shale_db *db)
{
    metric_set(db->metrics.wal_bytes, (int64_t)(db->wal.row_bytes + db->wal.flying_bytes));
    metric_set(db->metrics.mem_bytes, (int64_t)db_pending_bytes_locked(db));
}

/* The list is sorted, as snapshots are taken at committed_seq, which never falls. */
uint64_t db_snapshot_min_locked(const struct shale_db *db, uint64_t none)
{
    if (list_empty(&db->snapshots))
        return none;
    return list_entry(db->snapshots.next, struct shale_snapshot, node)->seq;
}

static void status_of_manifest(const struct manifest *m, struct shale_db_status *out)
{
    out->n_l0 = (uint32_t)m->n_l0;
    out->n_runs = (uint32_t)m->n_runs;
    out->replay_after_wal_id = m->replay_after_wal_id;
    for (size_t i = 0; i < m->n_l0; i++)
        out->l0_bytes += sst_handle_size(m->l0[i].sst);
    for (size_t i = 0; i < m->n_runs; i++)
        out->run_bytes += sorted_run_size(&m->runs[i]);
}

/*
 * Counters of one moment from under mu; those of compactor and cache are read afterwards, each
 * under its own lock.
 */
void shale_db_status(struct shale_db *db, struct shale_db_status *out)
{
    struct cache_stats cache = { 0 };
    struct manifest_version *mv;
    struct memtable_stats active;

    *out = (struct shale_db_status){ .writer_epoch = db->writer_epoch };
    mutex_lock(&db->mu);
    memtable_stats(db->active, &active);
    out->error = db->error;
    out->committed_seq = db->committed_seq;
    out->durable_seq = db->durable_seq;
    out->next_wal_id = db->wal.next_id;
    out->unflushed_bytes = db->imm_bytes + active.row_bytes;
    out->n_memtables = db->n_imms;
    out->wal_objects = db->wal.objects;
    out->l0_flushes = db->l0_flushes;
    mv = manifest_version_ref(db->mv);
    mutex_unlock(&db->mu);
    out->manifest_id = mv->id;
    status_of_manifest(&mv->m, out);
    manifest_version_unref(mv);
    if (db->compactor)
        compactor_counts(db->compactor, &out->n_compacting, &out->compactions);
    if (db->cache)
        block_cache_stats(db->cache, &cache);
    out->cache_bytes = cache.bytes;
    out->cache_hits = cache.hits;
    out->cache_misses = cache.misses;
}
