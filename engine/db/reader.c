/* SPDX-License-Identifier: Apache-2.0 */
#include "db/reader.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "manifest/checkpoint.h"
#include "object/paths.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

void shale_reader_options_init(struct shale_reader_options *opt)
{
    struct shale_options db;

    shale_options_init(&db);
    *opt = (struct shale_reader_options){
        .manifest_poll_interval_ms = 10000,
        .looks_per_manifest = 1,
        .checkpoint_lifetime_ms = 600000,
        .max_memtable_bytes = db.l0_sst_size_bytes,
        .block_cache_bytes = db.block_cache_bytes,
        .read_expired = db.read_expired,
    };
}

int shale_reader_options_check(const struct shale_reader_options *opt)
{
    const int64_t poll = opt->manifest_poll_interval_ms, life = opt->checkpoint_lifetime_ms;
    const int64_t max = (int64_t)1 << 52; /* sums with a time stay far from overflow */

    if (poll < 1 || poll > max)
        return err_set(-EINVAL, "option manifest_poll_interval_ms is %" PRId64 "; it may be 1 to %" PRId64, poll, max);
    if (opt->looks_per_manifest < 1)
        return err_set(-EINVAL, "option looks_per_manifest is 0; it must be above");
    if (opt->max_memtable_bytes < 1)
        return err_set(-EINVAL, "option max_memtable_bytes is 0; it must be above");
    if (opt->merge_operator && !opt->merge_operator->merge)
        return err_set(-EINVAL, "option merge_operator has no merge function");
    if (opt->block_transformer && (!opt->block_transformer->encode || !opt->block_transformer->decode))
        return err_set(-EINVAL, "option block_transformer lacks a function");
    if (opt->no_checkpoint || opt->checkpoint)
        return 0; /* it makes none */
    if (life < 1000 || life > max)
        return err_set(-EINVAL, "option checkpoint_lifetime_ms is %" PRId64 "; it may be 1000 to %" PRId64, life, max);
    if (life / 2 < poll)
        return err_set(-EINVAL, "option checkpoint_lifetime_ms is %" PRId64 "; it must be at least twice "
                       "manifest_poll_interval_ms, which is %" PRId64, life, poll);
    return 0;
}

static struct shale_options db_options(const struct shale_reader_options *opt)
{
    struct shale_options o;

    shale_options_init(&o);
    o.read_only = true;
    o.compactor.enabled = false;
    o.block_cache_bytes = opt->block_cache_bytes;
    o.read_expired = opt->read_expired;
    o.wal_store = opt->wal_store;
    o.merge_operator = opt->merge_operator;
    o.block_transformer = opt->block_transformer;
    o.clock = opt->clock;
    o.metrics = opt->metrics;
    return o;
}

/* The manifest that a checkpoint holds becomes the one that reads go by. */
static int find_checkpoint(struct shale_reader *r, struct shale_uuid id, struct manifest_version **out)
{
    const struct checkpoint *c = checkpoint_find(&r->db->mv->m, id);
    char text[UUID_TEXT_LEN + 1];

    if (c)
        return manifest_store_read(r->db->manifests, c->manifest_id, out);
    uuid_format(id, text);
    return err_set(-ENOENT, "the database '%s' has no checkpoint %s", r->db->root, text);
}

/* R303: the WAL of a checkpoint ends where its manifest says; objects behind that may go any time. */
static int stand_at(struct shale_reader *r, struct shale_uuid id)
{
    struct manifest_version *v = NULL;
    int rc = find_checkpoint(r, id, &v);

    if (rc == 0)
        rc = reader_install(r, v);
    if (rc == 0 && !r->opt.skip_wal_replay)
        rc = reader_replay(r, v->m.wal_id_last_seen);
    manifest_version_unref(v);
    return rc;
}

/* The first look: from the state of the manifest that is there, or of a checkpoint of its own, on. */
static int begin_following(struct shale_reader *r)
{
    bool no_checkpoint = r->opt.no_checkpoint;
    int rc = no_checkpoint ? reader_install(r, r->db->mv) : reader_look_at_manifest(r);

    if (rc == 0)
        rc = reader_look(r, no_checkpoint);
    return rc;
}

static int open_state(struct shale_reader *r, struct shale_store *store)
{
    struct shale_db *db = r->db;
    int rc = db_open_layers(db, store, "reader");

    if (rc == 0)
        rc = manifest_store_load_latest(db->manifests, &db->mv);
    if (rc == -ENOENT)
        return err_set(rc, "there is no database at '%s' to read", db->root);
    if (rc == 0)
        rc = db_check_manifest(db);
    if (rc == 0)
        rc = db_view_init(db);
    if (rc == 0)
        rc = r->follows ? begin_following(r) : stand_at(r, *r->opt.checkpoint);
    return rc;
}

static bool is_worth_another_look(int rc)
{
    return rc == SHALE_ETRANSIENT || rc == -ENOMEM || rc == -ETIMEDOUT;
}

static void tell_failure(struct shale_reader *r, int rc)
{
    struct shale_db *db = r->db;
    bool stopping;

    mutex_lock(&db->mu);
    stopping = db->stop;
    mutex_unlock(&db->mu);
    if (stopping)
        return;
    if (is_worth_another_look(rc))
        log_warn("reader of '%s': %s; trying again", db->root, shale_errmsg());
    else
        db_die(db, rc);
}

/* One look, on behalf of everybody who has asked so far, if anybody has. What it found is known before they wake. */
static void look(struct shale_reader *r, uint64_t asked)
{
    struct shale_db *db = r->db;
    int64_t begun_ms = clock_mono_ms();
    int rc = reader_look(r, asked > r->n_looked); /* this thread alone moves it */

    if (rc < 0)
        tell_failure(r, rc);
    mutex_lock(&db->mu);
    r->n_looked = asked;
    r->n_looks++;
    r->look_rc = rc;
    if (rc == 0)
        r->good_look_ms = begun_ms;
    if (rc < 0)
        snprintf(r->look_text, sizeof(r->look_text), "%s", shale_errmsg());
    cond_broadcast(&r->looked);
    mutex_unlock(&db->mu);
}

static void follow_main(void *arg)
{
    struct shale_reader *r = arg;
    struct shale_db *db = r->db;
    int64_t next_ms = clock_mono_ms() + r->opt.manifest_poll_interval_ms;
    uint64_t asked;

    mutex_lock(&db->mu);
    while (!db->stop && !db->error) {
        if (r->n_asked == r->n_looked && cond_wait_until(&r->work, &db->mu, next_ms))
            continue;
        asked = r->n_asked;
        mutex_unlock(&db->mu);
        look(r, asked);
        mutex_lock(&db->mu);
        next_ms = clock_mono_ms() + r->opt.manifest_poll_interval_ms;
    }
    cond_broadcast(&r->looked);
    mutex_unlock(&db->mu);
}

static struct shale_reader *alloc_reader(const struct shale_reader_options *opt, const char *path)
{
    const struct shale_options o = db_options(opt);
    struct shale_reader *r = mem_zalloc(sizeof(*r));

    if (!r)
        return NULL;
    r->opt = *opt;
    r->follows = !opt->checkpoint;
    r->db = db_alloc(&o, path);
    if (!r->db) {
        mem_free(r);
        return NULL;
    }
    cond_init(&r->work);
    cond_init(&r->looked);
    return r;
}

/*
 * What the tree named a moment ago is gone: without a checkpoint that may happen to a reader that is behind. It then
 * looks for the tree of now (db_read_is_stale).
 */
static void look_for_newer(void *arg)
{
    struct shale_reader *r = arg;

    if (r->follows && !reader_is_telling(r))
        (void)shale_reader_refresh(r); /* without a newer one the read fails, and says why */
}

int shale_reader_open(struct shale_store *store, const char *path, const struct shale_reader_options *opt,
                      struct shale_reader **out)
{
    struct shale_reader_options defaults;
    char why[DB_ERROR_TEXT_MAX];
    struct shale_reader *r;
    int rc;

    shale_reader_options_init(&defaults);
    if (!opt)
        opt = &defaults;
    rc = shale_reader_options_check(opt);
    if (rc == 0)
        rc = path_check_root(path);
    if (rc < 0)
        return rc;
    r = alloc_reader(opt, path);
    if (!r)
        return -ENOMEM;
    r->good_look_ms = clock_mono_ms();
    r->db->look_for_newer = look_for_newer;
    r->db->look_arg = r;
    rc = open_state(r, store);
    r->tells = true;
    if (rc == 0 && r->follows)
        rc = worker_start(&r->thread, "shale-reader", follow_main, r);
    if (rc < 0) {
        snprintf(why, sizeof(why), "%s", shale_errmsg());
        (void)shale_reader_close(r); /* the first error is the one to tell */
        return err_set(rc, "%s", why);
    }
    log_info("reader of '%s': manifest %" PRIu64 ", sequence number %" PRIu64, path, r->db->mv->id,
             r->db->committed_seq);
    *out = r;
    return 0;
}

static void stop_following(struct shale_reader *r)
{
    struct shale_db *db = r->db;

    mutex_lock(&db->mu);
    db->stop = true;
    cond_broadcast(&r->work);
    mutex_unlock(&db->mu);
    db_stop_stores(db);
    worker_join(&r->thread);
}

int shale_reader_close(struct shale_reader *r)
{
    char why[DB_ERROR_TEXT_MAX] = "";
    int rc = 0;

    if (!r)
        return 0;
    stop_following(r);
    if (r->has_checkpoint) {
        rc = reader_checkpoint_remove(r);
        snprintf(why, sizeof(why), "%s", shale_errmsg());
    }
    (void)shale_db_close(r->db, SHALE_CLOSE_ABANDON); /* nothing was written through it */
    reader_free_tables(r);
    cond_fini(&r->looked);
    cond_fini(&r->work);
    mem_free(r);
    return rc < 0 ? err_set(rc, "%s", why) : 0;
}

int shale_reader_refresh(struct shale_reader *r)
{
    struct shale_db *db = r->db;
    uint64_t ask;
    int rc;

    mutex_lock(&db->mu);
    rc = db_alive_locked(db);
    if (rc == 0 && r->follows) {
        ask = ++r->n_asked;
        cond_signal(&r->work);
        while ((rc = db_alive_locked(db)) == 0 && r->n_looked < ask)
            cond_wait(&r->looked, &db->mu);
        if (rc == 0 && r->look_rc < 0)
            rc = err_set(r->look_rc, "%s", r->look_text);
    }
    mutex_unlock(&db->mu);
    return rc;
}

static struct shale_read_options read_options(const struct shale_read_options *opt)
{
    struct shale_read_options o = opt ? *opt : (struct shale_read_options){ 0 };

    o.snapshot = NULL;
    return o;
}

int shale_reader_get_row(struct shale_reader *r, struct shale_slice key, const struct shale_read_options *opt,
                         struct shale_buf *value, struct shale_row *row)
{
    struct shale_read_options o = read_options(opt);
    int rc = db_alive(r->db);

    return rc < 0 ? rc : shale_db_get_row(r->db, key, &o, value, row);
}

int shale_reader_get(struct shale_reader *r, struct shale_slice key, const struct shale_read_options *opt,
                     struct shale_buf *value)
{
    struct shale_row row;

    return shale_reader_get_row(r, key, opt, value, &row);
}

int shale_reader_scan(struct shale_reader *r, const struct shale_key_range *range,
                      const struct shale_read_options *opt, struct shale_iter **out)
{
    struct shale_read_options o = read_options(opt);
    int rc = db_alive(r->db);

    return rc < 0 ? rc : shale_db_scan(r->db, range, &o, out);
}

int shale_reader_scan_prefix(struct shale_reader *r, struct shale_slice prefix, const struct shale_read_options *opt,
                             struct shale_iter **out)
{
    struct shale_read_options o = read_options(opt);
    int rc = db_alive(r->db);

    return rc < 0 ? rc : shale_db_scan_prefix(r->db, prefix, &o, out);
}

uint64_t shale_reader_step(struct shale_reader *r)
{
    uint64_t step;

    mutex_lock(&r->db->mu);
    step = r->n_steps;
    mutex_unlock(&r->db->mu);
    return step;
}

void shale_reader_status(struct shale_reader *r, struct shale_reader_status *out)
{
    struct shale_db *db = r->db;
    struct cache_stats cache = { 0 };

    *out = (struct shale_reader_status){ 0 };
    mutex_lock(&db->mu);
    out->error = db->error;
    out->seq = db->committed_seq;
    out->manifest_id = db->mv->id;
    out->next_wal_id = db->wal.next_id;
    out->has_checkpoint = r->has_checkpoint;
    out->checkpoint = r->checkpoint;
    for (size_t i = 0; i < db->view->n_tables; i++) {
        struct memtable_stats st;

        memtable_stats(db->view->tables[i], &st);
        out->table_bytes += st.row_bytes;
    }
    out->n_tables = (uint32_t)db->view->n_tables;
    out->steps = r->n_steps;
    out->looks = r->n_looks;
    out->look_error = r->look_rc;
    out->look_age_ms = clock_mono_ms() - r->good_look_ms;
    mutex_unlock(&db->mu);
    if (db->cache)
        block_cache_stats(db->cache, &cache);
    out->cache_bytes = cache.bytes;
    out->cache_hits = cache.hits;
    out->cache_misses = cache.misses;
}
