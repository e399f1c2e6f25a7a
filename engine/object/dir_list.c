/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing in name order without holding a whole directory: a max-heap keeps the least limit names above
 * the last one told, and a directory with more is read again for the next window. The walk descends
 * depth first, and since a directory's key ends in '/', the order of keys in each directory makes the
 * order of whole names. Objects made or removed meanwhile may or may not show, which the contract
 * allows.
 */

#include "object/dir_list.h"

#include "base/alloc.h"
#include "object/dir_file.h"
#include "object/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Keys are the names in a directory, of a directory with "/" behind: their order is then the order of the objects'
 * full names, "a-b" < "a.b" < "a/c" < "ab".
 */
struct window {
    char **keys; /* a heap with the greatest on top while it fills, then sorted */
    size_t n, cap, limit;
    bool full; /* more keys than limit were seen */
};

struct walk {
    int root;
    size_t window;
    const char *prefix;
    const char *start_after; /* "" for all: no name is less */
    shale_list_fn fn;
    void *arg;
    bool from_fn;
    char path[STORE_NAME_MAX + 1]; /* where the walk is */
};

static void window_clear(struct window *w)
{
    for (size_t i = 0; i < w->n; i++)
        mem_free(w->keys[i]);
    w->n = 0;
    w->full = false;
}

static void window_fini(struct window *w)
{
    window_clear(w);
    mem_free(w->keys);
}

static void swap_keys(char **a, char **b)
{
    char *t = *a;

    *a = *b;
    *b = t;
}

static void sift_up(struct window *w, size_t i)
{
    for (; i > 0 && strcmp(w->keys[(i - 1) / 2], w->keys[i]) < 0; i = (i - 1) / 2)
        swap_keys(&w->keys[(i - 1) / 2], &w->keys[i]);
}

static void sift_down(struct window *w)
{
    size_t i = 0;

    for (;;) {
        size_t top = i;

        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < w->n; c++)
            if (strcmp(w->keys[top], w->keys[c]) < 0)
                top = c;
        if (top == i)
            return;
        swap_keys(&w->keys[i], &w->keys[top]);
        i = top;
    }
}

/* Keep key if it is among the smallest. */
static int window_add(struct window *w, const char *key)
{
    char *copy;

    if (w->n == w->limit) {
        w->full = true;
        if (strcmp(key, w->keys[0]) >= 0)
            return 0;
    }
    copy = mem_strdup(key);
    if (!copy || vec_reserve(&w->keys, &w->cap, w->n + 1, sizeof(char *)) < 0) {
        mem_free(copy);
        return -ENOMEM;
    }
    if (w->n == w->limit) {
        mem_free(w->keys[0]);
        w->keys[0] = copy;
        sift_down(w);
        return 0;
    }
    w->keys[w->n++] = copy;
    sift_up(w, w->n - 1);
    return 0;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* 1 for a directory, 0 for a regular file, -ENOENT for what is neither or has vanished, or another error. */
static int entry_kind(int dir, const struct dirent *e)
{
    struct stat sb;

    if (e->d_type == DT_DIR)
        return 1;
    if (e->d_type == DT_REG)
        return 0;
    if (e->d_type != DT_UNKNOWN && e->d_type != DT_LNK)
        return -ENOENT;
    if (fstatat(dir, e->d_name, &sb, 0) < 0)
        return errno == ELOOP ? -ENOENT : -errno;
    return S_ISDIR(sb.st_mode) ? 1 : S_ISREG(sb.st_mode) ? 0 : -ENOENT;
}

/* Whether w->path, an object's name or a directory's with a slash behind, can be or hold what is asked for. */
static bool wanted(const struct walk *w, size_t len)
{
    size_t prefix_len = strlen(w->prefix);
    bool is_dir = w->path[len - 1] == '/';

    if (strncmp(w->path, w->prefix, prefix_len < len ? prefix_len : len) != 0 || (!is_dir && len < prefix_len))
        return false;
    return is_dir ? strncmp(w->path, w->start_after, len) >= 0 : strcmp(w->path, w->start_after) > 0;
}

/* Consider one entry of the directory w->path[0..len) for the window of keys above after. */
static int consider(struct walk *w, size_t len, int dir, const struct dirent *e, const char *after, struct window *win)
{
    size_t n = strlen(e->d_name);
    char *key = w->path + len;
    int kind;

    /* Staged files, and whatever else is not ours, have no name of an object. */
    if (store_segment_error(e->d_name, n) || len + n + 1 > STORE_NAME_MAX)
        return 0;
    kind = entry_kind(dir, e);
    if (kind < 0)
        return kind == -ENOENT ? 0 : kind;
    memcpy(key, e->d_name, n + 1);
    if (kind == 1)
        memcpy(key + n, "/", 2);
    if (!wanted(w, len + n + (size_t)kind) || (after && strcmp(key, after) <= 0))
        return 0;
    return window_add(win, key);
}

/* A directory that vanished meanwhile holds nothing. */
static int open_dir(struct walk *w, size_t len, DIR **out)
{
    int fd, err;

    w->path[len] = '\0';
    fd = openat(w->root, len ? w->path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOTDIR || errno == ELOOP ? -ENOENT : -errno;
    *out = fdopendir(fd);
    if (*out)
        return 0;
    err = errno;
    close(fd);
    return -err;
}

/*
 * Reads the whole directory each time: for n names and windows of w it costs n/w passes, in exchange
 * for bounded memory.
 */
static int fill_window(struct walk *w, size_t len, const char *after, struct window *win)
{
    const struct dirent *e;
    DIR *d;
    int rc = open_dir(w, len, &d);

    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    while (rc == 0) {
        errno = 0;
        e = readdir(d);
        if (!e) {
            rc = -errno;
            break;
        }
        rc = consider(w, len, dirfd(d), e, after, win);
    }
    closedir(d);
    if (rc == 0 && win->n > 1)
        qsort(win->keys, win->n, sizeof(char *), by_key);
    return rc;
}

static int emit(struct walk *w)
{
    struct shale_object_meta meta = { 0 };
    struct stat sb;
    int rc;

    if (fstatat(w->root, w->path, &sb, 0) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    if (!S_ISREG(sb.st_mode))
        return 0;
    meta.size = (uint64_t)sb.st_size;
    meta.mtime_ms = store_dir_mtime_ms(&sb);
    rc = w->fn(w->arg, w->path, &meta);
    w->from_fn = rc != 0;
    return rc;
}

/*
 * The directory w->path[0..len), which is empty or ends in a slash.
 * after is the last key of a full window and the start of the next; it is moved out of the window
 * before that is cleared.
 */
static int walk_dir(struct walk *w, size_t len)
{
    struct window win = { .limit = w->window };
    char *after = NULL;
    bool more = true;
    int rc = 0;

    while (more && rc == 0) {
        rc = fill_window(w, len, after, &win);
        for (size_t i = 0; i < win.n && rc == 0; i++) {
            size_t n = strlen(win.keys[i]);

            memcpy(w->path + len, win.keys[i], n + 1);
            rc = win.keys[i][n - 1] == '/' ? walk_dir(w, len + n) : emit(w);
        }
        more = win.full;
        if (more && rc == 0) {
            mem_free(after);
            after = win.keys[--win.n];
        }
        window_clear(&win);
    }
    mem_free(after);
    window_fini(&win);
    return rc;
}

int dir_list(int root, size_t window, const char *prefix, const char *start_after, shale_list_fn fn, void *arg,
             bool *from_fn)
{
    struct walk w = {
        .root = root,
        .window = window,
        .prefix = prefix,
        .start_after = start_after ? start_after : "",
        .fn = fn,
        .arg = arg,
    };
    const char *slash = strrchr(prefix, '/');
    size_t len = slash ? (size_t)(slash - prefix) : 0;
    int rc;

    *from_fn = false;
    /* The walk begins in the deepest directory that the prefix names; what is no name there has no objects. */
    if (slash && store_name_error(prefix, len))
        return 0;
    if (slash) {
        memcpy(w.path, prefix, len);
        w.path[len++] = '/';
    }
    rc = walk_dir(&w, len);
    *from_fn = w.from_fn;
    return rc;
}
