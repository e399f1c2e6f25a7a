/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/rng.h"
#include "fs/core/inode_codec.h"
#include "lib/heap_fault.h"
#include "lib/random_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define T0 INT64_C(1795442405123456789)

static struct inode_rec new_file(void)
{
    struct inode_rec rec;

    inode_rec_init(&rec);
    rec.mode = S_IFREG | 0644;
    rec.uid = rec.gid = 1000;
    rec.nlink = 1;
    rec.atime_ns = rec.mtime_ns = rec.ctime_ns = rec.btime_ns = T0;
    return rec;
}

static void assert_same(const struct inode_rec *a, const struct inode_rec *b)
{
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_int_equal(a->nlink, b->nlink);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->project, b->project);
    assert_int_equal(a->rdev, b->rdev);
    assert_true(a->size == b->size && a->blocks == b->blocks);
    assert_true(a->atime_ns == b->atime_ns && a->mtime_ns == b->mtime_ns);
    assert_true(a->ctime_ns == b->ctime_ns && a->btime_ns == b->btime_ns);
    assert_true(a->parent == b->parent && a->n_entries == b->n_entries);
    assert_int_equal(a->next_gen, b->next_gen);
    assert_int_equal(a->n_gens, b->n_gens);
    for (uint32_t i = 0; i < a->n_gens; i++) {
        assert_true(a->gens[i].first_chunk == b->gens[i].first_chunk);
        assert_int_equal(a->gens[i].gen, b->gens[i].gen);
    }
    assert_int_equal(a->target != NULL, b->target != NULL);
    if (a->target)
        assert_string_equal(a->target, b->target);
}

static uint64_t some_u64(struct rng *r)
{
    return rng_next(r) >> rng_below(r, 64);
}

static int64_t some_time(struct rng *r)
{
    static const int64_t odd[] = { 0, -1, INT64_MIN, INT64_MAX, T0, T0 + 1 };

    return rng_below(r, 2) ? odd[rng_below(r, ARRAY_SIZE(odd))] : (int64_t)rng_next(r);
}

static void random_gens(struct rng *r, struct inode_rec *rec)
{
    uint64_t n = rng_below(r, 4) ? rng_below(r, 4) : rng_below(r, 100);

    for (uint64_t i = 0; i < n; i++)
        assert_true(inode_truncate_gens(rec, some_u64(r)) >= 0);
}

static struct inode_rec random_rec(struct rng *r)
{
    static const uint32_t types[] = { S_IFREG, S_IFREG, S_IFDIR, S_IFLNK, S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK };
    struct inode_rec rec;

    inode_rec_init(&rec);
    rec.mode = types[rng_below(r, ARRAY_SIZE(types))] | (uint32_t)rng_below(r, 010000);
    rec.uid = (uint32_t)some_u64(r);
    rec.gid = (uint32_t)some_u64(r);
    rec.nlink = (uint32_t)some_u64(r);
    rec.flags = rng_below(r, 2) ? (uint32_t)some_u64(r) : 0;
    rec.project = rng_below(r, 2) ? (uint32_t)some_u64(r) : 0;
    rec.rdev = rng_below(r, 2) ? (uint32_t)some_u64(r) : 0;
    rec.size = rng_below(r, 2) ? some_u64(r) >> 1 : 0;
    rec.blocks = rng_below(r, 2) ? some_u64(r) : 0;
    rec.mtime_ns = some_time(r);
    rec.atime_ns = some_time(r);
    rec.ctime_ns = some_time(r);
    rec.btime_ns = some_time(r);
    if (S_ISREG(rec.mode))
        random_gens(r, &rec);
    if (S_ISDIR(rec.mode)) {
        rec.parent = some_u64(r);
        rec.n_entries = some_u64(r);
    }
    if (S_ISLNK(rec.mode)) {
        size_t len = 1 + rng_below(r, FS_SYMLINK_MAX);

        rec.target = mem_zalloc(len + 1);
        assert_non_null(rec.target);
        for (size_t i = 0; i < len; i++)
            rec.target[i] = (char)(1 + rng_below(r, 255));
    }
    return rec;
}

static void every_record_survives_encoding(void **state)
{
    uint64_t seed = random_env(1).first;
    struct rng r;

    (void)state;
    print_message("seed %" PRIu64 "\n", seed);
    rng_seed(&r, seed);
    for (int i = 0; i < 2000; i++) {
        struct inode_rec rec = random_rec(&r), back, copy;
        struct shale_buf a = SHALE_BUF_INIT, b = SHALE_BUF_INIT;

        inode_rec_init(&back);
        inode_rec_init(&copy);
        assert_int_equal(inode_rec_encode(&rec, &a), 0);
        assert_true(inode_is_record(slice_of_buf(&a)));
        assert_int_equal(inode_rec_decode(slice_of_buf(&a), &back), 0);
        assert_same(&rec, &back);
        assert_int_equal(inode_rec_encode(&back, &b), 0);
        assert_true(slice_eq(slice_of_buf(&a), slice_of_buf(&b)));
        assert_int_equal(inode_rec_copy(&copy, &back), 0);
        assert_same(&rec, &copy);
        inode_rec_fini(&rec);
        inode_rec_fini(&back);
        inode_rec_fini(&copy);
        shale_buf_fini(&a);
        shale_buf_fini(&b);
    }
}

/* Every length but the right one is an error, and no changed byte is read past the end. */
static void a_cut_or_damaged_record_is_refused(void **state)
{
    uint64_t seed = random_env(1).first;
    struct rng r;

    (void)state;
    print_message("seed %" PRIu64 "\n", seed);
    rng_seed(&r, seed);
    for (int i = 0; i < 50; i++) {
        struct inode_rec rec = random_rec(&r), back;
        struct shale_buf a = SHALE_BUF_INIT;

        inode_rec_init(&back);
        assert_int_equal(inode_rec_encode(&rec, &a), 0);
        for (size_t n = 0; n < a.len; n++) {
            uint8_t *cut = mem_dup(a.data, n); /* a block of its own, so that a sanitizer sees a read behind it */

            assert_int_equal(inode_rec_decode(slice_of(cut, n), &back), SHALE_ECORRUPT);
            mem_free(cut);
        }
        assert_int_equal(buf_put_u8(&a, 0), 0);
        assert_int_equal(inode_rec_decode(slice_of_buf(&a), &back), SHALE_ECORRUPT);
        a.len--;
        for (size_t n = 0; n < a.len && n < 64; n++) {
            uint8_t was = a.data[n];

            a.data[n] = (uint8_t)rng_next(&r);
            assert_true(inode_rec_decode(slice_of_buf(&a), &back) <= 0);
            a.data[n] = was;
        }
        inode_rec_fini(&rec);
        inode_rec_fini(&back);
        shale_buf_fini(&a);
    }
}

static void a_new_file_is_small(void **state)
{
    struct inode_rec rec = new_file();
    struct shale_buf a = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(inode_rec_encode(&rec, &a), 0);
    print_message("new file: %zu bytes\n", a.len);
    assert_in_range(a.len, 1, 24);
    rec.size = 1 << 20;
    rec.blocks = 2048;
    rec.mtime_ns += 1000000000;
    buf_clear(&a);
    assert_int_equal(inode_rec_encode(&rec, &a), 0);
    print_message("written file: %zu bytes\n", a.len);
    assert_in_range(a.len, 1, 60);
    shale_buf_fini(&a);
}

static void records_that_cannot_be_are_neither_written_nor_read(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
    } cases[] = {
        { "empty", "", 0 },
        { "unknown tag", "\3\0\0\0\0\0\0\0\0\0\0\0\0\0", 14 },
        { "operand", "\2\0", 2 },
        { "no file type", "\1\0\0\0\0\0\0\0\0\0\0\0\0\0", 14 },
        { "unknown mask bit", "\1\x80\4\x80\x80\2\0\0\1\0\0\0\0\0\0\0\0\0", 18 },
        { "size named but zero", "\1\x08\x80\x80\2\0\0\1\0\0\0\0\0\0\0\0\0", 17 },
        { "longer form of an integer", "\1\x80\0\x80\x80\2\0\0\1\0\0\0\0\0\0\0\0", 17 },
        { "generations of a device", "\1\x20\x80\x40\0\0\1\0\0\0\0\0\0\0\0\2\0", 17 },
        { "a generation not below the next", "\1\x20\x80\x80\2\0\0\1\0\0\0\0\0\0\0\0\2\1\0\2", 20 },
        { "generations in disorder", "\1\x20\x80\x80\2\0\0\1\0\0\0\0\0\0\0\0\3\2\5\1\0\2", 22 },
        { "symlink without target", "\1\0\x80\xc0\2\0\0\1\0\0\0\0\0\0\0\0\0", 17 },
        { "NUL in a target", "\1\0\x80\xc0\2\0\0\1\0\0\0\0\0\0\0\0\1\0", 18 },
    };
    struct inode_rec rec, back;
    struct shale_buf a = SHALE_BUF_INIT;

    (void)state;
    inode_rec_init(&back);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].name);
        assert_int_equal(inode_rec_decode(slice_of(cases[i].bytes, cases[i].len), &back), SHALE_ECORRUPT);
    }
    rec = new_file();
    rec.mode = 0644;
    assert_int_equal(inode_rec_encode(&rec, &a), -EINVAL);
    rec = new_file();
    rec.size = (uint64_t)INT64_MAX + 1;
    assert_int_equal(inode_rec_encode(&rec, &a), -EINVAL);
    rec = new_file();
    rec.next_gen = 0;
    assert_int_equal(inode_rec_encode(&rec, &a), -EINVAL);
    rec = new_file();
    rec.n_entries = 1;
    assert_int_equal(inode_rec_encode(&rec, &a), -EINVAL);
    rec = new_file();
    rec.mode = S_IFLNK | 0777;
    assert_int_equal(inode_rec_encode(&rec, &a), -EINVAL);
    assert_int_equal(a.len, 0);
    shale_buf_fini(&a);
}

static struct inode_op random_op(struct rng *r)
{
    struct inode_op op;

    memset(&op, 0, sizeof(op));
    op.nlink = rng_below(r, 3) ? 0 : (int64_t)rng_below(r, 21) - 10;
    op.entries = rng_below(r, 2) ? 0 : (int64_t)rng_below(r, 2001) - 1000;
    op.blocks = rng_below(r, 2) ? 0 : (int64_t)rng_below(r, 1 << 20) - (1 << 19);
    op.size_max = rng_below(r, 2) ? 0 : some_u64(r) >> 1;
    op.set = (unsigned)rng_below(r, 8);
    op.mtime_ns = op.set & INODE_OP_MTIME ? some_time(r) : 0;
    op.ctime_ns = op.set & INODE_OP_CTIME ? some_time(r) : 0;
    op.atime_ns = op.set & INODE_OP_ATIME ? some_time(r) : 0;
    op.flags = rng_below(r, 2) ? 0 : 1u << rng_below(r, 32);
    return op;
}

static void assert_same_op(const struct inode_op *a, const struct inode_op *b)
{
    assert_int_equal(a->set, b->set);
    assert_true(a->nlink == b->nlink && a->entries == b->entries && a->blocks == b->blocks);
    assert_true(a->size_max == b->size_max && a->flags == b->flags);
    assert_true(a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns && a->atime_ns == b->atime_ns);
}

static void every_operand_survives_encoding(void **state)
{
    uint64_t seed = random_env(1).first;
    struct rng r;

    (void)state;
    print_message("seed %" PRIu64 "\n", seed);
    rng_seed(&r, seed);
    for (int i = 0; i < 5000; i++) {
        struct inode_op op = random_op(&r), back;
        struct shale_buf a = SHALE_BUF_INIT;

        if (i % 7 == 0)
            op.blocks = INT64_MIN;
        assert_int_equal(inode_op_encode(&op, &a), 0);
        assert_false(inode_is_record(slice_of_buf(&a)));
        assert_int_equal(inode_op_decode(slice_of_buf(&a), &back), 0);
        assert_same_op(&op, &back);
        for (size_t n = 0; n < a.len; n++) {
            uint8_t *cut = mem_dup(a.data, n);

            assert_int_equal(inode_op_decode(slice_of(cut, n), &back), SHALE_ECORRUPT);
            mem_free(cut);
        }
        shale_buf_fini(&a);
    }
}

static void operands_that_cannot_be_are_refused(void **state)
{
    struct inode_op op = { .size_max = UINT64_MAX };
    struct shale_buf a = SHALE_BUF_INIT;

    (void)state;
    assert_int_equal(inode_op_encode(&op, &a), -EINVAL);
    assert_int_equal(inode_op_decode(slice_of("\1\0", 2), &op), SHALE_ECORRUPT);
    assert_int_equal(inode_op_decode(slice_of("\2\1\0", 3), &op), SHALE_ECORRUPT);    /* a change by zero */
    assert_int_equal(inode_op_decode(slice_of("\2\x80\2\0", 4), &op), SHALE_ECORRUPT); /* unknown bit */
    assert_int_equal(inode_op_decode(slice_of("\2\0\0", 3), &op), SHALE_ECORRUPT);    /* more behind it */
    assert_true(op.size_max == UINT64_MAX);
    shale_buf_fini(&a);
}

/* ((a b) c) and (a (b c)) are the same operand, and each does to a record what a, b, c do one by one. */
static void folding_is_associative(void **state)
{
    uint64_t seed = random_env(1).first;
    struct rng r;

    (void)state;
    print_message("seed %" PRIu64 "\n", seed);
    rng_seed(&r, seed);
    for (int i = 0; i < 5000; i++) {
        struct inode_op a = random_op(&r), b = random_op(&r), c = random_op(&r), ab = a, bc = b, a_bc = a;
        struct inode_rec one = new_file(), all = new_file();

        assert_int_equal(inode_op_fold(&ab, &b), 0);
        assert_int_equal(inode_op_fold(&ab, &c), 0);
        assert_int_equal(inode_op_fold(&bc, &c), 0);
        assert_int_equal(inode_op_fold(&a_bc, &bc), 0);
        assert_same_op(&ab, &a_bc);
        one.mode = all.mode = S_IFDIR | 0755;
        one.nlink = all.nlink = 100;
        one.n_entries = all.n_entries = 10000;
        one.blocks = all.blocks = UINT64_C(1) << 40;
        assert_int_equal(inode_op_apply(&one, &a), 0);
        assert_int_equal(inode_op_apply(&one, &b), 0);
        assert_int_equal(inode_op_apply(&one, &c), 0);
        assert_int_equal(inode_op_apply(&all, &ab), 0);
        assert_same(&one, &all);
    }
}

static void a_write_after_a_time_in_the_future_shows_its_own_time(void **state)
{
    struct inode_op utimens = { .set = INODE_OP_MTIME | INODE_OP_CTIME, .mtime_ns = T0 + 1000, .ctime_ns = T0 };
    struct inode_op write = { .set = INODE_OP_MTIME, .mtime_ns = T0 + 5, .size_max = 10 };
    struct inode_rec rec = new_file();

    (void)state;
    assert_int_equal(inode_op_fold(&utimens, &write), 0);
    rec.size = 20;
    assert_int_equal(inode_op_apply(&rec, &utimens), 0);
    assert_true(rec.mtime_ns == T0 + 5);
    assert_true(rec.ctime_ns == T0);
    assert_int_equal(rec.size, 20); /* a size operand never shrinks */
}

static void numbers_do_not_leave_their_range(void **state)
{
    struct inode_op less = { .nlink = -2, .set = INODE_OP_MTIME, .mtime_ns = 1 }, blocks = { .blocks = -1 };
    struct inode_op entries = { .entries = 1 }, huge = { .nlink = INT64_MAX }, one = { .nlink = 1 };
    struct inode_rec rec = new_file();

    (void)state;
    assert_int_equal(inode_op_apply(&rec, &less), SHALE_EMERGE);
    assert_non_null(strstr(shale_errmsg(), "link count"));
    assert_int_equal(rec.nlink, 1);
    assert_true(rec.mtime_ns == T0);
    assert_int_equal(inode_op_apply(&rec, &huge), SHALE_EMERGE);
    assert_int_equal(inode_op_apply(&rec, &blocks), SHALE_EMERGE);
    assert_int_equal(inode_op_apply(&rec, &entries), SHALE_EMERGE);
    assert_int_equal(inode_op_fold(&one, &huge), SHALE_EMERGE);
    assert_int_equal(one.nlink, 1);
    rec.blocks = UINT64_MAX;
    blocks.blocks = 1;
    assert_int_equal(inode_op_apply(&rec, &blocks), SHALE_EMERGE);
    rec.nlink = UINT32_MAX;
    assert_int_equal(inode_op_apply(&rec, &one), SHALE_EMERGE);
}

static void truncation_gives_the_chunks_behind_it_a_new_generation(void **state)
{
    struct inode_rec rec = new_file();

    (void)state;
    assert_int_equal(inode_gen_for_chunk(&rec, 0), 0);
    assert_int_equal(inode_gen_for_chunk(&rec, UINT64_MAX), 0);
    assert_int_equal(inode_truncate_gens(&rec, 10), 0);
    assert_int_equal(inode_truncate_gens(&rec, 20), 0);
    assert_int_equal(rec.n_gens, 2);
    assert_int_equal(inode_gen_for_chunk(&rec, 9), 0);
    assert_int_equal(inode_gen_for_chunk(&rec, 10), 1);
    assert_int_equal(inode_gen_for_chunk(&rec, 19), 1);
    assert_int_equal(inode_gen_for_chunk(&rec, 20), 2);
    assert_int_equal(inode_truncate_gens(&rec, 10), 0);
    assert_int_equal(rec.n_gens, 1);
    assert_int_equal(inode_gen_for_chunk(&rec, 9), 0);
    assert_int_equal(inode_gen_for_chunk(&rec, 10), 3);
    assert_int_equal(inode_gen_for_chunk(&rec, 1000), 3);
    assert_int_equal(inode_truncate_gens(&rec, 0), 0);
    assert_int_equal(rec.n_gens, 1);
    assert_int_equal(inode_gen_for_chunk(&rec, 0), 4);
    assert_int_equal(rec.next_gen, 5);
    inode_rec_fini(&rec);
}

static void a_full_list_says_so_and_stays(void **state)
{
    struct inode_rec rec = new_file();

    (void)state;
    for (uint64_t i = 0; i < INODE_GENS_MAX; i++)
        assert_int_equal(inode_truncate_gens(&rec, i), 0);
    assert_int_equal(inode_truncate_gens(&rec, INODE_GENS_MAX), INODE_GENS_FULL);
    assert_int_equal(rec.n_gens, INODE_GENS_MAX);
    assert_int_equal(rec.next_gen, INODE_GENS_MAX + 1);
    assert_int_equal(inode_truncate_gens(&rec, INODE_GENS_MAX - 1), 0); /* takes the place of the last */
    assert_int_equal(rec.n_gens, INODE_GENS_MAX);
    rec.next_gen = UINT32_MAX;
    assert_int_equal(inode_truncate_gens(&rec, 0), INODE_GENS_FULL);
    inode_rec_fini(&rec);
}

/* Whatever the cuts, a chunk has the generation of the last cut at or before it. */
static void generations_follow_the_last_cut_before_a_chunk(void **state)
{
    uint64_t seed = random_env(1).first;
    uint32_t model[32] = { 0 };
    struct inode_rec rec = new_file();
    struct rng r;

    (void)state;
    print_message("seed %" PRIu64 "\n", seed);
    rng_seed(&r, seed);
    for (uint32_t gen = 1; gen < 3000; gen++) {
        uint64_t cut = rng_below(&r, ARRAY_SIZE(model));

        assert_int_equal(inode_truncate_gens(&rec, cut), 0);
        for (size_t i = cut; i < ARRAY_SIZE(model); i++)
            model[i] = gen;
        for (size_t i = 0; i < ARRAY_SIZE(model); i++)
            assert_int_equal(inode_gen_for_chunk(&rec, i), model[i]);
    }
    inode_rec_fini(&rec);
}

static void running_out_of_memory_changes_nothing(void **state)
{
    struct inode_rec file = new_file(), link = new_file(), back, copy;
    const struct inode_rec *recs[] = { &file, &link };
    unsigned n;

    (void)state;
    assert_int_equal(inode_truncate_gens(&file, 3), 0);
    link.mode = S_IFLNK | 0777;
    link.target = mem_strdup("to/there");
    for (size_t i = 0; i < ARRAY_SIZE(recs); i++) {
        struct shale_buf a = SHALE_BUF_INIT;
        int rc = -ENOMEM;

        inode_rec_init(&back);
        inode_rec_init(&copy);
        for (n = 1; rc < 0; n++) {
            buf_clear(&a);
            heap_fault_after(n);
            rc = inode_rec_encode(recs[i], &a);
            if (rc == 0)
                rc = inode_rec_decode(slice_of_buf(&a), &back);
            if (rc == 0)
                rc = inode_rec_copy(&copy, &back);
            if (heap_fault_off())
                assert_int_equal(rc, -ENOMEM);
            else
                assert_int_equal(rc, 0);
        }
        assert_true(n > 3);
        assert_same(&copy, recs[i]);
        inode_rec_fini(&back);
        inode_rec_fini(&copy);
        shale_buf_fini(&a);
    }
    heap_fault_after(1);
    assert_int_equal(inode_truncate_gens(&file, 5), -ENOMEM);
    assert_true(heap_fault_off());
    assert_int_equal(file.n_gens, 1);
    inode_rec_fini(&file);
    inode_rec_fini(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_survives_encoding),
        cmocka_unit_test(a_cut_or_damaged_record_is_refused),
        cmocka_unit_test(a_new_file_is_small),
        cmocka_unit_test(records_that_cannot_be_are_neither_written_nor_read),
        cmocka_unit_test(every_operand_survives_encoding),
        cmocka_unit_test(operands_that_cannot_be_are_refused),
        cmocka_unit_test(folding_is_associative),
        cmocka_unit_test(a_write_after_a_time_in_the_future_shows_its_own_time),
        cmocka_unit_test(numbers_do_not_leave_their_range),
        cmocka_unit_test(truncation_gives_the_chunks_behind_it_a_new_generation),
        cmocka_unit_test(a_full_list_says_so_and_stays),
        cmocka_unit_test(generations_follow_the_last_cut_before_a_chunk),
        cmocka_unit_test(running_out_of_memory_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
