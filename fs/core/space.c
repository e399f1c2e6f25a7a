/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/space.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/log.h"
#include "fs/core/txn.h"

#include <errno.h>
#include <shale/compact.h>

#define TICK_MS 1000
#define DEAD_MIN_BYTES (1 << 20)
/*
 * After an attempt that came to nothing: as long as the volume had to be idle, and twice as long each time. Most
 * collide with a compaction that the engine chose at the same moment, which is over soon; others, as with data that
 * cannot be read, fail again.
 */
#define PAUSE_MAX_MS 60000

/* The thread's own. */
struct space {
    struct fs *fs;
    uint64_t n_changes; /* seen last, and since when */
    int64_t since_ms, not_before_ms;
    int64_t pause_ms;   /* the last one; 0: the last attempt did well */
    uint64_t taken_off; /* of what the filter has left out */
    bool is_asked;      /* for compaction id, when the counter stood at mark */
    struct shale_ulid id;
    int64_t mark;
};

/* Not longer than the idle time, or a short one (tests) would mean nothing. False: the volume is closed. */
static bool wait_tick(struct fs *fs)
{
    int64_t deadline = clock_mono_ms() + (fs->opt.idle_ms < TICK_MS ? fs->opt.idle_ms : TICK_MS);
    bool stop;

    mutex_lock(&fs->dirty_mu);
    while (!fs->stopping && cond_wait_until(&fs->space_wake, &fs->dirty_mu, deadline))
        ;
    stop = fs->stopping;
    mutex_unlock(&fs->dirty_mu);
    return !stop;
}

/* Whether nothing has changed for a while. */
static bool is_idle(struct space *s)
{
    struct fs *fs = s->fs;
    int64_t now = clock_mono_ms();
    bool quiet;

    mutex_lock(&fs->dirty_mu);
    quiet = fs->n_changes == s->n_changes && list_empty(&fs->dirty_list);
    s->n_changes = fs->n_changes;
    mutex_unlock(&fs->dirty_mu);
    if (!quiet)
        s->since_ms = now;
    return now - s->since_ms >= fs->opt.idle_ms;
}

/* Both of one moment. */
static void read_counters(struct fs *fs, int64_t *dead, int64_t *live)
{
    mutex_lock(&fs->counters_mu);
    *dead = fs->counters[FS_COUNT_DEAD];
    *live = fs->counters[FS_COUNT_BYTES];
    mutex_unlock(&fs->counters_mu);
}

/* Only this thread subtracts, so the counter never falls below 0. After a failure it stays: too much is compacted. */
static int64_t take_off(struct fs *fs, int64_t n)
{
    int64_t dead, live;
    struct txn t;
    int rc;

    read_counters(fs, &dead, &live);
    if (n > dead)
        n = dead;
    if (n <= 0)
        return 0;
    txn_init(&t, fs);
    txn_count(&t, FS_COUNT_DEAD, -n);
    rc = txn_commit(&t);
    txn_fini(&t);
    return rc < 0 ? 0 : n;
}

/* What compactions have left out since the last time. */
static void take_off_dropped(struct space *s)
{
    uint64_t dropped = atomic_load_explicit(&s->fs->filter.bytes, memory_order_relaxed);
    int64_t n;

    if (dropped == s->taken_off)
        return;
    n = take_off(s->fs, (int64_t)(dropped - s->taken_off));
    s->taken_off = dropped;
    s->mark -= n < s->mark ? n : s->mark;
}

static void pause_longer(struct space *s)
{
    s->pause_ms = s->pause_ms ? 2 * s->pause_ms : s->fs->opt.idle_ms;
    if (s->pause_ms > PAUSE_MAX_MS)
        s->pause_ms = PAUSE_MAX_MS;
    s->not_before_ms = clock_mono_ms() + s->pause_ms;
}

/*
 * The rows that say what is dead may be in memory still, so the memtable is flushed first. The compaction is done by
 * whoever compacts the volume, at his next look; this thread goes on ticking.
 */
static void ask(struct space *s)
{
    const struct shale_compaction_spec all = { .kind = SHALE_COMPACT_FULL };
    struct fs *fs = s->fs;
    int64_t dead, live;
    int rc;

    read_counters(fs, &dead, &live);
    rc = shale_db_flush(fs->db, SHALE_FLUSH_MEMTABLE);
    if (rc == 0)
        rc = shale_db_compact(fs->db, &all, &s->id);
    if (rc == SHALE_END) {
        (void)take_off(fs, dead); /* nothing is stored, so nothing is dead */
    } else if (rc < 0) {
        log_info("removed data is not given back yet: %s", shale_errmsg());
        pause_longer(s);
    } else {
        log_info("%lld bytes of removed data beside %lld live ones: compacting everything", (long long)dead,
                 (long long)live);
        s->is_asked = true;
        s->mark = dead;
    }
}

/* Whether what was asked for is done. A failed one is asked for again after the pause. */
static void look_after(struct space *s)
{
    struct shale_compaction c = { .status = SHALE_COMPACTION_COMPLETED };
    int rc = shale_db_compaction(s->fs->db, s->id, &c);

    if (rc == -ENOENT)
        rc = 0; /* it is over and so is a later one */
    if (rc < 0 || c.status == SHALE_COMPACTION_SUBMITTED || c.status == SHALE_COMPACTION_RUNNING)
        return;
    s->is_asked = false;
    if (c.status == SHALE_COMPACTION_FAILED) {
        pause_longer(s);
        return;
    }
    take_off_dropped(s);
    (void)take_off(s->fs, s->mark);
    s->mark = 0;
    s->pause_ms = 0;
}

/*
 * A tenth: what is won is in proportion to what has to be read and written for it. Below a MiB nothing is worth the
 * trouble.
 */
static bool is_due(const struct space *s)
{
    int64_t dead, live;

    read_counters(s->fs, &dead, &live);
    return dead >= DEAD_MIN_BYTES && dead > live / 10 && clock_mono_ms() >= s->not_before_ms;
}

/*
 *   idle, and much is dead -> ask -> look after it at each tick -> done: what was dead then counts as given back
 *                                                               \-> failed: once more, later
 * Compactions that the engine chooses leave dead rows out as well; what they dropped is taken off at each tick.
 */
static void space_run(void *arg)
{
    struct space s = { .fs = arg, .since_ms = clock_mono_ms() };

    (void)cancel_set(fs_token(s.fs));
    while (wait_tick(s.fs)) {
        bool idle = is_idle(&s);

        if (fs_error(s.fs) < 0)
            continue;
        take_off_dropped(&s);
        if (s.is_asked)
            look_after(&s);
        else if (idle && is_due(&s))
            ask(&s);
    }
}

int space_start(struct fs *fs)
{
    return worker_start(&fs->space, "space", space_run, fs);
}

/*
 * The first to be stopped of the two threads, so it tells the committer as well. An asked compaction goes on, or waits
 * for the next mount.
 */
void space_stop(struct fs *fs)
{
    mutex_lock(&fs->dirty_mu);
    fs->stopping = true;
    cond_broadcast(&fs->space_wake);
    cond_broadcast(&fs->committer_wake);
    mutex_unlock(&fs->dirty_mu);
    worker_join(&fs->space);
}

void fs_space(struct fs *fs, struct fs_space *out)
{
    int64_t dead, live;

    read_counters(fs, &dead, &live);
    *out = (struct fs_space){ .dead_bytes = dead > 0 ? (uint64_t)dead : 0,
                              .dropped_rows = atomic_load_explicit(&fs->filter.rows, memory_order_relaxed),
                              .dropped_bytes = atomic_load_explicit(&fs->filter.bytes, memory_order_relaxed) };
}
