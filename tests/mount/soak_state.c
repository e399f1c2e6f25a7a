/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/soak.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Numbers of inodes that the model invents, beside those of a mount. */
#define OWN_INO (UINT64_C(1) << 60)

void soak_init(struct soak *s, const char *dir, uint64_t seed)
{
    memset(s, 0, sizeof(*s));
    s->dir = dir;
    model_init(&s->m);
    s->m.keep_dead = true;
    rng_seed(&s->rng, seed);
    if (posix_memalign((void **)&s->data, SOAK_PAGE, SOAK_FILE_MAX) != 0)
        abort();
    soak_note(s);
}

static void forget_moments(struct soak *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tree_state_fini(&s->moments[i].names);
    s->n_moments -= n;
    memmove(s->moments, s->moments + n, s->n_moments * sizeof(*s->moments));
}

void soak_fini(struct soak *s)
{
    soak_close_held(s);
    forget_moments(s, s->n_moments);
    free(s->moments);
    free(s->data);
    model_fini(&s->m);
}

static bool find_path(const struct model_node *dir, const struct model_node *node, char *out, size_t len)
{
    if (dir == node)
        return true;
    for (size_t i = 0; i < dir->n; i++) {
        snprintf(out + len, PATH_MAX - len, "/%s", dir->entries[i].name);
        if (dir->entries[i].node == node)
            return true;
        if (S_ISDIR(dir->entries[i].node->mode) && find_path(dir->entries[i].node, node, out, strlen(out)))
            return true;
    }
    out[len] = '\0';
    return false;
}

void soak_path(const struct soak *s, const struct model_node *node, const char *name, char *out)
{
    snprintf(out, PATH_MAX, "%s", s->dir);
    if (!find_path(s->m.root, node, out, strlen(out)))
        tree_die("operation %" PRIu64 ": a node has no path", s->m.op);
    if (name)
        snprintf(out + strlen(out), PATH_MAX - strlen(out), "/%s", name);
}

void soak_answer(struct soak *s, const char *doing, int want, int64_t got)
{
    int error = got < 0 ? errno : 0;

    if (error == ENOTCONN || error == ECONNABORTED || error == EIO)
        s->dead = true;
    else if (error != -want)
        tree_die("operation %" PRIu64 ", %s %s %s: '%s', the model says '%s'", s->m.op, doing, s->path, s->path2,
                 strerror(error), strerror(-want));
}

/* ---- moments ---- */

void soak_note(struct soak *s)
{
    struct soak_moment *last;

    if (s->n_moments == s->cap_moments) {
        s->cap_moments = s->cap_moments * 2 + 16;
        s->moments = realloc(s->moments, s->cap_moments * sizeof(*s->moments));
        if (!s->moments)
            abort();
    }
    last = &s->moments[s->n_moments++];
    *last = (struct soak_moment){ .op = s->m.op, .names = TREE_STATE_INIT };
    tree_of_model(&last->names, &s->m);
    /* They are many: no more memory than they need. */
    last->names.text = realloc(last->names.text, last->names.len + 1);
    last->names.cap = last->names.len + 1;
}

/* Versions that nothing may show any more: those before the last that was carried. */
static void trim_versions(struct model_node *n)
{
    size_t k = 0;

    while (k < n->n_versions && n->versions[k].op <= n->carried)
        k++;
    if (k < 2)
        return;
    n->n_versions -= k - 1;
    memmove(n->versions, n->versions + k - 1, n->n_versions * sizeof(*n->versions));
}

static void trim(struct soak *s)
{
    size_t n = 0;

    if (s->is_pinned)
        return;
    while (n + 1 < s->n_moments && s->moments[n + 1].op <= s->synced)
        n++;
    forget_moments(s, n);
    if (s->n_moments > 1)
        return;
    /* The moment is the present one: its nodes have names, and were carried as they say. */
    for (struct model_node *i = s->m.all; i; i = i->next)
        trim_versions(i);
    model_forget_dead(&s->m);
}

void soak_synced(struct soak *s, struct model_node *n)
{
    s->synced = s->m.op;
    if (n)
        n->carried = s->m.op;
    for (struct model_node *i = n ? NULL : s->m.all; i; i = i->next)
        i->carried = s->m.op;
    soak_note(s);
    trim(s);
}

void soak_pin(struct soak *s)
{
    soak_note(s);
    s->is_pinned = true;
    s->pinned = s->m.op;
}

void soak_unpin(struct soak *s)
{
    s->is_pinned = false;
    trim(s);
}

/* ---- looking ---- */

static void check_open_file(struct soak *s, const struct model_node *n, int fd)
{
    ssize_t got = pread(fd, s->data, SOAK_FILE_MAX, 0);

    if (got < 0)
        tree_die("a file that is open cannot be read: %s", strerror(errno));
    if ((size_t)got != n->size || (got > 0 && memcmp(s->data, n->data, n->size) != 0))
        tree_die("an open file with %u names has %zd bytes, wanted %zu, or other ones", n->nlink, got, n->size);
}

void soak_verify(struct soak *s)
{
    struct tree_state want = TREE_STATE_INIT, there = TREE_STATE_INIT;

    tree_of_model(&want, &s->m);
    tree_of_dir(&there, s->dir, true, SOAK_FILE_MAX);
    if (!tree_names_equal(&want, &there))
        tree_die("after operation %" PRIu64 ": %s", s->m.op, tree_difference(&want, &there));
    for (size_t i = 0; i < want.n_files; i++) {
        const struct model_node *n = want.files[i].node;

        if (there.files[i].size != n->size || there.files[i].hash != model_hash(n->data, n->size))
            tree_die("after operation %" PRIu64 ": %s has %" PRIu64 " bytes, wanted %zu, or other ones", s->m.op,
                     tree_path(&there, &there.files[i]), there.files[i].size, n->size);
    }
    for (int i = 0; i < SOAK_HELD; i++)
        if (s->held[i].node)
            check_open_file(s, s->held[i].node, s->held[i].fd);
    tree_state_fini(&want);
    tree_state_fini(&there);
}

static bool is_moment(const struct soak_moment *at, const struct tree_state *there, char *why)
{
    const struct tree_file *bad;

    if (!tree_names_equal(&at->names, there))
        return false;
    bad = tree_first_mismatch(&at->names, at->op, there);
    if (bad)
        snprintf(why, PATH_MAX * 2,
                 "the names are those after operation %" PRIu64 ", but %s (%" PRIu64 " bytes) is not as it was after "
                 "any operation from %" PRIu64 " on",
                 at->op, tree_path(there, bad), bad->size, at->names.files[bad - there->files].carried);
    return !bad;
}

void soak_check_moment(struct soak *s, const char *dir, uint64_t floor)
{
    struct tree_state there = TREE_STATE_INIT;
    char why[PATH_MAX * 2] = "";
    size_t i = s->n_moments;

    tree_of_dir(&there, dir, true, SOAK_FILE_MAX);
    /* The first to compare is the last up to floor: names may not have changed since. */
    while (i > 0 && !is_moment(&s->moments[i - 1], &there, why)) {
        i--;
        if (i > 0 && s->moments[i].op <= floor)
            i = 0;
    }
    if (i == 0)
        tree_die("%s after operation %" PRIu64 ", %" PRIu64 " synced: %s%s", dir, s->m.op, floor,
                 why[0] ? why : "the names are those of no moment; beside the last: ",
                 why[0] ? "" : tree_difference(&s->moments[s->n_moments - 1].names, &there));
    tree_state_fini(&there);
}

void soak_close_held(struct soak *s)
{
    for (int i = 0; i < SOAK_HELD; i++) {
        struct model_node *n = s->held[i].node;

        if (!n)
            continue;
        s->held[i].node = NULL;
        close(s->held[i].fd);
        model_close(&s->m, n);
    }
}

/* ---- after a crash ---- */

static struct model_node *node_by_ino(const struct fs_model *m, uint64_t ino)
{
    for (struct model_node *n = m->all; n; n = n->next)
        if (n->ino == ino)
            return n;
    return NULL;
}

static void load_xattrs(struct model_node *n, const char *path)
{
    char name[16], value[SOAK_PAGE];

    for (unsigned i = 0; i < MODEL_XATTRS; i++) {
        ssize_t len;

        snprintf(name, sizeof(name), TREE_XATTR, i);
        len = lgetxattr(path, name, value, sizeof(value) - 1);
        if (len < 0)
            continue; /* the comparison before has seen all */
        value[len] = '\0';
        (void)model_set_xattr(n, i, value, 0);
    }
}

static void load_data(struct soak *s, struct fs_model *m, struct model_node *n, const char *path)
{
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, s->data, SOAK_FILE_MAX);

    if (got < 0)
        tree_die("%s: %s", path, strerror(errno));
    close(fd);
    if (got > 0)
        model_write(m, n, 0, s->data, (size_t)got);
}

static void load_entry(struct soak *s, struct fs_model *m, struct model_node *dir, const char *name, const char *path);

/* What was in the making of a listing goes. */
static void load_dir(struct soak *s, struct fs_model *m, struct model_node *dir, const char *path)
{
    char child[PATH_MAX];
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);

    if (n < 0)
        tree_die("%s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;

        snprintf(child, sizeof(child), "%s/%s", path, name);
        if (name[0] == TREE_TEMPORARY && unlink(child) < 0)
            tree_die("%s: %s", child, strerror(errno));
        if (name[0] != TREE_TEMPORARY && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            load_entry(s, m, dir, name, child);
        free(names[i]);
    }
    free(names);
}

static void load_entry(struct soak *s, struct fs_model *m, struct model_node *dir, const char *name, const char *path)
{
    char target[PATH_MAX] = "";
    struct model_node *n;
    struct stat st;

    if (lstat(path, &st) < 0 || (S_ISLNK(st.st_mode) && readlink(path, target, sizeof(target) - 1) < 0))
        tree_die("%s: %s", path, strerror(errno));
    n = node_by_ino(m, st.st_ino);
    if (n) {
        (void)model_link(m, n, dir, name);
        return;
    }
    (void)model_create(m, dir, name, st.st_mode, target, &n);
    n->ino = st.st_ino;
    if (!S_ISLNK(st.st_mode))
        load_xattrs(n, path);
    if (S_ISREG(st.st_mode))
        load_data(s, m, n, path);
    if (S_ISDIR(st.st_mode))
        load_dir(s, m, n, path);
}

void soak_recover(struct soak *s)
{
    struct fs_model m;
    struct stat st;

    soak_check_moment(s, s->dir, s->synced);
    if (stat(s->dir, &st) < 0)
        tree_die("%s: %s", s->dir, strerror(errno));
    model_init(&m);
    m.keep_dead = true;
    m.op = s->m.op;
    m.next_ino = OWN_INO;
    m.root->mode = st.st_mode;
    m.root->ino = st.st_ino;
    load_xattrs(m.root, s->dir);
    load_dir(s, &m, m.root, s->dir);
    forget_moments(s, s->n_moments);
    model_fini(&s->m);
    s->m = m;
    s->dead = false;
    soak_synced(s, NULL);
}
