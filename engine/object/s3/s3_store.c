/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bucket as a store: where it is, and the operations that are one request each.
 */

#include "object/s3/s3.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "net/aws_profile.h"
#include "object/bucket.h"
#include "object/part_upload.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define OBJECT_MAX ((uint64_t)5 << 30) /* of a single PUT, hence of what is read whole */

static struct s3_store *store_of(struct shale_store *s)
{
    return container_of(s, struct s3_store, base);
}

/* ---- reading ---- */

/* Ended by s3_call_fini in any case. */
static int get_once(struct s3_call *c, struct s3_store *s, const char *name)
{
    int rc = s3_call_init(c, s, HTTP_GET, "read", name);

    c->x.max_response = OBJECT_MAX;
    return rc == 0 ? s3_call_run(c) : rc;
}

static bool same_body(const struct s3_call *a, const struct s3_call *b)
{
    return slice_eq(slice_of_buf(&a->x.response), slice_of_buf(&b->x.response));
}

/*
 * The body of c is not what its ETag stands for: read once more.
 *   the second body fits      the first was spoilt on the way
 *   it is the same            it is whole: two are not spoilt alike, and this store's ETags are no MD5s
 *   it is another one         the way spoils everything; perhaps not for ever
 */
static int get_again(struct s3_call *c)
{
    struct s3_store *s = c->s;
    struct s3_call second;
    int rc = get_once(&second, s, c->name);

    if (rc == 0 && s3_etag_fits(&second)) {
        log_warn("s3://%s/%s: a body of %zu bytes arrived spoilt; it was read again", s->bucket, c->name,
                 c->x.response.len);
        shale_buf_fini(&c->x.response);
        bucket_take_body(&second.x, &c->x.response);
    } else if (rc == 0 && same_body(c, &second)) {
        log_info("s3://%s: its ETags are no MD5s", s->bucket);
        atomic_store_explicit(&s->opaque_etags, true, memory_order_relaxed);
    } else if (rc == 0) {
        rc = s3_call_error(&second, SHALE_ETRANSIENT, "the body arrives spoilt, each time in another way");
    }
    s3_call_fini(&second);
    return rc;
}

static int s3_get(struct shale_store *store, const char *name, struct shale_buf *out)
{
    struct s3_store *s = store_of(store);
    struct s3_call c;
    int rc = get_once(&c, s, name);

    if (rc == 0 && !atomic_load_explicit(&s->opaque_etags, memory_order_relaxed) && !s3_etag_fits(&c))
        rc = get_again(&c);
    if (rc == 0)
        bucket_take_body(&c.x, out);
    s3_call_fini(&c);
    return rc;
}

static int begin_range(struct s3_call *c, struct s3_store *s, const char *name, uint64_t offset, uint64_t len)
{
    int rc = s3_call_init(c, s, HTTP_GET, "read", name);

    return rc == 0 ? bucket_ask_range(&c->x, offset, len) : rc;
}

static int check_range_sent(const struct s3_call *c, uint64_t offset, uint64_t len)
{
    char why[160];
    int rc = bucket_check_range(&c->x, offset, len, why, sizeof(why));

    return rc < 0 ? s3_call_error(c, rc, "%s", why) : 0;
}

static int s3_get_range(struct shale_store *store, const char *name, uint64_t offset, uint64_t len,
                        struct shale_buf *out)
{
    struct s3_call c;
    int rc = begin_range(&c, store_of(store), name, offset, len);

    if (rc == 0)
        rc = s3_call_run(&c);
    if (rc == 0)
        rc = check_range_sent(&c, offset, len);
    if (rc == 0)
        bucket_take_body(&c.x, out);
    s3_call_fini(&c);
    return rc;
}

/* All at once; the client keeps to its limit. The sentence is that of the last one that failed. */
static int s3_get_ranges(struct shale_store *store, struct shale_range_get *r, size_t n)
{
    struct s3_call *calls = mem_calloc(n, sizeof(*calls));

    if (!calls)
        return err_set(-ENOMEM, "out of memory for %zu ranges", n);
    for (size_t i = 0; i < n; i++) {
        r[i].rc = begin_range(&calls[i], store_of(store), r[i].name, r[i].offset, r[i].len);
        if (r[i].rc == 0)
            (void)s3_call_submit(&calls[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (r[i].rc == 0)
            r[i].rc = s3_call_wait(&calls[i]);
        if (r[i].rc == 0)
            r[i].rc = check_range_sent(&calls[i], r[i].offset, r[i].len);
        if (r[i].rc == 0)
            bucket_take_body(&calls[i].x, &r[i].out);
        s3_call_fini(&calls[i]);
    }
    mem_free(calls);
    return 0;
}

static int read_head(const struct s3_call *c, struct shale_object_meta *out)
{
    char id_header[32];

    snprintf(id_header, sizeof(id_header), "%s" S3_PUT_ID, s3_meta_prefix(c->s));
    if (!bucket_read_meta(&c->x, id_header, out))
        return s3_call_error(c, SHALE_ETRANSIENT, "the store tells neither size nor time of it");
    return 0;
}

int s3_head(struct shale_store *store, const char *name, struct shale_object_meta *out)
{
    struct s3_call c;
    int rc = s3_call_init(&c, store_of(store), HTTP_HEAD, "look at", name);

    if (rc == 0)
        rc = s3_call_run(&c);
    if (rc == 0)
        rc = read_head(&c, out);
    s3_call_fini(&c);
    return rc;
}

/* ---- writing ---- */

static int s3_remove(struct shale_store *store, const char *name)
{
    struct s3_call c;
    int rc = s3_call_init(&c, store_of(store), HTTP_DELETE, "delete", name);

    if (rc == 0)
        rc = s3_call_run(&c);
    s3_call_fini(&c);
    return rc == -ENOENT ? 0 : rc;
}

static const char *s3_origin(struct shale_store *store)
{
    return store_of(store)->origin;
}

static void s3_close(struct shale_store *store)
{
    struct s3_store *s = store_of(store);

    aws_credentials_free(s->credentials);
    http_client_free(s->http);
    mem_free(s->bucket);
    mem_free(s->region);
    mem_free(s->ca_file);
    mem_free(s->origin);
    mem_free(s->host);
    mem_free(s->root);
    mem_free(s);
}

static const struct shale_store_ops s3_ops = {
    .scheme = "s3",
    .get = s3_get,
    .get_range = s3_get_range,
    .get_ranges = s3_get_ranges,
    .head = s3_head,
    .put = s3_put,
    .remove = s3_remove,
    .remove_many = s3_remove_many,
    .list = s3_list,
    .upload_begin = s3_upload_begin,
    .upload_write = part_upload_write,
    .upload_finish = part_upload_finish,
    .upload_abort = part_upload_abort,
    .upload_in_parts = part_upload_in_parts,
    .close = s3_close,
    .origin = s3_origin,
};

/* ---- where it is ---- */

/* The rules of AWS for names, which others share: 3 to 63 of lower-case letters, digits, dots and hyphens. */
static int check_bucket(const char *bucket)
{
    size_t n = strlen(bucket);

    if (n < 3 || n > 63)
        return err_set(-EINVAL, "\"%.80s\" is no name of a bucket: it has 3 to 63 characters", bucket);
    for (size_t i = 0; i < n; i++)
        if (!islower((unsigned char)bucket[i]) && !isdigit((unsigned char)bucket[i]) && !strchr("-._", bucket[i]))
            return err_set(-EINVAL, "\"%s\" is no name of a bucket: lower-case letters, digits, dots and hyphens are "
                                    "allowed", bucket);
    return 0;
}

static int check_region(const char *region)
{
    if (!region[0])
        return err_set(-EINVAL, "the region is empty");
    for (const char *p = region; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
            return err_set(-EINVAL, "\"%.60s\" is no name of a region", region);
    return 0;
}

static char *make_string(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static char *make_string(const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        s = NULL;
    va_end(ap);
    return s;
}

/* No path but perhaps a slash. */
static int split_endpoint(const char *endpoint, bool *tls, const char **host, size_t *len)
{
    struct bucket_endpoint e;
    int rc = bucket_endpoint_parse(endpoint, &e);

    if (rc < 0)
        return rc;
    if (e.path[0] && e.path[1])
        return err_set(-EINVAL, "the endpoint \"%.100s\" is not of the form https://HOST or https://HOST:PORT", endpoint);
    *tls = e.tls;
    *host = e.host;
    *len = e.host_len;
    return 0;
}

/* AWS has the bucket in the name of the host; servers of one's own rarely have such names in DNS. */
static int place(struct s3_store *s, const struct shale_s3_options *opt, const char *endpoint)
{
    const char *host = NULL;
    char aws[128];
    size_t len = 0;
    bool in_path = opt->path_style || (endpoint && !opt->virtual_host) || (strchr(s->bucket, '.') && !opt->virtual_host);
    int rc = 0;

    s->tls = true;
    if (endpoint) {
        rc = split_endpoint(endpoint, &s->tls, &host, &len);
    } else {
        len = (size_t)snprintf(aws, sizeof(aws), "s3.%.60s.amazonaws.com%s", s->region,
                               strncmp(s->region, "cn-", 3) == 0 ? ".cn" : "");
        host = aws;
    }
    if (rc < 0)
        return rc;
    s->dialect = opt->dialect;
    if (len == 22 && memcmp(host, "storage.googleapis.com", 22) == 0)
        s->dialect = SHALE_S3_GCS;
    s->host = in_path ? make_string("%.*s", (int)len, host) : make_string("%s.%.*s", s->bucket, (int)len, host);
    s->origin = s->host ? make_string("%s://%s", s->tls ? "https" : "http", s->host) : NULL;
    s->root = make_string("%s%s", in_path ? "/" : "", in_path ? s->bucket : "");
    return s->host && s->origin && s->root ? 0 : -ENOMEM;
}

static const char *set_or_null(const char *s)
{
    return s && s[0] ? s : NULL;
}

/* Copies into s: the files of AWS are forgotten afterwards. */
static int take_place(struct s3_store *s, const struct shale_s3_options *opt, const struct aws_config *config,
                      const char *profile)
{
    const char *region = set_or_null(opt->region), *ca = set_or_null(opt->ca_file);
    const char *endpoint = set_or_null(opt->endpoint);
    int rc;

    if (!region)
        region = aws_region_find(config, profile);
    if (!ca)
        ca = aws_ca_find(config, profile);
    rc = check_region(region ? region : "us-east-1");
    if (rc == 0 && !endpoint)
        rc = aws_endpoint_find(config, profile, "s3", &endpoint);
    if (rc < 0)
        return rc;
    if (endpoint && strcmp(endpoint, "aws") == 0)
        endpoint = NULL;
    s->region = mem_strdup(region ? region : "us-east-1");
    s->ca_file = ca ? bucket_absolute(ca) : NULL;
    if (!s->region || (ca && !s->ca_file))
        return -ENOMEM;
    return place(s, opt, endpoint);
}

static int find_place(struct s3_store *s, const struct shale_s3_options *opt)
{
    struct aws_config *config = NULL;
    const char *profile;
    int rc = aws_config_load(&config);

    if (rc == 0)
        rc = aws_profile_choose(config, opt->profile, &profile);
    if (rc == 0)
        rc = take_place(s, opt, config, profile);
    aws_config_free(config);
    return rc;
}

static int connect_by(struct s3_store *s, const struct shale_s3_options *opt)
{
    const struct aws_credential_options keys = { .access_key = opt->access_key, .secret_key = opt->secret_key,
                                                 .token = opt->session_token, .profile = opt->profile,
                                                 .region = s->region, .anonymous = opt->anonymous };
    const struct http_options http = { .ca_file = s->ca_file, .connect_ms = opt->connect_ms,
                                       .first_byte_ms = opt->first_byte_ms, .stall_ms = opt->stall_ms,
                                       .min_rate = opt->min_rate, .watch = opt->watch };
    int rc = http_client_new(&http, &s->http);

    s->unsigned_payload = s->tls || opt->unsigned_payload;
    s->chunks = s->unsigned_payload || opt->anonymous || s->dialect != SHALE_S3_AWS ? S3_CHUNKS_NEVER : S3_CHUNKS_UNTRIED;
    return rc == 0 ? aws_credentials_new(&keys, s->http, &s->credentials) : rc;
}

static int configure(struct s3_store *s, const char *bucket, const struct shale_s3_options *opt)
{
    int rc = check_bucket(bucket);

    if (rc < 0)
        return rc;
    s->bucket = mem_strdup(bucket);
    rc = s->bucket ? find_place(s, opt) : -ENOMEM;
    return rc == 0 ? connect_by(s, opt) : rc;
}

int shale_store_s3(const char *bucket, const struct shale_s3_options *opt, struct shale_store **out)
{
    static const struct shale_s3_options none;
    struct s3_store *s = mem_zalloc(sizeof(*s));
    int rc = s ? configure(s, bucket, opt ? opt : &none) : -ENOMEM;

    if (rc < 0) {
        if (s)
            s3_close(&s->base);
        return rc == -ENOMEM ? err_set(rc, "out of memory for the store s3://%s", bucket) : rc;
    }
    s->ops = s3_ops;
    if (s->dialect == SHALE_S3_GCS)
        s->ops.scheme = "gs";
    s->base.ops = &s->ops;
    *out = &s->base;
    return 0;
}
