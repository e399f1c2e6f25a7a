/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/compact_fixture.h"

#include "base/alloc.h"
#include "lib/check.h"
#include "lib/store_fault.h"
#include "read/run_iter.h"
#include "sst/sst_writer.h"

#include <stdlib.h>
#include <string.h>

static int64_t fixture_now(void *ctx)
{
    struct compact_fixture *f = ctx;

    return __atomic_add_fetch(&f->now_ms, f->step_ms, __ATOMIC_RELAXED);
}

void compact_fixture_init(struct compact_fixture *f, uint32_t block_size)
{
    struct sst_format format = { .codec = SHALE_CODEC_NONE, .block_size = block_size, .min_filter_keys = 1000,
                                 .filter_bits_per_key = 10 };

    *f = (struct compact_fixture){ .now_ms = 2000000 };
    f->clock = (struct shale_clock){ .now_ms = fixture_now, .ctx = f };
    f->op = concat_operator(&f->concat);
    assert_int_equal(shale_store_memory(&f->memory), 0);
    f->store = store_fault_new(f->memory);
    assert_int_equal(table_store_init(&f->ts, f->store, f->store, "db", &format, NULL), 0);
}

void compact_fixture_fini(struct compact_fixture *f)
{
    table_store_fini(&f->ts);
    shale_store_close(f->store);
    shale_store_close(f->memory);
}

static int row_order(const void *a, const void *b)
{
    const struct shale_row *x = a, *y = b;
    int c = slice_cmp(x->key, y->key);

    return c ? c : (x->seq < y->seq) - (x->seq > y->seq);
}

void rows_sort(struct shale_row *rows, size_t n)
{
    if (n)
        qsort(rows, n, sizeof(*rows), row_order);
}

struct sst_handle *fixture_sst(struct compact_fixture *f, const struct shale_row *rows, size_t n)
{
    struct shale_row *sorted = mem_calloc(n, sizeof(*rows));
    struct shale_ulid id = { (uint64_t)500000 << 16, ++f->n_ssts };
    struct sst_writer *w = NULL;
    struct sst_handle *h = NULL;

    assert_non_null(sorted);
    memcpy(sorted, rows, n * sizeof(*rows));
    rows_sort(sorted, n);
    assert_int_equal(sst_writer_new(&f->ts, id, false, &w), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(sst_writer_add(w, &sorted[i], NULL), 0);
    assert_int_equal(sst_writer_finish(w, &h), 0);
    mem_free(sorted);
    return h;
}

struct sst_handle *fixture_sst_text(struct compact_fixture *f, const char *rows)
{
    struct row_list l;
    struct sst_handle *h;

    row_list_parse(&l, rows);
    h = fixture_sst(f, l.rows, l.n);
    row_list_fini(&l);
    return h;
}

void views_add(struct sst_view **views, size_t *n, size_t *cap, struct sst_handle *h)
{
    assert_int_equal(vec_reserve(views, cap, *n + 1, sizeof(**views)), 0);
    (*views)[(*n)++] = (struct sst_view){ .id = h->id, .sst = h };
}

struct sorted_run fixture_run(struct compact_fixture *f, uint32_t id, const char *const *ssts, size_t n)
{
    struct sorted_run run = { .id = id };

    for (size_t i = 0; i < n; i++)
        views_add(&run.ssts, &run.n, &run.cap, fixture_sst_text(f, ssts[i]));
    return run;
}

struct compaction_job fixture_job(struct compact_fixture *f)
{
    return (struct compaction_job){
        .id = FIXTURE_JOB, .max_sst_size = (uint64_t)64 << 20, .ts = &f->ts, .clock = &f->clock,
        .clock_tick = SHALE_NO_TS,
    };
}

char *run_text(struct compact_fixture *f, const struct sorted_run *run, size_t first)
{
    struct sorted_run part = { .id = run->id, .ssts = run->ssts ? run->ssts + first : NULL, .n = run->n - first };
    struct sst_iter_options opt = { .order = ITER_ASC };
    struct key_range all = { 0 };
    struct iter *it = NULL;

    assert_true(first <= run->n);
    assert_int_equal(run_iter_new(&f->ts, &part, &all, &opt, &it), 0);
    return iter_text(it);
}

char *handle_text(struct compact_fixture *f, struct sst_handle *h)
{
    struct sst_view v = { .id = h->id, .sst = h };
    struct sorted_run run = { .ssts = &v, .n = 1 };

    return run_text(f, &run, 0);
}

struct listing {
    const char *part;
    struct shale_buf text;
    size_t n;
};

static int list_one(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct listing *l = arg;

    (void)meta;
    if (!strstr(name, l->part))
        return 0;
    l->n++;
    return buf_printf(&l->text, "%s%s", l->text.len ? " " : "", name);
}

static struct listing list_objects(struct shale_store *store, const char *part)
{
    struct listing l = { .part = part };

    assert_int_equal(buf_printf(&l.text, "%s", ""), 0);
    assert_int_equal(shale_store_list(store, "", NULL, list_one, &l), 0);
    return l;
}

char *objects_text(struct shale_store *store, const char *part)
{
    struct listing l = list_objects(store, part);

    return (char *)buf_take(&l.text);
}

size_t objects_count(struct shale_store *store, const char *part)
{
    struct listing l = list_objects(store, part);

    shale_buf_fini(&l.text);
    return l.n;
}
