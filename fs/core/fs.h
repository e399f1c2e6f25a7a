/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_FS_H
#define FS_CORE_FS_H

#include "base/list.h"

#include <shale/metrics.h>
#include <shale/object_store.h>
#include <shale/shale.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/*
 * The file system on an open volume, without FUSE: what fs/ops calls. Every function may be called from any thread.
 * Results are 0 or a count, or a negative errno that goes to the caller of the system call as it is; engine errors were
 * turned into one by fserr (EIO once the volume is poisoned, EROFS when it is mounted read-only).
 * What waits for the store, or for another operation that does, is given up with -EINTR on a thread that is asked to
 * (base/cancel.h). A change is then done as a whole or not at all, and what was to be made durable may be so later.
 */
struct fs;
struct cancel;

#define FS_ROOT_INO 1u
#define FS_NAME_MAX 255u
#define FS_XATTR_MAX 65536u    /* bytes of one value, and of a list of names */
#define FS_SYMLINK_MAX 4095u
#define FS_LINK_MAX 65000u     /* of a file; directories have no limit */
#define FS_SIZE_MAX INT64_MAX

enum fs_atime { FS_NOATIME, FS_RELATIME };

/*
 * Settings of the engine that fit almost every volume: of how the tree is kept and garbage collected. Tests of a mount
 * make them small, so that minutes of work go through what takes days. Names and meaning are those of shale/options.h,
 * which also has the bounds that one sets another; gc_min_age_ms stands for the four ages there.
 */
struct fs_tuning {
    uint64_t l0_sst_size_bytes;          /* 64 MiB */
    uint64_t l0_max_ssts;                /* 8 */
    uint64_t max_unflushed_bytes;        /* 160 MiB */
    uint64_t freeze_wal_count;           /* 256; what a mount after a crash replays at most */
    uint64_t manifest_idle_poll_ms;      /* 40000; an idle mount asks its store for next to nothing, as the next two */
    uint64_t compactor_idle_poll_ms;     /* 60000 */
    uint64_t gc_idle_interval_ms;        /* 3600000 */
    uint64_t compactor_poll_interval_ms; /* 5000 */
    uint64_t compactor_max_sst_size;     /* 256 MiB */
    uint64_t compactor_min_sources;      /* 4 */
    uint64_t compactor_max_sources;      /* 8 */
    uint64_t gc_interval_ms;             /* 60000 */
    uint64_t gc_min_age_ms;              /* 300000 */
};

struct fs_requests;

/*
 * How to open. Start from fs_options_init. read_only, without a checkpoint and with a poll_ms, follows the writer: see
 * "followers" below.
 */
struct fs_options {
    bool read_only;
    bool has_checkpoint;         /* with read_only: see what this checkpoint holds; -ENOENT when there is none */
    struct shale_uuid checkpoint;
    int64_t poll_ms;             /* 1000; 100..3600000; with read_only, between looks for what was written. 0: none */
    bool takeover;               /* fence a mount that holds the volume */
    enum fs_atime atime;         /* noatime */
    int64_t commit_interval_ms;  /* 1000; 100..60000; what was done is durable after this long */
    int64_t idle_ms;             /* 5000; 10..; after so long without changes space of removed data is given back */
    uint64_t dirty_max_bytes;    /* 64 MiB; 1 MiB..; file data not yet handed to the engine */
    uint64_t cache_bytes;        /* 64 MiB; decoded blocks */
    uint64_t read_ahead_bytes;   /* 32 MiB; file data that is loaded before somebody reads it; 0: none */
    const char *mount_point;     /* for the session object; may be NULL */
    struct fs_requests *requests; /* counts what is asked of the store; NULL: nobody does; borrowed until the close */
    const struct shale_store_options *store; /* what the URL does not say; NULL: the environment. For the open only */
    /*
     * NULL, or a token (base/cancel.h) for an end that must not take as long as an outage: once it is wanted nothing
     * of the volume waits any more. fs_close then leaves behind what is not in the store, and says so. Outlives the
     * volume.
     */
    const struct cancel *give_up;
    int64_t soft_ms;             /* 0: for ever; how long an operation waits for a store that does not answer */
    struct fs_tuning tuning;
};

void fs_options_init(struct fs_options *opt);

/*
 * Make a volume. name may be NULL. -EEXIST when there is a database or volume under the URL already; -EOPNOTSUPP when
 * the store lacks something that a volume needs (shale_store_probe), and then nothing was left there. Sentence in
 * shale_errmsg().
 */
struct fs_format_options {
    const char *name;
    uint32_t chunk_bytes; /* 1 MiB */
    uint32_t block_bytes; /* 16 KiB */
    enum shale_codec codec;
    uid_t uid;            /* owner of the root directory */
    gid_t gid;
    mode_t mode;          /* of the root directory, 0755 */
    void (*warn)(const char *name, const char *text); /* told of what the store could do better; may be NULL */
    const struct shale_store_options *store; /* as of fs_options */
};

void fs_format_options_init(struct fs_format_options *opt);
int fs_format(const char *url, const struct fs_format_options *opt);

/*
 * Open a volume: -ENOENT (no volume there), -EBUSY (in use; the sentence says by whom and how to take it over),
 * SHALE_EVERSION, SHALE_ECORRUPT, and what the engine returns. Removes orphans of dead sessions. Engine codes are
 * returned as they are here, for messages.
 */
int fs_open(const char *url, const struct fs_options *opt, struct fs **out);
/*
 * Write everything, remove the session, free. 0 when all is in the store; engine codes as of fs_open. Lookup counts
 * need not be dropped; what is still open is closed, but the handles are the caller's to forget.
 */
int fs_close(struct fs *fs);
/* give_up of the options, for the tokens of operations. */
const struct cancel *fs_token(struct fs *fs);
/* 0 while alive; otherwise the engine code of what poisoned it. */
int fs_error(struct fs *fs);

/* The id of the session object, as text with its NUL. False: a mount that only reads has none. */
bool fs_session_id(struct fs *fs, char out[SHALE_ULID_TEXT_LEN + 1]);

/* Everything written so far, by any file, is in the store when it returns 0. */
int fs_sync(struct fs *fs);

struct fs_cred {
    uid_t uid;
    gid_t gid;
};

struct fs_attr {
    uint64_t ino;
    mode_t mode;
    uint32_t nlink;
    uid_t uid;
    gid_t gid;
    uint32_t rdev;
    uint64_t size;
    uint64_t blocks; /* of 512 bytes */
    uint32_t block_bytes; /* preferred I/O size */
    int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
};

/*
 * ---- names. Each that returns an fs_attr adds one to the lookup count of that inode; fs_forget takes them back. ----
 *
 * Each change is whole when it returns, in the order in which they return, and durable with the next fsync of anything.
 * Whether somebody may do it is the kernel's question (default_permissions). Common errors: -ENOENT (no such name, or
 * the directory was removed), -ENOTDIR, -ENAMETOOLONG, -EINVAL for a name that cannot be, -EROFS, -EIO, -ENOMEM.
 */

/* Sees what is committed; waits for no change that is under way. */
int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct fs_attr *out);
void fs_forget(struct fs *fs, uint64_t ino, uint64_t n);
/* A file of any type but directory and symlink (mode has the type); -EEXIST. */
int fs_mknod(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name, mode_t mode, uint32_t rdev,
             struct fs_attr *out);
/* mode: permissions; -EEXIST. */
int fs_mkdir(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name, mode_t mode,
             struct fs_attr *out);
/* target: 1 to FS_SYMLINK_MAX bytes (-ENOENT, -ENAMETOOLONG), taken as it is. -EEXIST. */
int fs_symlink(struct fs *fs, const struct fs_cred *cred, const char *target, uint64_t parent, const char *name,
               struct fs_attr *out);
/*
 * One more name for ino, with all that was written to it so far. -EPERM for a directory, -EMLINK, -EEXIST, -ENOENT for
 * a file that has no name any more.
 */
int fs_link(struct fs *fs, uint64_t ino, uint64_t parent, const char *name, struct fs_attr *out);
/* -EISDIR. A file that is open stays until its last handle is released, and goes at the next mount after a crash. */
int fs_unlink(struct fs *fs, uint64_t parent, const char *name);
/* -ENOTEMPTY. */
int fs_rmdir(struct fs *fs, uint64_t parent, const char *name);
/*
 * flags: 0, RENAME_NOREPLACE (-EEXIST) or RENAME_EXCHANGE; others are -EINVAL, as is a directory into itself. -EISDIR,
 * -ENOTDIR and -ENOTEMPTY for what cannot be replaced. Whoever finds the new name, also after a crash, finds all that
 * was written to the file before.
 */
int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name,
              unsigned flags);
/* The target replaces out. -EINVAL when ino is no symlink. */
int fs_readlink(struct fs *fs, uint64_t ino, struct shale_buf *out);

/* ---- attributes ---- */

/* What a program sees, unwritten data included. May hand data of a sparse file over, to count its blocks. */
int fs_getattr(struct fs *fs, uint64_t ino, struct fs_attr *out);

enum {
    FS_SET_MODE = 1 << 0,
    FS_SET_UID = 1 << 1,
    FS_SET_GID = 1 << 2,
    FS_SET_SIZE = 1 << 3,
    FS_SET_ATIME = 1 << 4,
    FS_SET_MTIME = 1 << 5,
    FS_SET_ATIME_NOW = 1 << 6,
    FS_SET_MTIME_NOW = 1 << 7,
    FS_SET_CTIME = 1 << 8, /* only from a kernel that keeps times itself */
};

/* Changes what set names to the values in attr; *out is the result. A size change drops set-id bits as POSIX says. */
int fs_setattr(struct fs *fs, uint64_t ino, unsigned set, const struct fs_attr *attr, struct fs_attr *out);

/* ---- files. A handle pins its inode, unlinked or not. ---- */

struct fs_file;

/*
 * flags as of open(2): access mode, O_TRUNC, O_APPEND (the kernel says where to write; it means nothing here). -EISDIR;
 * -EINVAL for what is no regular file.
 */
int fs_file_open(struct fs *fs, uint64_t ino, int flags, struct fs_file **out);
/* mknod of a regular file and open in one; -EEXIST. */
int fs_file_create(struct fs *fs, const struct fs_cred *cred, uint64_t parent, const char *name, mode_t mode, int flags,
                   struct fs_attr *attr, struct fs_file **out);
/* Up to len bytes; fewer only at the end of the file. Returns the count. */
ssize_t fs_file_read(struct fs_file *f, uint64_t offset, void *data, size_t len);
/* All of it, or an error and nothing; only when memory runs out on the way, the count of what was taken. */
ssize_t fs_file_write(struct fs_file *f, uint64_t offset, const void *data, size_t len);
/*
 * A descriptor was closed: -EIO when something was written by this handle since its last fsync and the volume is known
 * to be dead. Does not wait for the store.
 */
int fs_file_flush(struct fs_file *f);
/* What was written to the file, and every name operation before, is in the store when it returns 0. */
int fs_file_fsync(struct fs_file *f, bool data_only);
/* Frees the handle. What was written stays to be written back. */
void fs_file_release(struct fs_file *f);

/* ---- directories ---- */

struct fs_dir;

struct fs_dirent {
    const char *name; /* borrowed until the next call on the handle */
    uint64_t ino;
    uint64_t cookie;  /* seek here to go on behind this entry */
    mode_t type;      /* the S_IFMT bits */
    uint64_t step;    /* for fs_dir_attr */
};

int fs_dir_open(struct fs *fs, uint64_t ino, struct fs_dir **out);
/*
 * Entries from cookie on (0: the start; "." and ".." come first) in name order. 0 and one entry, or SHALE_END. Entries
 * that come and go meanwhile neither hide nor double another. The next call with the cookie that was returned is
 * cheap; any cookie that this handle has returned is valid.
 */
int fs_dir_read(struct fs_dir *d, uint64_t cookie, struct fs_dirent *out);
/*
 * Attributes of the entry just read, with one lookup added (readdirplus). Not for "." and "..". -ENOENT: it is gone,
 * or, of a follower, may be another's by now; only a look-up can tell.
 */
int fs_dir_attr(struct fs_dir *d, const struct fs_dirent *e, struct fs_attr *out);
/* Every name operation before is in the store when it returns 0; of the root directory: everything, as fs_sync. */
int fs_dir_fsync(struct fs_dir *d);
void fs_dir_release(struct fs_dir *d);

/* ---- extended attributes ---- */

/* The value replaces out. -ENODATA; -EOPNOTSUPP for POSIX ACLs. */
int fs_getxattr(struct fs *fs, uint64_t ino, const char *name, struct shale_buf *out);
/* flags: 0, XATTR_CREATE (-EEXIST), XATTR_REPLACE (-ENODATA). -E2BIG, -ERANGE for what is too long. */
int fs_setxattr(struct fs *fs, uint64_t ino, const char *name, const void *value, size_t len, int flags);
/* Names, each with its NUL, replace out. */
int fs_listxattr(struct fs *fs, uint64_t ino, struct shale_buf *out);
/* -ENODATA. */
int fs_removexattr(struct fs *fs, uint64_t ino, const char *name);

/* ---- followers ---- */

/*
 * A read-only volume that follows shows what the writer committed, whole commits at a time, and each call of it one
 * moment (a listing: each few hundred names). -ESTALE, of what is known by its number: the writer has removed it. Of
 * anything else: objects were collected faster than a follower can look. What a cache above has been told is called
 * back:
 */
struct fs_cache {
    void *arg;
    /*
     * Forget the attributes of an inode; with data also its bytes from offset on, len 0: all behind it. And what a name
     * in a directory leads to, or that it is absent. Each is called when reads show what is new, by one thread, which
     * holds no lock and may be made to wait, also for answers.
     */
    void (*inode)(void *arg, uint64_t ino, bool data, uint64_t offset, uint64_t len);
    void (*name)(void *arg, uint64_t parent, const char *name);
};

/* From now on tell cache (copied), before anything is answered. Does nothing where nobody follows. 0 or -errno. */
int fs_cache_attach(struct fs *fs, const struct fs_cache *cache);
/* No call is under way when it returns, and none comes. Also done by fs_close. */
void fs_cache_detach(struct fs *fs);

/*
 * An answer that a cache may keep: begun before anything is asked for it, ended when it was given. One that was under
 * way when something changed is called back once more when it has ended. In the caller's memory; costs nothing where
 * nobody follows.
 */
struct fs_answer {
    struct list link;
    struct fs *fs;
    uint64_t step;
};

#define FS_KEEP_FOREVER 1e9

void fs_answer_begin(struct fs *fs, struct fs_answer *a);
/* For how long it may be kept: in effect for ever where nobody follows; 0 when something changed since it was begun. */
double fs_answer_keep_seconds(const struct fs_answer *a);
void fs_answer_end(struct fs_answer *a);
/* Whether a cache may keep that a name is absent; it is called back then. Before fs_answer_keep_seconds. */
bool fs_may_keep_absent(struct fs *fs, uint64_t parent, const char *name);
/* Look for what is new now: all that was durable when it was called is shown. Does nothing where nobody follows. */
int fs_refresh(struct fs *fs);

struct fs_follow_status {
    bool follows;        /* otherwise the rest is 0 */
    int64_t poll_ms;
    int64_t look_age_ms; /* all that was committed so long ago is shown */
    uint64_t looks;
    int look_error;      /* of the last look; 0: it went well */
    uint64_t seq;        /* newest batch that is shown */
    uint64_t requests;   /* to the store */
    uint64_t steps;      /* WAL objects that brought something new */
    uint64_t untold;     /* steps that caches are still to be told of, for the first or second time */
};

void fs_follow_status(struct fs *fs, struct fs_follow_status *out);

/* ---- the whole ---- */

struct fs_statfs {
    uint64_t block_bytes;
    uint64_t blocks, blocks_free; /* of block_bytes */
    uint64_t files, files_free;
};

/* Used space and inodes are counted; the rest is invented, as a bucket has no end. */
int fs_statfs(struct fs *fs, struct fs_statfs *out);

/* What removed files and cut data still occupy, and what compactions of this process left out of it. Estimates. */
struct fs_space {
    uint64_t dead_bytes;
    uint64_t dropped_rows, dropped_bytes;
};

void fs_space(struct fs *fs, struct fs_space *out);

/* Engine figures, for status. */
void fs_engine_status(struct fs *fs, struct shale_db_status *out);
/* What the engine counts; lives as long as the volume is open. */
struct shale_metrics *fs_metrics(struct fs *fs);
/* That of the options. */
struct fs_requests *fs_requests_of(struct fs *fs);

#endif
