/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening (R93-R102, storage format 7.4), in an order on which safety rests:
 *   1  load the manifest, or find that there is none      nothing written yet
 *   2  list the WAL: next id                              before 3, see below
 *   3  claim writer_epoch + 1 in the manifest             an older writer's manifest updates now fail
 *   4  put an empty WAL object at the next id             an older writer's next WAL put now collides
 *   5  replay up to the fence                             nothing can be added below it any more
 *   6  start the threads
 * An older writer may go on putting objects until 4 succeeds; each makes our put collide and the
 * id move up, so all of them are below the fence and replayed. What it acknowledged is never lost. Listing before
 * claiming is SlateDB's order; 4 copes with whatever was put since. Without WAL there is a
 * fence only if the listing showed WAL objects: then an older writer may have one, and must not go on acknowledging.
 */

#include "db/db.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "object/paths.h"
#include "wal/wal_replay.h"

#include <errno.h>
#include <inttypes.h>

#define CLOCK_WAIT_MAX_MS 10000
/* Far below the 300 s at which a garbage collector begins to remove what is not needed. */
#define PUT_TRUST_MS 60000

static void init_state(struct shale_db *db)
{
    mutex_init(&db->wmu, 20, "db writers");
    mutex_init(&db->mu, 30, "db");
    cond_init(&db->wal_work);
    cond_init(&db->flush_work);
    cond_init(&db->durable);
    cond_init(&db->flushed);
    cond_init(&db->room);
    cond_init(&db->idle);
    cond_init(&db->gc.idle);
    list_init(&db->imms);
    list_init(&db->wal.pending);
    list_init(&db->snapshots);
    list_init(&db->checkpoints);
    list_init(&db->txns);
    conflict_log_init(&db->conflicts);
    seq_tracker_init(&db->tracker);
    db->last_tick = SHALE_NO_TS;
    db->clock_wait_max_ms = CLOCK_WAIT_MAX_MS;
    db->put_trust_ms = PUT_TRUST_MS;
}

/* From here on db_free undoes everything, however far opening came. */
struct shale_db *db_alloc(const struct shale_options *opt, const char *root)
{
    struct shale_db *db = mem_zalloc(sizeof(*db));

    if (!db)
        return NULL;
    db->opt = *opt;
    init_state(db);
    db->root = mem_strdup(root);
    if (!db->root || memtable_new(&db->active) < 0) {
        db_free(db);
        return NULL;
    }
    return db;
}

/* Write manifest 1, unless somebody else is quicker; then his counts. */
static int create_manifest(struct shale_db *db)
{
    struct manifest_version *v = NULL;
    struct manifest m;
    int rc;

    manifest_init(&m);
    if (db->opt.wal_store) {
        m.wal_store_uri = mem_strdup(""); /* all that SlateDB ever stores: there is one (R93) */
        if (!m.wal_store_uri) {
            manifest_fini(&m);
            return -ENOMEM;
        }
    }
    rc = manifest_store_create(db->manifests, &m);
    manifest_fini(&m);
    if (rc == -EEXIST && db->opt.before_claim)
        return err_set(-EBUSY, "somebody else has just made a database at '%s'", db->root);
    if (rc < 0 && rc != -EEXIST)
        return rc;
    rc = manifest_store_load_latest(db->manifests, &v);
    if (rc == 0)
        db->mv = v;
    return rc;
}

/* -ENOENT with create is no failure: creating waits until the WAL was listed. */
static int load_manifest(struct shale_db *db, bool create, bool *fresh)
{
    int rc = manifest_store_load_latest(db->manifests, &db->mv);

    *fresh = rc == -ENOENT && create;
    if (rc == -ENOENT && !create)
        return err_set(rc, "there is no database at '%s'; it must be created first", db->root);
    return *fresh ? 0 : rc;
}

/* Other epochs than our own must not repeat ids in a seeded run, hence the epoch in the seed. */
static int claim_writer(struct shale_db *db)
{
    struct manifest_store *s = db->manifests;
    struct manifest_version *v = NULL;
    int rc;

    if (db->opt.before_claim)
        rc = manifest_store_claim_from(s, EPOCH_WRITER, db->mv->m.writer_epoch, &db->writer_epoch, &v);
    else
        rc = manifest_store_claim(s, EPOCH_WRITER, &db->writer_epoch, &v);
    if (rc < 0)
        return rc;
    manifest_version_unref(db->mv);
    db->mv = v;
    rng_seed(&db->rng, db->opt.seed + (db->writer_epoch << 32)); /* no handle repeats the ids of another */
    return table_store_set_externals(&db->ts, &v->m);
}

/*
 * Put an empty object where an older writer would put its next one (R93.9, R94). *id is its id.
 * Ends because each collision is an object of a writer that is fenced in the manifest already and
 * soon notices, or of a newer one, which refresh_as reports as SHALE_EFENCED.
 */
static int fence_wal(struct shale_db *db, uint64_t *id)
{
    struct shale_buf data = SHALE_BUF_INIT;
    char name[PATH_NAME_MAX];
    int rc = wal_fence_encode(&db->ts.format, &data);

    while (rc == 0) {
        struct manifest_version *v = NULL;

        rc = path_wal(db->root, *id, name);
        if (rc == 0)
            rc = shale_store_put(db->ts.wal_store, name, slice_of_buf(&data), SHALE_PUT_IF_ABSENT);
        if (rc != -EEXIST)
            break;
        /* An older writer was quicker, or a newer one has fenced us. */
        rc = manifest_store_refresh_as(db->manifests, EPOCH_WRITER, &v);
        manifest_version_unref(v);
        ++*id;
    }
    shale_buf_fini(&data);
    return rc;
}

/*
 * Take the database over and bring the memtables to what was durable. next_id: first WAL id that was not
 * listed; largest: bytes of the largest that was.
 * fence: somebody has written a WAL, or we are about to.
 * All three sequence numbers begin at what replay found: everything replayed is durable, and
 * nothing else is committed.
 */
static int take_over(struct shale_db *db, uint64_t next_id, uint64_t largest, bool fence)
{
    const struct manifest *m;
    int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
    uint64_t last;
    int rc = claim_writer(db);

    if (rc == 0)
        rc = db_check_counters(db);
    if (rc < 0)
        return rc;
    db_wal_trust(db, mono, wall);
    m = &db->mv->m;
    if (next_id <= m->replay_after_wal_id)
        next_id = m->replay_after_wal_id + 1;
    if (fence)
        rc = fence_wal(db, &next_id);
    if (rc < 0)
        return rc;
    last = next_id - 1;
    db->wal.next_id = fence ? next_id + 1 : next_id;
    db->wal.last_id = db->wal.next_id - 1;
    db->last_freeze_id = m->replay_after_wal_id;
    db->last_seq = m->last_l0_seq;
    db->last_tick = m->last_l0_clock_tick;
    rc = db_view_init(db);
    if (rc == 0)
        rc = db_replay(db, m->replay_after_wal_id + 1, last, largest);
    db->committed_seq = db->durable_seq = db->last_seq;
    return rc;
}

static void on_published(void *arg, struct manifest_version *v)
{
    db_install(arg, v);
}

/* They may run, and call back into db_install, before this returns. */
static int start_threads(struct shale_db *db)
{
    const struct compactor_config cfg = { .store = db->stores[DB_STORE_COMPACTOR].retry,
                                          .root = db->root,
                                          .manifests = db->manifests,
                                          .ts = &db->compactor_ts,
                                          .opt = &db->opt,
                                          .registry = db->metrics.registry,
                                          .metrics = &db->metrics.compactor,
                                          .published = on_published,
                                          .arg = db,
                                          .stands_by = true };
    int rc = 0;

    /* First the compactor: the others use it without asking whether it is there yet. */
    if (db->opt.compactor.enabled)
        rc = compactor_start(&cfg, &db->compactor);
    if (rc == 0)
        rc = worker_start(&db->wal_thread, "shale-wal", db_wal_main, db);
    if (rc == 0)
        rc = worker_start(&db->flush_thread, "shale-flush", db_flush_main, db);
    if (rc == 0 && db->opt.gc.enabled && db->opt.gc.interval_ms > 0)
        rc = worker_start(&db->gc.thread, "shale-gc", db_gc_main, db);
    return rc;
}

static int recover(struct shale_db *db, struct shale_store *store, bool create)
{
    uint64_t last = 0, largest = 0, after = 0;
    bool fresh = false;
    int rc = db_open_layers(db, store, "db");

    if (rc == 0)
        rc = load_manifest(db, create && !db->opt.read_only, &fresh);
    if (rc == 0 && !fresh)
        rc = db_check_manifest(db);
    if (rc < 0)
        return rc;
    if (db->opt.read_only)
        return db_open_read_only(db);
    if (db->opt.before_claim)
        rc = db->opt.before_claim(db->opt.before_claim_arg, fresh);
    if (rc < 0)
        return rc;
    after = fresh ? 0 : db->mv->m.replay_after_wal_id;
    rc = wal_find_last(&db->ts, after, &last, &largest); /* before the claim: see storage format section 7.4 */
    if (rc == 0 && fresh) {
        rc = create_manifest(db);
        if (rc == 0)
            rc = db_check_manifest(db);
    }
    if (rc == 0)
        rc = take_over(db, (last > after ? last : after) + 1, largest, db->opt.wal_enabled || last > 0);
    return rc;
}

/* The sentence is saved across closing, which may leave one of its own. */
int shale_db_open(struct shale_store *store, const char *path, const struct shale_options *opt, bool create,
                  struct shale_db **out)
{
    struct shale_db *db;
    int rc = shale_options_check(opt);

    if (rc == 0)
        rc = path_check_root(path);
    if (rc < 0)
        return rc;
    db = db_alloc(opt, path);
    if (!db)
        return -ENOMEM;
    rc = recover(db, store, create);
    if (rc == 0) {
        log_info("database '%s' recovered: epoch %" PRIu64 ", manifest %" PRIu64 ", next WAL id %" PRIu64, db->root,
                 db->writer_epoch, db->mv->id, db->wal.next_id);
        mutex_lock(&db->mu);
        db_note_memory_locked(db);
        metric_set(db->metrics.l0_ssts, (int64_t)db->mv->m.n_l0);
        mutex_unlock(&db->mu);
        rc = db->opt.read_only ? 0 : start_threads(db);
    }
    if (rc < 0) {
        (void)shale_db_close(db, SHALE_CLOSE_ABANDON); /* nothing is lost: nothing was written through it */
        return rc;
    }
    *out = db;
    return 0;
}
