/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/tree_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define XATTR_BYTES 4096

void tree_die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    exit(1);
}

void tree_state_fini(struct tree_state *t)
{
    free(t->text);
    free(t->files);
    *t = (struct tree_state)TREE_STATE_INIT;
}

static void add(struct tree_state *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct tree_state *t, const char *fmt, ...)
{
    va_list ap;

    if (t->len + 2 * PATH_MAX > t->cap) {
        t->cap = t->cap * 2 + 4 * PATH_MAX;
        t->text = realloc(t->text, t->cap);
        if (!t->text)
            abort();
    }
    va_start(ap, fmt);
    t->len += (size_t)vsnprintf(t->text + t->len, t->cap - t->len, fmt, ap);
    va_end(ap);
}

static void add_line(struct tree_state *t, const char *path, mode_t mode, nlink_t nlink, const char *target)
{
    add(t, "%s mode %o links %lu%s%s", path, mode, (unsigned long)nlink, target[0] ? " -> " : "", target);
}

static struct tree_file *add_file(struct tree_state *t, size_t line)
{
    if (t->n_files == t->cap_files) {
        t->cap_files = t->cap_files * 2 + 16;
        t->files = realloc(t->files, t->cap_files * sizeof(*t->files));
        if (!t->files)
            abort();
    }
    t->files[t->n_files] = (struct tree_file){ .line = line };
    return &t->files[t->n_files++];
}

/* ---- of a model ---- */

static void add_node(struct tree_state *t, const struct model_node *n, const char *path)
{
    char child[PATH_MAX];
    size_t line = t->len;

    add_line(t, path, n->mode, n->nlink, n->target);
    for (unsigned i = 0; i < MODEL_XATTRS; i++)
        if (n->xattr[i])
            add(t, " " TREE_XATTR "=%s", i, n->xattr[i]);
    add(t, "\n");
    if (S_ISREG(n->mode)) {
        struct tree_file *f = add_file(t, line);

        f->node = n;
        f->carried = n->carried;
    }
    for (size_t i = 0; i < n->n; i++) {
        snprintf(child, sizeof(child), "%s/%s", path, n->entries[i].name);
        add_node(t, n->entries[i].node, child);
    }
}

void tree_of_model(struct tree_state *t, const struct fs_model *m)
{
    t->len = t->n_files = 0;
    add_node(t, m->root, "");
}

/* ---- of a mount ---- */

static void add_xattrs(struct tree_state *t, const char *full)
{
    char names[XATTR_BYTES], value[XATTR_LIST_MAX];
    ssize_t n = llistxattr(full, names, sizeof(names));

    if (n < 0)
        tree_die("attributes of %s: %s", full, strerror(errno));
    for (const char *name = names; name < names + n; name += strlen(name) + 1) {
        ssize_t len = lgetxattr(full, name, value, sizeof(value) - 1);

        if (len < 0)
            tree_die("attribute %s of %s: %s", name, full, strerror(errno));
        value[len] = '\0';
        add(t, " %s=%s", name, value);
    }
}

static void load_file(struct tree_file *f, const char *path, size_t size_max)
{
    static uint8_t *data;
    static size_t cap;
    int fd = open(path, O_RDONLY);
    ssize_t n;

    if (cap < size_max + 1) {
        free(data);
        data = malloc(cap = size_max + 1);
        if (!data)
            abort();
    }
    n = fd < 0 ? -1 : read(fd, data, cap);
    if (n < 0)
        tree_die("%s: %s", path, strerror(errno));
    close(fd);
    f->size = (uint64_t)n;
    f->hash = model_hash(data, (size_t)n);
}

static void add_path(struct tree_state *t, const char *root, const char *path, bool contents, size_t size_max)
{
    char full[PATH_MAX], child[PATH_MAX], target[PATH_MAX] = "";
    struct dirent **names;
    struct stat st;
    size_t line = t->len;
    int n;

    snprintf(full, sizeof(full), "%s%s", root, path);
    if (lstat(full, &st) < 0)
        tree_die("%s: %s", full, strerror(errno));
    if (S_ISLNK(st.st_mode) && readlink(full, target, sizeof(target) - 1) < 0)
        tree_die("%s: %s", full, strerror(errno));
    add_line(t, path, st.st_mode, st.st_nlink, target);
    if (!S_ISLNK(st.st_mode))
        add_xattrs(t, full);
    add(t, "\n");
    if (S_ISREG(st.st_mode)) {
        struct tree_file *f = add_file(t, line);

        if (contents)
            load_file(f, full, size_max);
    }
    if (!S_ISDIR(st.st_mode))
        return;
    n = scandir(full, &names, NULL, alphasort);
    if (n < 0)
        tree_die("%s: %s", full, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;

        snprintf(child, sizeof(child), "%s/%s", path, name);
        if (name[0] != TREE_TEMPORARY && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            add_path(t, root, child, contents, size_max);
        free(names[i]);
    }
    free(names);
}

void tree_of_dir(struct tree_state *t, const char *root, bool contents, size_t size_max)
{
    t->len = t->n_files = 0;
    add_path(t, root, "", contents, size_max);
}

/* ---- comparing ---- */

bool tree_names_equal(const struct tree_state *a, const struct tree_state *b)
{
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

static size_t line_len(const struct tree_state *t, size_t from)
{
    size_t end = from;

    while (end < t->len && t->text[end] != '\n')
        end++;
    return end - from;
}

const char *tree_difference(const struct tree_state *a, const struct tree_state *b)
{
    static char out[2 * PATH_MAX];
    size_t at = 0, i = 0;

    for (; i < a->len && i < b->len && a->text[i] == b->text[i]; i++)
        if (a->text[i] == '\n')
            at = i + 1;
    snprintf(out, sizeof(out), "'%.*s' became '%.*s'", (int)line_len(a, at), a->text + at, (int)line_len(b, at),
             b->text + at);
    return out;
}

const char *tree_path(const struct tree_state *t, const struct tree_file *file)
{
    static char out[PATH_MAX];

    snprintf(out, sizeof(out), "%.*s", (int)strcspn(t->text + file->line, " "), t->text + file->line);
    return out;
}

bool tree_file_matches(const struct model_node *node, uint64_t p, uint64_t carried, uint64_t size, uint64_t hash)
{
    size_t k = 0;

    if (!node)
        return false;
    while (k < node->n_versions && node->versions[k].op <= carried)
        k++;
    if (k == 0 && size == 0)
        return true;
    for (k -= k > 0; k < node->n_versions; k++) {
        const struct model_version *v = &node->versions[k];

        if (v->cut && v->op > p)
            return false;
        if (v->size == size && v->hash == hash)
            return true;
    }
    return false;
}

const struct tree_file *tree_first_mismatch(const struct tree_state *at, uint64_t p, const struct tree_state *there)
{
    for (size_t i = 0; i < there->n_files; i++) {
        const struct tree_file *f = &there->files[i], *m = &at->files[i];

        if (!tree_file_matches(m->node, p, m->carried, f->size, f->hash))
            return f;
    }
    return NULL;
}

void tree_fill(uint8_t *p, uint64_t op, uint64_t offset, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t at = offset + i, word = (op << 24 | at >> 3) * 0x9e3779b97f4a7c15u;

        p[i] = (uint8_t)(word >> (8 * (at & 7)));
    }
}
