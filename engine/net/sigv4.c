/* SPDX-License-Identifier: Apache-2.0 */
#include "net/sigv4.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/slice.h"
#include "net/secret.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DIGEST_LEN 32
#define ALGORITHM "AWS4-HMAC-SHA256"

struct header {
    struct shale_slice name, value; /* of the line as it was given; the value without blanks around it */
};

void sigv4_time(int64_t now_s, char out[SIGV4_TIME_LEN + 1])
{
    time_t t = (time_t)now_s;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(out, SIGV4_TIME_LEN + 1, "%Y%m%dT%H%M%SZ", &tm) != SIGV4_TIME_LEN)
        memcpy(out, "19700101T000000Z", SIGV4_TIME_LEN + 1);
}

static void to_hex(const uint8_t digest[DIGEST_LEN], char out[SIGV4_HASH_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < DIGEST_LEN; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[SIGV4_HASH_LEN] = '\0';
}

int sigv4_hash(struct shale_slice body, char out[SIGV4_HASH_LEN + 1])
{
    uint8_t digest[DIGEST_LEN];

    if (EVP_Digest(body.len ? (const void *)body.data : "", body.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return -ENOMEM;
    to_hex(digest, out);
    return 0;
}

static int compare_headers(const void *a, const void *b)
{
    const struct header *x = a, *y = b;
    size_t n = x->name.len < y->name.len ? x->name.len : y->name.len;

    for (size_t i = 0; i < n; i++) {
        int c = tolower(x->name.data[i]) - tolower(y->name.data[i]);

        if (c != 0)
            return c;
    }
    return (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static struct header split(const char *line)
{
    size_t n = strcspn(line, ":");
    const char *v = line[n] ? line + n + 1 : line + n;
    size_t len;

    v += strspn(v, " \t");
    len = strlen(v);
    while (len > 0 && (v[len - 1] == ' ' || v[len - 1] == '\t'))
        len--;
    return (struct header){ .name = slice_of(line, n), .value = slice_of(v, len) };
}

static int put_lower(struct shale_buf *out, struct shale_slice s)
{
    uint8_t *p = buf_extend(out, s.len);

    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < s.len; i++)
        p[i] = (uint8_t)tolower(s.data[i]);
    return 0;
}

static int put_names(struct shale_buf *out, const struct header *h, size_t n)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        if (i > 0)
            rc = buf_put_u8(out, ';');
        if (rc == 0)
            rc = put_lower(out, h[i].name);
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
static int canonical(const struct sigv4_request *r, const struct header *h, struct shale_buf *out)
{
    int rc = secret_buf_reserve(out, canonical_len(r));

    if (rc == 0)
        rc = buf_printf(out, "%s\n%s\n%s\n", r->method, r->path, r->query);

    for (size_t i = 0; i < r->n_headers && rc == 0; i++) {
        rc = put_lower(out, h[i].name);
        if (rc == 0)
            rc = buf_put_u8(out, ':');
        if (rc == 0)
            rc = buf_append_slice(out, h[i].value);
        if (rc == 0)
            rc = buf_put_u8(out, '\n');
    }
    if (rc == 0)
        rc = buf_put_u8(out, '\n');
    if (rc == 0)
        rc = put_names(out, h, r->n_headers);
    return rc == 0 ? buf_printf(out, "\n%s", r->payload) : rc;
}

static int hmac(const void *key, size_t key_len, const char *text, uint8_t out[DIGEST_LEN])
{
    unsigned n = 0;

    return HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text, strlen(text), out, &n) && n == DIGEST_LEN
               ? 0 : -EIO;
}

static int signing_key(const struct sigv4_request *r, const char *secret, uint8_t key[DIGEST_LEN])
{
    struct shale_buf first = SHALE_BUF_INIT;
    char day[9];
    int rc = secret_buf_reserve(&first, strlen(secret) + 5);

    memcpy(day, r->time, 8);
    day[8] = '\0';
    if (rc == 0)
        rc = buf_printf(&first, "AWS4%s", secret);
    if (rc == 0)
        rc = hmac(first.data, first.len, day, key);
    secret_buf_fini(&first);
    if (rc == 0)
        rc = hmac(key, DIGEST_LEN, r->region, key);
    if (rc == 0)
        rc = hmac(key, DIGEST_LEN, r->service, key);
    return rc == 0 ? hmac(key, DIGEST_LEN, "aws4_request", key) : rc;
}

static int sign(const struct sigv4_request *r, struct shale_slice request, const char *scope, const char *secret,
                char signature[SIGV4_HASH_LEN + 1])
{
    struct shale_buf text = SHALE_BUF_INIT;
    char hash[SIGV4_HASH_LEN + 1];
    uint8_t key[DIGEST_LEN];
    int rc = sigv4_hash(request, hash);

    if (rc == 0)
        rc = buf_printf(&text, ALGORITHM "\n%s\n%s\n%s", r->time, scope, hash);
    if (rc == 0)
        rc = signing_key(r, secret, key);
    if (rc == 0)
        rc = hmac(key, DIGEST_LEN, (const char *)text.data, key);
    if (rc == 0)
        to_hex(key, signature);
    secret_wipe(key, sizeof(key));
    shale_buf_fini(&text);
    return rc;
}

int sigv4_authorize(const struct sigv4_request *r, const char *access_key, const char *secret_key,
                    struct shale_buf *out)
{
    struct shale_buf request = SHALE_BUF_INIT, scope = SHALE_BUF_INIT;
    struct header *h = mem_calloc(r->n_headers, sizeof(*h));
    char signature[SIGV4_HASH_LEN + 1];
    int rc = h ? 0 : -ENOMEM;

    for (size_t i = 0; i < r->n_headers && h; i++)
        h[i] = split(r->headers[i]);
    if (rc == 0) {
        qsort(h, r->n_headers, sizeof(*h), compare_headers);
        rc = canonical(r, h, &request);
    }
    if (rc == 0)
        rc = buf_printf(&scope, "%.8s/%s/%s/aws4_request", r->time, r->region, r->service);
    if (rc == 0)
        rc = sign(r, slice_of_buf(&request), (const char *)scope.data, secret_key, signature);
    if (rc == 0)
        rc = buf_printf(out, ALGORITHM " Credential=%s/%s, SignedHeaders=", access_key, (const char *)scope.data);
    if (rc == 0)
        rc = put_names(out, h, r->n_headers);
    if (rc == 0)
        rc = buf_printf(out, ", Signature=%s", signature);
    secret_buf_fini(&request);
    shale_buf_fini(&scope);
    mem_free(h);
    return rc;
}
