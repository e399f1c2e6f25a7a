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

static int collect(struct shale_db *db, const struct shale_gc_options *opt, struct shale_gc_result *out,
                   int64_t *ripe_ms)
{
    struct shale_gc_result res = { 0 };
    struct shale_gc_options defaults;
    struct shale_store *store = db->stores[DB_STORE_GC].retry, *wal_store = db->stores[DB_STORE_GC_WAL].retry;
    struct gc_config cfg = { .store = store, .wal_store = wal_store ? wal_store : store,
                             .transformer = db->opt.block_transformer, .metrics = &db->metrics.gc,
                             .root = db->root, .manifests = db->manifests, .role = EPOCH_WRITER,
                             .memory = &db->gc.memory, .ripe_ms = ripe_ms, .stopped = is_stopped, .arg = db };
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

int shale_db_gc(struct shale_db *db, const struct shale_gc_options *opt, struct shale_gc_result *out)
{
    return collect(db, opt, out, NULL);
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

/* When the collector's thread runs next: on the monotonic clock; sooner when the manifest is no longer this one. */
struct turn {
    int64_t at_ms, soonest_ms;
    uint64_t manifest_id;
};

/* Wait for the next run; false: the handle ends. */
static bool wait_for_turn(struct shale_db *db, const struct turn *t)
{
    bool go_on;

    mutex_lock(&db->mu);
    while (!db->stop && !db->error) {
        int64_t until = db->mv->id != t->manifest_id ? t->soonest_ms : t->at_ms, now = clock_mono_ms();

        if (now >= until)
            break;
        if (until > now + db->opt.gc.interval_ms)
            until = now + db->opt.gc.interval_ms; /* nobody wakes us for a new manifest */
        (void)cond_wait_until(&db->gc.idle, &db->mu, until);
    }
    go_on = !db->stop && !db->error;
    mutex_unlock(&db->mu);
    return go_on;
}

/*
 * Only a new manifest makes garbage, but for what a process leaves that dies: its uploads, which nothing refers to. So
 * an idle handle need not look again before what it found has come of age, and seldom once there is none.
 */
static void plan_turn(const struct shale_db *db, struct turn *t, int rc, int64_t ripe_ms)
{
    const struct shale_collector_options *o = &db->opt.gc;
    int64_t now = clock_mono_ms(), pause = o->interval_ms;

    if (rc == 0 && o->idle_interval_ms > pause) {
        if (ripe_ms == 0 || ripe_ms > o->idle_interval_ms)
            pause = o->idle_interval_ms;
        else if (ripe_ms > pause)
            pause = ripe_ms;
    }
    t->soonest_ms = now + o->interval_ms;
    t->at_ms = now + pause;
}

static uint64_t manifest_id(struct shale_db *db)
{
    uint64_t id;

    mutex_lock(&db->mu);
    id = db->mv->id;
    mutex_unlock(&db->mu);
    return id;
}

/* Errors are logged and never fatal (R312). */
void db_gc_main(void *arg)
{
    struct shale_db *db = arg;
    const struct shale_collector_options *o = &db->opt.gc;
    struct turn turn = { .at_ms = clock_mono_ms() };
    struct shale_gc_options opt;

    (void)io_class_set(IO_GC);
    shale_gc_options_init(&opt);
    opt.min_age_ms[SHALE_GC_MANIFEST] = o->manifest_min_age_ms;
    opt.min_age_ms[SHALE_GC_WAL] = o->wal_min_age_ms;
    opt.min_age_ms[SHALE_GC_COMPACTED] = o->compacted_min_age_ms;
    opt.min_age_ms[SHALE_GC_COMPACTIONS] = o->compactions_min_age_ms;
    opt.fence_age_ms = o->fence_age_ms;
    while (wait_for_turn(db, &turn)) {
        struct shale_gc_result res = { 0 };
        int64_t ripe_ms = 0;
        int rc;

        turn.manifest_id = manifest_id(db);
        rc = collect(db, &opt, &res, &ripe_ms);
        log_result(db, rc, &res);
        plan_turn(db, &turn, rc, ripe_ms);
    }
}
