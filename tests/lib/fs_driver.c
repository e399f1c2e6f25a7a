/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_driver.h"

#include "lib/check.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static const char *const kind_names[DRIVE_N_KINDS] = {
    "create", "create and open", "mkdir", "symlink", "link", "unlink", "rmdir", "rename", "chmod", "utimens", "truncate",
    "setxattr", "removexattr", "open", "close", "write", "read", "fsync", "fsync of a directory", "sync", "lookup",
};

/* How often each comes, of all of them together. */
static const unsigned weights[DRIVE_N_KINDS] = { 8, 10, 6, 3, 5, 9, 4, 14, 3, 2, 6, 3, 2, 8, 6, 30, 8, 3, 1, 1, 4 };

static const struct fs_cred cred = { 0, 0 };

void driver_init(struct fs_driver *d, uint64_t seed, size_t chunk_bytes)
{
    memset(d, 0, sizeof(*d));
    rng_seed(&d->rng, seed);
    model_init(&d->model);
    d->chunk_bytes = chunk_bytes;
    d->fsync_limit = UINT64_MAX;
}

void driver_fini(struct fs_driver *d)
{
    model_fini(&d->model);
}

static unsigned below(struct fs_driver *d, unsigned n)
{
    return (unsigned)rng_below(&d->rng, n);
}

/* ---- choosing ---- */

/* A node with a name; dirs says of which kind. NULL when there is none. */
static struct model_node *pick(struct fs_driver *d, bool dirs)
{
    struct model_node *chosen = NULL;
    unsigned n = 0;

    for (struct model_node *i = d->model.all; i; i = i->next)
        if (i->nlink > 0 && !!S_ISDIR(i->mode) == dirs && below(d, ++n) == 0)
            chosen = i;
    return chosen;
}

static struct model_node *pick_file(struct fs_driver *d)
{
    struct model_node *n = pick(d, false);

    return n && S_ISREG(n->mode) ? n : NULL;
}

/* Mostly a name that is there. */
static void pick_name(struct fs_driver *d, const struct model_node *dir, bool existing, char out[MODEL_NAME])
{
    if (existing && dir->n > 0 && below(d, 8))
        snprintf(out, MODEL_NAME, "%s", dir->entries[below(d, (unsigned)dir->n)].name);
    else
        snprintf(out, MODEL_NAME, "n%u", below(d, 12));
}

static enum driver_kind pick_kind(struct fs_driver *d)
{
    unsigned sum = 0, at, k = 0;

    for (unsigned i = 0; i < DRIVE_N_KINDS; i++)
        sum += weights[i];
    at = below(d, sum);
    while (at >= weights[k])
        at -= weights[k++];
    return (enum driver_kind)k;
}

static void choose_range(struct fs_driver *d, struct driver_op *op)
{
    op->len = below(d, 10) ? 1 + below(d, 6000) : 1 + below(d, 150u << 10);
    op->offset = below(d, 4) && op->node ? below(d, (unsigned)op->node->size + 1) : below(d, DRIVER_FILE_MAX);
    if (op->offset + op->len > DRIVER_FILE_MAX)
        op->offset = DRIVER_FILE_MAX - op->len;
}

void driver_choose(struct fs_driver *d)
{
    struct driver_op *op = &d->op;
    static const unsigned rename_flags[] = { 0, 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };

    memset(op, 0, sizeof(*op));
    op->kind = pick_kind(d);
    if (d->model.n_nodes > 60 && op->kind <= DRIVE_LINK)
        op->kind = below(d, 3) ? DRIVE_UNLINK : DRIVE_RMDIR;
    op->dir = pick(d, true);
    op->dir2 = below(d, 2) ? op->dir : pick(d, true);
    op->slot = below(d, DRIVER_SLOTS);
    op->node = d->slots[op->slot].node;
    if (op->kind == DRIVE_TRUNCATE || op->kind == DRIVE_OPEN)
        op->node = pick_file(d);
    else if (op->kind == DRIVE_LINK)
        op->node = pick(d, below(d, 20) == 0);
    else if (op->kind >= DRIVE_CHMOD && op->kind <= DRIVE_REMOVE_XATTR)
        op->node = pick(d, below(d, 3) == 0);
    pick_name(d, op->dir, op->kind >= DRIVE_UNLINK, op->name);
    pick_name(d, op->dir2, below(d, 2), op->name2);
    op->flags = op->kind == DRIVE_RENAME ? rename_flags[below(d, 6)] : below(d, 3);
    op->x = below(d, MODEL_XATTRS);
    op->mode = below(d, 01000);
    op->time_ns = (int64_t)(rng_next(&d->rng) >> 2);
    choose_range(d, op);
    if (op->kind == DRIVE_TRUNCATE)
        op->offset = below(d, 4) ? op->offset : 0;
    op->dir_ino = op->dir->ino;
    op->dir2_ino = op->dir2->ino;
    op->node_ino = op->node ? op->node->ino : 0;
}

void driver_describe(const struct driver_op *op, char *out, size_t cap)
{
    snprintf(out, cap, "%s dir %llu '%s' dir %llu '%s' node %llu slot %u flags %u offset %llu len %llu",
             kind_names[op->kind], (unsigned long long)op->dir_ino, op->name, (unsigned long long)op->dir2_ino, op->name2,
             (unsigned long long)op->node_ino, op->slot, op->flags, (unsigned long long)op->offset,
             (unsigned long long)op->len);
}

bool driver_is_sync(const struct driver_op *op)
{
    return (op->kind == DRIVE_FSYNC && op->node) || op->kind == DRIVE_FSYNC_DIR || op->kind == DRIVE_SYNC;
}

/* ---- doing ---- */

/* Each byte tells which operation wrote it, and where. */
static void fill(uint8_t *p, uint64_t op, uint64_t offset, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t at = offset + i, word = (op << 24 | at >> 3) * 0x9e3779b97f4a7c15u;

        p[i] = (uint8_t)(word >> (8 * (at & 7)));
    }
}

static void answer(struct fs_driver *d, int64_t want, int64_t got)
{
    char text[256];

    if (want == got)
        return;
    if (d->may_fail && got < 0) {
        d->failure = d->failure ? d->failure : (int)got;
        return;
    }
    driver_describe(&d->op, text, sizeof(text));
    fail_msg("operation %llu (%s) gave %lld, not %lld: %s", (unsigned long long)d->model.op, text, (long long)got,
             (long long)want, shale_errmsg());
}

/* Creation of every kind. */
static void do_create(struct fs_driver *d)
{
    static const mode_t types[] = { [DRIVE_CREATE] = S_IFREG, [DRIVE_CREATE_OPEN] = S_IFREG, [DRIVE_MKDIR] = S_IFDIR,
                                    [DRIVE_SYMLINK] = S_IFLNK };
    const struct driver_op *op = &d->op;
    bool is_link = op->kind == DRIVE_SYMLINK;
    bool opens = op->kind == DRIVE_CREATE_OPEN && !d->slots[op->slot].node;
    struct fs_file *file = NULL;
    struct model_node *n = NULL;
    struct fs_attr a = { 0 };
    int got = 0, want = model_create(&d->model, op->dir, op->name, types[op->kind] | (is_link ? 0777 : op->mode),
                                     is_link ? op->name2 : NULL, &n);

    if (d->fs && opens)
        got = fs_file_create(d->fs, &cred, op->dir_ino, op->name, op->mode, O_RDWR, &a, &file);
    else if (d->fs && op->kind == DRIVE_MKDIR)
        got = fs_mkdir(d->fs, &cred, op->dir_ino, op->name, op->mode, &a);
    else if (d->fs && is_link)
        got = fs_symlink(d->fs, &cred, op->name2, op->dir_ino, op->name, &a);
    else if (d->fs)
        got = fs_mknod(d->fs, &cred, op->dir_ino, op->name, S_IFREG | op->mode, 0, &a);
    if (d->fs)
        answer(d, want, got);
    if (d->fs && got == 0)
        fs_forget(d->fs, a.ino, 1);
    if (want == 0 && d->fs && got == 0)
        n->ino = a.ino;
    if (want == 0 && opens) {
        d->slots[op->slot].node = n;
        d->slots[op->slot].file = file;
        model_open(n);
    }
}

static void do_names(struct fs_driver *d)
{
    const struct driver_op *op = &d->op;
    struct fs_attr a;
    int want, got = 0;

    if (op->kind == DRIVE_LINK) {
        if (!op->node)
            return;
        want = model_link(&d->model, op->node, op->dir, op->name);
        if (d->fs)
            got = fs_link(d->fs, op->node_ino, op->dir_ino, op->name, &a);
        if (d->fs && got == 0)
            fs_forget(d->fs, a.ino, 1);
    } else if (op->kind == DRIVE_RENAME) {
        want = model_rename(&d->model, op->dir, op->name, op->dir2, op->name2, op->flags);
        if (d->fs)
            got = fs_rename(d->fs, op->dir_ino, op->name, op->dir2_ino, op->name2, op->flags);
    } else {
        want = model_remove(&d->model, op->dir, op->name, op->kind == DRIVE_RMDIR);
        if (d->fs)
            got = (op->kind == DRIVE_RMDIR ? fs_rmdir : fs_unlink)(d->fs, op->dir_ino, op->name);
    }
    if (d->fs)
        answer(d, want, got);
}

static void do_attr(struct fs_driver *d)
{
    const struct driver_op *op = &d->op;
    struct fs_attr a = { .mode = op->mode, .size = op->offset, .mtime_ns = op->time_ns };
    unsigned set = op->kind == DRIVE_CHMOD ? FS_SET_MODE : op->kind == DRIVE_UTIMENS ? FS_SET_MTIME : FS_SET_SIZE;

    if (!op->node || (op->kind == DRIVE_CHMOD && S_ISLNK(op->node->mode)))
        return;
    if (op->kind == DRIVE_CHMOD)
        op->node->mode = (op->node->mode & S_IFMT) | op->mode;
    else if (op->kind == DRIVE_TRUNCATE)
        model_truncate(&d->model, op->node, op->offset);
    else
        op->node->mtime_ns = op->time_ns;
    if (d->fs)
        answer(d, 0, fs_setattr(d->fs, op->node_ino, set, &a, &a));
}

static void do_xattr(struct fs_driver *d)
{
    static const int flags[] = { 0, XATTR_CREATE, XATTR_REPLACE };
    const struct driver_op *op = &d->op;
    char name[32], value[32];
    int want, got = 0;

    if (!op->node)
        return;
    snprintf(name, sizeof(name), DRIVER_XATTR, op->x);
    snprintf(value, sizeof(value), "of %llu", (unsigned long long)d->model.op);
    if (op->kind == DRIVE_SET_XATTR) {
        want = model_set_xattr(op->node, op->x, value, flags[op->flags]);
        if (d->fs)
            got = fs_setxattr(d->fs, op->node_ino, name, value, strlen(value), flags[op->flags]);
    } else {
        want = model_remove_xattr(op->node, op->x);
        if (d->fs)
            got = fs_removexattr(d->fs, op->node_ino, name);
    }
    if (d->fs)
        answer(d, want, got);
}

static void close_slot(struct fs_driver *d, unsigned slot)
{
    if (!d->slots[slot].node)
        return;
    if (d->slots[slot].file)
        fs_file_release(d->slots[slot].file);
    model_close(&d->model, d->slots[slot].node);
    d->slots[slot].node = NULL;
    d->slots[slot].file = NULL;
}

static void do_open(struct fs_driver *d)
{
    const struct driver_op *op = &d->op;

    if (!op->node || d->slots[op->slot].node)
        return;
    d->slots[op->slot].node = op->node;
    model_open(op->node);
    if (d->fs)
        answer(d, 0, fs_file_open(d->fs, op->node_ino, O_RDWR, &d->slots[op->slot].file));
}

static void compare_bytes(struct fs_driver *d, const struct model_node *n, uint64_t offset, const uint8_t *got, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (got[i] != n->data[offset + i])
            fail_msg("operation %llu: inode %llu, byte %llu is %02x, not %02x", (unsigned long long)d->model.op,
                     (unsigned long long)n->ino, (unsigned long long)(offset + i), got[i], n->data[offset + i]);
}

static void do_io(struct fs_driver *d)
{
    const struct driver_op *op = &d->op;
    struct fs_file *file = d->slots[op->slot].file;
    struct model_node *n = op->node;
    uint8_t *p;

    if (!n)
        return;
    p = malloc(op->len);
    assert_non_null(p);
    if (op->kind == DRIVE_WRITE) {
        fill(p, d->model.op, op->offset, op->len);
        model_write(&d->model, n, op->offset, p, op->len);
        if (file)
            answer(d, (int64_t)op->len, fs_file_write(file, op->offset, p, op->len));
    } else if (file) {
        size_t want = op->offset >= n->size ? 0 : n->size - op->offset < op->len ? n->size - op->offset : op->len;

        answer(d, (int64_t)want, fs_file_read(file, op->offset, p, op->len));
        if (!d->failure)
            compare_bytes(d, n, op->offset, p, want);
    }
    free(p);
}

static int fsync_dir(struct fs *fs, uint64_t ino)
{
    struct fs_dir *dir;
    int rc = fs_dir_open(fs, ino, &dir);

    if (rc < 0)
        return rc;
    rc = fs_dir_fsync(dir);
    fs_dir_release(dir);
    return rc;
}

static void do_sync(struct fs_driver *d)
{
    const struct driver_op *op = &d->op;
    bool all = op->kind == DRIVE_SYNC || (op->kind == DRIVE_FSYNC_DIR && op->dir == d->model.root);
    int got = 0;

    if (op->kind == DRIVE_FSYNC && !op->node)
        return;
    for (struct model_node *n = d->model.all; n; n = n->next)
        if ((all || (op->kind == DRIVE_FSYNC && n == op->node)) && d->model.op <= d->fsync_limit)
            n->carried = d->model.op;
    if (!d->fs)
        return;
    if (op->kind == DRIVE_SYNC)
        got = fs_sync(d->fs);
    else if (op->kind == DRIVE_FSYNC_DIR)
        got = fsync_dir(d->fs, op->dir_ino);
    else if (d->slots[op->slot].file)
        got = fs_file_fsync(d->slots[op->slot].file, op->flags == 1);
    answer(d, 0, got);
}

static void do_lookup(struct fs_driver *d)
{
    const struct driver_op *op = &d->op;
    const struct model_node *n = model_find(op->dir, op->name);
    struct fs_attr a = { 0 };

    if (!d->fs)
        return;
    answer(d, n ? 0 : -ENOENT, fs_lookup(d->fs, op->dir_ino, op->name, &a));
    if (n && a.ino == n->ino)
        fs_forget(d->fs, a.ino, 1);
    else if (n && !d->failure)
        fail_msg("'%s' is inode %llu, not %llu", op->name, (unsigned long long)a.ino, (unsigned long long)n->ino);
}

void driver_apply(struct fs_driver *d)
{
    static void (*const doers[DRIVE_N_KINDS])(struct fs_driver *d) = {
        do_create, do_create, do_create, do_create, do_names, do_names, do_names, do_names, do_attr, do_attr, do_attr,
        do_xattr, do_xattr, do_open, NULL, do_io, do_io, do_sync, do_sync, do_sync, do_lookup,
    };

    d->model.op++;
    if (d->op.kind == DRIVE_CLOSE)
        close_slot(d, d->op.slot);
    else
        doers[d->op.kind](d);
}

void driver_step(struct fs_driver *d)
{
    driver_choose(d);
    driver_apply(d);
}

void driver_close_all(struct fs_driver *d)
{
    for (unsigned i = 0; i < DRIVER_SLOTS; i++)
        close_slot(d, i);
}

/* ---- comparing ---- */

static void compare_attr(struct fs_driver *d, const struct model_node *n)
{
    struct fs_attr a;

    assert_int_equal(fs_getattr(d->fs, n->ino, &a), 0);
    if (a.mode != n->mode || a.nlink != n->nlink)
        fail_msg("inode %llu has mode %o and %u links, not %o and %u", (unsigned long long)n->ino, a.mode, a.nlink, n->mode,
                 n->nlink);
    if (n->mtime_ns >= 0 && a.mtime_ns != n->mtime_ns)
        fail_msg("inode %llu has another mtime than it was given", (unsigned long long)n->ino);
    if (S_ISLNK(n->mode) && a.size != strlen(n->target))
        fail_msg("symlink %llu has size %llu", (unsigned long long)n->ino, (unsigned long long)a.size);
    if (!S_ISREG(n->mode))
        return;
    if (a.size != n->size || a.blocks != model_blocks(n, d->chunk_bytes))
        fail_msg("inode %llu has %llu bytes and %llu blocks, not %zu and %llu", (unsigned long long)n->ino,
                 (unsigned long long)a.size, (unsigned long long)a.blocks, n->size,
                 (unsigned long long)model_blocks(n, d->chunk_bytes));
}

static void compare_content(struct fs_driver *d, const struct model_node *n)
{
    struct fs_file *file;
    uint8_t *got = malloc(n->size + 1);

    assert_non_null(got);
    assert_int_equal(fs_file_open(d->fs, n->ino, O_RDONLY, &file), 0);
    assert_int_equal(fs_file_read(file, 0, got, n->size + 1), n->size);
    compare_bytes(d, n, 0, got, n->size);
    fs_file_release(file);
    free(got);
}

static void compare_xattrs(struct fs_driver *d, const struct model_node *n)
{
    struct shale_buf got = SHALE_BUF_INIT, want = SHALE_BUF_INIT;
    char name[32];

    for (unsigned i = 0; i < MODEL_XATTRS; i++) {
        snprintf(name, sizeof(name), DRIVER_XATTR, i);
        assert_int_equal(fs_getxattr(d->fs, n->ino, name, &got), n->xattr[i] ? 0 : -ENODATA);
        if (!n->xattr[i])
            continue;
        assert_true(slice_eq(slice_of_buf(&got), slice_str(n->xattr[i])));
        assert_int_equal(shale_buf_append(&want, name, strlen(name) + 1), 0);
    }
    assert_int_equal(fs_listxattr(d->fs, n->ino, &got), 0);
    assert_true(slice_eq(slice_of_buf(&got), slice_of_buf(&want)));
    shale_buf_fini(&got);
    shale_buf_fini(&want);
}

static void compare_link(struct fs_driver *d, const struct model_node *n)
{
    struct shale_buf got = SHALE_BUF_INIT;

    assert_int_equal(fs_readlink(d->fs, n->ino, &got), 0);
    assert_true(slice_eq(slice_of_buf(&got), slice_str(n->target)));
    shale_buf_fini(&got);
}

static void compare_entries(struct fs_driver *d, const struct model_node *n)
{
    struct fs_dirent e;
    struct fs_dir *dir;
    uint64_t cookie = 0;
    size_t i = 0;
    int rc;

    assert_int_equal(fs_dir_open(d->fs, n->ino, &dir), 0);
    while ((rc = fs_dir_read(dir, cookie, &e)) == 0) {
        const struct model_node *want = cookie == 0 ? n : cookie == 1 ? n->parent : i < n->n ? n->entries[i].node : NULL;

        if (cookie >= 2 && (!want || strcmp(e.name, n->entries[i++].name) != 0))
            fail_msg("directory %llu has '%s' and should not", (unsigned long long)n->ino, e.name);
        if (e.ino != want->ino || e.type != (want->mode & S_IFMT))
            fail_msg("directory %llu: '%s' is inode %llu", (unsigned long long)n->ino, e.name, (unsigned long long)e.ino);
        cookie = e.cookie;
    }
    assert_int_equal(rc, SHALE_END);
    if (i != n->n)
        fail_msg("directory %llu lacks '%s'", (unsigned long long)n->ino, n->entries[i].name);
    fs_dir_release(dir);
}

void driver_compare(struct fs_driver *d)
{
    for (const struct model_node *n = d->model.all; n; n = n->next) {
        compare_attr(d, n);
        compare_xattrs(d, n);
        if (S_ISDIR(n->mode))
            compare_entries(d, n);
        else if (S_ISLNK(n->mode))
            compare_link(d, n);
        else
            compare_content(d, n);
    }
}
