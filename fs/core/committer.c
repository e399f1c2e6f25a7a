/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/committer.h"

#include "base/clock.h"
#include "base/log.h"
#include "fs/core/file_data.h"

/* Sleep for the interval, or until the volume is closed: false. */
static bool wait_interval(struct fs *fs)
{
    int64_t deadline = clock_mono_ms() + fs->opt.commit_interval_ms;
    bool stop;

    mutex_lock(&fs->dirty_mu);
    while (!fs->stopping && cond_wait_until(&fs->committer_wake, &fs->dirty_mu, deadline))
        ;
    stop = fs->stopping;
    mutex_unlock(&fs->dirty_mu);
    return !stop;
}

/* An idle mount writes nothing: neither WAL objects nor a session that says it is alive. */
static bool has_changes(struct fs *fs)
{
    bool changes;

    mutex_lock(&fs->dirty_mu);
    changes = fs->n_changes != fs->n_committed || !list_empty(&fs->dirty_list);
    mutex_unlock(&fs->dirty_mu);
    return changes;
}

/*
 * A failure is told once and not each second. The data stays with the inodes and is tried again; an engine that is
 * dead fails every later write and fsync by itself.
 */
static void committer_run(void *arg)
{
    struct fs *fs = arg;
    bool failing = false;

    (void)cancel_set(fs_token(fs));
    while (wait_interval(fs)) {
        int rc;

        if (!has_changes(fs))
            continue;
        rc = file_data_writeback_all(fs);
        if (rc == 0)
            rc = volume_commit(fs);
        if (rc < 0 && !failing)
            log_error("commit failed: %s: %s", shale_strerror(rc), shale_errmsg());
        failing = rc < 0;
    }
}

int committer_start(struct fs *fs)
{
    return worker_start(&fs->committer, "commit", committer_run, fs);
}

void committer_stop(struct fs *fs)
{
    mutex_lock(&fs->dirty_mu);
    fs->stopping = true;
    cond_broadcast(&fs->committer_wake);
    mutex_unlock(&fs->dirty_mu);
    worker_join(&fs->committer);
}
