/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer other than success means: a code for the layers above and a sentence that says what to do. By the code
 * in the body where there is one, which says more, and means the same on all servers, than the status; else by the
 * status.
 *
 * What speaks against the other side being our store (a web page, a redirect, another's certificate) is a mistake to
 * be told at once as long as the store has never answered. Later it is a network that has something else in between for
 * a while, a login page for instance, and as much a reason to end a mount as any other outage: none.
 */

#include "object/s3/s3.h"

#include "base/alloc.h"
#include "base/err.h"
#include "net/xml.h"
#include "object/bucket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define CODE_MAX 64
#define MESSAGE_MAX 300
#define PLACE_MAX 128
#define CLOCK_NEAR_S 300 /* a clock that is no further off is not why a time was refused */

/* What the body of an error says, or the header where there is no body. */
struct complaint {
    char code[CODE_MAX];
    char message[MESSAGE_MAX];
    char region[CODE_MAX];
    char endpoint[PLACE_MAX];
};

/* ---- reading it ---- */

static int on_complaint(void *arg, const char *name, int depth, const char *text)
{
    struct complaint *m = arg;

    if (depth != 1)
        return 0;
    if (strcmp(name, "Code") == 0)
        snprintf(m->code, sizeof(m->code), "%s", text);
    else if (strcmp(name, "Message") == 0)
        snprintf(m->message, sizeof(m->message), "%s", text);
    else if (strcmp(name, "Region") == 0)
        snprintf(m->region, sizeof(m->region), "%s", text);
    else if (strcmp(name, "Endpoint") == 0)
        snprintf(m->endpoint, sizeof(m->endpoint), "%s", text);
    return 0;
}

static void take_header(const struct s3_call *c, const char *name, char *to, size_t size)
{
    const char *value = to[0] ? NULL : http_response_header(&c->x, name);

    if (value)
        snprintf(to, size, "%s", value);
}

/* So that sentences can go on behind it. */
static void drop_full_stop(char *text)
{
    size_t n = strlen(text);

    if (n > 0 && text[n - 1] == '.')
        text[n - 1] = '\0';
}

/* An answer to HEAD has no body. AWS still names the region, MinIO the code. */
static void read_complaint(const struct s3_call *c, struct complaint *m)
{
    const struct xml_visitor v = { .end = on_complaint, .arg = m };

    *m = (struct complaint){ .code = "" };
    if (c->x.response.len)
        (void)xml_walk(slice_of_buf(&c->x.response), &v); /* what it gives up on is described by the status alone */
    take_header(c, "x-amz-bucket-region", m->region, sizeof(m->region));
    take_header(c, "x-minio-error-code", m->code, sizeof(m->code));
    take_header(c, "x-minio-error-desc", m->message, sizeof(m->message));
    drop_full_stop(m->message);
}

/* ---- sentences ---- */

int s3_call_error(const struct s3_call *c, int rc, const char *fmt, ...)
{
    char why[600];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    bucket_one_line(why);
    if (c->name)
        return err_set(rc, "cannot %s %s://%s/%s: %s", c->verb, c->s->base.ops->scheme, c->s->bucket, c->name, why);
    return err_set(rc, "cannot %s %s://%s: %s", c->verb, c->s->base.ops->scheme, c->s->bucket, why);
}

typedef int (*meaning_fn)(struct s3_call *c, const struct complaint *m);

static const char *key_of(const struct s3_call *c)
{
    return c->keys ? c->keys->access_key : "?";
}

static const char *source_of(const struct s3_call *c)
{
    return c->keys ? c->keys->source : "nowhere (anonymous)";
}

void s3_call_set_known(const struct s3_call *c)
{
    atomic_store_explicit(&c->s->known, true, memory_order_relaxed);
}

int s3_until_known(const struct s3_call *c, int rc)
{
    return atomic_load_explicit(&c->s->known, memory_order_relaxed) ? SHALE_ETRANSIENT : rc;
}

static int not_now(struct s3_call *c, const struct complaint *m)
{
    store_retry_after(bucket_retry_after(&c->x));
    return s3_call_error(c, SHALE_ETRANSIENT, "the store answers %d%s%s%s%s", c->x.status, m->code[0] ? " " : "",
                         m->code, m->message[0] ? ": " : "", m->message);
}

static int not_at_all(struct s3_call *c, const struct complaint *m)
{
    return s3_call_error(c, -EIO, "the store answers %d%s%s%s%s", c->x.status, m->code[0] ? " " : "", m->code,
                         m->message[0] ? ": " : "", m->message);
}

/*
 * Of keys that were good: their source may have others soon, as when somebody changes them in the wrong order, or has
 * to log in again. It is waited for, as when it has none that hold (aws_credentials.c).
 */
static int key_error(const struct s3_call *c)
{
    return c->keys && !c->keys->fixed ? s3_until_known(c, -EACCES) : -EACCES;
}

/*
 * Times are signed when a request goes out. One that is refused though the clocks agree was long on its way, since this
 * host slept, or its clock has just been set.
 */
static int wrong_time(struct s3_call *c, const struct complaint *m)
{
    int64_t d = bucket_clock_ahead(&c->x), off = d < 0 ? -d : d;
    int rc = s3_until_known(c, -EACCES);

    if (!http_response_header(&c->x, "date"))
        return s3_call_error(c, rc, "this host's clock is too far from the store's; set the clock");
    if (off < CLOCK_NEAR_S)
        return not_now(c, m);
    return s3_call_error(c, rc, "this host's clock is %" PRId64 " s %s the store's, which accepts 15 minutes; set the "
                         "clock", off, d < 0 ? "ahead of" : "behind");
}

static int wrong_secret(struct s3_call *c, const struct complaint *m)
{
    (void)m;
    return s3_call_error(c, key_error(c), "the secret key is not the one of access key %s; both are from %s: correct "
                         "them there", key_of(c), source_of(c));
}

static int unknown_key(struct s3_call *c, const struct complaint *m)
{
    (void)m;
    return s3_call_error(c, key_error(c), "the store does not know access key %s, which is from %s; correct it there, "
                         "or check the endpoint %s", key_of(c), source_of(c), c->s->origin);
}

static int expired(struct s3_call *c, const struct complaint *m)
{
    (void)m;
    return s3_call_error(c, key_error(c), "the session token from %s has expired; get a new one", source_of(c));
}

static int wrong_token(struct s3_call *c, const struct complaint *m)
{
    (void)m;
    return s3_call_error(c, key_error(c), "the store does not accept the session token from %s; get new keys with "
                         "their token, or keys that need none", source_of(c));
}

static int quota(struct s3_call *c, const struct complaint *m)
{
    return s3_call_error(c, -ENOSPC, "the quota is used up (%d %s); raise it, or delete something", c->x.status,
                         m->code);
}

static int archived(struct s3_call *c, const struct complaint *m)
{
    return s3_call_error(c, -EIO, "the object is in an archive (%d %s); restore it there, and take the volume out of "
                         "the bucket's life-cycle rules", c->x.status, m->code);
}

static int no_bucket(struct s3_call *c, const struct complaint *m)
{
    (void)m;
    return s3_call_error(c, -EIO, "there is no such bucket at %s; create it, or check the name and the region",
                         c->s->origin);
}

/* What a policy has to allow. Without the right to list, AWS says of missing objects, too, that they are forbidden. */
static const char *needed(const struct s3_call *c)
{
    switch (c->x.method) {
    case HTTP_GET:
        return c->name ? "s3:GetObject on it and s3:ListBucket on the bucket" : "s3:ListBucket on the bucket";
    case HTTP_HEAD:
        return "s3:GetObject on it and s3:ListBucket on the bucket";
    case HTTP_DELETE:
        return c->query.len ? "s3:AbortMultipartUpload on it" : "s3:DeleteObject on it";
    default:
        return c->name ? "s3:PutObject on it" : "s3:DeleteObject on its objects";
    }
}

static int refused(struct s3_call *c, const struct complaint *m)
{
    const char *code = m->code[0] ? m->code : "Forbidden";

    if (!c->keys)
        return s3_call_error(c, -EACCES, "the store refuses anonymous access (%d %s); give keys, as by "
                             "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", c->x.status, code);
    return s3_call_error(c, -EACCES, "permission refused (%d %s) to access key %s from %s%s%s; it needs %s",
                         c->x.status, code, key_of(c), source_of(c), m->message[0] ? ": " : "", m->message, needed(c));
}

static int elsewhere(struct s3_call *c, const struct complaint *m)
{
    int rc = s3_until_known(c, -EINVAL);

    if (m->region[0] && strcmp(m->region, c->s->region) != 0)
        return s3_call_error(c, rc, "the bucket is in region %s, not %s; set AWS_REGION=%s or the option region",
                             m->region, c->s->region, m->region);
    if (m->endpoint[0])
        return s3_call_error(c, rc, "the bucket is at %s, not at %s (%d %s); set the endpoint, or the region to that "
                             "of the bucket", m->endpoint, c->s->origin, c->x.status, m->code);
    return s3_call_error(c, rc, "the bucket is not at %s in region %s (%d %s); check the endpoint and the region",
                         c->s->origin, c->s->region, c->x.status, m->code);
}

static int exists(struct s3_call *c, const struct complaint *m)
{
    (void)m;
    return s3_call_error(c, -EEXIST, "the object exists");
}

static int no_object(struct s3_call *c, const struct complaint *m)
{
    (void)m;
    return s3_call_error(c, -ENOENT, "there is no such object");
}

/* Where it is completed it may be that it was (part_upload_look). */
static int no_upload(struct s3_call *c, const struct complaint *m)
{
    (void)m;
    return s3_call_error(c, -ENOENT, "the store does not know the upload any more; a life-cycle rule of the bucket "
                         "that ends uploads has to leave them more time");
}

static int too_short(struct s3_call *c, const struct complaint *m)
{
    (void)m;
    return s3_call_error(c, -ERANGE, "the object is shorter");
}

static int not_able(struct s3_call *c, const struct complaint *m)
{
    return s3_call_error(c, -EOPNOTSUPP, "the store cannot do that (501 %s)%s", m->code,
                         c->conditional ? "; without conditional puts it cannot hold a database" : "");
}

static int full(struct s3_call *c, const struct complaint *m)
{
    (void)m;
    return s3_call_error(c, -ENOSPC, "the store is full (%d); make room there", c->x.status);
}

static int proxy_login(struct s3_call *c, const struct complaint *m)
{
    (void)m;
    return s3_call_error(c, s3_until_known(c, -EACCES), "a proxy wants a login (407); give its URL one, as in "
                         "http_proxy=http://USER:PASSWORD@HOST:PORT, or set no_proxy");
}

/* ---- who says it ---- */

/* Scheme and host of where a redirect leads: what follows may be a secret of a login. "" when it is none. */
static void redirect_host(const struct s3_call *c, char *out, size_t size)
{
    const char *to = http_response_header(&c->x, "location");
    const char *host = to ? strstr(to, "://") : NULL;
    size_t len = host ? (size_t)(host - to) + 3 + strcspn(host + 3, "/?#") : 0;
    char text[PLACE_MAX];

    out[0] = '\0';
    if (!host || c->x.status < 300 || c->x.status > 399 || len >= sizeof(text) || memchr(to, '@', len))
        return;
    snprintf(text, sizeof(text), "%.*s", (int)len, to);
    snprintf(out, size, ", which sends us to %s", text);
}

int s3_call_no_store(const struct s3_call *c)
{
    const char *server = http_response_header(&c->x, "server");
    char by[PLACE_MAX] = "", to[PLACE_MAX + 32];

    if (server)
        snprintf(by, sizeof(by), "%s", server);
    redirect_host(c, to, sizeof(to));
    if (bucket_may_pass(c->x.status))
        store_retry_after(bucket_retry_after(&c->x));
    if (c->x.status == 413) /* small puts may have succeeded: so a mount waits for whoever raises it */
        return s3_call_error(c, s3_until_known(c, -EFBIG), "%s answers 413%s%s, to a body of %zu bytes; raise the "
                             "limit of what is in front of the store, as client_max_body_size of nginx", c->s->origin,
                             by[0] ? ", by " : "", by, c->x.body.len);
    return s3_call_error(c, bucket_may_pass(c->x.status) ? SHALE_ETRANSIENT : s3_until_known(c, -EIO),
                         "%s answers %d%s%s%s%s, not as an S3 store does; check the endpoint, and whether a proxy or a "
                         "login page is in between", c->s->origin, c->x.status,
                         bucket_is_web_page(&c->x) ? " with a web page" : "", by[0] ? ", by " : "", by, to);
}

/* An error of a store has a code, or no body at all. Nothing of it is told: it may be our request, with a token. */
static bool is_of_no_store(const struct s3_call *c, const struct complaint *m)
{
    char to[PLACE_MAX + 32];

    if (m->code[0])
        return false;
    redirect_host(c, to, sizeof(to));
    return bucket_is_web_page(&c->x) || c->x.response.len > 0 || (to[0] && !m->region[0]) || c->x.status == 511;
}

/*
 * What is in between may answer 200 to anything. What is read is checked further up; what is written is acknowledged by
 * a tag of the object.
 */
bool s3_call_is_of_store(const struct s3_call *c)
{
    return http_response_header(&c->x, "etag") || (c->x.method != HTTP_PUT && !bucket_is_web_page(&c->x));
}

/* ---- by code and status ---- */

static const struct {
    const char *code;
    meaning_fn fn;
} by_code[] = {
    { "AuthorizationHeaderMalformed", elsewhere },
    { "BadDigest", not_now },
    { "BandwidthLimitExceeded", not_now },
    { "ConditionalRequestConflict", not_now },
    { "ExpiredToken", expired },
    { "IllegalLocationConstraintException", elsewhere },
    { "IncompleteBody", not_now },
    { "InternalError", not_now },
    { "InvalidAccessKeyId", unknown_key },
    { "InvalidObjectState", archived },
    { "InvalidRegionName", elsewhere },
    { "InvalidSecurity", unknown_key },
    { "InvalidToken", wrong_token },
    { "InvalidTokenId", wrong_token },
    { "NoSuchBucket", no_bucket },
    { "NoSuchKey", no_object },
    { "NoSuchUpload", no_upload },
    { "OperationAborted", not_now },
    { "PermanentRedirect", elsewhere },
    { "PreconditionFailed", exists },
    { "QuotaExceeded", quota },
    { "Redirect", elsewhere },
    { "RequestLimitExceeded", not_now },
    { "RequestTimeTooSkewed", wrong_time },
    { "RequestTimeout", not_now },
    { "ServiceUnavailable", not_now },
    { "SignatureDoesNotMatch", wrong_secret },
    { "SlowDown", not_now },
    { "TemporaryRedirect", elsewhere },
    { "Throttling", not_now },
    { "ThrottlingException", not_now },
    { "TokenRefreshRequired", expired },
    { "TooManyRequests", not_now },
    { "XAmzContentSHA256Mismatch", not_now },
    { "XMinioAdminBucketQuotaExceeded", quota },
    { "XMinioStorageFull", full },
};

bool s3_code_may_pass(const char *code)
{
    for (size_t i = 0; i < ARRAY_SIZE(by_code); i++)
        if (strcmp(code, by_code[i].code) == 0)
            return by_code[i].fn == not_now;
    return false;
}

static const struct {
    int status;
    meaning_fn fn;
} by_status[] = {
    { 301, elsewhere },    { 302, elsewhere }, { 303, elsewhere }, { 307, elsewhere }, { 308, elsewhere },
    { 401, refused },      { 403, refused },   { 404, no_object }, { 407, proxy_login }, { 408, not_now },
    { 409, not_now },      { 412, exists },    { 416, too_short }, { 425, not_now },     { 429, not_now },
    { 501, not_able },     { 507, full },
};

static meaning_fn meaning(const struct s3_call *c, const struct complaint *m)
{
    for (size_t i = 0; i < ARRAY_SIZE(by_code); i++)
        if (strcmp(m->code, by_code[i].code) == 0)
            return by_code[i].fn;
    if (c->x.status == 400 && m->region[0] && strcmp(m->region, c->s->region) != 0)
        return elsewhere;
    for (size_t i = 0; i < ARRAY_SIZE(by_status); i++)
        if (c->x.status == by_status[i].status)
            return by_status[i].fn;
    return c->x.status >= 500 ? not_now : not_at_all;
}

/* Temporary keys can be withdrawn before they expire; the store then refuses whatever they ask for. */
static bool is_about_keys(const struct s3_call *c, const struct complaint *m)
{
    static const char *const codes[] = { "ExpiredToken", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId",
                                         "InvalidTokenId", "InvalidSecurity", "SignatureDoesNotMatch" };

    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (strcmp(m->code, codes[i]) == 0)
            return true;
    if (c->keys->token && strcmp(m->code, "AccessDenied") == 0)
        return true;
    return !m->code[0] &&
           (c->x.status == 401 || c->x.status == 403 || (c->x.method == HTTP_HEAD && c->x.status == 400));
}

bool s3_call_is_unexplained(const struct s3_call *c)
{
    static const int statuses[] = { 301, 307, 400, 401, 403 };
    struct complaint m;

    if (c->x.method != HTTP_HEAD)
        return false;
    read_complaint(c, &m);
    for (size_t i = 0; i < ARRAY_SIZE(statuses) && !m.code[0]; i++)
        if (c->x.status == statuses[i])
            return true;
    return bucket_is_web_page(&c->x) && !m.code[0];
}

int s3_call_meaning(struct s3_call *c)
{
    struct complaint m;
    int rc;

    read_complaint(c, &m);
    if (c->x.status != 407 && is_of_no_store(c, &m))
        return s3_call_no_store(c);
    c->keys_refused = c->keys && is_about_keys(c, &m);
    rc = meaning(c, &m)(c, &m);
    if (m.code[0] && (rc == -ENOENT || rc == -EEXIST))
        s3_call_set_known(c);
    return rc;
}
