/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The builder. The buffer grows towards lower addresses: what is written first ends up last, so
 * children come before the tables that refer to them, and a reference counts from the end, where
 * nothing moves:
 *   data                                 data + cap
 *   | free            | used: root ... children |
 *                     ^ next object goes in front of here
 * Padding is computed from used, that is from the end. fb_finish pads the whole to the greatest
 * alignment seen, which makes the same objects aligned when counted from the front.
 */

#include "format/flatbuf.h"

#include "base/alloc.h"

#include <assert.h>
#include <errno.h>

#define FIRST_CAP 256

void fb_builder_init(struct fb_builder *b)
{
    *b = (struct fb_builder){ .align = 4 };
}

void fb_builder_fini(struct fb_builder *b)
{
    mem_free(b->data);
    *b = (struct fb_builder){ .align = 4 };
}

/* Doubles the room and moves the bytes to its new end. */
static int grow(struct fb_builder *b, size_t extra)
{
    size_t need = size_add(b->used, extra);
    size_t cap = b->cap ? b->cap : FIRST_CAP;
    uint8_t *p;

    if (need > FB_MAX_LEN)
        return -EFBIG;
    while (cap < need)
        cap *= 2;
    p = mem_alloc(cap);
    if (!p)
        return -ENOMEM;
    if (b->used)
        memcpy(p + cap - b->used, b->data + b->cap - b->used, b->used);
    mem_free(b->data);
    b->data = p;
    b->cap = cap;
    return 0;
}

/* Make n bytes in front of what is there; NULL on error. */
static uint8_t *take(struct fb_builder *b, size_t n)
{
    if (b->rc == 0 && (!b->data || n > b->cap - b->used))
        b->rc = grow(b, n);
    if (b->rc != 0)
        return NULL;
    b->used += n;
    return b->data + b->cap - b->used;
}

/* Pad with zeros so that an object of n bytes, written next, begins at a multiple of align. */
static void pad_for(struct fb_builder *b, size_t n, size_t align)
{
    size_t pad = (0 - (b->used + n)) & (align - 1);
    uint8_t *p = take(b, pad);

    if (align > b->align)
        b->align = align;
    if (p && pad)
        memset(p, 0, pad);
}

static fb_ref here(const struct fb_builder *b)
{
    return b->rc == 0 ? (fb_ref)b->used : 0;
}

static void push_u32(struct fb_builder *b, uint32_t v)
{
    uint8_t *p;

    pad_for(b, 4, 4);
    p = take(b, 4);
    if (p)
        put_u32le(p, v);
}

/* A reference that lies where the next four bytes go. */
static void push_ref(struct fb_builder *b, fb_ref ref)
{
    pad_for(b, 4, 4);
    push_u32(b, (uint32_t)b->used + 4 - ref);
}

fb_ref fb_put_bytes(struct fb_builder *b, struct shale_slice s)
{
    uint8_t *p;

    pad_for(b, s.len, 4);
    p = take(b, s.len);
    if (p && s.len)
        memcpy(p, s.data, s.len);
    push_u32(b, (uint32_t)s.len);
    return here(b);
}

fb_ref fb_put_string(struct fb_builder *b, const char *s)
{
    size_t len = strlen(s);
    uint8_t *p;

    pad_for(b, len + 1, 4);
    p = take(b, len + 1);
    if (p)
        memcpy(p, s, len + 1);
    push_u32(b, (uint32_t)len);
    return here(b);
}

fb_ref fb_put_u32s(struct fb_builder *b, const uint32_t *v, size_t n)
{
    for (size_t i = n; i-- > 0 && b->rc == 0;)
        push_u32(b, v[i]);
    push_u32(b, (uint32_t)n);
    return here(b);
}

fb_ref fb_put_refs(struct fb_builder *b, const fb_ref *v, size_t n)
{
    for (size_t i = n; i-- > 0 && b->rc == 0;)
        push_ref(b, v[i]);
    push_u32(b, (uint32_t)n);
    return here(b);
}

void fb_begin(struct fb_builder *b)
{
    b->tail = b->used;
    b->n_fields = 0;
    memset(b->field, 0, sizeof(b->field));
}

/* Room for a field of size bytes, noted as slot; NULL on error. */
static uint8_t *add_field(struct fb_builder *b, unsigned slot, size_t size)
{
    uint8_t *p;

    assert(slot < FB_MAX_SLOTS);
    pad_for(b, size, size);
    p = take(b, size);
    b->field[slot] = here(b);
    if (slot >= b->n_fields)
        b->n_fields = slot + 1;
    return p;
}

void fb_add_u64(struct fb_builder *b, unsigned slot, uint64_t v, uint64_t absent)
{
    uint8_t *p = v == absent ? NULL : add_field(b, slot, 8);

    if (p)
        put_u64le(p, v);
}

void fb_add_u32(struct fb_builder *b, unsigned slot, uint32_t v, uint32_t absent)
{
    uint8_t *p = v == absent ? NULL : add_field(b, slot, 4);

    if (p)
        put_u32le(p, v);
}

void fb_add_ref(struct fb_builder *b, unsigned slot, fb_ref ref)
{
    uint8_t *p = ref == 0 ? NULL : add_field(b, slot, 4);

    if (p)
        put_u32le(p, (uint32_t)b->used - ref);
}

void fb_add_u16_always(struct fb_builder *b, unsigned slot, uint16_t v)
{
    uint8_t *p = add_field(b, slot, 2);

    if (p)
        put_u16le(p, v);
}

void fb_add_u16(struct fb_builder *b, unsigned slot, uint16_t v, uint16_t absent)
{
    if (v != absent)
        fb_add_u16_always(b, slot, v);
}

void fb_add_u8(struct fb_builder *b, unsigned slot, uint8_t v, uint8_t absent)
{
    uint8_t *p = v == absent ? NULL : add_field(b, slot, 1);

    if (p)
        *p = v;
}

/*
 * A vtable equal to the len bytes at vt, among the last ones written; 0 when there is none.
 * SlateDB's builder shares all equal vtables of a buffer. A ring of the last 32 finds the same ones for
 * the few kinds of tables that our objects have, in constant time.
 */
static fb_ref vtable_find(const struct fb_builder *b, const uint8_t *vt, size_t len)
{
    unsigned n = b->n_vtables < FB_VTABLE_CACHE ? b->n_vtables : FB_VTABLE_CACHE;

    for (unsigned i = 0; i < n; i++) {
        const uint8_t *old = b->data + b->cap - b->vtables[i];

        if (get_u16le(old) == len && memcmp(old, vt, len) == 0)
            return b->vtables[i];
    }
    return 0;
}

/*
 * Writes the vtable of the table at ref, unless an equal one exists.
 * Written right behind the fields of its table, which is in front of it in the buffer.
 */
static fb_ref vtable_put(struct fb_builder *b, fb_ref table)
{
    uint8_t vt[4 + 2 * FB_MAX_SLOTS];
    size_t len = 4 + 2 * (size_t)b->n_fields;
    fb_ref ref;
    uint8_t *p;

    put_u16le(vt, (uint16_t)len);
    put_u16le(vt + 2, (uint16_t)(table - b->tail));
    for (unsigned i = 0; i < b->n_fields; i++)
        put_u16le(vt + 4 + 2 * i, (uint16_t)(b->field[i] ? table - b->field[i] : 0));
    ref = vtable_find(b, vt, len);
    if (ref)
        return ref;
    p = take(b, len);
    if (!p)
        return 0;
    memcpy(p, vt, len);
    b->vtables[b->n_vtables++ % FB_VTABLE_CACHE] = here(b);
    return here(b);
}

/* The first word of a table is written as 0 and patched once the vtable has its place. */
fb_ref fb_end(struct fb_builder *b)
{
    fb_ref table, vtable;

    push_u32(b, 0);
    table = here(b);
    if (!table)
        return 0;
    vtable = vtable_put(b, table);
    if (!vtable)
        return 0;
    put_u32le(b->data + b->cap - table, vtable - table);
    return table;
}

int fb_finish(struct fb_builder *b, fb_ref root, struct shale_buf *out)
{
    pad_for(b, 4, b->align);
    push_ref(b, root);
    if (b->rc != 0)
        return b->rc;
    return shale_buf_append(out, b->data + b->cap - b->used, b->used);
}
