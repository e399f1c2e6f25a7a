/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_FLATBUF_H
#define FORMAT_FLATBUF_H

#include "base/buf.h"

#include <shale/error.h>
#include <stdbool.h>

/*
 * FlatBuffers without generated code: a reader that verifies what it touches, and a back-to-front builder.
 * Source: SlateDB 0.12.1 (the flatbuffers crate), storage format sections 5.4-5.6.
 *
 * Both keep the first error and then do nothing but return absent fields or zero references, so a codec may read or
 * write a whole table and look at rc once; loops look at it in their condition.
 */

#define FB_MAX_DEPTH 64
#define FB_MAX_TABLES 1000000000u      /* manifest, compactions, info, index */
#define FB_MAX_TABLES_STATS 1000000u   /* stats */

/*
 * Reading. Positions, and so alignment, count from the start of the FlatBuffer. Every access checks bounds, alignment
 * and the limits; a table that is reached twice counts twice. The ranges visited may sum up to 2 GiB, and also not to
 * more than a generous multiple of the input: a small input with many references to one table cannot grow into a
 * large model.
 */
struct fb_reader {
    const uint8_t *data; /* borrowed */
    size_t len;
    const char *what;    /* noun for error sentences: "manifest" */
    uint32_t tables_left;
    uint64_t bytes_left;
    int rc;              /* 0 or the first error: SHALE_ECORRUPT, or what fb_fail was given */
};

/* A verified table. All zero is a table without fields. */
struct fb_table {
    size_t pos;
    size_t vtable;
    uint16_t vtable_len;
    uint16_t depth;
};

/* A verified vector: n elements from pos on. All zero is empty. */
struct fb_vector {
    size_t pos;
    uint32_t n;
    uint16_t depth;
};

void fb_reader_init(struct fb_reader *r, struct shale_slice in, const char *what, uint32_t max_tables);
/* Record rc with a sentence (unless there was an error before) and return the reader's error. */
int fb_fail(struct fb_reader *r, int rc, const char *why);
/* The same for -ENOMEM, which needs no sentence. */
int fb_nomem(struct fb_reader *r);
struct fb_table fb_root(struct fb_reader *r);

/* Whether slot is present, whatever its type. */
bool fb_has(struct fb_reader *r, const struct fb_table *t, unsigned slot);
uint8_t fb_u8(struct fb_reader *r, const struct fb_table *t, unsigned slot, uint8_t absent);
uint16_t fb_u16(struct fb_reader *r, const struct fb_table *t, unsigned slot, uint16_t absent);
uint32_t fb_u32(struct fb_reader *r, const struct fb_table *t, unsigned slot, uint32_t absent);
uint64_t fb_u64(struct fb_reader *r, const struct fb_table *t, unsigned slot, uint64_t absent);

/* Optional references: true when present and good. */
bool fb_table(struct fb_reader *r, const struct fb_table *t, unsigned slot, struct fb_table *out);
bool fb_bytes(struct fb_reader *r, const struct fb_table *t, unsigned slot, struct shale_slice *out);
/* UTF-8 with a NUL behind it; a NUL inside is refused, since the result becomes a C string. */
bool fb_string(struct fb_reader *r, const struct fb_table *t, unsigned slot, struct shale_slice *out);
bool fb_vector(struct fb_reader *r, const struct fb_table *t, unsigned slot, size_t elem_size, struct fb_vector *out);

/* The same, but absence is an error that names the field. */
struct fb_table fb_table_req(struct fb_reader *r, const struct fb_table *t, unsigned slot, const char *name);
struct shale_slice fb_bytes_req(struct fb_reader *r, const struct fb_table *t, unsigned slot, const char *name);
struct shale_slice fb_string_req(struct fb_reader *r, const struct fb_table *t, unsigned slot, const char *name);
/* Of references to tables. */
struct fb_vector fb_tables_req(struct fb_reader *r, const struct fb_table *t, unsigned slot, const char *name);

/* Element i < n of a vector of tables, of u32. */
struct fb_table fb_table_at(struct fb_reader *r, const struct fb_vector *v, uint32_t i);
uint32_t fb_u32_at(const struct fb_reader *r, const struct fb_vector *v, uint32_t i);

/*
 * Building. Bytes are written from the end towards the front, children before parents; equal vtables are shared.
 * A reference is the distance of an object from the end of the buffer, so it stays valid while the buffer grows.
 */
typedef uint32_t fb_ref; /* 0: none */

#define FB_MAX_SLOTS 20
#define FB_VTABLE_CACHE 32
#define FB_MAX_LEN ((size_t)INT32_MAX)

/* Not more than 2 GiB, where the signed 32-bit distances of the format end: -EFBIG. */
struct fb_builder {
    uint8_t *data; /* owned; the bytes lie at its end */
    size_t cap, used;
    size_t align; /* greatest seen */
    size_t tail;  /* of the table being written: used before its first field */
    uint32_t field[FB_MAX_SLOTS];
    unsigned n_fields; /* highest slot written + 1 */
    uint32_t vtables[FB_VTABLE_CACHE];
    unsigned n_vtables; /* ever written; the cache is a ring */
    int rc;             /* 0, -ENOMEM, -EFBIG */
};

void fb_builder_init(struct fb_builder *b);
void fb_builder_fini(struct fb_builder *b);

/*
 * A byte vector, aligned for its length word. None of the put functions may be called between
 * fb_begin and fb_end.
 */
fb_ref fb_put_bytes(struct fb_builder *b, struct shale_slice s);
fb_ref fb_put_string(struct fb_builder *b, const char *s);
fb_ref fb_put_u32s(struct fb_builder *b, const uint32_t *v, size_t n);
fb_ref fb_put_refs(struct fb_builder *b, const fb_ref *v, size_t n);

/*
 * One table: begin, fields in descending size, end. Between begin and end nothing else is written. A scalar that
 * equals absent is left out, and so is a reference 0.
 */
void fb_begin(struct fb_builder *b);
void fb_add_u64(struct fb_builder *b, unsigned slot, uint64_t v, uint64_t absent);
void fb_add_u32(struct fb_builder *b, unsigned slot, uint32_t v, uint32_t absent);
void fb_add_ref(struct fb_builder *b, unsigned slot, fb_ref ref);
void fb_add_u16(struct fb_builder *b, unsigned slot, uint16_t v, uint16_t absent);
/* Even when it is a default: an optional scalar. */
void fb_add_u16_always(struct fb_builder *b, unsigned slot, uint16_t v);
void fb_add_u8(struct fb_builder *b, unsigned slot, uint8_t v, uint8_t absent);
fb_ref fb_end(struct fb_builder *b);

/* Append the finished buffer to out. 0, or the first error (out unchanged). */
int fb_finish(struct fb_builder *b, fb_ref root, struct shale_buf *out);

#endif
