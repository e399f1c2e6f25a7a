/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closing, in the reverse order of opening: make durable what was promised, stop the threads that
 * write, answer the calls that wait, and only then free. Memtables that are not in L0 stay in the
 * WAL and are replayed: a close costs what is
 * pending in the WAL, and one manifest update.
 */

#include "db/txn.h"

#include "base/err.h"
#include "base/log.h"

#include <stdio.h>

/*
 * Also of a handle that never came to life: every field is either zero or whole. No thread runs
 * any more, so no lock is taken.
 */
void db_free(struct shale_db *db)
{
    struct list dead;

    list_init(&dead);
    list_for_each_safe(p, next, &db->wal.pending)
        wal_batch_free(list_entry(p, struct wal_batch, node));
    list_for_each_safe(q, next, &db->imms) {
        struct imm *m = list_entry(q, struct imm, node);

        list_remove(&m->node);
        imm_unref_locked(m, &dead);
    }
    imm_free_list(&dead);
    txn_free_all(db);
    list_for_each_safe(s, next, &db->snapshots)
        mem_free(list_entry(s, struct shale_snapshot, node));
    db_view_unref(db->view);
    memtable_unref(db->active);
    manifest_version_unref(db->mv);
    seq_tracker_fini(&db->tracker);
    manifest_store_free(db->manifests);
    if (db->has_ts)
        table_store_fini(&db->ts);
    table_store_fini(&db->compactor_ts);
    block_cache_free(db->cache);
    for (int i = 0; i < DB_N_STORES; i++)
        counted_store_close(&db->stores[i]);
    db_metrics_fini(&db->metrics);
    gc_memory_fini(&db->gc.memory);
    cond_fini(&db->gc.idle);
    cond_fini(&db->idle);
    cond_fini(&db->room);
    cond_fini(&db->flushed);
    cond_fini(&db->durable);
    cond_fini(&db->flush_work);
    cond_fini(&db->wal_work);
    mutex_fini(&db->mu);
    mutex_fini(&db->wmu);
    mem_free(db->root);
    mem_free(db);
}

/*
 * Make what was written durable. An error is why it is not.
 * Without WAL only L0 is durable, so that memtables are flushed, also beyond l0_max_ssts: who compacts may be gone.
 */
static int flush_all(struct shale_db *db)
{
    uint64_t committed, durable;
    int rc;

    mutex_lock(&db->mu);
    rc = db_alive_locked(db);
    committed = db->committed_seq;
    durable = db->durable_seq;
    db->closing = !db->opt.wal_enabled;
    cond_broadcast(&db->flush_work);
    mutex_unlock(&db->mu);
    if (committed == durable)
        return 0; /* also when the handle is dead: nothing is lost with it (R103) */
    if (rc < 0)
        return rc;
    return shale_db_flush(db, db->opt.wal_enabled ? SHALE_FLUSH_WAL : SHALE_FLUSH_MEMTABLE);
}

/*
 * Stop whatever runs, and wake and wait for calls that wait (H11). The retrying stores go on with one attempt each.
 * The memtable flusher first, as it may wait for the WAL flusher; the WAL flusher last.
 */
static void stop_threads(struct shale_db *db, bool abandon)
{
    mutex_lock(&db->mu);
    db->abandon = abandon;
    db->stop = true;
    cond_broadcast(&db->wal_work);
    cond_broadcast(&db->flush_work);
    cond_broadcast(&db->gc.idle);
    mutex_unlock(&db->mu);
    db_stop_stores(db);
    worker_join(&db->gc.thread);
    worker_join(&db->flush_thread);
    compactor_stop(db->compactor);
    db->compactor = NULL;
    worker_join(&db->wal_thread);
}

/*
 * Each leaves db_wait_locked, sees the error and gives up mu for the last time before idle lets
 * us go on.
 */
static void dismiss_waiters(struct shale_db *db)
{
    mutex_lock(&db->mu);
    if (!db->error) {
        (void)err_set(SHALE_ECLOSED, "the database '%s' was closed", db->root);
        (void)db_die_locked(db, SHALE_ECLOSED);
    }
    while (db->n_waiting)
        cond_wait(&db->idle, &db->mu);
    mutex_unlock(&db->mu);
}

struct last_seen_arg {
    uint64_t id;
};

static int last_seen_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    const struct last_seen_arg *a = arg;

    (void)next_id;
    if (m->wal_id_last_seen >= a->id)
        return MANIFEST_UNCHANGED;
    m->wal_id_last_seen = a->id;
    return 0;
}

/* Tell in the manifest which WAL objects there are. Only a hint: a failure loses nothing. */
static void store_last_seen(struct shale_db *db)
{
    struct last_seen_arg arg = { .id = db->wal.last_id };

    if (manifest_store_update_as(db->manifests, EPOCH_WRITER, last_seen_edit, &arg, NULL) < 0)
        log_warn("database '%s': last manifest: %s", db->root, shale_errmsg());
}

/*
 * rc is the outcome of the flush alone. A handle that had died, with everything durable, closes
 * with 0 (R103).
 */
int shale_db_close(struct shale_db *db, enum shale_close_mode mode)
{
    bool abandon = mode == SHALE_CLOSE_ABANDON;
    char why[DB_ERROR_TEXT_MAX];
    int error, rc = 0;

    if (!db)
        return 0;
    if (!abandon)
        rc = flush_all(db);
    /* Its sentence, or that of the failure which the caller is about to report; not what the threads' end leaves. */
    snprintf(why, sizeof(why), "%s", shale_errmsg());
    mutex_lock(&db->mu);
    error = db->error;
    mutex_unlock(&db->mu);
    stop_threads(db, abandon || error);
    dismiss_waiters(db);
    if (!abandon && !error && rc == 0 && !db->opt.read_only)
        store_last_seen(db);
    if (rc == 0)
        log_info("database '%s' closed", db->root);
    else
        log_error("database '%s' closed with rows that are not in the store: %s", db->root, shale_strerror(rc));
    db_free(db);
    return err_set(rc, "%s", why);
}
