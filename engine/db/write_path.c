/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes, on the caller's thread (R37-R51). A batch goes through these steps; nothing before
 * "insert" has a side effect, and nothing in it can fail:
 *   tick        its time, never before an earlier batch's (R31)
 *   to rows     folded, sorted, expiry (mem/batch.c); outside all locks
 *   enter       wait for room, become the one writer (wmu)
 *   check       of a transaction: no commit was in its way (txn.h); a conflict ends here
 *   reserve     memory for every row
 *   insert      sequence number, rows into the memtable: readers do not see them yet, committed_seq is below
 *   publish     under mu: into the WAL queue and committed_seq, at once for readers and flushers; freeze if due
 *   wait        if asked, until the WAL object is in the store
 */

#include "db/txn.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"

#include <assert.h>
#include <errno.h>

/* A clock that is behind the newest row by no more than this is taken to stand still; further back it is an error. */
#define CLOCK_TOLERANCE_MS 10000

/*
 * How far now lies behind last.
 * Unsigned, so that any two times can be subtracted.
 */
static uint64_t lag_of(int64_t last, int64_t now)
{
    return last == SHALE_NO_TS || now >= last ? 0 : (uint64_t)last - (uint64_t)now;
}

/*
 * Give a clock that jumped back time to catch up. REQUIRES(mu)
 * Min(10 s, twice the lag), once (R31). Woken early by close.
 */
static int wait_for_clock_locked(struct shale_db *db, uint64_t lag)
{
    int64_t wait = db->clock_wait_max_ms;
    int64_t deadline;

    if (2 * lag < (uint64_t)wait)
        wait = (int64_t)(2 * lag);
    deadline = clock_mono_ms() + wait;
    while (!db->error && db_wait_locked(db, &db->room, deadline))
        ;
    return db_alive_locked(db);
}

/*
 * The time of a batch, by R31: never before that of an earlier one. A clock that went back a little is held at the
 * newest time; one that went back far gets one wait. Several writers may get the same time; insert raises it once
 * more under wmu, where last_tick is exact.
 */
static int tick(struct shale_db *db, int64_t *out)
{
    int64_t now = db_now_ms(db), last;
    int rc = 0;

    mutex_lock(&db->mu);
    last = db->last_tick;
    if (lag_of(last, now) > CLOCK_TOLERANCE_MS)
        rc = wait_for_clock_locked(db, lag_of(last, now));
    mutex_unlock(&db->mu);
    if (rc < 0)
        return rc;
    if (lag_of(last, now) > CLOCK_TOLERANCE_MS) {
        now = db_now_ms(db);
        if (lag_of(last, now) > CLOCK_TOLERANCE_MS)
            return err_set(SHALE_ECLOCK, "the clock went backwards: last tick %lld, now %lld", (long long)last,
                           (long long)now);
    }
    *out = now > last ? now : last;
    return 0;
}

static int batch_for_wal(const struct batch_rows *r, struct wal_batch **out)
{
    struct wal_batch *b = mem_zalloc(size_add(sizeof(*b), size_mul(r->n, sizeof(b->rows[0]))));

    if (!b)
        return -ENOMEM;
    list_init(&b->node);
    b->n = r->n;
    *out = b;
    return 0;
}

/* Whether a writer must wait. What is in memory only may exceed the limit by the batches that pass at once. */
static bool is_full_locked(const struct shale_db *db)
{
    return db_pending_bytes_locked(db) >= db->opt.max_unflushed_bytes;
}

static int wait_for_room_locked(struct shale_db *db)
{
    int rc;

    if (is_full_locked(db))
        metric_count(db->metrics.backpressure, 1);
    while ((rc = db_alive_locked(db)) == 0 && is_full_locked(db)) {
        if (cancel_wanted())
            return cancel_error("room for more that is in memory only");
        if (db->opt.wal_enabled)
            db_wal_request_locked(db, db->committed_seq);
        db_wait_locked(db, &db->room, 0);
    }
    return rc;
}

/*
 * Wait for room and become the one writer (R87-R92). On success wmu is held.
 * wmu is taken only after there was room, so that a writer that waits for it does not hold up a
 * freeze; hence room is looked at again under it. Every wait loops on the handle's death, which
 * close and failures broadcast (H11), and on the caller's wish to give up, who has written nothing then.
 */
static int enter(struct shale_db *db)
{
    int rc;

    for (;;) {
        mutex_lock(&db->mu);
        rc = wait_for_room_locked(db);
        mutex_unlock(&db->mu);
        if (rc < 0)
            return rc;
        mutex_lock(&db->wmu);
        mutex_lock(&db->mu);
        rc = db_alive_locked(db);
        if (rc == 0 && !is_full_locked(db)) {
            mutex_unlock(&db->mu);
            return 0;
        }
        mutex_unlock(&db->mu);
        mutex_unlock(&db->wmu);
        if (rc < 0)
            return rc;
    }
}

/*
 * What follows the insertion of a batch, all at once for readers and flushers. REQUIRES(wmu)
 * The WAL queue before committed_seq, both under mu: a row that is readable is on its way to the
 * WAL (R48). A freeze here is still under wmu, and its table holds the whole batch.
 */
static void publish(struct shale_db *db, const struct shale_write_result *w, struct wal_batch *wb, uint64_t row_bytes)
{
    mutex_lock(&db->mu);
    if (wb) {
        wb->table = memtable_ref(db->active);
        wb->seq = w->seq;
        wb->row_bytes = row_bytes;
        db->active_wal_bytes += row_bytes;
        db_wal_append_locked(db, wb);
    } else if (db->active_since_ms == 0) {
        db->active_since_ms = clock_mono_ms();
        cond_signal(&db->wal_work);
    }
    db->last_seq = db->committed_seq = w->seq;
    db_note_memory_locked(db);
    db->last_tick = w->create_ts;
    (void)seq_tracker_record(&db->tracker, w->seq, w->create_ts); /* best effort: a missing point only is coarser */
    if (db_freeze_is_due_locked(db, db->wal.last_id))
        (void)db_freeze_locked(db, db->wal.last_id); /* without memory the table goes on growing; the next batch tries */
    mutex_unlock(&db->mu);
}

/*
 * Insert the rows with the next sequence number, which is taken only once nothing can fail any more: a gap would stop
 * SlateDB's flushes for ever (H3). REQUIRES(wmu)
 * active and last_seq are stable under wmu, without mu. The assertion holds as memory was
 * reserved and (key, seq) is new: seq was never used and a batch has one row for each key.
 */
static int insert(struct shale_db *db, struct shale_txn *txn, struct batch_rows *r, int64_t now,
                  struct wal_batch *wb, struct shale_write_result *out)
{
    uint64_t row_bytes = 0;
    bool logged = false;
    int rc;

    rc = txn_before_commit(db, txn, r, &logged);
    if (rc == 0)
        rc = memtable_reserve(db->active, r->rows, r->n);
    if (rc < 0)
        return rc;
    /* Another writer may have taken a later time since; expiry goes on counting from when this write was called. */
    out->create_ts = now > db->last_tick ? now : db->last_tick;
    out->seq = db->last_seq + 1;
    for (size_t i = 0; i < r->n; i++) {
        const struct shale_row *stored = NULL;

        r->rows[i].seq = out->seq;
        r->rows[i].create_ts = out->create_ts;
        row_bytes += row_size_estimate(&r->rows[i]);
        rc = memtable_insert(db->active, &r->rows[i], &stored);
        assert(rc == 0);
        if (wb)
            wb->rows[i] = stored;
    }
    publish(db, out, wb, row_bytes);
    if (logged)
        txn_after_commit(db, txn, r, out->seq);
    return 0;
}

/* The WAL record is allocated before entering: failing is harmless there. */
static int commit(struct shale_db *db, struct shale_txn *txn, struct batch_rows *r, int64_t now,
                  struct shale_write_result *out)
{
    struct wal_batch *wb = NULL;
    int rc = 0;

    if (db->opt.wal_enabled)
        rc = batch_for_wal(r, &wb);
    if (rc == 0)
        rc = enter(db);
    if (rc == 0) {
        rc = insert(db, txn, r, now, wb, out);
        mutex_unlock(&db->wmu);
    }
    if (rc < 0 && wb)
        wal_batch_free(wb);
    return rc;
}

int db_wait_durable(struct shale_db *db, uint64_t seq)
{
    int rc;

    mutex_lock(&db->mu);
    rc = db_wait_durable_locked(db, seq);
    mutex_unlock(&db->mu);
    return rc;
}

int db_write(struct shale_db *db, const struct shale_batch *b, struct shale_txn *txn, struct shale_write_result *out)
{
    struct batch_rows rows = { 0 };
    int64_t now = 0;
    int rc = db_writable(db);

    metric_count(db->metrics.write_batches, 1);
    metric_count(db->metrics.write_ops, shale_batch_count(b));
    if (rc == 0)
        rc = db_alive(db);
    if (rc < 0)
        return rc;
    if (shale_batch_count(b) == 0)
        return err_set(-EINVAL, "an empty write batch is not allowed");
    rc = tick(db, &now);
    if (rc == 0)
        rc = batch_to_rows(b, now, db->opt.default_ttl_ms, counted_operator_op(&db->metrics.flush_op), &rows);
    if (rc == 0)
        rc = commit(db, txn, &rows, now, out);
    batch_rows_fini(&rows);
    return rc;
}

int shale_db_write(struct shale_db *db, struct shale_batch *b, bool await_durable, struct shale_write_result *out)
{
    struct shale_write_result w = { 0 };
    int rc = db_write(db, b, NULL, &w);

    if (rc == 0 && await_durable)
        rc = db_wait_durable(db, w.seq);
    if (rc == 0 && out)
        *out = w;
    return rc;
}

/* A batch of one operation, which op adds. */
static int write_one(struct shale_db *db, enum shale_kind kind, struct shale_slice key, struct shale_slice value,
                     bool await_durable)
{
    struct shale_batch *b = NULL;
    int rc = shale_batch_new(&b);

    if (rc < 0)
        return rc;
    if (kind == SHALE_PUT)
        rc = shale_batch_put(b, key, value, SHALE_TTL_INIT);
    else if (kind == SHALE_MERGE)
        rc = shale_batch_merge(b, key, value, SHALE_TTL_INIT);
    else
        rc = shale_batch_delete(b, key);
    if (rc == 0)
        rc = shale_db_write(db, b, await_durable, NULL);
    shale_batch_free(b);
    return rc;
}

int shale_db_put(struct shale_db *db, struct shale_slice key, struct shale_slice value, bool await_durable)
{
    return write_one(db, SHALE_PUT, key, value, await_durable);
}

int shale_db_delete(struct shale_db *db, struct shale_slice key, bool await_durable)
{
    return write_one(db, SHALE_TOMBSTONE, key, (struct shale_slice){ 0 }, await_durable);
}

int shale_db_merge(struct shale_db *db, struct shale_slice key, struct shale_slice operand, bool await_durable)
{
    return write_one(db, SHALE_MERGE, key, operand, await_durable);
}

/* committed_seq of this moment: what others write while we wait is not waited for. */
int shale_db_flush(struct shale_db *db, enum shale_flush_kind kind)
{
    int rc = db_writable(db);

    metric_count(db->metrics.flushes, 1);
    if (rc < 0)
        return rc;
    if (kind == SHALE_FLUSH_MEMTABLE)
        return db_flush_memtables(db);
    if (!db->opt.wal_enabled)
        return err_set(-EINVAL, "the database '%s' was opened without WAL: there is no WAL to flush", db->root);
    mutex_lock(&db->mu);
    rc = db_wait_durable_locked(db, db->committed_seq);
    mutex_unlock(&db->mu);
    return rc;
}
