/* SPDX-License-Identifier: Apache-2.0 */
#include "format/seq_tracker.h"

#include "base/alloc.h"
#include "lib/check.h"
#include "lib/heap_fault.h"
#include "lib/hex.h"
#include "lib/meta_model.h"
#include "lib/mutate.h"

#include <errno.h>

static void set_points(struct seq_tracker *t, const struct seq_point *p, size_t n)
{
    seq_tracker_init(t);
    assert_int_equal(vec_reserve(&t->points, &t->cap, n, sizeof(*p)), 0);
    memcpy(t->points, p, n * sizeof(*p));
    t->n = n;
}

static void assert_bytes(const struct shale_buf *b, const char *hex)
{
    struct shale_buf want = SHALE_BUF_INIT;

    hex_append(&want, hex);
    assert_int_equal(b->len, want.len);
    assert_memory_equal(b->data, want.data, want.len);
    shale_buf_fini(&want);
}

static void round_trip(const struct seq_tracker *t)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct seq_tracker back;

    assert_int_equal(seq_tracker_encode(t, &b), 0);
    assert_int_equal(seq_tracker_decode(slice_of_buf(&b), &back), 0);
    assert_true(tracker_equal(t, &back));
    assert_true(back.last_recorded_s == SHALE_NO_TS);
    seq_tracker_fini(&back);
    shale_buf_fini(&b);
}

static const struct seq_point example[] = {
    { 1, 1700000000 }, { 50, 1700000060 }, { 90, 1700000120 }, { 1000, 1700000181 },
};
static const char example_hex[] = "01 04000000 00000004 0000000000000001 98ddf8d980 00000004 000000006553f100 9e2020";

static void the_worked_example_encodes_byte_for_byte(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct seq_tracker t;

    (void)state;
    set_points(&t, example, ARRAY_SIZE(example));
    assert_int_equal(seq_tracker_encode(&t, &b), 0);
    assert_bytes(&b, example_hex);
    round_trip(&t);
    seq_tracker_fini(&t);
    shale_buf_fini(&b);
}

static void an_empty_tracker_takes_thirteen_bytes(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct seq_tracker t;

    (void)state;
    seq_tracker_init(&t);
    assert_int_equal(seq_tracker_encode(&t, &b), 0);
    assert_bytes(&b, "01 00000000 00000000 00000000");
    round_trip(&t);
    shale_buf_fini(&b);
}

/* Both ends of each of the five widths, up and down. */
static void differences_at_the_edges_of_each_width_survive(void **state)
{
    static const int64_t dods[] = {
        0, 1, -1, 63, -63, 64, -64, 255, -255, 256, -256, 2047, -2047, 2048, -2048, INT32_MAX,
    };
    struct seq_point p[4] = { { 7, -5 } };
    struct seq_tracker t;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(dods); i++) {
        uint64_t d1 = 5000;
        uint64_t d2 = d1 + (uint64_t)dods[i];

        p[1] = (struct seq_point){ p[0].seq + d1, p[0].time_s };
        p[2] = (struct seq_point){ p[1].seq + d2, p[1].time_s + (dods[i] > 0 ? dods[i] : 0) };
        p[3] = (struct seq_point){ p[2].seq + d2, p[2].time_s };
        set_points(&t, p, 4);
        round_trip(&t);
        seq_tracker_fini(&t);
    }
}

static void a_difference_beyond_32_bits_costs_the_older_points(void **state)
{
    static const struct seq_point p[] = { { 1, 0 }, { 2, 60 }, { 1ull << 40, 120 }, { (1ull << 40) + 9, 180 } };
    struct shale_buf b = SHALE_BUF_INIT;
    struct seq_tracker t, back;

    (void)state;
    set_points(&t, p, ARRAY_SIZE(p));
    assert_int_equal(seq_tracker_encode(&t, &b), 0);
    assert_int_equal(seq_tracker_decode(slice_of_buf(&b), &back), 0);
    assert_int_equal(back.n, 2);
    assert_true(back.points[0].seq == 1ull << 40 && back.points[1].time_s == 180);
    seq_tracker_fini(&back);
    seq_tracker_fini(&t);
    shale_buf_fini(&b);
}

static void bad_bytes_are_refused(void **state)
{
    static const struct {
        const char *name, *hex;
        int want;
    } cases[] = {
        { "nothing", "", SHALE_ECORRUPT },
        { "short head", "01 000000", SHALE_ECORRUPT },
        { "version 2", "02 00000000 00000000 00000000", SHALE_EVERSION },
        { "no streams", "01 00000000", SHALE_ECORRUPT },
        { "counts differ in the first stream", "01 00000000 00000001 0000000000000001 00000000", SHALE_ECORRUPT },
        { "counts differ in the second stream", "01 01000000 00000001 0000000000000001 00000000", SHALE_ECORRUPT },
        { "more points than bits", "01 ffffffff 00000000 00000000", SHALE_ECORRUPT },
        { "sequence numbers descend", "01 02000000 00000002 0000000000000005 bf80 00000002 0000000000000001 00",
          SHALE_ECORRUPT },
        { "times descend", "01 02000000 00000002 0000000000000001 00 00000002 0000000000000005 bf80", SHALE_ECORRUPT },
        { "cut in a value", "01 02000000 00000002 0000000000000005 80 00000002 0000000000000001", SHALE_ECORRUPT },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct shale_buf b = SHALE_BUF_INIT;
        struct seq_tracker t = { 0 };

        print_message("%s\n", cases[i].name);
        hex_append(&b, cases[i].hex);
        assert_int_equal(seq_tracker_decode(slice_of_buf(&b), &t), cases[i].want);
        assert_null(t.points);
        shale_buf_fini(&b);
    }
}

static void points_are_taken_a_minute_apart_and_never_descend(void **state)
{
    struct seq_tracker t;

    (void)state;
    seq_tracker_init(&t);
    assert_int_equal(seq_tracker_record(&t, 10, 1000999), 0);
    assert_int_equal(seq_tracker_record(&t, 11, 1059999), 0);
    assert_int_equal(t.n, 1);
    assert_int_equal(seq_tracker_record(&t, 12, 1060000), 0); /* whole seconds count, as with SlateDB */
    assert_int_equal(t.n, 2);
    assert_int_equal(seq_tracker_record(&t, 5, 2000000), 0);
    assert_int_equal(seq_tracker_record(&t, 99, 500000), 0);
    assert_int_equal(t.n, 2);
    /* After a load the first point is taken whatever its distance. */
    t.last_recorded_s = SHALE_NO_TS;
    assert_int_equal(seq_tracker_record(&t, 13, 1061000), 0);
    assert_int_equal(t.n, 3);
    assert_true(t.points[2].seq == 13 && t.points[2].time_s == 1061);
    seq_tracker_fini(&t);
}

static void times_before_the_epoch_round_down(void **state)
{
    struct seq_tracker t;

    (void)state;
    seq_tracker_init(&t);
    assert_int_equal(seq_tracker_record(&t, 1, -1), 0);
    assert_true(t.points[0].time_s == -1);
    seq_tracker_fini(&t);
}

static void a_full_tracker_drops_every_second_point(void **state)
{
    struct seq_tracker t;

    (void)state;
    seq_tracker_init(&t);
    for (uint64_t i = 0; i <= SEQ_TRACKER_MAX; i++)
        assert_int_equal(seq_tracker_record(&t, i, (int64_t)i * 60000), 0);
    assert_int_equal(t.n, SEQ_TRACKER_MAX / 2 + 1);
    for (size_t i = 0; i < t.n; i++)
        assert_true(t.points[i].seq == 2 * i);
    round_trip(&t);
    seq_tracker_fini(&t);
}

static void merging_takes_what_lies_above(void **state)
{
    static const struct seq_point more[] = {
        { 500, 1700000100 }, { 1200, 1700000241 }, { 1201, 1700000250 }, { 1300, 1700000310 },
    };
    struct seq_tracker t, from;

    (void)state;
    set_points(&t, example, ARRAY_SIZE(example));
    set_points(&from, more, ARRAY_SIZE(more));
    assert_int_equal(seq_tracker_merge(&t, &from), 0);
    assert_int_equal(t.n, 6);
    assert_true(t.points[4].seq == 1200 && t.points[5].seq == 1300);
    seq_tracker_fini(&t);
    seq_tracker_fini(&from);
}

static void lookups_round_up_and_down(void **state)
{
    struct seq_tracker t;
    uint64_t seq;
    int64_t time;

    (void)state;
    set_points(&t, example, ARRAY_SIZE(example));
    assert_true(seq_tracker_time_of(&t, 50, false, &time) && time == 1700000060);
    assert_true(seq_tracker_time_of(&t, 50, true, &time) && time == 1700000060);
    assert_true(seq_tracker_time_of(&t, 51, true, &time) && time == 1700000120);
    assert_true(seq_tracker_time_of(&t, 51, false, &time) && time == 1700000060);
    assert_false(seq_tracker_time_of(&t, 0, false, &time));
    assert_false(seq_tracker_time_of(&t, 1001, true, &time));
    assert_true(seq_tracker_time_of(&t, 1001, false, &time) && time == 1700000181);
    assert_true(seq_tracker_seq_at(&t, 1700000120, true, &seq) && seq == 90);
    assert_true(seq_tracker_seq_at(&t, 1700000121, true, &seq) && seq == 1000);
    assert_true(seq_tracker_seq_at(&t, 1700000121, false, &seq) && seq == 90);
    assert_false(seq_tracker_seq_at(&t, 1, false, &seq));
    assert_false(seq_tracker_seq_at(&t, 1700000182, true, &seq));
    seq_tracker_fini(&t);
    assert_false(seq_tracker_time_of(&t, 1, true, &time));
    assert_false(seq_tracker_seq_at(&t, 1, false, &seq));
}

static int decode(struct shale_slice in)
{
    struct seq_tracker t;
    int rc = seq_tracker_decode(in, &t);

    if (rc == 0)
        seq_tracker_fini(&t);
    return rc;
}

static void no_truncation_or_flipped_bit_reads_outside(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    hex_append(&b, example_hex);
    assert_true(mutate_all(slice_of_buf(&b), decode) >= b.len);
    shale_buf_fini(&b);
}

static int copy_record_encode_decode(const struct seq_tracker *from)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct seq_tracker t = { 0 }, back = { 0 };
    int rc = seq_tracker_copy(&t, from);

    if (rc == 0)
        rc = seq_tracker_record(&t, 2000, 1800000000000);
    if (rc == 0)
        rc = seq_tracker_merge(&t, from);
    if (rc == 0)
        rc = seq_tracker_encode(&t, &b);
    if (rc == 0)
        rc = seq_tracker_decode(slice_of_buf(&b), &back);
    if (rc == 0)
        assert_int_equal(back.n, from->n + 1);
    else
        assert_null(back.points);
    seq_tracker_fini(&back);
    seq_tracker_fini(&t);
    shale_buf_fini(&b);
    return rc;
}

static void running_out_of_memory_is_reported(void **state)
{
    struct seq_tracker t;
    unsigned n = 1;
    int rc;

    (void)state;
    set_points(&t, example, ARRAY_SIZE(example));
    for (;; n++) {
        heap_fault_after(n);
        rc = copy_record_encode_decode(&t);
        if (!heap_fault_off())
            break;
        assert_int_equal(rc, -ENOMEM);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 3);
    seq_tracker_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_example_encodes_byte_for_byte),
        cmocka_unit_test(an_empty_tracker_takes_thirteen_bytes),
        cmocka_unit_test(differences_at_the_edges_of_each_width_survive),
        cmocka_unit_test(a_difference_beyond_32_bits_costs_the_older_points),
        cmocka_unit_test(bad_bytes_are_refused),
        cmocka_unit_test(points_are_taken_a_minute_apart_and_never_descend),
        cmocka_unit_test(times_before_the_epoch_round_down),
        cmocka_unit_test(a_full_tracker_drops_every_second_point),
        cmocka_unit_test(merging_takes_what_lies_above),
        cmocka_unit_test(lookups_round_up_and_down),
        cmocka_unit_test(no_truncation_or_flipped_bit_reads_outside),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };

    return cmocka_run_group_tests_name("seq_tracker", tests, NULL, NULL);
}
