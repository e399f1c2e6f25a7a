/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/soak.h"

#include "base/rng.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The operations of a worker. What is chosen depends on the seed and the model; a wrong answer ends the program. */

enum kind {
    CREATE, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME, CHMOD, TRUNCATE, WRITE, HOLD, WRITE_HELD, READ, MAP, SET_XATTR,
    REMOVE_XATTR, LIST, FSYNC, FSYNC_DIR, N_KINDS
};

/* How often of 100. */
static const unsigned weights[N_KINDS] = {
    [CREATE] = 13, [MKDIR] = 3, [SYMLINK] = 2, [LINK] = 4, [UNLINK] = 8, [RMDIR] = 2, [RENAME] = 9, [CHMOD] = 2,
    [TRUNCATE] = 5, [WRITE] = 18, [HOLD] = 5, [WRITE_HELD] = 7, [READ] = 8, [MAP] = 2, [SET_XATTR] = 4,
    [REMOVE_XATTR] = 2, [LIST] = 4, [FSYNC] = 1, [FSYNC_DIR] = 1,
};

static unsigned below(struct soak *s, unsigned n)
{
    return (unsigned)rng_below(&s->rng, n);
}

/* ---- choosing ---- */

static struct model_node *pick(struct soak *s, mode_t type, mode_t other)
{
    struct model_node *found = NULL;
    unsigned n = 0;

    for (struct model_node *i = s->m.all; i; i = i->next)
        if (i->nlink > 0 && ((i->mode & S_IFMT) == type || (i->mode & S_IFMT) == other) && below(s, ++n) == 0)
            found = i;
    return found;
}

static struct model_node *pick_file(struct soak *s)
{
    return pick(s, S_IFREG, S_IFREG);
}

/* The root often, so that it grows beyond what one answer of readdir holds. */
static struct model_node *pick_dir(struct soak *s)
{
    return below(s, 3) == 0 ? s->m.root : pick(s, S_IFDIR, S_IFDIR);
}

static void pick_name(struct soak *s, const struct model_node *dir, char *out)
{
    snprintf(out, MODEL_NAME, "n%u", below(s, dir == s->m.root ? 4 * SOAK_NODES : 8));
}

/* A name that is there, mostly. */
static void pick_entry(struct soak *s, const struct model_node *dir, char *out)
{
    if (dir->n > 0 && below(s, 8))
        snprintf(out, MODEL_NAME, "%s", dir->entries[below(s, (unsigned)dir->n)].name);
    else
        pick_name(s, dir, out);
}

static enum kind pick_kind(struct soak *s)
{
    unsigned x = below(s, 100), k = 0;

    while (x >= weights[k])
        x -= weights[k++];
    if (s->m.n_nodes >= SOAK_NODES && (k == CREATE || k == MKDIR || k == SYMLINK))
        return UNLINK;
    return (enum kind)k;
}

/* ---- names ---- */

static void make(struct soak *s, enum kind k)
{
    struct model_node *dir = pick_dir(s), *made;
    mode_t mode = k == CREATE ? S_IFREG | 0640 : k == MKDIR ? S_IFDIR | 0750 : S_IFLNK | 0777;
    char name[MODEL_NAME], target[MODEL_NAME] = "";
    int fd, want;

    pick_name(s, dir, name);
    if (k == SYMLINK)
        pick_name(s, dir, target);
    soak_path(s, dir, name, s->path);
    want = model_create(&s->m, dir, name, mode, target, &made);
    if (k == CREATE) {
        fd = open(s->path, O_CREAT | O_EXCL | O_WRONLY, 0640);
        soak_answer(s, "create", want, fd);
        if (fd >= 0)
            close(fd);
    } else if (k == MKDIR) {
        soak_answer(s, "mkdir", want, mkdir(s->path, 0750));
    } else {
        soak_answer(s, "symlink", want, symlink(target, s->path));
    }
}

static void link_it(struct soak *s)
{
    struct model_node *n = pick(s, S_IFREG, S_IFLNK), *dir = pick_dir(s);
    char name[MODEL_NAME];
    int want;

    pick_name(s, dir, name);
    if (!n)
        return;
    soak_path(s, n, NULL, s->path);
    soak_path(s, dir, name, s->path2);
    want = model_link(&s->m, n, dir, name);
    soak_answer(s, "link", want, link(s->path, s->path2));
}

static void remove_it(struct soak *s, bool is_dir)
{
    struct model_node *dir = pick_dir(s);
    char name[MODEL_NAME];
    int want;

    pick_entry(s, dir, name);
    soak_path(s, dir, name, s->path);
    want = model_remove(&s->m, dir, name, is_dir);
    soak_answer(s, "remove", want, is_dir ? rmdir(s->path) : unlink(s->path));
}

static void rename_it(struct soak *s)
{
    static const unsigned flag_choices[] = { 0, 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
    struct model_node *from = pick_dir(s), *to = pick_dir(s);
    unsigned flags = flag_choices[below(s, 6)];
    char name[MODEL_NAME], new_name[MODEL_NAME];
    const struct model_node *src, *dst;
    int want;

    pick_entry(s, from, name);
    below(s, 2) ? pick_entry(s, to, new_name) : pick_name(s, to, new_name);
    src = model_find(from, name);
    dst = model_find(to, new_name);
    /* Which of two errors comes first is the kernel's business. */
    if (src && dst && S_ISDIR(src->mode) + S_ISDIR(dst->mode) > 0)
        return;
    if (src && S_ISDIR(src->mode))
        flags = 0;
    soak_path(s, from, name, s->path);
    soak_path(s, to, new_name, s->path2);
    want = model_rename(&s->m, from, name, to, new_name, flags);
    soak_answer(s, "rename", want, renameat2(AT_FDCWD, s->path, AT_FDCWD, s->path2, flags));
}

static void chmod_it(struct soak *s)
{
    struct model_node *n = pick(s, S_IFREG, S_IFDIR);

    soak_path(s, n, NULL, s->path);
    n->mode = (n->mode & S_IFMT) | 0700 | below(s, 0100);
    soak_answer(s, "chmod", 0, chmod(s->path, n->mode & 07777));
}

static void set_xattr(struct soak *s)
{
    static const int flag_choices[] = { 0, 0, XATTR_CREATE, XATTR_REPLACE };
    struct model_node *n = pick(s, S_IFREG, S_IFDIR);
    unsigned i = below(s, MODEL_XATTRS);
    int flags = flag_choices[below(s, 4)], want;
    char name[16], value[512];
    size_t len = 1 + below(s, sizeof(value) - 1);

    memset(value, 'a' + (int)below(s, 26), len);
    value[len - 1] = '\0';
    snprintf(name, sizeof(name), TREE_XATTR, i);
    soak_path(s, n, NULL, s->path);
    want = model_set_xattr(n, i, value, flags);
    soak_answer(s, "setxattr", want, setxattr(s->path, name, value, len - 1, flags));
}

static void remove_xattr(struct soak *s)
{
    struct model_node *n = pick(s, S_IFREG, S_IFDIR);
    unsigned i = below(s, MODEL_XATTRS);
    char name[16];

    snprintf(name, sizeof(name), TREE_XATTR, i);
    soak_path(s, n, NULL, s->path);
    soak_answer(s, "removexattr", model_remove_xattr(n, i), removexattr(s->path, name));
}

/* ---- data ---- */

static void truncate_it(struct soak *s)
{
    struct model_node *n = pick_file(s);
    unsigned size = below(s, 3) ? below(s, SOAK_FILE_MAX) : 0;

    if (!n)
        return;
    model_truncate(&s->m, n, size);
    soak_path(s, n, NULL, s->path);
    soak_answer(s, "truncate", 0, truncate(s->path, size));
}

/* A write may be seen without the truncation's operation, so each has a number. */
static int open_truncated(struct soak *s, struct model_node *n)
{
    int fd;

    model_truncate(&s->m, n, 0);
    soak_path(s, n, NULL, s->path);
    fd = open(s->path, O_WRONLY | O_TRUNC);
    soak_answer(s, "open to truncate", 0, fd);
    soak_note(s);
    s->m.op++;
    return fd;
}

static int open_to_write(struct soak *s, struct model_node *n, int flags)
{
    int fd;

    soak_path(s, n, NULL, s->path);
    fd = open(s->path, O_WRONLY | flags);
    soak_answer(s, "open to write", 0, fd);
    return fd;
}

struct span {
    unsigned offset, len;
    bool append, direct;
};

static struct span pick_span(struct soak *s, const struct model_node *n)
{
    struct span w = { .append = below(s, 3) == 0, .direct = below(s, 8) == 0 };

    w.len = 1 + below(s, below(s, 2) ? 300 : SOAK_WRITE_MAX);
    w.offset = below(s, SOAK_FILE_MAX - SOAK_WRITE_MAX);
    if (w.direct) {
        w.append = false;
        w.len = (w.len + SOAK_PAGE - 1) / SOAK_PAGE * SOAK_PAGE;
    }
    if (w.append && n->size <= SOAK_FILE_MAX - SOAK_WRITE_MAX)
        w.offset = (unsigned)n->size;
    else
        w.append = false;
    if (w.direct || (!w.append && below(s, 2)))
        w.offset -= w.offset % SOAK_PAGE;
    /* The kernel makes two requests of what begins within a page and leaves it, and half of that may survive. */
    if (w.offset % SOAK_PAGE && w.len > SOAK_PAGE - w.offset % SOAK_PAGE)
        w.len = SOAK_PAGE - w.offset % SOAK_PAGE;
    return w;
}

static void write_span(struct soak *s, struct model_node *n, int fd, struct span w)
{
    ssize_t done;

    if (s->dead)
        return;
    tree_fill(s->data, s->m.op, w.offset, w.len);
    model_write(&s->m, n, w.offset, s->data, w.len);
    done = w.append ? write(fd, s->data, w.len) : pwrite(fd, s->data, w.len, w.offset);
    soak_answer(s, "write", 0, done);
    if (!s->dead && done != (ssize_t)w.len)
        s->dead = true; /* less is written only when the daemon dies in between */
}

static void write_it(struct soak *s)
{
    struct model_node *n = pick_file(s);
    struct span w;
    int fd;

    if (!n)
        return;
    if (below(s, 6) == 0) {
        fd = open_truncated(s, n);
        w = (struct span){ .offset = 0, .len = 1 + below(s, SOAK_WRITE_MAX) };
    } else {
        w = pick_span(s, n);
        fd = open_to_write(s, n, (w.append ? O_APPEND : 0) | (w.direct ? O_DIRECT : 0));
    }
    write_span(s, n, fd, w);
    if (fd >= 0)
        close(fd);
}

static void write_held(struct soak *s)
{
    unsigned slot = below(s, SOAK_HELD);
    struct span w;

    if (!s->held[slot].node)
        return;
    w = pick_span(s, s->held[slot].node);
    w.append = w.direct = false;
    write_span(s, s->held[slot].node, s->held[slot].fd, w);
}

/* Keep a file open over what follows, its removal for instance; or let go of one. */
static void hold(struct soak *s)
{
    unsigned slot = below(s, SOAK_HELD);
    struct model_node *n = pick_file(s), *old = s->held[slot].node;

    if (old) {
        s->held[slot].node = NULL;
        close(s->held[slot].fd);
        model_close(&s->m, old);
    } else if (n) {
        s->held[slot].node = n;
        model_open(n);
        soak_path(s, n, NULL, s->path);
        s->held[slot].fd = open(s->path, O_RDWR);
        soak_answer(s, "open to hold", 0, s->held[slot].fd);
    }
}

static void check_bytes(struct soak *s, const struct model_node *n, size_t offset, const uint8_t *got, size_t len)
{
    size_t i = 0;

    while (i < len && got[i] == n->data[offset + i])
        i++;
    if (i < len)
        tree_die("operation %" PRIu64 ": byte %zu of %s is %u instead of %u (the file has %zu)", s->m.op, offset + i,
                 s->path, got[i], n->data[offset + i], n->size);
}

/* A page that cannot be had is the fault of an address. */
static int no_page(void)
{
    if (errno == EFAULT)
        errno = EIO;
    return -1;
}

static void read_mapped(struct soak *s, const struct model_node *n, int fd)
{
    uint8_t *p = mmap(NULL, n->size, PROT_READ, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED) {
        soak_answer(s, "map to read", 0, -1);
        return;
    }
    /* A page that cannot be read any more would end us by SIGBUS; so ask first. */
    if (pread(fd, s->data, 1, 0) == 1 && madvise(p, n->size, MADV_POPULATE_READ) == 0)
        check_bytes(s, n, 0, p, n->size);
    else
        soak_answer(s, "map to read", 0, no_page());
    munmap(p, n->size);
}

static void read_it(struct soak *s)
{
    unsigned slot = below(s, SOAK_HELD);
    struct model_node *n = s->held[slot].node;
    int fd = -1, mine = -1;
    size_t offset, len;
    ssize_t got;

    if (n) {
        fd = s->held[slot].fd;
        snprintf(s->path, PATH_MAX, "an open file");
    } else if ((n = pick_file(s)) != NULL) {
        soak_path(s, n, NULL, s->path);
        fd = mine = open(s->path, O_RDONLY | (below(s, 8) ? 0 : O_DIRECT));
        soak_answer(s, "open to read", 0, fd);
    }
    if (fd < 0)
        return;
    offset = n->size ? below(s, (unsigned)n->size) : 0;
    len = below(s, SOAK_WRITE_MAX);
    if (below(s, 4) == 0 && n->size) {
        read_mapped(s, n, fd);
    } else {
        got = pread(fd, s->data, len, (off_t)offset);
        soak_answer(s, "read", 0, got);
        if (len > n->size - offset)
            len = n->size - offset;
        /* A request that fails behind others leaves what they brought. */
        if (!s->dead && got >= 0 && got < (ssize_t)len)
            soak_answer(s, "read the rest", 0, pread(fd, s->data + got, len - (size_t)got, (off_t)offset + got));
        if (!s->dead && got != (ssize_t)len)
            tree_die("operation %" PRIu64 ": read of %s at %zu gave %zd bytes instead of %zu", s->m.op, s->path,
                     offset, got, len);
        if (!s->dead)
            check_bytes(s, n, offset, s->data, len);
    }
    if (mine >= 0)
        close(mine);
}

/* One page, so that it is there whole or not at all; and on to the store. */
static void write_mapped(struct soak *s)
{
    struct model_node *n = pick_file(s);
    unsigned at, len;
    uint8_t *p;
    int fd;

    if (!n || n->size == 0)
        return;
    soak_path(s, n, NULL, s->path);
    fd = open(s->path, O_RDWR);
    soak_answer(s, "open to map", 0, fd);
    if (fd < 0)
        return;
    at = below(s, (unsigned)n->size);
    len = (unsigned)n->size - at < SOAK_PAGE - at % SOAK_PAGE ? (unsigned)n->size - at : SOAK_PAGE - at % SOAK_PAGE;
    tree_fill(s->data, s->m.op, at, len);
    p = mmap(NULL, SOAK_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at - at % SOAK_PAGE);
    if (p != MAP_FAILED && madvise(p, SOAK_PAGE, MADV_POPULATE_WRITE) == 0) {
        model_write(&s->m, n, at, s->data, len);
        memcpy(p + at % SOAK_PAGE, s->data, len);
        soak_answer(s, "msync", 0, msync(p, SOAK_PAGE, MS_SYNC));
        if (!s->dead)
            soak_synced(s, n);
    } else {
        soak_answer(s, "map to write", 0, no_page());
    }
    if (p != MAP_FAILED)
        munmap(p, SOAK_PAGE);
    close(fd);
}

static void sync_it(struct soak *s, mode_t type)
{
    struct model_node *n = pick(s, type, type);
    int fd;

    if (!n)
        return;
    soak_path(s, n, NULL, s->path);
    fd = open(s->path, O_RDONLY);
    soak_answer(s, "open to sync", 0, fd);
    if (fd < 0)
        return;
    soak_answer(s, "fsync", 0, fsync(fd));
    close(fd);
    if (!s->dead)
        soak_synced(s, n);
}

/* ---- directories, read while they change ---- */

#define TEMPORARY "t%u"
#define N_TEMPORARY 40u

static void touch_temporary(struct soak *s, const struct model_node *dir, bool remove)
{
    char name[MODEL_NAME];

    snprintf(name, sizeof(name), TEMPORARY, below(s, N_TEMPORARY));
    soak_path(s, dir, name, s->path2);
    if (remove ? unlink(s->path2) < 0 : mknod(s->path2, S_IFREG | 0600, 0) < 0)
        if (errno != EEXIST && errno != ENOENT)
            soak_answer(s, "change a directory that is read", 0, -1);
}

static void remove_temporary(struct soak *s, const struct model_node *dir)
{
    char name[MODEL_NAME];

    for (unsigned i = 0; i < N_TEMPORARY && !s->dead; i++) {
        snprintf(name, sizeof(name), TEMPORARY, i);
        soak_path(s, dir, name, s->path2);
        if (unlink(s->path2) < 0 && errno != ENOENT)
            soak_answer(s, "remove a temporary name", 0, -1);
    }
}

static void see_entry(struct soak *s, const struct model_node *dir, const struct dirent *e, unsigned *seen,
                      unsigned *temporary)
{
    unsigned i = 0, t;

    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
        return;
    if (sscanf(e->d_name, TEMPORARY, &t) == 1 && t < N_TEMPORARY) {
        temporary[t]++;
        return;
    }
    while (i < dir->n && strcmp(dir->entries[i].name, e->d_name) != 0)
        i++;
    if (i == dir->n)
        tree_die("operation %" PRIu64 ": %s shows %s, which is not there", s->m.op, s->path, e->d_name);
    if ((mode_t)DTTOIF(e->d_type) != (dir->entries[i].node->mode & S_IFMT))
        tree_die("operation %" PRIu64 ": %s/%s is shown with type %d", s->m.op, s->path, e->d_name, e->d_type);
    seen[i]++;
}

/* Each entry that is there all the time comes once; what comes and goes may come, but hides none. */
static void list_it(struct soak *s)
{
    struct model_node *dir = pick_dir(s);
    unsigned seen[4 * SOAK_NODES] = { 0 }, temporary[N_TEMPORARY] = { 0 };
    bool change = below(s, 2);
    const struct dirent *e;
    DIR *d;

    soak_path(s, dir, NULL, s->path);
    d = opendir(s->path);
    soak_answer(s, "opendir", 0, d ? 0 : -1);
    if (!d)
        return;
    while (!s->dead && (errno = 0, e = readdir(d)) != NULL) {
        see_entry(s, dir, e, seen, temporary);
        if (change && below(s, 4) == 0)
            touch_temporary(s, dir, below(s, 2));
    }
    if (!s->dead && errno)
        soak_answer(s, "readdir", 0, -1);
    closedir(d);
    if (change)
        remove_temporary(s, dir);
    dir->mtime_ns = -1;
    for (size_t i = 0; i < dir->n && !s->dead; i++)
        if (seen[i] != 1)
            tree_die("operation %" PRIu64 ": %s shows %s %u times", s->m.op, s->path, dir->entries[i].name, seen[i]);
}

void soak_step(struct soak *s)
{
    enum kind k = pick_kind(s);

    s->m.op++;
    s->path[0] = s->path2[0] = '\0';
    switch (k) {
    case CREATE:
    case MKDIR:
    case SYMLINK:
        make(s, k);
        break;
    case LINK:
        link_it(s);
        break;
    case UNLINK:
    case RMDIR:
        remove_it(s, k == RMDIR);
        break;
    case RENAME:
        rename_it(s);
        break;
    case CHMOD:
        chmod_it(s);
        break;
    case TRUNCATE:
        truncate_it(s);
        break;
    case WRITE:
        write_it(s);
        break;
    case HOLD:
        hold(s);
        break;
    case WRITE_HELD:
        write_held(s);
        break;
    case READ:
        read_it(s);
        break;
    case MAP:
        write_mapped(s);
        break;
    case SET_XATTR:
        set_xattr(s);
        break;
    case REMOVE_XATTR:
        remove_xattr(s);
        break;
    case LIST:
        list_it(s);
        return;
    default:
        sync_it(s, k == FSYNC ? S_IFREG : S_IFDIR);
        break;
    }
    if (k != READ && k != WRITE && k != WRITE_HELD && k != HOLD)
        soak_note(s);
}
