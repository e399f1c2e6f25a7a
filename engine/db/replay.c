/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: the rows of the WAL since the replay point become memtables again, with their old
 * sequence numbers, in file order. On the thread that opens; no other one runs, and mu is taken
 * only since freezing asserts it.
 */

#include "db/db.h"

#include "base/err.h"
#include "base/log.h"
#include "wal/wal_replay.h"

#include <errno.h>
#include <inttypes.h>

struct replay_arg {
    struct shale_db *db;
    uint64_t last_l0_seq;
    uint64_t n_rows;
    uint64_t wal_id; /* of the object that is read */
};

/*
 * Rows are inserted and counted one by one: last_seq and last_tick must cover everything that may
 * be durable, or numbers would be used twice (H35).
 */
static int replay_row(void *arg, const struct shale_row *row)
{
    struct replay_arg *a = arg;
    struct shale_db *db = a->db;
    int rc;

    if (row->seq >= DB_SEQ_END)
        return err_set(SHALE_ECORRUPT, "WAL object %" PRIu64 " of '%s': no sequence number comes after %" PRIu64,
                       a->wal_id, db->root, row->seq);
    if (row->seq <= a->last_l0_seq)
        return 0; /* in L0 or below (R99) */
    rc = memtable_insert(db->active, row, NULL);
    if (rc == -EEXIST) { /* operands of one batch, as SlateDB wrote them: a table there holds the last one (H4) */
        log_warn("database '%s': the WAL has two rows of one key with sequence number %" PRIu64, db->root, row->seq);
        rc = memtable_replace(db->active, row);
    }
    if (rc < 0)
        return rc;
    a->n_rows++;
    if (row->seq > db->last_seq)
        db->last_seq = row->seq;
    if (row->create_ts > db->last_tick) /* SHALE_NO_TS is the least value */
        db->last_tick = row->create_ts;
    return 0;
}

/* Tables end where WAL objects end, stamped with an object that they hold whole (H29). */
static int replay_end(void *arg, uint64_t wal_id)
{
    struct replay_arg *a = arg;
    struct shale_db *db = a->db;
    int rc = 0;

    mutex_lock(&db->mu);
    if (db_freeze_is_due_locked(db, wal_id))
        rc = db_freeze_locked(db, wal_id);
    mutex_unlock(&db->mu);
    a->wal_id = wal_id + 1;
    return rc;
}

int db_replay(struct shale_db *db, uint64_t first, uint64_t last, uint64_t largest)
{
    struct replay_arg arg = { .db = db, .last_l0_seq = db->mv->m.last_l0_seq, .wal_id = first };
    const struct wal_replay_fns fns = { .row = replay_row, .end = replay_end, .arg = &arg, .largest = largest };
    int rc = first <= last ? wal_replay(&db->ts, first, last, &fns) : 0;

    if (rc < 0)
        return rc;
    log_debug("database '%s': replayed %" PRIu64 " rows of WAL objects %" PRIu64 " to %" PRIu64, db->root, arg.n_rows,
              first, last);
    return 0;
}
