/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "compact/output_set.h"
#include "lib/compact_fixture.h"
#include "lib/random_env.h"
#include "read/run_iter.h"

#include <inttypes.h>
#include <string.h>

/*
 * R209, test_execute_compaction_job_resume_matches_full, with the figures of SlateDB 0.12.1: 256 cases of 1 to 3 L0
 * SSTs and 0 to 3 runs of 1 to 64 rows, keys of up to 4 bytes, values of up to 6, sequence numbers below 2000, an
 * operator when there are operands; 1 to 3 points among the first 16 rows of the result at which an earlier attempt
 * ended, blocks of 64 bytes and SSTs of 128. A job that goes on there gives all rows of one that was not interrupted.
 *
 * Every other case has keys of few letters instead, so that there are many versions. No two rows have the same key and
 * number: SlateDB's generator could make some, no engine does.
 */
enum { CASES = 256, MAX_SETS = 6, MAX_SET = 64, KEY_MAX = 4, VALUE_MAX = 6, SEQS = 2000, RESUME_BELOW = 16 };
enum { BLOCK_SIZE = 64, MAX_SST_SIZE = 128, MAX_ROWS = MAX_SETS * MAX_SET };

struct spec {
    uint8_t key[KEY_MAX], value[VALUE_MAX];
    struct shale_row row; /* points into the two above */
};

struct scene {
    uint64_t seed;
    struct rng rng;
    struct compact_fixture f;
    struct spec specs[MAX_ROWS];
    size_t n;
    bool has_merge;
    struct sst_view *l0;
    size_t n_l0, cap_l0;
    struct sorted_run runs[3];
    size_t n_runs;
};

static struct shale_slice random_bytes(struct scene *s, uint8_t *bytes, size_t max, bool few)
{
    size_t len = few ? 1 + rng_below(&s->rng, 2) : 1 + rng_below(&s->rng, max);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(few ? 'a' + rng_below(&s->rng, 2) : rng_below(&s->rng, 256));
    return slice_of(bytes, len);
}

static bool is_taken(const struct scene *s, const struct shale_row *row)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->specs[i].row.seq == row->seq && slice_eq(s->specs[i].row.key, row->key))
            return true;
    return false;
}

static void random_row(struct scene *s)
{
    static const enum shale_kind kinds[] = { SHALE_PUT, SHALE_MERGE, SHALE_TOMBSTONE };
    struct spec *spec = &s->specs[s->n];
    struct shale_row row = { .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS };

    do {
        row.key = random_bytes(s, spec->key, KEY_MAX, s->seed % 2);
        row.seq = rng_below(&s->rng, SEQS);
    } while (is_taken(s, &row));
    row.kind = kinds[rng_below(&s->rng, 3)];
    if (row.kind != SHALE_TOMBSTONE)
        row.value = random_bytes(s, spec->value, VALUE_MAX, false);
    s->has_merge = s->has_merge || row.kind == SHALE_MERGE;
    spec->row = row;
    s->n++;
}

/* One SST of as many rows as it happens. */
static struct sst_handle *random_sst(struct scene *s)
{
    struct shale_row rows[MAX_SET];
    size_t n = 1 + rng_below(&s->rng, MAX_SET);

    for (size_t i = 0; i < n; i++) {
        random_row(s);
        rows[i] = s->specs[s->n - 1].row;
    }
    return fixture_sst(&s->f, rows, n);
}

static void scene_open(struct scene *s, uint64_t seed)
{
    size_t n_l0, n_runs;

    memset(s, 0, sizeof(*s));
    s->seed = seed;
    rng_seed(&s->rng, seed);
    compact_fixture_init(&s->f, BLOCK_SIZE);
    n_l0 = 1 + rng_below(&s->rng, 3);
    n_runs = rng_below(&s->rng, 4);
    for (size_t i = 0; i < n_l0; i++)
        views_add(&s->l0, &s->n_l0, &s->cap_l0, random_sst(s));
    for (; s->n_runs < n_runs; s->n_runs++) {
        struct sorted_run *run = &s->runs[s->n_runs];

        run->id = (uint32_t)(10 - s->n_runs);
        views_add(&run->ssts, &run->n, &run->cap, random_sst(s));
    }
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
    job.op = s->has_merge ? &s->f.op : NULL;
    job.retention_min_seq = s->has_merge ? UINT64_MAX : 0;
    job.clock_tick = 0;
    job.max_sst_size = MAX_SST_SIZE;
    return job;
}

static void put_row(const struct shale_row *row, struct shale_buf *out)
{
    uint64_t head[] = { row->key.len, row->value.len, row->seq, row->kind };

    assert_int_equal(shale_buf_append(out, head, sizeof(head)), 0);
    assert_int_equal(buf_append_slice(out, row->key), 0);
    assert_int_equal(buf_append_slice(out, row->value), 0);
}

static struct iter *open_run(struct scene *s, const struct sorted_run *run)
{
    struct sst_iter_options opt = { .order = ITER_ASC };
    struct key_range all = { 0 };
    struct iter *it = NULL;

    assert_int_equal(run_iter_new(&s->f.ts, run, &all, &opt, &it), 0);
    return it;
}

/* All rows, as bytes to compare. Returns how many there are. */
static size_t run_bytes(struct scene *s, const struct sorted_run *run, struct shale_buf *out)
{
    struct iter *it = open_run(s, run);
    struct shale_row row;
    size_t n = 0;
    int rc;

    while ((rc = iter_next(it, &row)) == 0) {
        put_row(&row, out);
        n++;
    }
    assert_int_equal(rc, SHALE_END);
    iter_close(it);
    return n;
}

/* The first n rows of the whole result, split as a job splits. */
static void write_earlier(struct scene *s, const struct sorted_run *full, size_t n, struct output_set *out)
{
    struct iter *it = open_run(s, full);
    struct shale_row row;

    assert_int_equal(output_set_init(out, &s->f.ts, MAX_SST_SIZE, FIXTURE_JOB, &s->f.clock, NULL, 0), 0);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(iter_next(it, &row), 0);
        assert_true(output_set_add(out, &row) >= 0);
    }
    assert_int_equal(output_set_finish(out), 0);
    iter_close(it);
}

static void check_resumed(struct scene *s, const struct sorted_run *full, size_t n, struct shale_slice want)
{
    struct compaction_job job = scene_job(s);
    struct shale_buf got = SHALE_BUF_INIT;
    struct sorted_run run = { 0 };
    struct output_set earlier;

    write_earlier(s, full, n, &earlier);
    job.outputs = earlier.list;
    job.n_outputs = earlier.n;
    assert_int_equal(compaction_job_run(&job, &run), 0);
    (void)run_bytes(s, &run, &got);
    if (!slice_eq(slice_of_buf(&got), want))
        fail_msg("behind %zu rows the result is another one; again with SHALE_SEED=%" PRIu64, n, s->seed);
    shale_buf_fini(&got);
    sorted_run_fini(&run);
    output_set_fini(&earlier);
}

static uint64_t first_seed, n_cases;

static void resume_matches_full(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < n_cases; i++) {
        struct shale_buf want = SHALE_BUF_INIT;
        struct sorted_run full = { 0 };
        struct compaction_job job;
        struct scene s;
        size_t n, n_points;

        scene_open(&s, first_seed + i);
        job = scene_job(&s);
        assert_int_equal(compaction_job_run(&job, &full), 0);
        n = run_bytes(&s, &full, &want);
        assert_true(n > 0);
        n_points = 1 + rng_below(&s.rng, 3);
        for (size_t k = 0; k < n_points; k++)
            check_resumed(&s, &full, 1 + rng_below(&s.rng, RESUME_BELOW) % n, slice_of_buf(&want));
        shale_buf_fini(&want);
        sorted_run_fini(&full);
        scene_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        { .name = "R209 test_execute_compaction_job_resume_matches_full", .test_func = resume_matches_full },
    };
    struct random_env env = random_env(CASES);

    first_seed = env.first;
    n_cases = env.n;
    print_message("SHALE_SEED=%" PRIu64 " SHALE_RANDOM_CASES=%" PRIu64 "\n", first_seed, n_cases);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
