/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader's own checkpoint: made with the first look, moved on with the tree, extended when half of its life is over,
 * and removed by close (R300-R305).
 */

#include "db/reader.h"

#include "base/err.h"
#include "manifest/checkpoint.h"

#include <errno.h>

/* What the manifest now says of it. */
static void note(struct shale_reader *r, struct shale_uuid id, int64_t expire_ms)
{
    mutex_lock(&r->db->mu);
    r->has_checkpoint = true;
    r->checkpoint = id;
    r->expire_ms = expire_ms;
    mutex_unlock(&r->db->mu);
}

struct replacement {
    const struct shale_reader *r;
    struct checkpoint_request request;
};

static int replace_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    const struct replacement *c = arg;

    if (c->r->has_checkpoint)
        (void)checkpoint_remove(m, c->r->checkpoint); /* it may have expired and be gone */
    return checkpoint_add(m, &c->request, next_id);
}

/* The new one replaces the old in one version (R301), so that the state never goes without. */
int reader_checkpoint_replace(struct shale_reader *r, struct manifest_version **v)
{
    const struct shale_checkpoint_options opt = { .has_lifetime = true, .lifetime_ms = r->opt.checkpoint_lifetime_ms };
    int64_t now = db_now_ms(r->db);
    struct replacement c = { .r = r };
    int rc;

    checkpoint_request_init(&c.request, &opt, now);
    rc = manifest_store_update(r->db->manifests, replace_edit, &c, v);
    if (rc == 0)
        note(r, c.request.id, now + r->opt.checkpoint_lifetime_ms);
    return rc;
}

int reader_checkpoint_renew(struct shale_reader *r)
{
    int64_t now = db_now_ms(r->db), lifetime = r->opt.checkpoint_lifetime_ms;
    int rc;

    if (now <= r->expire_ms - lifetime / 2)
        return 0;
    rc = checkpoint_store_refresh(r->db->manifests, r->checkpoint, checkpoint_expiry(now, lifetime));
    if (rc == 0)
        note(r, r->checkpoint, now + lifetime); /* or each later look would write it again (H14) */
    return rc;
}

int reader_checkpoint_remove(struct shale_reader *r)
{
    int rc = checkpoint_store_remove(r->db->manifests, r->checkpoint);

    return rc < 0 ? err_add(rc, "the checkpoint of a reader of '%s' was not removed", r->db->root) : 0;
}
