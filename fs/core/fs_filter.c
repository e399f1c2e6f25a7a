/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/fs_filter.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "fs/core/extent.h"
#include "fs/core/inode_codec.h"
#include "fs/core/key_codec.h"

#include <errno.h>

/* What the newest version at or below S says of the inode whose rows come now. */
enum verdict {
    NOTHING_SEEN, /* there was none */
    UNDECIDED,    /* it cannot be told from this job's rows */
    REMOVED,
    PRESENT, /* rec is the record */
};

/* One job. */
struct sifter {
    struct fs_filter *filter;
    uint64_t min_seq;
    bool is_last_run;
    uint64_t ino;
    bool has_version; /* of ino, above S or not */
    enum verdict verdict;
    struct inode_rec rec;
    struct shale_buf counted; /* what comes up to this key was counted by the attempt before */
    uint64_t rows, bytes;
};

static int sifter_create(void *ctx, const struct shale_filter_context *job, void **out)
{
    struct sifter *s = mem_zalloc(sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->filter = ctx;
    s->min_seq = job->retention_min_seq;
    s->is_last_run = job->is_last_run;
    inode_rec_init(&s->rec);
    *out = s;
    return 0;
}

static void sifter_destroy(void *arg)
{
    struct sifter *s = arg;

    inode_rec_fini(&s->rec);
    shale_buf_fini(&s->counted);
    mem_free(s);
}

static void enter_inode(struct sifter *s, uint64_t ino)
{
    if (s->ino == ino)
        return;
    s->ino = ino;
    s->has_version = false;
    s->verdict = NOTHING_SEEN;
}

/* A value that is an operand was folded onto a tombstone. One that is neither is left for a check to find. */
static int judge(struct sifter *s, const struct shale_row *row)
{
    struct inode_op op;
    int rc;

    s->verdict = UNDECIDED;
    if (row->kind == SHALE_TOMBSTONE) {
        s->verdict = REMOVED;
    } else if (row->kind == SHALE_PUT && inode_is_record(row->value)) {
        rc = inode_rec_decode(row->value, &s->rec);
        if (rc == -ENOMEM)
            return rc;
        if (rc == 0)
            s->verdict = PRESENT;
    } else if (row->kind == SHALE_PUT && inode_op_decode(row->value, &op) == 0) {
        s->verdict = REMOVED;
    }
    return 0;
}

static bool is_garbage(const struct sifter *s, const struct fs_key_parts *k)
{
    switch (s->verdict) {
    case REMOVED:
        return true;
    case PRESENT:
        return k->kind == FS_KEY_CHUNK && inode_gen_for_chunk(&s->rec, k->chunk) > k->gen;
    case NOTHING_SEEN:
        return s->is_last_run && !s->has_version;
    default:
        return false;
    }
}

/* An estimate, for those who wait for space: bytes of file data, or of a value that is none. */
static void count(struct sifter *s, const struct fs_key_parts *k, const struct shale_row *row)
{
    struct extent_list l = EXTENT_LIST_INIT;

    if (s->counted.len && slice_cmp(row->key, slice_of_buf(&s->counted)) <= 0)
        return;
    s->rows++;
    if (k->kind == FS_KEY_CHUNK && extent_list_decode(row->value, &l) == 0)
        s->bytes += extent_data_bytes(&l, 0, UINT32_MAX);
    else
        s->bytes += row->value.len;
    extent_list_fini(&l);
}

static int sifter_decide(void *arg, const struct shale_row *row, struct shale_buf *new_value)
{
    struct sifter *s = arg;
    struct fs_key_parts k;
    int rc;

    (void)new_value;
    if (row->key.data[0] != 'I' || fs_key_parse(row->key, &k) < 0)
        return SHALE_FILTER_KEEP;
    enter_inode(s, k.ino);
    if (k.kind == FS_KEY_INODE) {
        s->has_version = true;
        rc = row->seq <= s->min_seq && s->verdict == NOTHING_SEEN ? judge(s, row) : 0;
        return rc < 0 ? rc : SHALE_FILTER_KEEP;
    }
    if (row->seq > s->min_seq || row->kind == SHALE_TOMBSTONE || !is_garbage(s, &k))
        return SHALE_FILTER_KEEP;
    count(s, &k, row);
    return SHALE_FILTER_DROP;
}

/* Only what is really written counts: a job that failed earlier than this is done again. */
static int sifter_end(void *arg)
{
    struct sifter *s = arg;

    atomic_fetch_add_explicit(&s->filter->rows, s->rows, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->filter->bytes, s->bytes, memory_order_relaxed);
    return 0;
}

static int sifter_resume_from(void *arg, struct shale_slice after, struct shale_buf *from)
{
    struct sifter *s = arg;
    struct fs_key_parts k;
    struct fs_key first;
    int rc = buf_set(&s->counted, after);

    if (rc < 0)
        return rc;
    if (after.data[0] != 'I' || fs_key_parse(after, &k) < 0)
        return shale_buf_append(from, after.data, after.len);
    fs_key_inode(&first, k.ino);
    return shale_buf_append(from, first.bytes, first.len);
}

void fs_filter_init(struct fs_filter *f)
{
    *f = (struct fs_filter){ .filter = { .ctx = f,
                                         .create = sifter_create,
                                         .decide = sifter_decide,
                                         .end = sifter_end,
                                         .destroy = sifter_destroy,
                                         .resume_from = sifter_resume_from } };
}
