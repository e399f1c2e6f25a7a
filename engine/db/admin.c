/* SPDX-License-Identifier: Apache-2.0 */
#include "db/admin.h"

#include "base/clock.h"
#include "base/err.h"
#include "compact/gc.h"
#include "manifest/checkpoint.h"
#include "object/paths.h"

#include <errno.h>
#include <string.h>

#define UPDATE_TIMEOUT_MS 300000

int admin_open(struct admin *ad, struct shale_store *store, const char *path, const struct shale_admin_options *a,
               const char *component)
{
    const struct store_retry_options retry = { .limit_ms = a ? a->store_limit_ms : 0 };
    int rc = path_check_root(path);

    *ad = (struct admin){ .now_ms = a && a->clock ? a->clock->now_ms(a->clock->ctx) : clock_wall_ms() };
    if (rc == 0)
        rc = counted_store_open(&ad->main, store, &retry, a ? a->metrics : NULL, component, "main");
    if (rc == 0 && a && a->wal_store)
        rc = counted_store_open(&ad->wal, a->wal_store, &retry, a->metrics, component, "wal");
    ad->store = ad->main.retry;
    ad->wal_store = ad->wal.retry ? ad->wal.retry : ad->store;
    if (rc == 0)
        rc = manifest_store_new(ad->store, path, UPDATE_TIMEOUT_MS, &ad->manifests);
    if (rc < 0)
        admin_close(ad);
    return rc;
}

void admin_close(struct admin *ad)
{
    manifest_store_free(ad->manifests);
    counted_store_close(&ad->wal);
    counted_store_close(&ad->main);
    *ad = (struct admin){ 0 };
}

int shale_checkpoint_create(struct shale_store *store, const char *path, const struct shale_admin_options *a,
                            const struct shale_checkpoint_options *opt, struct shale_checkpoint *out)
{
    struct checkpoint_request r;
    uint64_t manifest_id;
    struct admin ad;
    int rc = admin_open(&ad, store, path, a, "db");

    if (rc < 0)
        return rc;
    checkpoint_request_init(&r, opt, ad.now_ms);
    rc = checkpoint_store_add(ad.manifests, EPOCH_NONE, &r, &manifest_id, NULL);
    if (rc == 0)
        *out = (struct shale_checkpoint){ .id = r.id, .manifest_id = manifest_id, .create_s = r.create_s,
                                          .expire_s = r.expire_s, .name = r.name };
    admin_close(&ad);
    return rc;
}

static bool has_name(const struct checkpoint *c, const char *name)
{
    return !name || strcmp(c->name ? c->name : "", name) == 0;
}

int shale_checkpoint_list(struct shale_store *store, const char *path, const struct shale_admin_options *a,
                          const char *name, shale_checkpoint_fn fn, void *arg)
{
    struct manifest_version *v = NULL;
    struct admin ad;
    int rc = admin_open(&ad, store, path, a, "db");

    if (rc < 0)
        return rc;
    rc = manifest_store_load_latest(ad.manifests, &v);
    for (size_t i = 0; rc == 0 && i < v->m.n_checkpoints; i++) {
        const struct checkpoint *c = &v->m.checkpoints[i];
        const struct shale_checkpoint shown = { .id = c->id, .manifest_id = c->manifest_id, .create_s = c->create_s,
                                                .expire_s = c->expire_s, .name = c->name };

        if (has_name(c, name))
            rc = fn(arg, &shown);
    }
    manifest_version_unref(v);
    admin_close(&ad);
    return rc;
}

int shale_checkpoint_refresh(struct shale_store *store, const char *path, const struct shale_admin_options *a,
                             struct shale_uuid id, int64_t lifetime_ms)
{
    struct admin ad;
    int rc = admin_open(&ad, store, path, a, "db");

    if (rc == 0)
        rc = checkpoint_store_refresh(ad.manifests, id,
                                      lifetime_ms < 0 ? 0 : checkpoint_expiry(ad.now_ms, lifetime_ms));
    admin_close(&ad);
    return rc;
}

int shale_checkpoint_delete(struct shale_store *store, const char *path, const struct shale_admin_options *a,
                            struct shale_uuid id)
{
    struct admin ad;
    int rc = admin_open(&ad, store, path, a, "db");

    if (rc == 0)
        rc = checkpoint_store_remove(ad.manifests, id);
    admin_close(&ad);
    return rc;
}

int shale_gc(struct shale_store *store, const char *path, const struct shale_admin_options *a,
             const struct shale_gc_options *opt, struct shale_gc_result *out)
{
    struct shale_gc_result res = { 0 };
    struct shale_gc_options defaults;
    struct gc_metrics counted = { 0 };
    struct gc_config cfg;
    struct admin ad;
    int rc;

    shale_gc_options_init(&defaults);
    if (!opt)
        opt = &defaults;
    rc = gc_options_check(opt);
    if (rc < 0)
        return rc;
    if (a && a->metrics)
        rc = gc_metrics_init(&counted, a->metrics);
    if (rc == 0)
        rc = admin_open(&ad, store, path, a, "gc");
    if (rc < 0)
        return rc;
    cfg = (struct gc_config){ .store = ad.store, .wal_store = ad.wal_store, .root = path,
                              .transformer = a ? a->block_transformer : NULL, .manifests = ad.manifests,
                              .role = EPOCH_NONE, .now_ms = ad.now_ms, .metrics = &counted };
    rc = gc_run(&cfg, opt, &res);
    admin_close(&ad);
    if (out)
        *out = res;
    return rc;
}
