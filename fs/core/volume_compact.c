/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/volume_compact.h"

#include "base/alloc.h"
#include "base/err.h"
#include "fs/core/volume_open.h"

#include <errno.h>

struct volume_compactor {
    struct fs fs; /* store, path, volume, filter */
    struct shale_compactor *compactor;
};

static const struct shale_compaction_spec everything = { .kind = SHALE_COMPACT_FULL };

/* Store and volume object, without a database handle: nothing is claimed yet, and nobody is fenced. */
static int open_volume(const char *url, const struct shale_store_options *store, struct fs *fs)
{
    int rc;

    fs_options_init(&fs->opt);
    fs->opt.store = store;
    rc = volume_open_store(fs, url, false);
    if (rc == 0)
        rc = volume_load_latest(fs->patient, fs->path, &fs->volume, NULL);
    if (rc == -ENOENT)
        return err_set(rc, "there is no volume at %s", url);
    if (rc == 0 && volume_is_read_only(&fs->volume))
        rc = err_set(-EROFS, "%s has features that this version can read but not write", url);
    return rc;
}

/*
 * The same options as those of a mount, from the same function: another filter or merge operator would destroy data
 * (H18).
 */
int volume_compactor_open(const char *url, const struct shale_store_options *store,
                          const struct shale_compactor_config *cfg, struct volume_compactor **out)
{
    struct volume_compactor *c = mem_zalloc(sizeof(*c));
    struct shale_options opt;
    int rc;

    if (!c)
        return -ENOMEM;
    rc = open_volume(url, store, &c->fs);
    if (rc == 0) {
        volume_db_options(&c->fs, &opt);
        opt.compactor.idle_poll_ms = 0; /* nobody tells it when a mount has flushed */
        rc = shale_compactor_open(c->fs.store, c->fs.path, &opt, cfg, &c->compactor);
    }
    if (rc < 0) {
        volume_compactor_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

/* The list is looked at each few seconds anyway; waking spares the wait. */
int volume_compactor_submit(struct volume_compactor *c, struct shale_ulid *id)
{
    int rc = shale_compaction_submit(c->fs.store, c->fs.path, &everything, id);

    if (rc == 0)
        shale_compactor_wake(c->compactor);
    return rc;
}

void volume_compactor_dropped(const struct volume_compactor *c, uint64_t *rows, uint64_t *bytes)
{
    *rows = atomic_load_explicit(&c->fs.filter.rows, memory_order_relaxed);
    *bytes = atomic_load_explicit(&c->fs.filter.bytes, memory_order_relaxed);
}

void volume_compactor_close(struct volume_compactor *c)
{
    if (!c)
        return;
    shale_compactor_close(c->compactor);
    volume_close_store(&c->fs);
    mem_free(c);
}

/* Without a list of compactions there is nothing to put the wish into; the first mount makes one. */
int volume_compact_submit(const char *url, const struct shale_store_options *store, struct shale_ulid *id)
{
    struct fs *fs = mem_zalloc(sizeof(*fs));
    int rc;

    if (!fs)
        return -ENOMEM;
    rc = open_volume(url, store, fs);
    if (rc == 0)
        rc = shale_compaction_submit(fs->store, fs->path, &everything, id);
    if (rc == -ENOENT)
        rc = err_add(rc, "nobody has compacted %s yet, so nobody would take the request", url);
    volume_close_store(fs);
    mem_free(fs);
    return rc;
}
