/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

static struct model_node *node_new(struct fs_model *m, mode_t mode)
{
    struct model_node *n = must(calloc(1, sizeof(*n)));

    n->ino = m->next_ino++;
    n->mode = mode;
    n->nlink = S_ISDIR(mode) ? 2 : 1;
    n->mtime_ns = -1;
    n->next = m->all;
    m->all = n;
    m->n_nodes++;
    return n;
}

static void node_free(struct model_node *n)
{
    for (int i = 0; i < MODEL_XATTRS; i++)
        free(n->xattr[i]);
    free(n->data);
    free(n->written);
    free(n->versions);
    free(n->entries);
    free(n);
}

void model_init(struct fs_model *m)
{
    memset(m, 0, sizeof(*m));
    m->next_ino = 1;
    m->root = node_new(m, S_IFDIR | 0755);
    m->root->parent = m->root;
}

static void free_list(struct model_node *n)
{
    while (n) {
        struct model_node *next = n->next;

        node_free(n);
        n = next;
    }
}

void model_fini(struct fs_model *m)
{
    free_list(m->all);
    free_list(m->dead);
}

void model_forget_dead(struct fs_model *m)
{
    free_list(m->dead);
    m->dead = NULL;
}

/* Nodes without a name and a handle go. */
static void drop_if_unused(struct fs_model *m, struct model_node *n)
{
    if (n->nlink > 0 || n->n_open > 0)
        return;
    for (struct model_node **p = &m->all; *p; p = &(*p)->next) {
        if (*p != n)
            continue;
        *p = n->next;
        m->n_nodes--;
        if (m->keep_dead) {
            n->next = m->dead;
            m->dead = n;
        } else {
            node_free(n);
        }
        return;
    }
}

/* Where name stands or would. */
static size_t position(const struct model_node *dir, const char *name)
{
    size_t i = 0;

    while (i < dir->n && strcmp(dir->entries[i].name, name) < 0)
        i++;
    return i;
}

struct model_node *model_find(const struct model_node *dir, const char *name)
{
    size_t i = position(dir, name);

    return i < dir->n && strcmp(dir->entries[i].name, name) == 0 ? dir->entries[i].node : NULL;
}

static void set_entry(struct model_node *dir, const char *name, struct model_node *n)
{
    size_t i = position(dir, name);

    if (i == dir->n || strcmp(dir->entries[i].name, name) != 0) {
        if (dir->n == dir->cap_entries) {
            dir->cap_entries = dir->cap_entries * 2 + 8;
            dir->entries = must(realloc(dir->entries, dir->cap_entries * sizeof(*dir->entries)));
        }
        memmove(&dir->entries[i + 1], &dir->entries[i], (dir->n - i) * sizeof(*dir->entries));
        dir->n++;
        snprintf(dir->entries[i].name, MODEL_NAME, "%s", name);
    }
    dir->entries[i].node = n;
    dir->mtime_ns = -1;
    if (S_ISDIR(n->mode))
        n->parent = dir;
}

static void clear_entry(struct model_node *dir, const char *name)
{
    size_t i = position(dir, name);

    memmove(&dir->entries[i], &dir->entries[i + 1], (dir->n - i - 1) * sizeof(*dir->entries));
    dir->n--;
    dir->mtime_ns = -1;
}

int model_create(struct fs_model *m, struct model_node *dir, const char *name, mode_t mode, const char *target,
                 struct model_node **out)
{
    if (dir->nlink == 0)
        return -ENOENT;
    if (model_find(dir, name))
        return -EEXIST;
    *out = node_new(m, mode);
    if (target)
        snprintf((*out)->target, MODEL_NAME, "%s", target);
    if (S_ISDIR(mode))
        dir->nlink++;
    set_entry(dir, name, *out);
    return 0;
}

int model_link(struct fs_model *m, struct model_node *n, struct model_node *dir, const char *name)
{
    if (S_ISDIR(n->mode))
        return -EPERM;
    if (n->nlink == 0)
        return -ENOENT;
    if (model_find(dir, name))
        return -EEXIST;
    n->nlink++;
    n->carried = m->op;
    set_entry(dir, name, n);
    return 0;
}

/* An entry of dir no longer names n. */
static void unlink_node(struct fs_model *m, struct model_node *dir, struct model_node *n)
{
    if (S_ISDIR(n->mode)) {
        dir->nlink--;
        n->nlink = 0;
    } else {
        n->nlink--;
    }
    drop_if_unused(m, n);
}

int model_remove(struct fs_model *m, struct model_node *dir, const char *name, bool is_dir)
{
    struct model_node *n = model_find(dir, name);

    if (!n)
        return -ENOENT;
    if (is_dir && !S_ISDIR(n->mode))
        return -ENOTDIR;
    if (!is_dir && S_ISDIR(n->mode))
        return -EISDIR;
    if (n->n > 0)
        return -ENOTEMPTY;
    clear_entry(dir, name);
    unlink_node(m, dir, n);
    return 0;
}

static bool is_below(const struct model_node *n, const struct model_node *dir)
{
    for (; dir != n; dir = dir->parent)
        if (dir->parent == dir)
            return false;
    return true;
}

static int check_rename(const struct model_node *src, const struct model_node *dst, const struct model_node *from,
                        const struct model_node *to, unsigned flags)
{
    bool exchange = flags & RENAME_EXCHANGE;

    if (S_ISDIR(src->mode) && src != dst && is_below(src, to))
        return -EINVAL;
    if (!dst)
        return exchange ? -ENOENT : 0;
    if (flags & RENAME_NOREPLACE)
        return -EEXIST;
    if (src == dst)
        return 0;
    if (exchange)
        return S_ISDIR(dst->mode) && is_below(dst, from) ? -EINVAL : 0;
    if (S_ISDIR(dst->mode) != S_ISDIR(src->mode))
        return S_ISDIR(dst->mode) ? -EISDIR : -ENOTDIR;
    return dst->n > 0 ? -ENOTEMPTY : 0;
}

static void move_dir_link(struct model_node *n, struct model_node *from, struct model_node *to)
{
    if (S_ISDIR(n->mode)) {
        from->nlink--;
        to->nlink++;
    }
}

int model_rename(struct fs_model *m, struct model_node *from, const char *name, struct model_node *to,
                 const char *new_name, unsigned flags)
{
    struct model_node *src = model_find(from, name), *dst = model_find(to, new_name);
    int rc = src ? check_rename(src, dst, from, to, flags) : -ENOENT;

    if (rc < 0 || src == dst)
        return rc;
    src->carried = m->op;
    move_dir_link(src, from, to);
    set_entry(to, new_name, src);
    if (flags & RENAME_EXCHANGE) {
        dst->carried = m->op;
        move_dir_link(dst, to, from);
        set_entry(from, name, dst);
        return 0;
    }
    clear_entry(from, name);
    if (dst)
        unlink_node(m, to, dst);
    return 0;
}

uint64_t model_hash(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325u ^ len;

    for (; len >= 8; len -= 8, p += 8) {
        uint64_t v;

        memcpy(&v, p, 8);
        h = (h ^ v) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    for (; len > 0; len--)
        h = (h ^ *p++) * 0x100000001b3u;
    return h;
}

static void note_version(struct fs_model *m, struct model_node *n, bool cut)
{
    if (n->n_versions == n->cap_versions) {
        n->cap_versions = n->cap_versions * 2 + 8;
        n->versions = must(realloc(n->versions, n->cap_versions * sizeof(*n->versions)));
    }
    n->versions[n->n_versions++] = (struct model_version){ m->op, cut, n->size, model_hash(n->data, n->size) };
    n->mtime_ns = -1;
}

static void grow(struct model_node *n, size_t size)
{
    if (size > n->cap) {
        n->data = must(realloc(n->data, size * 2));
        n->written = must(realloc(n->written, size * 2 * sizeof(bool)));
        n->cap = size * 2;
    }
    if (size > n->size) {
        memset(n->data + n->size, 0, size - n->size);
        memset(n->written + n->size, 0, (size - n->size) * sizeof(bool));
        n->size = size;
    }
}

void model_write(struct fs_model *m, struct model_node *n, uint64_t offset, const void *data, size_t len)
{
    grow(n, offset + len);
    memcpy(n->data + offset, data, len);
    memset(n->written + offset, 1, len * sizeof(bool));
    note_version(m, n, false);
}

void model_truncate(struct fs_model *m, struct model_node *n, uint64_t size)
{
    if (size > n->size)
        grow(n, size);
    n->size = size;
    note_version(m, n, true);
    n->carried = m->op;
}

int model_set_xattr(struct model_node *n, unsigned i, const char *value, int flags)
{
    if (n->xattr[i] && (flags & XATTR_CREATE))
        return -EEXIST;
    if (!n->xattr[i] && (flags & XATTR_REPLACE))
        return -ENODATA;
    free(n->xattr[i]);
    n->xattr[i] = must(strdup(value));
    return 0;
}

int model_remove_xattr(struct model_node *n, unsigned i)
{
    if (!n->xattr[i])
        return -ENODATA;
    free(n->xattr[i]);
    n->xattr[i] = NULL;
    return 0;
}

void model_open(struct model_node *n)
{
    n->n_open++;
}

void model_close(struct fs_model *m, struct model_node *n)
{
    n->n_open--;
    drop_if_unused(m, n);
}

uint64_t model_blocks(const struct model_node *n, size_t chunk_bytes)
{
    uint64_t blocks = 0, in_chunk = 0;

    for (size_t i = 0; i < n->size; i++) {
        in_chunk += n->written[i];
        if ((i + 1) % chunk_bytes == 0 || i + 1 == n->size) {
            blocks += (in_chunk + 511) / 512;
            in_chunk = 0;
        }
    }
    return blocks;
}
