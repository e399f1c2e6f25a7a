/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mountpoint.h"

#include "base/alloc.h"
#include "base/err.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FS_TYPE "fuse.shalefs"

/* The absolute path, without looking at the last component itself: a dead mount answers nothing. */
static int absolute(const char *dir, char **out)
{
    char *copy = mem_strdup(dir), *slash, *parent, *path = NULL;
    size_t n;
    int rc = 0;

    if (!copy)
        return -ENOMEM;
    for (n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    slash = strrchr(copy, '/');
    if (slash && (slash[1] == '\0' || strcmp(slash + 1, ".") == 0 || strcmp(slash + 1, "..") == 0))
        slash = NULL, path = realpath(copy, NULL);
    else if (!slash && (strcmp(copy, ".") == 0 || strcmp(copy, "..") == 0))
        path = realpath(copy, NULL);
    if (!path) {
        if (slash)
            *slash = '\0';
        parent = realpath(slash ? (slash == copy ? "/" : copy) : ".", NULL);
        if (!parent || asprintf(&path, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, slash ? slash + 1 : copy) < 0)
            path = NULL;
        free(parent);
    }
    if (path)
        *out = path;
    else
        rc = err_set(errno ? -errno : -ENOMEM, "%s: %s", dir, strerror(errno ? errno : ENOMEM));
    mem_free(copy);
    return rc;
}

/* Undo \ooo of /proc/self/mountinfo, in place. */
static void unescape(char *s)
{
    char *to = s;

    while (*s) {
        if (s[0] == '\\' && isdigit((unsigned char)s[1]) && isdigit((unsigned char)s[2]) &&
            isdigit((unsigned char)s[3])) {
            *to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 4;
        } else {
            *to++ = *s++;
        }
    }
    *to = '\0';
}

/* Fields of one line of mountinfo: "id parent dev root DIR options [more] - TYPE SOURCE super". */
static bool split(char *line, char **dir, char **type, char **source)
{
    char *sep = strstr(line, " - "), *rest = line;

    if (!sep)
        return false;
    *sep = '\0';
    for (int i = 0; i < 4; i++)
        if (!strsep(&rest, " "))
            return false;
    *dir = strsep(&rest, " ");
    rest = sep + 3;
    *type = strsep(&rest, " ");
    *source = strsep(&rest, " \n");
    if (!*dir || !*type || !*source)
        return false;
    unescape(*dir);
    unescape(*source);
    return true;
}

/* dir itself does, too; "/a" does not lie in "/ab". */
static bool lies_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/' || (n > 0 && dir[n - 1] == '/'));
}

/*
 * The mount on path, or the deepest that it lies in; of several on one directory the last, which covers the others. 0,
 * with *is_ours; -ENOENT.
 */
static int find_mount(const char *path, bool inside, struct mountpoint *out, bool *is_ours)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t cap = 0;
    int rc = -ENOENT;

    if (!f)
        return err_set(-errno, "cannot read /proc/self/mountinfo: %s", strerror(errno));
    while (getline(&line, &cap, f) > 0) {
        char *dir, *type, *source;

        if (!split(line, &dir, &type, &source))
            continue;
        if (inside ? !lies_in(path, dir) : strcmp(path, dir) != 0)
            continue;
        if (out->dir && strlen(dir) < strlen(out->dir))
            continue;
        mountpoint_fini(out);
        out->dir = mem_strdup(dir);
        out->source = mem_strdup(source);
        *is_ours = strcmp(type, FS_TYPE) == 0;
        rc = out->dir && out->source ? 0 : -ENOMEM;
        if (rc == -ENOMEM)
            break;
    }
    free(line);
    fclose(f);
    return rc;
}

void mountpoint_fini(struct mountpoint *m)
{
    mem_free(m->dir);
    mem_free(m->source);
    m->dir = m->source = NULL;
}

/* Not by stat: the kernel knows the attributes of the root and asks nobody. */
static bool process_is_gone(const char *dir)
{
    struct statvfs st;

    return statvfs(dir, &st) < 0 && errno == ENOTCONN;
}

/* What the mount would hide. */
static int not_empty(const char *dir, bool *out)
{
    DIR *d = opendir(dir);
    const struct dirent *e;

    if (!d)
        return err_set(-errno, "cannot read %s: %s", dir, strerror(errno));
    *out = false;
    while ((e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            *out = true;
    closedir(d);
    return 0;
}

/* The kernel would refuse some of this, too, but from a process that is in the background by then. */
static int check_directory(const char *dir, bool nonempty)
{
    struct stat st;
    bool filled = false;
    int rc;

    if (stat(dir, &st) < 0) {
        rc = -errno;
        if (rc == -ENOENT)
            return err_set(rc, "the directory %s does not exist", dir);
        return err_set(rc, "cannot look at %s: %s", dir, strerror(-rc));
    }
    if (!S_ISDIR(st.st_mode))
        return err_set(-ENOTDIR, "%s is not a directory", dir);
    if (!nonempty) {
        rc = not_empty(dir, &filled);
        if (rc < 0)
            return rc;
    }
    if (filled)
        return err_set(-ENOTEMPTY, "the directory %s is not empty (-o nonempty mounts over it)", dir);
    return 0;
}

/*
 * A mount whose process is gone answers every look at its directory with ENOTCONN, and would be reported as that; so
 * mountinfo is asked first, and a person is told what to do.
 */
int mountpoint_check(const char *dir, bool nonempty, char **out)
{
    struct mountpoint m = { 0 };
    bool ours = false;
    char *path;
    int rc = absolute(dir, &path);

    if (rc < 0)
        return rc == -ENOENT ? err_set(rc, "the directory %s does not exist", dir) : rc;
    rc = find_mount(path, false, &m, &ours);
    if (rc == 0 && process_is_gone(path))
        rc = err_set(-EBUSY, "%s is a mount whose process has gone: run shalefs umount %s first", path, path);
    else if (rc == 0)
        rc = err_set(-EBUSY, "%s is a mount point already, of %s", path, m.source);
    else if (rc == -ENOENT)
        rc = check_directory(path, nonempty);
    mountpoint_fini(&m);
    if (rc < 0) {
        mem_free(path);
        return rc;
    }
    /* The directory exists now, so that symbolic links in its last component can be followed. */
    *out = realpath(path, NULL);
    mem_free(path);
    return *out ? 0 : err_set(-errno, "%s: %s", dir, strerror(errno));
}

/* A dead mount is found, too: it is what umount has to take away. */
int mountpoint_find(const char *dir, bool inside, struct mountpoint *out)
{
    struct mountpoint m = { 0 };
    bool ours = false;
    char *path = realpath(dir, NULL);
    int rc;

    rc = path ? 0 : absolute(dir, &path);
    if (rc == 0)
        rc = find_mount(path, inside, &m, &ours);
    if (rc == -ENOENT || (rc == 0 && !ours))
        rc = err_set(-ENOENT, inside ? "%s is not in a shalefs mount" : "%s is not a shalefs mount", dir);
    mem_free(path);
    if (rc < 0) {
        mountpoint_fini(&m);
        return rc;
    }
    m.dead = process_is_gone(m.dir);
    *out = m;
    return 0;
}

/* Whether one of the links that /proc has of a process points into the directory. */
static bool link_lies_in(const char *link, const char *dir)
{
    char target[PATH_MAX];
    ssize_t n = readlink(link, target, sizeof(target) - 1);

    if (n <= 0)
        return false;
    target[n] = '\0';
    return lies_in(target, dir);
}

/* Working directory, root, program and open files are what keeps a mount busy, as far as /proc shows them to us. */
static bool process_uses(const char *pid, const char *dir)
{
    static const char *const links[] = { "cwd", "root", "exe" };
    char path[320];
    const struct dirent *e;
    bool found = false;
    DIR *fds;

    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        snprintf(path, sizeof(path), "/proc/%.32s/%s", pid, links[i]);
        if (link_lies_in(path, dir))
            return true;
    }
    snprintf(path, sizeof(path), "/proc/%.32s/fd", pid);
    fds = opendir(path);
    if (!fds)
        return false;
    while (!found && (e = readdir(fds)) != NULL) {
        snprintf(path, sizeof(path), "/proc/%.32s/fd/%.200s", pid, e->d_name);
        found = link_lies_in(path, dir);
    }
    closedir(fds);
    return found;
}

/* The name may be gone by now; the number is what helps. */
static void add_user(const char *pid, char *out, size_t size)
{
    char path[64], name[32] = "?";
    size_t used = strlen(out);
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%.32s/comm", pid);
    f = fopen(path, "re");
    if (f) {
        if (fgets(name, sizeof(name), f))
            name[strcspn(name, "\n")] = '\0';
        fclose(f);
    }
    snprintf(out + used, size - used, "%s%s (%.32s)", used ? ", " : "", name, pid);
}

/* A help for a person, no decision: three names are enough, and races do not matter. */
void mountpoint_users(const char *dir, char *out, size_t size)
{
    DIR *proc = opendir("/proc");
    const struct dirent *e;
    int n = 0;

    out[0] = '\0';
    if (!proc)
        return;
    while (n < 3 && (e = readdir(proc)) != NULL) {
        if (!isdigit((unsigned char)e->d_name[0]) || !process_uses(e->d_name, dir))
            continue;
        add_user(e->d_name, out, size);
        n++;
    }
    closedir(proc);
}
