/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/tree_state.h"

#include "base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 *   crash_ops run DIR SEED LOG PID   random operations in the mounted DIR until PID, its daemon, which is killed at a
 *                                    random moment, serves no more; LOG tells which operations began and returned
 *   crash_ops check DIR SEED LOG     whether DIR, mounted again, shows what such a crash may leave
 *
 * The operations depend on SEED alone, so check goes through the same ones on a model. What it accepts (ARCHITECTURE,
 * "what a crash leaves"): the names after some operation p, not before the last one that synced and returned, nor after
 * the last that began; each file as it was after some operation q, not before what an fsync, rename, link or truncation
 * up to p promised, with no truncation behind p in between. Every byte tells which operation wrote it, and where.
 */
enum {
    OPS_MAX = 6000,
    NODES_MAX = 40,
    NAMES = 8,
    HELD_MAX = 4,
    PAGE = 4096,
    WRITE_MAX = 40 << 10,
    FILE_MAX = 96 << 10,
    DELAY_MAX_MS = 700, /* unless SHALE_KILL_MS says another */
};

enum kind {
    CREATE, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME, TRUNCATE, WRITE, HOLD, WRITE_HELD, FSYNC, FSYNC_DIR, N_KINDS
};

static const char *const kind_names[N_KINDS] = {
    [CREATE] = "create", [MKDIR] = "mkdir", [SYMLINK] = "symlink", [LINK] = "link", [UNLINK] = "unlink",
    [RMDIR] = "rmdir", [RENAME] = "rename", [TRUNCATE] = "truncate", [WRITE] = "write", [HOLD] = "open",
    [WRITE_HELD] = "write to an open file", [FSYNC] = "fsync", [FSYNC_DIR] = "fsync of a directory",
};

/* How often of 100. */
static const unsigned weights[N_KINDS] = {
    [CREATE] = 14, [MKDIR] = 4, [SYMLINK] = 2, [LINK] = 5, [UNLINK] = 8, [RMDIR] = 2, [RENAME] = 12,
    [TRUNCATE] = 6, [WRITE] = 30, [HOLD] = 6, [WRITE_HELD] = 8, [FSYNC] = 2, [FSYNC_DIR] = 1,
};

/* Shared with the checker through the log. */
struct note {
    uint64_t op;
    uint64_t returned;
};

struct state {
    const char *dir;           /* NULL: the model alone */
    struct fs_model m;
    struct rng rng;
    struct {
        struct model_node *node;
        int fd;
    } held[HELD_MAX];
    uint8_t data[WRITE_MAX];
    enum kind kind;            /* of the last operation */
    char path[PATH_MAX], path2[PATH_MAX]; /* which it names */
    bool synced;               /* it was a sync */
    bool dead;                 /* the daemon serves no more */
};

static void state_init(struct state *s, const char *dir, uint64_t seed)
{
    memset(s, 0, sizeof(*s));
    s->dir = dir;
    model_init(&s->m);
    s->m.keep_dead = true;
    rng_seed(&s->rng, seed);
}

static unsigned below(struct state *s, unsigned n)
{
    return (unsigned)rng_below(&s->rng, n);
}

/* ---- choosing ---- */

static struct model_node *pick(struct state *s, mode_t type, mode_t other)
{
    struct model_node *found = NULL;
    unsigned n = 0;

    for (struct model_node *i = s->m.all; i; i = i->next)
        if (i->nlink > 0 && ((i->mode & S_IFMT) == type || (i->mode & S_IFMT) == other) && below(s, ++n) == 0)
            found = i;
    return found;
}

static struct model_node *pick_dir(struct state *s)
{
    return pick(s, S_IFDIR, S_IFDIR);
}

/* One of few names, so that they meet. */
static void pick_name(struct state *s, char *out)
{
    snprintf(out, MODEL_NAME, "n%u", below(s, NAMES));
}

static enum kind pick_kind(struct state *s)
{
    unsigned x = below(s, 100), k = 0;

    while (x >= weights[k])
        x -= weights[k++];
    if (s->m.n_nodes >= NODES_MAX && (k == CREATE || k == MKDIR || k == SYMLINK))
        return UNLINK;
    return (enum kind)k;
}

/* ---- doing ---- */

/* Where node is, by any of its names; false when it has none. */
static bool find_path(const struct model_node *dir, const struct model_node *node, char *out, size_t cap)
{
    size_t len = strlen(out);

    if (dir == node)
        return true;
    for (size_t i = 0; i < dir->n; i++) {
        snprintf(out + len, cap - len, "/%s", dir->entries[i].name);
        if (dir->entries[i].node == node)
            return true;
        if (S_ISDIR(dir->entries[i].node->mode) && find_path(dir->entries[i].node, node, out, cap))
            return true;
    }
    out[len] = '\0';
    return false;
}

static void path_of(const struct state *s, const struct model_node *node, const char *name, char *out)
{
    snprintf(out, PATH_MAX, "%s", s->dir);
    if (!find_path(s->m.root, node, out, PATH_MAX))
        tree_die("operation %" PRIu64 ": a node has no path", s->m.op);
    if (name)
        snprintf(out + strlen(out), PATH_MAX - strlen(out), "/%s", name);
}

/* The answer of a system call against the model's. Once the daemon is dead everything fails. */
static void answer(struct state *s, int want, int64_t got)
{
    int error = got < 0 ? errno : 0;

    if (error == ENOTCONN || error == ECONNABORTED || error == EIO)
        s->dead = true;
    else if (error != -want)
        tree_die("operation %" PRIu64 ", %s %s %s: '%s', the model says '%s'", s->m.op, kind_names[s->kind], s->path,
                 s->path2, strerror(error), strerror(-want));
}

static void make(struct state *s, enum kind k)
{
    struct model_node *dir = pick_dir(s), *made;
    mode_t mode = k == CREATE ? S_IFREG | 0640 : k == MKDIR ? S_IFDIR | 0750 : S_IFLNK | 0777;
    char name[MODEL_NAME], target[MODEL_NAME] = "", *path = s->path;
    int fd, want;

    pick_name(s, name);
    if (k == SYMLINK)
        pick_name(s, target);
    if (s->dir)
        path_of(s, dir, name, path);
    want = model_create(&s->m, dir, name, mode, target, &made);
    if (!s->dir)
        return;
    if (k == CREATE) {
        fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0640);
        answer(s, want, fd);
        if (fd >= 0)
            close(fd);
    } else {
        answer(s, want, k == MKDIR ? mkdir(path, 0750) : symlink(target, path));
    }
}

static void link_it(struct state *s)
{
    struct model_node *n = pick(s, S_IFREG, S_IFLNK), *dir = pick_dir(s);
    char name[MODEL_NAME], *from = s->path, *to = s->path2;
    int want;

    pick_name(s, name);
    if (!n)
        return;
    if (s->dir) {
        path_of(s, n, NULL, from);
        path_of(s, dir, name, to);
    }
    want = model_link(&s->m, n, dir, name);
    if (s->dir)
        answer(s, want, link(from, to));
}

static void remove_it(struct state *s, bool is_dir)
{
    struct model_node *dir = pick_dir(s);
    char name[MODEL_NAME], *path = s->path;
    int want;

    pick_name(s, name);
    if (s->dir)
        path_of(s, dir, name, path);
    want = model_remove(&s->m, dir, name, is_dir);
    if (s->dir)
        answer(s, want, is_dir ? rmdir(path) : unlink(path));
}

static void rename_it(struct state *s)
{
    struct model_node *from = pick_dir(s), *to = pick_dir(s);
    char name[MODEL_NAME], new_name[MODEL_NAME], *a = s->path, *b = s->path2;
    const struct model_node *src, *dst;
    int want;

    pick_name(s, name);
    pick_name(s, new_name);
    src = model_find(from, name);
    dst = model_find(to, new_name);
    /* Which of two errors comes first is the kernel's business. */
    if (src && dst && S_ISDIR(src->mode) + S_ISDIR(dst->mode) > 0)
        return;
    if (s->dir) {
        path_of(s, from, name, a);
        path_of(s, to, new_name, b);
    }
    want = model_rename(&s->m, from, name, to, new_name, 0);
    if (s->dir)
        answer(s, want, rename(a, b));
}

static void truncate_it(struct state *s)
{
    struct model_node *n = pick(s, S_IFREG, S_IFREG);
    unsigned size = below(s, FILE_MAX);
    char *path = s->path;

    if (!n)
        return;
    model_truncate(&s->m, n, size);
    if (!s->dir)
        return;
    path_of(s, n, NULL, path);
    answer(s, 0, truncate(path, size));
}

/* fd: -1 when it is to be opened by name. */
static void write_it(struct state *s, struct model_node *n, int fd)
{
    bool append = below(s, 2);
    unsigned len = 1 + below(s, below(s, 2) ? 300 : WRITE_MAX), offset = below(s, FILE_MAX - WRITE_MAX);
    char *path = s->path;
    int mine = -1;

    if (!n)
        return;
    if (append && n->size <= FILE_MAX - WRITE_MAX)
        offset = (unsigned)n->size;
    else if (below(s, 2))
        offset -= offset % PAGE;
    /* The kernel makes two requests of what begins within a page and leaves it, and half of that may survive. */
    if (offset % PAGE && len > PAGE - offset % PAGE)
        len = PAGE - offset % PAGE;
    tree_fill(s->data, s->m.op, offset, len);
    model_write(&s->m, n, offset, s->data, len);
    if (!s->dir)
        return;
    if (fd < 0) {
        path_of(s, n, NULL, path);
        fd = mine = open(path, O_WRONLY);
        answer(s, 0, fd);
    }
    if (!s->dead) {
        ssize_t done = pwrite(fd, s->data, len, offset);

        answer(s, 0, done);
        s->dead |= done != (ssize_t)len; /* less is written only when the daemon dies in between */
    }
    if (mine >= 0)
        close(mine);
}

/* Keep a file open over what follows, its removal for instance; or let go of one. */
static void hold(struct state *s)
{
    unsigned slot = below(s, HELD_MAX);
    struct model_node *n = pick(s, S_IFREG, S_IFREG);
    char *path = s->path;

    if (s->held[slot].node) {
        struct model_node *old = s->held[slot].node;

        s->held[slot].node = NULL;
        model_close(&s->m, old);
        if (s->dir)
            close(s->held[slot].fd);
    } else if (n) {
        s->held[slot].node = n;
        model_open(n);
        if (!s->dir)
            return;
        path_of(s, n, NULL, path);
        s->held[slot].fd = open(path, O_RDWR);
        answer(s, 0, s->held[slot].fd);
    }
}

static void sync_it(struct state *s, struct model_node *n)
{
    char *path = s->path;
    int fd;

    if (!n)
        return;
    s->synced = true;
    n->carried = s->m.op;
    if (!s->dir)
        return;
    path_of(s, n, NULL, path);
    fd = open(path, O_RDONLY);
    answer(s, 0, fd);
    if (fd < 0)
        return;
    answer(s, 0, fsync(fd));
    close(fd);
}

static void step(struct state *s)
{
    enum kind k = pick_kind(s);
    unsigned slot;

    s->m.op++;
    s->synced = false;
    s->kind = k;
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
    case TRUNCATE:
        truncate_it(s);
        break;
    case WRITE:
        write_it(s, pick(s, S_IFREG, S_IFREG), -1);
        break;
    case HOLD:
        hold(s);
        break;
    case WRITE_HELD:
        slot = below(s, HELD_MAX);
        write_it(s, s->held[slot].node, s->held[slot].fd);
        break;
    default:
        sync_it(s, pick(s, k == FSYNC ? S_IFREG : S_IFDIR, k == FSYNC ? S_IFREG : S_IFDIR));
        break;
    }
}

static void kill_later(uint64_t seed, pid_t pid)
{
    const char *text = getenv("SHALE_KILL_MS");
    uint64_t max_us = (text ? strtoull(text, NULL, 10) : DELAY_MAX_MS) * 1000, us;
    struct rng rng;

    if (fork() != 0)
        return;
    rng_seed(&rng, ~seed);
    us = 1 + rng_below(&rng, max_us ? max_us : 1);
    nanosleep(&(struct timespec){ (time_t)(us / 1000000), (long)(us % 1000000) * 1000 }, NULL);
    _exit(kill(pid, SIGKILL) < 0);
}

static void tell(int fd, uint64_t op, bool returned)
{
    struct note note = { op, returned };

    if (write(fd, &note, sizeof(note)) != sizeof(note))
        tree_die("cannot write the log: %s", strerror(errno));
}

static int run(const char *dir, uint64_t seed, const char *log, pid_t pid)
{
    static struct state s;
    int fd = open(log, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0644), status;

    if (fd < 0)
        tree_die("%s: %s", log, strerror(errno));
    umask(0);
    state_init(&s, dir, seed);
    kill_later(seed, pid);
    while (s.m.op < OPS_MAX && !s.dead) {
        tell(fd, s.m.op + 1, false);
        step(&s);
        if (!s.dead)
            tell(fd, s.m.op, true);
    }
    return wait(&status) < 0 || status != 0;
}

/* ---- what is there, and what may be there ---- */

static const struct model_node *node_of(const struct fs_model *m, uint64_t ino)
{
    const struct model_node *lists[] = { m->all, m->dead };

    for (int i = 0; i < 2; i++)
        for (const struct model_node *n = lists[i]; n; n = n->next)
            if (n->ino == ino)
                return n;
    return NULL;
}

/* Whether there is what a crash may leave when the names are those after the last operation of at. */
static bool is_possible(const struct state *at, const struct state *end, const struct tree_state *there, char *why)
{
    struct tree_state want = TREE_STATE_INIT;
    const struct tree_file *bad = NULL;
    bool same;

    tree_of_model(&want, &at->m);
    same = tree_names_equal(&want, there);
    for (size_t i = 0; same && i < want.n_files; i++)
        want.files[i].node = node_of(&end->m, want.files[i].node->ino); /* which has the later versions, too */
    if (same)
        bad = tree_first_mismatch(&want, at->m.op, there);
    if (bad)
        snprintf(why, PATH_MAX * 2,
                 "the names are those after operation %" PRIu64 ", but %s (%" PRIu64 " bytes) is not as it was after "
                 "any operation from %" PRIu64 " on",
                 at->m.op, tree_path(there, bad), bad->size, want.files[bad - there->files].carried);
    tree_state_fini(&want);
    return same && !bad;
}

static void read_log(const char *log, uint64_t *begun, uint64_t *returned)
{
    FILE *f = fopen(log, "rb");
    struct note note;

    if (!f)
        tree_die("%s: %s", log, strerror(errno));
    while (fread(&note, sizeof(note), 1, f) == 1)
        *(note.returned ? returned : begun) = note.op;
    fclose(f);
}

static int check(const char *dir, uint64_t seed, const char *log)
{
    static struct state end, at;
    struct tree_state there = TREE_STATE_INIT;
    uint64_t begun = 0, returned = 0, synced = 0;
    char why[PATH_MAX * 2] = "the names are those of no moment";

    read_log(log, &begun, &returned);
    state_init(&end, NULL, seed);
    while (end.m.op < begun) {
        step(&end);
        if (end.synced && end.m.op <= returned)
            synced = end.m.op;
    }
    tree_of_dir(&there, dir, true, FILE_MAX);
    state_init(&at, NULL, seed);
    while (at.m.op < synced)
        step(&at);
    while (!is_possible(&at, &end, &there, why)) {
        if (at.m.op >= begun)
            tree_die("%" PRIu64 " operations returned, %" PRIu64 " began, %" PRIu64 " synced: %s\n%s", returned, begun,
                     synced, why, there.text);
        step(&at);
    }
    printf("%" PRIu64 " operations, synced up to %" PRIu64 ", the names are those after %" PRIu64 "\n", returned,
           synced, at.m.op);
    tree_state_fini(&there);
    model_fini(&at.m);
    model_fini(&end.m);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "run") == 0)
        return run(argv[2], strtoull(argv[3], NULL, 10), argv[4], (pid_t)strtol(argv[5], NULL, 10));
    if (argc == 5 && strcmp(argv[1], "check") == 0)
        return check(argv[2], strtoull(argv[3], NULL, 10), argv[4]);
    tree_die("usage: crash_ops run DIR SEED LOG PID | crash_ops check DIR SEED LOG");
}
