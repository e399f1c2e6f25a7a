/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain of compactions objects. One thread owns it (the compactor, or a tool), so it needs no
 * lock; others add to it by the same compare-and-swap. Simpler than the manifest's: a write
 * always follows a load by the same owner, whose manifest epoch tells first if it was replaced.
 */

#include "manifest/compactions_store.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/reread.h"
#include "manifest/numbered.h"

#include <errno.h>
#include <inttypes.h>

#define RELIST_MAX 100

static struct numbered chain(const struct compactions_store *s)
{
    return (struct numbered){ .store = s->store, .root = s->root, .kind = PATH_COMPACTIONS };
}

int compactions_store_init(struct compactions_store *s, struct shale_store *store, const char *root)
{
    *s = (struct compactions_store){ .store = store };
    s->root = mem_strdup(root);
    return s->root ? 0 : -ENOMEM;
}

void compactions_store_fini(struct compactions_store *s)
{
    mem_free(s->root);
    s->root = NULL;
}

static int read_once(struct compactions_store *s, uint64_t id, struct compactions *out)
{
    struct numbered n = chain(s);
    struct shale_buf data = SHALE_BUF_INIT;
    int rc = numbered_get(&n, id, &data);

    if (rc == 0) {
        rc = compactions_decode(slice_of_buf(&data), out);
        if (rc < 0)
            err_add(rc, "compactions %" PRIu64 " under '%s'", id, s->root);
    }
    shale_buf_fini(&data);
    return rc;
}

int compactions_store_read(struct compactions_store *s, uint64_t id, struct compactions *out)
{
    struct reread again = REREAD_INIT;
    int rc;

    do
        rc = read_once(s, id, out);
    while (reread_due(&again, rc));
    return rc;
}

/*
 * -ENOENT of the newest means that the collector was quicker than we: the listing is repeated,
 * each time finding something newer.
 */
static int load(struct compactions_store *s, bool only_newer, struct compactions *out)
{
    struct numbered n = chain(s);
    struct compactions c = { 0 };
    uint64_t id = 0;
    int rc = -ENOENT;

    for (int i = 0; rc == -ENOENT && i < RELIST_MAX; i++) {
        rc = numbered_last(&n, &id, NULL);
        if (rc < 0)
            return rc;
        if (id == 0)
            return err_set(-ENOENT, "there is no compactions object under '%s'", s->root);
        if (only_newer && id == s->id)
            return SHALE_END;
        rc = compactions_store_read(s, id, &c); /* -ENOENT: collected since it was listed */
    }
    if (rc < 0)
        return rc;
    if (s->epoch && c.compactor_epoch > s->epoch) {
        rc = err_set(SHALE_EFENCED, "a newer compactor (epoch %" PRIu64 ", ours is %" PRIu64 ") owns the database '%s'",
                     c.compactor_epoch, s->epoch, s->root);
        compactions_fini(&c);
        return rc;
    }
    s->id = id;
    *out = c;
    return 0;
}

int compactions_store_load(struct compactions_store *s, struct compactions *out)
{
    return load(s, false, out);
}

int compactions_store_load_newer(struct compactions_store *s, struct compactions *out)
{
    return load(s, true, out);
}

/* id moves only on success, so that -EEXIST leaves the store ready for a load and another write. */
int compactions_store_write(struct compactions_store *s, const struct compactions *c)
{
    struct numbered n = chain(s);
    struct shale_buf data = SHALE_BUF_INIT;
    int rc = compactions_encode(c, &data);

    if (rc == 0)
        rc = numbered_put(&n, s->id + 1, slice_of_buf(&data));
    if (rc == 0)
        s->id++;
    shale_buf_fini(&data);
    return rc;
}
