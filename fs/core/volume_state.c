/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every part of an open volume asks of the whole: is the engine still alive, make everything durable. A dead
 * engine (fenced, or met with what no retry mends) is remembered here once somebody has met it, so that later calls
 * fail without asking it.
 */
#include "fs/core/volume_state.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/ulid.h"

#include <errno.h>
#include <stdio.h>

/* Between looks whether the volume is still there. */
#define GONE_LOOK_MS 10000

const char *fs_counter_name(enum fs_counter c)
{
    static const char *const names[FS_N_COUNTERS] = { [FS_COUNT_INODES] = "inodes",
                                                      [FS_COUNT_BYTES] = "bytes",
                                                      [FS_COUNT_DEAD] = "dead bytes" };

    return names[c];
}

int fs_error(struct fs *fs)
{
    return atomic_load_explicit(&fs->error, memory_order_relaxed);
}

int volume_note_error(struct fs *fs, int rc)
{
    struct shale_db_status st;
    int alive = 0;

    if (rc >= 0 || fs_error(fs) < 0)
        return rc < 0 ? -EIO : rc;
    shale_db_status(fs->db, &st);
    if (st.error == 0)
        return rc;
    /* Of several threads that meet it, one says so. */
    if (atomic_compare_exchange_strong_explicit(&fs->error, &alive, st.error, memory_order_relaxed, memory_order_relaxed))
        log_error("the volume can no longer be written until it is unmounted and mounted again: %s: %s",
                  shale_strerror(st.error), shale_errmsg());
    return -EIO;
}

/* Of several threads one looks. */
static bool may_look_at_volume(struct fs *fs)
{
    int64_t now = clock_mono_ms(), before = atomic_load_explicit(&fs->gone_look_ms, memory_order_relaxed);

    return now >= before && atomic_compare_exchange_strong_explicit(&fs->gone_look_ms, &before, now + GONE_LOOK_MS,
                                                                    memory_order_relaxed, memory_order_relaxed);
}

int volume_note_gone(struct fs *fs, int rc)
{
    struct volume now;
    char why[256];
    int found;

    if (rc != -ESTALE || !may_look_at_volume(fs))
        return rc;
    snprintf(why, sizeof(why), "%s", shale_errmsg());
    found = volume_load_latest(fs->patient, fs->path, &now, NULL);
    if (found == -ENOENT)
        log_error("the volume was removed: unmount it; what is kept in memory can still be read");
    else if (found == 0 && !uuid_eq(now.uuid, fs->volume.uuid))
        log_error("the volume was replaced by another: unmount it, and mount that one");
    return err_set(rc, "%s", why);
}

const struct cancel *fs_token(struct fs *fs)
{
    return fs->opt.give_up;
}

int volume_alive(struct fs *fs)
{
    return fs_error(fs) < 0 ? -EIO : 0;
}

int volume_commit(struct fs *fs)
{
    uint64_t n;
    int rc;

    if (fs->opt.read_only)
        return 0;
    mutex_lock(&fs->dirty_mu);
    n = fs->n_changes;
    mutex_unlock(&fs->dirty_mu);
    /* The engine has nothing against flushing nothing when it is dead. */
    rc = volume_alive(fs);
    if (rc == 0)
        rc = volume_note_error(fs, shale_db_flush(fs->db, SHALE_FLUSH_WAL));
    if (rc < 0)
        return rc;
    mutex_lock(&fs->dirty_mu);
    if (n > fs->n_committed)
        fs->n_committed = n;
    mutex_unlock(&fs->dirty_mu);
    return 0;
}
