/* SPDX-License-Identifier: Apache-2.0 */
#include "object/bucket.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ulid.h"
#include "object/store.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define RESERVE_MAX ((uint64_t)64 << 20) /* room that is made before anything came */

#define ASKED_MAX_S 60

int64_t bucket_retry_after(const struct http_exchange *x)
{
    const char *text = http_response_header(x, "retry-after");
    time_t date;
    int64_t s;

    if (!text || !text[0])
        return 0;
    if (strspn(text, "0123456789") == strlen(text)) {
        s = strlen(text) < 10 ? strtol(text, NULL, 10) : ASKED_MAX_S;
    } else {
        date = curl_getdate(text, NULL);
        s = date < 0 ? 0 : (int64_t)date - clock_wall_ms() / 1000 - bucket_clock_ahead(x);
    }
    return s <= 0 ? 0 : s > ASKED_MAX_S ? ASKED_MAX_S * 1000 : s * 1000;
}

bool bucket_is_distrusted(const struct http_exchange *x)
{
    return (x->rc == -EIO || x->rc == -EINVAL) && !x->status;
}

bool bucket_is_overlong(const struct http_exchange *x)
{
    return x->rc == -EIO && x->status;
}

bool bucket_may_pass(int status)
{
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505 && status != 511);
}

/* Swift says text/html of its XML, too, and of answers without a body. */
bool bucket_is_web_page(const struct http_exchange *x)
{
    const char *type = http_response_header(x, "content-type");

    if (!type || strncasecmp(type, "text/html", 9) != 0)
        return false;
    return x->method == HTTP_HEAD ||
           (x->response.len > 0 && !slice_has_prefix(slice_of_buf(&x->response), slice_str("<?xml")));
}

int64_t bucket_clock_ahead(const struct http_exchange *x)
{
    const char *date = http_response_header(x, "date");
    time_t theirs = date ? curl_getdate(date, NULL) : -1;

    return theirs < 0 ? 0 : (int64_t)theirs - clock_wall_ms() / 1000;
}

void bucket_one_line(char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            *text = ' ';
}

bool bucket_read_meta(const struct http_exchange *x, const char *put_id_header, struct shale_object_meta *out)
{
    const char *size = http_response_header(x, "content-length");
    const char *time = http_response_header(x, "last-modified");
    const char *id = http_response_header(x, put_id_header);
    time_t mtime = time ? curl_getdate(time, NULL) : -1;
    uint64_t n;

    if (!size || mtime < 0 || bucket_read_size(size, &n) < 0)
        return false;
    out->size = n;
    out->mtime_ms = (int64_t)mtime * 1000;
    if (id && strlen(id) == SHALE_PUT_ID_LEN)
        memcpy(out->put_id, id, SHALE_PUT_ID_LEN + 1);
    return true;
}

int bucket_ask_range(struct http_exchange *x, uint64_t offset, uint64_t len)
{
    x->max_response = len > UINT64_MAX - 65536 ? len : len + 65536; /* room for an error */
    x->expected = len < RESERVE_MAX ? len : RESERVE_MAX;
    x->range_offset = offset;
    x->range_len = len;
    return http_add_header(x, "Range: bytes=%" PRIu64 "-%" PRIu64, offset, offset + len - 1);
}

/*
 * "bytes 0-9/100": a store sends what there is of a range that reaches past the end. Of one that begins at the end
 * there is nothing: most stores answer 416, Azurite "bytes 10-9/10".
 */
int bucket_check_range(const struct http_exchange *x, uint64_t offset, uint64_t len, char *why, size_t size)
{
    const char *text = http_response_header(x, "content-range");
    uint64_t first, last;

    if (x->status == 200) {
        snprintf(why, size, "the store sends whole objects where a range was asked for");
        return offset == 0 && x->response.len == len ? 0 : -EOPNOTSUPP;
    }
    if (!text || sscanf(text, "bytes %" SCNu64 "-%" SCNu64, &first, &last) != 2 || first != offset ||
        last + 1 < first) {
        snprintf(why, size, "the store sent another range (\"%.60s\")", text ? text : "");
        return SHALE_ETRANSIENT;
    }
    snprintf(why, size, "it has only %" PRIu64 " of the %" PRIu64 " bytes from offset %" PRIu64, last + 1 - first, len,
             offset);
    return last + 1 - first < len ? -ERANGE : 0;
}

void bucket_take_body(struct http_exchange *x, struct shale_buf *out)
{
    *out = x->response;
    x->response = (struct shale_buf)SHALE_BUF_INIT;
}

int bucket_endpoint_parse(const char *text, struct bucket_endpoint *out)
{
    bool http = strncmp(text, "http://", 7) == 0;

    out->tls = strncmp(text, "https://", 8) == 0;
    if (!http && !out->tls)
        return err_set(-EINVAL, "the endpoint \"%.100s\" does not begin with https:// or http://", text);
    out->host = text + (http ? 7 : 8);
    out->host_len = strcspn(out->host, "/?#@");
    out->path = out->host + out->host_len;
    if (out->host_len == 0 || (*out->path && *out->path != '/') || strpbrk(out->path, "?#@"))
        return err_set(-EINVAL, "the endpoint \"%.100s\" is not of the form https://HOST or https://HOST:PORT", text);
    return 0;
}

char *bucket_absolute(const char *file)
{
    struct shale_buf path = SHALE_BUF_INIT;
    char *cwd = file[0] == '/' ? NULL : getcwd(NULL, 0);

    if (buf_printf(&path, "%s%s%s", cwd ? cwd : "", cwd ? "/" : "", file) < 0)
        shale_buf_fini(&path);
    free(cwd); /* of the C library */
    return (char *)buf_take(&path);
}

int bucket_md5(struct shale_slice body, char out[BUCKET_MD5_LEN + 1])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (EVP_Digest(body.len ? (const void *)body.data : "", body.len, digest, &n, EVP_md5(), NULL) != 1 || n != 16)
        return -EIO;
    EVP_EncodeBlock((uint8_t *)out, digest, (int)n);
    return 0;
}

/* A library that is told to do without MD5 leaves nothing to compare. */
bool bucket_md5_fits(const struct http_exchange *x)
{
    const char *want = http_response_header(x, "content-md5");
    char md5[BUCKET_MD5_LEN + 1];

    return !want || bucket_md5(slice_of_buf(&x->response), md5) < 0 || strcmp(md5, want) == 0;
}

/* 0: it is ours; *whole: of the size it should have. -EEXIST: it is another's. */
static int resolve_exists(struct shale_store *s, const char *bucket, const char *name, const char *put_id, uint64_t size,
                          bool *whole)
{
    struct shale_object_meta meta = { 0 };
    int rc = s->ops->head(s, name, &meta);

    if (rc < 0 && rc != -ENOENT)
        return rc == SHALE_ETRANSIENT ? err_add(rc, "cannot tell who wrote %s", name) : rc;
    if (rc == 0 && strcmp(meta.put_id, put_id) == 0) {
        *whole = meta.size == size;
        return 0;
    }
    return err_set(-EEXIST, "object %s://%s/%s exists already", s->ops->scheme, bucket, name);
}

int bucket_put(struct shale_store *s, const char *bucket, const char *name, struct shale_slice data,
               enum shale_put_mode mode, const char *put_id, bucket_put_fn once)
{
    char fresh[SHALE_PUT_ID_LEN + 1];
    bool whole = true;
    int rc;

    if (mode != SHALE_PUT_IF_ABSENT)
        return once(s, name, data, false, put_id);
    if (!put_id) {
        ulid_format(ulid_new(clock_wall_ms(), NULL), fresh);
        put_id = fresh;
    }
    rc = once(s, name, data, true, put_id);
    if (rc == -EEXIST)
        rc = resolve_exists(s, bucket, name, put_id, data.len, &whole);
    return rc == 0 && !whole ? once(s, name, data, false, put_id) : rc;
}

/* ---- listings ---- */

void bucket_listing_fini(struct bucket_listing *l)
{
    shale_buf_fini(&l->name);
    shale_buf_fini(&l->token);
    shale_buf_fini(&l->last);
}

int bucket_read_size(const char *text, uint64_t *size)
{
    char *end;

    errno = 0;
    *size = strtoull(text, &end, 10);
    return end == text || *end || errno ? -EBADMSG : 0;
}

int bucket_listing_tell(struct bucket_listing *l)
{
    const char *name = (const char *)l->name.data;

    if (l->name.len == 0)
        return -EBADMSG;
    if (store_name_error(name, l->name.len) || !slice_has_prefix(slice_of_buf(&l->name), slice_str(l->prefix)))
        return 0;
    if (l->last.len && slice_cmp(slice_of_buf(&l->name), slice_of_buf(&l->last)) <= 0) {
        l->disordered = true;
        return -EBADMSG;
    }
    if (buf_set(&l->last, slice_of_buf(&l->name)) < 0)
        return -ENOMEM;
    if (l->start_after && strcmp(name, l->start_after) <= 0)
        return 0;
    l->told = l->fn(l->arg, name, &l->meta);
    return l->told;
}

int bucket_listing_outcome(const struct bucket_listing *l, int rc, const char **why)
{
    *why = NULL;
    if (l->told)
        return l->told;
    if (l->disordered) {
        *why = "the store does not list in the order of names";
        return -EIO;
    }
    if (rc != -EBADMSG)
        return rc;
    *why = "the store's listing is not understood";
    return SHALE_ETRANSIENT;
}
