/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory as a store. Reads are plain preads of immutable files; a write goes through a staged file
 * (dir_stage.c), so that an object is there whole and durable or not at all, and create-if-absent is
 * link(), which exactly one of many processes wins. Safe from any thread: the only state that changes
 * is the list of directories already made durable.
 */

#include "object/store_dir.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sync.h"
#include "object/dir_file.h"
#include "object/dir_list.h"
#include "object/dir_stage.h"
#include "object/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LIST_WINDOW 16384
#define READY_MAX 64

struct dir_store {
    struct shale_store base;
    int root;                     /* set at open, then read-only, as are path and the knobs */
    char *path;
    struct store_dir_knobs knobs;
    struct mutex mu;              /* rank STORE_RANK_DIR */
    char *ready[READY_MAX];       /* GUARDED_BY(mu): directories that this store found or made durable */
    size_t n_ready;               /* GUARDED_BY(mu) */
};

struct dir_upload {
    struct shale_upload base;
    int dir;
    struct staged staged;
    char name[];
};

static struct dir_store *dir_of(struct shale_store *s)
{
    return container_of(s, struct dir_store, base);
}

/* What an errno of the system means to the caller of a store. */
static int meaning(int rc)
{
    switch (-rc) {
    case EPERM:
        return -EACCES;
    case EDQUOT:
        return -ENOSPC;
    case ENAMETOOLONG:
        return -EINVAL;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
    case ETIMEDOUT:
        return SHALE_ETRANSIENT;
    case ENOENT:
    case EEXIST:
    case ENOMEM:
    case EACCES:
    case EROFS:
    case ENOSPC:
        return rc;
    default:
        return -EIO;
    }
}

static int fail(const struct dir_store *d, const char *verb, const char *name, int rc)
{
    return err_set(meaning(rc), "cannot %s %s in directory %s: %s", verb, name, d->path, shale_strerror(rc));
}

/* A write does not find "nothing there" or "something there": these mean that the directory itself is odd. */
static int fail_write(const struct dir_store *d, const char *name, int rc)
{
    int code = meaning(rc);

    if (code == -ENOENT || code == -EEXIST)
        code = -EIO;
    return err_set(code, "cannot write %s in directory %s: %s", name, d->path, shale_strerror(rc));
}

/*
 * Opens the file of an object and tells what it is. A descriptor or -errno.
 * O_NONBLOCK and the check of the type: a FIFO or device that somebody put there must neither hang nor
 * answer.
 */
static int open_object(const struct dir_store *d, const char *name, struct stat *sb)
{
    int fd, rc = 0;

    do
        fd = openat(d->root, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return errno == ENOTDIR || errno == ENXIO ? -ENOENT : -errno;
    if (fstat(fd, sb) < 0)
        rc = -errno;
    else if (!S_ISREG(sb->st_mode))
        rc = -ENOENT;
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

/* Appends exactly len bytes from offset. */
static int read_exactly(int fd, uint64_t offset, uint64_t len, struct shale_buf *out)
{
    int rc = len > SIZE_MAX ? -ENOMEM : shale_buf_reserve(out, len);

    while (rc == 0 && len > 0) {
        ssize_t n = pread(fd, out->data + out->len, len, (off_t)offset);

        if (n < 0 && errno != EINTR)
            rc = -errno;
        else if (n == 0)
            rc = -EIO; /* the file shrank, which no object does */
        else if (n > 0) {
            out->len += (size_t)n;
            offset += (uint64_t)n;
            len -= (uint64_t)n;
        }
    }
    return rc;
}

static int dir_get(struct shale_store *s, const char *name, struct shale_buf *out)
{
    const struct dir_store *d = dir_of(s);
    struct stat sb;
    int fd = open_object(d, name, &sb);
    int rc = fd;

    if (fd >= 0) {
        rc = read_exactly(fd, 0, (uint64_t)sb.st_size, out);
        close(fd);
    }
    return rc < 0 ? fail(d, "read", name, rc) : 0;
}

static int read_range(const struct dir_store *d, int fd, const struct stat *sb, const char *name, uint64_t offset,
                      uint64_t len, struct shale_buf *out)
{
    int rc;

    if (offset + len > (uint64_t)sb->st_size)
        return err_set(-ERANGE, "%s in directory %s has %lld bytes, less than offset %llu + length %llu", name, d->path,
                       (long long)sb->st_size, (unsigned long long)offset, (unsigned long long)len);
    rc = read_exactly(fd, offset, len, out);
    return rc < 0 ? fail(d, "read", name, rc) : 0;
}

static int dir_get_range(struct shale_store *s, const char *name, uint64_t offset, uint64_t len, struct shale_buf *out)
{
    const struct dir_store *d = dir_of(s);
    struct stat sb;
    int fd = open_object(d, name, &sb);
    int rc;

    if (fd < 0)
        return fail(d, "read", name, fd);
    rc = read_range(d, fd, &sb, name, offset, len, out);
    close(fd);
    return rc;
}

/* A file stays open as long as the next range is of the same object. */
static int dir_get_ranges(struct shale_store *s, struct shale_range_get *r, size_t n)
{
    const struct dir_store *d = dir_of(s);
    struct stat sb;
    int fd = -1;

    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(r[i].name, r[i - 1].name) != 0) {
            if (fd >= 0)
                close(fd);
            fd = open_object(d, r[i].name, &sb);
        }
        r[i].rc = fd < 0 ? fail(d, "read", r[i].name, fd)
                         : read_range(d, fd, &sb, r[i].name, r[i].offset, r[i].len, &r[i].out);
    }
    if (fd >= 0)
        close(fd);
    return 0;
}

static int dir_head(struct shale_store *s, const char *name, struct shale_object_meta *out)
{
    const struct dir_store *d = dir_of(s);
    struct stat sb;
    int fd = open_object(d, name, &sb);

    if (fd < 0)
        return fail(d, "look at", name, fd);
    out->size = (uint64_t)sb.st_size;
    out->mtime_ms = store_dir_mtime_ms(&sb);
    if (fgetxattr(fd, STORE_DIR_PUT_ID_XATTR, out->put_id, SHALE_PUT_ID_LEN) != SHALE_PUT_ID_LEN)
        out->put_id[0] = '\0';
    close(fd);
    return 0;
}

static bool is_ready(struct dir_store *d, const char *path, size_t len)
{
    bool found = false;

    mutex_lock(&d->mu);
    for (size_t i = 0; i < d->n_ready && !found; i++)
        found = strlen(d->ready[i]) == len && memcmp(d->ready[i], path, len) == 0;
    mutex_unlock(&d->mu);
    return found;
}

/* Forgetting one costs an fsync or two later on, no more: so neither a full table nor a lack of memory matters. */
static void set_ready(struct dir_store *d, const char *path, size_t len)
{
    char *copy = mem_dup(path, len);

    mutex_lock(&d->mu);
    if (copy && d->n_ready < READY_MAX) {
        d->ready[d->n_ready++] = copy;
        copy = NULL;
    }
    mutex_unlock(&d->mu);
    mem_free(copy);
}

/* Where the last segment of a name begins. */
static const char *base_of(const char *name)
{
    const char *slash = strrchr(name, '/');

    return slash ? slash + 1 : name;
}

static int open_ready(struct dir_store *d, const char *name, size_t len)
{
    char path[STORE_NAME_MAX + 1] = ".";
    int fd;

    if (len > 0) {
        memcpy(path, name, len);
        path[len] = '\0';
    }
    fd = openat(d->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/*
 * Opens the directory that name is to be written into, made if need be. The first time that this store writes into one,
 * the way there is made durable, whoever made it, and what crashed writers left is swept. A descriptor or -errno.
 *   known as ready   open it; gone since (ENOENT): make it again
 *   not yet known    make each missing level, fsync the way there, sweep, remember
 */
static int open_parent(struct dir_store *d, const char *name)
{
    const char *base = base_of(name);
    size_t len = base == name ? 0 : (size_t)(base - name) - 1;
    bool ready = is_ready(d, name, len);
    int fd = ready ? open_ready(d, name, len) : -ENOENT;
    int n;

    if (fd != -ENOENT)
        return fd;
    fd = dir_make(d->root, name, len);
    if (fd < 0 || ready)
        return fd;
    n = staged_sweep(fd, STORE_DIR_STALE_MS);
    if (n < 0)
        log_warn("directory %s: cannot look for stale staged files beside %s: %s", d->path, name, shale_strerror(n));
    else if (n > 0)
        log_info("directory %s: removed %d stale staged files beside %s", d->path, n, name);
    set_ready(d, name, len);
    return fd;
}

static int create_staged(struct dir_store *d, const char *name, int *dir, struct staged *out)
{
    int rc;

    *dir = open_parent(d, name);
    if (*dir < 0)
        return *dir;
    rc = staged_create(*dir, base_of(name), out);
    if (rc < 0)
        close(*dir);
    return rc;
}

/* link() says EEXIST of a directory in the way, too, but that is no object. */
static bool object_exists(int dir, const char *base)
{
    struct stat sb;

    return fstatat(dir, base, &sb, 0) < 0 || !S_ISDIR(sb.st_mode);
}

static int dir_put(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
                   const char *put_id)
{
    struct dir_store *d = dir_of(s);
    struct staged st;
    bool exists = false;
    int dir, rc;

    rc = create_staged(d, name, &dir, &st);
    if (rc < 0)
        return fail_write(d, name, rc);
    if (put_id)
        staged_set_put_id(&st, put_id);
    rc = staged_write(&st, data);
    if (rc < 0)
        staged_abandon(&st);
    else
        rc = staged_publish(&st, base_of(name), mode == SHALE_PUT_IF_ABSENT, d->knobs.no_link);
    if (rc == -EEXIST)
        exists = object_exists(dir, base_of(name));
    close(dir);
    if (exists)
        return err_set(-EEXIST, "object %s exists already in directory %s", name, d->path);
    return rc < 0 ? fail_write(d, name, rc) : 0;
}

static int dir_remove(struct shale_store *s, const char *name)
{
    const struct dir_store *d = dir_of(s);
    struct stat sb;

    if (unlinkat(d->root, name, 0) == 0 || errno == ENOENT || errno == ENOTDIR)
        return 0;
    /* A directory is no object, and Linux says EISDIR where POSIX says EPERM. */
    if ((errno == EISDIR || errno == EPERM) && fstatat(d->root, name, &sb, 0) == 0 && S_ISDIR(sb.st_mode))
        return 0;
    return fail(d, "delete", name, -errno);
}

static int dir_list_op(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn, void *arg)
{
    const struct dir_store *d = dir_of(s);
    bool from_fn;
    int rc = dir_list(d->root, d->knobs.list_window, prefix, start_after, fn, arg, &from_fn);

    if (rc == 0 || from_fn)
        return rc;
    return err_set(meaning(rc), "cannot list directory %s: %s", d->path, shale_strerror(rc));
}

static void upload_free(struct dir_upload *u)
{
    close(u->dir);
    mem_free(u);
}

static int dir_upload_begin(struct shale_store *s, const char *name, struct shale_upload **out)
{
    struct dir_store *d = dir_of(s);
    size_t len = strlen(name);
    struct dir_upload *u = mem_zalloc(sizeof(*u) + len + 1);
    int rc;

    if (!u)
        return err_set(-ENOMEM, "out of memory for the upload of %s", name);
    memcpy(u->name, name, len + 1);
    u->base.store = s;
    rc = create_staged(d, name, &u->dir, &u->staged);
    if (rc < 0) {
        mem_free(u);
        return fail_write(d, name, rc);
    }
    *out = &u->base;
    return 0;
}

/*
 * A short write may have happened, and repeating all of data would double bytes: so nothing here is
 * transient.
 */
static int dir_upload_write(struct shale_upload *up, struct shale_slice data)
{
    struct dir_upload *u = container_of(up, struct dir_upload, base);
    int rc = staged_write(&u->staged, data);

    if (rc == 0)
        return 0;
    rc = fail_write(dir_of(up->store), u->name, rc);
    return rc == SHALE_ETRANSIENT ? -EIO : rc; /* part of data may be in the file */
}

static int dir_upload_finish(struct shale_upload *up)
{
    struct dir_upload *u = container_of(up, struct dir_upload, base);
    int rc = staged_publish(&u->staged, base_of(u->name), false, false);

    if (rc < 0) {
        rc = fail_write(dir_of(up->store), u->name, rc);
        rc = rc == SHALE_ETRANSIENT ? -EIO : rc; /* u ends here */
    }
    upload_free(u);
    return rc;
}

static void dir_upload_abort(struct shale_upload *up)
{
    struct dir_upload *u = container_of(up, struct dir_upload, base);

    staged_abandon(&u->staged);
    upload_free(u);
}

static void dir_close(struct shale_store *s)
{
    struct dir_store *d = dir_of(s);

    for (size_t i = 0; i < d->n_ready; i++)
        mem_free(d->ready[i]);
    if (d->root >= 0)
        close(d->root);
    mutex_fini(&d->mu);
    mem_free(d->path);
    mem_free(d);
}

static const struct shale_store_ops dir_ops = {
    .scheme = "file",
    .get = dir_get,
    .get_range = dir_get_range,
    .get_ranges = dir_get_ranges,
    .head = dir_head,
    .put = dir_put,
    .remove = dir_remove,
    .list = dir_list_op,
    .upload_begin = dir_upload_begin,
    .upload_write = dir_upload_write,
    .upload_finish = dir_upload_finish,
    .upload_abort = dir_upload_abort,
    .close = dir_close,
};

/* The new directory is an entry of its parent, which must be durable; one we may not open is somebody else's care. */
static int sync_parent(const char *path, size_t len)
{
    char *parent = mem_dup(len ? path : (path[0] == '/' ? "/" : "."), len ? len : 1);
    int fd, rc;

    if (!parent)
        return -ENOMEM;
    fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mem_free(parent);
    if (fd < 0)
        return errno == EACCES ? 0 : -errno;
    rc = dir_sync(fd);
    close(fd);
    return rc;
}

/* mkdir -p, durable. */
static int make_root(const char *path)
{
    size_t len = strlen(path), parent = 0;
    int rc = 0;

    for (size_t i = 0; i <= len && rc == 0; i++) {
        char *part;

        if ((i < len && path[i] != '/') || i == 0 || path[i - 1] == '/')
            continue;
        part = mem_dup(path, i);
        if (!part)
            return -ENOMEM;
        if (mkdir(part, 0777) == 0)
            rc = sync_parent(path, parent);
        else if (errno != EEXIST)
            rc = -errno;
        mem_free(part);
        parent = i;
    }
    return rc;
}

static int open_root(const char *dir, bool create)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (fd >= 0 || errno != ENOENT || !create)
        return fd < 0 ? -errno : fd;
    rc = make_root(dir);
    if (rc < 0)
        return rc;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int shale_store_directory(const char *dir, bool create, struct shale_store **out)
{
    struct dir_store *d = mem_zalloc(sizeof(*d));
    int rc = -ENOMEM;

    if (!d)
        return err_set(rc, "out of memory for the store in directory %s", dir);
    d->base.ops = &dir_ops;
    d->root = -1;
    d->knobs.list_window = LIST_WINDOW;
    mutex_init(&d->mu, STORE_RANK_DIR, "directory store");
    d->path = mem_strdup(dir);
    if (d->path)
        rc = d->root = open_root(dir, create);
    if (rc < 0) {
        dir_close(&d->base);
        err_set(rc, "cannot open directory %s as a store: %s", dir, shale_strerror(rc));
        return rc == -ENOTDIR ? rc : meaning(rc);
    }
    *out = &d->base;
    return 0;
}

int store_dir_sweep(struct shale_store *s, const char *dir, int64_t age_ms)
{
    struct dir_store *d = dir_of(s);
    size_t len = strlen(dir);
    const char *why = len ? store_name_error(dir, len) : NULL;
    int fd, rc;

    if (why)
        return err_set(-EINVAL, "cannot sweep: the name \"%.100s\" %s", dir, why);
    fd = open_ready(d, dir, len);
    if (fd == -ENOENT)
        return 0;
    rc = fd;
    if (fd >= 0) {
        rc = staged_sweep(fd, age_ms);
        close(fd);
    }
    return rc < 0 ? fail(d, "sweep", dir, rc) : rc;
}

void store_dir_tune(struct shale_store *s, const struct store_dir_knobs *knobs)
{
    struct dir_store *d = dir_of(s);

    d->knobs.no_link = knobs->no_link;
    if (knobs->list_window)
        d->knobs.list_window = knobs->list_window;
}
