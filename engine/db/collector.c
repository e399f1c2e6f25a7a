/* SPDX-License-Identifier: Apache-2.0 */
#include "db/db.h"

#include "base/clock.h"
#include "base/io_class.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>

static bool is_stopped(void *arg)
{
    struct shale_db *db = arg;
    bool stopped;

    mutex_lock(&db->mu);
    stopped = db->stop || db->error;
    mutex_unlock(&db->mu);
    return stopped;
}

/* Become the one who runs. An error when the handle dies meanwhile. */
static int begin(struct shale_db *db)
{
    int rc;

    mutex_lock(&db->mu);
    while ((rc = db_alive_locked(db)) == 0 && db->gc.running)
        db_wait_locked(db, &db->gc.idle, 0);
    if (rc == 0)
        db->gc.running = true;
    mutex_unlock(&db->mu);
    return rc;
}

static void end(struct shale_db *db)
{
    mutex_lock(&db->mu);
    db->gc.running = false;
    cond_broadcast(&db->gc.idle);
    mutex_unlock(&db->mu);
}

int shale_db_gc(struct shale_db *db, const struct shale_gc_options *opt, struct shale_gc_result *out)
{
    struct shale_gc_result res = { 0 };
    struct shale_gc_options defaults;
    struct shale_store *store = db->stores[DB_STORE_GC].retry, *wal_store = db->stores[DB_STORE_GC_WAL].retry;
    struct gc_config cfg = { .store = store, .wal_store = wal_store ? wal_store : store,
                             .transformer = db->opt.block_transformer, .metrics = &db->metrics.gc,
                             .root = db->root, .manifests = db->manifests, .role = EPOCH_WRITER,
                             .memory = &db->gc.memory, .stopped = is_stopped, .arg = db };
    int rc;

    shale_gc_options_init(&defaults);
    if (!opt)
        opt = &defaults;
    rc = gc_options_check(opt);
    if (rc == 0)
        rc = db_writable(db);
    if (rc == 0)
        rc = begin(db);
    if (rc < 0)
        return rc;
    cfg.now_ms = db_now_ms(db);
    cfg.mono_ms = clock_mono_ms();
    rc = gc_run(&cfg, opt, &res);
    end(db);
    if (out)
        *out = res;
    return rc;
}

static void log_result(const struct shale_db *db, int rc, const struct shale_gc_result *r)
{
    uint64_t n = r->expired;

    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        n += r->removed[k];
    if (rc < 0 && rc != SHALE_ECANCELED)
        log_warn("database '%s': collecting garbage: %s", db->root, shale_errmsg());
    if (n)
        log_info("database '%s': removed %" PRIu64 " manifests, %" PRIu64 " WAL objects, %" PRIu64 " SSTs, %" PRIu64
                 " lists of compactions and %" PRIu64 " expired checkpoints",
                 db->root, r->removed[SHALE_GC_MANIFEST], r->removed[SHALE_GC_WAL], r->removed[SHALE_GC_COMPACTED],
                 r->removed[SHALE_GC_COMPACTIONS], r->expired);
}

/* Wait for the next run; false: the handle ends. */
static bool wait_for_turn(struct shale_db *db, int64_t deadline_ms)
{
    bool go_on;

    mutex_lock(&db->mu);
    while (!db->stop && !db->error && cond_wait_until(&db->gc.idle, &db->mu, deadline_ms))
        ;
    go_on = !db->stop && !db->error;
    mutex_unlock(&db->mu);
    return go_on;
}

/* Errors are logged and never fatal (R312). */
void db_gc_main(void *arg)
{
    struct shale_db *db = arg;
    const struct shale_collector_options *o = &db->opt.gc;
    int64_t next_ms = clock_mono_ms();
    struct shale_gc_options opt;

    (void)io_class_set(IO_GC);
    shale_gc_options_init(&opt);
    opt.min_age_ms[SHALE_GC_MANIFEST] = o->manifest_min_age_ms;
    opt.min_age_ms[SHALE_GC_WAL] = o->wal_min_age_ms;
    opt.min_age_ms[SHALE_GC_COMPACTED] = o->compacted_min_age_ms;
    opt.min_age_ms[SHALE_GC_COMPACTIONS] = o->compactions_min_age_ms;
    opt.fence_age_ms = o->fence_age_ms;
    while (wait_for_turn(db, next_ms)) {
        struct shale_gc_result res = { 0 };
        int rc = shale_db_gc(db, &opt, &res);

        log_result(db, rc, &res);
        next_ms = clock_mono_ms() + o->interval_ms;
    }
}
