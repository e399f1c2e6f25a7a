/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/extent.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/ulid.h"
#include "fs/core/wire.h"

#include <errno.h>

#define FORM_VERSION 1
/*
 * A list of extents, as bytes: the version of the form; then for each extent the gap from the one before, its length,
 * its kind, and its bytes (inline), nothing (hole) or where it lies (frame). A frame in the same segment as the one
 * before leaves the segment's name out. Extents that continue each other are written as one, so that each list has one
 * encoding.
 */
enum { KIND_SAME_SEGMENT = 3 };

/* An encoded extent without its inline bytes. */
#define EXTENT_HEAD_MAX (2 * VARINT64_MAX_LEN + 1 + 16 + 4 * VARINT64_MAX_LEN + 1 + 4)

void extent_list_fini(struct extent_list *l)
{
    mem_free(l->v);
    *l = (struct extent_list)EXTENT_LIST_INIT;
}

/* Nothing that is read or made may lead a reader beyond the frame. */
static bool frame_is_valid(const struct extent *e)
{
    const struct extent_frame *f = &e->u.frame;

    return !ulid_is_zero(f->segment) && f->raw_len > 0 && f->raw_len <= EXTENT_FRAME_RAW_MAX && f->stored_len > 0 &&
           f->stored_len <= EXTENT_FRAME_STORED_MAX && f->offset <= INT64_MAX - EXTENT_FRAME_STORED_MAX &&
           f->codec <= SHALE_CODEC_ZSTD && e->skip < f->raw_len && e->length <= f->raw_len - e->skip;
}

static uint32_t extent_end(const struct extent *e)
{
    return e->offset + e->length;
}

static uint32_t list_end(const struct extent_list *l)
{
    return l->n ? extent_end(&l->v[l->n - 1]) : 0;
}

/* Room for one more; the list at least doubles, so that n calls move O(n). */
static int push(struct extent_list *l, const struct extent *e)
{
    int rc = vec_reserve(&l->v, &l->cap, l->n + 1, sizeof(*l->v));

    if (rc < 0)
        return rc;
    l->v[l->n++] = *e;
    return 0;
}

/* In order and without overlap: everything here is linear because that holds. */
int extent_list_add(struct extent_list *l, const struct extent *e)
{
    if (e->length == 0 || e->offset < list_end(l) || e->offset > EXTENT_END_MAX ||
        e->length > EXTENT_END_MAX - e->offset || e->kind > EXTENT_FRAME ||
        (e->kind == EXTENT_FRAME && !frame_is_valid(e)))
        return err_set(-EINVAL, "an extent of %u bytes at %u is not valid or out of order", e->length, e->offset);
    return push(l, e);
}

int extent_list_add_inline(struct extent_list *l, uint32_t offset, const void *data, uint32_t length)
{
    struct extent e = { .offset = offset, .length = length, .kind = EXTENT_INLINE, .u.data = data };

    return extent_list_add(l, &e);
}

int extent_list_add_hole(struct extent_list *l, uint32_t offset, uint32_t length)
{
    struct extent e = { .offset = offset, .length = length, .kind = EXTENT_HOLE };

    return extent_list_add(l, &e);
}

/* The bytes of an extent stay where they are; a part of it begins further on in them. */
bool extent_trim(struct extent *e, uint32_t from, uint32_t to)
{
    uint32_t end = extent_end(e) < to ? extent_end(e) : to;

    if (from < e->offset)
        from = e->offset;
    if (from >= end)
        return false;
    if (e->kind == EXTENT_INLINE)
        e->u.data += from - e->offset;
    else if (e->kind == EXTENT_FRAME)
        e->skip += from - e->offset;
    e->offset = from;
    e->length = end - from;
    return true;
}

static bool same_frame(const struct extent_frame *a, const struct extent_frame *b)
{
    return ulid_eq(a->segment, b->segment) && a->offset == b->offset && a->stored_len == b->stored_len &&
           a->raw_len == b->raw_len && a->crc32 == b->crc32 && a->codec == b->codec;
}

/* Whether b goes on where a ends, so that one extent says both. */
static bool continues(const struct extent *a, const struct extent *b)
{
    if (a->kind != b->kind || extent_end(a) != b->offset)
        return false;
    return a->kind != EXTENT_FRAME || (same_frame(&a->u.frame, &b->u.frame) && a->skip + a->length == b->skip);
}

static uint8_t *put_frame(uint8_t *p, const struct extent *e)
{
    const struct extent_frame *f = &e->u.frame;

    p = put_varint64(p, f->offset);
    p = put_varint64(p, f->stored_len);
    p = put_varint64(p, f->raw_len);
    p = put_varint64(p, e->skip);
    *p++ = (uint8_t)f->codec;
    put_u32be(p, f->crc32);
    return p + 4;
}

/* segment: of the frame before, or zero; becomes that of e when e is a frame. */
static uint8_t *put_head(uint8_t *p, const struct extent *e, uint32_t gap, uint32_t length, struct shale_ulid *segment)
{
    p = put_varint64(p, gap);
    p = put_varint64(p, length);
    if (e->kind != EXTENT_FRAME) {
        *p++ = (uint8_t)e->kind;
        return p;
    }
    if (ulid_eq(e->u.frame.segment, *segment)) {
        *p++ = KIND_SAME_SEGMENT;
        return put_frame(p, e);
    }
    *segment = e->u.frame.segment;
    *p++ = EXTENT_FRAME;
    put_u64be(p, segment->hi);
    put_u64be(p + 8, segment->lo);
    return put_frame(p + 16, e);
}

/* The run of extents from i on that become one; its end, and its length in *length. */
static size_t run_of(const struct extent_list *l, size_t i, uint32_t *length)
{
    uint32_t start = l->v[i].offset;

    while (i + 1 < l->n && continues(&l->v[i], &l->v[i + 1]))
        i++;
    *length = extent_end(&l->v[i]) - start;
    return i + 1;
}

static uint8_t *put_run(uint8_t *p, const struct extent_list *l, size_t i, size_t end)
{
    for (; i < end && l->v[i].kind == EXTENT_INLINE; i++) {
        memcpy(p, l->v[i].u.data, l->v[i].length);
        p += l->v[i].length;
    }
    return p;
}

/* A value needs no holes: what is missing reads as zeros anyway. An operand does, as it lies over something. */
int extent_list_encode(const struct extent_list *l, enum extent_form form, struct shale_buf *out)
{
    size_t room = size_add(1, size_mul(l->n, EXTENT_HEAD_MAX));
    struct shale_ulid segment = { 0, 0 };
    uint32_t pos = 0, length;
    uint8_t *p;
    int rc;

    for (size_t i = 0; i < l->n; i++)
        room = size_add(room, l->v[i].kind == EXTENT_INLINE ? l->v[i].length : 0);
    rc = shale_buf_reserve(out, room);
    if (rc < 0)
        return rc;
    p = out->data + out->len;
    *p++ = FORM_VERSION;
    for (size_t i = 0, end; i < l->n; i = end) {
        end = run_of(l, i, &length);
        if (l->v[i].kind == EXTENT_HOLE && form == EXTENT_VALUE)
            continue;
        p = put_head(p, &l->v[i], l->v[i].offset - pos, length, &segment);
        p = put_run(p, l, i, end);
        pos = l->v[i].offset + length;
    }
    out->len = (size_t)(p - out->data);
    return 0;
}

static void get_frame(struct wire *w, struct extent *e)
{
    struct extent_frame *f = &e->u.frame;

    f->offset = wire_varint(w, INT64_MAX);
    f->stored_len = (uint32_t)wire_varint(w, EXTENT_FRAME_STORED_MAX);
    f->raw_len = (uint32_t)wire_varint(w, EXTENT_FRAME_RAW_MAX);
    e->skip = (uint32_t)wire_varint(w, EXTENT_FRAME_RAW_MAX);
    f->codec = wire_u8(w);
    f->crc32 = wire_u32(w);
    if (!frame_is_valid(e))
        w->bad = true;
}

static void get_segment(struct wire *w, uint8_t kind, struct shale_ulid *segment)
{
    struct shale_ulid u = *segment;

    if (kind == EXTENT_FRAME) {
        u.hi = wire_u64(w);
        u.lo = wire_u64(w);
        if (ulid_eq(u, *segment)) /* has a shorter form */
            w->bad = true;
    }
    *segment = u;
}

/* The extent behind pos. */
static void get_extent(struct wire *w, uint32_t pos, struct shale_ulid *segment, struct extent *e)
{
    uint8_t kind;

    memset(e, 0, sizeof(*e));
    e->offset = pos + (uint32_t)wire_varint(w, EXTENT_END_MAX - pos);
    e->length = (uint32_t)wire_varint(w, EXTENT_END_MAX - e->offset);
    kind = wire_u8(w);
    if (e->length == 0 || kind > KIND_SAME_SEGMENT) {
        w->bad = true;
    } else if (kind == EXTENT_INLINE) {
        e->u.data = wire_bytes(w, e->length);
    } else if (kind == EXTENT_HOLE) {
        e->kind = EXTENT_HOLE;
    } else {
        e->kind = EXTENT_FRAME;
        get_segment(w, kind, segment);
        e->u.frame.segment = *segment;
        get_frame(w, e);
    }
}

/* Appends; each extent takes at least three bytes of the input, which bounds the list. */
static int decode_into(struct shale_slice value, struct extent_list *l)
{
    struct wire w = wire_of(value);
    struct shale_ulid segment = { 0, 0 };
    uint32_t pos = 0;
    size_t first = l->n;

    if (wire_u8(&w) != FORM_VERSION)
        w.bad = true;
    while (!w.bad && w.p < w.end) {
        struct extent e;
        int rc;

        get_extent(&w, pos, &segment, &e);
        if (w.bad || (l->n > first && continues(&l->v[l->n - 1], &e)))
            goto corrupt;
        pos = extent_end(&e);
        rc = push(l, &e);
        if (rc < 0)
            return rc;
    }
    if (!w.bad)
        return 0;
corrupt:
    return err_set(SHALE_ECORRUPT, "a list of extents of %zu bytes is not valid at byte %zu", value.len,
                   value.len - wire_left(&w));
}

/* The bytes of inline extents are borrowed from value. */
int extent_list_decode(struct shale_slice value, struct extent_list *l)
{
    int rc;

    extent_list_clear(l);
    rc = decode_into(value, l);
    if (rc < 0)
        extent_list_clear(l);
    return rc;
}

/* Append b laid over a to out, which is neither. Linear in both: pos never goes back. */
static int overlay(const struct extent *a, size_t na, const struct extent *b, size_t nb, struct extent_list *out)
{
    uint32_t pos = 0;
    size_t i = 0;
    int rc = 0;

    for (size_t j = 0; j <= nb && rc == 0; j++) {
        uint32_t gap_end = j < nb ? b[j].offset : UINT32_MAX;

        while (i < na && a[i].offset < gap_end && rc == 0) {
            struct extent e = a[i];

            if (extent_trim(&e, pos, gap_end))
                rc = push(out, &e);
            if (extent_end(&a[i]) > gap_end)
                break; /* reaches under b[j], and may come out behind it */
            i++;
        }
        if (rc == 0 && j < nb) {
            rc = push(out, &b[j]);
            pos = extent_end(&b[j]);
        }
    }
    return rc;
}

/* out borrows from both. It may be the same memory as neither. */
int extent_overlay(const struct extent_list *lower, const struct extent_list *upper, struct extent_list *out)
{
    int rc;

    extent_list_clear(out);
    rc = overlay(lower->v, lower->n, upper->v, upper->n, out);
    if (rc < 0)
        extent_list_clear(out);
    return rc;
}

/* One list in a larger array of extents: v[start[i]] up to v[start[i + 1]]. */
struct layers {
    struct extent_list all;
    size_t *start;
    size_t n;
};

static void layers_fini(struct layers *s)
{
    extent_list_fini(&s->all);
    mem_free(s->start);
}

/* All lists in one array, the oldest first; start has one entry more than there are lists. */
static int layers_load(struct layers *s, const struct shale_slice *existing, const struct shale_slice *operands,
                       size_t n)
{
    int rc;

    s->start = mem_calloc(size_add(n, 2), sizeof(*s->start));
    if (!s->start)
        return -ENOMEM;
    rc = vec_reserve(&s->all.v, &s->all.cap, size_add(n, 1), sizeof(*s->all.v));
    if (rc == 0 && existing)
        rc = decode_into(*existing, &s->all);
    if (existing)
        s->start[++s->n] = s->all.n;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = decode_into(operands[i], &s->all);
        s->start[++s->n] = s->all.n;
    }
    return rc;
}

/*
 * Lay the layers over each other in pairs, into next: half as many remain, in the same order. Overlaying is
 * associative, so that log n such rounds, each linear, do what laying one after the other on a growing list does in n.
 */
static int layers_halve(struct layers *s, struct extent_list *next)
{
    size_t out = 0;
    int rc;

    extent_list_clear(next);
    rc = vec_reserve(&next->v, &next->cap, s->all.n + 1, sizeof(*next->v));
    for (size_t i = 0; i < s->n && rc == 0; i += 2) {
        const size_t *at = &s->start[i];
        size_t nb = i + 1 < s->n ? at[2] - at[1] : 0;

        rc = overlay(s->all.v + at[0], at[1] - at[0], s->all.v + at[1], nb, next);
        s->start[++out] = next->n; /* start[out] was used up: out <= i + 1 */
    }
    s->n = out;
    return rc;
}

/* Bytes are copied once, by the encoder at the end; the rounds before move only descriptions of them. */
int extent_fold(const struct shale_slice *existing, const struct shale_slice *operands, size_t n,
                struct shale_buf *out)
{
    struct extent_list next = EXTENT_LIST_INIT;
    struct layers s = { EXTENT_LIST_INIT, NULL, 0 };
    int rc = layers_load(&s, existing, operands, n);

    while (rc == 0 && s.n > 1) {
        struct extent_list t = s.all;

        rc = layers_halve(&s, &next);
        s.all = next;
        next = t;
    }
    if (rc == 0)
        rc = extent_list_encode(&s.all, existing ? EXTENT_VALUE : EXTENT_OPERAND, out);
    extent_list_fini(&next);
    layers_fini(&s);
    return rc;
}

/* Every byte of dst is written, with zeros where the list has nothing: a caller never sees what was there before. */
int extent_list_read(const struct extent_list *l, uint32_t offset, uint8_t *dst, uint32_t len, extent_frame_fn fn,
                     void *arg)
{
    uint32_t pos = offset, end = len > UINT32_MAX - offset ? UINT32_MAX : offset + len;
    int rc = 0;

    for (size_t i = 0; i < l->n && l->v[i].offset < end && rc == 0; i++) {
        struct extent e = l->v[i];

        if (e.kind == EXTENT_HOLE || !extent_trim(&e, pos, end))
            continue;
        memset(dst + (pos - offset), 0, e.offset - pos);
        if (e.kind == EXTENT_INLINE)
            memcpy(dst + (e.offset - offset), e.u.data, e.length);
        else
            rc = fn(arg, &e, dst + (e.offset - offset));
        pos = extent_end(&e);
    }
    if (rc == 0 && pos < end)
        memset(dst + (pos - offset), 0, end - pos);
    return rc;
}

int extent_read(struct shale_slice value, uint32_t offset, uint8_t *dst, uint32_t len, extent_frame_fn fn, void *arg)
{
    struct extent_list l = EXTENT_LIST_INIT;
    int rc = extent_list_decode(value, &l);

    if (rc == 0)
        rc = extent_list_read(&l, offset, dst, len, fn, arg);
    extent_list_fini(&l);
    return rc;
}

uint64_t extent_data_bytes(const struct extent_list *l, uint32_t from, uint32_t to)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < l->n; i++) {
        struct extent e = l->v[i];

        if (e.kind != EXTENT_HOLE && extent_trim(&e, from, to))
            sum += e.length;
    }
    return sum;
}
