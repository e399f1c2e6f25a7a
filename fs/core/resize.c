/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "fs/core/chunks.h"
#include "fs/core/file_data.h"
#include "fs/core/txn.h"

#include <assert.h>
#include <errno.h>

/*
 * How a file is cut (design: one row): chunks that go whole get another generation in the record, under which nothing
 * is stored yet. Of the chunk in which the cut lies a hole is laid over the rest, so that old bytes do not come back
 * when the file grows.
 */
static void lay_hole(struct txn *t, uint64_t ino, const struct inode_rec *rec, uint64_t chunk, uint32_t from, uint32_t to)
{
    struct extent_list hole = EXTENT_LIST_INIT;
    struct shale_buf operand = SHALE_BUF_INIT;
    struct fs_key key;
    int rc = extent_list_add_hole(&hole, from, to - from);

    if (rc == 0)
        rc = extent_list_encode(&hole, EXTENT_OPERAND, &operand);
    txn_fail(t, rc);
    fs_key_chunk(&key, ino, inode_gen_for_chunk(rec, chunk), chunk);
    if (rc == 0)
        txn_merge(t, &key, slice_of_buf(&operand));
    extent_list_fini(&hole);
    shale_buf_fini(&operand);
}

struct lost {
    uint64_t first_chunk;
    uint32_t cut; /* bytes of the first chunk that stay */
    uint64_t blocks;
};

/* The chunk of the cut keeps what lies before it. */
static int count_lost(void *arg, uint64_t chunk, const struct extent_list *extents)
{
    struct lost *lost = arg;
    uint64_t all = blocks_for(extent_data_bytes(extents, 0, UINT32_MAX));
    uint64_t kept = chunk == lost->first_chunk ? blocks_for(extent_data_bytes(extents, 0, lost->cut)) : 0;

    lost->blocks += all - kept;
    return 0;
}

/* Blocks that are left when a sparse file is cut to size. */
static int sparse_blocks(struct fs *fs, uint64_t ino, const struct inode_rec *rec, uint64_t size, uint64_t *out)
{
    struct lost lost = { .first_chunk = size / fs->volume.chunk_bytes,
                         .cut = (uint32_t)(size % fs->volume.chunk_bytes) };
    int rc = chunks_each(fs, ino, rec, lost.first_chunk, count_lost, &lost);

    if (rc < 0)
        return rc;
    *out = lost.blocks <= rec->blocks ? rec->blocks - lost.blocks : 0;
    return 0;
}

struct hole_maker {
    struct txn *t;
    uint64_t ino;
    const struct inode_rec *rec;
    uint32_t chunk_bytes;
};

static int lay_whole_hole(void *arg, uint64_t chunk, const struct extent_list *extents)
{
    struct hole_maker *m = arg;

    (void)extents;
    lay_hole(m->t, m->ino, m->rec, chunk, 0, m->chunk_bytes);
    return m->t->rc;
}

/*
 * rec becomes the record of the shorter file. The list of generations is short: once it is full, each chunk behind the
 * cut gets a hole of its own, which takes a scan but no more rows than the file has chunks.
 */
static int shrink(struct fs *fs, struct txn *t, uint64_t ino, struct inode_rec *rec, uint64_t size)
{
    uint32_t chunk_bytes = fs->volume.chunk_bytes;
    uint32_t cut = (uint32_t)(size % chunk_bytes);
    uint64_t behind = size / chunk_bytes + (cut > 0); /* the first chunk that goes whole */
    uint64_t end = rec->size / chunk_bytes + (rec->size % chunk_bytes > 0);
    uint64_t blocks = blocks_for(size);
    int rc = 0;

    if (size > 0 && (rec->flags & INODE_HAS_HOLES))
        rc = sparse_blocks(fs, ino, rec, size, &blocks);
    if (rc < 0)
        return rc;
    if (cut > 0)
        lay_hole(t, ino, rec, size / chunk_bytes, cut, chunk_bytes);
    if (behind < end) {
        rc = inode_truncate_gens(rec, behind);
        if (rc == INODE_GENS_FULL) {
            struct hole_maker m = { .t = t, .ino = ino, .rec = rec, .chunk_bytes = chunk_bytes };

            rc = chunks_each(fs, ino, rec, behind, lay_whole_hole, &m);
        }
    }
    if (size == 0)
        rec->flags &= ~(uint32_t)INODE_HAS_HOLES;
    rec->blocks = blocks;
    return rc;
}

/*
 * Extending writes no data: what is missing reads as zeros, and from then on the blocks of the file are counted. What
 * was written after the caller's writeback, behind the cut, is forgotten with it; the kernel keeps writes and
 * truncations of a file apart.
 */
int file_data_set_size(struct fs *fs, struct inode *i, struct inode_rec *rec, uint64_t size)
{
    uint64_t old_blocks = rec->blocks, before;
    struct txn t;
    int rc = 0;

    txn_init(&t, fs);
    if (size < rec->size)
        rc = shrink(fs, &t, i->ino, rec, size);
    else if (size > rec->size)
        rec->flags |= INODE_HAS_HOLES;
    rec->size = size;
    txn_fail(&t, rc);
    txn_put_inode(&t, i->ino, rec);
    txn_count_blocks(&t, old_blocks, rec->blocks);
    rc = txn_commit(&t);
    txn_fini(&t);
    if (rc < 0)
        return rc;
    inode_take_rec(i, rec);
    mutex_lock(&i->mu);
    i->size = size;
    before = i->dirty.bytes;
    dirty_truncate(&i->dirty, size);
    atomic_fetch_sub_explicit(&fs->dirty_bytes, before - i->dirty.bytes, memory_order_relaxed);
    chunk_cache_drop_locked(fs, i);
    mutex_unlock(&i->mu);
    return 0;
}
