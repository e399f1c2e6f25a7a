/* SPDX-License-Identifier: Apache-2.0 */
/* A container as a store: the operations that are one request each. */

#include "object/azure/azure.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/reread.h"
#include "object/bucket.h"
#include "object/part_upload.h"

#include <ctype.h>
#include <errno.h>

#define OBJECT_MAX ((uint64_t)5000 << 20) /* of a single PUT, hence of what is read whole */

static struct azure_store *store_of(struct shale_store *s)
{
    return container_of(s, struct azure_store, base);
}

/* ---- reading ---- */

/* The store keeps the MD5 of what came by one Put Blob, as manifests do, which have no checksum of their own. */
static int get_once(struct azure_store *s, const char *name, struct shale_buf *out)
{
    struct azure_call c;
    int rc = azure_call_init(&c, s, HTTP_GET, "read", name);

    c.x.max_response = OBJECT_MAX;
    if (rc == 0)
        rc = azure_call_run(&c);
    if (rc == 0 && !bucket_md5_fits(&c.x))
        rc = azure_call_error(&c, SHALE_ECORRUPT, "the body is not what its MD5 stands for");
    if (rc == 0)
        bucket_take_body(&c.x, out);
    azure_call_fini(&c);
    return rc;
}

static int azure_get(struct shale_store *store, const char *name, struct shale_buf *out)
{
    struct reread again = REREAD_INIT;
    int rc;

    do
        rc = get_once(store_of(store), name, out);
    while (reread_due(&again, rc));
    return rc;
}

/* Azure counts in signed numbers, and calls what does not fit into one a bad request. */
static int begin_range(struct azure_call *c, struct azure_store *s, const char *name, uint64_t offset, uint64_t len)
{
    int rc = azure_call_init(c, s, HTTP_GET, "read", name);

    if (offset > INT64_MAX)
        offset = INT64_MAX;
    if (len > INT64_MAX - offset)
        len = INT64_MAX - offset + 1;
    return rc == 0 ? bucket_ask_range(&c->x, offset, len) : rc;
}

static int end_range(struct azure_call *c, uint64_t offset, uint64_t len, struct shale_buf *out)
{
    char why[160];
    int rc = azure_call_wait(c);

    if (rc < 0)
        return rc;
    rc = bucket_check_range(&c->x, offset, len, why, sizeof(why));
    if (rc < 0)
        return azure_call_error(c, rc, "%s", why);
    bucket_take_body(&c->x, out);
    return 0;
}

static int azure_get_range(struct shale_store *store, const char *name, uint64_t offset, uint64_t len,
                           struct shale_buf *out)
{
    struct azure_call c;
    int rc = begin_range(&c, store_of(store), name, offset, len);

    if (rc == 0) {
        (void)azure_call_submit(&c);
        rc = end_range(&c, offset, len, out);
    }
    azure_call_fini(&c);
    return rc;
}

/* All at once; the client keeps to its limit. The sentence is that of the last one that failed. */
static int azure_get_ranges(struct shale_store *store, struct shale_range_get *r, size_t n)
{
    struct azure_call *calls = mem_calloc(n, sizeof(*calls));

    if (!calls)
        return err_set(-ENOMEM, "out of memory for %zu ranges", n);
    for (size_t i = 0; i < n; i++) {
        r[i].rc = begin_range(&calls[i], store_of(store), r[i].name, r[i].offset, r[i].len);
        if (r[i].rc == 0)
            (void)azure_call_submit(&calls[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (r[i].rc == 0)
            r[i].rc = end_range(&calls[i], r[i].offset, r[i].len, &r[i].out);
        azure_call_fini(&calls[i]);
    }
    mem_free(calls);
    return 0;
}

static int azure_head(struct shale_store *store, const char *name, struct shale_object_meta *out)
{
    struct azure_call c;
    int rc = azure_call_init(&c, store_of(store), HTTP_HEAD, "look at", name);

    if (rc == 0)
        rc = azure_call_run(&c);
    if (rc == 0 && !bucket_read_meta(&c.x, AZURE_PUT_ID, out))
        rc = azure_call_error(&c, SHALE_ETRANSIENT, "the store tells neither size nor time of it");
    azure_call_fini(&c);
    return rc;
}

/* ---- writing ---- */

static int put_once(struct shale_store *store, const char *name, struct shale_slice data, bool create,
                    const char *put_id)
{
    struct azure_call c;
    int rc = azure_call_init(&c, store_of(store), HTTP_PUT, "write", name);

    c.conditional = create;
    if (rc == 0)
        rc = azure_call_body(&c, data);
    if (rc == 0)
        rc = http_add_header(&c.x, "x-ms-blob-type: BlockBlob");
    if (rc == 0 && create)
        rc = http_add_header(&c.x, "If-None-Match: *");
    if (rc == 0 && put_id)
        rc = http_add_header(&c.x, AZURE_PUT_ID ": %s", put_id);
    if (rc == 0)
        rc = azure_call_run(&c);
    azure_call_fini(&c);
    return rc;
}

static int azure_put(struct shale_store *store, const char *name, struct shale_slice data, enum shale_put_mode mode,
                     const char *put_id)
{
    return bucket_put(store, store_of(store)->container, name, data, mode, put_id, put_once);
}

static int azure_remove(struct shale_store *store, const char *name)
{
    return azure_remove_many(store, &name, 1);
}

static const char *azure_origin(struct shale_store *store)
{
    return store_of(store)->config.origin;
}

static void azure_close(struct shale_store *store)
{
    struct azure_store *s = store_of(store);

    http_client_free(s->http);
    azure_config_fini(&s->config);
    mem_free(s->container);
    mem_free(s->root);
    mem_free(s);
}

static const struct shale_store_ops azure_ops = {
    .scheme = "az",
    .get = azure_get,
    .get_range = azure_get_range,
    .get_ranges = azure_get_ranges,
    .head = azure_head,
    .put = azure_put,
    .remove = azure_remove,
    .remove_many = azure_remove_many,
    .list = azure_list,
    .upload_begin = azure_upload_begin,
    .upload_write = part_upload_write,
    .upload_finish = part_upload_finish,
    .upload_abort = part_upload_abort,
    .upload_in_parts = part_upload_in_parts,
    .close = azure_close,
    .origin = azure_origin,
};

/* ---- opening ---- */

/* Azure's rules. The containers $root, $web and $logs are not for others' objects. */
static int check_container(const char *name)
{
    size_t n = strlen(name);
    bool good = n >= 3 && n <= 63 && name[0] != '-' && name[n - 1] != '-' && !strstr(name, "--");

    for (size_t i = 0; i < n && good; i++)
        good = islower((unsigned char)name[i]) || isdigit((unsigned char)name[i]) || name[i] == '-';
    if (good)
        return 0;
    return err_set(-EINVAL, "\"%.80s\" is no name of a container: it has 3 to 63 lower-case letters and digits, and "
                            "single hyphens between them", name);
}

static int configure(struct azure_store *s, const char *container, const struct shale_azure_options *opt)
{
    struct http_options http = { .connect_ms = opt->connect_ms, .first_byte_ms = opt->first_byte_ms,
                                 .stall_ms = opt->stall_ms, .min_rate = opt->min_rate, .watch = opt->watch };
    struct shale_buf root = SHALE_BUF_INIT;
    int rc = check_container(container);

    if (rc == 0)
        rc = azure_config_find(opt, &s->config);
    if (rc == 0)
        rc = buf_printf(&root, "%s/%s", s->config.base, container);
    s->root = (char *)buf_take(&root);
    if (rc == 0 && !(s->container = mem_strdup(container)))
        rc = -ENOMEM;
    http.ca_file = s->config.ca_file;
    return rc == 0 ? http_client_new(&http, &s->http) : rc;
}

int shale_store_azure(const char *container, const struct shale_azure_options *opt, struct shale_store **out)
{
    static const struct shale_azure_options none;
    struct azure_store *s = mem_zalloc(sizeof(*s));
    int rc = s ? configure(s, container, opt ? opt : &none) : -ENOMEM;

    if (rc < 0) {
        if (s)
            azure_close(&s->base);
        return rc == -ENOMEM ? err_set(rc, "out of memory for the store az://%s", container) : rc;
    }
    s->base.ops = &azure_ops;
    *out = &s->base;
    return 0;
}
