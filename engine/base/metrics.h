/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <shale/metrics.h>
#include <stdatomic.h>

/*
 * The inside of the registry: metrics come into being when a handle opens and are then counted without a lock. Each is
 * one atomic number, relaxed: counters publish nothing, and a reader of several may see one change and not yet another.
 * One number for all processors is enough: against what a get or a put costs, the addition was too small to measure
 * (tests/bench/bench_db.c).
 */
struct metric {
    _Atomic uint64_t value; /* relaxed; of gauges and up-down counters the bits of an int64_t */
    const struct shale_metric_recorder *recorder; /* borrowed; NULL: none */
    void *handle;                                 /* what the recorder gave */
    struct metric *next;                          /* of the same name; set under the registry's lock */
    struct shale_metric_desc desc;
    struct shale_metric_label labels[SHALE_METRIC_LABELS_MAX];
    _Atomic uint64_t sum;       /* relaxed; the bits of a double */
    _Atomic uint64_t buckets[]; /* relaxed; of a histogram n_bounds + 1 */
};

/* A metric that a struct has a pointer to, and where in the struct. Strings and bounds live for ever. */
struct metric_slot {
    size_t at;
    enum shale_metric_level level;
    struct shale_metric_desc desc;
};

/*
 * The metric of that description, an existing one if there is. Strings and bounds of desc must live as long as m; the
 * list of labels is copied. *out NULL: its level is above that of m. 0; -ENOMEM; -EINVAL when the name has another
 * kind; what the recorder returned.
 */
int metrics_add(struct shale_metrics *m, enum shale_metric_level level, const struct shale_metric_desc *desc,
                struct metric **out);
/* The same for each slot of the struct at base. */
int metrics_add_slots(struct shale_metrics *m, void *base, const struct metric_slot *slots, size_t n);

/* What m stands at. */
void metric_read(const struct metric *m, struct shale_metric *out);
/* The metric behind one (NULL: the first), in the order of shale_metrics_each; NULL at the end. */
const struct metric *metrics_next(struct shale_metrics *m, const struct metric *before);

extern const double metric_latency_bounds[12]; /* seconds */

/* m may be NULL in all of them: not counted. */
static inline void metric_count(struct metric *m, uint64_t n)
{
    if (!m)
        return;
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
    if (m->recorder)
        m->recorder->count(m->recorder->ctx, m->handle, n);
}

static inline void metric_set(struct metric *m, int64_t value)
{
    if (!m)
        return;
    atomic_store_explicit(&m->value, (uint64_t)value, memory_order_relaxed);
    if (m->recorder)
        m->recorder->set(m->recorder->ctx, m->handle, value);
}

static inline void metric_step(struct metric *m, int64_t by)
{
    if (!m)
        return;
    atomic_fetch_add_explicit(&m->value, (uint64_t)by, memory_order_relaxed);
    if (m->recorder)
        m->recorder->step(m->recorder->ctx, m->handle, by);
}

void metric_observe(struct metric *m, double value);

#endif
