/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "fs/core/file_data.h"
#include "fs/core/extent.h"
#include "fs/core/txn.h"
#include "lib/random_env.h"
#include "lib/volume_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Random operations on a volume against a model, while its runs are compacted as chance wants: any window that is
 * allowed, cut and resumed, with snapshots that come and go. After each: what is there now and every snapshot read as
 * they did; and in the end, when all is compacted into one run, no row is left that belongs to nothing. Then filters
 * that are wrong in one point each, all of which this must find out.
 */

#define N_FILES 6
#define N_DIRS 2
#define N_NAMES 10
#define N_XATTRS 2
#define N_SNAPSHOTS 3
#define SIZE_MAX_ 640u
#define STEPS 25

struct mnode {
    uint64_t ino; /* 0: not there */
    unsigned nlink;
    size_t size;
    uint8_t data[SIZE_MAX_];
    unsigned xattr[N_XATTRS]; /* 0: none */
    struct fs_file *file;     /* open, keeps it when its names are gone */
};

struct mname {
    bool used;
    uint64_t parent;
    uint64_t ino;
    bool is_dir;
};

struct msnapshot {
    struct shale_snapshot *snap; /* NULL: free */
    char *text;
};

struct scene {
    struct volume_rig rig;
    struct rng rng;
    struct mnode files[N_FILES];
    struct mnode dirs[N_DIRS];
    struct mname names[N_NAMES]; /* name i is "n<i>" */
    struct msnapshot snapshots[N_SNAPSHOTS];
    struct rig_compaction cut; /* under way, when has_cut */
    bool has_cut;
    const char *wrong; /* what did not hold; NULL: all well */
};

static const struct fs_cred cred = { .uid = 1, .gid = 1 };

static const char *name_text(size_t i)
{
    static char text[8];

    snprintf(text, sizeof(text), "n%zu", i);
    return text;
}

static struct mnode *node_of(struct scene *s, uint64_t ino)
{
    for (size_t i = 0; i < N_FILES; i++)
        if (s->files[i].ino == ino)
            return &s->files[i];
    for (size_t i = 0; i < N_DIRS; i++)
        if (s->dirs[i].ino == ino)
            return &s->dirs[i];
    return NULL;
}

static uint64_t random_dir(struct scene *s)
{
    uint64_t ino = s->dirs[rng_below(&s->rng, N_DIRS)].ino;

    return ino && rng_below(&s->rng, 2) ? ino : FS_ROOT_INO;
}

static struct mnode *random_file(struct scene *s)
{
    struct mnode *f = &s->files[rng_below(&s->rng, N_FILES)];

    return f->ino ? f : NULL;
}

static struct mnode *free_node(struct mnode *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!v[i].ino)
            return &v[i];
    return NULL;
}

static void forget(struct scene *s, uint64_t ino)
{
    fs_forget(s->rig.fs, ino, 1);
}

/* ---- operations ---- */

static void do_create(struct scene *s, size_t name)
{
    struct mnode *f = free_node(s->files, N_FILES);
    uint64_t parent = random_dir(s);
    struct fs_attr attr;

    if (!f || s->names[name].used)
        return;
    assert_int_equal(fs_mknod(s->rig.fs, &cred, parent, name_text(name), S_IFREG | 0644, 0, &attr), 0);
    forget(s, attr.ino);
    *f = (struct mnode){ .ino = attr.ino, .nlink = 1 };
    s->names[name] = (struct mname){ .used = true, .parent = parent, .ino = attr.ino };
}

static void do_mkdir(struct scene *s, size_t name)
{
    struct mnode *d = free_node(s->dirs, N_DIRS);
    struct fs_attr attr;

    if (!d || s->names[name].used)
        return;
    assert_int_equal(fs_mkdir(s->rig.fs, &cred, FS_ROOT_INO, name_text(name), 0755, &attr), 0);
    forget(s, attr.ino);
    *d = (struct mnode){ .ino = attr.ino };
    s->names[name] = (struct mname){ .used = true, .parent = FS_ROOT_INO, .ino = attr.ino, .is_dir = true };
}

static void do_link(struct scene *s, size_t name)
{
    struct mnode *f = random_file(s);
    uint64_t parent = random_dir(s);
    struct fs_attr attr;

    if (!f || f->nlink == 0 || s->names[name].used)
        return;
    assert_int_equal(fs_link(s->rig.fs, f->ino, parent, name_text(name), &attr), 0);
    forget(s, attr.ino);
    f->nlink++;
    s->names[name] = (struct mname){ .used = true, .parent = parent, .ino = f->ino };
}

static void do_remove(struct scene *s, size_t name)
{
    struct mname *e = &s->names[name];
    struct mnode *n = e->used ? node_of(s, e->ino) : NULL;
    int rc;

    if (!n)
        return;
    if (e->is_dir) {
        rc = fs_rmdir(s->rig.fs, e->parent, name_text(name));
        if (rc == -ENOTEMPTY)
            return;
        assert_int_equal(rc, 0);
        n->ino = 0;
    } else {
        assert_int_equal(fs_unlink(s->rig.fs, e->parent, name_text(name)), 0);
        if (--n->nlink == 0 && !n->file)
            n->ino = 0;
    }
    e->used = false;
}

static void do_open(struct scene *s)
{
    struct mnode *f = random_file(s);

    if (!f)
        return;
    if (!f->file) {
        if (f->nlink > 0)
            assert_int_equal(fs_file_open(s->rig.fs, f->ino, O_RDWR, &f->file), 0);
        return;
    }
    fs_file_release(f->file);
    f->file = NULL;
    if (f->nlink == 0)
        f->ino = 0;
}

static void do_write(struct scene *s)
{
    struct mnode *f = random_file(s);
    size_t at = rng_below(&s->rng, SIZE_MAX_ - 1), len = 1 + rng_below(&s->rng, 150);
    uint8_t byte = (uint8_t)(1 + rng_below(&s->rng, 255));
    struct fs_file *file;

    if (!f)
        return;
    if (len > SIZE_MAX_ - at)
        len = SIZE_MAX_ - at;
    memset(f->data + at, byte, len);
    if (at + len > f->size)
        f->size = at + len;
    file = f->file;
    if (!file)
        assert_int_equal(fs_file_open(s->rig.fs, f->ino, O_RDWR, &file), 0);
    assert_int_equal(fs_file_write(file, at, f->data + at, len), len);
    if (!f->file)
        fs_file_release(file);
}

static void do_truncate(struct scene *s)
{
    struct mnode *f = random_file(s);
    struct fs_attr attr = { .size = 0 }, out;

    if (!f)
        return;
    attr.size = rng_below(&s->rng, 3) == 0 ? 0 : rng_below(&s->rng, SIZE_MAX_);
    assert_int_equal(fs_setattr(s->rig.fs, f->ino, FS_SET_SIZE, &attr, &out), 0);
    if (attr.size < f->size)
        memset(f->data + attr.size, 0, f->size - attr.size);
    f->size = attr.size;
}

static void do_xattr(struct scene *s)
{
    struct mnode *n = rng_below(&s->rng, 3) ? random_file(s) : &s->dirs[rng_below(&s->rng, N_DIRS)];
    size_t i = rng_below(&s->rng, N_XATTRS);
    const char *name = i ? "user.b" : "user.a";
    char value[8];

    if (!n || !n->ino)
        return;
    if (n->xattr[i] && rng_below(&s->rng, 2)) {
        assert_int_equal(fs_removexattr(s->rig.fs, n->ino, name), 0);
        n->xattr[i] = 0;
        return;
    }
    n->xattr[i] = 1 + (unsigned)rng_below(&s->rng, 99);
    snprintf(value, sizeof(value), "%u", n->xattr[i]);
    assert_int_equal(fs_setxattr(s->rig.fs, n->ino, name, value, strlen(value), 0), 0);
}

/*
 * Data in a batch without its inode. The file system does not do so today, but what a volume promises the filter is
 * only that the inode was written before; so a compaction may see a chunk alone.
 */
static void do_write_alone(struct scene *s)
{
    struct extent_list l = EXTENT_LIST_INIT;
    struct shale_buf operand = SHALE_BUF_INIT;
    struct mnode *f = random_file(s);
    struct inode *i = NULL;
    struct fs_key key;
    struct txn t;
    size_t at;

    if (!f || f->size == 0)
        return;
    assert_int_equal(file_data_writeback_all(s->rig.fs), 0);
    at = rng_below(&s->rng, f->size);
    f->data[at] = (uint8_t)(1 + rng_below(&s->rng, 255));
    assert_int_equal(inode_get(s->rig.fs, f->ino, &i), 0);
    assert_int_equal(extent_list_add_inline(&l, at % RIG_CHUNK, &f->data[at], 1), 0);
    assert_int_equal(extent_list_encode(&l, EXTENT_OPERAND, &operand), 0);
    fs_key_chunk(&key, f->ino, inode_gen_for_chunk(&i->rec, at / RIG_CHUNK), at / RIG_CHUNK);
    txn_init(&t, s->rig.fs);
    txn_merge(&t, &key, slice_of_buf(&operand));
    assert_int_equal(txn_commit(&t), 0);
    txn_fini(&t);
    inode_put(s->rig.fs, i);
    extent_list_fini(&l);
    shale_buf_fini(&operand);
}

static void operate(struct scene *s)
{
    size_t name = rng_below(&s->rng, N_NAMES);

    switch (rng_below(&s->rng, 16)) {
    case 0:
    case 1:
    case 2:
        do_create(s, name);
        break;
    case 3:
        do_mkdir(s, name);
        break;
    case 4:
        do_link(s, name);
        break;
    case 5:
    case 6:
        do_remove(s, name);
        break;
    case 7:
        do_open(s);
        break;
    case 8:
    case 9:
        do_truncate(s);
        break;
    case 10:
    case 11:
        do_xattr(s);
        break;
    case 12:
        do_write_alone(s);
        break;
    default:
        do_write(s);
    }
}

/* ---- the model's text, as rig_dump has it ---- */

static void put_names(struct shale_buf *out, const struct scene *s, uint64_t dir)
{
    for (size_t i = 0; i < N_NAMES; i++)
        if (s->names[i].used && s->names[i].parent == dir)
            assert_int_equal(buf_printf(out, " %s>%" PRIu64, name_text(i), s->names[i].ino), 0);
}

static void put_xattrs(struct shale_buf *out, const struct mnode *n)
{
    for (size_t i = 0; i < N_XATTRS; i++)
        if (n->xattr[i])
            assert_int_equal(buf_printf(out, " user.%c=%u", (int)('a' + i), n->xattr[i]), 0);
}

static void put_dir(struct shale_buf *out, const struct scene *s, const struct mnode *d, unsigned nlink)
{
    assert_int_equal(buf_printf(out, "%" PRIu64 "/ size=0 nlink=%u", d->ino, nlink), 0);
    put_names(out, s, d->ino);
    put_xattrs(out, d);
    assert_int_equal(buf_printf(out, "\n"), 0);
}

static void put_file(struct shale_buf *out, const struct mnode *f)
{
    size_t len = f->size;

    assert_int_equal(buf_printf(out, "%" PRIu64 " size=%zu nlink=%u", f->ino, f->size, f->nlink), 0);
    put_xattrs(out, f);
    assert_int_equal(buf_printf(out, " data="), 0);
    while (len > 0 && f->data[len - 1] == 0)
        len--;
    for (size_t i = 0; i < len; i++)
        assert_int_equal(buf_printf(out, "%02x", f->data[i]), 0);
    assert_int_equal(buf_printf(out, "\n"), 0);
}

static char *model_text(struct scene *s)
{
    const struct mnode root = { .ino = FS_ROOT_INO };
    struct shale_buf out = SHALE_BUF_INIT;
    unsigned n_dirs = 0;
    uint64_t last = FS_ROOT_INO;

    for (size_t i = 0; i < N_DIRS; i++)
        n_dirs += s->dirs[i].ino != 0;
    put_dir(&out, s, &root, 2 + n_dirs);
    for (;;) {
        const struct mnode *next = NULL;
        bool is_dir = false;

        for (size_t i = 0; i < N_FILES + N_DIRS; i++) {
            const struct mnode *n = i < N_FILES ? &s->files[i] : &s->dirs[i - N_FILES];

            if (n->ino > last && (!next || n->ino < next->ino)) {
                next = n;
                is_dir = i >= N_FILES;
            }
        }
        if (!next)
            return (char *)buf_take(&out);
        is_dir ? put_dir(&out, s, next, 2) : put_file(&out, next);
        last = next->ino;
    }
}

/* ---- what has to hold ---- */

static void same(struct scene *s, const char *what, const char *got, const char *want)
{
    if (strcmp(got, want) == 0 || s->wrong)
        return;
    s->wrong = what;
    if (!s->rig.filter)
        print_error("%s\n got\n%swant\n%s", what, got, want);
}

static void verify(struct scene *s)
{
    char *got = rig_dump(&s->rig, NULL, NULL), *want = model_text(s);

    same(s, "the present state", got, want);
    free(got);
    free(want);
    for (size_t i = 0; i < N_SNAPSHOTS; i++) {
        if (!s->snapshots[i].snap)
            continue;
        got = rig_dump(&s->rig, s->snapshots[i].snap, NULL);
        same(s, "a snapshot", got, s->snapshots[i].text);
        free(got);
    }
}

/* What was written goes to the engine, and no inode keeps what it has read. */
static void settle(struct scene *s)
{
    assert_int_equal(file_data_writeback_all(s->rig.fs), 0);
}

static void flush(struct scene *s)
{
    assert_int_equal(shale_db_flush(s->rig.fs->db, SHALE_FLUSH_MEMTABLE), 0);
}

static void release_snapshot(struct scene *s, struct msnapshot *m)
{
    shale_snapshot_release(s->rig.fs->db, m->snap);
    free(m->text);
    *m = (struct msnapshot){ .snap = NULL };
}

static void toggle_snapshot(struct scene *s)
{
    struct msnapshot *m = &s->snapshots[rng_below(&s->rng, N_SNAPSHOTS)];

    if (m->snap) {
        release_snapshot(s, m);
        return;
    }
    settle(s);
    assert_int_equal(shale_db_snapshot(s->rig.fs->db, &m->snap), 0);
    m->text = model_text(s);
}

/* Begin a compaction of a random window, to be cut or not. */
static bool begin_compaction(struct scene *s)
{
    struct manifest_version *v = manifest_store_current(s->rig.fs->db->manifests);
    size_t n_l0 = v->m.n_l0, n_runs = v->m.n_runs;
    size_t first_l0 = rng_below(&s->rng, n_l0 + 1), first_run = 0, n = 0;
    bool any;

    if (first_l0 == n_l0 && n_runs > 0)
        first_run = rng_below(&s->rng, n_runs);
    if (n_runs > 0)
        n = rng_below(&s->rng, n_runs - first_run + 1);
    any = first_l0 < n_l0 || n > 0;
    if (any)
        rig_compaction_init(&s->cut, &v->m, first_l0, first_run, n);
    manifest_version_unref(v);
    return any;
}

static void compact(struct scene *s)
{
    static const uint64_t sizes[] = { 1, 1200, 3000, 1 << 20 };

    if (!s->has_cut) {
        if (!begin_compaction(s))
            return;
        s->has_cut = true;
    }
    s->cut.n_progress = rng_below(&s->rng, 2) ? 1 + (unsigned)rng_below(&s->rng, 3) : 0;
    if (rig_compaction_run(&s->rig, &s->cut, sizes[rng_below(&s->rng, 4)]) == 0) {
        rig_compaction_fini(&s->cut);
        s->has_cut = false;
    }
}

static void step(struct scene *s)
{
    for (size_t n = 1 + rng_below(&s->rng, 8); n > 0; n--)
        operate(s);
    settle(s);
    if (rng_below(&s->rng, 4) == 0)
        toggle_snapshot(s);
    if (rng_below(&s->rng, 3))
        flush(s);
    if (rng_below(&s->rng, 5))
        compact(s);
    verify(s);
}

/* ---- cases ---- */

static void scene_open(struct scene *s, uint64_t seed, const struct shale_compaction_filter *wrong)
{
    static unsigned number;

    *s = (struct scene){ .wrong = NULL };
    rng_seed(&s->rng, seed);
    volume_rig_open(&s->rig, number++);
    s->rig.filter = wrong;
}

static void scene_close(struct scene *s)
{
    for (size_t i = 0; i < N_FILES; i++)
        if (s->files[i].file)
            fs_file_release(s->files[i].file);
    for (size_t i = 0; i < N_SNAPSHOTS; i++)
        release_snapshot(s, &s->snapshots[i]);
    if (s->has_cut)
        rig_compaction_fini(&s->cut);
    volume_rig_fini(&s->rig);
}

/* Nothing is open and no snapshot is held: one compaction of everything leaves nothing behind. */
static void finish(struct scene *s)
{
    size_t garbage = 0;
    struct fs_attr attr;
    char *text;

    for (size_t i = 0; i < N_FILES; i++)
        if (s->files[i].file) {
            fs_file_release(s->files[i].file);
            s->files[i].file = NULL;
            if (s->files[i].nlink == 0)
                s->files[i].ino = 0;
        }
    for (size_t i = 0; i < N_SNAPSHOTS; i++)
        release_snapshot(s, &s->snapshots[i]);
    while (s->has_cut)
        compact(s);
    assert_int_equal(fs_mknod(s->rig.fs, &cred, FS_ROOT_INO, "last", S_IFREG | 0600, 0, &attr), 0);
    assert_int_equal(fs_unlink(s->rig.fs, FS_ROOT_INO, "last"), 0);
    forget(s, attr.ino);
    flush(s);
    rig_compact_all(&s->rig);
    verify(s);
    text = rig_dump(&s->rig, NULL, &garbage);
    free(text);
    if (garbage && !s->wrong)
        s->wrong = "garbage is left";
}

/* STEPS cases on one volume; what went wrong, or NULL. */
static const char *run(uint64_t seed, const struct shale_compaction_filter *filter)
{
    struct scene s;
    const char *wrong;

    scene_open(&s, seed, filter);
    for (int i = 0; i < STEPS && !s.wrong; i++)
        step(&s);
    if (!s.wrong)
        finish(&s);
    wrong = s.wrong;
    scene_close(&s);
    return wrong;
}

static struct random_env env;

static void readers_notice_nothing_and_nothing_is_left(void **state)
{
    (void)state;
    print_message("SHALE_SEED=%" PRIu64 ", %" PRIu64 " volumes of %d cases\n", env.first, env.n, STEPS);
    for (uint64_t i = 0; i < env.n; i++) {
        const char *wrong = run(env.first + i, NULL);

        if (wrong)
            fail_msg("%s; again with SHALE_SEED=%" PRIu64, wrong, env.first + i);
    }
}

/* ---- wrong filters: the right one, told something wrong ---- */

struct wrong {
    struct shale_compaction_filter filter;
    struct fs_filter right;
    bool always_last, any_seq, no_gens, one_gen;
};

static int wrong_create(void *ctx, const struct shale_filter_context *job, void **out)
{
    struct wrong *w = ctx;
    struct shale_filter_context told = *job;

    if (w->always_last)
        told.is_last_run = true;
    if (w->any_seq)
        told.retention_min_seq = UINT64_MAX;
    return w->right.filter.create(&w->right, &told, out);
}

static struct wrong *deciding; /* decide is not given the context */

static int wrong_decide(void *filter, const struct shale_row *row, struct shale_buf *new_value)
{
    struct shale_row told = *row;
    struct fs_key_parts k;
    struct fs_key key;

    if (fs_key_parse(row->key, &k) == 0 && k.kind == FS_KEY_CHUNK) {
        /* no_gens: a generation that nothing replaces; one_gen: as if the file had the one of its last chunk. */
        fs_key_chunk(&key, k.ino, deciding->no_gens ? UINT32_MAX : k.gen, deciding->one_gen ? UINT64_MAX : k.chunk);
        told.key = fs_key_slice(&key);
    }
    return deciding->right.filter.decide(filter, &told, new_value);
}

static void wrong_init(struct wrong *w)
{
    *w = (struct wrong){ .no_gens = false };
    fs_filter_init(&w->right);
    w->filter = w->right.filter;
    w->filter.ctx = w;
    w->filter.create = wrong_create;
    w->filter.decide = wrong_decide;
    deciding = w;
}

/* Runs until it is found out, in 200 volumes at most. */
static void is_found_out(struct wrong *w, const char *as)
{
    const char *found = NULL;

    for (uint64_t i = 0; i < 200 && !found; i++)
        found = run(env.first + i, &w->filter);
    if (!found)
        fail_msg("a wrong filter went unnoticed with SHALE_SEED=%" PRIu64, env.first);
    if (as)
        assert_string_equal(found, as);
}

static void a_filter_that_takes_every_run_for_the_last_is_found_out(void **state)
{
    struct wrong w;

    (void)state;
    wrong_init(&w);
    w.always_last = true;
    is_found_out(&w, NULL);
}

static void a_filter_that_forgets_readers_is_found_out(void **state)
{
    struct wrong w;

    (void)state;
    wrong_init(&w);
    w.any_seq = true;
    is_found_out(&w, "a snapshot");
}

static void a_filter_that_knows_no_generations_is_found_out(void **state)
{
    struct wrong w;

    (void)state;
    wrong_init(&w);
    w.no_gens = true;
    is_found_out(&w, "garbage is left");
    wrong_init(&w);
    w.one_gen = true;
    is_found_out(&w, NULL);
}

static void a_filter_that_does_not_look_back_is_found_out(void **state)
{
    struct wrong w;

    (void)state;
    wrong_init(&w);
    w.filter.resume_from = NULL;
    is_found_out(&w, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_notice_nothing_and_nothing_is_left),
        cmocka_unit_test(a_filter_that_takes_every_run_for_the_last_is_found_out),
        cmocka_unit_test(a_filter_that_forgets_readers_is_found_out),
        cmocka_unit_test(a_filter_that_knows_no_generations_is_found_out),
        cmocka_unit_test(a_filter_that_does_not_look_back_is_found_out),
    };

    env = random_env(200);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
