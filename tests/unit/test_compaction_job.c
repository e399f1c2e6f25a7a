/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "compact/input_iter.h"
#include "compact/output_set.h"
#include "compact/resume_iter.h"
#include "lib/cases.h"
#include "lib/compact_fixture.h"
#include "lib/heap_fault.h"
#include "lib/store_fault.h"
#include "sst/sst_writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INPUTS 4
#define LARGE ((uint64_t)64 << 20)

/* The inputs of a job: an SST for each text. */
struct inputs {
    struct sst_view *l0;
    size_t n_l0, cap_l0;
    struct sorted_run runs[MAX_INPUTS];
    size_t n_runs;
};

static void inputs_open(struct compact_fixture *f, const char *const *l0, const char *const *runs, struct inputs *in)
{
    *in = (struct inputs){ 0 };
    for (size_t i = 0; i < MAX_INPUTS && l0[i]; i++)
        views_add(&in->l0, &in->n_l0, &in->cap_l0, fixture_sst_text(f, l0[i]));
    for (size_t i = 0; i < MAX_INPUTS && runs[i]; i++, in->n_runs++)
        in->runs[i] = fixture_run(f, (uint32_t)(MAX_INPUTS - i), &runs[i], 1);
}

static void inputs_close(struct inputs *in)
{
    for (size_t i = 0; i < in->n_l0; i++)
        sst_view_fini(&in->l0[i]);
    mem_free(in->l0);
    for (size_t i = 0; i < in->n_runs; i++)
        sorted_run_fini(&in->runs[i]);
}

static struct compaction_job job_over(struct compact_fixture *f, const struct inputs *in)
{
    struct compaction_job job = fixture_job(f);

    job.l0 = in->l0;
    job.n_l0 = in->n_l0;
    job.runs = in->runs;
    job.n_runs = in->n_runs;
    return job;
}

/* One L0 SST with these rows, run through job; the text of the result. */
static char *compact_text(struct compact_fixture *f, const char *rows, struct compaction_job job)
{
    struct sst_view view = { .sst = fixture_sst_text(f, rows) };
    struct sorted_run run = { 0 };
    char *text;

    view.id = view.sst->id;
    job.l0 = &view;
    job.n_l0 = 1;
    assert_int_equal(compaction_job_run(&job, &run), 0);
    assert_int_equal(run.id, job.destination);
    text = run_text(f, &run, 0);
    sorted_run_fini(&run);
    sst_view_fini(&view);
    return text;
}

#define assert_text(text, want)                                                                                        \
    do {                                                                                                               \
        char *text_ = (text);                                                                                          \
        assert_string_equal(text_, want);                                                                              \
        free(text_);                                                                                                   \
    } while (0)

/*
 * R208 (test_load_iterators_resume), and what deviates (H24). idx: the last row that was written before; -1: none
 * was.
 */
static const struct resume_case {
    const char *name;
    const char *l0[MAX_INPUTS], *runs[MAX_INPUTS];
    int idx;
    uint32_t block_size;
    uint64_t max_sst;
    bool merge;
    bool all; /* the output that was there is left out, so that the rows wanted are all */
    const char *want;
} resumes[] = {
    { "l0_only",
      { "k00=v@100 k01=v@101 k02=v@102 k03=v@30 k03=v@20 k04=v@104",
        "k05=v@105 k06=v@106 k07=v@107 k08=v@108 k09=v@109 k10=v@110" }, { NULL }, 3, 4096, LARGE, false, false,
      "k03=v@20 k04=v@104 k05=v@105 k06=v@106 k07=v@107 k08=v@108 k09=v@109 k10=v@110" },
    { "l0_only_multi_block",
      { "k00=v@100 k01=v@101 k02=v@102 k03=v@103 k04=v@104 k05=v@105 k06=v@106 k07=v@107 k08=v@80 k08=v@70 k09=v@109 "
        "k10=v@110 k11=v@111 k12=v@112" }, { NULL }, 9, 128, 1, false, false,
      "k09=v@109 k10=v@110 k11=v@111 k12=v@112" },
    { "sr_only", { NULL },
      { "k00=v@300 k01=v@301 k02=v@302 k03=v@303 k03=v@33 k04=v@304 k05=v@305",
        "k06=v@406 k07=v@407 k08=v@408 k09=v@409 k10=v@410 k11=v@411" }, 4, 4096, LARGE, false, false,
      "k04=v@304 k05=v@305 k06=v@406 k07=v@407 k08=v@408 k09=v@409 k10=v@410 k11=v@411" },
    { "l0_and_sr",
      { "k00=v@500 k01=v@501 k02=v@502 k03=v@503 k04=v@504 k05=v@90 k05=v@80",
        "k06=v@606 k07=v@607 k08=v@608 k09=v@609 k10=v@610 k11=v@611" },
      { "k12=v@720 k13=v@721 k14=v@722 k15=v@120 k15=v@110 k16=v@726 k17=v@727",
        "k18=v@830 k19=v@831 k20=v@832 k21=v@833 k22=v@834 k23=v@835" }, 5, 4096, LARGE, false, false,
      "k05=v@80 k06=v@606 k07=v@607 k08=v@608 k09=v@609 k10=v@610 k11=v@611 k12=v@720 k13=v@721 k14=v@722 k15=v@120 "
      "k15=v@110 k16=v@726 k17=v@727 k18=v@830 k19=v@831 k20=v@832 k21=v@833 k22=v@834 k23=v@835" },
    { "l0_and_sr_overlap",
      { "k00=v@900 k01=v@901 k02=v@902 k03=v@903 k04=v@904 k05=v@905",
        "k02=v@920 k03=v@921 k04=v@922 k06=v@923 k07=v@924" },
      { "k01=v@800 k03=v@801 k05=v@802 k08=v@803 k09=v@804", "k02=v@850 k04=v@851 k05=v@852 k07=v@853 k10=v@854" },
      7, 4096, LARGE, false, false,
      "k03=v@801 k04=v@922 k04=v@904 k04=v@851 k05=v@905 k05=v@852 k05=v@802 k06=v@923 k07=v@924 k07=v@853 k08=v@803 "
      "k09=v@804 k10=v@854" },
    { "tombstones_resume", { "k00=v@100 k01=v@101 k02=DEL@105 k02=v@103 k03=v@106" }, { "k01=v@90 k02=v@95 k04=v@107" },
      3, 4096, LARGE, false, false, "k02=v@103 k02=v@95 k03=v@106 k04=v@107" },
    { "no_output_ssts", { "k00=v@10 k02=v@25 k02=v@20", "k01=v@30 k03=v@40" }, { "k01=v@15 k02=v@22 k04=v@50" }, -1,
      4096, LARGE, false, false, "k00=v@10 k01=v@30 k01=v@15 k02=v@25 k02=v@22 k02=v@20 k03=v@40 k04=v@50" },
    { "resume_at_end", { "k00=v@10 k01=v@11" }, { NULL }, 1, 4096, LARGE, false, false, "" },
    { "merge_operator_resume", { "k00=v@100 k01+b@5 k02+y@6 k03=v@103" },
      { "k01+a@4 k01=base@3 k02+x@4 k02=base2@2" }, 0, 4096, LARGE, true, false,
      "k01=baseab@5 k02=base2xy@6 k03=v@103" },
    /* Unlike R208, which takes the operands @4 and @1 for written although nobody knows (R191). */
    { "merge_operator_resume_skip_merged_operands", { "k00+10@10 k00+4@4 k00+1@1 k01=v@5" }, { NULL }, 0, 4096, LARGE,
      true, true, "k00+1410@10 k01=v@5" },
    { "a last operand without older ones stays", { "k00=v@1 k01+b@5 k02=v@7" }, { NULL }, 1, 4096, LARGE, true, false,
      "k02=v@7" },
    { "a value below operands stays", { "k00+b@5 k00=v@4 k00=u@3 k01=v@1" }, { NULL }, 1, 4096, LARGE, true, false,
      "k01=v@1" },
    { "the key of the cursor is gone", { "k00=v@1 k02=v@3" }, { NULL }, 0, 4096, LARGE, false, false, "k02=v@3" },
};

/* Every row of all inputs in order. */
static struct row_list all_rows(const char *const *l0, const char *const *runs)
{
    struct shale_buf text = SHALE_BUF_INIT;
    struct row_list l;

    assert_int_equal(buf_printf(&text, "%s", ""), 0);
    for (size_t i = 0; i < MAX_INPUTS; i++) {
        if (l0[i])
            assert_int_equal(buf_printf(&text, "%s ", l0[i]), 0);
        if (runs[i])
            assert_int_equal(buf_printf(&text, "%s ", runs[i]), 0);
    }
    row_list_parse(&l, (char *)text.data);
    rows_sort(l.rows, l.n);
    shale_buf_fini(&text);
    return l;
}

/* Write the first n rows as an earlier attempt would have. */
static void write_earlier(struct compact_fixture *f, const struct row_list *l, size_t n, uint64_t max_sst,
                          struct output_set *out)
{
    assert_int_equal(output_set_init(out, &f->ts, max_sst, FIXTURE_JOB, &f->clock, NULL, 0), 0);
    for (size_t i = 0; i < n; i++)
        assert_true(output_set_add(out, &l->rows[i]) >= 0);
    assert_int_equal(output_set_finish(out), 0);
}

static void a_job_goes_on_behind_earlier_outputs(void **state)
{
    const struct resume_case *c = *state;
    struct row_list rows = all_rows(c->l0, c->runs);
    struct sorted_run run = { 0 };
    struct compact_fixture f;
    struct output_set earlier;
    struct compaction_job job;
    struct inputs in;

    compact_fixture_init(&f, c->block_size);
    inputs_open(&f, c->l0, c->runs, &in);
    write_earlier(&f, &rows, (size_t)(c->idx + 1), c->max_sst, &earlier);
    job = job_over(&f, &in);
    job.op = c->merge ? &f.op : NULL;
    job.retention_min_seq = c->merge ? UINT64_MAX : 0;
    job.outputs = earlier.list;
    job.n_outputs = earlier.n;
    assert_int_equal(compaction_job_run(&job, &run), 0);
    assert_text(run_text(&f, &run, c->all ? 0 : earlier.n), c->want);
    for (size_t k = 0; !c->all && k < earlier.n; k++)
        assert_ptr_equal(run.ssts[k].sst, earlier.list[k]);
    sorted_run_fini(&run);
    output_set_fini(&earlier);
    inputs_close(&in);
    row_list_fini(&rows);
    compact_fixture_fini(&f);
}

/* R191: an attempt that may fold nothing is cut between operands, then the barrier rises. */
static void operands_survive_a_risen_barrier(void **state)
{
    static const char rows[] = "j=v@9 k+d@4 k+c@3 k+b@2 k+a@1 l=v@8";

    (void)state;
    for (size_t n = 1; n <= 6; n++) {
        struct sorted_run run = { 0 };
        struct compact_fixture f;
        struct output_set earlier;
        struct compaction_job job;
        struct row_list l;
        struct inputs in;
        char *text;

        compact_fixture_init(&f, 4096);
        inputs_open(&f, (const char *const[MAX_INPUTS]){ rows }, (const char *const[MAX_INPUTS]){ NULL }, &in);
        row_list_parse(&l, rows);
        write_earlier(&f, &l, n, LARGE, &earlier);
        job = job_over(&f, &in);
        job.op = &f.op;
        job.retention_min_seq = 4;
        job.outputs = earlier.list;
        job.n_outputs = earlier.n;
        assert_int_equal(compaction_job_run(&job, &run), 0);
        text = run_text(&f, &run, 0);
        /* Whatever was cut where, every operand is there once, oldest to newest from below. */
        if (n <= 4)
            assert_string_equal(text, "j=v@9 k+abcd@4 l=v@8");
        else
            assert_string_equal(text, rows);
        free(text);
        sorted_run_fini(&run);
        output_set_fini(&earlier);
        inputs_close(&in);
        row_list_fini(&l);
        compact_fixture_fini(&f);
    }
}

/* R210, test_compaction_job_should_retain_merges_newer_than_retention_min_seq_num. */
static void operands_above_the_barrier_stay_apart(void **state)
{
    struct compact_fixture f;
    struct compaction_job job;

    (void)state;
    compact_fixture_init(&f, 4096);
    job = fixture_job(&f);
    job.op = &f.op;
    job.retention_min_seq = 2;
    assert_text(compact_text(&f, "k+3@4 k+2@3 k+1@2 k+0@1", job), "k+3@4 k+2@3 k+01@2");
    compact_fixture_fini(&f);
}

/*
 * Section 17.2, the rows about compaction; and of 15.10 what concerns one job (should_*_expire*, should_merge_and_*).
 */
static void expiry_and_retention_apply(void **state)
{
    static const struct {
        const char *rows;
        bool last;
        int64_t tick;
        uint64_t min_seq;
        const char *want;
    } cases[] = {
        { "a=DEL@3 a=v@2 b=v@1", false, 0, 9, "a=DEL@3 b=v@1" },
        { "a=DEL@3 a=v@2 b=v@1", true, 0, 9, "b=v@1" },
        { "a=DEL@3 a=v@2 b=v@1", true, 0, 2, "a=DEL@3 a=v@2 b=v@1" },
        { "a=v@3:e10 b=v@2:e30", false, 20, 9, "a=DEL@3 b=v@2:e30" },
        { "a=v@3:e10 b=v@2:e30", true, 20, 9, "b=v@2:e30" },
        { "k+a@1:e10 k+b@2", true, 20, 9, "k+b@2" },
        { "k+a@1:e30 k+b@2", true, 20, 9, "k+b@2 k+a@1:e30" },
        { "k+a@1:e30 k+b@2:e30", true, 20, 9, "k+ab@2:e30" },
        { "k=v@3 k+b@2 k+a@1", true, 20, 9, "k=v@3" },
        { "k+b@2 k+a@1", true, 20, 9, "k+ab@2" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct compact_fixture f;
        struct compaction_job job;

        compact_fixture_init(&f, 4096);
        job = fixture_job(&f);
        job.op = &f.op;
        job.is_last_run = cases[i].last;
        job.clock_tick = cases[i].tick;
        job.retention_min_seq = cases[i].min_seq;
        assert_text(compact_text(&f, cases[i].rows, job), cases[i].want);
        compact_fixture_fini(&f);
    }
}

static void operands_without_operator_fail_the_job(void **state)
{
    struct compact_fixture f;
    struct compaction_job job;
    struct sorted_run run = { 0 };
    struct inputs in;

    (void)state;
    compact_fixture_init(&f, 4096);
    inputs_open(&f, (const char *const[MAX_INPUTS]){ "a=v@1 k+b@2" }, (const char *const[MAX_INPUTS]){ NULL }, &in);
    job = job_over(&f, &in);
    assert_int_equal(compaction_job_run(&job, &run), SHALE_EMERGE);
    assert_int_equal(objects_count(f.memory, "compacted/"), 1);
    inputs_close(&in);
    compact_fixture_fini(&f);
}

static void nothing_left_gives_an_empty_run(void **state)
{
    struct compact_fixture f;
    struct compaction_job job;
    struct sorted_run run = { .id = 9 };
    struct inputs in;

    (void)state;
    compact_fixture_init(&f, 4096);
    inputs_open(&f, (const char *const[MAX_INPUTS]){ "a=DEL@2 b=DEL@1" },
                (const char *const[MAX_INPUTS]){ "a=v@1" }, &in);
    job = job_over(&f, &in);
    job.is_last_run = true;
    job.retention_min_seq = 5;
    job.destination = 3;
    assert_int_equal(compaction_job_run(&job, &run), 0);
    assert_int_equal(run.id, 3);
    assert_int_equal(run.n, 0);
    sorted_run_fini(&run);
    assert_int_equal(objects_count(f.memory, "compacted/"), 2);
    inputs_close(&in);
    compact_fixture_fini(&f);
}

/* Decides by the first letters of the value: drop, keep, modify, tombstone; counts its calls. */
struct test_filter {
    struct shale_filter_context seen;
    int create_rc, end_rc, decide_rc; /* decide_rc: of the third row */
    int n_created, n_decided, n_ended, n_destroyed;
    const char *resume; /* NULL: no resume_from */
    char first_key[8];  /* of the first row it was shown */
    _Atomic bool *cancel_at_third;
};

static int filter_create(void *ctx, const struct shale_filter_context *job, void **filter)
{
    struct test_filter *t = ctx;

    t->seen = *job;
    t->n_created++;
    *filter = t;
    return t->create_rc;
}

static int filter_decide(void *filter, const struct shale_row *row, struct shale_buf *new_value)
{
    struct test_filter *t = filter;

    if (t->n_decided == 0)
        snprintf(t->first_key, sizeof(t->first_key), "%.*s", (int)row->key.len, (const char *)row->key.data);
    if (++t->n_decided == 3 && t->cancel_at_third)
        atomic_store(t->cancel_at_third, true);
    if (t->n_decided == 3 && t->decide_rc)
        return t->decide_rc;
    if (slice_has_prefix(row->value, slice_str("drop")))
        return SHALE_FILTER_DROP;
    if (slice_has_prefix(row->value, slice_str("tomb")))
        return SHALE_FILTER_TOMBSTONE;
    if (!slice_has_prefix(row->value, slice_str("mod")))
        return SHALE_FILTER_KEEP;
    if (buf_append_slice(new_value, row->value) < 0 || shale_buf_append(new_value, "_modified", 9) < 0)
        return -ENOMEM;
    return SHALE_FILTER_MODIFY;
}

static int filter_end(void *filter)
{
    struct test_filter *t = filter;

    t->n_ended++;
    return t->end_rc;
}

static void filter_destroy(void *filter)
{
    ((struct test_filter *)filter)->n_destroyed++;
}

static int filter_resume_from(void *filter, struct shale_slice after, struct shale_buf *from)
{
    (void)after;
    return buf_set(from, slice_str(((struct test_filter *)filter)->resume));
}

static struct shale_compaction_filter filter_of(struct test_filter *t)
{
    return (struct shale_compaction_filter){ .ctx = t, .create = filter_create, .decide = filter_decide,
                                             .end = filter_end, .destroy = filter_destroy,
                                             .resume_from = t->resume ? filter_resume_from : NULL };
}

/* R211, test_compaction_job_with_filter_success: tombstones of the filter stay, even in the last run. */
static void a_filter_decides_on_every_row(void **state)
{
    struct test_filter t = { 0 };
    struct shale_compaction_filter filter = filter_of(&t);
    struct compact_fixture f;
    struct compaction_job job;

    (void)state;
    compact_fixture_init(&f, 4096);
    job = fixture_job(&f);
    job.filter = &filter;
    job.is_last_run = true;
    job.destination = 4;
    job.clock_tick = 77;
    job.retention_min_seq = UINT64_MAX;
    assert_text(compact_text(&f, "1=drop1@1 2=drop2@2 3=keep3@3 4=keep4@4 5=mod5@5:c1:e99 6=mod6@6 7=tomb7@7:c1:e99 "
                                 "8=tomb8@8", job),
                "3=keep3@3 4=keep4@4 5=mod5_modified@5:c1:e99 6=mod6_modified@6 7=DEL@7:c1 8=DEL@8");
    assert_int_equal(t.seen.destination, 4);
    assert_true(t.seen.is_last_run);
    assert_int_equal(t.seen.clock_tick, 77);
    assert_true(t.seen.retention_min_seq == UINT64_MAX);
    assert_int_equal(t.n_created, 1);
    assert_int_equal(t.n_decided, 8);
    assert_int_equal(t.n_ended, 1);
    assert_int_equal(t.n_destroyed, 1);
    compact_fixture_fini(&f);
}

/* R212, R213 and R263; test_executor has them as the executor reports them. */
static void an_error_of_the_filter_fails_the_job(void **state)
{
    static const struct {
        int create_rc, decide_rc, end_rc, want;
        int destroyed;
    } cases[] = {
        { -EPERM, 0, 0, -EPERM, 0 },
        { 0, -EPERM, 0, -EPERM, 1 },
        { 0, 17, 0, -EINVAL, 1 },
        { 0, 0, -EPERM, -EPERM, 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct test_filter t = { .create_rc = cases[i].create_rc, .decide_rc = cases[i].decide_rc,
                                 .end_rc = cases[i].end_rc };
        struct shale_compaction_filter filter = filter_of(&t);
        struct sorted_run run = { 0 };
        struct compact_fixture f;
        struct compaction_job job;
        struct inputs in;

        compact_fixture_init(&f, 64);
        inputs_open(&f, (const char *const[MAX_INPUTS]){ "a=v@1 b=v@2 c=v@3 d=v@4" },
                    (const char *const[MAX_INPUTS]){ NULL }, &in);
        job = job_over(&f, &in);
        job.filter = &filter;
        job.max_sst_size = 1;
        assert_int_equal(compaction_job_run(&job, &run), cases[i].want);
        assert_non_null(strstr(shale_errmsg(), "compaction filter error"));
        assert_int_equal(t.n_destroyed, cases[i].destroyed);
        assert_int_equal(objects_count(f.memory, "compacted/"), 1);
        inputs_close(&in);
        compact_fixture_fini(&f);
    }
}

static void a_filter_sees_rows_again_when_a_job_goes_on(void **state)
{
    static const struct {
        const char *resume, *first;
        int n_decided;
    } cases[] = { { NULL, "c", 3 }, { "b", "b", 4 }, { "", "a", 5 }, { "d", "c", 3 } };
    static const char rows[] = "a=v@1 b=v@2 c=v@3 d=drop@4 e=v@5";

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct test_filter t = { .resume = cases[i].resume };
        struct shale_compaction_filter filter = filter_of(&t);
        struct sorted_run run = { 0 };
        struct compact_fixture f;
        struct output_set earlier;
        struct compaction_job job;
        struct row_list l;
        struct inputs in;

        compact_fixture_init(&f, 4096);
        inputs_open(&f, (const char *const[MAX_INPUTS]){ rows }, (const char *const[MAX_INPUTS]){ NULL }, &in);
        row_list_parse(&l, rows);
        write_earlier(&f, &l, 3, LARGE, &earlier);
        job = job_over(&f, &in);
        job.filter = &filter;
        job.outputs = earlier.list;
        job.n_outputs = earlier.n;
        assert_int_equal(compaction_job_run(&job, &run), 0);
        assert_text(run_text(&f, &run, 0), "a=v@1 b=v@2 c=v@3 e=v@5");
        assert_string_equal(t.first_key, cases[i].first);
        assert_int_equal(t.n_decided, cases[i].n_decided);
        sorted_run_fini(&run);
        output_set_fini(&earlier);
        row_list_fini(&l);
        inputs_close(&in);
        compact_fixture_fini(&f);
    }
}

/* n_keys keys of n_versions versions each, with values of len bytes; kind by the number of the version. */
static struct sst_handle *many_rows(struct compact_fixture *f, size_t n_keys, size_t n_versions, size_t len,
                                    enum shale_kind (*kind)(size_t version))
{
    struct shale_row *rows = mem_calloc(n_keys * n_versions, sizeof(*rows));
    char *keys = mem_calloc(n_keys, 8);
    char *value = mem_alloc(len);
    struct sst_handle *h;

    assert_non_null(rows);
    assert_non_null(keys);
    assert_non_null(value);
    memset(value, 'x', len);
    for (size_t i = 0; i < n_keys * n_versions; i++) {
        size_t key = i / n_versions, version = i % n_versions;

        snprintf(keys + key * 8, 8, "k%05zu", key % 100000);
        rows[i] = (struct shale_row){ .key = slice_str(keys + key * 8), .value = slice_of(value, len),
                                      .seq = n_keys * n_versions - version, .create_ts = SHALE_NO_TS,
                                      .expire_ts = SHALE_NO_TS, .kind = kind ? kind(version) : SHALE_PUT };
    }
    h = fixture_sst(f, rows, n_keys * n_versions);
    mem_free(rows);
    mem_free(keys);
    mem_free(value);
    return h;
}

static void run_over(struct compaction_job *job, struct sst_handle *h, struct sorted_run *run)
{
    struct sst_view view = { .id = h->id, .sst = h };

    job->l0 = &view;
    job->n_l0 = 1;
    assert_int_equal(compaction_job_run(job, run), 0);
    sst_view_fini(&view);
}

/* Nothing is lost, and ids and ranges are in order. */
static void check_outputs(const struct sorted_run *run)
{
    struct shale_ulid last = FIXTURE_JOB;

    for (size_t i = 0; i < run->n; i++) {
        assert_true(ulid_cmp(run->ssts[i].sst->id, last) > 0);
        assert_true(ulid_eq(run->ssts[i].id, run->ssts[i].sst->id));
        last = run->ssts[i].sst->id;
    }
}

static size_t n_split_keys(const struct sorted_run *run)
{
    size_t n = 0;

    for (size_t i = 1; i < run->n; i++)
        n += slice_eq(slice_of_buf(&run->ssts[i - 1].sst->info.last), slice_of_buf(&run->ssts[i].sst->info.first));
    return n;
}

static void outputs_are_split_by_size(void **state)
{
    struct sorted_run run = { 0 }, whole = { 0 };
    struct compact_fixture f;
    struct compaction_job job;
    struct sst_handle *h;
    char *text;

    (void)state;
    compact_fixture_init(&f, 1024);
    h = many_rows(&f, 1000, 1, 100, NULL);
    job = fixture_job(&f);
    run_over(&job, sst_handle_ref(h), &whole);
    assert_int_equal(whole.n, 1);
    job.max_sst_size = 10000;
    run_over(&job, h, &run);
    assert_true(run.n >= 10);
    for (size_t i = 0; i + 1 < run.n; i++) {
        assert_true(run.ssts[i].sst->info.filter_offset > 10000);
        assert_true(run.ssts[i].sst->info.filter_offset <= 10000 + 2 * 1100);
    }
    assert_int_equal(n_split_keys(&run), 0);
    check_outputs(&run);
    text = run_text(&f, &whole, 0);
    assert_text(run_text(&f, &run, 0), text);
    free(text);
    sorted_run_fini(&run);
    sorted_run_fini(&whole);
    compact_fixture_fini(&f);
}

/* R198: the smallest limit gives SSTs of one full block and a block of one row. */
static void the_smallest_limit_splits_at_every_block(void **state)
{
    struct sorted_run run = { 0 };
    struct compact_fixture f;
    struct compaction_job job;

    (void)state;
    compact_fixture_init(&f, 1024);
    job = fixture_job(&f);
    job.max_sst_size = 1;
    run_over(&job, many_rows(&f, 64, 1, 200, NULL), &run);
    assert_true(run.n > 4);
    for (size_t i = 0; i + 1 < run.n; i++) {
        struct sst_source src = sst_source_compacted(run.ssts[i].sst);
        struct table_index *index = NULL;

        assert_int_equal(table_index_read(&f.ts, &src, &index), 0);
        assert_int_equal(index->x.n, 2);
        table_index_unref(index);
    }
    sorted_run_fini(&run);
    compact_fixture_fini(&f);
}

static enum shale_kind all_operands(size_t version)
{
    (void)version;
    return SHALE_MERGE;
}

static enum shale_kind every_tenth_a_value(size_t version)
{
    return version % 10 == 9 ? SHALE_PUT : SHALE_MERGE;
}

static void versions_of_a_key_stay_together(void **state)
{
    static const struct {
        const char *name;
        size_t n_keys, n_versions;
        enum shale_kind (*kind)(size_t version);
        uint64_t max;
        size_t min_ssts, max_ssts;
        bool splits_keys;
    } cases[] = {
        { "a few versions", 50, 10, NULL, 2000, 10, 50, false },
        { "a key of twice the size", 1, 19, NULL, 2000, 1, 2, false },
        { "a key much above it", 1, 100, NULL, 2000, 2, 10, true },
        { "operands alone", 3, 100, all_operands, 2000, 3, 3, false },
        { "operands over values", 3, 100, every_tenth_a_value, 2000, 4, 12, true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sorted_run run = { 0 };
        struct compact_fixture f;
        struct compaction_job job;
        struct sst_handle *h;
        char *want;

        print_message("%s\n", cases[i].name);
        compact_fixture_init(&f, 1024);
        h = many_rows(&f, cases[i].n_keys, cases[i].n_versions, 200, cases[i].kind);
        want = handle_text(&f, h);
        job = fixture_job(&f);
        job.op = &f.op;
        job.max_sst_size = cases[i].max;
        run_over(&job, h, &run);
        assert_in_range(run.n, cases[i].min_ssts, cases[i].max_ssts);
        assert_int_equal(n_split_keys(&run) > 0, cases[i].splits_keys);
        assert_text(run_text(&f, &run, 0), want);
        for (size_t k = 0; k + 1 < run.n; k++) {
            struct resume_cursor end = { 0 };

            assert_int_equal(resume_cursor_read(&f.ts, run.ssts[k].sst, &end), 0);
            if (slice_eq(slice_of_buf(&end.key), slice_of_buf(&run.ssts[k + 1].sst->info.first)))
                assert_int_not_equal(end.kind, SHALE_MERGE);
            resume_cursor_fini(&end);
        }
        free(want);
        sorted_run_fini(&run);
        compact_fixture_fini(&f);
    }
}

struct progress {
    size_t calls, n_outputs;
    uint64_t bytes;
    struct sst_handle **outputs;
    size_t cap;
    int rc;
};

static int note_progress(void *arg, uint64_t bytes_read, struct sst_handle *const *outputs, size_t n)
{
    struct progress *p = arg;

    p->calls++;
    assert_true(bytes_read >= p->bytes);
    p->bytes = bytes_read;
    assert_true(n >= p->n_outputs);
    assert_int_equal(vec_reserve(&p->outputs, &p->cap, n, sizeof(struct sst_handle *)), 0);
    for (size_t i = 0; i < p->n_outputs; i++)
        assert_ptr_equal(p->outputs[i], outputs[i]);
    for (; p->n_outputs < n; p->n_outputs++)
        p->outputs[p->n_outputs] = sst_handle_ref(outputs[p->n_outputs]);
    return p->rc;
}

static void progress_fini(struct progress *p)
{
    for (size_t i = 0; i < p->n_outputs; i++)
        sst_handle_unref(p->outputs[i]);
    mem_free(p->outputs);
}

static void progress_tells_of_every_output_but_the_last(void **state)
{
    struct progress p = { 0 };
    struct sorted_run run = { 0 };
    struct compact_fixture f;
    struct compaction_job job;

    (void)state;
    compact_fixture_init(&f, 1024);
    job = fixture_job(&f);
    job.max_sst_size = 10000;
    job.progress = note_progress;
    job.progress_arg = &p;
    run_over(&job, many_rows(&f, 1000, 1, 100, NULL), &run);
    assert_int_equal(p.n_outputs, run.n - 1);
    assert_int_equal(p.calls, run.n - 1);
    progress_fini(&p);
    sorted_run_fini(&run);
    compact_fixture_fini(&f);
}

static void progress_is_told_once_a_second(void **state)
{
    static const struct {
        int64_t step_ms;
        size_t calls;
    } cases[] = { { 0, 0 }, { 1000, 1 }, { 1001, 3 }, { 600, 1 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct progress p = { 0 };
        struct sorted_run run = { 0 };
        struct compact_fixture f;
        struct compaction_job job;

        compact_fixture_init(&f, 4096);
        job = fixture_job(&f);
        job.progress = note_progress;
        job.progress_arg = &p;
        f.step_ms = cases[i].step_ms;
        run_over(&job, many_rows(&f, 2 * INPUT_TICK_ROWS + 10, 1, 10, NULL), &run);
        assert_int_equal(p.calls, cases[i].calls);
        progress_fini(&p);
        sorted_run_fini(&run);
        compact_fixture_fini(&f);
    }
}

static void an_error_of_progress_stops_the_job(void **state)
{
    struct progress p = { .rc = -EDOM };
    struct sorted_run run = { 0 };
    struct compact_fixture f;
    struct compaction_job job;
    struct sst_view view = { 0 };

    (void)state;
    compact_fixture_init(&f, 1024);
    view.sst = many_rows(&f, 1000, 1, 100, NULL);
    view.id = view.sst->id;
    job = fixture_job(&f);
    job.l0 = &view;
    job.n_l0 = 1;
    job.max_sst_size = 10000;
    job.progress = note_progress;
    job.progress_arg = &p;
    assert_int_equal(compaction_job_run(&job, &run), -EDOM);
    /* What progress was shown may be recorded, so it stays. */
    assert_int_equal(p.n_outputs, 1);
    assert_int_equal(objects_count(f.memory, "compacted/"), 2);
    progress_fini(&p);
    sst_view_fini(&view);
    compact_fixture_fini(&f);
}

/* The tick comes every so many input rows, whether or not rows come out; the flag is set at the third row. */
static void a_job_can_be_stopped(void **state)
{
    (void)state;
    for (int recorded = 0; recorded < 2; recorded++) {
        _Atomic bool cancel = false;
        struct test_filter t = { .cancel_at_third = &cancel };
        struct shale_compaction_filter filter = filter_of(&t);
        struct progress p = { 0 };
        struct sorted_run run = { 0 };
        struct compact_fixture f;
        struct compaction_job job;
        struct sst_view view = { 0 };

        compact_fixture_init(&f, 1024);
        view.sst = many_rows(&f, 1000, 1, 100, NULL);
        view.id = view.sst->id;
        job = fixture_job(&f);
        job.l0 = &view;
        job.n_l0 = 1;
        job.max_sst_size = 5000;
        job.filter = &filter;
        job.cancel = &cancel;
        job.progress = recorded ? note_progress : NULL;
        job.progress_arg = &p;
        assert_int_equal(compaction_job_run(&job, &run), SHALE_ECANCELED);
        assert_true(t.n_decided <= INPUT_TICK_ROWS);
        assert_int_equal(t.n_ended, 0);
        assert_int_equal(t.n_destroyed, 1);
        assert_int_equal(p.n_outputs > 0, recorded);
        assert_int_equal(objects_count(f.memory, "compacted/"), 1 + p.n_outputs);
        progress_fini(&p);
        sst_view_fini(&view);
        compact_fixture_fini(&f);
    }
}

static void output_ids_are_younger_than_the_job_whatever_the_clock(void **state)
{
    struct sorted_run run = { 0 };
    struct compact_fixture f;
    struct compaction_job job;

    (void)state;
    compact_fixture_init(&f, 1024);
    f.now_ms = 3; /* long before the job's id */
    job = fixture_job(&f);
    job.max_sst_size = 1;
    run_over(&job, many_rows(&f, 100, 1, 100, NULL), &run);
    assert_true(run.n > 2);
    check_outputs(&run);
    sorted_run_fini(&run);
    compact_fixture_fini(&f);
}

/* What the fault loops run: three outputs, of which the middle one goes out in parts. */
struct fault_case {
    struct compact_fixture f;
    struct inputs in;
    struct compaction_job job;
    char *want;
};

static void fault_case_open(struct fault_case *c)
{
    static const char *const runs[MAX_INPUTS] = { "a=x@2 m=y@3 m=z@1", "b=v@5 q=v@6" };

    compact_fixture_init(&c->f, 4096);
    inputs_open(&c->f, (const char *const[MAX_INPUTS]){ "a+1@9 c=2@8 n+3@7" }, runs, &c->in);
    views_add(&c->in.l0, &c->in.n_l0, &c->in.cap_l0, many_rows(&c->f, 12, 1, 512 << 10, NULL));
    c->job = job_over(&c->f, &c->in);
    c->job.op = &c->f.op;
    c->job.max_sst_size = (uint64_t)5 << 20;
}

static void fault_case_close(struct fault_case *c)
{
    inputs_close(&c->in);
    compact_fixture_fini(&c->f);
}

static void a_failing_store_leaves_nothing_behind(void **state)
{
    static const enum fault_action actions[] = { FAULT_FAIL, FAULT_LOSE_REPLY };
    struct sorted_run run = { 0 };
    struct fault_case c;
    char *want, *before;

    (void)state;
    fault_case_open(&c);
    assert_int_equal(compaction_job_run(&c.job, &run), 0);
    assert_in_range(run.n, 2, 4);
    want = run_text(&c.f, &run, 0);
    sorted_run_fini(&run);
    fault_case_close(&c);
    for (size_t a = 0; a < ARRAY_SIZE(actions); a++) {
        for (unsigned n = 1;; n++) {
            struct fault_rule rule = { .cls = FAULT_ANY, .action = actions[a], .nth = n, .rc = -EIO };
            unsigned id, hits;
            int rc;

            fault_case_open(&c);
            before = objects_text(c.f.memory, "compacted/");
            id = store_fault_add(c.f.store, &rule);
            rc = compaction_job_run(&c.job, &run);
            hits = store_fault_hits(c.f.store, id);
            store_fault_clear(c.f.store);
            if (rc == 0) {
                assert_text(run_text(&c.f, &run, 0), want);
                sorted_run_fini(&run);
            } else {
                assert_text(objects_text(c.f.memory, "compacted/"), before);
            }
            free(before);
            fault_case_close(&c);
            if (!hits)
                break;
            assert_int_equal(rc, -EIO);
        }
    }
    free(want);
}

static void a_failing_heap_leaves_nothing_behind(void **state)
{
    unsigned n_failed = 0;

    (void)state;
    for (unsigned n = 1;; n += 1 + n / 20) {
        struct sorted_run run = { 0 };
        struct compact_fixture f;
        struct compaction_job job;
        struct inputs in;
        char *before;
        bool failed;
        int rc;

        compact_fixture_init(&f, 128);
        inputs_open(&f, (const char *const[MAX_INPUTS]){ "a+1@9 c=2@8 n+3@7 p=v@4" },
                    (const char *const[MAX_INPUTS]){ "a=x@2 m=y@3 m=z@1", "b=v@5 q=v@6" }, &in);
        before = objects_text(f.memory, "compacted/");
        job = job_over(&f, &in);
        job.op = &f.op;
        job.max_sst_size = 1;
        heap_fault_after(n);
        rc = compaction_job_run(&job, &run);
        failed = heap_fault_off();
        if (rc == 0)
            sorted_run_fini(&run);
        else
            assert_text(objects_text(f.memory, "compacted/"), before);
        free(before);
        inputs_close(&in);
        compact_fixture_fini(&f);
        if (!failed)
            break;
        n_failed++;
        assert_true(rc == 0 || rc == -ENOMEM);
    }
    assert_true(n_failed > 10);
}

static void a_missing_output_stops_a_resume(void **state)
{
    struct sorted_run run = { 0 };
    struct compact_fixture f;
    struct output_set earlier;
    struct compaction_job job;
    struct row_list l;
    struct inputs in;

    (void)state;
    compact_fixture_init(&f, 4096);
    inputs_open(&f, (const char *const[MAX_INPUTS]){ "a=v@1 b=v@2" }, (const char *const[MAX_INPUTS]){ NULL }, &in);
    row_list_parse(&l, "a=v@1 b=v@2");
    write_earlier(&f, &l, 1, LARGE, &earlier);
    output_delete(&f.ts, earlier.list[0]->id);
    job = job_over(&f, &in);
    job.outputs = earlier.list;
    job.n_outputs = earlier.n;
    assert_int_equal(compaction_job_run(&job, &run), -ESTALE);
    output_set_fini(&earlier);
    row_list_fini(&l);
    inputs_close(&in);
    compact_fixture_fini(&f);
}

/* An SST without a single row, which a record may name though nobody writes one. */
static struct sst_handle *empty_sst(struct compact_fixture *f, uint64_t n)
{
    struct shale_ulid id = { FIXTURE_JOB.hi, n };
    struct shale_buf object = SHALE_BUF_INIT, name = SHALE_BUF_INIT;
    struct sst_handle *h = NULL;

    assert_int_equal(wal_fence_encode(&f->ts.format, &object), 0);
    assert_int_equal(table_store_sst_name(&f->ts, id, &name), 0);
    assert_int_equal(shale_store_put(f->memory, (char *)name.data, slice_of_buf(&object), SHALE_PUT_IF_ABSENT), 0);
    assert_int_equal(table_open_compacted(&f->ts, id, &h), 0);
    shale_buf_fini(&name);
    shale_buf_fini(&object);
    return h;
}

/* R182, step 1, R195: no cursor comes from it, and it is not part of the run. Bits of which say where there is one. */
static void earlier_outputs_without_rows_are_left_out(void **state)
{
    static const char rows[] = "a=v@1 b=v@2 c=v@3 d=v@4";

    (void)state;
    for (unsigned which = 1; which < 8; which++) {
        struct sst_handle *outputs[5];
        struct sorted_run run = { 0 };
        struct compact_fixture f;
        struct output_set earlier[2];
        struct compaction_job job;
        struct row_list l;
        struct inputs in;
        size_t n = 0;

        compact_fixture_init(&f, 4096);
        inputs_open(&f, (const char *const[MAX_INPUTS]){ rows }, (const char *const[MAX_INPUTS]){ NULL }, &in);
        row_list_parse(&l, rows);
        for (size_t i = 0; i < 3; i++) {
            struct row_list part = { .rows = l.rows + i };

            if (which & 1u << i)
                outputs[n++] = empty_sst(&f, 10 + i);
            if (i == 2)
                break;
            write_earlier(&f, &part, 1, LARGE, &earlier[i]);
            outputs[n++] = earlier[i].list[0];
        }
        job = job_over(&f, &in);
        job.outputs = outputs;
        job.n_outputs = n;
        assert_int_equal(compaction_job_run(&job, &run), 0);
        assert_text(run_text(&f, &run, 0), rows);
        assert_int_equal(run.n, 3);
        assert_ptr_equal(run.ssts[0].sst, earlier[0].list[0]);
        assert_ptr_equal(run.ssts[1].sst, earlier[1].list[0]);
        sorted_run_fini(&run);
        for (size_t i = 0; i < n; i++)
            if (!outputs[i]->info.has_first)
                sst_handle_unref(outputs[i]);
        output_set_fini(&earlier[0]);
        output_set_fini(&earlier[1]);
        row_list_fini(&l);
        inputs_close(&in);
        compact_fixture_fini(&f);
    }
}

static void only_the_visible_part_of_a_view_is_read(void **state)
{
    struct sst_view view = { .has_range = true, .start = { .kind = KEY_INCLUDED }, .end = { .kind = KEY_EXCLUDED } };
    struct sorted_run run = { 0 };
    struct compact_fixture f;
    struct compaction_job job;

    (void)state;
    compact_fixture_init(&f, 4096);
    view.sst = fixture_sst_text(&f, "a=v@1 b=v@2 c=v@3 d=v@4");
    view.id = view.sst->id;
    assert_int_equal(shale_buf_append(&view.start.key, "b", 1), 0);
    assert_int_equal(shale_buf_append(&view.end.key, "d", 1), 0);
    job = fixture_job(&f);
    job.l0 = &view;
    job.n_l0 = 1;
    assert_int_equal(compaction_job_run(&job, &run), 0);
    assert_text(run_text(&f, &run, 0), "b=v@2 c=v@3");
    sorted_run_fini(&run);
    sst_view_fini(&view);
    compact_fixture_fini(&f);
}

static void a_job_without_sources_is_refused(void **state)
{
    struct sorted_run run = { 0 };
    struct compact_fixture f;
    struct compaction_job job;

    (void)state;
    compact_fixture_init(&f, 4096);
    job = fixture_job(&f);
    assert_int_equal(compaction_job_run(&job, &run), -EINVAL);
    compact_fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operands_survive_a_risen_barrier),
        cmocka_unit_test(operands_above_the_barrier_stay_apart),
        cmocka_unit_test(expiry_and_retention_apply),
        cmocka_unit_test(operands_without_operator_fail_the_job),
        cmocka_unit_test(nothing_left_gives_an_empty_run),
        cmocka_unit_test(a_filter_decides_on_every_row),
        cmocka_unit_test(an_error_of_the_filter_fails_the_job),
        cmocka_unit_test(a_filter_sees_rows_again_when_a_job_goes_on),
        cmocka_unit_test(outputs_are_split_by_size),
        cmocka_unit_test(the_smallest_limit_splits_at_every_block),
        cmocka_unit_test(versions_of_a_key_stay_together),
        cmocka_unit_test(progress_tells_of_every_output_but_the_last),
        cmocka_unit_test(progress_is_told_once_a_second),
        cmocka_unit_test(an_error_of_progress_stops_the_job),
        cmocka_unit_test(a_job_can_be_stopped),
        cmocka_unit_test(output_ids_are_younger_than_the_job_whatever_the_clock),
        cmocka_unit_test(a_failing_store_leaves_nothing_behind),
        cmocka_unit_test(a_failing_heap_leaves_nothing_behind),
        cmocka_unit_test(a_missing_output_stops_a_resume),
        cmocka_unit_test(earlier_outputs_without_rows_are_left_out),
        cmocka_unit_test(only_the_visible_part_of_a_view_is_read),
        cmocka_unit_test(a_job_without_sources_is_refused),
    };
    struct cases c = { 0 };

    CASES_ADD_TABLE(&c, "R208 test_load_iterators_resume", resumes, a_job_goes_on_behind_earlier_outputs);
    cases_add_tests(&c, tests, ARRAY_SIZE(tests));
    return cases_run(&c, NULL, NULL);
}
