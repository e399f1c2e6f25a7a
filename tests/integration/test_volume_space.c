/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/clock.h"
#include "base/sync.h"
#include "fs/core/check.h"
#include "fs/core/fs.h"
#include "fs/core/volume_compact.h"

#include <shale/admin.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Space of removed files and cut data comes back by itself, and when somebody compacts. */

#define DEADLINE_MS 60000
#define MIB (1u << 20)

static const struct fs_cred cred = { .uid = 1, .gid = 1 };

struct volume_under_test {
    char url[64];
    struct shale_store *keep; /* a store in memory lives while somebody has it open */
    char *path;
    struct fs *fs;
};

static void open_volume(struct volume_under_test *v)
{
    struct fs_options opt;

    fs_options_init(&opt);
    opt.idle_ms = 20;
    assert_int_equal(fs_open(v->url, &opt, &v->fs), 0);
}

/* How many compactions that are asked for are not done, but said to have failed; how many were. */
static _Atomic unsigned n_to_fail, n_failed;

int __wrap_shale_db_compact(struct shale_db *db, const struct shale_compaction_spec *spec, struct shale_ulid *id);
int __real_shale_db_compact(struct shale_db *db, const struct shale_compaction_spec *spec, struct shale_ulid *id);
int __wrap_shale_db_compaction(struct shale_db *db, struct shale_ulid id, struct shale_compaction *out);
int __real_shale_db_compaction(struct shale_db *db, struct shale_ulid id, struct shale_compaction *out);

int __wrap_shale_db_compact(struct shale_db *db, const struct shale_compaction_spec *spec, struct shale_ulid *id)
{
    *id = (struct shale_ulid){ 0 };
    return n_failed == n_to_fail ? __real_shale_db_compact(db, spec, id) : 0;
}

int __wrap_shale_db_compaction(struct shale_db *db, struct shale_ulid id, struct shale_compaction *out)
{
    if (n_failed == n_to_fail)
        return __real_shale_db_compaction(db, id, out);
    n_failed++;
    *out = (struct shale_compaction){ .id = id, .status = SHALE_COMPACTION_FAILED };
    return 0;
}

static int setup(void **state)
{
    struct volume_under_test *v = calloc(1, sizeof(*v));
    struct fs_format_options format;
    static unsigned n;

    n_to_fail = n_failed = 0;
    if (!v)
        return -1;
    snprintf(v->url, sizeof(v->url), "memory://space%u/vol", n++);
    fs_format_options_init(&format);
    if (shale_store_open(v->url, true, &v->keep, &v->path) < 0 || fs_format(v->url, &format) < 0)
        return -1;
    open_volume(v);
    *state = v;
    return 0;
}

static int teardown(void **state)
{
    struct volume_under_test *v = *state;
    int rc = v->fs ? fs_close(v->fs) : 0;

    shale_store_close(v->keep);
    free(v->path);
    free(v);
    return rc;
}

static void write_file(struct fs *fs, const char *name, size_t len, unsigned seed)
{
    struct fs_file *f = NULL;
    struct fs_attr attr;
    uint8_t *data = malloc(len);

    assert_non_null(data);
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (uint8_t)(seed >> 24);
    }
    assert_int_equal(fs_file_create(fs, &cred, FS_ROOT_INO, name, 0644, O_RDWR, &attr, &f), 0);
    assert_int_equal(fs_file_write(f, 0, data, len), len);
    fs_file_release(f);
    fs_forget(fs, attr.ino, 1);
    assert_int_equal(fs_sync(fs), 0); /* what never left memory leaves nothing behind */
    free(data);
}

static uint64_t stored_bytes(struct fs *fs)
{
    struct shale_db_status st;

    fs_engine_status(fs, &st);
    return st.l0_bytes + st.run_bytes;
}

static struct fs_space space_of(struct fs *fs)
{
    struct fs_space s;

    fs_space(fs, &s);
    return s;
}

/* Until nothing counts as dead and less than so many bytes are stored, within the deadline. */
static void wait_reclaimed(struct fs *fs, uint64_t stored)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;

    while ((space_of(fs).dead_bytes > 0 || stored_bytes(fs) >= stored) && clock_mono_ms() < deadline)
        sched_yield();
    assert_int_equal(space_of(fs).dead_bytes, 0);
    assert_true(stored_bytes(fs) < stored);
}

static void ignore_line(void *arg, const char *line)
{
    (void)arg;
    print_error("%s\n", line);
}

static void assert_clean(struct volume_under_test *v)
{
    const struct fs_check_options opt = { .quiet = false };
    struct fs_check_result res;

    assert_int_equal(fs_close(v->fs), 0);
    v->fs = NULL;
    assert_int_equal(fs_check(v->url, &opt, ignore_line, NULL, &res), 0);
    assert_int_equal(res.problems, 0);
    assert_int_equal(res.garbage, 0);
}

static void an_idle_volume_gives_removed_data_back(void **state)
{
    struct volume_under_test *v = *state;

    write_file(v->fs, "stays", MIB, 1);
    write_file(v->fs, "goes", 3 * MIB, 2);
    assert_int_equal(fs_unlink(v->fs, FS_ROOT_INO, "goes"), 0);
    wait_reclaimed(v->fs, 2 * MIB);
    assert_true(stored_bytes(v->fs) >= MIB);
    assert_true(space_of(v->fs).dropped_bytes >= 3 * MIB);
    assert_clean(v);
}

/* Its sources may be gone when its turn comes: another one was chosen meanwhile. */
static void a_failed_attempt_is_soon_made_again(void **state)
{
    struct volume_under_test *v = *state;

    n_to_fail = 3;
    write_file(v->fs, "goes", 3 * MIB, 2);
    assert_int_equal(fs_unlink(v->fs, FS_ROOT_INO, "goes"), 0);
    for (int64_t deadline = clock_mono_ms() + DEADLINE_MS / 3; n_failed < 3 && clock_mono_ms() < deadline;)
        sched_yield();
    assert_int_equal(n_failed, 3);
    wait_reclaimed(v->fs, MIB);
    assert_clean(v);
}

static void cut_data_counts_too(void **state)
{
    struct volume_under_test *v = *state;
    struct fs_attr attr, set = { .size = MIB / 2 };

    write_file(v->fs, "file", 4 * MIB, 3);
    assert_int_equal(fs_lookup(v->fs, FS_ROOT_INO, "file", &attr), 0);
    assert_int_equal(fs_setattr(v->fs, attr.ino, FS_SET_SIZE, &set, &attr), 0);
    wait_reclaimed(v->fs, MIB);
    fs_forget(v->fs, attr.ino, 1);
    assert_clean(v);
}

static void the_count_survives_a_remount(void **state)
{
    struct volume_under_test *v = *state;

    write_file(v->fs, "stays", MIB, 1);
    write_file(v->fs, "small", MIB / 2, 2);
    assert_int_equal(fs_unlink(v->fs, FS_ROOT_INO, "small"), 0);
    assert_int_equal(fs_close(v->fs), 0);
    open_volume(v);
    assert_int_equal(space_of(v->fs).dead_bytes, MIB / 2); /* too little to do something about it */
}

struct teller {
    struct mutex mu;
    struct cond changed;
    unsigned n_over; /* GUARDED_BY(mu) */
};

static void tell(void *arg, const struct shale_compaction *c, int rc)
{
    struct teller *t = arg;

    (void)rc;
    mutex_lock(&t->mu);
    t->n_over += c && c->status == SHALE_COMPACTION_COMPLETED;
    cond_broadcast(&t->changed);
    mutex_unlock(&t->mu);
}

/* Beside the open volume, which goes on writing. */
static void another_process_compacts(void **state)
{
    struct volume_under_test *v = *state;
    struct shale_compactor_config cfg = { .only_submitted = true, .report = tell };
    struct volume_compactor *c = NULL;
    uint64_t rows = 0, bytes = 0;
    struct shale_ulid id;
    struct teller t = { .n_over = 0 };

    mutex_init(&t.mu, 1000, "teller");
    cond_init(&t.changed);
    cfg.arg = &t;
    write_file(v->fs, "stays", MIB / 2, 1);
    write_file(v->fs, "goes", MIB / 2, 2);
    assert_int_equal(fs_unlink(v->fs, FS_ROOT_INO, "goes"), 0);
    assert_int_equal(fs_close(v->fs), 0);
    open_volume(v);
    assert_int_equal(volume_compactor_open(v->url, NULL, &cfg, &c), 0);
    write_file(v->fs, "new", 1000, 3);
    /* The rows are only in the log so far: a close does not flush the memtable. */
    assert_int_equal(volume_compactor_submit(c, &id), SHALE_END);
    volume_compactor_close(c);
    write_file(v->fs, "big", 70 * MIB, 4); /* freezes the memtable */
    assert_int_equal(fs_sync(v->fs), 0);
    while (stored_bytes(v->fs) == 0)
        sched_yield();
    assert_int_equal(volume_compactor_open(v->url, NULL, &cfg, &c), 0);
    assert_int_equal(volume_compactor_submit(c, &id), 0);
    mutex_lock(&t.mu);
    while (t.n_over == 0)
        cond_wait(&t.changed, &t.mu);
    mutex_unlock(&t.mu);
    volume_compactor_dropped(c, &rows, &bytes);
    assert_true(rows > 0);
    assert_true(bytes >= MIB / 2);
    volume_compactor_close(c);
    cond_fini(&t.changed);
    mutex_fini(&t.mu);
    assert_clean(v);
}

#define N_FILES 600u

/* Many small L0s, and nothing of them in memory. */
static void open_uncached(struct volume_under_test *v)
{
    struct fs_options opt;

    assert_int_equal(fs_close(v->fs), 0);
    fs_options_init(&opt);
    opt.cache_bytes = 0;
    opt.tuning.l0_sst_size_bytes = 8 << 10;
    opt.tuning.l0_max_ssts = opt.tuning.compactor_min_sources = opt.tuning.compactor_max_sources = 1000;
    assert_int_equal(fs_open(v->url, &opt, &v->fs), 0);
}

static void fill_directory(struct fs *fs, uint64_t *sparse)
{
    struct fs_file *f = NULL;
    struct fs_attr attr;
    char name[32];

    for (unsigned i = 0; i < N_FILES; i++) {
        snprintf(name, sizeof(name), "f%05u", i);
        assert_int_equal(fs_file_create(fs, &cred, FS_ROOT_INO, name, 0644, O_RDWR, &attr, &f), 0);
        assert_int_equal(fs_file_write(f, (uint64_t)MIB * 3 * (i % 2), "data", 4), 4);
        fs_file_release(f);
        snprintf(name, sizeof(name), "user.n%05u", i);
        assert_int_equal(fs_setxattr(fs, FS_ROOT_INO, name, name, 8, 0), 0);
        fs_forget(fs, attr.ino, 1);
    }
    *sparse = attr.ino; /* of an odd one */
    assert_int_equal(fs_sync(fs), 0);
}

static int delete_one(void *arg, const struct shale_checkpoint *c)
{
    struct volume_under_test *v = arg;

    return shale_checkpoint_delete(v->keep, v->path, NULL, c->id);
}

/*
 * By others, and at once: the volume looks at its manifest once a second. Our compactor keeps what it replaces by a
 * checkpoint; others need not.
 */
static void compact_and_collect(struct volume_under_test *v)
{
    struct teller t = { .n_over = 0 };
    struct shale_compactor_config cfg = { .only_submitted = true, .report = tell, .arg = &t };
    struct shale_gc_result res = { 0 };
    struct shale_gc_options gc;
    struct volume_compactor *c = NULL;
    struct shale_ulid id;

    mutex_init(&t.mu, 1000, "teller");
    cond_init(&t.changed);
    assert_int_equal(volume_compactor_open(v->url, NULL, &cfg, &c), 0);
    assert_int_equal(volume_compactor_submit(c, &id), 0);
    mutex_lock(&t.mu);
    while (t.n_over == 0)
        cond_wait(&t.changed, &t.mu);
    mutex_unlock(&t.mu);
    volume_compactor_close(c);
    cond_fini(&t.changed);
    mutex_fini(&t.mu);
    assert_int_equal(shale_checkpoint_list(v->keep, v->path, NULL, NULL, delete_one, v), 0);
    shale_gc_options_init(&gc);
    gc.min_age_ms[SHALE_GC_COMPACTED] = 0;
    assert_int_equal(shale_gc(v->keep, v->path, NULL, &gc, &res), 0);
    assert_true(res.removed[SHALE_GC_COMPACTED] > 0);
}

static unsigned count_entries(struct fs *fs)
{
    struct fs_dir *d = NULL;
    struct fs_dirent e = { .cookie = 0 };
    unsigned n = 0;
    int rc;

    assert_int_equal(fs_dir_open(fs, FS_ROOT_INO, &d), 0);
    while ((rc = fs_dir_read(d, e.cookie, &e)) == 0)
        n++;
    assert_int_equal(rc, SHALE_END);
    fs_dir_release(d);
    return n;
}

static void what_others_collect_is_not_missed(void **state)
{
    struct volume_under_test *v = *state;
    struct shale_buf names = { 0 };
    struct fs_attr attr, set = { .size = 1 };
    uint64_t sparse = 0;

    open_uncached(v);
    fill_directory(v->fs, &sparse);
    compact_and_collect(v);
    assert_int_equal(count_entries(v->fs), N_FILES + 2);
    write_file(v->fs, "more", 20 << 10, 1);
    compact_and_collect(v);
    assert_int_equal(fs_listxattr(v->fs, FS_ROOT_INO, &names), 0);
    assert_int_equal(names.len, N_FILES * sizeof("user.n00000"));
    write_file(v->fs, "yet more", 20 << 10, 1);
    compact_and_collect(v);
    assert_int_equal(fs_setattr(v->fs, sparse, FS_SET_SIZE, &set, &attr), 0);
    assert_int_equal(attr.blocks, 0);
    shale_buf_fini(&names);
    assert_int_equal(fs_close(v->fs), 0);
    v->fs = NULL;
}

static void what_is_no_volume_is_not_compacted(void **state)
{
    const struct shale_compactor_config cfg = { .only_submitted = true };
    struct volume_compactor *c = NULL;
    struct shale_ulid id;

    (void)state;
    assert_int_equal(volume_compactor_open("memory://nothing/here", NULL, &cfg, &c), -ENOENT);
    assert_int_equal(volume_compact_submit("memory://nothing/here", NULL, &id), -ENOENT);
    assert_null(c);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_idle_volume_gives_removed_data_back),
        T(a_failed_attempt_is_soon_made_again),
        T(cut_data_counts_too),
        T(the_count_survives_a_remount),
        T(another_process_compacts),
        T(what_others_collect_is_not_missed),
        T(what_is_no_volume_is_not_compacted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
