/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifying reader. Nothing is checked up front: each access checks what it touches, so that a
 * table costs what is read of it, and a codec cannot forget a check. How a table lies in the buffer
 * (storage format 5.4, all little-endian):
 *   root:    u32 distance to the table
 *   table:   i32 distance back to its vtable | fields
 *   vtable:  u16 its own length | u16 length of the table | u16 offset of field 0 | ...     offset 0: absent
 *   vector:  u32 n | elements             string: the same with a NUL behind it
 * Untrusted input can neither lead outside the buffer, nor recurse deeper than FB_MAX_DEPTH, nor make
 * us visit more than a multiple of its own length (bytes_left).
 */

#include "format/flatbuf.h"

#include "base/err.h"

#include <errno.h>

#define APPARENT_MAX (1ull << 31)
/* Visits per byte of input. Shared vtables and default-only tables cost less than ten. */
#define APPARENT_FACTOR 64
#define APPARENT_SLACK 65536

void fb_reader_init(struct fb_reader *r, struct shale_slice in, const char *what, uint32_t max_tables)
{
    uint64_t budget = APPARENT_MAX;

    if (in.len < (APPARENT_MAX - APPARENT_SLACK) / APPARENT_FACTOR)
        budget = in.len * APPARENT_FACTOR + APPARENT_SLACK;
    *r = (struct fb_reader){
        .data = in.data, .len = in.len, .what = what, .tables_left = max_tables, .bytes_left = budget,
    };
}

int fb_fail(struct fb_reader *r, int rc, const char *why)
{
    if (r->rc == 0)
        r->rc = err_set(rc, "malformed %s: %s", r->what, why);
    return r->rc;
}

int fb_nomem(struct fb_reader *r)
{
    if (r->rc == 0)
        r->rc = -ENOMEM;
    return r->rc;
}

/*
 * Whether len bytes at pos may be read as objects of the given alignment; counts the visit.
 * The one place where a position becomes trusted. Written so that no sum can overflow: pos is compared
 * before len.
 */
static bool range_ok(struct fb_reader *r, size_t pos, size_t len, size_t align)
{
    if (r->rc != 0)
        return false;
    if (pos > r->len || len > r->len - pos)
        fb_fail(r, SHALE_ECORRUPT, "a range passes the end of the buffer");
    else if (pos % align != 0)
        fb_fail(r, SHALE_ECORRUPT, "misaligned object");
    else if (len > r->bytes_left)
        fb_fail(r, SHALE_ECORRUPT, "it refers to the same bytes too often");
    else
        r->bytes_left -= len;
    return r->rc == 0;
}

/*
 * Where the reference at pos leads; 0 on error.
 * References point forward only and are below 4 GiB, so that the sum fits size_t; whether the target is
 * inside is for the next range_ok.
 */
static size_t follow_offset(struct fb_reader *r, size_t pos)
{
    if (!range_ok(r, pos, 4, 4))
        return 0;
    return pos + get_u32le(r->data + pos);
}

/* The distance to the vtable is signed and may lead either way, as equal vtables are shared. */
static struct fb_table table_verify(struct fb_reader *r, size_t pos, uint16_t depth)
{
    const struct fb_table none = { 0 };
    struct fb_table t = { .pos = pos, .depth = depth };
    int64_t vtable;

    if (!range_ok(r, pos, 4, 4))
        return none;
    if (depth > FB_MAX_DEPTH || r->tables_left == 0) {
        fb_fail(r, SHALE_ECORRUPT, depth > FB_MAX_DEPTH ? "tables are nested too deeply" : "too many tables");
        return none;
    }
    r->tables_left--;
    vtable = (int64_t)pos - (int32_t)get_u32le(r->data + pos);
    if (vtable < 0) {
        fb_fail(r, SHALE_ECORRUPT, "vtable before the start of the buffer");
        return none;
    }
    t.vtable = (size_t)vtable;
    if (!range_ok(r, t.vtable, 4, 2))
        return none;
    t.vtable_len = get_u16le(r->data + t.vtable);
    if (t.vtable_len % 2 != 0 || t.vtable_len < 4) {
        fb_fail(r, SHALE_ECORRUPT, "bad vtable length");
        return none;
    }
    return range_ok(r, t.vtable, t.vtable_len, 2) ? t : none;
}

/* Position of a field, or 0 when it is absent (no field can lie at 0, where the root reference is). */
static size_t field_pos(const struct fb_reader *r, const struct fb_table *t, unsigned slot)
{
    size_t at = 4 + 2 * (size_t)slot;
    uint16_t offset;

    if (r->rc != 0 || at + 2 > t->vtable_len)
        return 0;
    offset = get_u16le(r->data + t->vtable + at);
    return offset ? t->pos + offset : 0;
}

struct fb_table fb_root(struct fb_reader *r)
{
    size_t pos = follow_offset(r, 0);

    return table_verify(r, pos, 1);
}

bool fb_has(struct fb_reader *r, const struct fb_table *t, unsigned slot)
{
    return field_pos(r, t, slot) != 0;
}

uint8_t fb_u8(struct fb_reader *r, const struct fb_table *t, unsigned slot, uint8_t absent)
{
    size_t pos = field_pos(r, t, slot);

    return pos && range_ok(r, pos, 1, 1) ? r->data[pos] : absent;
}

uint16_t fb_u16(struct fb_reader *r, const struct fb_table *t, unsigned slot, uint16_t absent)
{
    size_t pos = field_pos(r, t, slot);

    return pos && range_ok(r, pos, 2, 2) ? get_u16le(r->data + pos) : absent;
}

uint32_t fb_u32(struct fb_reader *r, const struct fb_table *t, unsigned slot, uint32_t absent)
{
    size_t pos = field_pos(r, t, slot);

    return pos && range_ok(r, pos, 4, 4) ? get_u32le(r->data + pos) : absent;
}

uint64_t fb_u64(struct fb_reader *r, const struct fb_table *t, unsigned slot, uint64_t absent)
{
    size_t pos = field_pos(r, t, slot);

    return pos && range_ok(r, pos, 8, 8) ? get_u64le(r->data + pos) : absent;
}

bool fb_table(struct fb_reader *r, const struct fb_table *t, unsigned slot, struct fb_table *out)
{
    size_t pos = field_pos(r, t, slot);

    if (!pos)
        return false;
    pos = follow_offset(r, pos);
    *out = table_verify(r, pos, (uint16_t)(t->depth + 1));
    return r->rc == 0;
}

bool fb_vector(struct fb_reader *r, const struct fb_table *t, unsigned slot, size_t elem_size, struct fb_vector *out)
{
    size_t pos = field_pos(r, t, slot);
    struct fb_vector v = { .depth = t->depth };

    if (!pos)
        return false;
    pos = follow_offset(r, pos);
    if (!range_ok(r, pos, 4, 4))
        return false;
    v.n = get_u32le(r->data + pos);
    v.pos = pos + 4;
    if (!range_ok(r, v.pos, v.n * elem_size, elem_size))
        return false;
    *out = v;
    return true;
}

bool fb_bytes(struct fb_reader *r, const struct fb_table *t, unsigned slot, struct shale_slice *out)
{
    struct fb_vector v;

    if (!fb_vector(r, t, slot, 1, &v))
        return false;
    *out = (struct shale_slice){ .data = r->data + v.pos, .len = v.n };
    return true;
}

/*
 * Bytes of the character at p (left > 0), or 0 when it is not UTF-8: overlong, a surrogate, too large, cut short.
 * The table of the Unicode standard (well-formed byte sequences). SlateDB's verifier refuses the same.
 */
static size_t utf8_len(const uint8_t *p, size_t left)
{
    uint8_t lo = 0x80, hi = 0xbf;
    size_t n;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        lo = 0xa0;
    else if (p[0] == 0xed)
        hi = 0x9f;
    else if (p[0] == 0xf0)
        lo = 0x90;
    else if (p[0] == 0xf4)
        hi = 0x8f;
    if (left < n || p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

static bool is_c_string(struct shale_slice s)
{
    size_t n;

    for (size_t i = 0; i < s.len; i += n) {
        n = utf8_len(s.data + i, s.len - i);
        if (n == 0 || s.data[i] == 0)
            return false;
    }
    return true;
}

bool fb_string(struct fb_reader *r, const struct fb_table *t, unsigned slot, struct shale_slice *out)
{
    struct shale_slice s;
    size_t end;

    if (!fb_bytes(r, t, slot, &s))
        return false;
    end = (size_t)(s.data - r->data) + s.len;
    if (!range_ok(r, end, 1, 1))
        return false;
    if (r->data[end] != 0 || !is_c_string(s)) {
        fb_fail(r, SHALE_ECORRUPT, "a string is not UTF-8 or has no NUL at its end");
        return false;
    }
    *out = s;
    return true;
}

static void missing(struct fb_reader *r, const char *name)
{
    if (r->rc == 0)
        r->rc = err_set(SHALE_ECORRUPT, "malformed %s: required field %s is missing", r->what, name);
}

struct fb_table fb_table_req(struct fb_reader *r, const struct fb_table *t, unsigned slot, const char *name)
{
    struct fb_table out = { 0 };

    if (!fb_table(r, t, slot, &out))
        missing(r, name);
    return out;
}

struct shale_slice fb_bytes_req(struct fb_reader *r, const struct fb_table *t, unsigned slot, const char *name)
{
    struct shale_slice out = { 0 };

    if (!fb_bytes(r, t, slot, &out))
        missing(r, name);
    return out;
}

struct shale_slice fb_string_req(struct fb_reader *r, const struct fb_table *t, unsigned slot, const char *name)
{
    struct shale_slice out = { 0 };

    if (!fb_string(r, t, slot, &out))
        missing(r, name);
    return out;
}

struct fb_vector fb_tables_req(struct fb_reader *r, const struct fb_table *t, unsigned slot, const char *name)
{
    struct fb_vector out = { 0 };

    if (!fb_vector(r, t, slot, 4, &out))
        missing(r, name);
    return out;
}

struct fb_table fb_table_at(struct fb_reader *r, const struct fb_vector *v, uint32_t i)
{
    size_t pos = follow_offset(r, v->pos + 4 * (size_t)i);

    return table_verify(r, pos, (uint16_t)(v->depth + 1));
}

uint32_t fb_u32_at(const struct fb_reader *r, const struct fb_vector *v, uint32_t i)
{
    return get_u32le(r->data + v->pos + 4 * (size_t)i);
}
