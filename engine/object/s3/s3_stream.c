/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a chunk, as the S3 API reference has them:
 *   <length in hex>;chunk-signature=<signature>CRLF <bytes> CRLF
 * All chunks but the last are CHUNK long, so that a place in the stream tells its chunk; an empty one ends the stream.
 */

#include "object/s3/s3_stream.h"

#include "base/alloc.h"
#include "base/slice.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#define CHUNK ((size_t)1 << 20)
#define SIGNATURE ";chunk-signature="
#define HEAD_MAX 128

struct head {
    char text[HEAD_MAX];
};

struct s3_stream {
    struct shale_slice body;
    size_t n_chunks; /* without the empty one */
    char (*hashes)[SIGV4_HASH_LEN + 1]; /* by chunk; written by s3_stream_hash_next */
    atomic_size_t n_hashed;             /* release: the hashes before it are there */
    /* The client's thread's: */
    struct sigv4_chunks chain;
    struct head *heads; /* by chunk, the empty one with them */
    size_t n_signed;
};

/* Of chunk i, of n_chunks that is the empty one. */
static struct shale_slice chunk_of(const struct s3_stream *st, size_t i)
{
    size_t left = st->body.len - (i < st->n_chunks ? i * CHUNK : st->body.len);

    return slice_of(left ? st->body.data + i * CHUNK : NULL, left < CHUNK ? left : CHUNK);
}

static size_t head_len(size_t chunk_len)
{
    return (size_t)snprintf(NULL, 0, "%zx", chunk_len) + sizeof(SIGNATURE) - 1 + SIGV4_HASH_LEN + 2;
}

static size_t frame_len(size_t chunk_len)
{
    return head_len(chunk_len) + chunk_len + 2;
}

static uint64_t place_of(const struct s3_stream *st, size_t i)
{
    if (i < st->n_chunks)
        return (uint64_t)i * frame_len(CHUNK);
    return (uint64_t)(i - 1) * frame_len(CHUNK) + frame_len(chunk_of(st, i - 1).len);
}

static size_t chunk_at(const struct s3_stream *st, uint64_t at)
{
    return at >= place_of(st, st->n_chunks) ? st->n_chunks : (size_t)(at / frame_len(CHUNK));
}

int s3_stream_new(struct shale_slice body, struct s3_stream **out)
{
    struct s3_stream *st = mem_zalloc(sizeof(*st));

    if (!st)
        return -ENOMEM;
    st->body = body;
    st->n_chunks = (body.len + CHUNK - 1) / CHUNK;
    st->hashes = mem_calloc(st->n_chunks, sizeof(*st->hashes));
    st->heads = mem_calloc(st->n_chunks + 1, sizeof(*st->heads));
    if (!st->hashes || !st->heads || (s3_stream_hash_next(st), atomic_load(&st->n_hashed) == 0)) {
        s3_stream_free(st);
        return -ENOMEM;
    }
    *out = st;
    return 0;
}

void s3_stream_free(struct s3_stream *st)
{
    if (!st)
        return;
    sigv4_chunks_fini(&st->chain);
    mem_free(st->hashes);
    mem_free(st->heads);
    mem_free(st);
}

bool s3_stream_hash_next(struct s3_stream *st)
{
    size_t i = atomic_load_explicit(&st->n_hashed, memory_order_relaxed);

    if (i == st->n_chunks || sigv4_hash(chunk_of(st, i), st->hashes[i]) < 0)
        return false;
    atomic_store_explicit(&st->n_hashed, i + 1, memory_order_release);
    return true;
}

int s3_stream_sign(struct s3_stream *st, const struct sigv4_request *r, const char *secret_key,
                   struct shale_slice authorization)
{
    st->n_signed = 0;
    return sigv4_chunks_begin(&st->chain, r, secret_key, authorization);
}

/* Signatures are made in order, and kept for the case that the stream goes out once more. */
static int sign_next(struct s3_stream *st)
{
    size_t i = st->n_signed, len = chunk_of(st, i).len;
    char own[SIGV4_HASH_LEN + 1], signature[SIGV4_HASH_LEN + 1];
    const char *hash = own;
    int rc = 0;

    if (i < atomic_load_explicit(&st->n_hashed, memory_order_acquire))
        hash = st->hashes[i];
    else
        rc = sigv4_hash(chunk_of(st, i), own);
    if (rc == 0)
        rc = sigv4_chunk(&st->chain, hash, signature);
    if (rc < 0)
        return rc;
    snprintf(st->heads[i].text, HEAD_MAX, "%zx" SIGNATURE "%s\r\n", len, signature);
    st->n_signed++;
    return 0;
}

/* Copy what of part lies behind *skip, as much as there is room for. The number of bytes. */
static size_t copy_part(struct shale_slice part, uint64_t *skip, uint8_t *out, size_t room)
{
    size_t n;

    if (*skip >= part.len) {
        *skip -= part.len;
        return 0;
    }
    n = part.len - (size_t)*skip < room ? part.len - (size_t)*skip : room;
    memcpy(out, part.data + *skip, n);
    *skip = 0;
    return n;
}

static size_t copy_frame(const struct s3_stream *st, size_t i, uint64_t skip, uint8_t *out, size_t room)
{
    const struct shale_slice parts[] = { slice_str(st->heads[i].text), chunk_of(st, i), slice_str("\r\n") };
    size_t n = 0;

    for (size_t k = 0; k < ARRAY_SIZE(parts) && n < room; k++)
        n += copy_part(parts[k], &skip, out + n, room - n);
    return n;
}

static size_t read_stream(void *arg, uint64_t at, uint8_t *out, size_t n)
{
    struct s3_stream *st = arg;
    size_t done = 0;

    while (done < n && at + done < s3_stream_source(st).len) {
        size_t i = chunk_at(st, at + done);

        while (st->n_signed <= i)
            if (sign_next(st) < 0)
                return done;
        done += copy_frame(st, i, at + done - place_of(st, i), out + done, n - done);
    }
    return done;
}

struct http_source s3_stream_source(struct s3_stream *st)
{
    return (struct http_source){ .len = place_of(st, st->n_chunks) + frame_len(0), .read = read_stream, .arg = st };
}
