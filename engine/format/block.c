/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data blocks, built and walked (storage format 3.2, SlateDB 0.12.1, block_iterator_v2.rs). Keys are
 * stored as what they do not share with an earlier key, so a row can be read only together with rows
 * before it:
 *   V1   every key leans on the first key of the block; each row has an offset, any row can be read by itself
 *   V2   every key leans on the row before; a restart every 16 rows, with an offset, leans on nothing
 *        [restart row row ... row][restart row ...]   offsets point at restarts, a stretch ends where the next begins
 * Ascending, one key buffer is carried along. Descending is the difficult part, see below. Input is
 * untrusted: lengths are checked where rows are decoded, shared lengths against the key they lean on.
 */

#include "format/block.h"

#include "base/alloc.h"
#include "base/err.h"

#include <assert.h>
#include <errno.h>

#define OFFSET_LEN 2
#define COUNT_LEN 2

#define PREFETCH_BYTES ((size_t)2 << 10)

/* Rows of which nothing is shared are at most that much longer than key, value and fixed part. */
#define ROW_LENS_MAX (3 * VARINT32_MAX_LEN)

void block_builder_init(struct block_builder *b, int version, size_t block_size)
{
    assert(version == BLOCK_V1 || version == BLOCK_V2);
    *b = (struct block_builder){ .version = version, .block_size = block_size };
}

void block_builder_fini(struct block_builder *b)
{
    shale_buf_fini(&b->data);
    shale_buf_fini(&b->prev_key);
    mem_free(b->offsets);
    b->offsets = NULL;
    b->n_offsets = b->cap_offsets = b->n_rows = 0;
}

/* Whether the next row gets an offset of its own. */
static bool starts_stretch(const struct block_builder *b)
{
    return b->version == BLOCK_V1 || b->n_rows % BLOCK_RESTART_INTERVAL == 0;
}

/* Bytes that are left out of the row, for a key that shares common bytes with prev_key. */
static size_t shared_with_base(const struct block_builder *b, size_t common)
{
    return b->version == BLOCK_V2 && starts_stretch(b) ? 0 : common;
}

/*
 * The rule of SlateDB's builder to the byte, so that both cut blocks at the same rows and files can be
 * compared. An offset has 16 bits: a block that grew past 64 KiB on one large row takes no further
 * restart.
 */
bool block_builder_would_fit(const struct block_builder *b, const struct shale_row *row, size_t common)
{
    size_t used, shared;

    if (b->n_rows == 0)
        return true;
    used = b->data.len + OFFSET_LEN * b->n_offsets + COUNT_LEN;
    if (starts_stretch(b)) {
        if (b->data.len > UINT16_MAX)
            return false; /* its offset could not be written */
        if (b->version == BLOCK_V2)
            used += OFFSET_LEN; /* version 1 does not count the offset of the row itself */
    }
    /* far from the end the exact length does not matter */
    if (used + ROW_LENS_MAX + row->key.len + row->value.len + row_fixed_len(row) <= b->block_size)
        return true;
    shared = shared_with_base(b, common);
    used += b->version == BLOCK_V2 ? row_v2_len(row, shared) : row_v0_len(row, shared);
    return used <= b->block_size;
}

/* Room for everything that adding a row touches, so that it cannot fail half way. */
static int reserve_row(struct block_builder *b, const struct shale_row *row)
{
    size_t most = size_add(ROW_LENS_MAX + row_fixed_len(row), size_add(row->key.len, row->value.len));
    int rc = 0;

    if (b->data.cap - b->data.len < most)
        rc = shale_buf_reserve(&b->data, most);
    if (rc == 0 && b->prev_key.cap < row->key.len)
        rc = shale_buf_reserve(&b->prev_key, row->key.len);
    if (rc == 0 && b->n_offsets == b->cap_offsets)
        rc = vec_reserve(&b->offsets, &b->cap_offsets, b->n_offsets + 1, sizeof(*b->offsets));
    return rc;
}

int block_builder_add(struct block_builder *b, const struct shale_row *row, size_t common)
{
    size_t shared = shared_with_base(b, common);
    uint8_t *p;
    int rc;

    assert(row->key.len >= 1 && row->key.len <= SHALE_KEY_MAX && row->value.len <= SHALE_VALUE_MAX);
    rc = reserve_row(b, row);
    if (rc < 0)
        return rc;
    if (starts_stretch(b)) {
        assert(b->data.len <= UINT16_MAX);
        b->offsets[b->n_offsets++] = (uint16_t)b->data.len;
    }
    p = b->data.data + b->data.len;
    p = b->version == BLOCK_V2 ? row_v2_write(p, row, shared) : row_v0_write(p, row, shared);
    b->data.len = (size_t)(p - b->data.data);
    if (b->version == BLOCK_V2 || b->n_rows == 0) {
        memcpy(b->prev_key.data + common, row->key.data + common, row->key.len - common);
        b->prev_key.len = row->key.len;
    }
    b->n_rows++;
    return 0;
}

int block_builder_payload(struct block_builder *b, struct shale_slice *out)
{
    uint8_t *p;

    assert(b->n_rows > 0);
    p = buf_extend(&b->data, OFFSET_LEN * b->n_offsets + COUNT_LEN);
    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < b->n_offsets; i++, p += OFFSET_LEN)
        put_u16be(p, b->offsets[i]);
    put_u16be(p, (uint16_t)b->n_offsets);
    *out = slice_of_buf(&b->data);
    return 0;
}

void block_builder_reset(struct block_builder *b)
{
    buf_clear(&b->data);
    if (b->version == BLOCK_V1)
        buf_clear(&b->prev_key); /* no first key shares nothing */
    b->n_offsets = 0;
    b->n_rows = 0;
}

static int corrupt(const char *what)
{
    return err_set(SHALE_ECORRUPT, "malformed data block: %s", what);
}

static size_t offset_at(const struct block_iter *it, size_t i)
{
    return get_u16be(it->payload.data + it->data_len + OFFSET_LEN * i);
}

/* Where stretch i ends. */
static size_t stretch_end(const struct block_iter *it, size_t i)
{
    return i + 1 < it->n_offsets ? offset_at(it, i + 1) : it->data_len;
}

/* Decode the row at pos, which ends at or before limit. Returns where the next begins, 0 when it is malformed. */
static inline size_t row_at(const struct block_iter *it, size_t pos, size_t limit, struct row_parts *out)
{
    const uint8_t *base = it->payload.data;
    const uint8_t *next = it->version == BLOCK_V2 ? row_v2_read(base + pos, base + limit, out)
                                                  : row_v0_read(base + pos, base + limit, out);

    return next ? (size_t)(next - base) : 0;
}

/*
 * Offsets must ascend strictly from 0: a stretch then has a positive length and binary search
 * terminates. The rows between the offsets are checked when they are reached.
 */
static int parse_envelope(struct block_iter *it)
{
    size_t len = it->payload.len;
    size_t tail;

    if (len < COUNT_LEN)
        return corrupt("too short");
    it->n_offsets = get_u16be(it->payload.data + len - COUNT_LEN);
    tail = COUNT_LEN + OFFSET_LEN * it->n_offsets;
    if (it->n_offsets == 0 || tail >= len)
        return corrupt("number of offsets");
    it->data_len = len - tail;
    for (size_t i = 0; i < it->n_offsets; i++) {
        if (i == 0 ? offset_at(it, 0) != 0 : offset_at(it, i) <= offset_at(it, i - 1))
            return corrupt("offsets do not ascend from 0");
    }
    return offset_at(it, it->n_offsets - 1) < it->data_len ? 0 : corrupt("offset past the rows");
}

/* V1: all keys lean on the first. */
static int parse_first_key(struct block_iter *it)
{
    struct row_parts first;

    if (row_at(it, 0, stretch_end(it, 0), &first) == 0 || first.shared != 0)
        return corrupt("first row");
    it->first = first.suffix;
    return 0;
}

int block_iter_init(struct block_iter *it, struct shale_slice payload, int version, enum iter_order order)
{
    *it = (struct block_iter){ 0 };
    return block_iter_reset(it, payload, version, order);
}

int block_iter_reset(struct block_iter *it, struct shale_slice payload, int version, enum iter_order order)
{
    int rc;

    it->payload = payload;
    it->version = version;
    it->order = order;
    it->data_len = it->n_offsets = it->pos = 0;
    it->next_offset = 0;
    it->lo = it->hi = it->group = it->next_row = it->cap_rows;
    it->has_ahead = it->group_ready = false;
    buf_clear(&it->key);
    if (version != BLOCK_V1 && version != BLOCK_V2)
        return err_set(SHALE_EVERSION, "data block of unknown version %d", version);
    rc = parse_envelope(it);
    if (rc == 0 && version == BLOCK_V1)
        rc = parse_first_key(it);
    if (rc < 0)
        it->data_len = 0; /* as an empty block, should somebody go on */
    else
        it->next_offset = it->n_offsets;
    return rc;
}

void block_iter_fini(struct block_iter *it)
{
    shale_buf_fini(&it->key);
    mem_free(it->rows);
    mem_free(it->stretch);
    *it = (struct block_iter){ 0 };
}

/*
 * Make it->key the key of a row that follows the row whose key it is now.
 * In V2 the bytes that are shared are in the buffer already, left there by the row before: only the
 * suffix is copied.
 */
static inline int key_forward(struct block_iter *it, const struct row_parts *r)
{
    struct shale_buf *key = &it->key;
    size_t len = r->shared + r->suffix.len;

    if (r->shared > (it->version == BLOCK_V2 ? key->len : it->first.len))
        return corrupt("shared prefix is longer than the key");
    if (len > key->cap) {
        int rc = shale_buf_reserve(key, len - key->len);

        if (rc < 0)
            return rc;
    }
    if (it->version == BLOCK_V1 && r->shared)
        memcpy(key->data, it->first.data, r->shared);
    if (r->suffix.len)
        memcpy(key->data + r->shared, r->suffix.data, r->suffix.len);
    key->len = len;
    return 0;
}

static inline int read_forward(struct block_iter *it, struct shale_row *out)
{
    struct row_parts r;
    size_t next;
    int rc;

    if (it->pos >= it->data_len)
        return SHALE_END;
    next = row_at(it, it->pos, it->data_len, &r);
    if (next == 0)
        return corrupt("row");
    rc = key_forward(it, &r);
    if (rc < 0)
        return rc;
    it->pos = next;
    *out = r.row;
    out->key = slice_of(it->key.data, it->key.len);
    return 0;
}

/* What of the row at offset i its key is made of; the row behind it is not looked at. False: malformed. */
static bool key_at(const struct block_iter *it, size_t i, struct row_parts *out)
{
    const uint8_t *p = it->payload.data + offset_at(it, i), *end = it->payload.data + stretch_end(it, i);
    uint32_t len[3];

    if (it->version == BLOCK_V1)
        return row_v0_read(p, end, out) != NULL;
    p = row_v2_get_lens(p, end, len);
    if (!p || len[1] < 1 || len[1] > (size_t)(end - p))
        return false;
    out->shared = len[0];
    out->suffix = slice_of(p, len[1]);
    return true;
}

/*
 * Compare the key at offset i with key. 0 and *cmp, or SHALE_ECORRUPT.
 * The key at an offset in two parts, neither of which is copied: what it shares with the first key (V1)
 * and its suffix.
 */
static int compare_at(const struct block_iter *it, size_t i, struct shale_slice key, int *cmp)
{
    struct row_parts r;
    struct shale_slice head = slice_of(it->first.data, 0);

    if (!key_at(it, i, &r))
        return corrupt("row at an offset");
    if (r.shared > it->first.len)
        return corrupt("row at an offset shares too much"); /* V2: anything at all */
    head.len = r.shared;
    if (key.len > head.len) {
        *cmp = head.len ? memcmp(head.data, key.data, head.len) : 0;
        if (*cmp == 0)
            *cmp = slice_cmp(r.suffix, slice_from(key, head.len));
        return 0;
    }
    *cmp = slice_cmp(head, key);
    if (*cmp == 0 && r.suffix.len)
        *cmp = 1;
    return 0;
}

/* The number of offsets whose keys are below key, or also those at it. */
static int count_below(const struct block_iter *it, struct shale_slice key, bool or_equal, size_t *out)
{
    size_t lo = 0, hi = it->n_offsets;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int cmp = 0;
        int rc = compare_at(it, mid, key, &cmp);

        if (rc < 0)
            return rc;
        if (cmp < 0 || (or_equal && cmp == 0))
            lo = mid + 1;
        else
            hi = mid;
    }
    *out = lo;
    return 0;
}

/* The row r, which ends at next, is where a seek stops; its key begins with the same bytes as key. */
static int stop_at(struct block_iter *it, const struct row_parts *r, size_t next, struct shale_slice key)
{
    size_t len = r->shared + r->suffix.len;

    if (len > it->key.cap) {
        int rc = shale_buf_reserve(&it->key, len);

        if (rc < 0)
            return rc;
    }
    if (r->shared)
        memcpy(it->key.data, key.data, r->shared);
    if (r->suffix.len)
        memcpy(it->key.data + r->shared, r->suffix.data, r->suffix.len);
    it->key.len = len;
    it->pos = next;
    it->ahead = r->row;
    it->ahead.key = slice_of_buf(&it->key);
    it->has_ahead = true;
    return 0;
}

/*
 * Where a row begins is known only from the one before: without this each of the up to 16 rows that a seek passes would
 * wait for memory by itself.
 */
static void prefetch_rows(const struct block_iter *it, size_t from, size_t to)
{
    const uint8_t *p = it->payload.data + from;
    size_t n = to - from < PREFETCH_BYTES ? to - from : PREFETCH_BYTES;

    for (size_t i = 0; i < n; i += 64)
        __builtin_prefetch(p + i);
}

/*
 * V2: pass over the rows below key without putting their keys together. matched is how much of key the row before
 * begins with. A row that shares more than that with the one before differs from key where that does, so it lies below
 * key as well; of the others it takes the suffix to tell.
 *   key      a b c d
 *   row      a b a a     matched 2
 *   row      . . . f     shares 3 > 2: below
 *   row      . . c c     shares 2: matched 3, below
 *   row      . . . e     shares 3: the first above
 */
static int skip_below(struct block_iter *it, struct shale_slice key)
{
    size_t matched = 0, prev_len = 0, next;
    struct row_parts r;

    for (; it->pos < it->data_len; it->pos = next) {
        next = row_at(it, it->pos, it->data_len, &r);
        if (next == 0)
            return corrupt("row");
        if (r.shared > prev_len)
            return corrupt("shared prefix is longer than the key");
        prev_len = r.shared + r.suffix.len;
        if (r.shared <= matched) {
            struct shale_slice rest = slice_from(key, r.shared);
            size_t common = row_key_common(r.suffix, rest);

            matched = r.shared + common;
            if (common == rest.len || (common < r.suffix.len && r.suffix.data[common] > rest.data[common]))
                return stop_at(it, &r, next, key);
        }
    }
    return SHALE_END;
}

/*
 * Begins at the last offset below key: the newest versions of key itself may end that stretch.
 * Offsets do not have the versions of a key to themselves: a key that begins an offset may have newer
 * versions at the end of the stretch before. Hence "below", and a scan of at most one stretch and what
 * follows.
 */
static int seek_forward(struct block_iter *it, struct shale_slice key)
{
    size_t below = 0;
    int rc = count_below(it, key, false, &below);

    if (rc < 0)
        return rc;
    it->pos = below ? offset_at(it, below - 1) : 0;
    prefetch_rows(it, it->pos, below ? stretch_end(it, below - 1) : 0);
    buf_clear(&it->key);
    it->has_ahead = false;
    if (it->version == BLOCK_V2) {
        rc = skip_below(it, key);
        return rc < 0 ? rc : 0;
    }
    do {
        rc = read_forward(it, &it->ahead);
    } while (rc == 0 && slice_cmp(it->ahead.key, key) < 0);
    it->has_ahead = rc == 0;
    return rc < 0 ? rc : 0;
}

/*
 * Descending. Offsets cut the block into stretches, which are decoded from the last to the first, each forwards. Keys
 * are not stored: going backwards, the bytes that a row and the one before it share stay in it->key, and the rest comes
 * from the rows that introduced them (fill_back). The versions of one key form a group, which is given out forwards
 * once a different key, or the beginning of the block, was met before it.
 */

/* Decode stretch i into it->stretch, up to the first row above limit when there is one. */
static int decode_stretch(struct block_iter *it, size_t i, const struct shale_slice *limit, size_t *n)
{
    size_t pos = offset_at(it, i), end = stretch_end(it, i);
    size_t prev_len = it->version == BLOCK_V1 ? it->first.len : 0;

    *n = 0;
    if (limit)
        buf_clear(&it->key); /* otherwise the key of an unfinished group may be in it */
    while (pos < end) {
        int rc = vec_reserve(&it->stretch, &it->cap_stretch, *n + 1, sizeof(*it->stretch));
        struct row_parts *r;

        if (rc < 0)
            return rc;
        r = &it->stretch[*n];
        pos = row_at(it, pos, end, r);
        if (pos == 0)
            return corrupt("row");
        if (r->shared > prev_len)
            return corrupt("shared prefix is longer than the key");
        if (it->version == BLOCK_V2)
            prev_len = r->shared + r->suffix.len;
        if (limit) {
            rc = key_forward(it, r);
            if (rc < 0)
                return rc;
            if (slice_cmp(slice_of_buf(&it->key), *limit) > 0)
                return 0;
        }
        ++*n;
    }
    return 0;
}

/* Put the n rows of it->stretch in front of the others. */
static int prepend_stretch(struct block_iter *it, size_t n)
{
    if (it->lo < n) {
        size_t live = it->hi - it->lo;
        size_t cap = size_add(size_mul(live + n, 2), BLOCK_RESTART_INTERVAL);
        struct row_parts *rows = mem_alloc(size_mul(cap, sizeof(*rows)));

        if (!rows)
            return -ENOMEM;
        if (live)
            memcpy(rows + cap - live, it->rows + it->lo, live * sizeof(*rows));
        mem_free(it->rows);
        it->rows = rows;
        it->group += cap - it->hi; /* indices are counted anew from the end */
        it->lo = cap - live;
        it->hi = cap;
        it->cap_rows = cap;
    }
    it->lo -= n;
    memcpy(it->rows + it->lo, it->stretch, n * sizeof(*it->rows));
    return 0;
}

/* Decode the stretch before those that are there. 0 or an error; there must be one. */
static int load_back(struct block_iter *it)
{
    size_t n;
    int rc = decode_stretch(it, it->next_offset - 1, NULL, &n);

    if (rc == 0)
        rc = prepend_stretch(it, n);
    if (rc == 0)
        it->next_offset--;
    return rc;
}

/*
 * Write bytes [from, length) of the key of row i into it->key, whose bytes below from are right already, or, with
 * compare, only see whether they are there. A shared length that passes what an earlier row has was refused when it was
 * decoded.
 *   rows (V2)     shared suffix       bytes of the key of row i that
 *   i-2             0    abcde        come from here: [0, 1)
 *   i-1             1    xy           [1, 2)
 *   i               2    z            [2, 3)           key "axz"
 * Each row contributes what lies between its shared length and where a later row took over; the walk
 * ends at from or at the restart, which shares nothing.
 */
static bool fill_back(struct block_iter *it, size_t i, size_t from, bool compare)
{
    uint8_t *key = it->key.data;
    size_t to = it->rows[i].shared + it->rows[i].suffix.len;

    while (to > from) {
        const struct row_parts *r = &it->rows[i];
        size_t begin = r->shared > from ? r->shared : from;

        if (begin < to) {
            const uint8_t *bytes = r->suffix.data + (begin - r->shared);

            if (!compare)
                memcpy(key + begin, bytes, to - begin);
            else if (memcmp(key + begin, bytes, to - begin) != 0)
                return false;
            to = begin;
        }
        if (it->version == BLOCK_V1) {
            if (!compare && to > from)
                memcpy(key + from, it->first.data + from, to - from);
            return !compare || to <= from || memcmp(key + from, it->first.data + from, to - from) == 0;
        }
        i--; /* while bytes are missing this row shares some, so it is not the first of its stretch */
    }
    return true;
}

/* How much of the key of row i is known from it->key, the key of row i + 1. */
static size_t kept_from(const struct block_iter *it, size_t i)
{
    return it->version == BLOCK_V2 ? it->rows[i + 1].shared : 0;
}

/* Begin a group with the row before it->hi. known: how many bytes of it->key are right. */
static int group_begin(struct block_iter *it, size_t known)
{
    const struct row_parts *last = &it->rows[it->hi - 1];
    size_t len = last->shared + last->suffix.len;

    if (len > it->key.cap) {
        int rc = shale_buf_reserve(&it->key, len - it->key.len);

        if (rc < 0)
            return rc;
    }
    (void)fill_back(it, it->hi - 1, known < len ? known : len, false); /* it only compares when told to */
    it->key.len = len;
    it->group = it->hi - 1;
    return 0;
}

static bool same_key_before(struct block_iter *it)
{
    const struct row_parts *r = &it->rows[it->group - 1];

    return r->shared + r->suffix.len == it->key.len &&
           fill_back(it, it->group - 1, kept_from(it, it->group - 1), true);
}

/*
 * Find the next group and make it ready. SHALE_END when no row is left.
 *   rows:      lo ......... group ......... hi         stretches below next_offset not decoded yet
 *                           [ one key     ]
 * A group may reach back over several stretches; they are loaded in front until a different key shows.
 * The key of the group just finished seeds the next one: bytes that the two rows share are right
 * already (known).
 */
static int group_next(struct block_iter *it)
{
    size_t known = 0;
    int rc;

    if (it->group_ready) { /* the rows of the last one are done with */
        it->group_ready = false;
        if (it->group > it->lo)
            known = kept_from(it, it->group - 1);
        it->hi = it->group;
    }
    if (it->hi == it->lo) {
        if (it->next_offset == 0)
            return SHALE_END;
        it->lo = it->hi = it->group = it->cap_rows;
        rc = load_back(it);
        if (rc < 0)
            return rc;
        known = 0;
    }
    rc = group_begin(it, known);
    if (rc < 0)
        return rc;
    for (;;) {
        if (it->group == it->lo) {
            if (it->next_offset == 0)
                break;
            rc = load_back(it);
            if (rc < 0)
                return rc;
        }
        if (!same_key_before(it))
            break;
        it->group--;
    }
    it->group_ready = true;
    it->next_row = it->group;
    return 0;
}

static int read_backward(struct block_iter *it, struct shale_row *out)
{
    if (!it->group_ready || it->next_row == it->hi) {
        int rc = group_next(it);

        if (rc != 0)
            return rc;
    }
    *out = it->rows[it->next_row++].row;
    out->key = slice_of_buf(&it->key);
    return 0;
}

/* Only the stretch that may contain key is decoded up to it; those below wait for next. */
static int seek_backward(struct block_iter *it, struct shale_slice key)
{
    size_t n = 0, upto = 0;
    int rc = count_below(it, key, true, &upto);

    if (rc < 0)
        return rc;
    it->group_ready = false;
    it->lo = it->hi = it->group = it->cap_rows;
    it->next_offset = upto;
    if (upto == 0)
        return 0;
    rc = decode_stretch(it, upto - 1, &key, &n);
    if (rc == 0)
        rc = prepend_stretch(it, n);
    if (rc == 0)
        it->next_offset = upto - 1;
    return rc;
}

int block_iter_next(struct block_iter *it, struct shale_row *out)
{
    if (it->order == ITER_DESC)
        return read_backward(it, out);
    if (it->has_ahead) {
        it->has_ahead = false;
        *out = it->ahead;
        return 0;
    }
    return read_forward(it, out);
}

int block_iter_seek(struct block_iter *it, struct shale_slice key)
{
    if (it->data_len == 0)
        return 0;
    return it->order == ITER_DESC ? seek_backward(it, key) : seek_forward(it, key);
}
