/* SPDX-License-Identifier: Apache-2.0 */
#include "db/reader.h"

#include "base/err.h"

#include <errno.h>

/* What an edit of the manifest is to do with the reader's own checkpoint. */
struct change {
    struct shale_uuid remove, add;
    bool has_remove, has_add;
    int64_t now_ms, expire_ms;
    bool found; /* the edit met the one that it is about */
};

/* Rounded up: a checkpoint never lives shorter than asked for. */
static uint32_t seconds(int64_t ms)
{
    int64_t s = (ms + 999) / 1000;

    return s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

static void remove_own(struct change *c, struct manifest *m)
{
    c->found = false;
    for (size_t i = 0; i < m->n_checkpoints && !c->found; i++) {
        if (!uuid_eq(m->checkpoints[i].id, c->remove))
            continue;
        mem_free(m->checkpoints[i].name);
        memmove(m->checkpoints + i, m->checkpoints + i + 1, (m->n_checkpoints - i - 1) * sizeof(m->checkpoints[0]));
        m->n_checkpoints--;
        c->found = true;
    }
}

static int change_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    struct change *c = arg;
    int rc;

    if (c->has_remove)
        remove_own(c, m);
    if (!c->has_add)
        return c->found ? 0 : MANIFEST_UNCHANGED;
    rc = vec_reserve(&m->checkpoints, &m->cap_checkpoints, m->n_checkpoints + 1, sizeof(m->checkpoints[0]));
    if (rc < 0)
        return rc;
    m->checkpoints[m->n_checkpoints++] = (struct checkpoint){ .id = c->add,
                                                              .manifest_id = next_id,
                                                              .expire_s = seconds(c->expire_ms),
                                                              .create_s = seconds(c->now_ms) };
    return 0;
}

static int renew_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    struct change *c = arg;

    (void)next_id;
    c->found = false;
    for (size_t i = 0; i < m->n_checkpoints; i++) {
        if (!uuid_eq(m->checkpoints[i].id, c->add))
            continue;
        m->checkpoints[i].expire_s = seconds(c->expire_ms);
        c->found = true;
        return 0;
    }
    return MANIFEST_UNCHANGED;
}

/* What the manifest now says of it. */
static void note(struct shale_reader *r, bool has, struct shale_uuid id, int64_t expire_ms)
{
    mutex_lock(&r->db->mu);
    r->has_checkpoint = has;
    r->checkpoint = id;
    r->expire_ms = expire_ms;
    mutex_unlock(&r->db->mu);
}

static struct change change_now(const struct shale_reader *r)
{
    int64_t now = db_now_ms(r->db);

    return (struct change){ .remove = r->checkpoint, .has_remove = r->has_checkpoint, .now_ms = now,
                            .expire_ms = now + r->opt.checkpoint_lifetime_ms };
}

/* The new one replaces the old in one version (R301), so that the state never goes without. */
int reader_checkpoint_replace(struct shale_reader *r, struct manifest_version **v)
{
    struct change c = change_now(r);
    int rc;

    c.add = uuid_new(NULL);
    c.has_add = true;
    rc = manifest_store_update(r->db->manifests, change_edit, &c, v);
    if (rc == 0)
        note(r, true, c.add, c.expire_ms);
    return rc;
}

int reader_checkpoint_renew(struct shale_reader *r)
{
    struct change c = change_now(r);
    int rc;

    if (c.now_ms <= r->expire_ms - r->opt.checkpoint_lifetime_ms / 2)
        return 0;
    c.add = r->checkpoint;
    rc = manifest_store_update(r->db->manifests, renew_edit, &c, NULL);
    if (rc < 0)
        return rc;
    if (!c.found)
        return -ENOENT;
    note(r, true, c.add, c.expire_ms); /* or each later look would write it again (H14) */
    return 0;
}

int reader_checkpoint_remove(struct shale_reader *r)
{
    struct change c = change_now(r);
    int rc = manifest_store_update(r->db->manifests, change_edit, &c, NULL);

    return rc < 0 ? err_add(rc, "the checkpoint of a reader of '%s' was not removed", r->db->root) : 0;
}
