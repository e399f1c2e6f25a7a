/* SPDX-License-Identifier: Apache-2.0 */
#include "format/compactions_codec.h"

#include "base/alloc.h"
#include "format/wire.h"
#include "format/wire_sst.h"
#include "lib/check.h"
#include "lib/golden.h"
#include "lib/heap_fault.h"
#include "lib/meta_model.h"
#include "lib/mutate.h"
#include "lib/random_env.h"

#include <errno.h>

static void round_trip(const struct compactions *c)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct compactions back, copy;

    assert_int_equal(compactions_encode(c, &b), 0);
    assert_int_equal(compactions_decode(slice_of_buf(&b), &back), 0);
    assert_true(compactions_equal(c, &back));
    assert_int_equal(compactions_copy(&copy, &back), 0);
    compactions_fini(&back);
    assert_true(compactions_equal(c, &copy));
    compactions_fini(&copy);
    shale_buf_fini(&b);
}

static void random_jobs_survive(void **state)
{
    uint64_t seed = random_env(1).first;
    struct compactions c;
    struct rng r;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&r, seed);
    for (int i = 0; i < 200; i++) {
        compactions_random(&r, 8, &c);
        round_trip(&c);
        compactions_fini(&c);
    }
}

static int decode(struct shale_slice in)
{
    struct compactions c;
    int rc = compactions_decode(in, &c);

    if (rc == 0)
        compactions_fini(&c);
    return rc;
}

static void no_truncation_or_flipped_bit_reads_outside(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct compactions c;
    struct rng r;

    (void)state;
    rng_seed(&r, 3);
    for (int i = 0; i < 6; i++) {
        compactions_random(&r, 4, &c);
        buf_clear(&b);
        assert_int_equal(compactions_encode(&c, &b), 0);
        assert_true(mutate_all(slice_of_buf(&b), decode) > b.len);
        compactions_fini(&c);
    }
    shale_buf_fini(&b);
}

static int copy_encode_decode(const struct compactions *c)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct compactions copy;
    int rc = compactions_copy(&copy, c);

    if (rc < 0)
        return rc;
    rc = compactions_encode(&copy, &b);
    assert_true(rc == 0 || b.len == 0);
    if (rc == 0)
        rc = decode(slice_of_buf(&b));
    compactions_fini(&copy);
    shale_buf_fini(&b);
    return rc;
}

static void running_out_of_memory_is_reported(void **state)
{
    struct compactions c;
    struct rng r;
    unsigned n = 1;
    int rc;

    (void)state;
    rng_seed(&r, 4);
    compactions_random(&r, 4, &c);
    while (c.n < 2) {
        compactions_fini(&c);
        compactions_random(&r, 4, &c);
    }
    for (;; n++) {
        heap_fault_after(n);
        rc = copy_encode_decode(&c);
        if (!heap_fault_off())
            break;
        assert_int_equal(rc, -ENOMEM);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 10);
    compactions_fini(&c);
}

/* One job, as other programs or later versions may write it. */
struct job {
    uint16_t version;
    uint8_t type, status;
    bool no_spec, legacy, segment, destination, output, output_range, twice;
};

static fb_ref put_output(struct fb_builder *b, bool ranged)
{
    struct sst_info info = { .has_first = true };
    struct sst_view view = { .has_range = ranged };
    fb_ref ref;

    assert_int_equal(buf_set(&info.first, slice_str("k")), 0);
    assert_int_equal(sst_handle_new((struct shale_ulid){ 8, 8 }, 2, &info, &view.sst), 0);
    ref = wire_put_sst(b, view.sst, &view);
    sst_view_fini(&view);
    sst_info_fini(&info);
    return fb_put_refs(b, &ref, 1);
}

static fb_ref put_spec(struct fb_builder *b, const struct job *j)
{
    const struct shale_ulid new_id = { 6, 6 }, old_id = { 5, 5 };
    const uint32_t run_ids[] = { 9, 4 };
    fb_ref ids = wire_put_ulids(b, &new_id, 1), legacy = wire_put_ulids(b, &old_id, 1);
    fb_ref runs = fb_put_u32s(b, run_ids, 2), segment = fb_put_bytes(b, slice_str("seg"));

    fb_begin(b);
    fb_add_ref(b, 3, j->segment ? segment : 0);
    fb_add_ref(b, 2, j->legacy ? 0 : ids);
    fb_add_ref(b, 1, runs);
    fb_add_ref(b, 0, legacy);
    fb_add_u32(b, 4, 77, j->destination ? 0 : 77);
    return fb_end(b);
}

static int decode_job(const struct job *j, struct compactions *out)
{
    struct shale_buf bytes = SHALE_BUF_INIT;
    fb_ref id, spec, outputs, jobs[2], list;
    struct fb_builder b;
    int rc;

    fb_builder_init(&b);
    id = wire_put_ulid(&b, (struct shale_ulid){ 1, 1 });
    spec = put_spec(&b, j);
    outputs = j->output ? put_output(&b, j->output_range) : 0;
    fb_begin(&b);
    fb_add_ref(&b, 4, outputs);
    fb_add_ref(&b, 2, j->no_spec ? 0 : spec);
    fb_add_ref(&b, 0, id);
    fb_add_u8(&b, 3, j->status, 0);
    fb_add_u8(&b, 1, j->type, 0);
    jobs[0] = jobs[1] = fb_end(&b);
    list = fb_put_refs(&b, jobs, j->twice ? 2 : 1);
    fb_begin(&b);
    fb_add_ref(&b, 1, list);
    assert_int_equal(buf_put_u16be(&bytes, j->version), 0);
    assert_int_equal(fb_finish(&b, fb_end(&b), &bytes), 0);
    rc = compactions_decode(slice_of_buf(&bytes), out);
    fb_builder_fini(&b);
    shale_buf_fini(&bytes);
    return rc;
}

static void forms_of_other_writers(void **state)
{
    static const struct {
        const char *name;
        struct job job;
        int want;
        uint64_t l0;
        uint32_t destination;
        enum compaction_status status;
        size_t n_outputs;
    } cases[] = {
        { "version 1",
          { .version = 1, .type = 1, .status = 1, .output = true }, 0, 6, 4, COMPACTION_RUNNING, 1 },
        { "legacy ids alone", { .version = 1, .type = 1, .legacy = true }, 0, 5, 4, COMPACTION_SUBMITTED, 0 },
        { "unknown status", { .version = 1, .type = 1, .status = 9 }, 0, 6, 4, COMPACTION_SUBMITTED, 0 },
        { "version 1 has no destination",
          { .version = 1, .type = 1, .destination = true }, 0, 6, 4, COMPACTION_SUBMITTED, 0 },
        { "unknown specification", { .version = 1, .type = 2 }, .want = SHALE_ECORRUPT },
        { "tag without value", { .version = 1, .type = 1, .no_spec = true }, .want = SHALE_ECORRUPT },
        { "value without tag", { .version = 1, .type = 0 }, .want = SHALE_ECORRUPT },
        { "output with a range",
          { .version = 1, .type = 1, .output = true, .output_range = true }, .want = SHALE_ECORRUPT },
        { "one id twice", { .version = 1, .type = 1, .twice = true }, .want = SHALE_ECORRUPT },
        { "version 2", { .version = 2, .type = 1, .status = 2, .output = true, .destination = true },
          0, 6, 77, COMPACTION_COMPLETED, 1 },
        { "version 2 with the work under way",
          { .version = 2, .type = 1, .status = 5, .output = true }, 0, 6, 4, COMPACTION_SUBMITTED, 0 },
        { "version 2 with a segment", { .version = 2, .type = 1, .segment = true }, .want = SHALE_EVERSION },
        { "version 2 draining a segment", { .version = 2, .type = 2 }, .want = SHALE_EVERSION },
        { "version 3", { .version = 3, .type = 1 }, .want = SHALE_EVERSION },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct compactions c;

        print_message("%s\n", cases[i].name);
        assert_int_equal(decode_job(&cases[i].job, &c), cases[i].want);
        if (cases[i].want < 0)
            continue;
        assert_int_equal(c.n, 1);
        assert_int_equal(c.list[0].n_l0, 1);
        assert_int_equal(c.list[0].l0[0].hi, cases[i].l0);
        assert_int_equal(c.list[0].n_runs, 2);
        assert_int_equal(c.list[0].destination, cases[i].destination);
        assert_int_equal(c.list[0].status, cases[i].status);
        assert_int_equal(c.list[0].n_outputs, cases[i].n_outputs);
        compactions_fini(&c);
    }
}

static void jobs_are_sorted_by_id(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct compaction jobs[] = { { .id = { 9, 0 } }, { .id = { 3, 1 } }, { .id = { 3, 0 } } };
    struct compactions c = { .list = jobs, .n = 3 }, back;

    (void)state;
    assert_int_equal(compactions_encode(&c, &b), 0);
    assert_int_equal(compactions_decode(slice_of_buf(&b), &back), 0);
    assert_int_equal(back.list[0].id.lo, 0);
    assert_int_equal(back.list[1].id.lo, 1);
    assert_int_equal(back.list[2].id.hi, 9);
    compactions_fini(&back);
    shale_buf_fini(&b);
}

static void golden_one(void *ctx, const char *path, struct shale_slice in)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct compactions c;
    size_t *with_outputs = ctx;

    if (compactions_decode(in, &c) != 0)
        fail_msg("%s: %s", path, shale_errmsg());
    round_trip(&c);
    for (size_t i = 0; i < c.n; i++)
        *with_outputs += c.list[i].n_outputs > 0;
    if (get_u16be(in.data) == 1) {
        assert_int_equal(compactions_encode(&c, &b), 0);
        if (!slice_eq(in, slice_of_buf(&b)) && strncmp(path, "v1-", 3) != 0)
            fail_msg("%s: other bytes than SlateDB's", path);
    }
    shale_buf_fini(&b);
    compactions_fini(&c);
}

static void golden_objects_are_rewritten_byte_for_byte(void **state)
{
    size_t with_outputs = 0;

    (void)state;
    assert_true(golden_each("", ".compactions", golden_one, &with_outputs) > 50);
    assert_true(with_outputs > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_jobs_survive),
        cmocka_unit_test(no_truncation_or_flipped_bit_reads_outside),
        cmocka_unit_test(running_out_of_memory_is_reported),
        cmocka_unit_test(forms_of_other_writers),
        cmocka_unit_test(jobs_are_sorted_by_id),
        cmocka_unit_test(golden_objects_are_rewritten_byte_for_byte),
    };

    return cmocka_run_group_tests_name("compactions_codec", tests, NULL, NULL);
}
