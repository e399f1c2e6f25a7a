/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WAL flusher: one thread that turns committed batches into WAL objects (R52-R60). Life of a
 * batch:
 *   pending    committed and readable; db_wal_append_locked put it at the end of wal.pending
 *   taken      moved into a wal_object, with its id = next_id; one object is in flight at a time (R56)
 *   durable    the object is in the store: durable_seq rises to its last batch, its writers wake
 *   lost       the put failed for good: the handle dies of it, nobody is told that the batch is durable
 * One object in flight means no gap: an object exists only if all before it do, which replay
 * relies on. While one is under way the next gathers, so the batch size follows the latency of
 * the store. An object begins when somebody waits (wanted_seq), when enough is pending, or
 * flush_interval_ms after the first row; ids are used only on success, so that a retry is of the
 * same id.
 */

#include "db/db.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io_class.h"
#include "base/log.h"
#include "object/paths.h"

#include <errno.h>
#include <inttypes.h>

/* A WAL object takes at most about so much, or wal_max_bytes if that is more: it is built in memory. */
#define OBJECT_BYTES_MIN (8u << 20)
#define RETRY_MS 20
#define RETRY_MAX_MS 1000

/* Batches on their way into one WAL object. */
struct wal_object {
    struct list batches;
    uint64_t id;
    size_t n_rows;
    uint64_t last_seq;
    uint64_t row_bytes;
};

void wal_batch_free(struct wal_batch *b)
{
    memtable_unref(b->table);
    mem_free(b);
}

/* Bytes of the encoded estimate; is_large_locked compares. */
static uint64_t object_limit(const struct shale_db *db)
{
    return db->opt.wal_max_bytes ? db->opt.wal_max_bytes : db->opt.l0_sst_size_bytes;
}

static bool is_large_locked(const struct shale_db *db)
{
    const struct wal_state *w = &db->wal;

    return sst_size_estimate(w->n_rows, w->row_bytes, db->opt.block_size, 8, UINT32_MAX, 0) >= object_limit(db);
}

/*
 * The flusher is woken for the first batch, as its timer begins then, and when there is enough; not for each one in
 * between, and not for the first when it looks again before that one is due: a writer that then waits for its row wakes
 * it, which is one change of threads instead of two.
 */
void db_wal_append_locked(struct shale_db *db, struct wal_batch *b)
{
    struct wal_state *w = &db->wal;
    bool first = list_empty(&w->pending);

    if (first)
        w->since_ms = clock_mono_ms();
    list_append(&w->pending, &b->node);
    w->n_rows += b->n;
    w->row_bytes += b->row_bytes;
    if ((first && w->asleep) || is_large_locked(db))
        cond_signal(&db->wal_work);
}

/* A sequence number rather than a flag: several waiters raise it, and it needs no taking back. */
void db_wal_request_locked(struct shale_db *db, uint64_t seq)
{
    if (db->wal.wanted_seq >= seq)
        return;
    db->wal.wanted_seq = seq;
    metric_count(db->metrics.wal_flush_requests, 1);
    cond_signal(&db->wal_work);
}

/*
 * Without WAL only an L0 SST makes rows durable; the timer would do, if there is one. REQUIRES(mu); drops it meanwhile
 * wmu comes before mu in rank, so mu is let go and taken again; all that was known is looked at
 * anew behind it.
 */
static void request_freeze(struct shale_db *db, uint64_t seq)
{
    if (db->opt.flush_interval_ms > 0)
        return;
    mutex_unlock(&db->mu);
    mutex_lock(&db->wmu);
    mutex_lock(&db->mu);
    if (db->durable_seq < seq && (list_empty(&db->imms) || list_entry(db->imms.prev, struct imm, node)->last_seq < seq))
        (void)db_freeze_locked(db, db->wal.last_id); /* without memory: the next writer or flush does it */
    mutex_unlock(&db->mu);
    mutex_unlock(&db->wmu);
    mutex_lock(&db->mu);
}

/*
 * The success of a batch that is durable wins over the death of the handle: what is in the store
 * is there, and a writer that was fenced meanwhile is replayed by its successor.
 */
int db_wait_durable_locked(struct shale_db *db, uint64_t seq)
{
    uint64_t counted = UINT64_MAX; /* as a waiter for the object behind so many */
    struct wal_state *w = &db->wal;
    int rc = 0;

    if (db->durable_seq >= seq)
        return 0;
    if (!db->opt.wal_enabled)
        request_freeze(db, seq);
    while (db->durable_seq < seq && (rc = db_alive_locked(db)) == 0) {
        if (cancel_wanted()) {
            w->n_waiters -= counted == w->objects;
            return cancel_error("a commit, which may still come");
        }
        if (db->opt.wal_enabled)
            db_wal_request_locked(db, seq);
        if (counted != w->objects) {
            counted = w->objects;
            w->n_waiters++;
            cond_signal(&db->wal_work); /* one more has joined; see gather_locked */
        }
        db_wait_locked(db, &db->durable, 0);
    }
    return rc;
}

/*
 * Whether an object is to be begun; otherwise *deadline is when one is (0: only when asked).
 *   wanted_seq > durable_seq    now: somebody waits, or a memtable wants to go to L0
 *   enough is pending           now (R54)
 *   flush_interval_ms > 0       when the oldest pending row is so old
 *   otherwise                   when asked
 */
static bool is_due_locked(const struct shale_db *db, int64_t *deadline)
{
    const struct wal_state *w = &db->wal;

    *deadline = w->linger_ms;
    if (list_empty(&w->pending))
        return false;
    *deadline = 0;
    if (w->wanted_seq > db->durable_seq || is_large_locked(db))
        return true;
    if (db->opt.flush_interval_ms == 0)
        return false;
    *deadline = w->since_ms + db->opt.flush_interval_ms;
    return clock_mono_ms() >= *deadline;
}

/*
 * Wait until there is an object to write. false: the thread is to end. An interval behind an object the thread looks
 * whether there is more, and then no more until it is told.
 */
static bool wait_for_work_locked(struct shale_db *db)
{
    struct wal_state *w = &db->wal;
    int64_t deadline;

    while (!db->stop && !db->error) {
        if (is_due_locked(db, &deadline))
            return true;
        if (deadline) {
            if (!cond_wait_until(&db->wal_work, &db->mu, deadline))
                w->linger_ms = 0;
            continue;
        }
        w->asleep = true;
        cond_wait(&db->wal_work, &db->mu);
        w->asleep = false;
    }
    return false;
}

/*
 * When the last object woke several writers, they are about to write again: give them a moment to join this one,
 * so that they do not end up in two groups that take turns. commit_gather_us is rounded up to whole milliseconds,
 * which is what conditions can wait for.
 */
static void gather_locked(struct shale_db *db)
{
    int64_t deadline = (clock_mono_ns() + db->opt.commit_gather_us * 1000 + 999999) / 1000000;

    if (db->opt.commit_gather_us == 0 || db->wal.last_woken < 2)
        return;
    while (!db->stop && !db->error && db->wal.n_waiters < db->wal.last_woken && !is_large_locked(db))
        if (!cond_wait_until(&db->wal_work, &db->mu, deadline))
            return;
}

/*
 * At least one batch, however large: a batch is never split between objects, which is what makes
 * it atomic (storage format 7.2).
 */
static void take_locked(struct shale_db *db, struct wal_object *o)
{
    struct wal_state *w = &db->wal;
    uint64_t max = object_limit(db) > OBJECT_BYTES_MIN ? object_limit(db) : OBJECT_BYTES_MIN;

    *o = (struct wal_object){ .id = w->next_id };
    list_init(&o->batches);
    if (w->wanted_seq < list_entry(w->pending.next, struct wal_batch, node)->seq)
        metric_count(db->metrics.wal_flush_requests, 1); /* the time or the size asked for it */
    do {
        struct wal_batch *b = list_entry(w->pending.next, struct wal_batch, node);

        list_remove(&b->node);
        list_append(&o->batches, &b->node);
        o->n_rows += b->n;
        o->row_bytes += b->row_bytes;
        o->last_seq = b->seq;
    } while (!list_empty(&w->pending) && o->row_bytes < max);
    w->n_rows -= o->n_rows;
    w->row_bytes -= o->row_bytes;
    w->flying_bytes = o->row_bytes;
    w->since_ms = clock_mono_ms(); /* of what stays behind, which is much: it is due at once */
}

/*
 * Rows are read from the memtable without a lock: they are immutable once inserted, and each
 * batch holds a reference to its table.
 */
static int encode(const struct shale_db *db, const struct wal_object *o, struct shale_buf *out)
{
    const struct shale_row **rows = mem_alloc(size_mul(o->n_rows, sizeof(rows[0])));
    size_t n = 0;
    int rc;

    if (!rows)
        return -ENOMEM;
    list_for_each(p, &o->batches) {
        const struct wal_batch *b = list_entry(p, struct wal_batch, node);

        memcpy(rows + n, b->rows, b->n * sizeof(rows[0]));
        n += b->n;
    }
    rc = wal_sst_encode(&db->ts.format, rows, n, out);
    mem_free(rows);
    return rc;
}

/* Nobody but us was the writer at that time. */
void db_wal_trust(struct shale_db *db, int64_t mono_ms, int64_t wall_ms)
{
    mutex_lock(&db->mu);
    db->wal.sure_mono_ms = mono_ms;
    db->wal.sure_wall_ms = wall_ms;
    mutex_unlock(&db->mu);
}

static bool is_recent(struct shale_db *db)
{
    int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
    bool recent;

    mutex_lock(&db->mu);
    recent = mono - db->wal.sure_mono_ms <= db->put_trust_ms && wall - db->wal.sure_wall_ms <= db->put_trust_ms;
    mutex_unlock(&db->mu);
    return recent;
}

/*
 * A put that succeeds soon after we were known to be the writer shows that we were when it began: a newer writer's
 * fence would lie there. Lost replies are the retrying store's to resolve: an object that exists is another writer's.
 * Both clocks are looked at, because a suspended machine stops the monotonic one.
 */
static int put_once(struct shale_db *db, uint64_t id, struct shale_slice data)
{
    int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
    char name[PATH_NAME_MAX];
    int rc = path_wal(db->root, id, name);

    if (rc == 0)
        rc = shale_store_put(db->ts.wal_store, name, data, SHALE_PUT_IF_ABSENT);
    if (rc == -EEXIST)
        return err_set(SHALE_EFENCED, "WAL object %" PRIu64 " of '%s' exists: a newer writer owns the database", id,
                       db->root);
    if (rc == 0 && is_recent(db))
        db_wal_trust(db, mono, wall);
    return rc;
}

/*
 * When the epoch was last known to be ours so long ago that a garbage collector may have removed a newer writer's fence
 * meanwhile, be it that the put took long or that this process slept, a put counts only if the epoch still is (H1).
 */
static int check_epoch(struct shale_db *db)
{
    int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
    struct manifest_version *v = NULL;
    int rc;

    if (is_recent(db))
        return 0;
    rc = manifest_store_refresh_as(db->manifests, EPOCH_WRITER, &v);
    if (rc < 0)
        return rc;
    db_install(db, v);
    db_wal_trust(db, mono, wall);
    return 0;
}

/*
 * Whether to try again after rc, having waited a moment, which grows from one time to the next. Not with a store that
 * was given up on (store_limit_ms): whether its last write took place is unknown, and another put would take what is
 * there for another writer's.
 */
static bool wait_to_retry(struct shale_db *db, int rc, int64_t *pause_ms)
{
    bool again;

    if (!db_may_retry(rc) || (rc == SHALE_ETRANSIENT && db->opt.store_limit_ms))
        return false;
    log_warn("database '%s': WAL write: %s; trying again", db->root, shale_errmsg());
    mutex_lock(&db->mu);
    db_pause_locked(db, &db->wal_work, *pause_ms);
    again = !db->stop && !db->error;
    mutex_unlock(&db->mu);
    *pause_ms = 2 * *pause_ms < RETRY_MAX_MS ? 2 * *pause_ms : RETRY_MAX_MS;
    return again;
}

/*
 * The bytes are made once: each attempt puts the same ones, so that an object found later cannot
 * be half of one attempt and half of another. Looking at the epoch is tried again by itself: a
 * second put would find our own object and take it for another writer's.
 */
static int write_object(struct shale_db *db, const struct wal_object *o)
{
    struct shale_buf data = SHALE_BUF_INIT;
    int64_t pause_ms = RETRY_MS;
    int rc;

    do {
        buf_clear(&data);
        rc = encode(db, o, &data);
    } while (rc < 0 && wait_to_retry(db, rc, &pause_ms));
    while (rc == 0) {
        rc = put_once(db, o->id, slice_of_buf(&data));
        if (rc == 0 || !wait_to_retry(db, rc, &pause_ms))
            break;
        rc = 0;
    }
    while (rc == 0) {
        rc = check_epoch(db);
        if (rc == 0 || !wait_to_retry(db, rc, &pause_ms))
            break;
        rc = 0;
    }
    shale_buf_fini(&data);
    return rc;
}

/*
 * The object is in the store.
 * Batches whose table was frozen meanwhile count there (imm_bytes) until it is flushed.
 */
static void done_locked(struct shale_db *db, const struct wal_object *o)
{
    struct wal_state *w = &db->wal;

    list_for_each(p, &o->batches) {
        const struct wal_batch *b = list_entry(p, struct wal_batch, node);

        if (b->table == db->active)
            db->active_wal_bytes -= b->row_bytes;
    }
    w->last_id = o->id;
    w->next_id = o->id + 1;
    w->objects++;
    w->flying_bytes = 0;
    metric_count(db->metrics.wal_flushes, 1);
    db_note_memory_locked(db);
    w->last_woken = w->n_waiters;
    w->n_waiters = 0; /* who has to go on waiting counts itself again */
    db->durable_seq = o->last_seq;
    if (db->opt.flush_interval_ms > 0)
        w->linger_ms = clock_mono_ms() + db->opt.flush_interval_ms;
    cond_broadcast(&db->durable);
    if (w->has_follower)
        cond_broadcast(&db->flush_work);
    cond_broadcast(&db->room);
}

static void object_free(struct wal_object *o)
{
    list_for_each_safe(p, next, &o->batches)
        wal_batch_free(list_entry(p, struct wal_batch, node));
}

/*
 * REQUIRES nothing; mu is held but for the write itself. The first failure ends the thread, and
 * the handle with it.
 */
static void wal_main(struct shale_db *db)
{
    struct wal_object o;
    int rc = 0;

    mutex_lock(&db->mu);
    while (rc == 0 && wait_for_work_locked(db)) {
        gather_locked(db);
        take_locked(db, &o);
        mutex_unlock(&db->mu);
        rc = write_object(db, &o);
        if (rc < 0)
            db_die(db, rc);
        mutex_lock(&db->mu);
        if (rc == 0)
            done_locked(db, &o);
        mutex_unlock(&db->mu);
        object_free(&o);
        mutex_lock(&db->mu);
    }
    mutex_unlock(&db->mu);
}

/*
 * Without WAL: the timer freezes the memtable instead.
 * active_since_ms is 0 while the active table has no row, so that an idle handle freezes nothing.
 * A freeze for another reason leaves it set, which makes the next one early by less than an
 * interval.
 */
static void timer_main(struct shale_db *db)
{
    mutex_lock(&db->mu);
    while (!db->stop && !db->error) {
        int64_t due = db->active_since_ms + db->opt.flush_interval_ms;

        if (db->opt.flush_interval_ms == 0 || db->active_since_ms == 0) {
            cond_wait(&db->wal_work, &db->mu);
        } else if (clock_mono_ms() < due) {
            (void)cond_wait_until(&db->wal_work, &db->mu, due);
        } else {
            mutex_unlock(&db->mu);
            mutex_lock(&db->wmu);
            mutex_lock(&db->mu);
            (void)db_freeze_locked(db, db->wal.last_id); /* without memory: the next interval does it */
            db->active_since_ms = 0;
            mutex_unlock(&db->mu);
            mutex_unlock(&db->wmu);
            mutex_lock(&db->mu);
        }
    }
    mutex_unlock(&db->mu);
}

void db_wal_main(void *arg)
{
    struct shale_db *db = arg;

    (void)io_class_set(IO_WAL);
    if (db->opt.wal_enabled)
        wal_main(db);
    else
        timer_main(db);
}
