/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/rng.h"
#include "fs/core/extent.h"
#include "fs/core/fs_merge.h"
#include "fs/core/inode_codec.h"
#include "fs/core/key_codec.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

static int merge(const struct fs_key *k, const struct shale_slice *existing, const struct shale_slice *operands,
                 size_t n, struct shale_buf *out)
{
    return fs_merge_operator.merge(fs_merge_operator.ctx, fs_key_slice(k), existing, operands, n, out);
}

static struct shale_slice number(int64_t v, uint8_t bytes[FS_COUNTER_LEN])
{
    fs_counter_encode(v, bytes);
    return slice_of(bytes, FS_COUNTER_LEN);
}

static void counters_are_summed(void **state)
{
    uint8_t b[4][FS_COUNTER_LEN];
    struct shale_slice ops[] = { number(5, b[0]), number(-7, b[1]), number(1, b[2]) }, base = number(-100, b[3]);
    struct shale_buf out = SHALE_BUF_INIT;
    struct fs_key k;
    int64_t v;

    (void)state;
    assert_int_equal(fs_key_counter(&k, "bytes"), 0);
    assert_int_equal(merge(&k, NULL, ops, 3, &out), 0);
    assert_int_equal(out.len, 8);
    assert_memory_equal(out.data, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    assert_int_equal(merge(&k, &base, ops, 3, &out), 0);
    assert_int_equal(fs_counter_decode(slice_of_buf(&out), &v), 0);
    assert_true(v == -101);
    shale_buf_fini(&out);
}

static void a_counter_that_overflows_or_is_none_is_refused(void **state)
{
    uint8_t b[2][FS_COUNTER_LEN];
    struct shale_slice ops[] = { number(INT64_MAX, b[0]), number(1, b[1]) }, bad = slice_of("1234567", 7);
    struct shale_buf out = SHALE_BUF_INIT;
    struct fs_key k;

    (void)state;
    assert_int_equal(fs_key_counter(&k, "dead bytes"), 0);
    assert_int_equal(merge(&k, NULL, ops, 2, &out), SHALE_EMERGE);
    assert_string_equal(shale_errmsg(), "cannot merge counter dead bytes: the sum leaves 64 bits");
    assert_int_equal(merge(&k, &bad, ops, 1, &out), SHALE_ECORRUPT);
    assert_int_equal(merge(&k, NULL, &bad, 1, &out), SHALE_ECORRUPT);
    assert_string_equal(shale_errmsg(), "cannot merge counter dead bytes: a counter has 7 bytes");
    shale_buf_fini(&out);
}

static struct shale_slice encoded_op(const struct inode_op *op, struct shale_buf *b)
{
    assert_int_equal(inode_op_encode(op, b), 0);
    return slice_of_buf(b);
}

static struct shale_slice encoded_dir(struct shale_buf *b)
{
    struct inode_rec rec;

    inode_rec_init(&rec);
    rec.mode = S_IFDIR | 0755;
    rec.nlink = 2;
    rec.parent = 1;
    assert_int_equal(inode_rec_encode(&rec, b), 0);
    return slice_of_buf(b);
}

static void inode_operands_change_the_record(void **state)
{
    struct inode_op add = { .entries = 1, .nlink = 1, .set = INODE_OP_MTIME, .mtime_ns = 10 };
    struct inode_op del = { .entries = -1, .set = INODE_OP_MTIME, .mtime_ns = 5 };
    struct shale_buf b[3] = { SHALE_BUF_INIT, SHALE_BUF_INIT, SHALE_BUF_INIT }, out = SHALE_BUF_INIT;
    struct shale_slice base = encoded_dir(&b[0]), ops[3], folded;
    struct inode_rec rec;
    struct inode_op op;
    struct fs_key k;

    (void)state;
    inode_rec_init(&rec);
    fs_key_inode(&k, 12);
    ops[0] = encoded_op(&del, &b[1]); /* below 0 only until the next ones are added */
    ops[1] = ops[2] = encoded_op(&add, &b[2]);
    assert_int_equal(merge(&k, &base, ops, 3, &out), 0);
    assert_int_equal(inode_rec_decode(slice_of_buf(&out), &rec), 0);
    assert_int_equal(rec.n_entries, 1);
    assert_int_equal(rec.nlink, 4);
    assert_true(rec.mtime_ns == 10);

    assert_int_equal(merge(&k, NULL, ops, 2, &out), 0);
    assert_int_equal(inode_op_decode(slice_of_buf(&out), &op), 0);
    assert_true(op.entries == 0 && op.nlink == 1 && op.mtime_ns == 10);

    /* What a deletion left of operands is a value in the form of an operand. */
    buf_clear(&b[0]);
    assert_int_equal(buf_set(&b[0], slice_of_buf(&out)), 0);
    folded = slice_of_buf(&b[0]);
    assert_int_equal(merge(&k, &folded, ops + 1, 1, &out), 0);
    assert_false(inode_is_record(slice_of_buf(&out)));
    assert_int_equal(inode_op_decode(slice_of_buf(&out), &op), 0);
    assert_true(op.entries == 1 && op.nlink == 2);
    for (size_t i = 0; i < ARRAY_SIZE(b); i++)
        shale_buf_fini(&b[i]);
    shale_buf_fini(&out);
    inode_rec_fini(&rec);
}

static void an_inode_that_would_go_below_zero_is_named(void **state)
{
    struct inode_op unlink = { .nlink = -3 };
    struct shale_buf b[2] = { SHALE_BUF_INIT, SHALE_BUF_INIT }, out = SHALE_BUF_INIT;
    struct shale_slice base = encoded_dir(&b[0]), op = encoded_op(&unlink, &b[1]), bad = slice_of("x", 1);
    struct fs_key k;

    (void)state;
    fs_key_inode(&k, 12);
    assert_int_equal(merge(&k, &base, &op, 1, &out), SHALE_EMERGE);
    assert_string_equal(shale_errmsg(),
                        "cannot merge inode 12: a change by -3 takes the link count of an inode, 2, out of range");
    assert_int_equal(merge(&k, NULL, &base, 1, &out), SHALE_ECORRUPT); /* a record is no operand */
    assert_int_equal(merge(&k, &bad, &op, 1, &out), SHALE_ECORRUPT);
    shale_buf_fini(&b[0]);
    shale_buf_fini(&b[1]);
    shale_buf_fini(&out);
}

static void chunk_operands_are_laid_over_the_value(void **state)
{
    struct shale_slice base = slice_of("\1\0\4\0" "abcd", 8);
    struct shale_slice ops[] = { slice_of("\1\1\1\0X", 5), slice_of("\1\2\4\1", 4) };
    struct shale_buf out = SHALE_BUF_INIT;
    struct fs_key k;

    (void)state;
    fs_key_chunk(&k, 12, 0, 3);
    assert_int_equal(merge(&k, &base, ops, 2, &out), 0);
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.data, "\1\0\2\0" "aX", 6);
    assert_int_equal(merge(&k, NULL, ops, 2, &out), 0);
    assert_int_equal(out.len, 8);
    assert_memory_equal(out.data, "\1\1\1\0X\0\4\1", 8);
    base.len = 7;
    assert_int_equal(merge(&k, &base, ops, 2, &out), SHALE_ECORRUPT);
    assert_non_null(strstr(shale_errmsg(), "cannot merge chunk 3 (generation 0) of inode 12: "));
    shale_buf_fini(&out);
}

static void other_rows_are_not_merged(void **state)
{
    struct shale_slice op = slice_of("12345678", 8);
    struct shale_buf out = SHALE_BUF_INIT;
    struct fs_key k;

    (void)state;
    assert_int_equal(fs_key_dentry(&k, 1, slice_str("secret")), 0);
    assert_int_equal(merge(&k, NULL, &op, 1, &out), SHALE_EMERGE);
    assert_string_equal(shale_errmsg(), "cannot merge directory entry of inode 1: rows of this kind are not merged");
    assert_int_equal(fs_key_xattr(&k, 1, slice_str("user.a")), 0);
    assert_int_equal(merge(&k, NULL, &op, 1, &out), SHALE_EMERGE);
    fs_key_orphan(&k, (struct shale_ulid){ 1, 2 }, 3);
    assert_int_equal(merge(&k, NULL, &op, 1, &out), SHALE_EMERGE);
    k.bytes[0] = '?';
    assert_int_equal(merge(&k, NULL, &op, 1, &out), SHALE_ECORRUPT);
    k.len = 0;
    assert_int_equal(merge(&k, NULL, &op, 1, &out), SHALE_ECORRUPT);
    shale_buf_fini(&out);
}

/* As the engine groups them: batches without a base, then their results on the base. */
static void batches_of_operands_give_what_all_at_once_do(void **state)
{
    uint64_t seed = random_env(1).first;
    struct shale_slice base, ops[250], parts[3];
    struct shale_buf enc[250], part[3] = { SHALE_BUF_INIT, SHALE_BUF_INIT, SHALE_BUF_INIT };
    struct shale_buf b = SHALE_BUF_INIT, all = SHALE_BUF_INIT, out = SHALE_BUF_INIT;
    struct fs_key k;
    struct rng r;

    (void)state;
    print_message("seed %" PRIu64 "\n", seed);
    rng_seed(&r, seed);
    fs_key_inode(&k, 7);
    base = encoded_dir(&b);
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
        struct inode_op op = { .entries = 1 + (int64_t)rng_below(&r, 9), .nlink = (int64_t)rng_below(&r, 3),
                               .set = (unsigned)rng_below(&r, 8), .size_max = rng_below(&r, 1000),
                               .flags = 1u << rng_below(&r, 32) };

        op.mtime_ns = op.set & INODE_OP_MTIME ? (int64_t)rng_next(&r) : 0;
        op.ctime_ns = op.set & INODE_OP_CTIME ? (int64_t)rng_next(&r) : 0;
        op.atime_ns = op.set & INODE_OP_ATIME ? (int64_t)rng_next(&r) : 0;
        enc[i] = (struct shale_buf)SHALE_BUF_INIT;
        ops[i] = encoded_op(&op, &enc[i]);
    }
    assert_int_equal(merge(&k, &base, ops, 250, &all), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(merge(&k, NULL, ops + i * 100, i < 2 ? 100 : 50, &part[i]), 0);
        parts[i] = slice_of_buf(&part[i]);
    }
    assert_int_equal(merge(&k, &base, parts, 3, &out), 0);
    assert_true(slice_eq(slice_of_buf(&all), slice_of_buf(&out)));
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
        shale_buf_fini(&enc[i]);
    for (size_t i = 0; i < 3; i++)
        shale_buf_fini(&part[i]);
    shale_buf_fini(&b);
    shale_buf_fini(&all);
    shale_buf_fini(&out);
}

static void running_out_of_memory_is_reported(void **state)
{
    struct shale_slice value = slice_of("\1\0\4\0" "abcd", 8), op = slice_of("\1\1\1\0X", 5);
    uint8_t bytes[FS_COUNTER_LEN];
    struct inode_op change = { .nlink = 1 };
    struct shale_buf b[2] = { SHALE_BUF_INIT, SHALE_BUF_INIT };
    struct shale_slice dir = encoded_dir(&b[0]), inode_op = encoded_op(&change, &b[1]), one = number(1, bytes);
    struct {
        struct fs_key k;
        struct shale_slice *existing, *op;
    } cases[] = { { .existing = &value, .op = &op }, { .existing = &dir, .op = &inode_op }, { .op = &inode_op },
                  { .existing = &one, .op = &one } };

    (void)state;
    fs_key_chunk(&cases[0].k, 1, 2, 3);
    fs_key_inode(&cases[1].k, 1);
    fs_key_inode(&cases[2].k, 1);
    assert_int_equal(fs_key_counter(&cases[3].k, "c"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int rc = -1;

        for (unsigned n = 1; rc < 0; n++) {
            struct shale_buf out = SHALE_BUF_INIT;

            heap_fault_after(n);
            rc = merge(&cases[i].k, cases[i].existing, cases[i].op, 1, &out);
            assert_int_equal(heap_fault_off() ? -ENOMEM : 0, rc);
            assert_true(n > 1 || rc < 0);
            shale_buf_fini(&out);
        }
    }
    shale_buf_fini(&b[0]);
    shale_buf_fini(&b[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_are_summed),
        cmocka_unit_test(a_counter_that_overflows_or_is_none_is_refused),
        cmocka_unit_test(inode_operands_change_the_record),
        cmocka_unit_test(an_inode_that_would_go_below_zero_is_named),
        cmocka_unit_test(chunk_operands_are_laid_over_the_value),
        cmocka_unit_test(other_rows_are_not_merged),
        cmocka_unit_test(batches_of_operands_give_what_all_at_once_do),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
