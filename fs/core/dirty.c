/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/dirty.h"

#include "base/alloc.h"

#include <errno.h>
#include <string.h>

/* Appends grow an extent by doubling from here, so that a file written in small pieces is copied few times. */
#define EXTENT_CAP_MIN 256u

void dirty_init(struct dirty *d, uint32_t chunk_bytes)
{
    *d = (struct dirty){ .chunk_bytes = chunk_bytes };
}

static void chunk_fini(struct dirty_chunk *c)
{
    for (size_t i = 0; i < c->n; i++)
        mem_free(c->ext[i].data);
    mem_free(c->ext);
}

void dirty_fini(struct dirty *d)
{
    for (size_t i = 0; i < d->n; i++)
        chunk_fini(&d->chunks[i]);
    mem_free(d->chunks);
    dirty_init(d, d->chunk_bytes);
}

static inline uint32_t ext_end(const struct dirty_extent *e)
{
    return e->offset + e->len;
}

/* Position of the first chunk whose index is at least index. */
static size_t chunk_lower_bound(const struct dirty *d, uint64_t index)
{
    size_t lo = 0, hi = d->n;

    /* Files are mostly written from front to back. */
    if (hi > 0 && d->chunks[hi - 1].index < index)
        return hi;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (d->chunks[mid].index < index)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Position of the first extent that ends behind offset. */
static size_t ext_lower_bound(const struct dirty_chunk *c, uint32_t offset)
{
    size_t lo = 0, hi = c->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (ext_end(&c->ext[mid]) <= offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int chunk_get(struct dirty *d, uint64_t index, struct dirty_chunk **out)
{
    size_t i = chunk_lower_bound(d, index);

    if (i == d->n || d->chunks[i].index != index) {
        if (vec_reserve(&d->chunks, &d->cap, d->n + 1, sizeof(*d->chunks)) < 0)
            return -ENOMEM;
        memmove(&d->chunks[i + 1], &d->chunks[i], (d->n - i) * sizeof(*d->chunks));
        d->chunks[i] = (struct dirty_chunk){ .index = index };
        d->n++;
    }
    *out = &d->chunks[i];
    return 0;
}

/* The caller has taken its bytes off the sum, or there are none. */
static void chunk_remove(struct dirty *d, size_t i)
{
    chunk_fini(&d->chunks[i]);
    memmove(&d->chunks[i], &d->chunks[i + 1], (d->n - i - 1) * sizeof(*d->chunks));
    d->n--;
}

/* The sums of the chunk and of the file move together, at every place where an extent grows, shrinks or goes. */
static void count(struct dirty *d, struct dirty_chunk *c, int64_t delta)
{
    c->bytes = (uint64_t)((int64_t)c->bytes + delta);
    d->bytes = (uint64_t)((int64_t)d->bytes + delta);
}

/* There is room for it. */
static void ext_insert(struct dirty_chunk *c, size_t i, struct dirty_extent e)
{
    memmove(&c->ext[i + 1], &c->ext[i], (c->n - i) * sizeof(*c->ext));
    c->ext[i] = e;
    c->n++;
}

static void ext_remove(struct dirty_chunk *c, size_t i)
{
    mem_free(c->ext[i].data);
    memmove(&c->ext[i], &c->ext[i + 1], (c->n - i - 1) * sizeof(*c->ext));
    c->n--;
}

/* Drop the first n bytes of an extent. */
static void ext_trim_front(struct dirty_extent *e, uint32_t n)
{
    memmove(e->data, e->data + n, e->len - n);
    e->offset += n;
    e->len -= n;
}

/* Make from..to-1 free of extents. None reaches over both ends, so none is split and this cannot fail. */
static void chunk_clear(struct dirty *d, struct dirty_chunk *c, uint32_t from, uint32_t to)
{
    size_t i = ext_lower_bound(c, from);

    if (i < c->n && c->ext[i].offset < from) {
        count(d, c, -(int64_t)(ext_end(&c->ext[i]) - from));
        c->ext[i].len = from - c->ext[i].offset;
        i++;
    }
    while (i < c->n && ext_end(&c->ext[i]) <= to) {
        count(d, c, -(int64_t)c->ext[i].len);
        ext_remove(c, i);
    }
    if (i < c->n && c->ext[i].offset < to) {
        uint32_t n = to - c->ext[i].offset;

        ext_trim_front(&c->ext[i], n);
        count(d, c, -(int64_t)n);
    }
}

/* max is what the extent can have at most within its chunk: doubling must not take more memory than that. */
static int ext_reserve(struct dirty_extent *e, uint32_t len, uint32_t max)
{
    uint32_t cap = e->cap ? e->cap : EXTENT_CAP_MIN;
    uint8_t *p;

    if (len <= e->cap)
        return 0;
    while (cap < len)
        cap *= 2;
    if (cap > max)
        cap = max;
    p = mem_realloc(e->data, cap);
    if (!p)
        return -ENOMEM;
    e->data = p;
    e->cap = cap;
    return 0;
}

/* The extent that bytes at from continue: it ends there, or does once what is behind from is cleared. NULL: none. */
static struct dirty_extent *ext_continued(struct dirty_chunk *c, size_t i, uint32_t from)
{
    if (i < c->n && c->ext[i].offset < from)
        return &c->ext[i];
    return i > 0 && ext_end(&c->ext[i - 1]) == from ? &c->ext[i - 1] : NULL;
}

/* An extent of its own. Two that touch stay apart when the later one came first; the encoder makes one of them. */
static int chunk_insert(struct dirty *d, struct dirty_chunk *c, uint32_t from, const uint8_t *data, uint32_t len)
{
    struct dirty_extent e = { .offset = from, .len = len, .cap = len };

    if (vec_reserve(&c->ext, &c->cap, c->n + 1, sizeof(*c->ext)) < 0)
        return -ENOMEM;
    e.data = mem_dup(data, len);
    if (!e.data)
        return -ENOMEM;
    chunk_clear(d, c, from, from + len);
    ext_insert(c, ext_lower_bound(c, from), e);
    count(d, c, len);
    return 0;
}

/* Memory is found first: what lies there stays when there is none. */
static int chunk_write(struct dirty *d, struct dirty_chunk *c, uint32_t from, const uint8_t *data, uint32_t len)
{
    size_t i = ext_lower_bound(c, from);
    struct dirty_extent *left;
    uint32_t end = from + len;

    if (i < c->n && c->ext[i].offset <= from && ext_end(&c->ext[i]) >= end) {
        memcpy(c->ext[i].data + (from - c->ext[i].offset), data, len);
        return 0;
    }
    left = ext_continued(c, i, from);
    if (!left)
        return chunk_insert(d, c, from, data, len);
    if (ext_reserve(left, end - left->offset, d->chunk_bytes - left->offset) < 0)
        return -ENOMEM;
    chunk_clear(d, c, from, end);
    memcpy(left->data + left->len, data, len);
    left->len += len;
    count(d, c, len);
    return 0;
}

/*
 * A chunk that was made for bytes for which there was no memory goes again: chunks are never empty, which writeback
 * relies on.
 */
size_t dirty_write(struct dirty *d, uint64_t offset, const void *data, size_t len)
{
    const uint8_t *p = data;
    size_t done = 0;

    while (done < len) {
        uint64_t index = (offset + done) / d->chunk_bytes;
        uint32_t from = (uint32_t)((offset + done) % d->chunk_bytes);
        uint32_t n = len - done < d->chunk_bytes - from ? (uint32_t)(len - done) : d->chunk_bytes - from;
        struct dirty_chunk *c;

        if (chunk_get(d, index, &c) < 0)
            break;
        if (chunk_write(d, c, from, p + done, n) < 0) {
            if (c->n == 0)
                chunk_remove(d, (size_t)(c - d->chunks));
            break;
        }
        done += n;
    }
    return done;
}

/* The chunk of the cut first, which stays if something is left in it; then all behind it, from the back. */
void dirty_truncate(struct dirty *d, uint64_t size)
{
    uint32_t cut = (uint32_t)(size % d->chunk_bytes);
    size_t i = chunk_lower_bound(d, size / d->chunk_bytes);

    if (i < d->n && cut > 0 && d->chunks[i].index == size / d->chunk_bytes) {
        chunk_clear(d, &d->chunks[i], cut, d->chunk_bytes);
        if (d->chunks[i].n > 0)
            i++;
    }
    while (i < d->n) {
        d->bytes -= d->chunks[d->n - 1].bytes;
        chunk_remove(d, d->n - 1);
    }
}

/* The part of one chunk: from..from+len-1 of chunk index; c is NULL when nothing of it is dirty. */
static int read_chunk(const struct dirty *d, const struct dirty_chunk *c, uint64_t index, uint32_t from, uint8_t *out,
                      uint32_t len, dirty_gap_fn gap, void *arg)
{
    uint64_t base = index * d->chunk_bytes;
    uint32_t pos = from, end = from + len;
    size_t i = c ? ext_lower_bound(c, from) : 0;

    while (pos < end) {
        const struct dirty_extent *e = c && i < c->n && c->ext[i].offset < end ? &c->ext[i] : NULL;
        uint32_t stop = e ? e->offset : end;

        if (pos < stop) {
            int rc = gap ? gap(arg, base + pos, stop - pos) : 0;

            if (rc != 0)
                return rc;
            pos = stop;
        }
        if (e) {
            stop = ext_end(e) < end ? ext_end(e) : end;
            memcpy(out + (pos - from), e->data + (pos - e->offset), stop - pos);
            pos = stop;
            i++;
        }
    }
    return 0;
}

/* Chunk by chunk, as the gaps are asked for. */
int dirty_read(const struct dirty *d, uint64_t offset, uint8_t *out, size_t len, dirty_gap_fn gap, void *arg)
{
    while (len > 0) {
        uint64_t index = offset / d->chunk_bytes;
        uint32_t from = (uint32_t)(offset % d->chunk_bytes);
        uint32_t n = len < d->chunk_bytes - from ? (uint32_t)len : d->chunk_bytes - from;
        size_t i = chunk_lower_bound(d, index);
        const struct dirty_chunk *c = i < d->n && d->chunks[i].index == index ? &d->chunks[i] : NULL;
        int rc = read_chunk(d, c, index, from, out, n, gap, arg);

        if (rc != 0)
            return rc;
        offset += n;
        out += n;
        len -= n;
    }
    return 0;
}

uint64_t dirty_end(const struct dirty *d)
{
    const struct dirty_chunk *c = d->n ? &d->chunks[d->n - 1] : NULL;

    return c && c->n ? c->index * d->chunk_bytes + ext_end(&c->ext[c->n - 1]) : 0;
}

/* newer is freed at the end only, so that what failed can be done once more, with the same result. */
int dirty_merge(struct dirty *d, struct dirty *newer)
{
    for (size_t i = 0; i < newer->n; i++) {
        const struct dirty_chunk *c = &newer->chunks[i];

        for (size_t k = 0; k < c->n; k++) {
            const struct dirty_extent *e = &c->ext[k];

            if (dirty_write(d, c->index * d->chunk_bytes + e->offset, e->data, e->len) < e->len)
                return -ENOMEM;
        }
    }
    dirty_fini(newer);
    return 0;
}
