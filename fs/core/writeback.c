/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/clock.h"
#include "fs/core/chunks.h"
#include "fs/core/file_data.h"
#include "fs/core/txn.h"

#include <assert.h>
#include <errno.h>

/* A chunk that has got so many operands in a row is written whole, so that reading it stays cheap. */
#define TAIL_OPERANDS_MAX 64u

/* The sum over the volume is a limit and no more, so it need not be exact at any moment: relaxed. */
static void account(struct fs *fs, uint64_t before, uint64_t after)
{
    atomic_fetch_add_explicit(&fs->dirty_bytes, after - before, memory_order_relaxed);
}

static uint64_t unwritten_locked(const struct inode *i)
{
    return i->dirty.bytes + i->flushing.bytes;
}

/* ---- taking written bytes ---- */

/*
 * Listed once, at the place of the first change: what is dirty longest is written first. The list holds a reference,
 * so that an inode with data outlives its last close.
 */
void file_data_list(struct fs *fs, struct inode *i)
{
    mutex_lock(&fs->dirty_mu);
    if (!i->on_dirty_list) {
        i->on_dirty_list = true;
        i->dirty_seq = ++fs->dirty_seq;
        list_append(&fs->dirty_list, &i->dirty_link);
        inode_ref(fs, i);
    }
    mutex_unlock(&fs->dirty_mu);
}

/* Hand data over before more is taken, so that a failure leaves the caller with nothing written. */
static int make_room(struct fs *fs, struct inode *i)
{
    bool full;

    mutex_lock(&i->mu);
    full = unwritten_locked(i) >= FS_BATCH_BYTES ||
           atomic_load_explicit(&fs->dirty_bytes, memory_order_relaxed) > fs->opt.dirty_max_bytes;
    mutex_unlock(&i->mu);
    return full ? file_data_writeback_unlocked(fs, i) : 0;
}

/*
 * A write takes no op lock and never reads: it lays bytes over what is dirty, whatever a writeback is doing with what
 * was dirty before. Nothing is durable yet. It waits only when too much is unwritten, and then for its own file's data
 * to be handed over.
 */
ssize_t file_data_write(struct fs *fs, struct inode *i, uint64_t offset, const void *data, size_t len)
{
    uint64_t before;
    int rc;

    if (offset > FS_SIZE_MAX || len > FS_SIZE_MAX - offset)
        return -EFBIG;
    if (len == 0)
        return 0;
    rc = volume_alive(fs);
    if (rc == 0)
        rc = make_room(fs, i);
    if (rc < 0)
        return rc;
    mutex_lock(&i->mu);
    before = unwritten_locked(i);
    len = dirty_write(&i->dirty, offset, data, len);
    account(fs, before, unwritten_locked(i));
    if (len > 0) {
        if (offset > i->size)
            i->hole_ahead = true;
        if (offset + len > i->size)
            i->size = offset + len;
        i->mtime_ns = i->ctime_ns = clock_wall_ns();
        i->mtime_ahead = i->ctime_ahead = true;
    }
    mutex_unlock(&i->mu);
    if (len == 0)
        return -ENOMEM;
    file_data_list(fs, i);
    return (ssize_t)len;
}

/* ---- handing them over ---- */

/* One batch under construction. op and rec say the same: what the batch makes of the inode. */
struct writeback {
    struct fs *fs;
    struct inode *i;
    struct txn t;
    struct shale_buf value; /* of the chunk at hand; kept, as it grows to the size of a chunk */
    struct inode_rec rec;
    struct inode_op times; /* set by each batch */
    uint64_t end;          /* behind the data of this and earlier batches */
    int64_t blocks;        /* difference that sparse chunks of this batch make */
    bool sparse;
};

/* Borrowed: the bytes of flushing neither move nor change while the batch is made. */
static int chunk_extents(const struct dirty_chunk *c, struct extent_list *out)
{
    extent_list_clear(out);
    for (size_t k = 0; k < c->n; k++) {
        int rc = extent_list_add_inline(out, c->ext[k].offset, c->ext[k].data, c->ext[k].len);

        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Lay the extents over what the engine has of the chunk. *blocks: what that adds. out borrows from both and stored. */
static int overlay_stored(struct writeback *w, uint64_t chunk, const struct extent_list *upper, struct shale_buf *stored,
                          struct extent_list *lower, struct extent_list *out, int64_t *blocks)
{
    int rc = chunk_load(w->fs, w->i->ino, inode_gen_for_chunk(&w->rec, chunk), chunk, stored);

    if (rc == 0 && stored->len > 0)
        rc = extent_list_decode(slice_of_buf(stored), lower);
    if (rc == 0)
        rc = extent_overlay(lower, upper, out);
    if (rc == 0)
        *blocks = (int64_t)blocks_for(extent_data_bytes(out, 0, UINT32_MAX)) -
                  (int64_t)blocks_for(extent_data_bytes(lower, 0, UINT32_MAX));
    return rc;
}

/* A chunk that is appended to in small pieces: whether this one is to be written whole. */
static bool is_due_whole(struct inode *i, uint64_t chunk)
{
    if (i->tail_chunk != chunk || i->tail_operands == 0) {
        i->tail_chunk = chunk;
        i->tail_operands = 0;
    }
    if (++i->tail_operands <= TAIL_OPERANDS_MAX)
        return false;
    i->tail_operands = 0;
    return true;
}

/*
 * One chunk of the batch, in one of three forms:
 *   all of it is dirty            a value, which hides what lies below
 *   a part, as ordinary           a merge operand, without looking at what is there
 *   a part, and due to be whole   a value of what is there with the part laid over it
 * The blocks of a file with holes are known only from what is there, so such a file is read, too.
 */
static int add_chunk(struct writeback *w, const struct dirty_chunk *c)
{
    struct extent_list upper = EXTENT_LIST_INIT, lower = EXTENT_LIST_INIT, whole = EXTENT_LIST_INIT;
    struct shale_buf stored = SHALE_BUF_INIT;
    bool covers = c->bytes == w->fs->volume.chunk_bytes;
    bool write_whole = !covers && is_due_whole(w->i, c->index);
    const struct extent_list *list = &upper;
    struct fs_key key;
    int64_t blocks = 0;
    int rc = chunk_extents(c, &upper);

    if (rc == 0 && (write_whole || w->sparse))
        rc = overlay_stored(w, c->index, &upper, &stored, &lower, &whole, &blocks);
    if (write_whole)
        list = &whole;
    buf_clear(&w->value);
    if (rc == 0)
        rc = extent_list_encode(list, covers || write_whole ? EXTENT_VALUE : EXTENT_OPERAND, &w->value);
    if (rc == 0) {
        fs_key_chunk(&key, w->i->ino, inode_gen_for_chunk(&w->rec, c->index), c->index);
        if (covers || write_whole)
            txn_put(&w->t, &key, slice_of_buf(&w->value));
        else
            txn_merge(&w->t, &key, slice_of_buf(&w->value));
        if (w->sparse)
            w->blocks += blocks;
        rc = w->t.rc;
    }
    extent_list_fini(&upper);
    extent_list_fini(&lower);
    extent_list_fini(&whole);
    shale_buf_fini(&stored);
    return rc;
}

/* Whether chunks from..to-1 leave a hole between the file's end and their data, or among them. */
static bool makes_holes(const struct writeback *w, const struct dirty *d, size_t from, size_t to)
{
    uint64_t end = w->rec.size;

    for (size_t k = from; k < to; k++) {
        for (size_t e = 0; e < d->chunks[k].n; e++) {
            uint64_t start = d->chunks[k].index * d->chunk_bytes + d->chunks[k].ext[e].offset;

            if (start > end)
                return true;
            if (start + d->chunks[k].ext[e].len > end)
                end = start + d->chunks[k].ext[e].len;
        }
    }
    return false;
}

/*
 * Data, size and times are one batch: after a crash the size never reaches beyond the data. The size goes up to the
 * end of this batch only, which need not be the end of the file.
 */
static int commit_batch(struct writeback *w)
{
    struct inode_op op = w->times;
    int rc;

    op.size_max = w->end;
    op.flags = w->sparse ? INODE_HAS_HOLES : 0;
    op.blocks = w->blocks;
    if (!w->sparse)
        op.blocks = (int64_t)blocks_for(w->end > w->rec.size ? w->end : w->rec.size) - (int64_t)w->rec.blocks;
    rc = inode_op_apply(&w->rec, &op);
    if (rc < 0)
        return rc;
    txn_merge_inode(&w->t, w->i->ino, &op);
    txn_count(&w->t, FS_COUNT_BYTES, op.blocks * 512);
    rc = txn_commit(&w->t);
    txn_reset(&w->t);
    w->blocks = 0;
    return rc;
}

/*
 * Chunks from..to-1 in one batch. w->rec becomes the inode's record only after the commit, and is copied from it for
 * the next batch. Holes are found by looking at where data begins, before anything is written.
 */
static int write_batch(struct writeback *w, size_t from, size_t to)
{
    int rc = 0;

    w->sparse = (w->rec.flags & INODE_HAS_HOLES) || makes_holes(w, &w->i->flushing, from, to);
    for (size_t k = from; rc == 0 && k < to; k++) {
        const struct dirty_chunk *c = &w->i->flushing.chunks[k];

        rc = add_chunk(w, c);
        w->end = c->index * w->i->flushing.chunk_bytes + c->ext[c->n - 1].offset + c->ext[c->n - 1].len;
    }
    if (rc == 0)
        rc = commit_batch(w);
    if (rc < 0)
        return rc;
    /* What was handed over is settled, whatever comes: writing it again would change nothing. */
    inode_take_rec(w->i, &w->rec);
    return inode_rec_copy(&w->rec, &w->i->rec);
}

/* Ascending, and each small enough to be a fraction of a memtable and of a WAL object. */
static int write_batches(struct writeback *w)
{
    const struct dirty *d = &w->i->flushing;
    size_t from = 0;
    int rc = d->n == 0 ? write_batch(w, 0, 0) : 0; /* only a time was touched */

    while (rc == 0 && from < d->n) {
        uint64_t bytes = 0;
        size_t to = from;

        while (to < d->n && (to == from || bytes + d->chunks[to].bytes <= FS_BATCH_BYTES))
            bytes += d->chunks[to++].bytes;
        rc = write_batch(w, from, to);
        from = to;
    }
    return rc;
}

/* Only those that write or read has moved: an operand for others would take back what utimens has set meanwhile. */
static struct inode_op times_ahead(const struct inode *i)
{
    return (struct inode_op){
        .set = (i->mtime_ahead ? INODE_OP_MTIME : 0) | (i->ctime_ahead ? INODE_OP_CTIME : 0) |
               (i->atime_ahead ? INODE_OP_ATIME : 0),
        .mtime_ns = i->mtime_ahead ? i->mtime_ns : 0,
        .ctime_ns = i->ctime_ahead ? i->ctime_ns : 0,
        .atime_ns = i->atime_ahead ? i->atime_ns : 0,
    };
}

/* Move what is dirty to flushing, and the times that go with it to w. 0, 1 when there is nothing, or -ENOMEM. */
static int begin_locked(struct writeback *w)
{
    struct inode *i = w->i;

    if (i->dirty.bytes > 0 && i->flushing.bytes > 0) {
        if (dirty_merge(&i->flushing, &i->dirty) < 0)
            return -ENOMEM;
    } else if (i->dirty.bytes > 0) {
        struct dirty empty = i->flushing;

        i->flushing = i->dirty;
        i->dirty = empty;
    }
    if (i->flushing.bytes == 0 && !i->atime_ahead)
        return 1;
    if (inode_rec_copy(&w->rec, &i->rec) < 0)
        return -ENOMEM;
    w->times = times_ahead(i);
    i->mtime_ahead = i->ctime_ahead = i->atime_ahead = false;
    return 0;
}

/*
 * After a failure flushing stays and is laid under what was written since at the next attempt (begin_locked); the
 * times are marked again, and are by then those of the newest write. Chunks in memory are dropped in both cases: some
 * batches may have gone in.
 */
static void end_locked(struct writeback *w, int rc)
{
    struct inode *i = w->i;
    uint64_t before = unwritten_locked(i);

    chunk_cache_drop_locked(w->fs, i);
    if (rc == 0) {
        dirty_fini(&i->flushing);
        i->hole_ahead = i->hole_ahead && i->dirty.bytes > 0;
    } else {
        i->mtime_ahead |= (w->times.set & INODE_OP_MTIME) != 0;
        i->ctime_ahead |= (w->times.set & INODE_OP_CTIME) != 0;
        i->atime_ahead |= (w->times.set & INODE_OP_ATIME) != 0;
    }
    account(w->fs, before, unwritten_locked(i));
}

/*
 * The inode's mutex is held while dirty becomes flushing and at the end, and not while batches are made and committed:
 * reads and writes go on. The op lock, which the caller has, keeps a second writeback and changes of the record away.
 */
int file_data_writeback(struct fs *fs, struct inode *i)
{
    struct writeback w = { .fs = fs, .i = i };
    uint64_t before;
    int rc;

    inode_rec_init(&w.rec);
    mutex_lock(&i->mu);
    before = unwritten_locked(i);
    rc = i->gone ? 1 : begin_locked(&w);
    account(fs, before, unwritten_locked(i));
    mutex_unlock(&i->mu);
    if (rc == 0) {
        txn_init(&w.t, fs);
        rc = write_batches(&w);
        txn_fini(&w.t);
        shale_buf_fini(&w.value);
        mutex_lock(&i->mu);
        end_locked(&w, rc);
        mutex_unlock(&i->mu);
    }
    inode_rec_fini(&w.rec);
    return rc < 0 ? rc : 0;
}

int file_data_writeback_unlocked(struct fs *fs, struct inode *i)
{
    int rc = inode_take(i);

    if (rc < 0)
        return rc;
    rc = file_data_writeback(fs, i);
    inode_unlock(i);
    return rc;
}

/* gone, under the mutex and with the data: whoever looks later finds neither a row nor bytes. */
void file_data_drop(struct fs *fs, struct inode *i)
{
    mutex_lock(&i->mu);
    account(fs, unwritten_locked(i), 0);
    dirty_fini(&i->dirty);
    dirty_fini(&i->flushing);
    chunk_cache_drop_locked(fs, i);
    i->gone = true;
    mutex_unlock(&i->mu);
}

/* Take the first inode off the list, if it was listed by the time of last. */
static struct inode *next_dirty(struct fs *fs, uint64_t last)
{
    struct inode *i = NULL;

    mutex_lock(&fs->dirty_mu);
    if (!list_empty(&fs->dirty_list)) {
        i = list_entry(fs->dirty_list.next, struct inode, dirty_link);
        if (i->dirty_seq > last) {
            i = NULL;
        } else {
            list_remove(&i->dirty_link);
            i->on_dirty_list = false;
        }
    }
    mutex_unlock(&fs->dirty_mu);
    return i;
}

/* What is written meanwhile waits for the next time, or writers would keep this busy for ever. */
static int write_listed(struct fs *fs)
{
    struct inode *i;
    uint64_t last;
    int rc = 0;

    mutex_lock(&fs->dirty_mu);
    last = fs->dirty_seq;
    mutex_unlock(&fs->dirty_mu);
    while ((i = next_dirty(fs, last)) != NULL) {
        int one = file_data_writeback_unlocked(fs, i);

        if (one < 0) {
            /* Every other one would fail alike; this one and they stay for the next attempt. */
            rc = one;
            file_data_list(fs, i);
        }
        inode_put(fs, i);
        if (rc < 0)
            break;
    }
    return rc;
}

/*
 * One at a time: a second caller, fsync of the root for instance, must not return while the first has inodes off the
 * list that are not yet handed over.
 */
int file_data_writeback_all(struct fs *fs)
{
    int rc = oplock_take(&fs->sweep);

    if (rc < 0)
        return rc;
    rc = write_listed(fs);
    oplock_unlock(&fs->sweep);
    return rc;
}
