/* SPDX-License-Identifier: Apache-2.0 */
/* What commits and transactions are to each other: who is in whose way (R286-R296). */

#include "db/txn.h"

#include "base/err.h"

static int conflict(const struct shale_txn *t, const char *what)
{
    return err_set(SHALE_ECONFLICT, "transaction conflict: a commit after %llu %s",
                   (unsigned long long)t->snap.seq, what);
}

static bool has_any(const struct conflict_log *l, const struct key_set *keys, uint64_t started)
{
    for (size_t i = 0; i < keys->n; i++)
        if (conflict_log_has(l, key_set_at(keys, i), started))
            return true;
    return false;
}

int txn_check(const struct shale_db *db, const struct shale_txn *t)
{
    if (has_any(&db->conflicts, &t->writes, t->snap.seq))
        return conflict(t, "wrote a key that it writes");
    if (has_any(&db->conflicts, &t->reads, t->snap.seq))
        return conflict(t, "wrote a key that it read");
    list_for_each(p, &t->scans) {
        const struct txn_scan *s = list_entry(p, struct txn_scan, node);

        for (size_t i = 0; i < s->n; i++) {
            int rc = s->stretches[i].is_read
                         ? conflict_log_has_range(&db->conflicts, &s->stretches[i].range, t->snap.seq) : 0;

            if (rc != 0)
                return rc < 0 ? rc : conflict(t, "wrote a key in a range that it scanned");
        }
    }
    return 0;
}

/* Whether there is a transaction beside t that this commit may be in the way of. REQUIRES(wmu) */
static bool has_others(const struct shale_db *db, const struct shale_txn *t)
{
    return !list_empty(&db->txns) && !(t && db->txns.next == &t->node && db->txns.prev == &t->node);
}

int txn_before_commit(struct shale_db *db, struct shale_txn *t, const struct batch_rows *rows, bool *logged)
{
    int rc = t ? txn_check(db, t) : 0;

    *logged = has_others(db, t); /* R288; nothing piles up otherwise (R296) */
    if (rc == 0 && *logged)
        rc = conflict_log_reserve(&db->conflicts, rows->rows, rows->n);
    return rc;
}

void txn_after_commit(struct shale_db *db, struct shale_txn *t, const struct batch_rows *rows, uint64_t seq)
{
    for (size_t i = 0; i < rows->n; i++)
        if (!t || key_set_has(&t->writes, rows->rows[i].key)) /* else unmarked (R287) */
            conflict_log_add(&db->conflicts, rows->rows[i].key, seq);
}
