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
#include "net/xml.h"
#include "object/bucket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define SIGNED_MAX 16 /* headers that are signed */
#define CODE_MAX 64
#define MESSAGE_MAX 300

/* What the body of an error says. */
struct complaint {
    char code[CODE_MAX];
    char message[MESSAGE_MAX];
    char region[CODE_MAX];
};

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

/* TLS keeps bodies whole and to ourselves; without it the signature is all that protects them. */
int s3_call_body(struct s3_call *c, struct shale_slice body)
{
    c->x.body = body;
    if (c->s->tls && body.len) {
        memcpy(c->payload, SIGV4_UNSIGNED, sizeof(SIGV4_UNSIGNED));
        return 0;
    }
    return sigv4_hash(body, c->payload);
}

int s3_call_error(const struct s3_call *c, int rc, const char *fmt, ...)
{
    char why[600];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    if (c->name)
        return err_set(rc, "cannot %s %s://%s/%s: %s", c->verb, c->s->base.ops->scheme, c->s->bucket, c->name, why);
    return err_set(rc, "cannot %s %s://%s: %s", c->verb, c->s->base.ops->scheme, c->s->bucket, why);
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
        return rc;
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

static int on_complaint(void *arg, const char *name, int depth, const char *text)
{
    struct complaint *c = arg;

    if (depth != 1)
        return 0;
    if (strcmp(name, "Code") == 0)
        snprintf(c->code, sizeof(c->code), "%s", text);
    else if (strcmp(name, "Message") == 0)
        snprintf(c->message, sizeof(c->message), "%s", text);
    else if (strcmp(name, "Region") == 0)
        snprintf(c->region, sizeof(c->region), "%s", text);
    return 0;
}

static void read_complaint(const struct s3_call *c, struct complaint *out)
{
    const struct xml_visitor v = { .end = on_complaint, .arg = out };
    const char *region = http_response_header(&c->x, "x-amz-bucket-region");

    memset(out, 0, sizeof(*out));
    if (c->x.response.len)
        (void)xml_walk(slice_of_buf(&c->x.response), &v); /* what it gives up on is described by the status alone */
    if (!out->region[0] && region)
        snprintf(out->region, sizeof(out->region), "%s", region);
}

static bool has_code(const struct complaint *m, const char *const *codes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(m->code, codes[i]) == 0)
            return true;
    return false;
}

static int wrong_clock(const struct s3_call *c)
{
    int64_t d = bucket_clock_ahead(&c->x);

    return s3_call_error(c, -EACCES, "this host's clock is %" PRId64 " s %s the store's, which accepts 15 minutes; set "
                                     "the clock", d < 0 ? -d : d, d < 0 ? "ahead of" : "behind");
}

static int refused(const struct s3_call *c, const struct complaint *m)
{
    const char *source = c->keys ? c->keys->source : "nowhere (anonymous)";

    if (strcmp(m->code, "RequestTimeTooSkewed") == 0)
        return wrong_clock(c);
    if (strcmp(m->code, "SignatureDoesNotMatch") == 0)
        return s3_call_error(c, -EACCES, "the secret key is not the one of access key %s; both are from %s",
                             c->keys ? c->keys->access_key : "?", source);
    if (strcmp(m->code, "InvalidAccessKeyId") == 0 || strcmp(m->code, "InvalidSecurity") == 0)
        return s3_call_error(c, -EACCES, "the store does not know access key %s, which is from %s",
                             c->keys ? c->keys->access_key : "?", source);
    if (strcmp(m->code, "QuotaExceeded") == 0)
        return s3_call_error(c, -ENOSPC, "the quota is used up");
    return s3_call_error(c, -EACCES, "permission refused (%d %s) to the credentials from %s%s%s", c->x.status,
                         m->code[0] ? m->code : "Forbidden", source, m->message[0] ? ": " : "", m->message);
}

static int expired(const struct s3_call *c)
{
    return s3_call_error(c, -EACCES, "the session token from %s has expired; get a new one",
                         c->keys ? c->keys->source : "nowhere");
}

static int elsewhere(const struct s3_call *c, const struct complaint *m)
{
    if (m->region[0] && strcmp(m->region, c->s->region) != 0)
        return s3_call_error(c, -EINVAL, "the bucket is in region %s, not %s; set AWS_REGION=%s or the option region",
                             m->region, c->s->region, m->region);
    return s3_call_error(c, -EINVAL, "the bucket is not at %s (%d %s); check the endpoint and the region %s",
                         c->s->origin, c->x.status, m->code, c->s->region);
}

static int not_now(const struct s3_call *c, const struct complaint *m)
{
    store_retry_after(bucket_retry_after(&c->x));
    return s3_call_error(c, SHALE_ETRANSIENT, "the store answers %d %s%s%s", c->x.status, m->code,
                         m->message[0] ? ": " : "", m->message);
}

static int bad_request(const struct s3_call *c, const struct complaint *m)
{
    static const char *const passing[] = { "RequestTimeout", "IncompleteBody", "BadDigest" };
    static const char *const region[] = { "AuthorizationHeaderMalformed", "IllegalLocationConstraintException" };
    static const char *const token[] = { "ExpiredToken", "TokenRefreshRequired" };

    if (has_code(m, passing, ARRAY_SIZE(passing)))
        return not_now(c, m);
    if (has_code(m, token, ARRAY_SIZE(token)))
        return expired(c);
    if (has_code(m, region, ARRAY_SIZE(region)) || m->region[0])
        return elsewhere(c, m);
    if (strcmp(m->code, "InvalidToken") == 0)
        return refused(c, m);
    return s3_call_error(c, -EIO, "the store answers %d %s%s%s", c->x.status, m->code, m->message[0] ? ": " : "",
                         m->message);
}

static int no_store(const struct s3_call *c)
{
    const char *server = http_response_header(&c->x, "server");

    return s3_call_error(c, SHALE_ETRANSIENT, "%s answers %d with a web page%s%s, not as an S3 store does; check the "
                         "endpoint, and whether a proxy is in between", c->s->origin, c->x.status,
                         server ? ", by " : "", server ? server : "");
}

/* An answer to HEAD has no body that would say why. */
static bool is_about_keys(const struct s3_call *c, const struct complaint *m)
{
    static const char *const codes[] = { "ExpiredToken", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId",
                                         "InvalidTokenId" };

    return has_code(m, codes, ARRAY_SIZE(codes)) ||
           (c->x.method == HTTP_HEAD && (c->x.status == 400 || c->x.status == 403));
}

static int meaning_of_status(struct s3_call *c)
{
    struct complaint m;

    read_complaint(c, &m);
    c->keys_refused = c->keys && is_about_keys(c, &m);
    if (!m.code[0] && bucket_is_web_page(&c->x))
        return no_store(c);
    switch (c->x.status) {
    case 400:
        return bad_request(c, &m);
    case 401:
    case 403:
        return strcmp(m.code, "ExpiredToken") == 0 ? expired(c) : refused(c, &m);
    case 404:
        if (strcmp(m.code, "NoSuchBucket") == 0)
            return s3_call_error(c, -EIO, "there is no such bucket at %s; create it, or check the name and the region",
                                 c->s->origin);
        return s3_call_error(c, -ENOENT, "there is no such object");
    case 301:
    case 302:
    case 307:
    case 308:
        return elsewhere(c, &m);
    case 408:
    case 425:
    case 429:
        return not_now(c, &m);
    case 409:
        if (c->conditional && strcmp(m.code, "PreconditionFailed") == 0)
            return s3_call_error(c, -EEXIST, "the object exists");
        return not_now(c, &m);
    case 412:
        return s3_call_error(c, -EEXIST, "the object exists");
    case 416:
        return s3_call_error(c, -ERANGE, "the object is shorter");
    case 501:
        return s3_call_error(c, -EOPNOTSUPP, "the store cannot do that (501 %s)%s", m.code,
                             c->conditional ? "; without conditional puts it cannot hold a database" : "");
    case 507:
        return s3_call_error(c, -ENOSPC, "the store is full");
    default:
        if (c->x.status >= 500)
            return not_now(c, &m);
        return s3_call_error(c, -EIO, "the store answers %d %s%s%s", c->x.status, m.code, m.message[0] ? ": " : "",
                             m.message);
    }
}

static int outcome(struct s3_call *c)
{
    if (c->failed)
        return c->failed; /* it was never submitted; the sentence is there */
    http_wait(c->s->http, &c->x);
    if (c->x.rc < 0)
        return s3_call_error(c, c->x.rc, "%s", c->x.why);
    if (c->x.status < 200 || c->x.status > 299)
        return meaning_of_status(c);
    if (bucket_is_web_page(&c->x) && !http_response_header(&c->x, "etag"))
        return no_store(c);
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
