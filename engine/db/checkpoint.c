/* SPDX-License-Identifier: Apache-2.0 */
#include "db/db.h"

#include "manifest/checkpoint.h"

#include <errno.h>

/* A caller that waits until its rows are in L0. On its stack. */
struct checkpoint_wait {
    struct list node;
    const struct checkpoint_request *request;
    uint64_t seq; /* of the last row that must be in L0 */
    bool done;
    uint64_t manifest_id;
};

int db_checkpoint_attach(struct shale_db *db, struct manifest *m, uint64_t seq, uint64_t next_id)
{
    int rc = 0;

    mutex_lock(&db->mu);
    list_for_each(p, &db->checkpoints) {
        const struct checkpoint_wait *w = list_entry(p, struct checkpoint_wait, node);

        if (w->seq > seq || rc < 0)
            continue;
        rc = checkpoint_add(m, w->request, next_id);
        if (rc == -ENOENT)
            rc = 0; /* without source: the caller finds out, and the flush goes on */
    }
    mutex_unlock(&db->mu);
    return rc < 0 ? rc : 0;
}

void db_checkpoint_settle(struct shale_db *db, const struct manifest_version *v)
{
    mutex_lock(&db->mu);
    list_for_each(p, &db->checkpoints) {
        struct checkpoint_wait *w = list_entry(p, struct checkpoint_wait, node);
        const struct checkpoint *c = checkpoint_find(&v->m, w->request->id);

        if (c) {
            w->done = true;
            w->manifest_id = c->manifest_id;
        }
    }
    mutex_unlock(&db->mu);
}

/* Freeze what is committed and wait until it is in L0. *done: the checkpoint came with it. */
static int flush_all(struct shale_db *db, struct checkpoint_wait *w)
{
    int rc;

    mutex_lock(&db->wmu);
    mutex_lock(&db->mu);
    rc = db_alive_locked(db);
    if (rc == 0)
        rc = db_freeze_locked(db, db->wal.last_id);
    w->seq = db->committed_seq;
    list_append(&db->checkpoints, &w->node);
    mutex_unlock(&db->wmu);
    while (rc == 0 && !w->done && db->mv->m.last_l0_seq < w->seq) {
        rc = db_alive_locked(db);
        if (rc == 0)
            db_wait_locked(db, &db->flushed, 0);
    }
    list_remove(&w->node);
    mutex_unlock(&db->mu);
    return rc;
}

struct now_arg {
    struct shale_db *db;
    const struct checkpoint_request *request;
};

/* What is durable includes WAL objects that the newest manifest does not know of. */
static int now_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    const struct now_arg *a = arg;
    int rc = checkpoint_add(m, a->request, next_id);

    if (rc != 0)
        return rc;
    mutex_lock(&a->db->mu);
    if (!a->request->has_source && a->db->wal.last_id > m->wal_id_last_seen)
        m->wal_id_last_seen = a->db->wal.last_id;
    mutex_unlock(&a->db->mu);
    return 0;
}

static int add_now(struct shale_db *db, struct checkpoint_wait *w)
{
    struct now_arg a = { .db = db, .request = w->request };
    struct manifest_version *v = NULL;
    int rc = manifest_store_update_as(db->manifests, EPOCH_WRITER, now_edit, &a, &v);

    if (rc < 0)
        return rc;
    w->manifest_id = checkpoint_find(&v->m, w->request->id)->manifest_id;
    db_install(db, v);
    return 0;
}

int shale_db_checkpoint(struct shale_db *db, enum shale_checkpoint_scope scope,
                        const struct shale_checkpoint_options *opt, struct shale_checkpoint *out)
{
    struct checkpoint_request r;
    struct checkpoint_wait w = { .request = &r };
    int rc = db_writable(db);

    if (rc == 0)
        rc = db_alive(db);
    if (rc < 0)
        return rc;
    checkpoint_request_init(&r, opt, db_now_ms(db));
    if (scope == SHALE_CHECKPOINT_ALL && !r.has_source)
        rc = flush_all(db, &w);
    if (rc == 0 && !w.done)
        rc = add_now(db, &w);
    if (rc < 0)
        return rc;
    *out = (struct shale_checkpoint){ .id = r.id, .manifest_id = w.manifest_id, .create_s = r.create_s,
                                      .expire_s = r.expire_s, .name = r.name };
    return 0;
}
