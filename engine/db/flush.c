/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memtable flusher: one thread that takes frozen tables to L0, oldest first, one at a time
 * (R68-R84).
 *   frozen      in imms; waits for a slot: fewer than l0_max_ssts SSTs in L0
 *   building    build_l0: folded, retained, written and uploaded under a new id. Nothing names the object yet
 *   uploaded    wait_until_durable: its rows must be in the WAL before a manifest may name it
 *   published   publish: the manifest has it; db_install drops the table
 * A failure in between leaves at most an object that nothing refers to, for the collector; the
 * rows are still in memory and in the WAL. The upload does not wait for the WAL, only the
 * manifest does (H32). The same thread polls the manifest while it is idle.
 */

#include "db/db.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io_class.h"
#include "base/log.h"
#include "base/pace.h"
#include "db/transform_iter.h"
#include "read/fold_iter.h"
#include "read/retention_iter.h"

#include <errno.h>

#define RETRY_MAX_MS 1000

/*
 * Wait a moment before the next attempt at something that failed with rc; false: give up.
 * Returns at once when the handle stops, which ends all attempts: there would be no pause between
 * them, and close has waited for what it promised. REQUIRES no lock.
 */
static bool wait_to_retry(struct shale_db *db, int rc, const char *what)
{
    int64_t ms = db->opt.manifest_poll_interval_ms;
    bool again;

    if (!db_may_retry(rc))
        return false;
    log_warn("database '%s': %s: %s; trying again", db->root, what, shale_errmsg());
    mutex_lock(&db->mu);
    db_pause_locked(db, &db->flush_work, ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS);
    again = !db->stop && !db->error;
    mutex_unlock(&db->mu);
    return again;
}

/*
 * The rows of a frozen table as they go to L0 (R72): folded, and without versions that nobody can see any more.
 * The order is that of SlateDB: folding first, with the same barrier as retention, then dropping
 * (R72). The application transforms what is left: it does nothing for rows that go nowhere.
 */
static int rows_for_l0(struct shale_db *db, const struct imm *m, uint64_t min_seq, struct iter **out)
{
    const struct fold_options fold = { .op = counted_operator_op(&db->metrics.flush_op),
                                       .same_expiry_only = true,
                                       .has_barrier = true,
                                       .barrier = min_seq };
    const struct retention_options retain = { .has_min_seq = true, .min_seq = min_seq, .clock_tick = m->tick };
    struct key_range all = { 0 };
    int rc = memtable_iter_new(m->table, &all, ITER_ASC, out);

    if (rc == 0)
        rc = fold_iter_new(*out, &fold, out);
    if (rc == 0)
        rc = retention_iter_new(*out, &retain, out);
    if (rc == 0 && db->opt.flush_transform)
        rc = transform_iter_new(*out, db->opt.flush_transform, out);
    return rc;
}

/*
 * An id that is not older than the newest L0: what the garbage collector relies on (storage format section 9.7).
 * The collector deletes unreferenced SSTs older than the newest L0 by the time in their ids
 * (R318): a clock that went back would make a new one look like garbage.
 */
static struct shale_ulid new_l0_id(struct shale_db *db)
{
    int64_t now = db_now_ms(db), newest = 0;
    const struct manifest *m;

    mutex_lock(&db->mu);
    m = &db->mv->m;
    if (m->n_l0)
        newest = ulid_time_ms(m->l0[0].sst->id);
    else if (m->has_l0_last_compacted)
        newest = ulid_time_ms(m->l0_last_compacted);
    mutex_unlock(&db->mu);
    return ulid_new(now > newest ? now : newest, db->opt.seed ? &db->rng : NULL);
}

/*
 * The flag is looked at for each row: abandoning a large table must not take as long as writing
 * it.
 */
static int add_rows(struct shale_db *db, struct iter *it, struct sst_writer *w)
{
    struct shale_row row;
    int rc;

    while ((rc = iter_next(it, &row)) == 0) {
        if (atomic_load_explicit(&db->abandon, memory_order_relaxed))
            return err_set(SHALE_ECANCELED, "closed while a memtable was written");
        rc = sst_writer_add(w, &row, NULL);
        if (rc < 0)
            return rc;
    }
    return rc == SHALE_END ? 0 : rc;
}

/*
 * Write what is left of the table; *out is NULL when nothing is (H34).
 * min_seq is the least of what a snapshot or a durable_only read may ask for. Both only rise from
 * here on, and a read under way looks at its own view, so computing it once at the start is safe
 * (R72, R75).
 */
static int build_l0(struct shale_db *db, const struct imm *m, struct sst_handle **out)
{
    struct sst_writer *w = NULL;
    struct iter *it = NULL;
    uint64_t min_seq;
    int rc;

    mutex_lock(&db->mu);
    min_seq = db_snapshot_min_locked(db, db->durable_seq);
    if (min_seq > db->durable_seq)
        min_seq = db->durable_seq;
    mutex_unlock(&db->mu);
    rc = rows_for_l0(db, m, min_seq, &it);
    if (rc < 0)
        return rc; /* each constructor has closed its child */
    rc = sst_writer_new(&db->ts, new_l0_id(db), true, &w);
    if (rc == 0)
        rc = sst_writer_collect(w, SHALE_SST_L0);
    if (rc == 0)
        rc = add_rows(db, it, w);
    iter_close(it);
    *out = NULL;
    if (rc == 0 && !sst_writer_is_empty(w)) {
        while ((rc = sst_writer_finish(w, out)) == SHALE_ETRANSIENT && wait_to_retry(db, rc, "upload of an L0 SST"))
            ; /* the bytes are kept (H13) */
        if (rc == 0) {
            w = NULL;
            metric_count(db->metrics.l0_flush_bytes, sst_handle_size(*out));
        }
    }
    sst_writer_free(w);
    return rc;
}

struct publish_arg {
    struct shale_db *db;
    const struct imm *imm;
    struct sst_handle *sst; /* NULL: none */
};

/* The view's id is the SST's: version 1 of the manifest stores no other. */
static int push_l0(struct manifest *m, struct sst_handle *sst)
{
    int rc = vec_reserve(&m->l0, &m->cap_l0, m->n_l0 + 1, sizeof(m->l0[0]));

    if (rc < 0)
        return rc;
    memmove(m->l0 + 1, m->l0, m->n_l0 * sizeof(m->l0[0]));
    m->l0[0] = (struct sst_view){ .id = sst->id, .sst = sst_handle_ref(sst) };
    m->n_l0++;
    return 0;
}

/*
 * R79. Runs once for each attempt, on a fresh copy.
 * Called with the update lock of the manifest store (rank 15) held, so mu (30) may be taken. The
 * snapshot minimum is asked for here, as late as possible: a snapshot taken after it has a
 * sequence number of at least last_l0_seq (R268).
 */
static int publish_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    struct publish_arg *a = arg;
    const struct imm *i = a->imm;
    int rc;

    if (m->last_l0_seq >= i->last_seq)
        return MANIFEST_UNCHANGED; /* an earlier attempt was stored without our knowing */
    if (a->sst) {
        rc = push_l0(m, a->sst);
        if (rc < 0)
            return rc;
    }
    rc = seq_tracker_merge(&m->tracker, &i->tracker);
    if (rc < 0)
        return rc;
    m->last_l0_seq = i->last_seq;
    if (i->tick > m->last_l0_clock_tick)
        m->last_l0_clock_tick = i->tick;
    if (i->wal_id > m->replay_after_wal_id)
        m->replay_after_wal_id = i->wal_id;
    mutex_lock(&a->db->mu);
    m->recent_snapshot_min_seq = db_snapshot_min_locked(a->db, i->last_seq);
    if (a->db->wal.next_id - 1 > m->wal_id_last_seen)
        m->wal_id_last_seen = a->db->wal.next_id - 1;
    mutex_unlock(&a->db->mu);
    return db_checkpoint_attach(a->db, m, i->last_seq, next_id);
}

/*
 * The rows of an L0 that the manifest names must be durable (storage format section 7.6).
 * The flusher waits on its own condition, which the WAL flusher broadcasts after each object.
 */
static int wait_until_durable(struct shale_db *db, uint64_t seq)
{
    int rc = 0;

    mutex_lock(&db->mu);
    while (db->opt.wal_enabled && db->durable_seq < seq && (rc = db_alive_locked(db)) == 0) {
        if (db->stop) { /* the WAL flusher ends, or has: close wrote what it was asked to */
            rc = err_set(SHALE_ECANCELED, "closed while a memtable was written");
            break;
        }
        db_wal_request_locked(db, seq);
        db->wal.has_follower = true;
        cond_wait(&db->flush_work, &db->mu);
    }
    db->wal.has_follower = false;
    mutex_unlock(&db->mu);
    return rc;
}

/*
 * A table whose rows all vanished is published without an SST: the replay point and last_l0_seq
 * move on all the same (H34).
 */
static int publish(struct shale_db *db, const struct imm *m, struct sst_handle *sst)
{
    struct publish_arg arg = { .db = db, .imm = m, .sst = sst };
    struct manifest_version *v = NULL;
    int rc;

    do {
        rc = manifest_store_update_as(db->manifests, EPOCH_WRITER, publish_edit, &arg, &v);
    } while (rc < 0 && wait_to_retry(db, rc, "manifest update"));
    if (rc < 0)
        return rc;
    db_checkpoint_settle(db, v);
    db_install(db, v);
    if (db->compactor)
        compactor_wake(db->compactor);
    return 0;
}

/* Building is repeated from the table, uploading from the bytes; both leave the table alone. */
static int flush_imm(struct shale_db *db, const struct imm *m)
{
    struct sst_handle *sst = NULL;
    int rc;

    do {
        rc = build_l0(db, m, &sst);
    } while (rc < 0 && wait_to_retry(db, rc, "writing an L0 SST"));
    if (rc == 0)
        rc = wait_until_durable(db, m->last_seq);
    if (rc == 0)
        rc = publish(db, m, sst);
    sst_handle_unref(sst);
    return rc;
}

/*
 * SHALE_EFENCED is how an idle writer learns that it was taken over. A store that does not answer
 * is no reason to die.
 */
void db_poll_manifest(struct shale_db *db)
{
    int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
    struct manifest_version *v = NULL;
    int rc = manifest_store_refresh_as(db->manifests, EPOCH_WRITER, &v);

    if (rc == 0) {
        db_wal_trust(db, mono, wall);
        db_install(db, v);
    } else if (rc == SHALE_EFENCED) {
        db_die(db, rc);
    } else {
        log_warn("database '%s': look at the manifest: %s", db->root, shale_errmsg());
    }
}

/* When the manifest is looked at next. */
struct poll {
    struct pace pace;
    int64_t at_ms; /* monotonic */
};

/* Whoever waits for a slot waits for others to make one. REQUIRES(mu), which is given up for the look. */
static void poll_locked(struct shale_db *db, struct poll *p)
{
    uint64_t before = db->mv->id;

    mutex_unlock(&db->mu);
    db_poll_manifest(db);
    mutex_lock(&db->mu);
    p->at_ms = clock_mono_ms() + pace_note(&p->pace, db->mv->id != before || !list_empty(&db->imms));
}

static void hurry(struct poll *p)
{
    int64_t soon = clock_mono_ms() + p->pace.least_ms;

    if (soon < p->at_ms)
        p->at_ms = soon;
}

/*
 * The oldest frozen table once there is a slot for it in L0 (R68), with a reference; NULL: the thread is to end.
 * A close waits for no slot: SlateDB's does, for ever when nothing compacts, or loses the rows when it is killed.
 * With no slot the compactor is woken once; it wakes us by publishing. mu is let go for the
 * call, so that its lock and ours never nest.
 */
static struct imm *next_imm_locked(struct shale_db *db, struct poll *p)
{
    bool woken = false;

    while (!db->stop && !db->error) {
        if (!list_empty(&db->imms)) {
            struct imm *m = list_entry(db->imms.next, struct imm, node);

            if (db->mv->m.n_l0 < db->opt.l0_max_ssts || db->closing) {
                m->refs++;
                return m;
            }
            if (db->compactor && !woken) {
                woken = true;
                mutex_unlock(&db->mu);
                compactor_wake(db->compactor);
                mutex_lock(&db->mu);
                continue;
            }
            hurry(p);
        }
        if (!cond_wait_until(&db->flush_work, &db->mu, p->at_ms))
            poll_locked(db, p);
    }
    return NULL;
}

void db_flush_main(void *arg)
{
    struct shale_db *db = arg;
    struct poll poll;
    struct list dead;
    struct imm *m;
    int rc = 0;

    (void)io_class_set(IO_UPLOAD);
    pace_init(&poll.pace, db->opt.manifest_poll_interval_ms, db->opt.manifest_idle_poll_ms);
    poll.at_ms = clock_mono_ms() + poll.pace.pause_ms;
    list_init(&dead);
    mutex_lock(&db->mu);
    while (rc == 0 && (m = next_imm_locked(db, &poll)) != NULL) {
        mutex_unlock(&db->mu);
        rc = flush_imm(db, m);
        if (rc < 0 && rc != SHALE_ECANCELED && !(db->stop && db_may_retry(rc)))
            db_die(db, rc);
        mutex_lock(&db->mu);
        imm_unref_locked(m, &dead);
        mutex_unlock(&db->mu);
        imm_free_list(&dead);
        mutex_lock(&db->mu);
    }
    mutex_unlock(&db->mu);
}

/*
 * Two critical sections: wmu is not held while waiting, or writers would stand still for the
 * length of an upload.
 */
int db_flush_memtables(struct shale_db *db)
{
    uint64_t target;
    int rc;

    mutex_lock(&db->wmu);
    mutex_lock(&db->mu);
    rc = db_alive_locked(db);
    if (rc == 0)
        rc = db_freeze_locked(db, db->wal.last_id);
    target = db->committed_seq;
    mutex_unlock(&db->mu);
    mutex_unlock(&db->wmu);
    if (rc < 0)
        return rc;
    mutex_lock(&db->mu);
    while (db->mv->m.last_l0_seq < target && (rc = db_alive_locked(db)) == 0) {
        if (cancel_wanted()) {
            rc = cancel_error("memtables to be flushed");
            break;
        }
        db_wait_locked(db, &db->flushed, 0);
    }
    mutex_unlock(&db->mu);
    return rc;
}
