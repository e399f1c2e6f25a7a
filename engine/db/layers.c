/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a handle stands on: stores with retries and counters, the cache, tables, the chain of manifests; and whether a
 * manifest is one to stand on.
 */

#include "db/db.h"

#include "base/err.h"
#include "object/store_retry.h"
#include "wal/wal_replay.h"

#include <errno.h>
#include <inttypes.h>

/*
 * What the compactor and the collector ask of a store is told apart from what the handle itself does (R179). They begin
 * when opening has found that the store is there, and wait for it from then on.
 */
static int open_stores(struct shale_db *db, struct shale_store *store, const char *component)
{
    const struct {
        struct shale_store *inner; /* NULL: there is none */
        const char *component, *type;
    } of[DB_N_STORES] = {
        [DB_STORE_MAIN] = { store, component, "main" },
        [DB_STORE_WAL] = { db->opt.wal_store, component, "wal" },
        [DB_STORE_COMPACTOR] = { db->opt.read_only || !db->opt.compactor.enabled ? NULL : store, "compactor", "main" },
        [DB_STORE_GC] = { db->opt.read_only ? NULL : store, "gc", "main" },
        [DB_STORE_GC_WAL] = { db->opt.read_only ? NULL : db->opt.wal_store, "gc", "wal" },
    };
    struct store_retry_options retry = { .limit_ms = db->opt.store_limit_ms };
    int rc = 0;

    for (int i = 0; rc == 0 && i < DB_N_STORES; i++) {
        retry.contact_ms = i == DB_STORE_MAIN || i == DB_STORE_WAL ? 0 : -1;
        if (of[i].inner)
            rc = counted_store_open(&db->stores[i], of[i].inner, &retry, db->metrics.registry, of[i].component,
                                    of[i].type);
    }
    db->store = db->stores[DB_STORE_MAIN].retry;
    db->wal_store = db->stores[DB_STORE_WAL].retry;
    return rc;
}

static int open_tables(struct shale_db *db)
{
    const struct sst_format format = sst_format_of(&db->opt);
    struct shale_store *compactor = db->stores[DB_STORE_COMPACTOR].retry;
    int rc = table_store_init(&db->ts, db->store, db->wal_store ? db->wal_store : db->store, db->root, &format,
                              db->cache);

    if (rc < 0)
        return rc;
    read_window_init(&db->ts.window, db->opt.read_window_bytes, db->opt.block_cache_bytes);
    db->ts.metrics = &db->metrics.tables;
    db->has_ts = true;
    return compactor ? table_store_init(&db->compactor_ts, compactor, compactor, db->root, &format, db->cache) : 0;
}

void db_stop_stores(struct shale_db *db)
{
    for (int i = 0; i < DB_N_STORES; i++)
        counted_store_stop(&db->stores[i]);
}

int db_open_layers(struct shale_db *db, struct shale_store *store, const char *component)
{
    int rc = db_metrics_init(&db->metrics, &db->opt);

    if (rc == 0)
        rc = open_stores(db, store, component);
    if (rc == 0 && db->opt.block_cache_bytes)
        rc = block_cache_new(db->opt.block_cache_bytes, &db->cache);
    if (rc == 0)
        rc = open_tables(db);
    if (rc < 0)
        return rc;
    return manifest_store_new(db->store, db->root, db->opt.manifest_update_timeout_ms, &db->manifests);
}

int db_check_counters(const struct shale_db *db)
{
    const struct manifest *m = &db->mv->m;

    if (m->last_l0_seq >= DB_SEQ_END)
        return err_set(SHALE_ECORRUPT, "manifest %" PRIu64 " of '%s': no sequence number comes after %" PRIu64,
                       db->mv->id, db->root, m->last_l0_seq);
    if (m->replay_after_wal_id >= WAL_ID_END)
        return err_set(SHALE_ECORRUPT, "manifest %" PRIu64 " of '%s': no WAL object comes after %" PRIu64, db->mv->id,
                       db->root, m->replay_after_wal_id);
    return 0;
}

/*
 * SlateDB stores an empty string for "there is a WAL store", never which one; so only its
 * presence can be compared (R93.4).
 */
int db_check_manifest(struct shale_db *db)
{
    const struct manifest *m = &db->mv->m;

    if (!m->initialized)
        return err_set(SHALE_EINITIALIZED, "the database '%s' is a clone that was never finished", db->root);
    if (!m->wal_store_uri != !db->opt.wal_store)
        return err_set(-EINVAL, "the database '%s' has %s store for WAL objects, and was opened with %s", db->root,
                       m->wal_store_uri ? "its own" : "no", db->opt.wal_store ? "one" : "none");
    return db_check_counters(db);
}
