/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "fs/core/chunks.h"
#include "fs/core/file_data.h"

#include <errno.h>

/* Parts of a read that are not dirty, in file order. */
struct gap {
    uint64_t offset;
    size_t len;
};

struct gaps {
    struct gap *v;
    size_t n, cap;
};

static int gap_add(void *arg, uint64_t offset, size_t len)
{
    struct gaps *g = arg;

    if (vec_reserve(&g->v, &g->cap, g->n + 1, sizeof(*g->v)) < 0)
        return -ENOMEM;
    g->v[g->n++] = (struct gap){ offset, len };
    return 0;
}

/* Frames are made by no writer of this version. */
static int refuse_frame(void *arg, const struct extent *part, uint8_t *dst)
{
    (void)part, (void)dst;
    return err_set(SHALE_ECORRUPT, "inode %llu: its data refers to a segment, which this version does not read",
                   (unsigned long long)((struct inode *)arg)->ino);
}

/* Bytes of one chunk, as the engine has them; an empty value is a hole. */
static int read_chunk(struct fs *fs, struct inode *i, uint64_t chunk, uint32_t offset, uint8_t *out, uint32_t len)
{
    struct file_chunk *c;
    struct shale_slice value;
    int rc = chunk_cache_get(fs, i, chunk, &c);

    if (rc < 0)
        return rc;
    value = file_chunk_value(c);
    if (value.len == 0)
        memset(out, 0, len);
    else
        rc = extent_read(value, offset, out, len, refuse_frame, i);
    chunk_cache_put(fs, c);
    return rc;
}

/* What no chunk has is a hole, so all of it is written. */
static int read_stored(struct fs *fs, struct inode *i, uint64_t offset, uint8_t *out, size_t len)
{
    uint32_t chunk_bytes = fs->volume.chunk_bytes;

    while (len > 0) {
        uint32_t from = (uint32_t)(offset % chunk_bytes);
        uint32_t n = len < chunk_bytes - from ? (uint32_t)len : chunk_bytes - from;
        int rc = read_chunk(fs, i, offset / chunk_bytes, from, out, n);

        if (rc < 0)
            return rc;
        offset += n;
        out += n;
        len -= n;
    }
    return 0;
}

/*
 * What is dirty is copied first and the rest read afterwards, without the lock: data that is handed over in between is
 * already here. *gaps is what is left to read.
 */
static int read_dirty(struct inode *i, uint64_t offset, uint8_t *out, size_t *len, struct gaps *gaps)
{
    struct gaps newest = { 0 };
    int rc = 0;

    mutex_lock(&i->mu);
    if (offset >= i->size)
        *len = 0;
    else if (*len > i->size - offset)
        *len = (size_t)(i->size - offset);
    if (*len > 0)
        rc = dirty_read(&i->dirty, offset, out, *len, gap_add, &newest);
    for (size_t k = 0; rc == 0 && k < newest.n; k++)
        rc = dirty_read(&i->flushing, newest.v[k].offset, out + (newest.v[k].offset - offset), newest.v[k].len, gap_add,
                        gaps);
    mutex_unlock(&i->mu);
    mem_free(newest.v);
    return rc;
}

/*
 * The order of looks is that of the data's way, from dirty over flushing to the engine: what moves on in between is
 * met again further down, and never missed.
 */
ssize_t file_data_read(struct fs *fs, struct inode *i, uint64_t offset, uint8_t *out, size_t len)
{
    struct gaps gaps = { 0 };
    int rc = read_dirty(i, offset, out, &len, &gaps);

    for (size_t k = 0; rc == 0 && k < gaps.n; k++)
        rc = read_stored(fs, i, gaps.v[k].offset, out + (gaps.v[k].offset - offset), gaps.v[k].len);
    mem_free(gaps.v);
    return rc < 0 ? rc : (ssize_t)len;
}
