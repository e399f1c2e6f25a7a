/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: a sequence number, and an entry in the list that keeps flush and compaction from
 * dropping what it sees (R265-R268).
 */

#include "db/db.h"

#include <errno.h>

int shale_db_snapshot(struct shale_db *db, struct shale_snapshot **out)
{
    struct shale_snapshot *s = mem_zalloc(sizeof(*s));

    if (!s)
        return -ENOMEM;
    mutex_lock(&db->mu);
    s->seq = db->committed_seq; /* never less than an earlier snapshot's: the list stays sorted */
    list_append(&db->snapshots, &s->node);
    mutex_unlock(&db->mu);
    *out = s;
    return 0;
}

uint64_t shale_snapshot_seq(const struct shale_snapshot *s)
{
    return s->seq;
}

/* Versions that only it needed go with the next flush or compaction that meets them. */
void shale_snapshot_release(struct shale_db *db, struct shale_snapshot *s)
{
    if (!s)
        return;
    mutex_lock(&db->mu);
    list_remove(&s->node);
    mutex_unlock(&db->mu);
    mem_free(s);
}
