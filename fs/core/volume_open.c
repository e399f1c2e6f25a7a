/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/volume_open.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/errand.h"
#include "base/log.h"
#include "base/ulid.h"
#include "fs/core/committer.h"
#include "fs/core/file_data.h"
#include "fs/core/follow.h"
#include "fs/core/fs_merge.h"
#include "fs/core/fserr.h"
#include "fs/core/orphan.h"
#include "fs/core/requests.h"
#include "fs/core/rows.h"
#include "fs/core/space.h"
#include "fs/core/txn.h"
#include "fs/core/volume_claim.h"

#include <errno.h>
#include <stdlib.h>

/* What of a file system's database differs from the engine's defaults. */
#define L0_BYTES (64u << 20)
#define UNFLUSHED_BYTES (160u << 20)
#define WAL_OBJECT_BYTES (8u << 20)
#define REPLAY_WAL_OBJECTS 256u
#define GATHER_US 500
/*
 * An idle mount: one probe of the manifest in so long, which also tells that somebody took the volume over; a listing
 * and a probe of the compactor, which tell that somebody wants a compaction; a run of the collector once in an hour.
 */
#define IDLE_MANIFEST_MS 40000
#define IDLE_COMPACTOR_MS 60000
#define IDLE_GC_MS 3600000
#define READ_WINDOW_BYTES (512u << 10)
#define COMPACTIONS 2 /* a long one and one that keeps L0 short; each takes some 40 MiB */

static void tuning_init(struct fs_tuning *t)
{
    struct shale_options opt;

    shale_options_init(&opt);
    *t = (struct fs_tuning){
        .l0_sst_size_bytes = L0_BYTES,
        .l0_max_ssts = opt.l0_max_ssts,
        .max_unflushed_bytes = UNFLUSHED_BYTES,
        .freeze_wal_count = REPLAY_WAL_OBJECTS,
        .manifest_idle_poll_ms = IDLE_MANIFEST_MS,
        .compactor_idle_poll_ms = IDLE_COMPACTOR_MS,
        .gc_idle_interval_ms = IDLE_GC_MS,
        .compactor_poll_interval_ms = (uint64_t)opt.compactor.poll_interval_ms,
        .compactor_max_sst_size = opt.compactor.max_sst_size,
        .compactor_min_sources = opt.compactor.min_sources,
        .compactor_max_sources = opt.compactor.max_sources,
        .gc_interval_ms = (uint64_t)opt.gc.interval_ms,
        .gc_min_age_ms = (uint64_t)opt.gc.compacted_min_age_ms,
    };
}

/* Ranges are those of the mount options, and shale_db_open looks again. */
static void tuning_apply(const struct fs_tuning *t, struct shale_options *opt)
{
    int64_t age = (int64_t)t->gc_min_age_ms;

    opt->l0_sst_size_bytes = t->l0_sst_size_bytes;
    opt->l0_max_ssts = (uint32_t)t->l0_max_ssts;
    opt->max_unflushed_bytes = t->max_unflushed_bytes;
    opt->freeze_wal_count = (uint32_t)t->freeze_wal_count;
    opt->manifest_idle_poll_ms = (int64_t)t->manifest_idle_poll_ms;
    opt->compactor.poll_interval_ms = (int64_t)t->compactor_poll_interval_ms;
    opt->compactor.idle_poll_ms = (int64_t)t->compactor_idle_poll_ms;
    opt->compactor.max_sst_size = t->compactor_max_sst_size;
    opt->compactor.min_sources = (uint32_t)t->compactor_min_sources;
    opt->compactor.max_sources = (uint32_t)t->compactor_max_sources;
    opt->gc.interval_ms = (int64_t)t->gc_interval_ms;
    opt->gc.idle_interval_ms = (int64_t)t->gc_idle_interval_ms;
    opt->gc.manifest_min_age_ms = opt->gc.wal_min_age_ms = age;
    opt->gc.compacted_min_age_ms = opt->gc.compactions_min_age_ms = age;
}

void fs_options_init(struct fs_options *opt)
{
    *opt = (struct fs_options){
        .atime = FS_NOATIME,
        .poll_ms = 1000,
        .commit_interval_ms = 1000,
        .idle_ms = 5000,
        .dirty_max_bytes = 64u << 20,
        .cache_bytes = 64u << 20,
        .read_ahead_bytes = 32u << 20,
    };
    tuning_init(&opt->tuning);
}

void volume_db_options(struct fs *fs, struct shale_options *opt)
{
    fs_filter_init(&fs->filter);
    shale_options_init(opt);
    opt->flush_interval_ms = 0; /* the committer asks */
    opt->commit_gather_us = GATHER_US;
    opt->wal_max_bytes = WAL_OBJECT_BYTES;
    opt->block_cache_bytes = fs->opt.cache_bytes;
    opt->read_window_bytes = READ_WINDOW_BYTES;
    opt->block_size = fs->volume.block_bytes;
    opt->codec = fs->volume.codec;
    opt->merge_operator = &fs_merge_operator;
    opt->compaction_filter = &fs->filter.filter;
    opt->gc.enabled = true;
    opt->store_limit_ms = fs->opt.soft_ms;
    opt->read_only = fs->opt.read_only;
    opt->checkpoint = fs->opt.has_checkpoint ? &fs->opt.checkpoint : NULL;
    opt->compactor.enabled = !fs->opt.read_only;
    opt->compactor.max_concurrent = COMPACTIONS;
    opt->metrics = fs->opt.requests ? fs_requests_metrics(fs->opt.requests) : NULL;
    tuning_apply(&fs->opt.tuning, opt);
}

int volume_open_store(struct fs *fs, const char *url, bool create)
{
    int64_t patience = fs->opt.soft_ms && fs->opt.soft_ms < VOLUME_PATIENCE_MS ? fs->opt.soft_ms : VOLUME_PATIENCE_MS;
    struct shale_store_options opt = fs->opt.store ? *fs->opt.store : (struct shale_store_options){ .s3 = NULL };
    int rc;

    opt.watch = fs->opt.requests ? fs_requests_watch(fs->opt.requests) : NULL;
    rc = shale_store_open_with(url, create, &opt, &fs->store, &fs->path);

    return rc == 0 ? shale_store_retrying(fs->store, patience, &fs->patient) : rc;
}

void volume_close_store(struct fs *fs)
{
    shale_store_close(fs->patient);
    shale_store_close(fs->store);
    free(fs->path);
}

static int load_volume(struct fs *fs, const char *url)
{
    int rc = volume_load_latest(fs->patient, fs->path, &fs->volume, NULL);

    if (rc == -ENOENT)
        return err_set(rc, "there is no volume at %s; 'shalefs format %s' makes one", url, url);
    return rc;
}

/*
 * For a writer, which has a claim, this fences whoever had the volume, replays the WAL and starts the engine's
 * threads.
 */
static int open_db(struct fs *fs, struct volume_claim *claim)
{
    struct shale_options opt;
    int rc = 0;

    volume_db_options(fs, &opt);
    if (claim)
        rc = volume_claim_begin(claim, &opt);
    if (rc < 0)
        return rc;
    return shale_db_open(fs->store, fs->path, &opt, false, &fs->db);
}

/* ---- looking ---- */

int volume_open_reader(const char *url, const struct shale_store_options *store, struct fs *fs)
{
    int rc;

    fs_options_init(&fs->opt);
    fs->opt.store = store;
    fs->opt.read_only = true;
    rc = volume_open_store(fs, url, false);
    if (rc == -ENOENT)
        return err_set(rc, "there is no volume at %s", url);
    if (rc == 0)
        rc = load_volume(fs, url);
    if (rc == 0)
        rc = open_db(fs, NULL);
    return rc;
}

void volume_close_reader(struct fs *fs)
{
    (void)shale_db_close(fs->db, SHALE_CLOSE_ABANDON); /* a reader has nothing to write */
    volume_close_store(fs);
}

/* ---- opening and closing ---- */

static void fs_free(struct fs *fs)
{
    shale_batch_free(fs->spare_batch);
    chunk_cache_fini(&fs->chunks);
    inode_table_fini(&fs->inodes);
    oplock_fini(&fs->names);
    oplock_fini(&fs->sweep);
    cond_fini(&fs->space_wake);
    cond_fini(&fs->committer_wake);
    mutex_fini(&fs->dirty_mu);
    mutex_fini(&fs->counters_mu);
    volume_close_store(fs);
    mem_free(fs);
}

static struct fs *fs_alloc(const struct fs_options *opt)
{
    struct fs *fs = mem_zalloc(sizeof(*fs));

    if (!fs)
        return NULL;
    fs->opt = *opt;
    inode_table_init(&fs->inodes);
    chunk_cache_init(&fs->chunks, opt->give_up);
    oplock_init(&fs->sweep, FS_RANK_SWEEP, "write back everything");
    oplock_init(&fs->names, FS_RANK_NAMES, "names");
    mutex_init(&fs->counters_mu, FS_RANK_COUNTERS, "volume counters");
    mutex_init(&fs->dirty_mu, FS_RANK_DIRTY_LIST, "dirty inodes");
    cond_init(&fs->committer_wake);
    cond_init(&fs->space_wake);
    list_init(&fs->dirty_list);
    return fs;
}

/* A counter; -ENOENT when there is none. */
static int load_counter(struct fs *fs, const char *name, uint64_t *out)
{
    struct shale_buf value = SHALE_BUF_INIT;
    struct fs_key key;
    int rc = fs_key_counter(&key, name);

    *out = 0;
    if (rc == 0)
        rc = rows_get(fs, &key, NULL, &value);
    if (rc == 0 && value.len != 8)
        rc = err_set(SHALE_ECORRUPT, "counter '%s' has %zu bytes instead of 8", name, value.len);
    if (rc == 0)
        *out = get_u64le(value.data);
    shale_buf_fini(&value);
    return rc;
}

/* What statfs shows. */
static int load_sums(struct fs *fs)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i < FS_N_COUNTERS; i++) {
        uint64_t v;

        rc = load_counter(fs, fs_counter_name((enum fs_counter)i), &v);
        if (rc == -ENOENT)
            rc = 0; /* nothing was counted yet */
        if (rc < 0)
            break;
        mutex_lock(&fs->counters_mu);
        fs->counters[i] = (int64_t)v;
        mutex_unlock(&fs->counters_mu);
    }
    return rc;
}

/*
 * Numbers between the counter and the last that was given out are lost at each mount: it is moved a block at a time,
 * in the batch that uses the first of a block. There are 2^64 of them.
 */
static int load_counters(struct fs *fs)
{
    int rc = load_counter(fs, "ino", &fs->next_ino);

    fs->end_ino = fs->next_ino;
    if (rc == -ENOENT)
        return err_set(SHALE_ECORRUPT, "the volume has no counter of inode numbers");
    return rc == 0 ? load_sums(fs) : rc;
}

/* A volume without a root is refused when it is mounted, and not at the first look into it. */
static int check_root(struct fs *fs)
{
    struct inode *root;
    int rc = inode_get(fs, FS_ROOT_INO, &root);

    if (rc == -ENOENT)
        return err_set(SHALE_ECORRUPT, "the volume has no root directory");
    if (rc < 0)
        return rc;
    /* The kernel never forgets the root. */
    inode_add_lookup(fs, root);
    inode_put(fs, root);
    return 0;
}

/* What is read of the database, and what others left in it. */
static int load_state(struct fs *fs)
{
    int rc = load_counters(fs);

    if (rc == 0)
        rc = check_root(fs);
    return rc == 0 && !fs->opt.read_only ? orphan_sweep(fs) : rc;
}

/* The database, with a session of our own, and what others left behind. */
static int open_claimed(struct fs *fs, struct volume_claim *claim)
{
    int rc = open_db(fs, claim);

    if (rc < 0)
        return rc;
    errand_start(&claim->errand, "shalefs-open", volume_claim_finish, claim);
    rc = errand_join(&claim->errand, load_state(fs));
    if (rc == 0)
        rc = committer_start(fs);
    if (rc == 0) {
        rc = space_start(fs);
        if (rc < 0)
            committer_stop(fs);
    }
    return rc;
}

/* Everything a writer does beyond a reader. */
static int open_writer(struct fs *fs, struct volume_claim *claim)
{
    int rc = open_claimed(fs, claim);

    return rc < 0 ? volume_claim_cancel(claim, rc) : 0;
}

/*
 * No session, no epoch: it may stand beside a mount that writes, in any number, with credentials that only read. What
 * it shows is what that commits; or the moment of the open, or of a checkpoint, which also keeps that from the
 * collector.
 */
static int open_reader(struct fs *fs)
{
    int rc = fs->opt.poll_ms > 0 && !fs->opt.has_checkpoint ? follow_open(fs) : open_db(fs, NULL);

    return rc == 0 ? load_state(fs) : rc;
}

/* Volume and sessions, at once: each is a listing and then what it has brought. */
static int look(struct fs *fs, const char *url, struct volume_claim *claim)
{
    int rc;

    if (fs->opt.read_only)
        return load_volume(fs, url);
    errand_start(&claim->errand, "shalefs-open", volume_claim_look, claim);
    rc = load_volume(fs, url);
    return errand_join(&claim->errand, rc);
}

/*
 * The volume object first: without it nothing here is ours to open, and it says how the rest is read. A writer that
 * fails on the way takes its session back.
 */
int fs_open(const char *url, const struct fs_options *opt, struct fs **out)
{
    struct fs *fs = fs_alloc(opt);
    struct volume_claim claim = VOLUME_CLAIM_INIT(fs, url);
    int rc;

    if (!fs)
        return -ENOMEM;
    rc = volume_open_store(fs, url, false);
    if (rc == -ENOENT)
        rc = err_set(rc, "there is no volume at %s; 'shalefs format %s' makes one", url, url);
    if (rc == 0)
        rc = look(fs, url, &claim);
    if (rc == 0)
        chunk_cache_set_limit(&fs->chunks, opt->read_ahead_bytes, fs->volume.chunk_bytes);
    if (rc == 0 && !opt->read_only && volume_is_read_only(&fs->volume))
        rc = err_set(-EROFS, "%s has features that this version can read but not write: mount it with -o ro", url);
    if (rc == 0)
        rc = opt->read_only ? open_reader(fs) : open_writer(fs, &claim);
    volume_claim_fini(&claim);
    if (rc < 0) {
        follow_close(fs);
        (void)shale_db_close(fs->db, SHALE_CLOSE_ABANDON); /* rc says why we failed */
        fs_free(fs);
        return rc;
    }
    *out = fs;
    return 0;
}

/* Handles that the kernel never closed: their files go as at a last close. */
static void reclaim_open(struct fs *fs)
{
    for (size_t b = 0; b < fs->inodes.n_buckets; b++) {
        list_for_each(n, &fs->inodes.buckets[b]) {
            struct inode *i = list_entry(n, struct inode, link);

            if (S_ISREG(i->rec.mode) && i->rec.nlink == 0 && !i->gone)
                (void)orphan_reclaim(fs, i); /* what fails here, the next mount does */
        }
    }
}

/*
 * Threads end before the last writeback, so that nobody makes new changes behind it. The session goes last, and only
 * when everything is in the store: one that stays tells the next mount that this one ended badly.
 */
int fs_close(struct fs *fs)
{
    const struct cancel *mine = cancel_set(fs_token(fs));
    struct shale_db_status st = { .error = 0 };
    int rc = 0, close_rc;

    chunk_cache_stop(&fs->chunks);
    if (!fs->opt.read_only) {
        space_stop(fs);
        committer_stop(fs);
        reclaim_open(fs);
        rc = file_data_writeback_all(fs);
    }
    if (fs->db)
        shale_db_status(fs->db, &st);
    follow_close(fs);
    /* Where data of one file cannot be handed over, everything else still goes. */
    close_rc = shale_db_close(fs->db, fs->opt.read_only ? SHALE_CLOSE_ABANDON : SHALE_CLOSE_FLUSH);
    if (rc == 0 || fs_error(fs) < 0)
        rc = rc < 0 ? fs_error(fs) : close_rc;
    /* Who took the volume over has removed our session; nothing that changes the store comes from a fenced mount. */
    if (!fs->opt.read_only && rc == 0 && st.error != SHALE_EFENCED)
        rc = session_remove(fs->patient, fs->path, fs->session.id);
    (void)cancel_set(mine);
    fs_free(fs);
    return rc;
}

bool fs_session_id(struct fs *fs, char out[SHALE_ULID_TEXT_LEN + 1])
{
    if (!fs->opt.read_only)
        ulid_format(fs->session.id, out);
    return !fs->opt.read_only;
}

/* What is written while this runs may or may not be in it. */
int fs_sync(struct fs *fs)
{
    int rc = fs->opt.read_only ? 0 : file_data_writeback_all(fs);

    if (rc == 0)
        rc = volume_commit(fs);
    return fserr(rc);
}

/* A bucket has no end; these make df show something sensible. */
#define STATFS_BLOCK 4096u
#define STATFS_BYTES (1ull << 50)
#define STATFS_FILES (1ull << 40)

int fs_statfs(struct fs *fs, struct fs_statfs *out)
{
    uint64_t inodes, bytes;
    int rc = 0;

    if (atomic_exchange_explicit(&fs->counters_stale, false, memory_order_acq_rel))
        rc = load_sums(fs);
    if (rc < 0) {
        atomic_store_explicit(&fs->counters_stale, true, memory_order_release);
        return fserr(rc);
    }
    mutex_lock(&fs->counters_mu);
    inodes = fs->counters[FS_COUNT_INODES] > 0 ? (uint64_t)fs->counters[FS_COUNT_INODES] : 0;
    bytes = fs->counters[FS_COUNT_BYTES] > 0 ? (uint64_t)fs->counters[FS_COUNT_BYTES] : 0;
    mutex_unlock(&fs->counters_mu);
    *out = (struct fs_statfs){ .block_bytes = STATFS_BLOCK, .files_free = STATFS_FILES, .files = STATFS_FILES + inodes };
    out->blocks = (STATFS_BYTES + bytes) / STATFS_BLOCK;
    out->blocks_free = STATFS_BYTES / STATFS_BLOCK;
    return 0;
}

struct shale_metrics *fs_metrics(struct fs *fs)
{
    return fs->reader ? shale_reader_metrics(fs->reader) : shale_db_metrics(fs->db);
}

static void reader_status(struct shale_reader *r, struct shale_db_status *out)
{
    struct shale_reader_status st;

    shale_reader_status(r, &st);
    *out = (struct shale_db_status){
        .error = st.error,
        .committed_seq = st.seq,
        .durable_seq = st.seq,
        .manifest_id = st.manifest_id,
        .next_wal_id = st.next_wal_id,
        .n_memtables = st.n_tables,
        .unflushed_bytes = st.table_bytes,
        .cache_bytes = st.cache_bytes,
        .cache_hits = st.cache_hits,
        .cache_misses = st.cache_misses,
    };
}

struct fs_requests *fs_requests_of(struct fs *fs)
{
    return fs->opt.requests;
}

void fs_engine_status(struct fs *fs, struct shale_db_status *out)
{
    if (fs->reader)
        reader_status(fs->reader, out);
    else
        shale_db_status(fs->db, out);
}
