/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_TYPES_H
#define SHALE_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Functions that libshale exports. */
#if defined(__GNUC__)
#define SHALE_API __attribute__((visibility("default")))
#else
#define SHALE_API
#endif

/* Bytes that belong to somebody else; each function says how long they stay. data may be NULL when len is 0. */
struct shale_slice {
    const uint8_t *data;
    size_t len;
};

/* Growable bytes. All zero is an empty buffer; the owner frees it with shale_buf_fini. */
struct shale_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

#define SHALE_BUF_INIT { NULL, 0, 0 }

/* Make room for extra more bytes. 0 or -ENOMEM (the buffer is unchanged). */
SHALE_API int shale_buf_reserve(struct shale_buf *b, size_t extra);
/* Append len bytes; data may be NULL when len is 0. 0 or -ENOMEM (the buffer is unchanged). */
SHALE_API int shale_buf_append(struct shale_buf *b, const void *data, size_t len);
/* Free the bytes and become empty. */
SHALE_API void shale_buf_fini(struct shale_buf *b);

/*
 * What a row says about its key.
 * A read shows SHALE_PUT only.
 */
enum shale_kind {
    SHALE_PUT = 0,       /* the value of the key */
    SHALE_TOMBSTONE = 1, /* the key has no value */
    SHALE_MERGE = 2,     /* an operand that the merge operator lays over what is below */
};

/* Stands for an absent creation or expiry time. */
#define SHALE_NO_TS INT64_MIN

/* One version of one key. Times are milliseconds since the Unix epoch, or SHALE_NO_TS. */
struct shale_row {
    struct shale_slice key;   /* 1..65535 bytes */
    struct shale_slice value; /* empty for a tombstone */
    uint64_t seq;             /* greater is newer; the rows of one batch share it */
    int64_t create_ts;
    int64_t expire_ts;
    enum shale_kind kind;
};

/* Longest key and value in bytes; a key has at least one byte. */
#define SHALE_KEY_MAX 65535u
#define SHALE_VALUE_MAX UINT32_MAX

/* A 128-bit id: 48 bits of milliseconds, 80 random bits. Order is numeric and equals the order of the text form. */
struct shale_ulid {
    uint64_t hi;
    uint64_t lo;
};

#define SHALE_ULID_TEXT_LEN 26

/* A version 4 UUID: hi holds bytes 0-7 and lo bytes 8-15, each read big-endian. */
struct shale_uuid {
    uint64_t hi;
    uint64_t lo;
};

#ifdef __cplusplus
}
#endif
#endif
