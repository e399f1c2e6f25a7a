/* SPDX-License-Identifier: Apache-2.0 */
#include "compact/compactor.h"

#include "base/alloc.h"
#include "base/err.h"
#include "object/paths.h"
#include "object/store_metered.h"

#include <errno.h>

/* SlateDB's own: long enough for a writer to see the new manifest, and for most scans to end. */
#define KEEP_SOURCES_MS (900 * INT64_C(1000))

struct shale_compactor {
    struct shale_options opt;
    struct shale_metrics *registry; /* owned unless the options brought it */
    struct compactor_metrics metrics;
    struct counted_store store;
    char *root;
    struct table_store ts;
    bool has_ts;
    struct manifest_store *manifests;
    struct compactor *compactor;
};

static int open_layers(struct shale_compactor *c, struct shale_store *store, const char *path)
{
    const struct sst_format format = sst_format_of(&c->opt);
    int rc;

    c->root = mem_strdup(path);
    if (!c->root)
        return -ENOMEM;
    c->registry = c->opt.metrics;
    rc = c->registry ? 0 : shale_metrics_new(SHALE_METRIC_INFO, NULL, &c->registry);
    if (rc == 0)
        rc = compactor_metrics_init(&c->metrics, c->registry);
    if (rc == 0)
        rc = counted_store_open(&c->store, store, NULL, c->registry, "compactor", "main");
    if (rc == 0)
        rc = table_store_init(&c->ts, c->store.retry, c->store.retry, path, &format, NULL);
    if (rc < 0)
        return rc;
    c->has_ts = true;
    return manifest_store_new(c->store.retry, path, c->opt.manifest_update_timeout_ms, &c->manifests);
}

static int check_database(struct shale_compactor *c)
{
    struct manifest_version *v = NULL;
    int rc = manifest_store_load_latest(c->manifests, &v);

    if (rc == -ENOENT)
        return err_set(rc, "there is no database at '%s'", c->root);
    if (rc == 0 && !v->m.initialized)
        rc = err_set(SHALE_EINITIALIZED, "the database '%s' is a clone that was never finished", c->root);
    manifest_version_unref(v);
    return rc;
}

int shale_compactor_open(struct shale_store *store, const char *path, const struct shale_options *opt,
                         const struct shale_compactor_config *cfg, struct shale_compactor **out)
{
    struct compactor_config own = { .report = cfg->report, .arg = cfg->arg, .only_submitted = cfg->only_submitted,
                                    .keep_sources_ms = KEEP_SOURCES_MS };
    struct shale_compactor *c;
    int rc = shale_options_check(opt);

    if (rc == 0)
        rc = path_check_root(path);
    if (rc < 0)
        return rc;
    c = mem_zalloc(sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->opt = *opt;
    rc = open_layers(c, store, path);
    if (rc == 0)
        rc = check_database(c);
    if (rc == 0) {
        own.store = c->store.retry;
        own.registry = c->registry;
        own.metrics = &c->metrics;
        own.root = c->root;
        own.manifests = c->manifests;
        own.ts = &c->ts;
        own.opt = &c->opt;
        rc = compactor_start(&own, &c->compactor);
    }
    if (rc < 0) {
        shale_compactor_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

struct shale_metrics *shale_compactor_metrics(struct shale_compactor *c)
{
    return c->registry;
}

void shale_compactor_wake(struct shale_compactor *c)
{
    compactor_wake(c->compactor);
}

void shale_compactor_close(struct shale_compactor *c)
{
    if (!c)
        return;
    counted_store_stop(&c->store);
    compactor_stop(c->compactor);
    manifest_store_free(c->manifests);
    if (c->has_ts)
        table_store_fini(&c->ts);
    counted_store_close(&c->store);
    if (c->registry != c->opt.metrics)
        shale_metrics_free(c->registry);
    mem_free(c->root);
    mem_free(c);
}
