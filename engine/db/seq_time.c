/* SPDX-License-Identifier: Apache-2.0 */
#include "db/db.h"

#include "base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <shale/inspect.h>

/* All points that are known: those of the manifest, of the frozen tables, and of the active one. */
static int gather(struct shale_db *db, struct seq_tracker *out)
{
    struct manifest_version *mv;
    struct seq_tracker recent;
    int rc = 0;

    seq_tracker_init(&recent);
    mutex_lock(&db->mu);
    mv = manifest_version_ref(db->mv);
    list_for_each(p, &db->imms)
        if (rc == 0)
            rc = seq_tracker_merge(&recent, &list_entry(p, struct imm, node)->tracker);
    if (rc == 0)
        rc = seq_tracker_merge(&recent, &db->tracker);
    mutex_unlock(&db->mu);
    if (rc == 0)
        rc = seq_tracker_copy(out, &mv->m.tracker);
    if (rc == 0)
        rc = seq_tracker_merge(out, &recent);
    manifest_version_unref(mv);
    seq_tracker_fini(&recent);
    return rc;
}

int shale_db_time_of_seq(struct shale_db *db, uint64_t seq, bool round_up, int64_t *time_s)
{
    struct seq_tracker t;
    int rc;

    seq_tracker_init(&t);
    rc = gather(db, &t);
    if (rc == 0 && !seq_tracker_time_of(&t, seq, round_up, time_s))
        rc = err_set(-ERANGE, "the database '%s' knows no time for sequence number %" PRIu64, db->root, seq);
    seq_tracker_fini(&t);
    return rc;
}

int shale_db_seq_at_time(struct shale_db *db, int64_t time_s, bool round_up, uint64_t *seq)
{
    struct seq_tracker t;
    int rc;

    seq_tracker_init(&t);
    rc = gather(db, &t);
    if (rc == 0 && !seq_tracker_seq_at(&t, time_s, round_up, seq))
        rc = err_set(-ERANGE, "the database '%s' knows no sequence number for time %" PRId64, db->root, time_s);
    seq_tracker_fini(&t);
    return rc;
}
