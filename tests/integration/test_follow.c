/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_fixture.h"
#include "lib/said.h"

#include "base/pool.h"
#include "fs/core/follow.h"

#include <fcntl.h>
#include <sched.h>
#include <shale/compact.h>
#include <stdio.h>
#include <sys/xattr.h>
#include <unistd.h>

/* A writer and a follower of one volume, and what the follower calls back. It looks when it is told to. */

enum { CHUNK = 64 << 10 };

struct rig {
    struct fs_fixture w; /* the writer */
    struct fs_fixture r; /* the same volume, followed */
    struct shale_store *store; /* the follower's */
    pthread_mutex_t mu;
    struct shale_buf told; /* "attr 5; data 5 0+65536; name 1 f; " */
};

static void on_inode(void *arg, uint64_t ino, bool data, uint64_t offset, uint64_t len)
{
    struct rig *g = arg;

    pthread_mutex_lock(&g->mu);
    if (data)
        check_ok(buf_printf(&g->told, "data %d %d+%d; ", (int)ino, (int)offset, (int)len));
    else
        check_ok(buf_printf(&g->told, "attr %d; ", (int)ino));
    pthread_mutex_unlock(&g->mu);
}

static void on_name(void *arg, uint64_t parent, const char *name)
{
    struct rig *g = arg;

    pthread_mutex_lock(&g->mu);
    check_ok(buf_printf(&g->told, "name %d %s; ", (int)parent, name));
    pthread_mutex_unlock(&g->mu);
}

static void open_follower(struct rig *g)
{
    const struct fs_cache cache = { g, on_inode, on_name };

    check_ok(fs_open(g->r.url, &g->r.opt, &g->r.fs));
    g->store = fixture_store();
    check_ok(fs_cache_attach(g->r.fs, &cache));
}

static void close_follower(struct rig *g)
{
    check_ok(fs_close(g->r.fs));
    g->r.fs = NULL;
}

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof(*g));

    if (!g)
        return -1;
    pthread_mutex_init(&g->mu, NULL);
    fixture_init_closed(&g->w);
    g->w.opt.tuning.compactor_poll_interval_ms = 5;
    fixture_open(&g->w);
    snprintf(g->r.url, sizeof(g->r.url), "%s", g->w.url);
    fs_options_init(&g->r.opt);
    g->r.opt.read_only = true;
    g->r.opt.poll_ms = 3600000;
    open_follower(g);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;

    if (g->r.fs)
        close_follower(g);
    fixture_close(&g->w);
    fixture_check(&g->w);
    fixture_fini(&g->w);
    shale_buf_fini(&g->told);
    pthread_mutex_destroy(&g->mu);
    free(g);
    return 0;
}

static struct fs_follow_status status(struct rig *g)
{
    struct fs_follow_status st;

    fs_follow_status(g->r.fs, &st);
    return st;
}

static void wait_told(struct rig *g)
{
    while (status(g).untold > 0)
        sched_yield();
}

/* What was written is committed and shown; nobody has been told of anything before. */
static void show(struct rig *g)
{
    wait_told(g);
    pthread_mutex_lock(&g->mu);
    buf_clear(&g->told);
    pthread_mutex_unlock(&g->mu);
    check_ok(fs_sync(g->w.fs));
    check_ok(fs_refresh(g->r.fs));
}

static bool was_told(struct rig *g, const char *text)
{
    bool found;

    pthread_mutex_lock(&g->mu);
    check_ok(shale_buf_append(&g->told, "", 1));
    found = strstr((const char *)g->told.data, text) != NULL;
    g->told.len--;
    pthread_mutex_unlock(&g->mu);
    return found;
}

#define check_told(g, text) check_told_at((g), (text), __LINE__)
static void check_told_at(struct rig *g, const char *text, int line)
{
    wait_told(g);
    if (was_told(g, text))
        return;
    print_error("'%s' is not in '%.*s'\n", text, (int)g->told.len, (const char *)g->told.data);
    _fail(__FILE__, line);
}

static void check_not_told(struct rig *g, const char *text)
{
    wait_told(g);
    assert_false(was_told(g, text));
}

static uint64_t write_file(struct rig *g, const char *name, const char *text)
{
    uint64_t ino = look(&g->w, FS_ROOT_INO, name);
    struct fs_file *f;

    if (ino == 0)
        ino = make_file(&g->w, FS_ROOT_INO, name);
    f = open_file(&g->w, ino, O_RDWR);
    write_text(f, 0, text);
    fs_file_release(f);
    return ino;
}

/* As the kernel does, which does not forget it: the number, 0 when there is none. */
static uint64_t know(struct rig *g, uint64_t parent, const char *name)
{
    struct fs_attr attr;
    int rc = fs_lookup(g->r.fs, parent, name, &attr);

    assert_true(rc == 0 || rc == -ENOENT);
    return rc == 0 ? attr.ino : 0;
}

/* A name is called back when somebody was told of it, and only then. */
static void test_names(void **state)
{
    struct rig *g = *state;
    uint64_t d = make_dir(&g->w, FS_ROOT_INO, "d"), a, b;

    a = make_file(&g->w, d, "a");
    b = make_file(&g->w, d, "b");
    assert_int_equal(know(g, FS_ROOT_INO, "d"), 0);
    show(g);
    assert_int_equal(know(g, FS_ROOT_INO, "d"), d);
    assert_int_equal(know(g, d, "a"), a);
    check_names(&g->r, d, "a b");
    check_ok(fs_rename(g->w.fs, d, "a", FS_ROOT_INO, "moved", 0));
    check_ok(fs_unlink(g->w.fs, d, "b"));
    show(g);
    check_names(&g->r, d, "");
    check_names(&g->r, FS_ROOT_INO, "d moved");
    assert_int_equal(know(g, d, "a"), 0);
    assert_int_equal(know(g, FS_ROOT_INO, "moved"), a);
    check_told(g, "name 2 a; ");
    check_not_told(g, "name 2 b; "); /* nobody had looked it up */
    check_not_told(g, "moved; ");
    check_ok(fs_rmdir(g->w.fs, FS_ROOT_INO, "d"));
    assert_int_equal(make_file(&g->w, FS_ROOT_INO, "d") != d, 1);
    show(g);
    check_told(g, "name 1 d; ");
    assert_int_equal(know(g, FS_ROOT_INO, "d"), look(&g->w, FS_ROOT_INO, "d"));
    (void)b;
}

/* Links, symlinks, and a name that now leads to another file. */
static void test_links(void **state)
{
    struct rig *g = *state;
    struct fs_attr attr = { 0 };
    struct shale_buf target = SHALE_BUF_INIT;
    uint64_t f = write_file(g, "f", "one"), h = write_file(g, "h", "two");

    check_ok(fs_symlink(g->w.fs, &root_cred, "to/there", FS_ROOT_INO, "s", &attr));
    show(g);
    check_ok(fs_readlink(g->r.fs, know(g, FS_ROOT_INO, "s"), &target));
    assert_memory_equal(target.data, "to/there", 8);
    assert_int_equal(know(g, FS_ROOT_INO, "f"), f);
    assert_int_equal(know(g, FS_ROOT_INO, "h"), h);
    assert_int_equal(attr_of(&g->r, f).nlink, 1);
    check_ok(fs_link(g->w.fs, f, FS_ROOT_INO, "second", &attr));
    show(g);
    check_told(g, "attr ");
    assert_int_equal(attr_of(&g->r, f).nlink, 2);
    check_ok(fs_rename(g->w.fs, FS_ROOT_INO, "h", FS_ROOT_INO, "f", 0));
    show(g);
    check_told(g, "name 1 f; ");
    check_told(g, "name 1 h; ");
    assert_int_equal(know(g, FS_ROOT_INO, "f"), h);
    check_text(&g->r, h, "two");
    assert_int_equal(attr_of(&g->r, f).nlink, 1);
    shale_buf_fini(&target);
}

static void test_attributes(void **state)
{
    struct rig *g = *state;
    uint64_t f = write_file(g, "f", "12345");
    struct fs_attr set = { .mode = 0600, .mtime_ns = 77 }, out;
    char text[64];

    show(g);
    assert_int_equal(know(g, FS_ROOT_INO, "f"), f);
    assert_int_equal(attr_of(&g->r, f).size, 5);
    check_ok(fs_setattr(g->w.fs, f, FS_SET_MODE | FS_SET_MTIME, &set, &out));
    show(g);
    assert_int_equal(attr_of(&g->r, f).mode & 07777, 0600);
    assert_int_equal(attr_of(&g->r, f).mtime_ns, 77);
    snprintf(text, sizeof(text), "attr %d; ", (int)f);
    check_told(g, text);
    check_not_told(g, "data "); /* its pages stay */
    (void)write_file(g, "unknown", "x");
    show(g);
    check_not_told(g, "data ");
}

/* Bytes are called back by chunk; what is open sees what is new, whatever was kept of it. */
static void test_data(void **state)
{
    struct rig *g = *state;
    uint64_t ino = make_file(&g->w, FS_ROOT_INO, "f");
    struct fs_file *f = open_file(&g->w, ino, O_RDWR), *r;
    char text[64];

    write_fill(f, 0, 'a', 3 * CHUNK);
    show(g);
    assert_int_equal(know(g, FS_ROOT_INO, "f"), ino);
    r = open_file(&g->r, ino, O_RDONLY);
    check_fill(r, 0, 'a', 3 * CHUNK);
    write_fill(f, CHUNK, 'b', 10);
    show(g);
    snprintf(text, sizeof(text), "data %d %d+%d; ", (int)ino, CHUNK, CHUNK);
    check_told(g, text);
    snprintf(text, sizeof(text), "data %d 0+", (int)ino);
    check_not_told(g, text);
    check_fill(r, CHUNK, 'b', 10);
    check_fill(r, CHUNK + 10, 'a', CHUNK);
    /* Cut in the middle of the second chunk and grown again, in one commit: what lies behind is another generation. */
    check_ok(set_size(&g->w, ino, CHUNK + 5));
    check_ok(set_size(&g->w, ino, 3 * CHUNK));
    show(g);
    snprintf(text, sizeof(text), "data %d %d+0; ", (int)ino, 2 * CHUNK);
    check_told(g, text);
    check_fill(r, CHUNK, 'b', 5);
    check_fill(r, CHUNK + 5, 0, 2 * CHUNK - 5);
    check_ok(set_size(&g->w, ino, 1));
    show(g);
    assert_int_equal(attr_of(&g->r, ino).size, 1);
    check_text(&g->r, ino, "a");
    fs_file_release(r);
    fs_file_release(f);
}

/* What the writer removed is -ESTALE to whoever knows it by its number; never the bytes of another. */
static void test_removed(void **state)
{
    struct rig *g = *state;
    uint64_t ino = write_file(g, "f", "text");
    struct fs_file *r;
    struct fs_attr out;
    char bytes[8];

    show(g);
    assert_int_equal(know(g, FS_ROOT_INO, "f"), ino);
    r = open_file(&g->r, ino, O_RDONLY);
    check_text(&g->r, ino, "text");
    check_ok(fs_unlink(g->w.fs, FS_ROOT_INO, "f"));
    (void)write_file(g, "f", "another");
    assert_int_equal(fs_file_read(r, 0, bytes, sizeof(bytes)), 4); /* not committed yet */
    show(g);
    check_told(g, "name 1 f; ");
    check_err(-ESTALE, fs_file_read(r, 0, bytes, sizeof(bytes)));
    check_err(-ESTALE, fs_getattr(g->r.fs, ino, &out));
    check_err(-ESTALE, fs_file_open(g->r.fs, ino, O_RDONLY, &r));
    check_text(&g->r, know(g, FS_ROOT_INO, "f"), "another");
    fs_file_release(r);
}

/* Unlinked and still open at the writer's: what is open here stays readable, and closing it writes nothing. */
static void test_orphan(void **state)
{
    struct rig *g = *state;
    uint64_t ino = write_file(g, "f", "text");
    struct fs_file *w = open_file(&g->w, ino, O_RDWR), *r;
    char bytes[8];

    show(g);
    r = open_file(&g->r, ino, O_RDONLY);
    check_ok(fs_unlink(g->w.fs, FS_ROOT_INO, "f"));
    show(g);
    assert_int_equal(fs_file_read(r, 0, bytes, sizeof(bytes)), 4);
    fs_file_release(r);
    fs_file_release(w);
}

static void test_xattrs(void **state)
{
    struct rig *g = *state;
    struct shale_buf value = SHALE_BUF_INIT;
    uint64_t f = write_file(g, "f", "x");

    check_ok(fs_setxattr(g->w.fs, f, "user.a", "1", 1, 0));
    show(g);
    check_ok(fs_getxattr(g->r.fs, f, "user.a", &value));
    check_ok(fs_setxattr(g->w.fs, f, "user.a", "22", 2, 0));
    check_ok(fs_setxattr(g->w.fs, f, "user.b", "3", 1, 0));
    show(g);
    check_ok(fs_getxattr(g->r.fs, f, "user.a", &value));
    assert_int_equal(value.len, 2);
    check_ok(fs_listxattr(g->r.fs, f, &value));
    assert_int_equal(value.len, 2 * sizeof("user.a"));
    check_ok(fs_removexattr(g->w.fs, f, "user.a"));
    show(g);
    check_err(-ENODATA, fs_getxattr(g->r.fs, f, "user.a", &value));
    shale_buf_fini(&value);
}

static void test_statfs(void **state)
{
    struct rig *g = *state;
    struct fs_statfs before, after;

    check_ok(fs_statfs(g->r.fs, &before));
    (void)make_file(&g->w, FS_ROOT_INO, "one");
    (void)make_file(&g->w, FS_ROOT_INO, "two");
    show(g);
    check_ok(fs_statfs(g->r.fs, &after));
    assert_int_equal(after.files, before.files + 2);
}

/* An open directory goes on; an entry of an older state may be another's, so it comes without attributes. */
static void test_listing(void **state)
{
    struct rig *g = *state;
    struct fs_dirent e;
    struct fs_attr attr;
    struct fs_dir *d;

    (void)make_file(&g->w, FS_ROOT_INO, "a");
    (void)make_file(&g->w, FS_ROOT_INO, "b");
    show(g);
    check_ok(fs_dir_open(g->r.fs, FS_ROOT_INO, &d));
    check_ok(fs_dir_read(d, 2, &e));
    assert_string_equal(e.name, "a");
    check_ok(fs_dir_attr(d, &e, &attr));
    check_ok(fs_rename(g->w.fs, FS_ROOT_INO, "b", FS_ROOT_INO, "c", 0));
    show(g);
    check_not_told(g, "name 1 b; "); /* a plain listing tells of no name */
    check_ok(fs_dir_read(d, 3, &e));
    assert_string_equal(e.name, "b");
    check_err(-ENOENT, fs_dir_attr(d, &e, &attr));
    fs_dir_release(d);
    check_names(&g->r, FS_ROOT_INO, "a c");
    check_ok(fs_unlink(g->w.fs, FS_ROOT_INO, "a"));
    show(g);
    check_told(g, "name 1 a; "); /* by the listing with attributes */
}

/* A name that was told to be absent is called back when it comes; so many are kept, and no more. */
static void test_absent(void **state)
{
    struct rig *g = *state;
    uint64_t d = make_dir(&g->w, FS_ROOT_INO, "d");
    struct fs_attr attr;
    char name[16];

    show(g);
    check_ok(fs_lookup(g->r.fs, FS_ROOT_INO, "d", &attr));
    check_err(-ENOENT, fs_lookup(g->r.fs, FS_ROOT_INO, "new", &attr));
    assert_true(fs_may_keep_absent(g->r.fs, FS_ROOT_INO, "new"));
    assert_true(fs_may_keep_absent(g->r.fs, d, "inside"));
    (void)make_file(&g->w, FS_ROOT_INO, "new");
    (void)make_file(&g->w, d, "inside");
    show(g);
    check_told(g, "name 1 new; ");
    check_told(g, "inside; ");
    check_ok(fs_unlink(g->w.fs, d, "inside"));
    fs_forget(g->r.fs, d, 1); /* and with it what it does not have */
    show(g);
    check_not_told(g, "inside; ");
    for (unsigned i = 0; i < TOLD_ABSENT_MAX - 1; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        assert_true(fs_may_keep_absent(g->r.fs, FS_ROOT_INO, name));
    }
    assert_false(fs_may_keep_absent(g->r.fs, FS_ROOT_INO, "one more"));
    assert_true(fs_may_keep_absent(g->r.fs, FS_ROOT_INO, "n7"));
    check_ok(fs_lookup(g->r.fs, FS_ROOT_INO, "new", &attr)); /* absent no longer */
    assert_true(fs_may_keep_absent(g->r.fs, FS_ROOT_INO, "one more"));
}

/* An answer that a step overtakes is not to be kept, and is called back once more when it has been given. */
static void test_answers(void **state)
{
    struct rig *g = *state;
    struct fs_answer early, late;
    uint64_t f = write_file(g, "f", "x");
    struct fs_attr attr;

    show(g);
    check_ok(fs_lookup(g->r.fs, FS_ROOT_INO, "f", &attr));
    fs_answer_begin(g->r.fs, &early);
    assert_true(fs_answer_keep_seconds(&early) > 1 && fs_answer_keep_seconds(&early) < 3600);
    (void)write_file(g, "f", "y");
    show(g);
    fs_answer_begin(g->r.fs, &late);
    assert_true(fs_answer_keep_seconds(&early) == 0);
    assert_true(fs_answer_keep_seconds(&late) > 1);
    while (!was_told(g, "data "))
        sched_yield();
    pthread_mutex_lock(&g->mu);
    buf_clear(&g->told);
    pthread_mutex_unlock(&g->mu);
    assert_true(status(g).untold > 0);
    fs_answer_end(&late); /* began after the step: no reason to tell again */
    assert_true(status(g).untold > 0);
    assert_false(was_told(g, "data "));
    fs_answer_end(&early);
    check_told(g, "data "); /* once more */
    check_text(&g->r, f, "y");
}

static int collect(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct shale_buf *names = arg;

    (void)meta;
    return shale_buf_append(names, name, strlen(name) + 1);
}

static struct shale_buf objects(struct rig *g, const char *prefix)
{
    struct shale_buf names = SHALE_BUF_INIT;

    check_ok(shale_store_list(g->w.keep, prefix, NULL, collect, &names));
    return names;
}

/* Frees the names, too. */
static void remove_objects(struct rig *g, struct shale_buf names)
{
    for (size_t at = 0; at < names.len; at += strlen((const char *)names.data + at) + 1)
        check_ok(shale_store_delete(g->w.keep, (const char *)names.data + at));
    shale_buf_fini(&names);
}

/* WAL objects went before they were seen: everything that was told is called back, and what is shown is right. */
static void test_left_behind(void **state)
{
    struct rig *g = *state;
    uint64_t f = write_file(g, "f", "old"), gone = write_file(g, "gone", "x");
    struct fs_attr attr;

    show(g);
    check_ok(fs_lookup(g->r.fs, FS_ROOT_INO, "f", &attr));
    check_ok(fs_lookup(g->r.fs, FS_ROOT_INO, "gone", &attr));
    assert_true(fs_may_keep_absent(g->r.fs, FS_ROOT_INO, "later"));
    check_text(&g->r, f, "old");
    (void)write_file(g, "f", "newer");
    (void)write_file(g, "later", "1");
    check_ok(fs_unlink(g->w.fs, FS_ROOT_INO, "gone"));
    check_ok(fs_sync(g->w.fs));
    check_ok(shale_db_flush(g->w.fs->db, SHALE_FLUSH_MEMTABLE));
    remove_objects(g, objects(g, "volume/wal/"));
    show(g);
    check_told(g, "name 1 f; ");
    check_told(g, "name 1 gone; ");
    check_told(g, "name 1 later; ");
    check_told(g, "data 1 0+0; ");
    check_text(&g->r, f, "newer");
    check_names(&g->r, FS_ROOT_INO, "f later");
    check_err(-ESTALE, fs_getattr(g->r.fs, gone, &attr));
    (void)write_file(g, "f", "newest");
    show(g); /* and goes on */
    check_text(&g->r, f, "newest");
}

static void compact_all(struct rig *g)
{
    const struct shale_compaction_spec all = { .kind = SHALE_COMPACT_FULL };
    struct shale_db_status st;
    struct shale_ulid id;

    check_ok(shale_db_compact(g->w.fs->db, &all, &id));
    do {
        sched_yield();
        shale_db_status(g->w.fs->db, &st);
    } while (st.n_l0 > 0);
}

/* SSTs that a compaction replaced are collected: reads look again, listings begin anew. */
static void test_collected(void **state)
{
    struct rig *g = *state;
    uint64_t f = write_file(g, "f", "text");
    struct shale_buf old;

    g->r.opt.cache_bytes = 0;
    check_ok(fs_sync(g->w.fs));
    check_ok(shale_db_flush(g->w.fs->db, SHALE_FLUSH_MEMTABLE));
    close_follower(g);
    open_follower(g);
    check_names(&g->r, FS_ROOT_INO, "f");
    (void)write_file(g, "g", "text");
    check_ok(fs_sync(g->w.fs));
    check_ok(shale_db_flush(g->w.fs->db, SHALE_FLUSH_MEMTABLE));
    old = objects(g, "volume/compacted/");
    compact_all(g);
    remove_objects(g, old);
    check_text(&g->r, f, "text");
    check_names(&g->r, FS_ROOT_INO, "f g");
}

/* While the store does not answer what is in memory is shown; then it goes on. */
static void test_outage(void **state)
{
    struct rig *g = *state;
    uint64_t f = write_file(g, "f", "before");

    close_follower(g);
    g->r.opt.poll_ms = 5;
    open_follower(g);
    check_ok(fs_sync(g->w.fs));
    while (know(g, FS_ROOT_INO, "f") == 0)
        sched_yield();
    check_text(&g->r, f, "before");
    store_fault_add(g->store, &(struct fault_rule){ .times = FAULT_ALWAYS });
    (void)write_file(g, "f", "after!");
    check_ok(fs_sync(g->w.fs));
    for (int i = 0; i < 50; i++)
        check_text(&g->r, f, "before");
    store_fault_clear(g->store);
    while (attr_of(&g->r, f).mtime_ns != attr_of(&g->w, f).mtime_ns)
        sched_yield();
    check_text(&g->r, f, "after!");
}

/* A database that is damaged is not followed any further, and whoever reads is told so. */
static void test_damage(void **state)
{
    struct rig *g = *state;
    struct shale_db_status st;
    struct fs_attr attr;
    char name[64];

    (void)write_file(g, "f", "x");
    show(g);
    fs_engine_status(g->r.fs, &st);
    snprintf(name, sizeof(name), "volume/manifest/%020llu.manifest", (unsigned long long)st.manifest_id + 1);
    close_follower(g);
    open_follower(g);
    check_ok(shale_store_put(g->w.keep, name, slice_str("garbage, but long enough to look at"), SHALE_PUT_IF_ABSENT));
    check_err(-EIO, fs_refresh(g->r.fs));
    check_err(-EIO, fs_lookup(g->r.fs, FS_ROOT_INO, "f", &attr));
    check_ok(shale_store_delete(g->w.keep, name));
}

/* Everything is removed, and another volume made in its place: what cannot be read fails, and the log says why. */
static void test_replaced(void **state)
{
    struct rig *g = *state;
    uint64_t f = write_file(g, "f", "text");
    struct fs_attr attr;

    check_ok(fs_sync(g->w.fs));
    check_ok(shale_db_flush(g->w.fs->db, SHALE_FLUSH_MEMTABLE));
    close_follower(g);
    g->r.opt.cache_bytes = 0;
    open_follower(g);
    assert_int_equal(know(g, FS_ROOT_INO, "f"), f);
    fixture_close(&g->w);
    said_begin();
    remove_objects(g, objects(g, "volume/"));
    check_ok(fs_refresh(g->r.fs)); /* nothing new */
    check_ok(fs_getattr(g->r.fs, f, &attr)); /* in memory */
    check_err(-ESTALE, fs_lookup(g->r.fs, FS_ROOT_INO, "other", &attr));
    assert_true(said_has("the volume was removed"));
    check_ok(fs_format(g->w.url, &g->w.format));
    g->r.fs->gone_look_ms = 0; /* as after a while */
    check_err(-ESTALE, fs_lookup(g->r.fs, FS_ROOT_INO, "other", &attr));
    assert_true(said_has("the volume was replaced by another"));
    fixture_open(&g->w);
    said_end();
}

/* It writes nothing, ever, and asks for one object at a look. */
static void test_requests(void **state)
{
    struct rig *g = *state;
    struct fs_cred cred = { 0, 0 };
    struct fs_attr attr;
    uint64_t looks;
    unsigned n;

    close_follower(g);
    g->r.opt.poll_ms = 5;
    open_follower(g);
    (void)write_file(g, "f", "x");
    check_ok(fs_sync(g->w.fs));
    while (know(g, FS_ROOT_INO, "f") == 0)
        sched_yield();
    check_text(&g->r, know(g, FS_ROOT_INO, "f"), "x");
    store_fault_reset_counts(g->store);
    looks = status(g).looks;
    while (status(g).looks < looks + 100)
        sched_yield();
    n = store_fault_count(g->store, FAULT_ANY);
    looks = status(g).looks - looks;
    assert_true(n <= looks + looks / 10 + 2);
    check_err(-EROFS, fs_mkdir(g->r.fs, &cred, FS_ROOT_INO, "d", 0755, &attr));
    check_err(-EROFS, fs_unlink(g->r.fs, FS_ROOT_INO, "f"));
    check_ok(fs_sync(g->r.fs));
    assert_int_equal(store_fault_count(g->store, FAULT_PUT) + store_fault_count(g->store, FAULT_DELETE) +
                         store_fault_count(g->store, FAULT_UPLOAD_BEGIN) + store_fault_count(g->store, FAULT_LIST), 0);
    assert_true(status(g).requests > 0 && status(g).seq > 0);
}

static void test_stand_still(void **state)
{
    struct rig *g = *state;

    close_follower(g);
    g->r.opt.poll_ms = 0;
    open_follower(g);
    (void)write_file(g, "f", "x");
    show(g);
    assert_false(status(g).follows);
    assert_int_equal(know(g, FS_ROOT_INO, "f"), 0);
}

struct slow_read {
    struct rig *g;
    struct fs_file *f;
    struct worker thread;
    uint8_t bytes[2 * CHUNK];
    ssize_t n;
};

static void read_both(void *arg)
{
    struct slow_read *s = arg;

    s->n = fs_file_read(s->f, 0, s->bytes, sizeof(s->bytes));
}

/*
 * A read that has one of two chunks when a step comes that changes both: it is done anew, as often as it takes, and
 * after a few times the steps wait for it.
 */
static void test_overtaken(void **state)
{
    const struct fault_rule gate = { .action = FAULT_GATE, .match = "compacted/" };
    enum { STEPS = 16 };
    struct rig *g = *state;
    struct slow_read *s = calloc(1, sizeof(*s));
    uint64_t ino = make_file(&g->w, FS_ROOT_INO, "f");
    struct fs_file *f = open_file(&g->w, ino, O_RDWR);
    unsigned at, next;

    assert_non_null(s);
    write_fill(f, 0, 'a', 2 * CHUNK);
    check_ok(fs_sync(g->w.fs));
    check_ok(shale_db_flush(g->w.fs->db, SHALE_FLUSH_MEMTABLE));
    close_follower(g);
    g->r.opt.cache_bytes = 0;
    open_follower(g);
    s->f = open_file(&g->r, ino, O_RDONLY);
    at = store_fault_add(g->store, &gate);
    check_ok(worker_start(&s->thread, "reader", read_both, s));
    for (unsigned i = 0; i < STEPS; i++) {
        store_fault_wait(g->store, at, 1);
        write_fill(f, CHUNK - 1, (uint8_t)('b' + i), 2);
        show(g);
        next = i + 1 < STEPS ? store_fault_add(g->store, &gate) : 0; /* its next request, or next try */
        store_fault_release(g->store, at);
        at = next;
    }
    worker_join(&s->thread);
    assert_int_equal(s->n, 2 * CHUNK);
    assert_int_equal(s->bytes[CHUNK - 1], 'b' + STEPS - 1);
    assert_int_equal(s->bytes[CHUNK], 'b' + STEPS - 1);
    fs_file_release(s->f);
    fs_file_release(f);
    free(s);
}

struct pair {
    struct rig *g;
    uint64_t ino;
    _Atomic bool done;
    struct worker writer;
};

enum { ROUNDS = 150 };

/* Each commit writes one byte all over two chunks, and moves the file. */
static void write_rounds(void *arg)
{
    struct pair *p = arg;
    struct fs_file *f = open_file(&p->g->w, p->ino, O_RDWR);

    for (int i = 1; i <= ROUNDS; i++) {
        write_fill(f, CHUNK - 4096, (uint8_t)('a' + i % 26), 8192);
        check_ok(fs_rename(p->g->w.fs, FS_ROOT_INO, i % 2 ? "a" : "b", FS_ROOT_INO, i % 2 ? "b" : "a", 0));
        check_ok(fs_sync(p->g->w.fs));
        if (i % 20 == 0)
            check_ok(shale_db_flush(p->g->w.fs->db, SHALE_FLUSH_MEMTABLE));
    }
    fs_file_release(f);
    p->done = true;
}

/* Reads while steps come: of one state each. */
static void test_one_state(void **state)
{
    struct rig *g = *state;
    struct pair p = { .g = g, .ino = make_file(&g->w, FS_ROOT_INO, "a") };
    struct fs_file *f = open_file(&g->w, p.ino, O_RDWR), *r;
    static uint8_t bytes[2 * CHUNK];
    uint64_t last = 0;
    bool done;

    write_fill(f, 0, 'a', 2 * CHUNK);
    fs_file_release(f);
    check_ok(fs_sync(g->w.fs));
    close_follower(g);
    g->r.opt.poll_ms = 1;
    open_follower(g);
    r = open_file(&g->r, p.ino, O_RDONLY);
    check_ok(worker_start(&p.writer, "writer", write_rounds, &p));
    do {
        uint64_t a, b;

        done = p.done;
        assert_int_equal(fs_file_read(r, 0, bytes, sizeof(bytes)), sizeof(bytes));
        for (size_t i = 1; i < 8192; i++)
            assert_int_equal(bytes[CHUNK - 4096], bytes[CHUNK - 4096 + i]);
        a = know(g, FS_ROOT_INO, "a");
        b = know(g, FS_ROOT_INO, "b");
        assert_true((a == 0 || a == p.ino) && (b == 0 || b == p.ino));
        assert_true(status(g).seq >= last);
        last = status(g).seq;
    } while (!done);
    worker_join(&p.writer);
    fs_file_release(r);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_names),    TEST(test_links),  TEST(test_attributes), TEST(test_data),        TEST(test_removed),
        TEST(test_orphan),   TEST(test_xattrs), TEST(test_statfs),     TEST(test_listing),     TEST(test_absent),
        TEST(test_answers),  TEST(test_left_behind), TEST(test_collected), TEST(test_outage),  TEST(test_damage),
        TEST(test_requests), TEST(test_stand_still), TEST(test_overtaken), TEST(test_one_state), TEST(test_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
