/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/buf.h"
#include "fs/core/extent.h"
#include "fs/core/fs_filter.h"
#include "fs/core/inode_codec.h"
#include "fs/core/key_codec.h"
#include "lib/heap_fault.h"

#include <errno.h>

#define S 100

/* One job, fed row by row. */
struct job {
    struct fs_filter filter;
    void *state;
    struct shale_buf value;
};

static void job_begin(struct job *j, bool last_run)
{
    const struct shale_filter_context context = { .is_last_run = last_run, .retention_min_seq = S };

    *j = (struct job){ .state = NULL };
    fs_filter_init(&j->filter);
    assert_int_equal(j->filter.filter.create(&j->filter, &context, &j->state), 0);
}

static void job_end(struct job *j, uint64_t rows, uint64_t bytes)
{
    assert_int_equal(j->filter.filter.end(j->state), 0);
    assert_int_equal(j->filter.rows, rows);
    assert_int_equal(j->filter.bytes, bytes);
    j->filter.filter.destroy(j->state);
    shale_buf_fini(&j->value);
}

static int feed(struct job *j, const struct fs_key *key, enum shale_kind kind, uint64_t seq, struct shale_slice value)
{
    struct shale_row row = { .key = fs_key_slice(key), .value = value, .seq = seq, .kind = kind,
                             .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS };

    return j->filter.filter.decide(j->state, &row, &j->value);
}

static void inode(struct job *j, uint64_t ino, enum shale_kind kind, uint64_t seq, struct shale_slice value)
{
    struct fs_key key;

    fs_key_inode(&key, ino);
    assert_int_equal(feed(j, &key, kind, seq, value), SHALE_FILTER_KEEP);
}

/* A file cut behind the chunks first[0], first[1], ... in this order. */
static void record(struct job *j, uint64_t ino, uint64_t seq, const uint64_t *first, size_t n)
{
    struct shale_buf value = SHALE_BUF_INIT;
    struct inode_rec rec;

    inode_rec_init(&rec);
    rec.mode = S_IFREG | 0644;
    rec.nlink = 1;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(inode_truncate_gens(&rec, first[i]), 0);
    assert_int_equal(inode_rec_encode(&rec, &value), 0);
    inode(j, ino, SHALE_PUT, seq, slice_of_buf(&value));
    inode_rec_fini(&rec);
    shale_buf_fini(&value);
}

static void operand(struct job *j, uint64_t ino, enum shale_kind kind, uint64_t seq)
{
    const struct inode_op op = { .size_max = 7 };
    struct shale_buf value = SHALE_BUF_INIT;

    assert_int_equal(inode_op_encode(&op, &value), 0);
    inode(j, ino, kind, seq, slice_of_buf(&value));
    shale_buf_fini(&value);
}

static void removed(struct job *j, uint64_t ino, uint64_t seq)
{
    inode(j, ino, SHALE_TOMBSTONE, seq, slice_of(NULL, 0));
}

static int chunk(struct job *j, uint64_t ino, uint32_t gen, uint64_t index, enum shale_kind kind, uint64_t seq)
{
    struct extent_list l = EXTENT_LIST_INIT;
    struct shale_buf value = SHALE_BUF_INIT;
    struct fs_key key;
    int rc;

    assert_int_equal(extent_list_add_inline(&l, 3, "12345", 5), 0);
    assert_int_equal(extent_list_encode(&l, EXTENT_OPERAND, &value), 0);
    fs_key_chunk(&key, ino, gen, index);
    rc = feed(j, &key, kind, seq, kind == SHALE_TOMBSTONE ? slice_of(NULL, 0) : slice_of_buf(&value));
    extent_list_fini(&l);
    shale_buf_fini(&value);
    return rc;
}

static int xattr(struct job *j, uint64_t ino, uint64_t seq)
{
    struct fs_key key;

    assert_int_equal(fs_key_xattr(&key, ino, slice_str("user.x")), 0);
    return feed(j, &key, SHALE_PUT, seq, slice_str("abc"));
}

static int dentry(struct job *j, uint64_t ino, enum shale_kind kind, uint64_t seq)
{
    struct fs_key key;

    assert_int_equal(fs_key_dentry(&key, ino, slice_str("name")), 0);
    return feed(j, &key, kind, seq, kind == SHALE_PUT ? slice_str("123456789") : slice_of(NULL, 0));
}

#define KEPT(expr) assert_int_equal((expr), SHALE_FILTER_KEEP)
#define GONE(expr) assert_int_equal((expr), SHALE_FILTER_DROP)

static void what_a_removed_inode_had_goes(void **state)
{
    struct job j;

    (void)state;
    job_begin(&j, false);
    removed(&j, 5, S);
    GONE(dentry(&j, 5, SHALE_PUT, 7));
    KEPT(dentry(&j, 5, SHALE_TOMBSTONE, 7)); /* it may hide something */
    GONE(chunk(&j, 5, 0, 0, SHALE_PUT, 8));
    GONE(chunk(&j, 5, 3, 9, SHALE_MERGE, S));
    KEPT(chunk(&j, 5, 3, 10, SHALE_MERGE, S + 1));
    KEPT(chunk(&j, 5, 3, 11, SHALE_TOMBSTONE, 8));
    GONE(xattr(&j, 5, 9));
    KEPT(xattr(&j, 6, 9)); /* of another, about which nothing is known */
    job_end(&j, 4, 9 + 5 + 5 + 3);
}

static void a_removal_that_a_reader_may_not_see_decides_nothing(void **state)
{
    struct job j;

    (void)state;
    job_begin(&j, true);
    removed(&j, 5, S + 1);
    record(&j, 5, S, NULL, 0);
    KEPT(chunk(&j, 5, 0, 0, SHALE_PUT, 8));
    removed(&j, 6, S + 1); /* and nothing older in this job */
    KEPT(chunk(&j, 6, 0, 0, SHALE_PUT, 8));
    job_end(&j, 0, 0);
}

static void the_newest_version_at_or_below_counts(void **state)
{
    struct job j;

    (void)state;
    job_begin(&j, false);
    record(&j, 5, S + 2, (const uint64_t[]){ 0 }, 1);
    record(&j, 5, S, NULL, 0);
    record(&j, 5, S - 1, (const uint64_t[]){ 0 }, 1);
    KEPT(chunk(&j, 5, 0, 0, SHALE_PUT, 8));
    job_end(&j, 0, 0);
}

static void chunks_go_by_their_generation(void **state)
{
    struct job j;

    (void)state;
    job_begin(&j, false);
    record(&j, 5, 90, (const uint64_t[]){ 4, 8 }, 2); /* 0-3: 0, 4-7: 1, from 8 on: 2 */
    KEPT(chunk(&j, 5, 0, 3, SHALE_PUT, 8));
    GONE(chunk(&j, 5, 0, 4, SHALE_PUT, 8));
    GONE(chunk(&j, 5, 0, 8, SHALE_MERGE, 8));
    KEPT(chunk(&j, 5, 0, 9, SHALE_MERGE, S + 1));
    KEPT(chunk(&j, 5, 1, 4, SHALE_MERGE, 60));
    GONE(chunk(&j, 5, 1, 8, SHALE_MERGE, 60));
    KEPT(chunk(&j, 5, 2, 8, SHALE_MERGE, 80));
    KEPT(chunk(&j, 5, 3, 8, SHALE_MERGE, 95)); /* newer than what the record knows */
    KEPT(xattr(&j, 5, 3));
    job_end(&j, 3, 15);
}

static void an_operand_alone_decides_nothing(void **state)
{
    struct job j;

    (void)state;
    job_begin(&j, true);
    operand(&j, 5, SHALE_MERGE, 50);
    KEPT(chunk(&j, 5, 0, 0, SHALE_PUT, 8));
    operand(&j, 6, SHALE_PUT, 50); /* folded onto a tombstone */
    GONE(chunk(&j, 6, 0, 0, SHALE_PUT, 8));
    job_end(&j, 1, 5);
}

static void without_inode_only_the_last_run_tells(void **state)
{
    struct job j;

    (void)state;
    job_begin(&j, false);
    KEPT(chunk(&j, 5, 0, 0, SHALE_PUT, 8));
    job_end(&j, 0, 0);
    job_begin(&j, true);
    GONE(chunk(&j, 5, 0, 0, SHALE_PUT, 8));
    KEPT(chunk(&j, 5, 0, 1, SHALE_PUT, S + 1));
    record(&j, 6, 9, NULL, 0);
    KEPT(chunk(&j, 6, 0, 1, SHALE_PUT, 10));
    GONE(xattr(&j, 7, 10));
    job_end(&j, 2, 8);
}

static void what_is_not_understood_stays(void **state)
{
    static const uint8_t odd[] = { 'I', 0, 0, 0, 0, 0, 0, 0, 9, 'z' };
    const struct shale_row row = { .key = { odd, sizeof(odd) }, .kind = SHALE_PUT, .seq = 1 };
    struct fs_key key;
    struct job j;

    (void)state;
    job_begin(&j, true);
    KEPT(j.filter.filter.decide(j.state, &row, &j.value));
    inode(&j, 5, SHALE_PUT, 8, slice_str("\1junk"));
    KEPT(chunk(&j, 5, 0, 0, SHALE_PUT, 9));
    inode(&j, 6, SHALE_PUT, 8, slice_str("\2"));
    KEPT(chunk(&j, 6, 0, 0, SHALE_PUT, 9));
    inode(&j, 7, SHALE_PUT, 8, slice_of(NULL, 0));
    KEPT(chunk(&j, 7, 0, 0, SHALE_PUT, 9));
    assert_int_equal(fs_key_counter(&key, "bytes"), 0);
    KEPT(feed(&j, &key, SHALE_MERGE, 1, slice_str("12345678")));
    fs_key_orphan(&key, (struct shale_ulid){ 1, 2 }, 5);
    KEPT(feed(&j, &key, SHALE_PUT, 1, slice_of(NULL, 0)));
    job_end(&j, 0, 0);
}

static void a_resumed_job_sees_the_inode_again(void **state)
{
    struct shale_buf from = SHALE_BUF_INIT;
    struct fs_key after, first;
    struct job j;

    (void)state;
    job_begin(&j, false);
    fs_key_chunk(&after, 5, 1, 7);
    fs_key_inode(&first, 5);
    assert_int_equal(j.filter.filter.resume_from(j.state, fs_key_slice(&after), &from), 0);
    assert_true(slice_eq(slice_of_buf(&from), fs_key_slice(&first)));
    removed(&j, 5, S);
    GONE(chunk(&j, 5, 1, 6, SHALE_PUT, 8)); /* counted by the attempt before */
    GONE(chunk(&j, 5, 1, 7, SHALE_PUT, 8));
    GONE(chunk(&j, 5, 1, 8, SHALE_PUT, 8));
    job_end(&j, 1, 5);
    buf_clear(&from);
    job_begin(&j, false);
    assert_int_equal(fs_key_counter(&after, "bytes"), 0);
    assert_int_equal(j.filter.filter.resume_from(j.state, fs_key_slice(&after), &from), 0);
    assert_true(slice_eq(slice_of_buf(&from), fs_key_slice(&after)));
    job_end(&j, 0, 0);
    shale_buf_fini(&from);
}

/* Without memory the job fails; it never takes what it could not read for gone. */
static void without_memory_nothing_is_dropped(void **state)
{
    const struct shale_filter_context context = { .retention_min_seq = S };
    struct shale_buf value = SHALE_BUF_INIT;
    struct inode_rec rec;
    struct fs_filter filter;
    struct fs_key key;
    struct shale_row row;
    void *f = NULL;

    (void)state;
    inode_rec_init(&rec);
    rec.mode = S_IFREG;
    assert_int_equal(inode_truncate_gens(&rec, 1), 0);
    assert_int_equal(inode_rec_encode(&rec, &value), 0);
    fs_key_inode(&key, 5);
    row = (struct shale_row){ .key = fs_key_slice(&key), .value = slice_of_buf(&value), .seq = 1 };
    fs_filter_init(&filter);
    heap_fault_after(1);
    assert_int_equal(filter.filter.create(&filter, &context, &f), -ENOMEM);
    assert_true(heap_fault_off());
    assert_int_equal(filter.filter.create(&filter, &context, &f), 0);
    heap_fault_after(1);
    assert_int_equal(filter.filter.decide(f, &row, NULL), -ENOMEM);
    assert_true(heap_fault_off());
    filter.filter.destroy(f);
    inode_rec_fini(&rec);
    shale_buf_fini(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_removed_inode_had_goes),
        cmocka_unit_test(a_removal_that_a_reader_may_not_see_decides_nothing),
        cmocka_unit_test(the_newest_version_at_or_below_counts),
        cmocka_unit_test(chunks_go_by_their_generation),
        cmocka_unit_test(an_operand_alone_decides_nothing),
        cmocka_unit_test(without_inode_only_the_last_run_tells),
        cmocka_unit_test(what_is_not_understood_stays),
        cmocka_unit_test(a_resumed_job_sees_the_inode_again),
        cmocka_unit_test(without_memory_nothing_is_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
