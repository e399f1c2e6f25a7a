/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fake_sst.h"

#include "base/alloc.h"
#include "lib/list_iter.h"
#include "sst/sst_iter.h"
#include "sst/sst_lookup.h"

#include <errno.h>

enum { MAX_SSTS = 4096 };

static struct {
    const struct shale_row *rows;
    size_t n;
} ssts[MAX_SSTS];
static size_t n_ssts, opened;
static struct {
    size_t k, n;
    int rc;
} failure;

static void set(struct shale_buf *b, struct shale_slice s)
{
    if (buf_set(b, s) < 0)
        abort();
}

struct sst_handle *fake_sst_new(const struct shale_row *rows, size_t n, bool has_last)
{
    struct sst_info info = { .has_first = true, .has_last = has_last };
    struct sst_handle *h;

    if (n == 0 || n_ssts == MAX_SSTS)
        abort();
    ssts[n_ssts].rows = rows;
    ssts[n_ssts].n = n;
    set(&info.first, rows[0].key);
    if (has_last)
        set(&info.last, rows[n - 1].key);
    if (sst_handle_new((struct shale_ulid){ .lo = n_ssts++ }, 2, &info, &h) < 0)
        abort();
    sst_info_fini(&info);
    return h;
}

void fake_run(struct sorted_run *run, const struct shale_row *rows, size_t n, const size_t *cuts, size_t n_cuts,
              bool has_last)
{
    size_t from = 0;

    *run = (struct sorted_run){ .cap = n_cuts + 1 };
    run->ssts = mem_calloc(run->cap, sizeof(*run->ssts));
    if (!run->ssts)
        abort();
    for (size_t i = 0; i <= n_cuts; i++) {
        size_t to = i < n_cuts ? cuts[i] : n;

        if (to == from)
            continue;
        run->ssts[run->n++] = (struct sst_view){ .sst = fake_sst_new(rows + from, to - from, has_last) };
        from = to;
    }
}

void fake_sst_reset(void)
{
    n_ssts = opened = 0;
    failure.k = 0;
}

size_t fake_sst_opened(void)
{
    return opened;
}

void fake_sst_fail(size_t k, size_t n, int rc)
{
    failure.k = k;
    failure.n = n;
    failure.rc = rc;
}

int sst_iter_new(struct table_store *ts, const struct sst_view *view, const struct key_range *range,
                 const struct sst_iter_options *opt, struct iter **out)
{
    struct key_range visible = sst_view_range(view), both = key_range_intersect(range, &visible);
    size_t id = (size_t)view->sst->id.lo, from = 0, to = ssts[id].n;
    bool fails = failure.k && --failure.k == 0;
    struct iter *it;

    (void)ts;
    opened++;
    if (fails && failure.n == 0)
        return failure.rc;
    while (from < to && key_before_range(&both, ssts[id].rows[from].key))
        from++;
    while (from < to && key_after_range(&both, ssts[id].rows[to - 1].key))
        to--;
    it = list_iter_new(ssts[id].rows + from, to - from, opt->order);
    if (!it)
        return -ENOMEM;
    if (fails)
        list_iter_fail(it, failure.n, failure.rc);
    *out = it;
    return 0;
}

void sst_lookup_init(struct sst_lookup *l, struct table_store *ts, struct shale_slice key, bool fill_cache)
{
    *l = (struct sst_lookup){ .ts = ts, .key = key, .fill_cache = fill_cache };
}

void sst_lookup_fini(struct sst_lookup *l)
{
    (void)l;
}

/* A view that cannot have the key counts as not opened, as it costs nothing. */
int sst_lookup_in(struct sst_lookup *l, const struct sst_view *view, sst_version_fn fn, void *arg)
{
    struct key_range point = key_range_point(l->key);
    struct sst_iter_options opt = { .order = ITER_ASC };
    struct shale_row row;
    struct iter *it;
    int rc;

    if (!sst_view_may_have(view, l->key))
        return 0;
    rc = sst_iter_new(l->ts, view, &point, &opt, &it);
    if (rc < 0)
        return rc;
    while ((rc = iter_next(it, &row)) == 0 && (rc = fn(arg, &row)) == 0)
        ;
    iter_close(it);
    return rc == SHALE_END ? 0 : rc;
}
