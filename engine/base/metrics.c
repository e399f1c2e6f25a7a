/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry: families, each of the metrics of one name, in the order in which they came. Nothing is ever taken out
 * before the whole goes, so whoever holds a metric needs no lock to count, and whoever walks needs one only to read the
 * pointer to the next.
 */

#include "base/metrics.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/sync.h"

#include <errno.h>
#include <string.h>

#define METRICS_RANK 950

const double metric_latency_bounds[12] = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 };

/* The metrics of one name; never empty once it is in the list. */
struct family {
    struct family *next;
    struct metric *first, *last;
};

struct shale_metrics {
    enum shale_metric_level level;                /* set before it is shared, as the next one */
    const struct shale_metric_recorder *recorder; /* borrowed; NULL: none */
    struct mutex mu;                              /* guards the lists, not what metrics stand at */
    struct family *first, *last;
};

int shale_metrics_new(enum shale_metric_level level, const struct shale_metric_recorder *recorder,
                      struct shale_metrics **out)
{
    const struct shale_metric_recorder *r = recorder;
    struct shale_metrics *m;

    if (r && !(r->add && r->count && r->set && r->step && r->observe))
        return err_set(-EINVAL, "a recorder of metrics lacks a function");
    m = mem_zalloc(sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->level = level;
    m->recorder = recorder;
    mutex_init(&m->mu, METRICS_RANK, "metrics");
    *out = m;
    return 0;
}

void shale_metrics_free(struct shale_metrics *m)
{
    if (!m)
        return;
    for (struct family *f = m->first, *next; f; f = next) {
        next = f->next;
        for (struct metric *x = f->first, *after; x; x = after) {
            after = x->next;
            mem_free(x);
        }
        mem_free(f);
    }
    mutex_fini(&m->mu);
    mem_free(m);
}

static struct family *family_locked(struct shale_metrics *m, const char *name)
{
    struct family *f = m->first;

    while (f && strcmp(f->first->desc.name, name) != 0)
        f = f->next;
    return f;
}

/* Sets, as a label name comes once in each. */
static bool same_labels(const struct shale_metric_desc *d, const struct shale_metric_label *labels, size_t n)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d->n_labels; k++)
            found += strcmp(labels[i].name, d->labels[k].name) == 0 && strcmp(labels[i].value, d->labels[k].value) == 0;
    return n == d->n_labels && found == n;
}

static struct metric *metric_locked(struct family *f, const struct shale_metric_label *labels, size_t n)
{
    struct metric *x = f ? f->first : NULL;

    while (x && !same_labels(&x->desc, labels, n))
        x = x->next;
    return x;
}

static int metric_new(struct shale_metrics *m, const struct shale_metric_desc *desc, struct metric **out)
{
    struct metric *x = mem_zalloc(sizeof(*x) + (desc->n_bounds + 1) * sizeof(x->buckets[0]));
    int rc = 0;

    if (!x)
        return -ENOMEM;
    x->desc = *desc;
    if (desc->n_labels)
        memcpy(x->labels, desc->labels, desc->n_labels * sizeof(x->labels[0]));
    x->desc.labels = x->labels;
    x->recorder = m->recorder;
    if (m->recorder)
        rc = m->recorder->add(m->recorder->ctx, &x->desc, &x->handle);
    if (rc < 0) {
        mem_free(x);
        return rc;
    }
    *out = x;
    return 0;
}

/* Put x behind the others of its name. */
static int link_locked(struct shale_metrics *m, struct family *f, struct metric *x)
{
    if (f) {
        f->last->next = x;
        f->last = x;
        return 0;
    }
    f = mem_zalloc(sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->first = f->last = x;
    if (m->last)
        m->last->next = f;
    else
        m->first = f;
    m->last = f;
    return 0;
}

/* The recorder is called under the lock, so that it hears of each metric once. */
int metrics_add(struct shale_metrics *m, enum shale_metric_level level, const struct shale_metric_desc *desc,
                struct metric **out)
{
    struct metric *x = NULL;
    struct family *f;
    int rc = 0;

    if (level > m->level) {
        *out = NULL;
        return 0;
    }
    if (desc->n_labels > SHALE_METRIC_LABELS_MAX || desc->n_bounds > SHALE_METRIC_BOUNDS_MAX)
        return err_set(-EINVAL, "the metric %s has too many labels or bounds", desc->name);
    mutex_lock(&m->mu);
    f = family_locked(m, desc->name);
    if (f && (f->first->desc.kind != desc->kind || f->first->desc.n_bounds != desc->n_bounds))
        rc = err_set(-EINVAL, "the metric %s exists and is of another kind", desc->name);
    else
        x = metric_locked(f, desc->labels, desc->n_labels);
    if (rc == 0 && !x) {
        rc = metric_new(m, desc, &x);
        if (rc == 0 && (rc = link_locked(m, f, x)) < 0)
            mem_free(x);
    }
    mutex_unlock(&m->mu);
    if (rc == 0)
        *out = x;
    return rc;
}

int metrics_add_slots(struct shale_metrics *m, void *base, const struct metric_slot *slots, size_t n)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = metrics_add(m, slots[i].level, &slots[i].desc, (struct metric **)(void *)((char *)base + slots[i].at));
    return rc;
}

static double double_of(uint64_t bits)
{
    double d;

    memcpy(&d, &bits, sizeof(d));
    return d;
}

static uint64_t bits_of(double d)
{
    uint64_t bits;

    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

/* A bound belongs to the bucket below it, as Prometheus' "le" says. */
void metric_observe(struct metric *m, double value)
{
    uint64_t old;
    size_t i = 0;

    if (!m)
        return;
    while (i < m->desc.n_bounds && value > m->desc.bounds[i])
        i++;
    atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
    old = atomic_load_explicit(&m->sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&m->sum, &old, bits_of(double_of(old) + value),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
    if (m->recorder)
        m->recorder->observe(m->recorder->ctx, m->handle, value);
}

/* The number of observations is the sum of the buckets, so that the two always agree. */
void metric_read(const struct metric *m, struct shale_metric *out)
{
    uint64_t v = atomic_load_explicit(&m->value, memory_order_relaxed);

    *out = (struct shale_metric){ .desc = &m->desc };
    switch (m->desc.kind) {
    case SHALE_METRIC_COUNTER:
        out->count = v;
        break;
    case SHALE_METRIC_GAUGE:
    case SHALE_METRIC_UP_DOWN_COUNTER:
        out->value = (int64_t)v;
        break;
    case SHALE_METRIC_HISTOGRAM:
        for (size_t i = 0; i <= m->desc.n_bounds; i++) {
            out->buckets[i] = atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
            out->count += out->buckets[i];
        }
        out->sum = double_of(atomic_load_explicit(&m->sum, memory_order_relaxed));
        break;
    }
}

const struct metric *metrics_next(struct shale_metrics *m, const struct metric *before)
{
    const struct metric *x = NULL;
    const struct family *f;

    mutex_lock(&m->mu);
    if (before)
        x = before->next;
    if (!x) {
        f = before ? family_locked(m, before->desc.name) : NULL;
        f = f ? f->next : before ? NULL : m->first;
        x = f ? f->first : NULL;
    }
    mutex_unlock(&m->mu);
    return x;
}

int shale_metrics_get(struct shale_metrics *m, const char *name, const struct shale_metric_label *labels,
                      size_t n_labels, struct shale_metric *out)
{
    const struct metric *x;

    mutex_lock(&m->mu);
    x = metric_locked(family_locked(m, name), labels, n_labels);
    mutex_unlock(&m->mu);
    if (!x)
        return err_set(-ENOENT, "there is no metric %s with these labels", name);
    metric_read(x, out);
    return 0;
}

int shale_metrics_each(struct shale_metrics *m, shale_metric_fn fn, void *arg)
{
    struct shale_metric v;
    int rc = 0;

    for (const struct metric *x = metrics_next(m, NULL); rc == 0 && x; x = metrics_next(m, x)) {
        metric_read(x, &v);
        rc = fn(arg, &v);
    }
    return rc;
}
