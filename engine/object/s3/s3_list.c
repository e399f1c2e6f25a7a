/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ListObjectsV2 page by page, and DeleteObjects. Names come percent-encoded, since XML cannot hold every name that a
 * bucket may; names that are none of ours (other tools' objects) are passed over.
 */

#include "object/s3/s3.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/reread.h"
#include "net/uri.h"
#include "net/xml.h"
#include "object/bucket.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define PAGE_BYTES ((uint64_t)8 << 20) /* a thousand names of 1024 bytes, encoded, fit */
#define DELETE_MAX 1000                /* names of one request, says S3 */

/* One page, as it is read. */
struct page {
    struct bucket_listing l;
    bool truncated;
    bool complete; /* it says whether it is truncated */
    bool foreign;  /* it is something else than a listing */
    bool spoilt;   /* what came cannot be one; nothing of it was told */
};

/* "2024-05-01T12:34:56.789Z", in whole seconds, as the header of a single object tells it. */
static int read_time(const char *text, int64_t *ms)
{
    struct tm tm = { 0 };

    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
               &tm.tm_sec) != 6)
        return -EBADMSG;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    *ms = (int64_t)timegm(&tm) * 1000;
    return 0;
}

static int decode(struct shale_buf *out, const char *text)
{
    int rc;

    buf_clear(out);
    rc = uri_decode(out, text, strlen(text));
    return rc == -EINVAL ? -EBADMSG : rc;
}

static int on_begin(void *arg, const char *name, int depth)
{
    struct page *p = arg;

    if (depth == 0 && strcmp(name, "ListBucketResult") != 0) {
        p->foreign = true;
        return -EBADMSG;
    }
    if (depth == 1 && strcmp(name, "Contents") == 0) {
        buf_clear(&p->l.name);
        p->l.meta = (struct shale_object_meta){ 0 };
    }
    return 0;
}

static int on_end(void *arg, const char *name, int depth, const char *text)
{
    struct page *p = arg;

    if (depth == 2 && strcmp(name, "Key") == 0)
        return decode(&p->l.name, text);
    if (depth == 2 && strcmp(name, "Size") == 0)
        return bucket_read_size(text, &p->l.meta.size);
    if (depth == 2 && strcmp(name, "LastModified") == 0)
        return read_time(text, &p->l.meta.mtime_ms);
    if (depth != 1)
        return 0;
    if (strcmp(name, "Contents") == 0)
        return bucket_listing_tell(&p->l);
    if (strcmp(name, "IsTruncated") == 0) {
        p->truncated = strcmp(text, "true") == 0;
        p->complete = p->truncated || strcmp(text, "false") == 0;
    }
    if (strcmp(name, "NextContinuationToken") == 0)
        return buf_set(&p->l.token, slice_of(text, strlen(text) + 1));
    return 0;
}

static int ask_page(struct s3_call *c, const struct page *p, const char *prefix, const char *start_after)
{
    int rc = 0;

    if (p->l.token.len)
        rc = s3_call_query(c, "continuation-token", (const char *)p->l.token.data);
    if (rc == 0)
        rc = s3_call_query(c, "encoding-type", "url");
    if (rc == 0)
        rc = s3_call_query(c, "list-type", "2");
    if (rc == 0)
        rc = s3_call_query(c, "max-keys", "1000");
    if (rc == 0 && prefix[0])
        rc = s3_call_query(c, "prefix", prefix);
    if (rc == 0 && start_after && !p->l.token.len)
        rc = s3_call_query(c, "start-after", start_after);
    return rc;
}

/* What came of a page. */
static int judge_page(const struct s3_call *c, const struct page *p, int rc)
{
    const char *why;

    if (p->foreign)
        return s3_call_no_store(c);
    rc = bucket_listing_outcome(&p->l, rc, &why);
    if (why)
        return s3_call_error(c, rc, "%s", why);
    if (rc == 0 && (!p->complete || (p->truncated && !p->l.token.len)))
        return s3_call_error(c, SHALE_ETRANSIENT, "the store's listing breaks off");
    return rc;
}

static int pass_over(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)arg, (void)name, (void)meta;
    return 0;
}

/* Before a name of it is told: who goes on behind one that was spoilt would miss others. */
static int check_page(const struct s3_call *c, const struct page *p)
{
    struct page look = { .l = { .fn = pass_over, .prefix = p->l.prefix, .start_after = p->l.start_after } };
    const struct xml_visitor v = { .begin = on_begin, .end = on_end, .arg = &look };
    int rc = buf_set(&look.l.last, slice_of_buf(&p->l.last));

    if (rc == 0) {
        rc = xml_walk(slice_of_buf(&c->x.response), &v);
        if (!look.foreign && rc != -EBADMSG)
            s3_call_set_known(c);
        rc = judge_page(c, &look, rc);
    }
    bucket_listing_fini(&look.l);
    return rc;
}

static int list_page(struct s3_store *s, struct page *p, const char *prefix, const char *start_after)
{
    const struct xml_visitor v = { .begin = on_begin, .end = on_end, .arg = p };
    struct s3_call c;
    int rc = s3_call_init(&c, s, HTTP_GET, "list", NULL);

    p->spoilt = false;
    c.x.max_response = PAGE_BYTES;
    c.x.op = SHALE_REQUEST_LIST;
    c.x.object = prefix;
    if (rc == 0)
        rc = ask_page(&c, p, prefix, start_after);
    if (rc == 0)
        rc = s3_call_run(&c);
    if (rc == -EIO && c.x.status == 400 && p->l.token.len)
        rc = s3_call_error(&c, SHALE_ETRANSIENT, "the store does not know the token of the next page");
    if (rc == 0) {
        rc = check_page(&c, p);
        p->spoilt = rc < 0 && rc != -ENOMEM;
    }
    if (rc == 0) {
        buf_clear(&p->l.token);
        p->truncated = false;
        rc = judge_page(&c, p, xml_walk(slice_of_buf(&c.x.response), &v));
    }
    s3_call_fini(&c);
    return rc;
}

/* Nothing but TLS protects a listing on its way, so a page that cannot be one is read again. */
int s3_list(struct shale_store *store, const char *prefix, const char *start_after, shale_list_fn fn, void *arg)
{
    struct s3_store *s = container_of(store, struct s3_store, base);
    struct page p = { .l = { .fn = fn, .arg = arg, .prefix = prefix, .start_after = start_after } };
    unsigned n_spoilt = 0; /* in a row */
    int rc;

    do {
        rc = list_page(s, &p, prefix, start_after);
        n_spoilt = p.spoilt ? n_spoilt + 1 : 0;
    } while ((rc == 0 && p.truncated) || (n_spoilt > 0 && n_spoilt < REREAD_MAX));
    bucket_listing_fini(&p.l);
    return rc;
}

/* ---- deleting many ---- */

struct refusal {
    char code[64], name[200];
    bool any;
};

/* Anything else would mean that nothing was refused. */
static int on_root(void *arg, const char *name, int depth)
{
    (void)arg;
    return depth == 0 && strcmp(name, "DeleteResult") != 0 ? -EBADMSG : 0;
}

static int on_refusal(void *arg, const char *name, int depth, const char *text)
{
    struct refusal *r = arg;

    if (depth == 1 && strcmp(name, "Error") == 0)
        r->any = strcmp(r->code, "NoSuchKey") != 0; /* of AWS it is none */
    if (depth == 2 && strcmp(name, "Code") == 0)
        snprintf(r->code, sizeof(r->code), "%s", text);
    if (depth == 2 && strcmp(name, "Key") == 0)
        snprintf(r->name, sizeof(r->name), "%s", text);
    return r->any; /* the first is enough */
}

static int write_names(struct shale_buf *out, const char *const *names, size_t n)
{
    int rc = buf_printf(out, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");

    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = buf_printf(out, "<Object><Key>");
        if (rc == 0)
            rc = xml_escape(out, names[i]);
        if (rc == 0)
            rc = buf_printf(out, "</Key></Object>");
    }
    return rc == 0 ? buf_printf(out, "</Delete>") : rc;
}

/* S3 wants this header with this request, and nothing else will do. */
static int add_md5(struct s3_call *c, struct shale_slice body)
{
    char text[BUCKET_MD5_LEN + 1];

    if (bucket_md5(body, text) < 0)
        return s3_call_error(c, -EIO, "OpenSSL has no MD5");
    return http_add_header(&c->x, "Content-MD5: %s", text);
}

static int read_refusals(struct s3_call *c)
{
    struct refusal r = { 0 };
    const struct xml_visitor v = { .begin = on_root, .end = on_refusal, .arg = &r };
    int rc = xml_walk(slice_of_buf(&c->x.response), &v);

    if (r.any && strcmp(r.code, "AccessDenied") == 0)
        return s3_call_error(c, -EACCES, "permission refused (AccessDenied) for %s; it needs s3:DeleteObject", r.name);
    if (r.any)
        return s3_call_error(c, s3_code_may_pass(r.code) ? SHALE_ETRANSIENT : -EIO, "the store did not delete %s: %s",
                             r.name, r.code);
    return rc < 0 ? s3_call_error(c, SHALE_ETRANSIENT, "the store's answer is not understood") : 0;
}

/* Some stores have no such request, Google's long had none, and what is in front of one may not let it pass. */
static bool is_not_understood(const struct s3_call *c, int rc)
{
    return rc == -EIO || rc == -EOPNOTSUPP || (rc == SHALE_ETRANSIENT && (c->x.status == 405 || c->x.status == 501));
}

/* -EOPNOTSUPP when the store does not understand it. */
static int delete_together(struct s3_store *s, const char *const *names, size_t n)
{
    struct shale_buf body = SHALE_BUF_INIT;
    struct s3_call c;
    int rc = s3_call_init(&c, s, HTTP_POST, "delete objects of", NULL);

    c.x.max_response = PAGE_BYTES;
    c.x.op = SHALE_REQUEST_DELETE_MANY;
    if (rc == 0)
        rc = write_names(&body, names, n);
    if (rc == 0)
        rc = s3_call_query(&c, "delete", NULL);
    if (rc == 0)
        rc = s3_call_body(&c, slice_of_buf(&body));
    if (rc == 0)
        rc = add_md5(&c, slice_of_buf(&body));
    if (rc == 0) {
        rc = s3_call_run(&c);
        if (is_not_understood(&c, rc)) {
            atomic_store_explicit(&s->deletes_singly, true, memory_order_relaxed);
            rc = -EOPNOTSUPP;
        }
    }
    if (rc == 0)
        rc = read_refusals(&c);
    s3_call_fini(&c);
    shale_buf_fini(&body);
    return rc;
}

static int delete_singly(struct s3_store *s, const char *const *names, size_t n)
{
    int first = 0;

    for (size_t i = 0; i < n; i++) {
        int rc = s->base.ops->remove(&s->base, names[i]);

        first = first ? first : rc;
    }
    return first;
}

static int delete_some(struct s3_store *s, const char *const *names, size_t n)
{
    int rc = -EOPNOTSUPP;

    if (n > 1 && !atomic_load_explicit(&s->deletes_singly, memory_order_relaxed))
        rc = delete_together(s, names, n);
    return rc == -EOPNOTSUPP ? delete_singly(s, names, n) : rc;
}

int s3_remove_many(struct shale_store *store, const char *const *names, size_t n)
{
    struct s3_store *s = container_of(store, struct s3_store, base);
    int first = 0;

    for (size_t i = 0; i < n; i += DELETE_MAX) {
        size_t some = n - i < DELETE_MAX ? n - i : DELETE_MAX;
        int rc = delete_some(s, names + i, some);

        first = first ? first : rc;
    }
    return first;
}
