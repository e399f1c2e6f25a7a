/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/temp_dir.h"

#include "base/buf.h"
#include "manifest/manifest_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A handle opened for reading only: it sees what was durable, and leaves no trace. */

static struct shale_db *open_reader(struct db_fixture *f)
{
    struct shale_options opt = f->opt;
    struct shale_db *db = NULL;

    opt.read_only = true;
    opt.compactor.enabled = true; /* is not started all the same */
    opt.flush_interval_ms = 1;
    check_ok(shale_db_open(f->store, FIXTURE_ROOT, &opt, false, &db));
    return db;
}

static int list_name(void *arg, const char *name, const struct shale_object_meta *meta)
{
    return buf_printf(arg, "%s %llu\n", name, (unsigned long long)meta->size);
}

/* Names and sizes of all objects. */
static struct shale_buf listing(struct db_fixture *f)
{
    struct shale_buf text = SHALE_BUF_INIT;

    check_ok(shale_store_list(f->mem, "", NULL, list_name, &text));
    return text;
}

static unsigned writes(struct db_fixture *f)
{
    return store_fault_count(f->store, FAULT_PUT) + store_fault_count(f->store, FAULT_DELETE) +
           store_fault_count(f->store, FAULT_UPLOAD_BEGIN);
}

/* a in L0, b there and in the WAL, c in the WAL only, behind what the manifest knows of; d in memory. */
static void fill(struct db_fixture *f)
{
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", false));
    check_ok(put_text(f->db, "b", "1", false));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "b", "2", true));
    check_ok(merge_text(f->db, "c", "x", true));
    check_ok(put_text(f->db, "d", "lost", false));
}

static void it_sees_what_is_durable_and_writes_nothing(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf before, after;
    struct shale_db *r;

    fill(f);
    fixture_crash(f);
    before = listing(f);
    store_fault_reset_counts(f->store);
    r = open_reader(f);
    check_scan(r, NULL, "a=1 b=2 c=x");
    check_value(r, NULL, "b", "2");
    check_value(r, NULL, "d", NULL);
    check_ok(shale_db_close(r, SHALE_CLOSE_FLUSH));
    assert_int_equal(writes(f), 0);
    after = listing(f);
    assert_string_equal((char *)before.data, (char *)after.data);
    shale_buf_fini(&before);
    shale_buf_fini(&after);
}

static void a_writer_is_not_disturbed(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *r;

    fill(f);
    r = open_reader(f);
    check_ok(put_text(f->db, "e", "5", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "f", "6", true));
    check_scan(r, NULL, "a=1 b=2 c=x"); /* goes on seeing its moment */
    check_ok(shale_db_close(r, SHALE_CLOSE_FLUSH));
    check_ok(put_text(f->db, "g", "7", true));
    assert_int_equal(db_status(f->db).writer_epoch, 1);
    r = open_reader(f);
    check_scan(r, NULL, "a=1 b=2 c=x d=lost e=5 f=6 g=7");
    check_ok(shale_db_close(r, SHALE_CLOSE_ABANDON));
    fixture_close(f);
}

static void writes_and_flushes_are_refused(void **state)
{
    struct db_fixture *f = *state;
    struct shale_snapshot *snapshot = NULL;
    struct shale_db *r;

    fill(f);
    fixture_crash(f);
    r = open_reader(f);
    check_err(-EROFS, put_text(r, "z", "1", false));
    check_err(-EROFS, put_text(r, "z", "1", true));
    check_err(-EROFS, merge_text(r, "c", "y", false));
    check_err(-EROFS, delete_text(r, "a", false));
    check_err(-EROFS, shale_db_flush(r, SHALE_FLUSH_WAL));
    check_err(-EROFS, shale_db_flush(r, SHALE_FLUSH_MEMTABLE));
    assert_non_null(strstr(shale_errmsg(), "reading only"));
    check_ok(shale_db_snapshot(r, &snapshot));
    check_scan(r, &(struct shale_read_options){ .snapshot = snapshot, .durable_only = true }, "a=1 b=2 c=x");
    shale_snapshot_release(r, snapshot);
    assert_int_equal(db_status(r).error, 0);
    assert_int_equal(db_status(r).durable_seq, 4);
    check_ok(shale_db_close(r, SHALE_CLOSE_FLUSH));
}

static void a_missing_database_is_not_made(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db = NULL;

    f->opt.read_only = true;
    check_err(-ENOENT, shale_db_open(f->store, FIXTURE_ROOT, &f->opt, true, &db));
    check_err(-ENOENT, shale_db_open(f->store, FIXTURE_ROOT, &f->opt, false, &db));
    assert_int_equal(writes(f), 0);
}

static void the_wal_may_exceed_what_writers_may_hold(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *r;
    char key[16], value[512];

    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    fixture_open(f);
    for (int i = 0; i < 400; i++) {
        snprintf(key, sizeof(key), "%06d", i);
        check_ok(put_text(f->db, key, value, i % 10 == 9));
    }
    fixture_crash(f);
    f->opt.l0_sst_size_bytes = 4096; /* many frozen tables that nobody flushes */
    f->opt.max_unflushed_bytes = 10000;
    r = open_reader(f);
    assert_true(db_status(r).n_memtables > 10);
    assert_true(db_status(r).unflushed_bytes > 20 * f->opt.max_unflushed_bytes);
    for (int i = 0; i < 400; i += 7) {
        snprintf(key, sizeof(key), "%06d", i);
        check_value(r, NULL, key, value);
    }
    check_ok(shale_db_close(r, SHALE_CLOSE_FLUSH));
    assert_int_equal(count_objects(f->mem, "compacted"), 0);
}

/* What a flush and a garbage collection do between a reader's manifest and its reading of the WAL. */
static void collect_wal(void *arg)
{
    struct db_fixture *f = arg;

    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "e", "5", true));
    for (int i = 1; i <= 4; i++) {
        char name[64];

        snprintf(name, sizeof(name), FIXTURE_ROOT "/wal/%020d.sst", i);
        check_ok(shale_store_delete(f->mem, name));
    }
}

static void a_manifest_that_is_overtaken_is_read_again(void **state)
{
    struct db_fixture *f = *state;
    struct shale_store *outer;
    struct shale_options opt;
    struct shale_db *r = NULL;

    fill(f);
    outer = store_fault_new(f->store);
    store_fault_add(outer, &(struct fault_rule){ .cls = FAULT_LIST, .action = FAULT_CRASH_DONE, .match = "/wal/",
                                                 .fn = collect_wal, .arg = f });
    opt = f->opt;
    opt.read_only = true;
    check_ok(shale_db_open(outer, FIXTURE_ROOT, &opt, false, &r));
    check_scan(r, NULL, "a=1 b=2 c=x d=lost e=5");
    check_ok(shale_db_close(r, SHALE_CLOSE_FLUSH));
    shale_store_close(outer);
    fixture_close(f);
}

static void a_hole_in_the_wal_is_corruption(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db = NULL;

    fill(f);
    fixture_crash(f);
    check_ok(shale_store_delete(f->mem, FIXTURE_ROOT "/wal/00000000000000000003.sst"));
    f->opt.read_only = true;
    check_err(SHALE_ECORRUPT, shale_db_open(f->store, FIXTURE_ROOT, &f->opt, false, &db));
    assert_non_null(strstr(shale_errmsg(), "wal/00000000000000000003.sst"));
}

static void each_failing_call_fails_the_open(void **state)
{
    struct db_fixture *f = *state;
    struct shale_db *db = NULL;
    unsigned n;

    fill(f);
    fixture_crash(f);
    f->opt.read_only = true;
    for (n = 1;; n++) {
        int rc;

        store_fault_clear(f->store);
        store_fault_add(f->store, &(struct fault_rule){ .cls = FAULT_ANY, .nth = n, .rc = -EIO });
        rc = shale_db_open(f->store, FIXTURE_ROOT, &f->opt, false, &db);
        if (rc == 0)
            break;
        check_err(-EIO, rc);
    }
    assert_true(n > 3);
    store_fault_clear(f->store);
    check_scan(db, NULL, "a=1 b=2 c=x");
    check_ok(shale_db_close(db, SHALE_CLOSE_FLUSH));
}

/* As a user who may not write there. */
static int read_directory(const char *dir)
{
    struct shale_store *store = NULL;
    struct shale_options opt;
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_db *db = NULL;
    int rc;

    if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
        return 1;
    shale_options_init(&opt);
    rc = shale_store_directory(dir, false, &store);
    if (rc == 0 && shale_db_open(store, "db", &opt, false, &db) == 0)
        return 2; /* for writing: must not work */
    opt.read_only = true;
    if (rc == 0)
        rc = shale_db_open(store, "db", &opt, false, &db);
    if (rc == 0)
        rc = shale_db_get(db, slice_str("k"), NULL, &value);
    if (rc < 0)
        fprintf(stderr, "%s\n", shale_errmsg());
    shale_buf_fini(&value);
    (void)shale_db_close(db, SHALE_CLOSE_FLUSH);
    shale_store_close(store);
    return rc < 0 ? 3 : 0;
}

static void chmod_tree(const char *dir, const char *mode)
{
    char command[256];

    snprintf(command, sizeof(command), "chmod -R %s '%s'", mode, dir);
    assert_int_equal(system(command), 0);
}

static void a_directory_without_write_permission_is_enough(void **state)
{
    struct db_fixture *f = *state;
    char *dir = temp_dir_new();
    struct shale_store *store = NULL;
    int status = -1;
    pid_t pid;

    check_ok(shale_store_directory(dir, true, &store));
    check_ok(shale_db_open(store, "db", &f->opt, true, &f->db));
    check_ok(put_text(f->db, "k", "v", true));
    fixture_close(f);
    shale_store_close(store);
    chmod_tree(dir, "a-w,a+rX");
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(read_directory(dir));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    chmod_tree(dir, "u+w");
    temp_dir_remove(dir);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        T(it_sees_what_is_durable_and_writes_nothing),
        T(a_writer_is_not_disturbed),
        T(writes_and_flushes_are_refused),
        T(a_missing_database_is_not_made),
        T(the_wal_may_exceed_what_writers_may_hold),
        T(a_manifest_that_is_overtaken_is_read_again),
        T(a_hole_in_the_wal_is_corruption),
        T(each_failing_call_fails_the_open),
        T(a_directory_without_write_permission_is_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
