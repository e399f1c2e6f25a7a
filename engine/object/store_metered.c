/* SPDX-License-Identifier: Apache-2.0 */
#include "object/store_metered.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "object/store.h"

#include <errno.h>

/* The names of SlateDB 0.12.1, instrumented_object_store.rs. */
enum api {
    API_GET,
    API_GET_RANGE,
    API_GET_RANGES,
    API_HEAD,
    API_PUT,
    API_MULTIPART_INIT,
    API_MULTIPART_PART,
    API_MULTIPART_COMPLETE,
    API_DELETE,
    N_APIS
};

static const struct {
    const char *op, *api;
} apis[N_APIS] = {
    [API_GET] = { "get", "get" },
    [API_GET_RANGE] = { "get", "get_range" },
    [API_GET_RANGES] = { "get", "get_ranges" },
    [API_HEAD] = { "get", "head" },
    [API_PUT] = { "put", "put" },
    [API_MULTIPART_INIT] = { "put", "multipart_init" },
    [API_MULTIPART_PART] = { "put", "multipart_part" },
    [API_MULTIPART_COMPLETE] = { "put", "multipart_complete" },
    [API_DELETE] = { "delete", "delete" },
};

struct api_metrics {
    struct metric *requests, *errors, *seconds;
};

struct metered_store {
    struct shale_store base;
    struct shale_store_ops ops; /* those of metered_ops that the inner store has */
    struct shale_store *inner;
    struct api_metrics api[N_APIS];
};

struct metered_upload {
    struct shale_upload base;
    struct shale_upload *inner;
};

static struct metered_store *self(struct shale_store *s)
{
    return container_of(s, struct metered_store, base);
}

/* Of a request that began at start_ns and ended with rc, which is returned. */
static int note(struct metered_store *m, enum api api, int64_t start_ns, int rc)
{
    struct api_metrics *a = &m->api[api];

    metric_count(a->requests, 1);
    if (rc < 0)
        metric_count(a->errors, 1);
    metric_observe(a->seconds, (double)(clock_mono_ns() - start_ns) / 1e9);
    return rc;
}

static int metered_get(struct shale_store *s, const char *name, struct shale_buf *out)
{
    struct metered_store *m = self(s);
    int64_t start = clock_mono_ns();

    return note(m, API_GET, start, shale_store_get(m->inner, name, out));
}

static int metered_get_range(struct shale_store *s, const char *name, uint64_t offset, uint64_t len,
                             struct shale_buf *out)
{
    struct metered_store *m = self(s);
    int64_t start = clock_mono_ns();

    return note(m, API_GET_RANGE, start, shale_store_get_range(m->inner, name, offset, len, out));
}

/* One request, which failed when a range did. */
static int metered_get_ranges(struct shale_store *s, struct shale_range_get *r, size_t n)
{
    struct metered_store *m = self(s);
    int64_t start = clock_mono_ns();
    int rc = shale_store_get_ranges(m->inner, r, n);
    int first = rc;

    for (size_t i = 0; first == 0 && i < n; i++)
        first = r[i].rc;
    (void)note(m, API_GET_RANGES, start, first); /* the ranges have their own outcomes */
    return rc;
}

static int metered_head(struct shale_store *s, const char *name, struct shale_object_meta *out)
{
    struct metered_store *m = self(s);
    int64_t start = clock_mono_ns();

    return note(m, API_HEAD, start, shale_store_head(m->inner, name, out));
}

static int metered_put(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
                       const char *put_id)
{
    struct metered_store *m = self(s);
    int64_t start = clock_mono_ns();

    return note(m, API_PUT, start, store_put_with_id(m->inner, name, data, mode, put_id));
}

static int metered_remove(struct shale_store *s, const char *name)
{
    struct metered_store *m = self(s);
    int64_t start = clock_mono_ns();

    return note(m, API_DELETE, start, shale_store_delete(m->inner, name));
}

static int metered_remove_many(struct shale_store *s, const char *const *names, size_t n)
{
    struct metered_store *m = self(s);
    int64_t start = clock_mono_ns();

    return note(m, API_DELETE, start, shale_store_delete_many(m->inner, names, n));
}

static int metered_list(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn, void *arg)
{
    return shale_store_list(self(s)->inner, prefix, start_after, fn, arg);
}

static int metered_upload_begin(struct shale_store *s, const char *name, struct shale_upload **out)
{
    struct metered_store *m = self(s);
    struct metered_upload *u = mem_zalloc(sizeof(*u));
    int64_t start = clock_mono_ns();
    int rc;

    if (!u)
        return err_set(-ENOMEM, "out of memory for the upload of %s", name);
    rc = note(m, API_MULTIPART_INIT, start, shale_upload_begin(m->inner, name, &u->inner));
    if (rc < 0) {
        mem_free(u);
        return rc;
    }
    u->base.store = s;
    *out = &u->base;
    return 0;
}

static struct metered_upload *upload_of(struct shale_upload *u)
{
    return container_of(u, struct metered_upload, base);
}

static int metered_upload_write(struct shale_upload *u, struct shale_slice data)
{
    int64_t start = clock_mono_ns();

    return note(self(u->store), API_MULTIPART_PART, start, shale_upload_write(upload_of(u)->inner, data));
}

static int metered_upload_finish(struct shale_upload *u)
{
    int64_t start = clock_mono_ns();
    int rc = note(self(u->store), API_MULTIPART_COMPLETE, start, store_upload_try_finish(upload_of(u)->inner));

    if (rc != SHALE_ETRANSIENT)
        mem_free(upload_of(u));
    return rc;
}

static void metered_upload_abort(struct shale_upload *u)
{
    shale_upload_abort(upload_of(u)->inner);
    mem_free(upload_of(u));
}

static void metered_close(struct shale_store *s)
{
    mem_free(self(s));
}

static void metered_upload_in_parts(struct shale_upload *u)
{
    store_upload_in_parts(upload_of(u)->inner);
}

static const struct shale_store_ops metered_ops = {
    .scheme = "metered",
    .get = metered_get,
    .get_range = metered_get_range,
    .get_ranges = metered_get_ranges,
    .head = metered_head,
    .put = metered_put,
    .remove = metered_remove,
    .remove_many = metered_remove_many,
    .list = metered_list,
    .upload_begin = metered_upload_begin,
    .upload_write = metered_upload_write,
    .upload_finish = metered_upload_finish,
    .upload_abort = metered_upload_abort,
    .upload_in_parts = metered_upload_in_parts,
    .close = metered_close,
};

static void choose_ops(struct metered_store *m)
{
    const struct shale_store_ops *inner = m->inner->ops;

    m->ops = metered_ops;
    m->ops.scheme = inner->scheme;
    if (!inner->get_ranges)
        m->ops.get_ranges = NULL;
    if (!inner->remove_many)
        m->ops.remove_many = NULL;
    if (!inner->upload_begin)
        m->ops.upload_begin = NULL; /* the others are not asked for then */
    m->base.ops = &m->ops;
}

static int add_metrics(struct shale_metrics *reg, enum api api, const char *component, const char *store_type,
                       struct api_metrics *out)
{
    const struct shale_metric_label labels[] = { { "component", component },
                                                 { "store_type", store_type },
                                                 { "op", apis[api].op },
                                                 { "api", apis[api].api } };
    struct shale_metric_desc desc = { .kind = SHALE_METRIC_COUNTER,
                                      .name = "slatedb.object_store.request_count",
                                      .help = "Requests to the object store, every attempt",
                                      .labels = labels,
                                      .n_labels = ARRAY_SIZE(labels) };
    int rc = metrics_add(reg, SHALE_METRIC_INFO, &desc, &out->requests);

    desc.name = "slatedb.object_store.error_count";
    desc.help = "Requests to the object store that failed, also with \"not found\"";
    if (rc == 0)
        rc = metrics_add(reg, SHALE_METRIC_INFO, &desc, &out->errors);
    desc.kind = SHALE_METRIC_HISTOGRAM;
    desc.name = "slatedb.object_store.request_duration_seconds";
    desc.help = "How long requests to the object store took";
    desc.bounds = metric_latency_bounds;
    desc.n_bounds = ARRAY_SIZE(metric_latency_bounds);
    if (rc == 0)
        rc = metrics_add(reg, SHALE_METRIC_INFO, &desc, &out->seconds);
    return rc;
}

int store_metered_new(struct shale_store *inner, struct shale_metrics *m, const char *component, const char *store_type,
                      struct shale_store **out)
{
    struct metered_store *s = mem_zalloc(sizeof(*s));
    int rc = 0;

    if (!s)
        return -ENOMEM;
    s->inner = inner;
    choose_ops(s);
    for (int i = 0; rc == 0 && i < N_APIS; i++)
        rc = add_metrics(m, (enum api)i, component, store_type, &s->api[i]);
    if (rc < 0) {
        mem_free(s);
        return rc;
    }
    *out = &s->base;
    return 0;
}

int counted_store_open(struct counted_store *c, struct shale_store *inner, const struct store_retry_options *retry,
                       struct shale_metrics *m, const char *component, const char *store_type)
{
    struct store_retry_options opt = retry ? *retry : (struct store_retry_options){ .metrics = NULL };
    int rc = m ? store_metered_new(inner, m, component, store_type, &c->metered) : 0;

    opt.metrics = m;
    return rc < 0 ? rc : store_retry_new(c->metered ? c->metered : inner, &opt, &c->retry);
}

void counted_store_stop(struct counted_store *c)
{
    if (c->retry)
        store_retry_stop(c->retry);
}

void counted_store_close(struct counted_store *c)
{
    shale_store_close(c->retry);
    shale_store_close(c->metered);
    *c = (struct counted_store){ 0 };
}
