/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/inode_codec.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "fs/core/wire.h"

#include <errno.h>
#include <inttypes.h>

enum { TAG_RECORD = 1, TAG_OPERAND = 2 };

/*
 * A record says in a mask which fields follow. What is rare or zero costs a bit; most files take some forty bytes. The
 * mask is the only one for a record: the decoder refuses others, so that each record has one encoding.
 */
enum {
    REC_CTIME = 1 << 0, /* differs from mtime, as do the next two */
    REC_ATIME = 1 << 1,
    REC_BTIME = 1 << 2,
    REC_SIZE = 1 << 3,
    REC_BLOCKS = 1 << 4,
    REC_GENS = 1 << 5, /* next_gen is not 1 */
    REC_FLAGS = 1 << 6,
    REC_RDEV = 1 << 7,
    REC_PROJECT = 1 << 8,
    REC_ALL = (1 << 9) - 1,
};

enum {
    OP_NLINK = 1 << 0,
    OP_ENTRIES = 1 << 1,
    OP_BLOCKS = 1 << 2,
    OP_SIZE = 1 << 3,
    OP_MTIME = 1 << 4,
    OP_CTIME = 1 << 5,
    OP_ATIME = 1 << 6,
    OP_FLAGS = 1 << 7,
    OP_ALL = (1 << 8) - 1,
};

/* Fields of a record without its lists: generous, to make room once. */
#define REC_FIXED_MAX (1 + 8 + 20 * VARINT64_MAX_LEN)
#define OP_ENCODED_MAX (1 + 8 + 8 * VARINT64_MAX_LEN)

void inode_rec_init(struct inode_rec *rec)
{
    memset(rec, 0, sizeof(*rec));
    rec->next_gen = 1;
}

void inode_rec_fini(struct inode_rec *rec)
{
    mem_free(rec->gens);
    mem_free(rec->target);
    inode_rec_init(rec);
}

/* dst keeps what it has when there is no memory. */
int inode_rec_copy(struct inode_rec *dst, const struct inode_rec *src)
{
    struct inode_rec r = *src;

    r.gens = src->n_gens ? mem_dup(src->gens, src->n_gens * sizeof(*src->gens)) : NULL;
    r.target = src->target ? mem_strdup(src->target) : NULL;
    if ((src->n_gens && !r.gens) || (src->target && !r.target)) {
        inode_rec_fini(&r);
        return -ENOMEM;
    }
    inode_rec_fini(dst);
    *dst = r;
    return 0;
}

static bool type_is_known(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFBLK:
    case S_IFCHR:
    case S_IFIFO:
    case S_IFSOCK:
        return true;
    default:
        return false;
    }
}

/*
 * Chunks ascend and each generation was given out. Generations themselves need not ascend along the list: a cut in
 * front of others drops those and takes a new number.
 */
static bool gens_are_valid(const struct inode_rec *rec)
{
    if (rec->n_gens > INODE_GENS_MAX || rec->next_gen == 0 || (rec->next_gen != 1 && !S_ISREG(rec->mode)))
        return false;
    for (uint32_t i = 0; i < rec->n_gens; i++) {
        if (rec->gens[i].gen >= rec->next_gen)
            return false;
        if (i > 0 && rec->gens[i].first_chunk <= rec->gens[i - 1].first_chunk)
            return false;
    }
    /* With next_gen 1 the list could only repeat the default. */
    return rec->next_gen != 1 || rec->n_gens == 0;
}

/* What holds of every record, encoded or about to be. */
static bool rec_is_valid(const struct inode_rec *rec)
{
    size_t target_len = rec->target ? strlen(rec->target) : 0;

    if (!type_is_known(rec->mode) || rec->mode > (S_IFMT | 07777) || rec->size > FS_SIZE_MAX || !gens_are_valid(rec))
        return false;
    if (S_ISLNK(rec->mode) ? target_len == 0 || target_len > FS_SYMLINK_MAX : rec->target != NULL)
        return false;
    return S_ISDIR(rec->mode) || (rec->parent == 0 && rec->n_entries == 0);
}

/* Differences of times are modulo 2^64, so that no two times are too far apart. */
static int64_t time_diff(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t time_plus(int64_t base, int64_t diff)
{
    return (int64_t)((uint64_t)base + (uint64_t)diff);
}

static unsigned rec_mask(const struct inode_rec *rec)
{
    return (rec->ctime_ns != rec->mtime_ns ? REC_CTIME : 0u) | (rec->atime_ns != rec->mtime_ns ? REC_ATIME : 0u) |
           (rec->btime_ns != rec->mtime_ns ? REC_BTIME : 0u) | (rec->size ? REC_SIZE : 0u) |
           (rec->blocks ? REC_BLOCKS : 0u) | (rec->next_gen != 1 ? REC_GENS : 0u) | (rec->flags ? REC_FLAGS : 0u) |
           (rec->rdev ? REC_RDEV : 0u) | (rec->project ? REC_PROJECT : 0u);
}

/* mtime whole, the others by what differs from it: most differ by little or nothing. */
static uint8_t *put_times(uint8_t *p, unsigned mask, const struct inode_rec *rec)
{
    put_u64be(p, (uint64_t)rec->mtime_ns);
    p += 8;
    if (mask & REC_CTIME)
        p = put_signed64(p, time_diff(rec->ctime_ns, rec->mtime_ns));
    if (mask & REC_ATIME)
        p = put_signed64(p, time_diff(rec->atime_ns, rec->mtime_ns));
    if (mask & REC_BTIME)
        p = put_signed64(p, time_diff(rec->btime_ns, rec->mtime_ns));
    return p;
}

static uint8_t *put_gens(uint8_t *p, const struct inode_rec *rec)
{
    uint64_t prev = 0;

    p = put_varint64(p, rec->next_gen);
    p = put_varint64(p, rec->n_gens);
    for (uint32_t i = 0; i < rec->n_gens; i++) {
        p = put_varint64(p, rec->gens[i].first_chunk - prev);
        p = put_varint64(p, rec->gens[i].gen);
        prev = rec->gens[i].first_chunk;
    }
    return p;
}

/* The caller has made room for the longest form. */
static uint8_t *put_rec(uint8_t *p, const struct inode_rec *rec)
{
    unsigned mask = rec_mask(rec);

    *p++ = TAG_RECORD;
    p = put_varint64(p, mask);
    p = put_varint64(p, rec->mode);
    p = put_varint64(p, rec->uid);
    p = put_varint64(p, rec->gid);
    p = put_varint64(p, rec->nlink);
    p = put_times(p, mask, rec);
    if (mask & REC_SIZE)
        p = put_varint64(p, rec->size);
    if (mask & REC_BLOCKS)
        p = put_varint64(p, rec->blocks);
    if (mask & REC_RDEV)
        p = put_varint64(p, rec->rdev);
    if (mask & REC_FLAGS)
        p = put_varint64(p, rec->flags);
    if (mask & REC_PROJECT)
        p = put_varint64(p, rec->project);
    if (mask & REC_GENS)
        p = put_gens(p, rec);
    if (S_ISDIR(rec->mode)) {
        p = put_varint64(p, rec->parent);
        p = put_varint64(p, rec->n_entries);
    }
    if (rec->target) {
        size_t len = strlen(rec->target);

        p = put_varint64(p, len);
        memcpy(p, rec->target, len);
        p += len;
    }
    return p;
}

int inode_rec_encode(const struct inode_rec *rec, struct shale_buf *out)
{
    size_t room;
    int rc;

    if (!rec_is_valid(rec))
        return err_set(-EINVAL, "an inode record is not valid (mode %o)", rec->mode);
    room = REC_FIXED_MAX + rec->n_gens * 2 * VARINT64_MAX_LEN + (rec->target ? strlen(rec->target) : 0);
    rc = shale_buf_reserve(out, room);
    if (rc < 0)
        return rc;
    out->len = (size_t)(put_rec(out->data + out->len, rec) - out->data);
    return 0;
}

static int get_gens(struct wire *w, struct inode_rec *rec)
{
    uint64_t first = 0;

    rec->next_gen = (uint32_t)wire_varint(w, UINT32_MAX);
    rec->n_gens = (uint32_t)wire_varint(w, INODE_GENS_MAX);
    if (rec->n_gens == 0)
        return 0;
    rec->gens = mem_calloc(rec->n_gens, sizeof(*rec->gens));
    if (!rec->gens)
        return -ENOMEM;
    for (uint32_t i = 0; i < rec->n_gens; i++) {
        first += wire_varint(w, UINT64_MAX - first);
        rec->gens[i].first_chunk = first;
        rec->gens[i].gen = (uint32_t)wire_varint(w, UINT32_MAX);
    }
    return 0;
}

static int get_target(struct wire *w, struct inode_rec *rec)
{
    uint64_t len = wire_varint(w, FS_SYMLINK_MAX);
    const uint8_t *p = wire_bytes(w, len);

    if (!p || memchr(p, '\0', len)) {
        w->bad = true;
        return 0;
    }
    rec->target = (char *)mem_dup(p, len);
    return rec->target ? 0 : -ENOMEM;
}

static void get_times(struct wire *w, unsigned mask, struct inode_rec *rec)
{
    rec->mtime_ns = (int64_t)wire_u64(w);
    rec->ctime_ns = time_plus(rec->mtime_ns, mask & REC_CTIME ? wire_signed(w) : 0);
    rec->atime_ns = time_plus(rec->mtime_ns, mask & REC_ATIME ? wire_signed(w) : 0);
    rec->btime_ns = time_plus(rec->mtime_ns, mask & REC_BTIME ? wire_signed(w) : 0);
}

/* Reads all fields; what is wrong with them shows in w->bad, or in the check of the whole that follows. */
static int get_rec(struct wire *w, struct inode_rec *rec, unsigned *mask)
{
    unsigned m = (unsigned)wire_varint(w, REC_ALL);
    int rc = 0;

    *mask = m;
    rec->mode = (uint32_t)wire_varint(w, UINT32_MAX);
    rec->uid = (uint32_t)wire_varint(w, UINT32_MAX);
    rec->gid = (uint32_t)wire_varint(w, UINT32_MAX);
    rec->nlink = (uint32_t)wire_varint(w, UINT32_MAX);
    get_times(w, m, rec);
    rec->size = m & REC_SIZE ? wire_varint(w, FS_SIZE_MAX) : 0;
    rec->blocks = m & REC_BLOCKS ? wire_varint(w, UINT64_MAX) : 0;
    rec->rdev = m & REC_RDEV ? (uint32_t)wire_varint(w, UINT32_MAX) : 0;
    rec->flags = m & REC_FLAGS ? (uint32_t)wire_varint(w, UINT32_MAX) : 0;
    rec->project = m & REC_PROJECT ? (uint32_t)wire_varint(w, UINT32_MAX) : 0;
    if (m & REC_GENS)
        rc = get_gens(w, rec);
    if (S_ISDIR(rec->mode)) {
        rec->parent = wire_varint(w, UINT64_MAX);
        rec->n_entries = wire_varint(w, UINT64_MAX);
    }
    if (rc == 0 && S_ISLNK(rec->mode))
        rc = get_target(w, rec);
    return rc;
}

static struct wire body_of(struct shale_slice value, uint8_t tag)
{
    struct wire w = wire_of(value);

    if (wire_u8(&w) != tag)
        w.bad = true;
    return w;
}

/* Strict: what this refuses was not written by this program. out changes only when all of it is right. */
int inode_rec_decode(struct shale_slice value, struct inode_rec *out)
{
    struct wire w = body_of(value, TAG_RECORD);
    struct inode_rec rec;
    unsigned mask;
    int rc;

    inode_rec_init(&rec);
    rc = get_rec(&w, &rec, &mask);
    if (rc < 0)
        goto out;
    if (w.bad || w.p != w.end || !rec_is_valid(&rec) || mask != rec_mask(&rec)) {
        rc = err_set(SHALE_ECORRUPT, "an inode record of %zu bytes is not valid", value.len);
        goto out;
    }
    inode_rec_fini(out);
    *out = rec;
    inode_rec_init(&rec);
out:
    inode_rec_fini(&rec);
    return rc;
}

bool inode_is_record(struct shale_slice value)
{
    return value.len > 0 && value.data[0] == TAG_RECORD;
}

/* As in records, a field that changes nothing is not there; times are, when they are set to 0. */
static unsigned op_mask(const struct inode_op *op)
{
    return (op->nlink ? OP_NLINK : 0u) | (op->entries ? OP_ENTRIES : 0u) | (op->blocks ? OP_BLOCKS : 0u) |
           (op->size_max ? OP_SIZE : 0u) | (op->set & INODE_OP_MTIME ? OP_MTIME : 0u) |
           (op->set & INODE_OP_CTIME ? OP_CTIME : 0u) | (op->set & INODE_OP_ATIME ? OP_ATIME : 0u) |
           (op->flags ? OP_FLAGS : 0u);
}

static uint8_t *put_op(uint8_t *p, const struct inode_op *op)
{
    unsigned mask = op_mask(op);
    int64_t base = mask & OP_MTIME ? op->mtime_ns : 0;

    *p++ = TAG_OPERAND;
    p = put_varint64(p, mask);
    if (mask & OP_NLINK)
        p = put_signed64(p, op->nlink);
    if (mask & OP_ENTRIES)
        p = put_signed64(p, op->entries);
    if (mask & OP_BLOCKS)
        p = put_signed64(p, op->blocks);
    if (mask & OP_SIZE)
        p = put_varint64(p, op->size_max);
    if (mask & OP_MTIME) {
        put_u64be(p, (uint64_t)op->mtime_ns);
        p += 8;
    }
    if (mask & OP_CTIME)
        p = put_signed64(p, time_diff(op->ctime_ns, base));
    if (mask & OP_ATIME)
        p = put_signed64(p, time_diff(op->atime_ns, base));
    if (mask & OP_FLAGS)
        p = put_varint64(p, op->flags);
    return p;
}

int inode_op_encode(const struct inode_op *op, struct shale_buf *out)
{
    int rc;

    if (op->size_max > FS_SIZE_MAX)
        return err_set(-EINVAL, "an inode operand has a size of %" PRIu64, op->size_max);
    rc = shale_buf_reserve(out, OP_ENCODED_MAX);
    if (rc < 0)
        return rc;
    out->len = (size_t)(put_op(out->data + out->len, op) - out->data);
    return 0;
}

int inode_op_decode(struct shale_slice value, struct inode_op *out)
{
    struct wire w = body_of(value, TAG_OPERAND);
    unsigned m = (unsigned)wire_varint(&w, OP_ALL);
    struct inode_op op;

    memset(&op, 0, sizeof(op));
    op.set = (m & OP_MTIME ? INODE_OP_MTIME : 0u) | (m & OP_CTIME ? INODE_OP_CTIME : 0u) |
             (m & OP_ATIME ? INODE_OP_ATIME : 0u);
    op.nlink = m & OP_NLINK ? wire_signed(&w) : 0;
    op.entries = m & OP_ENTRIES ? wire_signed(&w) : 0;
    op.blocks = m & OP_BLOCKS ? wire_signed(&w) : 0;
    op.size_max = m & OP_SIZE ? wire_varint(&w, FS_SIZE_MAX) : 0;
    op.mtime_ns = m & OP_MTIME ? (int64_t)wire_u64(&w) : 0;
    op.ctime_ns = m & OP_CTIME ? time_plus(op.mtime_ns, wire_signed(&w)) : 0;
    op.atime_ns = m & OP_ATIME ? time_plus(op.mtime_ns, wire_signed(&w)) : 0;
    op.flags = m & OP_FLAGS ? (uint32_t)wire_varint(&w, UINT32_MAX) : 0;
    if (w.bad || w.p != w.end || op_mask(&op) != m)
        return err_set(SHALE_ECORRUPT, "an inode operand of %zu bytes is not valid", value.len);
    *out = op;
    return 0;
}

/*
 * The later time wins, not the greater one: a file dated into the future and then written to shows the time of the
 * write.
 */
static void set_times(struct inode_op *op, const struct inode_op *later)
{
    op->set |= later->set;
    if (later->set & INODE_OP_MTIME)
        op->mtime_ns = later->mtime_ns;
    if (later->set & INODE_OP_CTIME)
        op->ctime_ns = later->ctime_ns;
    if (later->set & INODE_OP_ATIME)
        op->atime_ns = later->atime_ns;
}

/*
 * Associative, as the engine demands: sums, a maximum, a union and "the later". A size that shrinks is never an
 * operand: a truncation writes the record.
 */
int inode_op_fold(struct inode_op *op, const struct inode_op *later)
{
    struct inode_op r = *op;

    if (__builtin_add_overflow(op->nlink, later->nlink, &r.nlink) ||
        __builtin_add_overflow(op->entries, later->entries, &r.entries) ||
        __builtin_add_overflow(op->blocks, later->blocks, &r.blocks))
        return err_set(SHALE_EMERGE, "two changes of an inode add up to more than 64 bits hold");
    if (later->size_max > r.size_max)
        r.size_max = later->size_max;
    r.flags |= later->flags;
    set_times(&r, later);
    *op = r;
    return 0;
}

/* *v + diff, from 0 to max. */
static int add_within(uint64_t v, int64_t diff, uint64_t max, const char *what, uint64_t *out)
{
    uint64_t r = v + (uint64_t)diff;
    bool wrapped = diff < 0 ? r > v : r < v;

    if (wrapped || r > max)
        return err_set(SHALE_EMERGE, "a change by %" PRId64 " takes the %s of an inode, %" PRIu64 ", out of range",
                       diff, what, v);
    *out = r;
    return 0;
}

/*
 * Out of range means that operands and record do not belong together. It fails, and does not stop at the bound, since
 * a wrong link count could remove a file that still has a name.
 */
int inode_op_apply(struct inode_rec *rec, const struct inode_op *op)
{
    uint64_t nlink = 0, entries = 0, blocks = 0;

    if (op->entries && !S_ISDIR(rec->mode))
        return err_set(SHALE_EMERGE, "a change of the number of entries meets an inode that is no directory");
    if (add_within(rec->nlink, op->nlink, UINT32_MAX, "link count", &nlink) < 0 ||
        add_within(rec->n_entries, op->entries, UINT64_MAX, "number of entries", &entries) < 0 ||
        add_within(rec->blocks, op->blocks, UINT64_MAX, "number of blocks", &blocks) < 0)
        return SHALE_EMERGE;
    rec->nlink = (uint32_t)nlink;
    rec->n_entries = entries;
    rec->blocks = blocks;
    if (op->size_max > rec->size)
        rec->size = op->size_max;
    if (op->set & INODE_OP_MTIME)
        rec->mtime_ns = op->mtime_ns;
    if (op->set & INODE_OP_CTIME)
        rec->ctime_ns = op->ctime_ns;
    if (op->set & INODE_OP_ATIME)
        rec->atime_ns = op->atime_ns;
    rec->flags |= op->flags;
    return 0;
}

/*
 * Each entry holds from its chunk up to that of the next; before the first one it is generation 0. From the back,
 * since the list is short and most files are used at their end.
 */
uint32_t inode_gen_for_chunk(const struct inode_rec *rec, uint64_t chunk)
{
    uint32_t i = rec->n_gens;

    while (i > 0 && rec->gens[i - 1].first_chunk > chunk)
        i--;
    return i ? rec->gens[i - 1].gen : 0;
}

/*
 * Entries at or behind the cut go, as nothing there is left to be told apart; so the list grows only by cuts that come
 * ever further back in the file.
 */
int inode_truncate_gens(struct inode_rec *rec, uint64_t first_chunk)
{
    struct inode_gen *gens;
    uint32_t keep = rec->n_gens;

    while (keep > 0 && rec->gens[keep - 1].first_chunk >= first_chunk)
        keep--;
    if (keep == INODE_GENS_MAX || rec->next_gen == UINT32_MAX)
        return INODE_GENS_FULL;
    if (keep == rec->n_gens) {
        gens = mem_realloc(rec->gens, (keep + 1) * sizeof(*gens));
        if (!gens)
            return -ENOMEM;
        rec->gens = gens;
    }
    rec->gens[keep] = (struct inode_gen){ .first_chunk = first_chunk, .gen = rec->next_gen++ };
    rec->n_gens = keep + 1;
    return 0;
}
