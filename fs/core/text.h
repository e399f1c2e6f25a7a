/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_TEXT_H
#define FS_CORE_TEXT_H

#include <shale/error.h>
#include <stdbool.h>

/*
 * Small objects that a person can read with cat:
 *
 *   magic
 *   key=value        any number, each key once, in any order
 *   crc32=0123abcd   of every byte before this line
 *
 * Each line ends with a newline. In values, bytes below 0x20, 0x7f and '%' are written %XX.
 */
struct text_out {
    struct shale_buf *buf;
    size_t start; /* where in buf the text begins */
    int rc;       /* the first failure, after which nothing is written */
};

/* Append the first line to b, and then one for each call. */
void text_begin(struct text_out *t, struct shale_buf *b, const char *magic);
void text_add(struct text_out *t, const char *key, const char *value);
void text_add_u64(struct text_out *t, const char *key, uint64_t v);
void text_add_hex(struct text_out *t, const char *key, uint64_t v);
void text_add_time(struct text_out *t, const char *key, int64_t ms); /* 2026-11-23T14:00:05.123Z; years up to 9999 */
/* Append the last line. 0; -ENOMEM or, for a time out of range, -EINVAL: then b is as it was. */
int text_end(struct text_out *t);

/*
 * Check first and last line; *lines, borrowed from data, is what stands between. what names the object in messages.
 * SHALE_ECORRUPT with a sentence.
 */
int text_open(struct shale_slice data, const char *magic, const char *what, struct shale_slice *lines);

/* The value of the first line with that key, borrowed; false when there is none. */
bool text_find(struct shale_slice lines, const char *key, struct shale_slice *value);

/* Strict readers of one value. 0 or -EINVAL. */
int text_get_u64(struct shale_slice value, uint64_t *out);
int text_get_hex(struct shale_slice value, uint64_t *out);
int text_get_time(struct shale_slice value, int64_t *ms);
/* Into out[cap] with a NUL; also -EINVAL when it does not fit or has a NUL in it. */
int text_get_string(struct shale_slice value, char *out, size_t cap);

/* One key that an object has, and who reads its value into obj: 0 or -EINVAL. */
struct text_field {
    const char *key;
    int (*get)(void *obj, struct shale_slice value);
};

/*
 * Read every line. Each of the fields must be there once. Lines with other keys are counted in *n_unknown; NULL: they
 * are an error. SHALE_ECORRUPT with a sentence that names the line; obj is then half filled.
 */
int text_parse(struct shale_slice lines, const struct text_field *fields, size_t n, const char *what, void *obj,
               size_t *n_unknown);

#endif
