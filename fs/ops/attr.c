/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = ops_of(req)->fs;
    struct fs_attr a = { 0 };
    struct fs_answer answer;
    int rc;

    (void)fi; /* an open inode is as good as one with a name */
    fs_answer_begin(fs, &answer);
    rc = OPS_CALL(req, fs_getattr(fs, ino, &a));
    ops_reply_attr(req, rc, &a, fs_answer_keep_seconds(&answer));
    fs_answer_end(&answer);
}

static mode_t without_suidgid(mode_t mode)
{
    mode &= ~(mode_t)S_ISUID;
    if (mode & S_IXGRP) /* without it, S_ISGID is no privilege */
        mode &= ~(mode_t)S_ISGID;
    return mode;
}

/* Adds to *set a mode without set-id bits, when the file has any. */
static int add_kill(struct fs *fs, uint64_t ino, unsigned *set, struct fs_attr *a)
{
    struct fs_attr now = { 0 };
    mode_t mode = (*set & FS_SET_MODE) ? a->mode : 0;
    int rc;

    if (!(*set & FS_SET_MODE)) {
        rc = fs_getattr(fs, ino, &now);
        if (rc < 0)
            return rc;
        mode = now.mode;
        if (S_ISDIR(mode) || S_ISLNK(mode))
            return 0; /* Linux leaves theirs */
    }
    if (without_suidgid(mode) == mode)
        return 0;
    *set |= FS_SET_MODE;
    a->mode = without_suidgid(mode);
    return 0;
}

/* A file without set-id bits, as almost all are, costs a look at its mode. */
int ops_kill_suidgid(struct fs *fs, uint64_t ino)
{
    struct fs_attr a = { 0 }, out = { 0 };
    unsigned set = 0;
    int rc = add_kill(fs, ino, &set, &a);

    if (rc < 0 || set == 0)
        return rc;
    return fs_setattr(fs, ino, set, &a, &out);
}

static int64_t ns_of(struct timespec ts)
{
    int64_t ns;

    /* A time that 64 bits of nanoseconds cannot hold (after 2262) becomes the nearest that they can. */
    if (__builtin_mul_overflow((int64_t)ts.tv_sec, INT64_C(1000000000), &ns) ||
        __builtin_add_overflow(ns, (int64_t)ts.tv_nsec, &ns))
        return ts.tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

/* The kernel says both "set it" and "to now"; the core wants one. */
static unsigned set_of(int to_set)
{
    static const struct {
        int fuse;
        unsigned fs;
    } map[] = {
        { FUSE_SET_ATTR_MODE, FS_SET_MODE },           { FUSE_SET_ATTR_UID, FS_SET_UID },
        { FUSE_SET_ATTR_GID, FS_SET_GID },             { FUSE_SET_ATTR_SIZE, FS_SET_SIZE },
        { FUSE_SET_ATTR_ATIME, FS_SET_ATIME },         { FUSE_SET_ATTR_MTIME, FS_SET_MTIME },
        { FUSE_SET_ATTR_ATIME_NOW, FS_SET_ATIME_NOW }, { FUSE_SET_ATTR_MTIME_NOW, FS_SET_MTIME_NOW },
        { FUSE_SET_ATTR_CTIME, FS_SET_CTIME },
    };
    unsigned set = 0;

    for (size_t i = 0; i < ARRAY_SIZE(map); i++)
        if (to_set & map[i].fuse)
            set |= map[i].fs;
    if (set & FS_SET_ATIME_NOW)
        set &= ~(unsigned)FS_SET_ATIME;
    if (set & FS_SET_MTIME_NOW)
        set &= ~(unsigned)FS_SET_MTIME;
    return set;
}

/*
 * Under FUSE_HANDLE_KILLPRIV_V2 the kernel says with a flag that set-id bits have to go (a truncation without
 * CAP_FSETID, any chown of a file), and asks for nothing at all when that is all it wants: chown(-1, -1), or before a
 * write.
 */
void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
    struct ops *o = ops_of(req);
    struct fs_attr a = {
        .mode = st->st_mode,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .size = (uint64_t)st->st_size,
        .atime_ns = ns_of(st->st_atim),
        .mtime_ns = ns_of(st->st_mtim),
        .ctime_ns = ns_of(st->st_ctim),
    };
    struct fs_attr out = { 0 };
    unsigned set = set_of(to_set);
    int rc = 0;

    (void)fi;
    if (o->kill_suidgid && (set == 0 || (to_set & FUSE_SET_ATTR_KILL_SUID)))
        rc = OPS_CALL(req, add_kill(o->fs, ino, &set, &a));
    if (rc == 0)
        rc = OPS_CALL(req, set ? fs_setattr(o->fs, ino, set, &a, &out) : fs_getattr(o->fs, ino, &out));
    ops_reply_attr(req, rc, &out, OPS_KEEP);
}

/* libfuse wants a C string; a target has no NUL in it (fs_symlink got one, too). */
void ops_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct shale_buf target = SHALE_BUF_INIT;
    int rc = OPS_CALL(req, fs_readlink(ops_of(req)->fs, ino, &target));

    if (rc == 0)
        rc = shale_buf_append(&target, "", 1);
    if (rc < 0)
        fuse_reply_err(req, -rc);
    else
        fuse_reply_readlink(req, (const char *)target.data);
    shale_buf_fini(&target);
}
