/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_OPS_OPS_H
#define FS_OPS_OPS_H

#define FUSE_USE_VERSION 314

#include "base/cancel.h"
#include "base/list.h"
#include "base/pool.h"
#include "base/sync.h"
#include "fs/core/fs.h"

#include <errno.h>
#include <fuse_lowlevel.h>

/*
 * What the operations share: fuse_req_userdata() of every request. An operation unpacks its arguments, calls the core
 * and replies; nothing of the file system is decided here. The kernel caches names, absent names and attributes
 * without expiry, because every change of an exclusive mount goes through it. In a follower they expire, but seldom: the core
 * tells what to forget (cache.c).
 */
struct ops {
    struct fs *fs;
    void (*on_ready)(void *arg); /* the kernel has asked for the first time; called once, by a worker */
    void *ready_arg;
    struct control *control;
    struct fuse_session *se;
    struct pool *syncers; /* for what waits until the workers have served others */
    _Atomic bool ending; /* the loop has ended: nobody serves requests any more; seq_cst */
    bool kill_suidgid; /* the kernel leaves set-id bits to us and says when to clear them (FUSE_HANDLE_KILLPRIV_V2) */
    struct mutex mu;   /* rank OPS_RANK_HANDLES */
    struct list handles; /* GUARDED_BY(mu): what the kernel has open and will not release when the mount is torn down */
};

#define OPS_RANK_HANDLES 1
#define OPS_RANK_CONTROL 1

/* So many fsyncs of the root directory at once; more wait in line, and hear of no interrupt there. */
#define OPS_SYNCERS 4
/* How long the kernel may keep the answer to a change; a follower has none. */
#define OPS_KEEP FS_KEEP_FOREVER
/* Of one READ or WRITE: the most that the kernel sends by default (256 pages). */
#define OPS_MAX_IO (1u << 20)

extern const struct fuse_lowlevel_ops ops_table;

/* An open file or directory: what fi->fh points to. */
struct ops_handle {
    struct list link;
    uint64_t ino;
    bool writes; /* opened for writing: through it the kernel may have dirty pages */
    struct fs_file *file;
    struct fs_dir *dir;
};

static inline struct ops *ops_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static inline struct ops_handle *ops_handle_of(const struct fuse_file_info *fi)
{
    return (struct ops_handle *)(uintptr_t)fi->fh;
}

/*
 * What a call of the core for req returns. While it lasts the thread is asked to give up waiting when the program was
 * interrupted by what is meant to end it (interrupt.h). Not beyond the reply, which frees req.
 */
#define OPS_CALL(req, call)                                                                                            \
    ({                                                                                                                 \
        struct cancel ops_token_;                                                                                      \
        __typeof__(call) ops_rc_;                                                                                      \
                                                                                                                       \
        ops_wait_begin(req, &ops_token_);                                                                              \
        ops_rc_ = (call);                                                                                              \
        ops_wait_end();                                                                                                \
        ops_rc_;                                                                                                       \
    })
void ops_wait_begin(fuse_req_t req, struct cancel *token);
void ops_wait_end(void);

/* 0 or a negative errno. */
int ops_init(struct ops *o, struct fs *fs, struct control *control);
/* Releases what is still open. No request is under way any more but in the syncers, which end first. */
void ops_fini(struct ops *o);

/*
 * Make the kernel write the pages that programs changed through mappings, and wait until it has. syncfs would not do:
 * it does not wait for FUSE. Not on a worker: workers serve those writes.
 */
void ops_flush_kernel(struct ops *o);

/* NULL when out of memory; made before the core opens, so that nothing has to be undone. */
struct ops_handle *ops_handle_new(void);
/* Take the open file or directory into the list and into fi, whose flags tell how it was opened. */
void ops_handle_publish(struct ops *o, struct ops_handle *h, uint64_t ino, struct fuse_file_info *fi);
/* Close what h holds and free it. */
void ops_handle_release(struct ops *o, struct ops_handle *h);

struct fs_cred ops_cred(fuse_req_t req);
void ops_stat(const struct fs_attr *a, struct stat *st);
/* keep: seconds for which the kernel may keep it. */
void ops_entry(const struct fs_attr *a, double keep, struct fuse_entry_param *e);

/* 0 or -errno of the core. */
static inline void ops_reply_rc(fuse_req_t req, int rc)
{
    fuse_reply_err(req, rc < 0 ? -rc : 0);
}

/*
 * The answer of what looks up or makes a name: the entry with its one lookup, or the error. When the caller has gone
 * and the kernel takes no answer, the lookup is given back.
 */
void ops_reply_entry(fuse_req_t req, int rc, const struct fs_attr *a, double keep);
void ops_reply_attr(fuse_req_t req, int rc, const struct fs_attr *a, double keep);

/* cache.c: from now on the kernel forgets what the core calls back. 0 or a negative errno. */
int ops_cache_attach(struct ops *o);

/* lookup.c */
void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
/* attr.c */
void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi);
void ops_readlink(fuse_req_t req, fuse_ino_t ino);
/* The set-id bits of a file go, as after a write by somebody without CAP_FSETID. 0 when it had none. */
int ops_kill_suidgid(struct fs *fs, uint64_t ino);
/* xattr.c */
void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
/* dir.c */
void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
/* file.c */
void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off, struct fuse_file_info *fi);
void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* create.c */
void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
/* link.c */
void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
/* rename.c */
void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
                unsigned flags);
/* statfs.c */
void ops_statfs(fuse_req_t req, fuse_ino_t ino);

#endif
