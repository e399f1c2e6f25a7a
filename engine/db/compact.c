/* SPDX-License-Identifier: Apache-2.0 */
#include "db/db.h"

#include "base/err.h"
#include "compact/compactor_state.h"
#include "compact/submit.h"

#include <errno.h>

int shale_db_compact(struct shale_db *db, const struct shale_compaction_spec *spec, struct shale_ulid *id)
{
    int rc = db_alive(db);

    if (rc == 0 && db->opt.read_only)
        rc = err_set(-EROFS, "the database '%s' was opened for reading", db->root);
    if (rc == 0)
        rc = compaction_submit(db->store, db->root, spec, db_now_ms(db), db->opt.manifest_update_timeout_ms, id);
    if (rc == 0 && db->compactor)
        compactor_wake(db->compactor);
    return rc;
}

int shale_db_compaction(struct shale_db *db, struct shale_ulid id, struct shale_compaction *out)
{
    struct compactions_store s = { 0 };
    struct compactions list = { 0 };
    const struct compaction *c;
    int rc = compactions_store_init(&s, db->store, db->root);

    if (rc == 0)
        rc = compactions_store_load(&s, &list);
    if (rc == 0) {
        c = compactions_find(&list, id);
        if (c)
            *out = compaction_told(c);
        else
            rc = err_set(-ENOENT, "the list of compactions of '%s' no longer has it", db->root);
    }
    compactions_fini(&list);
    compactions_store_fini(&s);
    return rc;
}
