/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request. The signature is made when it goes out, as it holds the time; all that takes long (hashing a body,
 * asking for keys) is done before, on the caller's thread.
 */

#include "object/s3/s3.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "net/uri.h"
#include "object/bucket.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#define SIGNED_MAX 16 /* headers that are signed */

static bool is_gcs(const struct s3_store *s)
{
    return s->dialect == SHALE_S3_GCS;
}

const char *s3_meta_prefix(const struct s3_store *s)
{
    return is_gcs(s) ? "x-goog-meta-" : "x-amz-meta-";
}

int s3_call_init(struct s3_call *c, struct s3_store *s, enum http_method method, const char *verb, const char *name)
{
    int rc;

    *c = (struct s3_call){ .s = s, .verb = verb, .name = name };
    c->x.method = method;
    c->x.cls = io_class_get();
    c->x.attempt = io_attempt_get();
    c->x.object = name;
    rc = buf_printf(&c->path, "%s/", s->root);
    if (rc == 0 && name)
        rc = uri_encode(&c->path, name, true);
    if (rc == 0)
        rc = s3_call_body(c, slice_of(NULL, 0));
    return rc < 0 ? s3_call_error(c, rc, "out of memory") : 0;
}

void s3_call_fini(struct s3_call *c)
{
    http_exchange_fini(&c->x);
    s3_stream_free(c->stream);
    shale_buf_fini(&c->path);
    shale_buf_fini(&c->query);
    aws_keys_unref(c->keys);
}

int s3_call_query(struct s3_call *c, const char *name, const char *value)
{
    int rc = buf_printf(&c->query, "%s%s=", c->query.len ? "&" : "", name);

    if (rc == 0 && value)
        rc = uri_encode(&c->query, value, false);
    return rc;
}

/* TLS keeps bodies whole and to ourselves; without it the signature is all that protects them, unless it is waived. */
int s3_call_body(struct s3_call *c, struct shale_slice body)
{
    c->x.body = body;
    if (c->s->unsigned_payload && body.len) {
        memcpy(c->payload, SIGV4_UNSIGNED, sizeof(SIGV4_UNSIGNED));
        return 0;
    }
    return sigv4_hash(body, c->payload);
}

/*
 * Content-Encoding: aws-chunked, which AWS documents beside it, is left out, as MinIO's own client does: some
 * stores (radosgw 16) keep it, and send it to all who read the object.
 */
int s3_call_stream(struct s3_call *c, struct shale_slice body)
{
    int rc = s3_stream_new(body, &c->stream);

    if (rc < 0)
        return s3_call_error(c, rc, "out of memory");
    c->x.source = s3_stream_source(c->stream);
    memcpy(c->payload, SIGV4_STREAMING, sizeof(SIGV4_STREAMING));
    return http_add_header(&c->x, "x-amz-decoded-content-length: %zu", body.len);
}

/* All that changes what the request means, and the host. */
static bool is_signed(const char *line)
{
    static const char *const prefixes[] = { "host:", "x-amz-", "x-goog-", "range:", "if-", "content-md5:" };

    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (strncasecmp(line, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static int authorize(struct s3_call *c, const char *time)
{
    const char *lines[SIGNED_MAX], *line;
    struct shale_buf value = SHALE_BUF_INIT;
    struct sigv4_request r = { .method = http_method_name(c->x.method), .path = (const char *)c->path.data,
                               .query = c->query.len ? (const char *)c->query.data : "", .headers = lines,
                               .payload = c->payload, .region = c->s->region, .service = "s3", .time = time };
    int rc;

    if (is_gcs(c->s)) {
        r.family = SIGV4_GOOG;
        r.region = "auto"; /* it has none, and takes any */
        r.service = "storage";
    }
    for (size_t i = 0; (line = http_request_header(&c->x, i)) != NULL && r.n_headers < SIGNED_MAX; i++)
        if (is_signed(line))
            lines[r.n_headers++] = line;
    rc = sigv4_authorize(&r, c->keys->access_key, c->keys->secret_key, &value);
    if (rc == 0)
        rc = http_add_header(&c->x, "Authorization: %s", (const char *)value.data);
    if (rc == 0 && c->stream)
        rc = s3_stream_sign(c->stream, &r, c->keys->secret_key, slice_of_buf(&value));
    shale_buf_fini(&value);
    return rc;
}

/*
 * On the HTTP client's thread. Google Cloud Storage would take x-amz- headers, too, but not beside its own, and
 * among these is the condition of a put.
 */
static int prepare(struct http_exchange *x, void *arg)
{
    struct s3_call *c = arg;
    const char *family = is_gcs(c->s) ? "goog" : "amz";
    char time[SIGV4_TIME_LEN + 1];
    int rc = http_add_header(x, "Host: %s", c->s->host);

    if (!c->keys)
        return c->stream ? -EACCES : rc;
    sigv4_time(clock_wall_ms() / 1000, time);
    if (rc == 0)
        rc = http_add_header(x, "x-%s-date: %s", family, time);
    if (rc == 0)
        rc = http_add_header(x, "x-%s-content-sha256: %s", family, c->payload);
    if (rc == 0 && c->keys->token)
        rc = http_add_header(x, "x-amz-security-token: %s", c->keys->token);
    return rc == 0 ? authorize(c, time) : rc;
}

int s3_call_submit(struct s3_call *c)
{
    struct s3_store *s = c->s;
    int rc = aws_credentials_get(s->credentials, &c->keys);

    if (rc < 0)
        rc = err_add(rc, "cannot %s %s://%s/%s", c->verb, s->base.ops->scheme, s->bucket, c->name ? c->name : "");
    else if (is_gcs(s) && c->keys && c->keys->token)
        rc = s3_call_error(c, -EACCES, "the keys from %s have a session token, as those of AWS may; Google Cloud "
                           "Storage takes HMAC keys alone", c->keys->source);
    else if (buf_printf(&c->x.url, "%s%s%s%s", s->origin, (const char *)c->path.data, c->query.len ? "?" : "",
                        c->query.len ? (const char *)c->query.data : "") < 0)
        rc = s3_call_error(c, -ENOMEM, "out of memory");
    c->x.prepare = prepare;
    c->x.prepare_arg = c;
    c->n_own = c->x.headers.len;
    c->failed = rc;
    if (rc == 0)
        http_submit(s->http, &c->x);
    return rc;
}

/*
 * The answer to a HEAD has no body. So the same is asked with a GET of one byte; its answer, if it is an error, takes
 * the place of the other.
 */
static void fetch_reason(struct s3_call *c)
{
    struct s3_call g;
    int rc = s3_call_init(&g, c->s, HTTP_GET, c->verb, c->name);

    if (rc == 0)
        rc = http_add_header(&g.x, "Range: bytes=0-0");
    if (rc == 0)
        rc = s3_call_submit(&g);
    if (rc == 0) {
        http_wait(c->s->http, &g.x);
        if (g.x.rc == 0 && g.x.status >= 300 && (g.x.status != 404 || c->x.status == 404)) {
            shale_buf_fini(&c->x.response);
            shale_buf_fini(&c->x.response_head);
            c->x.status = g.x.status;
            c->x.response = g.x.response;
            c->x.response_head = g.x.response_head;
            g.x.response = g.x.response_head = (struct shale_buf)SHALE_BUF_INIT;
        }
    }
    s3_call_fini(&g);
}

/* No whole answer came. */
static int broken(const struct s3_call *c)
{
    if (bucket_is_overlong(&c->x) && !http_response_header(&c->x, "etag"))
        return s3_call_no_store(c);
    return s3_call_error(c, bucket_is_distrusted(&c->x) ? s3_until_known(c, c->x.rc) : c->x.rc, "%s", c->x.why);
}

/* While a stream goes out: what the client's thread would have to hash. */
static void hash_ahead(struct s3_call *c)
{
    while (!http_is_done(c->s->http, &c->x) && s3_stream_hash_next(c->stream))
        ;
}

static int outcome(struct s3_call *c)
{
    if (c->failed)
        return c->failed; /* it was never submitted; the sentence is there */
    if (c->stream)
        hash_ahead(c);
    http_wait(c->s->http, &c->x);
    if (c->x.rc < 0)
        return broken(c);
    if (c->x.status < 200 || c->x.status > 299) {
        if (s3_call_is_unexplained(c))
            fetch_reason(c);
        return s3_call_meaning(c);
    }
    if (!s3_call_is_of_store(c))
        return s3_call_no_store(c);
    if (http_response_header(&c->x, "etag"))
        s3_call_set_known(c);
    return 0;
}

/* Only what s3_call_submit and prepare have added is dropped. */
static void submit_again(struct s3_call *c)
{
    buf_clear(&c->x.url);
    c->x.headers.len = c->n_own;
    aws_keys_unref(c->keys);
    c->keys = NULL;
    c->keys_refused = false;
    c->x.attempt++;
    (void)s3_call_submit(c);
}

int s3_call_wait(struct s3_call *c)
{
    int rc = outcome(c);

    if (rc == 0 || !c->keys_refused || !aws_credentials_refused(c->s->credentials, c->keys))
        return rc;
    submit_again(c);
    return outcome(c);
}

int s3_call_run(struct s3_call *c)
{
    (void)s3_call_submit(c);
    return s3_call_wait(c);
}
