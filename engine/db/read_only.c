/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening without claiming anything, and unlike SlateDB's reader (R299-R305) without a checkpoint of its own: the
 * newest manifest, and the WAL objects behind its replay point, as they are at that moment. No epoch, no fence, no
 * thread, no write; what is committed later is not seen. Nothing protects the objects from a collector: one that
 * goes while the WAL is read makes the attempt start over from a newer manifest, one that goes later shows as
 * -ENOENT of the read that wanted it.
 */

#include "db/db.h"

#include "base/err.h"
#include "manifest/checkpoint.h"
#include "wal/wal_replay.h"

#include <errno.h>

/* A manifest may go out of date while its WAL is read, each time by a flush and a garbage collection: rare. */
#define ATTEMPTS_MAX 16

/*
 * Bring the memtables to what the manifest and the WAL objects after it say.
 * Everything that an earlier attempt may have set is set anew. A writer may be adding objects:
 * those after the listing are left for the next open.
 */
static int load_tables(struct shale_db *db)
{
    const struct manifest *m = &db->mv->m;
    uint64_t last = 0, largest = 0;
    int rc = db_check_counters(db);

    if (rc == 0)
        rc = table_store_set_externals(&db->ts, m);
    if (rc < 0)
        return rc;
    db->last_freeze_id = m->replay_after_wal_id;
    db->last_seq = m->last_l0_seq;
    db->last_tick = m->last_l0_clock_tick;
    rc = wal_find_last(&db->ts, m->replay_after_wal_id, &last, &largest);
    if (db->opt.checkpoint && last > m->wal_id_last_seen)
        last = m->wal_id_last_seen; /* R303 */
    if (rc == 0)
        rc = db_view_init(db);
    if (rc == 0)
        rc = db_replay(db, m->replay_after_wal_id + 1, last, largest);
    if (rc < 0)
        return rc;
    db->committed_seq = db->durable_seq = db->last_seq;
    db->wal.last_id = last > m->replay_after_wal_id ? last : m->replay_after_wal_id;
    db->wal.next_id = db->wal.last_id + 1;
    return 0;
}

/* Forget the rows of an attempt that failed. */
static int drop_tables(struct shale_db *db)
{
    struct memtable *fresh = NULL;
    struct list dead;
    int rc = memtable_new(&fresh);

    if (rc < 0)
        return rc;
    list_init(&dead);
    list_for_each_safe(p, next, &db->imms) {
        list_remove(p);
        imm_unref_locked(list_entry(p, struct imm, node), &dead);
    }
    imm_free_list(&dead);
    db->n_imms = 0;
    db->imm_bytes = 0;
    memtable_unref(db->active);
    db->active = fresh;
    return 0;
}

/* Put the version that the checkpoint holds in place of the newest one. */
static int load_checkpoint(struct shale_db *db)
{
    const struct checkpoint *c = checkpoint_find(&db->mv->m, *db->opt.checkpoint);
    struct manifest_version *v = NULL;
    char text[UUID_TEXT_LEN + 1];
    int rc;

    uuid_format(*db->opt.checkpoint, text);
    if (!c)
        return err_set(-ENOENT, "the database '%s' has no checkpoint %s", db->root, text);
    rc = manifest_store_read(db->manifests, c->manifest_id, &v);
    if (rc < 0)
        return err_add(rc, "checkpoint %s", text);
    manifest_version_unref(db->mv);
    db->mv = v;
    return 0;
}

int db_open_read_only(struct shale_db *db)
{
    int rc = db->opt.checkpoint ? load_checkpoint(db) : 0;

    if (rc == 0)
        rc = load_tables(db);
    for (int i = 0; rc == SHALE_ECORRUPT && !db->opt.checkpoint && i < ATTEMPTS_MAX; i++) {
        struct manifest_version *v = NULL;
        bool moved;

        if (manifest_store_load_latest(db->manifests, &v) < 0)
            return rc;
        /* The writer goes on: WAL objects that a newer manifest does not need may have been collected meanwhile. */
        moved = v->m.replay_after_wal_id > db->mv->m.replay_after_wal_id;
        manifest_version_unref(moved ? db->mv : v);
        if (!moved)
            return rc;
        db->mv = v;
        rc = drop_tables(db);
        if (rc == 0)
            rc = load_tables(db);
    }
    return rc;
}
