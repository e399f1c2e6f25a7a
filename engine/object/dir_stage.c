/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to an object in a directory:
 *   create NAME#RANDOM -> write -> fsync file -> link to NAME (or rename over it) -> unlink staged -> fsync directory
 * A crash before the link leaves a staged file, which no listing shows and a later sweep removes; a
 * crash after it leaves the whole object. The directory is synced last: before put returns 0 the entry
 * itself is durable, which is what create-if-absent promises.
 */

#include "object/dir_stage.h"

#include "base/clock.h"
#include "base/rng.h"
#include "object/dir_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <shale/object_store.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

int staged_create(int dir, const char *base, struct staged *out)
{
    int fd;

    do {
        snprintf(out->name, sizeof(out->name), "%s#%" PRIu64, base, random_u64());
        fd = openat(dir, out->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
    } while (fd < 0 && (errno == EEXIST || errno == EINTR));
    if (fd < 0)
        return -errno;
    out->dir = dir;
    out->fd = fd;
    return 0;
}

int staged_write(struct staged *st, struct shale_slice data)
{
    while (data.len > 0) {
        ssize_t n = write(st->fd, data.data, data.len);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            data.data += n;
            data.len -= (size_t)n;
        }
    }
    return 0;
}

void staged_set_put_id(struct staged *st, const char *put_id)
{
    /* Without the id a lost reply stays ambiguous, which the wrapper above knows; the put itself is none the worse. */
    (void)fsetxattr(st->fd, STORE_DIR_PUT_ID_XATTR, put_id, SHALE_PUT_ID_LEN, 0);
}

/* Over a network a link may be asked for twice, the second time in vain: then the staged file has another name. */
static bool linked_after_all(const struct staged *st)
{
    struct stat sb;

    return fstat(st->fd, &sb) == 0 && sb.st_nlink > 1;
}

/*
 * Some network and FUSE file systems know no hard links; renameat2 with RENAME_NOREPLACE is as
 * exclusive.
 */
static bool no_links_here(int err)
{
    return err == EPERM || err == EOPNOTSUPP || err == ENOSYS || err == EMLINK;
}

/* Give the staged file its name unless that is taken. *left: the staged name is still there. */
static int name_if_absent(const struct staged *st, const char *base, bool no_link, bool *left)
{
    *left = true;
    if (!no_link) {
        if (linkat(st->dir, st->name, st->dir, base, 0) == 0 || (errno == EEXIST && linked_after_all(st)))
            return 0;
        if (!no_links_here(errno))
            return -errno;
    }
    if (renameat2(st->dir, st->name, st->dir, base, RENAME_NOREPLACE) < 0)
        return -errno;
    *left = false;
    return 0;
}

int staged_publish(struct staged *st, const char *base, bool if_absent, bool no_link)
{
    bool left = true;
    int rc = fsync(st->fd) < 0 ? -errno : 0;

    if (rc == 0 && if_absent) {
        rc = name_if_absent(st, base, no_link, &left);
    } else if (rc == 0) {
        rc = renameat(st->dir, st->name, st->dir, base) < 0 ? -errno : 0;
        left = rc < 0;
    }
    close(st->fd);
    if (left)
        (void)unlinkat(st->dir, st->name, 0); /* what stays is swept later */
    return rc < 0 ? rc : dir_sync(st->dir);
}

void staged_abandon(struct staged *st)
{
    close(st->fd);
    (void)unlinkat(st->dir, st->name, 0); /* what stays is swept later */
}

static bool is_staged_name(const char *name)
{
    const char *mark = strrchr(name, '#');

    return mark && mark != name && mark[1] && strspn(mark + 1, "0123456789") == strlen(mark + 1);
}

/* By its last modification: a writer still at work keeps its staged file young. */
static bool is_stale(int dir, const char *name, int64_t now_ms, int64_t age_ms)
{
    struct stat sb;

    if (fstatat(dir, name, &sb, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(sb.st_mode))
        return false;
    return now_ms - store_dir_mtime_ms(&sb) >= age_ms;
}

int staged_sweep(int dir, int64_t age_ms)
{
    int64_t now_ms = clock_wall_ms();
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;
    int rc, removed = 0;

    if (!d) {
        rc = -errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    while ((errno = 0, e = readdir(d)) != NULL) {
        if (is_staged_name(e->d_name) && is_stale(dir, e->d_name, now_ms, age_ms))
            removed += unlinkat(dir, e->d_name, 0) == 0;
    }
    rc = errno ? -errno : removed;
    closedir(d);
    return rc;
}

int dir_sync(int fd)
{
    if (fsync(fd) == 0 || errno == EINVAL || errno == EOPNOTSUPP)
        return 0;
    return -errno;
}

/* Make (unless it is there), open and persist one directory in parent. Returns its descriptor. */
static int make_one(int parent, const char *name)
{
    int fd, rc;

    if (mkdirat(parent, name, 0777) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* Also when somebody else made it: that it is durable by now is not known. */
    rc = dir_sync(parent);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return fd;
}

int dir_make(int root, const char *path, size_t len)
{
    char name[256];
    int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    while (len > 0) {
        const char *slash = memchr(path, '/', len);
        size_t n = slash ? (size_t)(slash - path) : len;
        int next = -ENAMETOOLONG;

        if (n < sizeof(name)) {
            memcpy(name, path, n);
            name[n] = '\0';
            next = make_one(fd, name);
        }
        close(fd);
        if (next < 0)
            return next;
        fd = next;
        path += n + (slash != NULL);
        len -= n + (slash != NULL);
    }
    return fd;
}
