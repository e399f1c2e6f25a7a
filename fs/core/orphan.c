/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/orphan.h"

#include "base/err.h"
#include "base/log.h"
#include "fs/core/file_data.h"
#include "fs/core/rows.h"
#include "fs/core/txn.h"

#include <errno.h>

/*
 * Row, orphan row and counters go together. When this fails the rows stay, as after a crash, and the next mount
 * removes them.
 */
int orphan_reclaim(struct fs *fs, struct inode *i)
{
    struct txn t;
    int rc;

    txn_init(&t, fs);
    txn_delete_inode(&t, i->ino);
    txn_delete_orphan(&t, fs->session.id, i->ino);
    txn_count(&t, FS_COUNT_INODES, -1);
    txn_count_blocks(&t, i->rec.blocks, 0);
    rc = txn_commit(&t);
    txn_fini(&t);
    if (rc == 0)
        file_data_drop(fs, i);
    return rc;
}

/* Remove the file that an orphan row of another session names, if it is still without a name, and the row. */
static int sweep_one(struct fs *fs, const struct fs_key_parts *orphan)
{
    struct inode *i = NULL;
    struct txn t;
    int rc = inode_get(fs, orphan->ino, &i);

    if (rc < 0 && rc != -ENOENT)
        return rc;
    txn_init(&t, fs);
    txn_delete_orphan(&t, orphan->session, orphan->ino);
    if (i && i->rec.nlink == 0) {
        txn_delete_inode(&t, i->ino);
        txn_count(&t, FS_COUNT_INODES, -1);
        txn_count_blocks(&t, i->rec.blocks, 0);
    }
    rc = txn_commit(&t);
    txn_fini(&t);
    inode_put(fs, i);
    return rc;
}

/*
 * Every orphan row is of a session that is over: this one has opened nothing yet, and the others were fenced. A crash
 * on the way leaves the rest for the next mount. The scan sees the rows as they were when it began, so removing them
 * does not disturb it.
 */
int orphan_sweep(struct fs *fs)
{
    struct shale_iter *it = NULL;
    struct fs_key prefix;
    struct shale_row row;
    uint64_t n = 0;
    int rc;

    fs_key_orphans(&prefix);
    rc = rows_scan_prefix(fs, &prefix, NULL, &it);
    while (rc == 0 && (rc = shale_iter_next(it, &row)) == 0) {
        struct fs_key_parts parts;

        rc = fs_key_parse(row.key, &parts);
        if (rc == 0)
            rc = sweep_one(fs, &parts);
        n++;
    }
    shale_iter_close(it);
    if (rc < 0 && rc != SHALE_END)
        return err_add(rc, "cannot remove files that an earlier mount left without a name");
    if (n > 0)
        log_info("removed %llu files that an earlier mount left without a name", (unsigned long long)n);
    return 0;
}
