/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_METRICS_H
#define SHALE_METRICS_H

#include <shale/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What handles count of their work, by the names of SlateDB 0.12.1 ("slatedb.db.request_count", label op = get, ...).
 * Every handle has a registry, its own or one that its options name; several handles may share one, and then count in
 * the same metrics. Counting costs one atomic addition and takes no lock. All functions may be called from any thread.
 */
struct shale_metrics;
struct shale_db;
struct shale_reader;
struct shale_compactor;

enum shale_metric_kind {
    SHALE_METRIC_COUNTER,         /* only ever grows */
    SHALE_METRIC_GAUGE,           /* is set to what something measures now */
    SHALE_METRIC_UP_DOWN_COUNTER, /* the sum of steps up and down */
    SHALE_METRIC_HISTOGRAM,       /* how many observations fell below each bound */
};

/* SHALE_METRIC_DEBUG is for what is too frequent or too much for everyday. */
enum shale_metric_level { SHALE_METRIC_INFO, SHALE_METRIC_DEBUG };

struct shale_metric_label {
    const char *name, *value;
};

#define SHALE_METRIC_LABELS_MAX 4
#define SHALE_METRIC_BOUNDS_MAX 15

/* A metric is what has the same name and the same labels, in whatever order. Durations are in seconds. */
struct shale_metric_desc {
    enum shale_metric_kind kind;
    const char *name; /* words with dots between them */
    const char *help; /* a sentence */
    const struct shale_metric_label *labels;
    size_t n_labels;
    const double *bounds; /* of a histogram, ascending */
    size_t n_bounds;
};

/* A metric and what it stands at. desc lives as long as the registry. */
struct shale_metric {
    const struct shale_metric_desc *desc;
    uint64_t count; /* of a counter; of a histogram the number of observations */
    int64_t value;  /* of a gauge and an up-down counter */
    double sum;     /* of a histogram */
    /* Of a histogram: observations at or below bounds[i] and above the bound before it; the last above all bounds. */
    uint64_t buckets[SHALE_METRIC_BOUNDS_MAX + 1];
};

/*
 * Somebody who wants to hear of every change, to pass it on (R326). add is told of each metric as it comes into being;
 * what it stores in *handle goes with each later call for that metric; an error fails the opening of the handle that
 * wanted the metric. All are called from any thread, also with locks of this library held: they must be quick and call
 * nothing of it. desc is borrowed as long as the registry lives. What lies above the registry's level is not told.
 */
struct shale_metric_recorder {
    void *ctx;
    int (*add)(void *ctx, const struct shale_metric_desc *desc, void **handle);
    void (*count)(void *ctx, void *handle, uint64_t n);       /* of a counter: n more */
    void (*set)(void *ctx, void *handle, int64_t value);      /* of a gauge */
    void (*step)(void *ctx, void *handle, int64_t by);        /* of an up-down counter */
    void (*observe)(void *ctx, void *handle, double value);   /* of a histogram */
};

/*
 * A registry for the field metrics of options. With SHALE_METRIC_INFO, metrics of the other level do not come into
 * being. recorder: borrowed until it is freed; NULL: none. Free it when every handle that was opened with it is closed;
 * NULL is fine.
 */
SHALE_API int shale_metrics_new(enum shale_metric_level level, const struct shale_metric_recorder *recorder,
                                struct shale_metrics **out);
SHALE_API void shale_metrics_free(struct shale_metrics *m);

/* The registry of a handle; borrowed until it is closed, unless it came with the options. */
SHALE_API struct shale_metrics *shale_db_metrics(struct shale_db *db);
SHALE_API struct shale_metrics *shale_reader_metrics(struct shale_reader *r);
SHALE_API struct shale_metrics *shale_compactor_metrics(struct shale_compactor *c);

/* One metric; labels in any order, but all of them. -ENOENT when there is none. */
SHALE_API int shale_metrics_get(struct shale_metrics *m, const char *name, const struct shale_metric_label *labels,
                                size_t n_labels, struct shale_metric *out);
/* Each metric, those of one name together. What fn returns other than 0 ends it and is returned. fn may use m. */
typedef int (*shale_metric_fn)(void *arg, const struct shale_metric *metric);
SHALE_API int shale_metrics_each(struct shale_metrics *m, shale_metric_fn fn, void *arg);

/*
 * All of them as Prometheus wants to read them (text exposition format 0.0.4), which replaces out: dots in names become
 * underscores and the name of a counter ends in _total, so that the example above is
 * slatedb_db_request_count_total{op="get"}. An up-down counter is a gauge there. 0 or -ENOMEM.
 */
SHALE_API int shale_metrics_text(struct shale_metrics *m, struct shale_buf *out);
/*
 * The same in parts: from metric number *from on, until there are max_len bytes or more. *from moves behind the last. 0
 * when there is more, SHALE_END when there is none; -ENOMEM (nothing changed). A part ends between metrics.
 */
SHALE_API int shale_metrics_text_part(struct shale_metrics *m, size_t *from, size_t max_len, struct shale_buf *out);

#ifdef __cplusplus
}
#endif
#endif
