/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of compactions between memory and store. state is the owner's truth; what others may
 * do is submit, so merging takes unknown Submitted records from the stored list and nothing else.
 * dirty says that state has something that must be stored.
 */

#include "compact/compaction_log.h"

#include "base/clock.h"
#include "base/err.h"
#include "compact/compactor_state.h"

#include <errno.h>
#include <inttypes.h>

/*
 * Read the list and make it ours in memory. An equal epoch is our own write whose reply was lost, if there was one.
 * With our epoch in memory only; the write that follows makes it so in the store. The old owner's
 * next write then collides, and its reload tells it that it is fenced.
 */
static int load_to_take_over(struct compaction_log *log, uint64_t epoch, bool tried)
{
    struct compactions stored = { 0 };
    int rc;

    rc = compactions_store_load(&log->store, &stored);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    if (stored.compactor_epoch > epoch || (stored.compactor_epoch == epoch && !tried)) {
        rc = err_set(SHALE_EFENCED, "another compactor (epoch %" PRIu64 ", ours is %" PRIu64 ") owns the database '%s'",
                     stored.compactor_epoch, epoch, log->store.root);
        compactions_fini(&stored);
        return rc;
    }
    compactions_fini(&log->state);
    log->state = stored;
    compactions_take_over(&log->state, epoch);
    return 0;
}

int compaction_log_init(struct compaction_log *log, struct shale_store *store, const char *root, uint64_t epoch,
                        int64_t timeout_ms)
{
    int64_t deadline = clock_mono_ms() + timeout_ms;
    bool tried = false;
    int rc;

    *log = (struct compaction_log){ .timeout_ms = timeout_ms };
    rc = compactions_store_init(&log->store, store, root);
    if (rc < 0)
        return rc;
    log->store.epoch = epoch;
    do {
        rc = load_to_take_over(log, epoch, tried);
        if (rc < 0)
            return rc;
        rc = compactions_store_write(&log->store, &log->state);
        tried = true;
    } while (rc == -EEXIST && clock_mono_ms() < deadline);
    return rc;
}

void compaction_log_fini(struct compaction_log *log)
{
    compactions_fini(&log->state);
    compactions_store_fini(&log->store);
    *log = (struct compaction_log){ 0 };
}

/*
 * Also moves the store's id to the newest, so that the next write is for the id behind it; back when that could not be
 * taken in, so that it is read again.
 */
int compaction_log_refresh(struct compaction_log *log)
{
    struct compactions stored = { 0 };
    uint64_t before = log->store.id;
    size_t n_new;
    int rc;

    rc = compactions_store_load_newer(&log->store, &stored);
    if (rc != 0)
        return rc == SHALE_END ? 0 : rc;
    rc = compactions_merge_submitted(&log->state, &stored, &n_new);
    if (rc < 0)
        log->store.id = before;
    compactions_fini(&stored);
    return rc;
}

/* What is stored has no old finished records; state keeps them until then, so that no refresh takes them for new. */
static int write_trimmed(struct compaction_log *log)
{
    struct compactions copy = { 0 };
    int rc;

    rc = compactions_copy(&copy, &log->state);
    if (rc < 0)
        return rc;
    compactions_trim(&copy);
    rc = compactions_store_write(&log->store, &copy);
    compactions_fini(&copy);
    if (rc == 0)
        compactions_trim(&log->state);
    return rc;
}

/* Ends in success, in fencing, or when others were quicker for timeout_ms on end. */
int compaction_log_save(struct compaction_log *log)
{
    int64_t deadline = clock_mono_ms() + log->timeout_ms;
    int rc;

    if (!log->dirty)
        return 0;
    while ((rc = write_trimmed(log)) == -EEXIST) {
        if (clock_mono_ms() >= deadline)
            return err_set(-ETIMEDOUT, "the compactions object could not be updated in %" PRId64 " ms",
                           log->timeout_ms);
        rc = compaction_log_refresh(log);
        if (rc < 0)
            return rc;
    }
    if (rc == 0)
        log->dirty = false;
    return rc;
}
