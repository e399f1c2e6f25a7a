/* SPDX-License-Identifier: Apache-2.0 */
#include "net/sigv4.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/slice.h"
#include "net/canonical.h"
#include "net/secret.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <time.h>

static const struct {
    const char *algorithm, *key_prefix, *terminator;
} families[] = {
    [SIGV4_AWS] = { "AWS4-HMAC-SHA256", "AWS4", "aws4_request" },
    [SIGV4_GOOG] = { "GOOG4-HMAC-SHA256", "GOOG4", "goog4_request" },
};

void sigv4_time(int64_t now_s, char out[SIGV4_TIME_LEN + 1])
{
    time_t t = (time_t)now_s;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(out, SIGV4_TIME_LEN + 1, "%Y%m%dT%H%M%SZ", &tm) != SIGV4_TIME_LEN)
        memcpy(out, "19700101T000000Z", SIGV4_TIME_LEN + 1);
}

static void to_hex(const uint8_t digest[CANONICAL_DIGEST_LEN], char out[SIGV4_HASH_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < CANONICAL_DIGEST_LEN; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[SIGV4_HASH_LEN] = '\0';
}

int sigv4_hash(struct shale_slice body, char out[SIGV4_HASH_LEN + 1])
{
    uint8_t digest[CANONICAL_DIGEST_LEN];

    if (EVP_Digest(body.len ? (const void *)body.data : "", body.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return -ENOMEM;
    to_hex(digest, out);
    return 0;
}

static int put_names(struct shale_buf *out, const struct canonical_header *h, size_t n)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        if (i > 0)
            rc = buf_put_u8(out, ';');
        if (rc == 0)
            rc = canonical_put_lower(out, h[i].name);
    }
    return rc;
}

/* At least what canonical writes: it holds a session token, so it must not move. */
static size_t canonical_len(const struct sigv4_request *r)
{
    size_t n = strlen(r->method) + strlen(r->path) + strlen(r->query) + strlen(r->payload) + 16;

    for (size_t i = 0; i < r->n_headers; i++)
        n += 2 * strlen(r->headers[i]) + 4;
    return n;
}

/* The request in the one form that both sides hash. */
static int canonical(const struct sigv4_request *r, const struct canonical_header *h, struct shale_buf *out)
{
    int rc = secret_buf_reserve(out, canonical_len(r));

    if (rc == 0)
        rc = buf_printf(out, "%s\n%s\n%s\n", r->method, r->path, r->query);
    if (rc == 0)
        rc = canonical_put_headers(out, h, r->n_headers);
    if (rc == 0)
        rc = buf_put_u8(out, '\n');
    if (rc == 0)
        rc = put_names(out, h, r->n_headers);
    return rc == 0 ? buf_printf(out, "\n%s", r->payload) : rc;
}

static int hmac(const void *key, size_t key_len, const char *text, uint8_t out[CANONICAL_DIGEST_LEN])
{
    return canonical_hmac(slice_of(key, key_len), slice_str(text), out);
}

static int signing_key(const struct sigv4_request *r, const char *secret, uint8_t key[CANONICAL_DIGEST_LEN])
{
    struct shale_buf first = SHALE_BUF_INIT;
    char day[9];
    const char *prefix = families[r->family].key_prefix;
    int rc = secret_buf_reserve(&first, strlen(prefix) + strlen(secret) + 1);

    memcpy(day, r->time, 8);
    day[8] = '\0';
    if (rc == 0)
        rc = buf_printf(&first, "%s%s", prefix, secret);
    if (rc == 0)
        rc = hmac(first.data, first.len, day, key);
    secret_buf_fini(&first);
    if (rc == 0)
        rc = hmac(key, CANONICAL_DIGEST_LEN, r->region, key);
    if (rc == 0)
        rc = hmac(key, CANONICAL_DIGEST_LEN, r->service, key);
    return rc == 0 ? hmac(key, CANONICAL_DIGEST_LEN, families[r->family].terminator, key) : rc;
}

static int sign(const struct sigv4_request *r, struct shale_slice request, const char *scope, const char *secret,
                char signature[SIGV4_HASH_LEN + 1])
{
    struct shale_buf text = SHALE_BUF_INIT;
    char hash[SIGV4_HASH_LEN + 1];
    uint8_t key[CANONICAL_DIGEST_LEN];
    int rc = sigv4_hash(request, hash);

    if (rc == 0)
        rc = buf_printf(&text, "%s\n%s\n%s\n%s", families[r->family].algorithm, r->time, scope, hash);
    if (rc == 0)
        rc = signing_key(r, secret, key);
    if (rc == 0)
        rc = hmac(key, CANONICAL_DIGEST_LEN, (const char *)text.data, key);
    if (rc == 0)
        to_hex(key, signature);
    secret_wipe(key, sizeof(key));
    shale_buf_fini(&text);
    return rc;
}

static int put_scope(struct shale_buf *out, const struct sigv4_request *r)
{
    return buf_printf(out, "%.8s/%s/%s/%s", r->time, r->region, r->service, families[r->family].terminator);
}

int sigv4_authorize(const struct sigv4_request *r, const char *access_key, const char *secret_key,
                    struct shale_buf *out)
{
    struct shale_buf request = SHALE_BUF_INIT, scope = SHALE_BUF_INIT;
    struct canonical_header *h = mem_calloc(r->n_headers, sizeof(*h));
    char signature[SIGV4_HASH_LEN + 1];
    int rc = h ? 0 : -ENOMEM;

    for (size_t i = 0; i < r->n_headers && h; i++)
        h[i] = canonical_split(r->headers[i]);
    if (rc == 0) {
        canonical_sort(h, r->n_headers);
        rc = canonical(r, h, &request);
    }
    if (rc == 0)
        rc = put_scope(&scope, r);
    if (rc == 0)
        rc = sign(r, slice_of_buf(&request), (const char *)scope.data, secret_key, signature);
    if (rc == 0)
        rc = buf_printf(out, "%s Credential=%s/%s, SignedHeaders=", families[r->family].algorithm, access_key,
                        (const char *)scope.data);
    if (rc == 0)
        rc = put_names(out, h, r->n_headers);
    if (rc == 0)
        rc = buf_printf(out, ", Signature=%s", signature);
    secret_buf_fini(&request);
    shale_buf_fini(&scope);
    mem_free(h);
    return rc;
}

/* ---- chunk by chunk ---- */

int sigv4_chunks_begin(struct sigv4_chunks *c, const struct sigv4_request *r, const char *secret_key,
                       struct shale_slice authorization)
{
    int rc;

    if (authorization.len < SIGV4_HASH_LEN || strlen(r->time) != SIGV4_TIME_LEN)
        return -EIO;
    c->family = r->family;
    memcpy(c->time, r->time, sizeof(c->time));
    memcpy(c->last, authorization.data + authorization.len - SIGV4_HASH_LEN, SIGV4_HASH_LEN); /* it is the end of it */
    c->last[SIGV4_HASH_LEN] = '\0';
    buf_clear(&c->scope);
    rc = put_scope(&c->scope, r);
    return rc == 0 ? signing_key(r, secret_key, c->key) : rc;
}

int sigv4_chunk(struct sigv4_chunks *c, const char *hash, char signature[SIGV4_HASH_LEN + 1])
{
    struct shale_buf text = SHALE_BUF_INIT;
    char nothing[SIGV4_HASH_LEN + 1]; /* the hash of no bytes: where AWS has, in its other schemes, headers */
    uint8_t digest[CANONICAL_DIGEST_LEN];
    int rc = sigv4_hash((struct shale_slice){ 0 }, nothing);

    if (rc == 0)
        rc = buf_printf(&text, "%s-PAYLOAD\n%s\n%s\n%s\n%s\n%s", families[c->family].algorithm, c->time,
                        (const char *)c->scope.data, c->last, nothing, hash);
    if (rc == 0)
        rc = hmac(c->key, sizeof(c->key), (const char *)text.data, digest);
    shale_buf_fini(&text);
    if (rc < 0)
        return rc;
    to_hex(digest, c->last);
    memcpy(signature, c->last, sizeof(c->last));
    return 0;
}

void sigv4_chunks_fini(struct sigv4_chunks *c)
{
    secret_wipe(c->key, sizeof(c->key));
    shale_buf_fini(&c->scope);
}
