/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/metrics.h"
#include "base/pool.h"
#include "lib/heap_fault.h"
#include "lib/prom.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct shale_metric_label get[] = { { "op", "get" } }, put[] = { { "op", "put" } };
static const double bounds[] = { 0.001, 0.5, 10 };

static const struct shale_metric_desc gets = { .kind = SHALE_METRIC_COUNTER, .name = "t.requests", .help = "Requests",
                                               .labels = get, .n_labels = 1 };
static const struct shale_metric_desc puts_ = { .kind = SHALE_METRIC_COUNTER, .name = "t.requests", .help = "Requests",
                                                .labels = put, .n_labels = 1 };
static const struct shale_metric_desc size = { .kind = SHALE_METRIC_GAUGE, .name = "t.size", .help = "Size" };
static const struct shale_metric_desc busy = { .kind = SHALE_METRIC_UP_DOWN_COUNTER, .name = "t.busy", .help = "Busy" };
static const struct shale_metric_desc took = { .kind = SHALE_METRIC_HISTOGRAM, .name = "t.took_seconds", .help = "Time",
                                               .labels = get, .n_labels = 1, .bounds = bounds, .n_bounds = 3 };

static struct shale_metrics *new_metrics(enum shale_metric_level level, const struct shale_metric_recorder *r)
{
    struct shale_metrics *m = NULL;

    assert_int_equal(shale_metrics_new(level, r, &m), 0);
    return m;
}

static struct metric *add(struct shale_metrics *m, const struct shale_metric_desc *d)
{
    struct metric *x = NULL;

    assert_int_equal(metrics_add(m, SHALE_METRIC_INFO, d, &x), 0);
    return x;
}

static void parse(struct shale_metrics *m, struct prom *p)
{
    struct shale_buf text = SHALE_BUF_INIT;

    assert_int_equal(shale_metrics_text(m, &text), 0);
    if (!prom_parse(p, (const char *)text.data, text.len))
        fail_msg("%s", p->why);
    shale_buf_fini(&text);
}

static void each_kind_counts(void **state)
{
    struct shale_metrics *m = new_metrics(SHALE_METRIC_INFO, NULL);
    struct metric *c = add(m, &gets), *g = add(m, &size), *u = add(m, &busy), *h = add(m, &took);
    struct shale_metric v;

    (void)state;
    metric_count(c, 2);
    metric_count(c, 3);
    assert_int_equal(shale_metrics_get(m, "t.requests", get, 1, &v), 0);
    assert_int_equal(v.count, 5);
    assert_string_equal(v.desc->help, "Requests");
    metric_set(g, 7);
    metric_set(g, -4);
    assert_int_equal(shale_metrics_get(m, "t.size", NULL, 0, &v), 0);
    assert_true(v.value == -4);
    metric_step(u, 3);
    metric_step(u, -5);
    assert_int_equal(shale_metrics_get(m, "t.busy", NULL, 0, &v), 0);
    assert_true(v.value == -2);
    metric_observe(h, 0.001); /* a bound belongs to the bucket that it closes */
    metric_observe(h, 0.25);
    metric_observe(h, 0.5);
    metric_observe(h, 100);
    assert_int_equal(shale_metrics_get(m, "t.took_seconds", get, 1, &v), 0);
    assert_int_equal(v.count, 4);
    assert_true(fabs(v.sum - 100.751) < 1e-9);
    assert_int_equal(v.buckets[0], 1);
    assert_int_equal(v.buckets[1], 2);
    assert_int_equal(v.buckets[2], 0);
    assert_int_equal(v.buckets[3], 1);
    metric_count(NULL, 1);
    metric_set(NULL, 1);
    metric_step(NULL, 1);
    metric_observe(NULL, 1);
    shale_metrics_free(m);
    shale_metrics_free(NULL);
}

static void a_metric_is_its_name_and_set_of_labels(void **state)
{
    const struct shale_metric_label ab[] = { { "a", "1" }, { "b", "2" } }, ba[] = { { "b", "2" }, { "a", "1" } };
    const struct shale_metric_label other[] = { { "a", "1" }, { "b", "3" } };
    struct shale_metric_desc d = { .kind = SHALE_METRIC_COUNTER, .name = "t.x", .help = "", .labels = ab,
                                   .n_labels = 2 };
    struct shale_metrics *m = new_metrics(SHALE_METRIC_INFO, NULL);
    struct metric *first = add(m, &d), *wrong = NULL;
    struct shale_metric v;

    (void)state;
    d.labels = ba;
    assert_ptr_equal(add(m, &d), first);
    assert_int_equal(shale_metrics_get(m, "t.x", ba, 2, &v), 0);
    assert_int_equal(shale_metrics_get(m, "t.x", ba, 1, &v), -ENOENT);
    assert_int_equal(shale_metrics_get(m, "t.x", NULL, 0, &v), -ENOENT);
    assert_int_equal(shale_metrics_get(m, "t.x", other, 2, &v), -ENOENT);
    assert_int_equal(shale_metrics_get(m, "t.y", ba, 2, &v), -ENOENT);
    d.kind = SHALE_METRIC_GAUGE;
    assert_int_equal(metrics_add(m, SHALE_METRIC_INFO, &d, &wrong), -EINVAL);
    d.kind = SHALE_METRIC_COUNTER;
    d.n_labels = SHALE_METRIC_LABELS_MAX + 1;
    assert_int_equal(metrics_add(m, SHALE_METRIC_INFO, &d, &wrong), -EINVAL);
    assert_null(wrong);
    shale_metrics_free(m);
}

static void what_is_above_the_level_does_not_come_into_being(void **state)
{
    struct shale_metrics *info = new_metrics(SHALE_METRIC_INFO, NULL), *debug = new_metrics(SHALE_METRIC_DEBUG, NULL);
    struct metric *x = (struct metric *)1;
    struct shale_metric v;

    (void)state;
    assert_int_equal(metrics_add(info, SHALE_METRIC_DEBUG, &size, &x), 0);
    assert_null(x);
    assert_int_equal(shale_metrics_get(info, "t.size", NULL, 0, &v), -ENOENT);
    assert_int_equal(metrics_add(debug, SHALE_METRIC_DEBUG, &size, &x), 0);
    assert_non_null(x);
    assert_int_equal(metrics_add(debug, SHALE_METRIC_INFO, &busy, &x), 0);
    assert_non_null(x);
    shale_metrics_free(info);
    shale_metrics_free(debug);
}

static int append_name(void *arg, const struct shale_metric *v)
{
    char *text = arg;

    strcat(text, v->desc->name);
    strcat(text, v->desc->n_labels ? v->desc->labels[0].value : "");
    strcat(text, " ");
    return strcmp(v->desc->name, "t.busy") == 0 ? 5 : 0;
}

static void those_of_one_name_come_together(void **state)
{
    struct shale_metrics *m = new_metrics(SHALE_METRIC_INFO, NULL);
    char text[200] = "";

    (void)state;
    assert_int_equal(shale_metrics_each(m, append_name, text), 0);
    (void)add(m, &gets);
    (void)add(m, &size);
    (void)add(m, &puts_);
    assert_int_equal(shale_metrics_each(m, append_name, text), 0);
    assert_string_equal(text, "t.requestsget t.requestsput t.size ");
    (void)add(m, &busy);
    (void)add(m, &took);
    text[0] = '\0';
    assert_int_equal(shale_metrics_each(m, append_name, text), 5);
    assert_string_equal(text, "t.requestsget t.requestsput t.size t.busy ");
    shale_metrics_free(m);
}

static void the_text_is_that_of_prometheus(void **state)
{
    static const char want[] = "# HELP t_requests_total Requests\n"
                               "# TYPE t_requests_total counter\n"
                               "t_requests_total{op=\"get\"} 18446744073709551615\n"
                               "t_requests_total{op=\"put\"} 0\n"
                               "# HELP t_busy Busy\n"
                               "# TYPE t_busy gauge\n"
                               "t_busy -1\n"
                               "# HELP t_took_seconds Time\n"
                               "# TYPE t_took_seconds histogram\n"
                               "t_took_seconds_bucket{op=\"get\",le=\"0.001\"} 0\n"
                               "t_took_seconds_bucket{op=\"get\",le=\"0.5\"} 1\n"
                               "t_took_seconds_bucket{op=\"get\",le=\"10\"} 1\n"
                               "t_took_seconds_bucket{op=\"get\",le=\"+Inf\"} 2\n"
                               "t_took_seconds_sum{op=\"get\"} 20.25\n"
                               "t_took_seconds_count{op=\"get\"} 2\n";
    struct shale_metrics *m = new_metrics(SHALE_METRIC_INFO, NULL);
    struct shale_buf text = SHALE_BUF_INIT;
    struct metric *h;
    struct prom p;

    (void)state;
    assert_int_equal(shale_metrics_text(m, &text), 0);
    assert_int_equal(text.len, 0);
    metric_count(add(m, &gets), UINT64_MAX);
    metric_step(add(m, &busy), -1);
    h = add(m, &took);
    (void)add(m, &puts_);
    metric_observe(h, 0.25);
    metric_observe(h, 20);
    /* Whatever the process does with numbers. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(shale_metrics_text(m, &text), 0);
        assert_int_equal(text.len, sizeof(want) - 1);
        assert_memory_equal(text.data, want, text.len);
        (void)(setlocale(LC_NUMERIC, "de_DE.UTF-8") || setlocale(LC_NUMERIC, "fr_FR.UTF-8"));
    }
    setlocale(LC_NUMERIC, "C");
    parse(m, &p);
    assert_true(prom_value(&p, "t_took_seconds_bucket{op=\"get\",le=\"+Inf\"}") == 2);
    prom_fini(&p);
    shale_buf_fini(&text);
    shale_metrics_free(m);
}

static void what_would_end_a_line_or_a_string_is_escaped(void **state)
{
    const struct shale_metric_label odd[] = { { "path", "C:\\a \"b\"\nc" } };
    const struct shale_metric_desc d = { .kind = SHALE_METRIC_GAUGE, .name = "t.odd-name",
                                         .help = "Two\nlines \\ \"q\"", .labels = odd, .n_labels = 1 };
    struct shale_metrics *m = new_metrics(SHALE_METRIC_INFO, NULL);
    struct shale_buf text = SHALE_BUF_INIT;
    struct prom p;

    (void)state;
    metric_set(add(m, &d), 3);
    assert_int_equal(shale_metrics_text(m, &text), 0);
    assert_int_equal(buf_put_u8(&text, 0), 0);
    assert_string_equal((const char *)text.data, "# HELP t_odd_name Two\\nlines \\\\ \"q\"\n# TYPE t_odd_name gauge\n"
                                                 "t_odd_name{path=\"C:\\\\a \\\"b\\\"\\nc\"} 3\n");
    parse(m, &p);
    assert_true(prom_value(&p, "t_odd_name{path=\"C:\\\\a \\\"b\\\"\\nc\"}") == 3);
    prom_fini(&p);
    shale_buf_fini(&text);
    shale_metrics_free(m);
}

static void parts_make_up_the_whole(void **state)
{
    struct shale_metrics *m = new_metrics(SHALE_METRIC_INFO, NULL);
    struct shale_buf whole = SHALE_BUF_INIT, part = SHALE_BUF_INIT;

    (void)state;
    (void)add(m, &gets);
    (void)add(m, &puts_);
    (void)add(m, &took);
    (void)add(m, &size);
    assert_int_equal(shale_metrics_text(m, &whole), 0);
    for (size_t max = 1; max < whole.len + 10; max += 37) {
        struct shale_buf sum = SHALE_BUF_INIT;
        size_t from = 0, n = 0;
        int rc;

        do {
            rc = shale_metrics_text_part(m, &from, max, &part);
            assert_true(rc == 0 || rc == SHALE_END);
            assert_int_equal(buf_append_slice(&sum, slice_of_buf(&part)), 0);
            n++;
        } while (rc == 0);
        assert_int_equal(n, max == 1 ? 4 : n);
        assert_true(slice_eq(slice_of_buf(&sum), slice_of_buf(&whole)));
        shale_buf_fini(&sum);
    }
    shale_buf_fini(&part);
    shale_buf_fini(&whole);
    shale_metrics_free(m);
}

/* A recorder that writes down what it hears. */
struct heard {
    char text[400];
    int refuse; /* add returns it */
};

static void hear(struct heard *h, const char *what, const void *handle, double v)
{
    size_t n = strlen(h->text);

    snprintf(h->text + n, sizeof(h->text) - n, "%s %s %g;", what, (const char *)handle, v);
}

static int rec_add(void *ctx, const struct shale_metric_desc *d, void **handle)
{
    struct heard *h = ctx;

    if (h->refuse)
        return h->refuse;
    *handle = (void *)(uintptr_t)d->name;
    hear(h, "add", d->name, d->kind);
    return 0;
}

static void rec_count(void *ctx, void *handle, uint64_t n)
{
    hear(ctx, "count", handle, (double)n);
}

static void rec_set(void *ctx, void *handle, int64_t v)
{
    hear(ctx, "set", handle, (double)v);
}

static void rec_step(void *ctx, void *handle, int64_t v)
{
    hear(ctx, "step", handle, (double)v);
}

static void rec_observe(void *ctx, void *handle, double v)
{
    hear(ctx, "observe", handle, v);
}

static struct shale_metric_recorder recorder_of(struct heard *h)
{
    return (struct shale_metric_recorder){ .ctx = h, .add = rec_add, .count = rec_count, .set = rec_set,
                                           .step = rec_step, .observe = rec_observe };
}

static void a_recorder_hears_of_every_change(void **state)
{
    struct heard h = { .text = "" };
    const struct shale_metric_recorder r = recorder_of(&h);
    struct shale_metrics *m = new_metrics(SHALE_METRIC_INFO, &r);
    struct metric *c = add(m, &gets), *unwanted = NULL;
    struct shale_metric v;

    (void)state;
    (void)add(m, &gets); /* once */
    assert_int_equal(metrics_add(m, SHALE_METRIC_DEBUG, &took, &unwanted), 0);
    metric_count(c, 2);
    metric_set(add(m, &size), -3);
    metric_step(add(m, &busy), -1);
    metric_observe(add(m, &took), 0.5);
    assert_string_equal(h.text, "add t.requests 0;count t.requests 2;add t.size 1;set t.size -3;"
                                "add t.busy 2;step t.busy -1;add t.took_seconds 3;observe t.took_seconds 0.5;");
    assert_int_equal(shale_metrics_get(m, "t.requests", get, 1, &v), 0);
    assert_int_equal(v.count, 2);
    h.refuse = -EIO;
    assert_int_equal(metrics_add(m, SHALE_METRIC_INFO, &puts_, &unwanted), -EIO);
    assert_int_equal(shale_metrics_get(m, "t.requests", put, 1, &v), -ENOENT);
    shale_metrics_free(m);
}

static void a_recorder_has_all_functions(void **state)
{
    struct heard h = { .text = "" };
    struct shale_metric_recorder r = recorder_of(&h);
    struct shale_metrics *m = NULL;

    (void)state;
    r.step = NULL;
    assert_int_equal(shale_metrics_new(SHALE_METRIC_INFO, &r, &m), -EINVAL);
    assert_null(m);
}

static void every_allocation_may_fail(void **state)
{
    bool failed = true;
    unsigned n = 0;

    (void)state;
    while (failed) {
        struct shale_buf text = SHALE_BUF_INIT;
        struct shale_metrics *m = NULL;
        struct metric *x = NULL;
        int rc;

        heap_fault_after(++n);
        rc = shale_metrics_new(SHALE_METRIC_INFO, NULL, &m);
        if (rc == 0)
            rc = metrics_add(m, SHALE_METRIC_INFO, &gets, &x);
        if (rc == 0)
            rc = metrics_add(m, SHALE_METRIC_INFO, &puts_, &x);
        if (rc == 0)
            rc = metrics_add(m, SHALE_METRIC_INFO, &took, &x);
        if (rc == 0)
            rc = shale_metrics_text(m, &text);
        failed = heap_fault_off();
        assert_int_equal(rc, failed ? -ENOMEM : 0);
        assert_true(!failed || text.len == 0);
        if (m && failed) {
            struct prom p;

            parse(m, &p); /* what is there is whole */
            prom_fini(&p);
        }
        shale_buf_fini(&text);
        shale_metrics_free(m);
    }
    assert_true(n > 6);
}

/* Several count while others come into being and are read: nothing is lost. */
#define ROUNDS 5000

struct crowd {
    struct shale_metrics *m;
    struct metric *c, *h, *u;
};

static void count_main(void *arg)
{
    struct crowd *w = arg;

    for (int i = 0; i < ROUNDS; i++) {
        metric_count(w->c, 1);
        metric_observe(w->h, 0.25);
        metric_step(w->u, i % 2 ? -1 : 1);
    }
}

static void read_main(void *arg)
{
    struct crowd *w = arg;

    for (int i = 0; i < 50; i++) {
        struct prom p;

        parse(w->m, &p); /* a histogram agrees with itself at any moment */
        prom_fini(&p);
    }
}

static void add_main(void *arg)
{
    static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
    struct crowd *w = arg;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct shale_metric_label l = { "op", names[i] };
        struct shale_metric_desc d = gets;

        d.labels = &l;
        metric_count(add(w->m, &d), 1);
    }
}

static void nothing_is_lost_among_threads(void **state)
{
    struct crowd w = { .m = new_metrics(SHALE_METRIC_INFO, NULL) };
    struct worker t[5] = { 0 };
    void (*const mains[5])(void *) = { count_main, count_main, count_main, read_main, add_main };
    struct shale_metric v;

    (void)state;
    w.c = add(w.m, &gets);
    w.h = add(w.m, &took);
    w.u = add(w.m, &busy);
    for (int i = 0; i < 5; i++)
        assert_int_equal(worker_start(&t[i], "crowd", mains[i], &w), 0);
    for (int i = 0; i < 5; i++)
        worker_join(&t[i]);
    metric_read(w.c, &v);
    assert_int_equal(v.count, 3 * ROUNDS);
    metric_read(w.h, &v);
    assert_int_equal(v.count, 3 * ROUNDS);
    assert_true(v.sum == 3 * ROUNDS * 0.25);
    metric_read(w.u, &v);
    assert_true(v.value == 0);
    shale_metrics_free(w.m);
}

/* The reader of the tests is not to take everything. */
static void the_tests_reader_is_strict(void **state)
{
    static const char *const bad[] = {
        "x 1",
        "x 1\n",
        "# HELP x h\nx 1\n",
        "# HELP x h\n# TYPE y counter\n",
        "# HELP x h\n# TYPE x count\n",
        "# HELP x h\n# TYPE x counter\ny 1\n",
        "# HELP x h\n# TYPE x counter\nx 1\nx 1\n",
        "# HELP x h\n# TYPE x counter\nx -1\n",
        "# HELP x h\n# TYPE x counter\nx  1\n",
        "# HELP x h\n# TYPE x counter\nx{a=\"b} 1\n",
        "# HELP x h\n# TYPE x counter\nx{a=\"\\q\"} 1\n",
        "# HELP x h\n# TYPE x counter\nx{a=\"b\",a=\"c\"} 1\n",
        "# HELP x h\n# TYPE x gauge\nx 1\n\n",
        "# HELP x h\n# TYPE x gauge\nx 1\n# HELP y h\n# TYPE y gauge\ny 1\nx 2\n",
        "# HELP x h\n# TYPE x gauge\nx 1\n# HELP x h\n# TYPE x gauge\n",
        "# HELP x h\n# TYPE x histogram\nx_bucket{le=\"1\"} 2\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\n",
        "# HELP x h\n# TYPE x histogram\nx_bucket{le=\"1\"} 2\nx_sum 1\nx_count 2\n",
        "# HELP x h\n# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 2\n",
        "# HELP x h\n# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\n",
    };
    struct prom p;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (prom_parse(&p, bad[i], strlen(bad[i])))
            fail_msg("taken: %s", bad[i]);
        prom_fini(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_counts),
        cmocka_unit_test(a_metric_is_its_name_and_set_of_labels),
        cmocka_unit_test(what_is_above_the_level_does_not_come_into_being),
        cmocka_unit_test(those_of_one_name_come_together),
        cmocka_unit_test(the_text_is_that_of_prometheus),
        cmocka_unit_test(what_would_end_a_line_or_a_string_is_escaped),
        cmocka_unit_test(parts_make_up_the_whole),
        cmocka_unit_test(a_recorder_hears_of_every_change),
        cmocka_unit_test(a_recorder_has_all_functions),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(nothing_is_lost_among_threads),
        cmocka_unit_test(the_tests_reader_is_strict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
