/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"

#include "fs/core/volume_state.h"

#include <fcntl.h>
#include <stdlib.h>

#define ROOT FS_ROOT_INO
#define CHUNK (64u << 10)

static void data_comes_back(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR);

    write_text(h, 0, "hello");
    write_text(h, 5, " world");
    write_text(h, 0, "J");
    check_text(f, ino, "Jello world");
    check_ok(fs_file_fsync(h, false));
    check_text(f, ino, "Jello world");
    fs_file_release(h);
    fixture_reopen(f);
    check_text(f, ino, "Jello world");
}

static void opening_asks_for_the_right_thing(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h;
    struct fs_attr a;

    check_err(-EISDIR, fs_file_open(f->fs, ROOT, O_RDONLY, &h));
    check_err(-ENOENT, fs_file_open(f->fs, 4711, O_RDONLY, &h));
    check_ok(fs_symlink(f->fs, &root_cred, "a", ROOT, "l", &a));
    check_err(-EINVAL, fs_file_open(f->fs, a.ino, O_RDONLY, &h));
    check_err(-EEXIST, fs_file_create(f->fs, &root_cred, ROOT, "a", 0600, O_RDWR, &a, &h));
    h = open_file(f, ino, O_RDWR);
    write_text(h, 0, "text");
    fs_file_release(h);
    h = open_file(f, ino, O_RDWR | O_TRUNC);
    check_text(f, ino, "");
    fs_file_release(h);
    check_ok(fs_file_create(f->fs, &root_cred, ROOT, "b", 0640, O_RDWR, &a, &h));
    assert_int_equal(a.mode, S_IFREG | 0640);
    write_text(h, 0, "b");
    fs_file_release(h);
    check_text(f, a.ino, "b");
}

static void reading_stops_at_the_end(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR);
    char buf[16];

    check_err(0, fs_file_read(h, 0, buf, sizeof(buf)));
    write_text(h, 0, "12345");
    check_err(3, fs_file_read(h, 2, buf, sizeof(buf)));
    check_err(0, fs_file_read(h, 5, buf, sizeof(buf)));
    check_err(0, fs_file_read(h, INT64_MAX, buf, sizeof(buf)));
    check_err(0, fs_file_read(h, 0, buf, 0));
    check_err(0, fs_file_write(h, 100, buf, 0)); /* writes nothing and extends nothing */
    assert_true(attr_of(f, ino).size == 5);
    fs_file_release(h);
}

/* One read over bytes that are in the engine, that are being handed over, and that were just written. */
static void one_read_sees_all_layers(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR);
    struct inode *i;

    write_fill(h, 0, 's', 3 * CHUNK);
    check_ok(fs_file_fsync(h, false));
    write_fill(h, CHUNK - 100, 'f', 200);
    check_ok(inode_get(f->fs, ino, &i));
    mutex_lock(&i->mu);
    assert_int_equal(i->flushing.bytes, 0);
    i->flushing = i->dirty; /* as a writeback does that has not ended */
    dirty_init(&i->dirty, CHUNK);
    mutex_unlock(&i->mu);
    write_fill(h, CHUNK - 50, 'd', 100);
    write_fill(h, 2 * CHUNK, 'd', 10);
    check_fill(h, 0, 's', CHUNK - 100);
    check_fill(h, CHUNK - 100, 'f', 50);
    check_fill(h, CHUNK - 50, 'd', 100);
    check_fill(h, CHUNK + 50, 'f', 50);
    check_fill(h, CHUNK + 100, 's', CHUNK - 100);
    check_fill(h, 2 * CHUNK, 'd', 10);
    check_fill(h, 2 * CHUNK + 10, 's', CHUNK - 10);
    inode_put(f->fs, i);
    fs_file_release(h);
    fixture_reopen(f);
    h = open_file(f, ino, O_RDONLY);
    check_fill(h, CHUNK - 100, 'f', 50);
    check_fill(h, CHUNK - 50, 'd', 100);
    check_fill(h, CHUNK + 50, 'f', 50);
    fs_file_release(h);
}

static void many_small_appends(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "log");
    struct fs_file *h = open_file(f, ino, O_RDWR);

    for (unsigned i = 0; i < 300; i++) {
        uint8_t line[100];

        memset(line, (int)i, sizeof(line));
        check_err(100, fs_file_write(h, i * 100, line, sizeof(line)));
        check_ok(fs_file_fsync(h, true)); /* an operand each, and whole now and then */
    }
    for (unsigned i = 0; i < 300; i++)
        check_fill(h, i * 100, (uint8_t)i, 100);
    assert_true(attr_of(f, ino).blocks == (30000 + 511) / 512);
    fs_file_release(h);
}

static void more_than_a_batch_in_one_file(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino;
    struct fs_file *h;

    fixture_close(f);
    f->opt.dirty_max_bytes = 1u << 20;
    fixture_open(f);
    ino = make_file(f, ROOT, "big");
    h = open_file(f, ino, O_RDWR);
    for (unsigned i = 0; i < 160; i++)
        write_fill(h, i * 100000ull, (uint8_t)i, 100000);
    assert_true(atomic_load(&f->fs->dirty_bytes) < (3u << 20));
    fs_file_release(h);
    fixture_reopen(f);
    h = open_file(f, ino, O_RDONLY);
    for (unsigned i = 0; i < 160; i++)
        check_fill(h, i * 100000ull, (uint8_t)i, 100000);
    assert_true(attr_of(f, ino).size == 16000000);
    assert_true(attr_of(f, ino).blocks == 16000000 / 512);
    fs_file_release(h);
}

static void cutting_and_extending(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR);

    write_fill(h, 0, 'x', 3 * CHUNK);
    check_ok(set_size(f, ino, 2 * CHUNK + 700));
    assert_true(attr_of(f, ino).blocks == (2 * CHUNK + 700 + 511) / 512);
    check_ok(set_size(f, ino, 4 * CHUNK));
    assert_true(attr_of(f, ino).size == 4 * CHUNK);
    assert_true(attr_of(f, ino).blocks == (2 * CHUNK + 700 + 511) / 512);
    check_fill(h, 0, 'x', 2 * CHUNK + 700);
    check_fill(h, 2 * CHUNK + 700, 0, 2 * CHUNK - 700);
    check_ok(set_size(f, ino, 100));
    assert_true(attr_of(f, ino).blocks == 1);
    check_ok(set_size(f, ino, CHUNK));
    check_fill(h, 0, 'x', 100);
    check_fill(h, 100, 0, CHUNK - 100);
    write_fill(h, 1000, 'y', 512);
    assert_true(attr_of(f, ino).blocks == 2);
    check_ok(set_size(f, ino, 0));
    assert_true(attr_of(f, ino).blocks == 0);
    check_ok(set_size(f, ino, 10));
    check_fill(h, 0, 0, 10);
    fs_file_release(h);
    check_err(-EISDIR, set_size(f, ROOT, 0));
    check_err(-EFBIG, set_size(f, ino, (uint64_t)INT64_MAX + 1));
}

static void sparse_files(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR);

    write_fill(h, 1u << 30, 'x', 1000);
    assert_true(attr_of(f, ino).blocks == 2); /* also of what is not handed over yet */
    assert_true(attr_of(f, ino).size == (1u << 30) + 1000);
    check_fill(h, (1u << 30) - 5000, 0, 5000);
    check_fill(h, 1u << 30, 'x', 1000);
    write_fill(h, 5 * CHUNK - 256, 'y', 512); /* over the edge of a chunk */
    assert_true(attr_of(f, ino).blocks == 4);
    fs_file_release(h);
    fixture_reopen(f);
    assert_true(attr_of(f, ino).blocks == 4);
    h = open_file(f, ino, O_RDWR);
    check_fill(h, 5 * CHUNK - 512, 0, 256);
    check_fill(h, 5 * CHUNK - 256, 'y', 512);
    check_fill(h, 5 * CHUNK + 256, 0, 1000);
    check_ok(set_size(f, ino, 5 * CHUNK));
    assert_true(attr_of(f, ino).blocks == 1);
    fs_file_release(h);
}

static void the_last_byte_of_all(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR);
    char buf[8];

    check_err(-EFBIG, fs_file_write(h, INT64_MAX, "x", 1));
    check_err(-EFBIG, fs_file_write(h, INT64_MAX - 2, "abc", 4));
    check_err(-EFBIG, fs_file_write(h, UINT64_MAX, "x", 1));
    check_err(1, fs_file_write(h, INT64_MAX - 1, "x", 1));
    assert_true(attr_of(f, ino).size == INT64_MAX);
    assert_true(attr_of(f, ino).blocks == 1);
    check_err(1, fs_file_read(h, INT64_MAX - 1, buf, 8));
    assert_int_equal(buf[0], 'x');
    fs_file_release(h);
    fixture_reopen(f);
    h = open_file(f, ino, O_RDWR);
    check_err(2, fs_file_read(h, INT64_MAX - 2, buf, 8));
    assert_int_equal(buf[0], 0);
    assert_int_equal(buf[1], 'x');
    check_ok(set_size(f, ino, INT64_MAX - 1));
    check_ok(set_size(f, ino, INT64_MAX));
    check_fill(h, INT64_MAX - 10, 0, 10);
    fs_file_release(h);
}

/* Cut so often at ascending places that the list of generations is full: holes are laid instead, where there is data. */
static void cutting_more_often_than_there_are_generations(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR);

    for (uint64_t i = 1; i < 80; i++) {
        check_ok(set_size(f, ino, 1ull << 60)); /* were each chunk laid over, this would never end */
        write_fill(h, (i + 5) * CHUNK, 'g', 512);
        check_ok(set_size(f, ino, i * CHUNK));
        check_ok(set_size(f, ino, (i + 10) * CHUNK));
        check_fill(h, i * CHUNK, 0, 10 * CHUNK);
        assert_true(attr_of(f, ino).blocks == 0);
    }
    fs_file_release(h);
}

static void replacing_by_rename_carries_data(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "new");
    struct fs_file *h = open_file(f, ino, O_RDWR);
    struct inode *i;

    make_file(f, ROOT, "old");
    write_text(h, 0, "all of it");
    check_ok(fs_rename(f->fs, ROOT, "new", ROOT, "old", 0));
    check_ok(inode_get(f->fs, ino, &i));
    assert_int_equal(i->dirty.bytes, 0); /* it went ahead of the name */
    assert_true(i->rec.size == 9);
    inode_put(f->fs, i);
    fs_file_release(h);
    check_text(f, ino, "all of it");
}

static void a_dirty_file_that_is_removed_is_forgotten(void **state)
{
    struct fs_fixture *f = *state;
    uint64_t ino = make_file(f, ROOT, "a");
    struct fs_file *h = open_file(f, ino, O_RDWR);

    write_fill(h, 0, 'x', 500000);
    fs_file_release(h);
    assert_true(atomic_load(&f->fs->dirty_bytes) == 500000);
    check_ok(fs_unlink(f->fs, ROOT, "a"));
    assert_true(atomic_load(&f->fs->dirty_bytes) == 0);
    check_ok(fs_sync(f->fs));
}

static void the_committer_writes_by_itself(void **state)
{
    struct fs_fixture *f = *state;
    struct shale_db_status st;
    struct fs_file *h;
    uint64_t ino;

    fixture_close(f);
    f->opt.commit_interval_ms = 1;
    fixture_open(f);
    ino = make_file(f, ROOT, "a");
    h = open_file(f, ino, O_RDWR);
    write_text(h, 0, "text");
    do
        fs_engine_status(f->fs, &st);
    while (atomic_load(&f->fs->dirty_bytes) > 0 || st.durable_seq < st.committed_seq);
    fs_file_release(h);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(data_comes_back),
        T(opening_asks_for_the_right_thing),
        T(reading_stops_at_the_end),
        T(one_read_sees_all_layers),
        T(many_small_appends),
        T(more_than_a_batch_in_one_file),
        T(cutting_and_extending),
        T(sparse_files),
        T(the_last_byte_of_all),
        T(cutting_more_often_than_there_are_generations),
        T(replacing_by_rename_carries_data),
        T(a_dirty_file_that_is_removed_is_forgotten),
        T(the_committer_writes_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
