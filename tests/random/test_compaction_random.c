/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "compact/output_set.h"
#include "lib/compact_fixture.h"
#include "lib/random_env.h"
#include "lib/store_fault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Random rows in random inputs, against a model that applies the rules to an array (R246-R262), with snapshots that
 * read the same before and after. Then the same job interrupted: behind a prefix of its rows, by a store that dies any
 * number of times, and with a barrier that rises from attempt to attempt.
 *
 * lib/random_env.h says how to choose cases and their number.
 */

#define MAX_ROWS 64
#define MAX_SEQ 2000

struct mrow {
    char key[8];
    char value[8 * MAX_ROWS];
    uint64_t seq;
    int64_t create_ts, expire_ts;
    enum shale_kind kind;
};

struct mrows {
    struct mrow row[MAX_ROWS];
    size_t n;
};

static struct shale_row row_of(const struct mrow *m)
{
    return (struct shale_row){ .key = slice_str(m->key), .value = slice_str(m->value), .seq = m->seq,
                               .create_ts = m->create_ts, .expire_ts = m->expire_ts, .kind = m->kind };
}

static char *mrows_text(const struct mrows *rows)
{
    struct shale_buf out = SHALE_BUF_INIT;

    assert_int_equal(buf_printf(&out, "%s", ""), 0);
    for (size_t i = 0; i < rows->n; i++) {
        struct shale_row row = row_of(&rows->row[i]);

        row_text(&row, &out);
    }
    return (char *)buf_take(&out);
}

/* What the job is to do; each also drives the model. */
struct rules {
    uint64_t min_seq; /* the least snapshot */
    int64_t tick;
    bool last_run, filter;
};

enum { MAX_SNAPSHOTS = 4, MAX_CRASHES = 12 };

/* The operands from first on which fold into one row, and the base below them; returns how many rows were used. */
static size_t model_fold_group(const struct mrow *first, size_t n, struct mrow *out)
{
    size_t used = 1;
    bool base;

    while (used < n && strcmp(first[used].key, first->key) == 0 && first[used].kind == SHALE_MERGE &&
           first[used].expire_ts == first->expire_ts)
        used++;
    base = used < n && strcmp(first[used].key, first->key) == 0 && first[used].kind != SHALE_MERGE &&
           first[used].expire_ts == first->expire_ts;
    used += base;
    *out = *first;
    out->value[0] = '\0';
    out->kind = base ? SHALE_PUT : SHALE_MERGE;
    for (size_t i = used; i-- > 0;) {
        strcat(out->value, first[i].value);
        if (first[i].create_ts > out->create_ts)
            out->create_ts = first[i].create_ts;
    }
    return used;
}

static void model_fold(const struct mrows *in, uint64_t barrier, struct mrows *out)
{
    size_t i = 0;

    out->n = 0;
    while (i < in->n) {
        if (in->row[i].kind == SHALE_MERGE && in->row[i].seq <= barrier) {
            i += model_fold_group(&in->row[i], in->n - i, &out->row[out->n++]);
        } else {
            out->row[out->n++] = in->row[i++];
        }
    }
}

/* All versions of one key. */
static void model_retain_key(const struct mrow *row, size_t n, const struct rules *r, struct mrows *out)
{
    size_t start = out->n;

    for (size_t i = 0; i < n; i++) {
        struct mrow kept = row[i];
        bool expired = kept.expire_ts != SHALE_NO_TS && kept.expire_ts <= r->tick;

        if (expired && kept.kind == SHALE_PUT) {
            kept.kind = SHALE_TOMBSTONE;
            kept.expire_ts = SHALE_NO_TS;
            kept.value[0] = '\0';
        }
        if (!expired || kept.kind == SHALE_TOMBSTONE)
            out->row[out->n++] = kept;
        if (row[i].seq <= r->min_seq && row[i].kind != SHALE_MERGE)
            break;
    }
    while (r->last_run && out->n > start && out->row[out->n - 1].kind == SHALE_TOMBSTONE)
        out->n--;
}

static void model_retain(const struct mrows *in, const struct rules *r, struct mrows *out)
{
    size_t start = 0;

    out->n = 0;
    for (size_t i = 1; i <= in->n; i++) {
        if (i < in->n && strcmp(in->row[i].key, in->row[start].key) == 0)
            continue;
        model_retain_key(&in->row[start], i - start, r, out);
        start = i;
    }
}

/* A filter with memory: a group is the keys of one first letter; the first row of each decides about all of them. */
struct group_filter {
    char group;
    bool drops; /* rows of even sequence numbers */
};

static bool group_drops(struct group_filter *g, char letter, uint64_t seq, bool is_tombstone)
{
    if (g->group != letter) {
        g->group = letter;
        g->drops = is_tombstone || seq % 3 == 0;
    }
    return g->drops && seq % 2 == 0;
}

static int group_create(void *ctx, const struct shale_filter_context *job, void **filter)
{
    (void)ctx;
    (void)job;
    *filter = mem_zalloc(sizeof(struct group_filter));
    return *filter ? 0 : -ENOMEM;
}

static int group_decide(void *filter, const struct shale_row *row, struct shale_buf *new_value)
{
    (void)new_value;
    return group_drops(filter, (char)row->key.data[0], row->seq, row->kind == SHALE_TOMBSTONE) ? SHALE_FILTER_DROP
                                                                                              : SHALE_FILTER_KEEP;
}

static int group_end(void *filter)
{
    (void)filter;
    return 0;
}

static int group_resume_from(void *filter, struct shale_slice after, struct shale_buf *from)
{
    (void)filter;
    return shale_buf_append(from, after.data, 1);
}

static const struct shale_compaction_filter group_filter = { .create = group_create, .decide = group_decide,
                                                             .end = group_end, .destroy = mem_free,
                                                             .resume_from = group_resume_from };

static void model_filter(struct mrows *rows)
{
    struct group_filter g = { 0 };
    size_t kept = 0;

    for (size_t i = 0; i < rows->n; i++)
        if (!group_drops(&g, rows->row[i].key[0], rows->row[i].seq, rows->row[i].kind == SHALE_TOMBSTONE))
            rows->row[kept++] = rows->row[i];
    rows->n = kept;
}

static void model_run(const struct mrows *in, const struct rules *r, struct mrows *out)
{
    struct mrows folded;

    model_fold(in, r->min_seq, &folded);
    model_retain(&folded, r, out);
    if (r->filter)
        model_filter(out);
}

/* What a reader at seq sees of a key, in text; "-" for nothing. */
static void model_read(const struct mrows *rows, const char *key, uint64_t seq, char *out)
{
    size_t first = 0, end;
    bool found;

    while (first < rows->n && (strcmp(rows->row[first].key, key) != 0 || rows->row[first].seq > seq))
        first++;
    for (end = first; end < rows->n && strcmp(rows->row[end].key, key) == 0; end++)
        if (rows->row[end].kind != SHALE_MERGE)
            break;
    found = end > first;
    if (end < rows->n && strcmp(rows->row[end].key, key) == 0) {
        found = found || rows->row[end].kind == SHALE_PUT;
        end++;
    }
    strcpy(out, found ? "" : "-");
    for (size_t i = end; found && i-- > first;)
        strcat(out, rows->row[i].value);
}

/* One case: its rows, spread over inputs, in a database. */
struct scene {
    uint64_t seed;
    struct rng rng;
    struct compact_fixture f;
    struct mrows rows;
    struct rules rules;
    uint64_t snapshots[MAX_SNAPSHOTS]; /* live ones, and the newest state as UINT64_MAX */
    size_t n_snapshots;
    struct sst_view *l0;
    size_t n_l0, cap_l0;
    struct sorted_run runs[3];
    size_t n_runs;
    uint64_t max_sst_size;
};

static int mrow_order(const void *a, const void *b)
{
    const struct mrow *x = a, *y = b;
    int c = strcmp(x->key, y->key);

    return c ? c : (x->seq < y->seq) - (x->seq > y->seq);
}

static void random_row(struct scene *s, bool with_expiry, struct mrow *m)
{
    uint64_t kind = rng_below(&s->rng, 10);

    snprintf(m->key, sizeof(m->key), "%c%.*s", (char)('a' + rng_below(&s->rng, 3)), (int)rng_below(&s->rng, 3),
             rng_below(&s->rng, 2) ? "xx" : "yz");
    m->kind = kind < 4 ? SHALE_PUT : kind < 6 ? SHALE_TOMBSTONE : SHALE_MERGE;
    m->create_ts = rng_below(&s->rng, 3) ? SHALE_NO_TS : (int64_t)rng_below(&s->rng, 20);
    m->expire_ts = SHALE_NO_TS;
    if (with_expiry && m->kind != SHALE_TOMBSTONE && rng_below(&s->rng, 4) == 0)
        m->expire_ts = (int64_t)(5 + 10 * rng_below(&s->rng, 3));
    m->value[0] = '\0';
    if (m->kind != SHALE_TOMBSTONE)
        snprintf(m->value, sizeof(m->value), "%" PRIu64 ".", m->seq);
}

static void random_rows(struct scene *s, bool with_expiry)
{
    bool taken[MAX_SEQ + 1] = { false };

    s->rows.n = 1 + rng_below(&s->rng, MAX_ROWS);
    for (size_t i = 0; i < s->rows.n; i++) {
        do {
            s->rows.row[i].seq = rng_below(&s->rng, MAX_SEQ + 1);
        } while (taken[s->rows.row[i].seq]);
        taken[s->rows.row[i].seq] = true;
        random_row(s, with_expiry, &s->rows.row[i]);
    }
    qsort(s->rows.row, s->rows.n, sizeof(s->rows.row[0]), mrow_order);
}

/* Deal the rows out to the inputs; those that got none do not exist. */
static void random_inputs(struct scene *s)
{
    size_t n_l0 = rng_below(&s->rng, 4), n_runs = rng_below(&s->rng, 4);
    size_t owner[MAX_ROWS], n_inputs;

    if (n_l0 + n_runs == 0)
        n_l0 = 1;
    n_inputs = n_l0 + n_runs;
    for (size_t i = 0; i < s->rows.n; i++)
        owner[i] = rng_below(&s->rng, n_inputs);
    for (size_t k = 0; k < n_inputs; k++) {
        struct shale_row rows[MAX_ROWS];
        struct sorted_run *run;
        size_t n = 0, cap = 0;

        for (size_t i = 0; i < s->rows.n; i++)
            if (owner[i] == k)
                rows[n++] = row_of(&s->rows.row[i]);
        if (n == 0)
            continue;
        if (k < n_l0) {
            views_add(&s->l0, &s->n_l0, &s->cap_l0, fixture_sst(&s->f, rows, n));
            continue;
        }
        run = &s->runs[s->n_runs++];
        *run = (struct sorted_run){ .id = (uint32_t)(10 - k) };
        views_add(&run->ssts, &run->n, &cap, fixture_sst(&s->f, rows, n));
        run->cap = cap;
    }
}

static void random_snapshots(struct scene *s)
{
    s->n_snapshots = 1 + rng_below(&s->rng, MAX_SNAPSHOTS);
    s->snapshots[0] = UINT64_MAX;
    for (size_t i = 1; i < s->n_snapshots; i++)
        s->snapshots[i] = rng_below(&s->rng, MAX_SEQ + 1);
    s->rules.min_seq = UINT64_MAX;
    for (size_t i = 0; i < s->n_snapshots; i++)
        if (s->snapshots[i] < s->rules.min_seq)
            s->rules.min_seq = s->snapshots[i];
}

static void scene_open(struct scene *s, uint64_t seed, bool with_expiry)
{
    memset(s, 0, sizeof(*s));
    s->seed = seed;
    rng_seed(&s->rng, seed);
    compact_fixture_init(&s->f, 64u << rng_below(&s->rng, 3));
    random_rows(s, with_expiry);
    random_inputs(s);
    s->max_sst_size = 1 + rng_below(&s->rng, 300);
    s->rules = (struct rules){ .tick = with_expiry ? 10 : SHALE_NO_TS, .last_run = rng_below(&s->rng, 2) == 0 };
    random_snapshots(s);
}

static void scene_close(struct scene *s)
{
    for (size_t i = 0; i < s->n_l0; i++)
        sst_view_fini(&s->l0[i]);
    mem_free(s->l0);
    for (size_t i = 0; i < s->n_runs; i++)
        sorted_run_fini(&s->runs[i]);
    compact_fixture_fini(&s->f);
}

static struct compaction_job scene_job(struct scene *s)
{
    struct compaction_job job = fixture_job(&s->f);

    job.l0 = s->l0;
    job.n_l0 = s->n_l0;
    job.runs = s->runs;
    job.n_runs = s->n_runs;
    job.op = &s->f.op;
    job.filter = s->rules.filter ? &group_filter : NULL;
    job.clock_tick = s->rules.tick;
    job.is_last_run = s->rules.last_run;
    job.retention_min_seq = s->rules.min_seq;
    job.max_sst_size = s->max_sst_size;
    return job;
}

static void same(const struct scene *s, const char *what, const char *got, const char *want)
{
    if (strcmp(got, want) != 0)
        fail_msg("%s differ; again with SHALE_SEED=%" PRIu64 " SHALE_RANDOM_CASES=1\n got %s\nwant %s", what, s->seed,
                 got, want);
}

static void run_is(struct scene *s, const struct sorted_run *run, const char *what, const char *want)
{
    char *got = run_text(&s->f, run, 0);

    same(s, what, got, want);
    free(got);
}

static void check_whole(struct scene *s, const char *want)
{
    struct compaction_job job = scene_job(s);
    struct sorted_run run = { 0 };

    assert_int_equal(compaction_job_run(&job, &run), 0);
    run_is(s, &run, "the rows of an uninterrupted job", want);
    sorted_run_fini(&run);
}

/* Outputs that hold a prefix of the final rows, cut without regard to keys, as another program may have done. */
static void write_prefix(struct scene *s, const struct mrows *final, struct output_set *earlier)
{
    size_t n = final->n ? 1 + rng_below(&s->rng, final->n) : 0;

    assert_int_equal(output_set_init(earlier, &s->f.ts, s->max_sst_size, FIXTURE_JOB, &s->f.clock, NULL, 0), 0);
    for (size_t k = 0; k < n; k++) {
        struct shale_row row = row_of(&final->row[k]);

        assert_true(output_set_add(earlier, &row) >= 0);
    }
    assert_int_equal(output_set_finish(earlier), 0);
}

static void check_prefixes(struct scene *s, const struct mrows *final, const char *want)
{
    for (int i = 0; i < 3 && final->n > 0; i++) {
        struct compaction_job job = scene_job(s);
        struct sorted_run run = { 0 };
        struct output_set earlier;

        write_prefix(s, final, &earlier);
        job.outputs = earlier.list;
        job.n_outputs = earlier.n;
        assert_int_equal(compaction_job_run(&job, &run), 0);
        run_is(s, &run, "the rows behind a prefix", want);
        sorted_run_fini(&run);
        output_set_fini(&earlier);
    }
}

/* What survives a crash: the outputs that were recorded. */
struct record {
    struct sst_handle **outputs;
    size_t n, cap;
};

static int record_progress(void *arg, uint64_t bytes_read, struct sst_handle *const *outputs, size_t n)
{
    struct record *r = arg;

    (void)bytes_read;
    assert_int_equal(vec_reserve(&r->outputs, &r->cap, n, sizeof(struct sst_handle *)), 0);
    for (size_t i = 0; i < n; i++)
        sst_handle_ref(outputs[i]);
    for (size_t i = 0; i < r->n; i++)
        sst_handle_unref(r->outputs[i]);
    for (size_t i = 0; i < n; i++)
        r->outputs[i] = outputs[i];
    r->n = n;
    return 0;
}

static void record_fini(struct record *r)
{
    for (size_t i = 0; i < r->n; i++)
        sst_handle_unref(r->outputs[i]);
    mem_free(r->outputs);
}

/* One attempt with a store that dies after a while, or (last) does not. */
static int attempt(struct scene *s, struct record *rec, bool last, struct sorted_run *run)
{
    struct fault_rule dead = { .cls = FAULT_ANY, .action = FAULT_FAIL, .nth = 1 + (unsigned)rng_below(&s->rng, 40),
                               .times = FAULT_ALWAYS, .rc = -EIO };
    struct compaction_job job = scene_job(s);
    struct record before = { 0 };
    int rc;

    assert_int_equal(record_progress(&before, 0, rec->outputs, rec->n), 0);
    job.outputs = before.outputs;
    job.n_outputs = before.n;
    job.progress = record_progress;
    job.progress_arg = rec;
    if (!last)
        store_fault_add(s->f.store, &dead);
    rc = compaction_job_run(&job, run);
    store_fault_clear(s->f.store);
    record_fini(&before);
    return rc;
}

/* Any number of attempts die; *out is what the last one makes. */
static void run_with_crashes(struct scene *s, struct sorted_run *out)
{
    uint64_t n = rng_below(&s->rng, MAX_CRASHES + 1);
    struct record rec = { 0 };
    int rc = -EIO;

    for (uint64_t i = 0; rc < 0 && i <= n; i++)
        rc = attempt(s, &rec, i == n, out);
    assert_int_equal(rc, 0);
    record_fini(&rec);
}

static void check_crashes(struct scene *s, const char *want)
{
    struct sorted_run run = { 0 };

    run_with_crashes(s, &run);
    run_is(s, &run, "the rows of a job that crashed on its way", want);
    sorted_run_fini(&run);
}

/* Rows read back, for the model's eyes. */
static void read_back(struct scene *s, const struct sorted_run *run, struct mrows *out)
{
    struct row_list l;
    char *text = run_text(&s->f, run, 0);

    row_list_parse(&l, text);
    out->n = l.n;
    for (size_t i = 0; i < l.n; i++) {
        snprintf(out->row[i].key, sizeof(out->row[i].key), "%.*s", (int)l.rows[i].key.len, l.rows[i].key.data);
        snprintf(out->row[i].value, sizeof(out->row[i].value), "%.*s", (int)l.rows[i].value.len, l.rows[i].value.data);
        out->row[i].seq = l.rows[i].seq;
        out->row[i].kind = l.rows[i].kind;
    }
    row_list_fini(&l);
    free(text);
}

/* The barrier rises between attempts: rows differ, but no reader at or above the last barrier can tell. */
static void check_rising_barrier(struct scene *s)
{
    char got[8 * MAX_ROWS], want[8 * MAX_ROWS];
    struct sorted_run run = { 0 };
    struct record rec = { 0 };
    struct mrows after;
    int rc = -EIO;

    s->rules.min_seq = rng_below(&s->rng, MAX_SEQ / 2);
    if (rng_below(&s->rng, 2)) {
        struct output_set earlier;

        model_run(&s->rows, &s->rules, &after);
        write_prefix(s, &after, &earlier);
        assert_int_equal(record_progress(&rec, 0, earlier.list, earlier.n), 0);
        output_set_fini(&earlier);
    }
    for (int i = 0; rc < 0 && i <= 4; i++) {
        s->rules.min_seq += rng_below(&s->rng, MAX_SEQ / 5);
        rc = attempt(s, &rec, i == 4, &run);
    }
    assert_int_equal(rc, 0);
    read_back(s, &run, &after);
    for (size_t i = 0; i < s->rows.n; i++) {
        if (i > 0 && strcmp(s->rows.row[i].key, s->rows.row[i - 1].key) == 0)
            continue;
        for (int k = 0; k < 8; k++) {
            uint64_t seq = k ? s->rules.min_seq + rng_below(&s->rng, MAX_SEQ) : s->rules.min_seq;

            model_read(&s->rows, s->rows.row[i].key, seq, want);
            model_read(&after, s->rows.row[i].key, seq, got);
            same(s, s->rows.row[i].key, got, want);
        }
    }
    sorted_run_fini(&run);
    record_fini(&rec);
}

/* Every key at every live snapshot, from the rows of the inputs and from those of the result. */
static void check_snapshots(struct scene *s, const struct mrows *after)
{
    char got[8 * MAX_ROWS], want[8 * MAX_ROWS];

    for (size_t i = 0; i < s->rows.n; i++) {
        if (i > 0 && strcmp(s->rows.row[i].key, s->rows.row[i - 1].key) == 0)
            continue;
        for (size_t k = 0; k < s->n_snapshots; k++) {
            model_read(&s->rows, s->rows.row[i].key, s->snapshots[k], want);
            model_read(after, s->rows.row[i].key, s->snapshots[k], got);
            same(s, s->rows.row[i].key, got, want);
        }
    }
}

static void snapshots_do_not_notice(struct scene *s)
{
    struct sorted_run run = { 0 };
    struct mrows after;

    run_with_crashes(s, &run);
    read_back(s, &run, &after);
    check_snapshots(s, &after);
    sorted_run_fini(&run);
}

static uint64_t first_seed, n_cases;

static void jobs_follow_the_model(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < n_cases; i++) {
        struct mrows final;
        struct scene s;
        char *want;

        scene_open(&s, first_seed + i, true);
        s.rules.filter = rng_below(&s.rng, 3) == 0;
        model_run(&s.rows, &s.rules, &final);
        want = mrows_text(&final);
        check_whole(&s, want);
        check_prefixes(&s, &final, want);
        check_crashes(&s, want);
        free(want);
        scene_close(&s);
    }
}

/* Without expiry and filters, which change what is read. */
static void readers_notice_nothing(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < n_cases; i++) {
        struct scene s;

        scene_open(&s, first_seed + i, false);
        snapshots_do_not_notice(&s);
        check_rising_barrier(&s);
        scene_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_follow_the_model),
        cmocka_unit_test(readers_notice_nothing),
    };
    struct random_env env = random_env(10000);

    first_seed = env.first;
    n_cases = env.n;
    print_message("SHALE_SEED=%" PRIu64 " SHALE_RANDOM_CASES=%" PRIu64 "\n", first_seed, n_cases);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
