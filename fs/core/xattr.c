/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "fs/core/file_data.h"
#include "fs/core/follow.h"
#include "fs/core/fserr.h"
#include "fs/core/namespace.h"
#include "fs/core/rows.h"

#include <errno.h>
#include <sys/xattr.h>

/*
 * The kernel handles the namespaces (security, trusted, user) and asks us for plain rows. ACLs would have to be
 * applied, too, and are not.
 */
static int check_name(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > FS_NAME_MAX)
        return -ERANGE;
    if (strcmp(name, "system.posix_acl_access") == 0 || strcmp(name, "system.posix_acl_default") == 0)
        return -EOPNOTSUPP;
    return 0;
}

/* Without a lock: one row is always whole. */
static int load(struct fs *fs, uint64_t ino, const char *name, struct shale_buf *out)
{
    struct fs_key key;
    int rc = fs_key_xattr(&key, ino, slice_str(name));

    if (rc == 0)
        rc = rows_get(fs, &key, NULL, out);
    return rc == -ENOENT ? -ENODATA : rc;
}

/* Rows of a removed inode stay until compaction takes them; nobody is to see them. */
static int check_there(struct fs *fs, uint64_t ino)
{
    struct inode *i;
    int rc = inode_get(fs, ino, &i);

    if (rc < 0)
        return follow_gone(fs, rc);
    mutex_lock(&i->mu);
    rc = i->gone ? -ENOENT : 0;
    mutex_unlock(&i->mu);
    inode_put(fs, i);
    return rc;
}

/* Most answers are ENODATA: tools ask for ACLs and capabilities of whatever they meet. */
int fs_getxattr(struct fs *fs, uint64_t ino, const char *name, struct shale_buf *out)
{
    struct follow_read r;
    int rc = check_name(name);

    if (rc < 0)
        return fserr(rc);
    follow_read_begin(fs, &r);
    do {
        rc = check_there(fs, ino);
        if (rc == 0)
            rc = load(fs, ino, name, out);
    } while (follow_read_again(fs, &r));
    return fserr(rc);
}

/* One batch: the row, and the inode's change time. */
static int change(struct fs *fs, struct inode *i, const char *name, const struct shale_slice *value)
{
    struct names_txn nt;
    struct inode_op op;
    struct fs_key key;
    int rc;

    names_txn_init(&nt, fs);
    op = (struct inode_op){ .set = INODE_OP_CTIME, .ctime_ns = nt.now_ns };
    txn_fail(&nt.t, fs_key_xattr(&key, i->ino, slice_str(name)));
    if (value)
        txn_put(&nt.t, &key, *value);
    else
        txn_delete(&nt.t, &key);
    names_change(&nt, i, &op);
    rc = names_commit(&nt);
    names_txn_fini(&nt);
    return rc;
}

/* Whether a list with name added stays within what listxattr can return. */
static int check_list(struct fs *fs, uint64_t ino, const char *name)
{
    struct shale_buf list = SHALE_BUF_INIT;
    int rc = fs_listxattr(fs, ino, &list);

    if (rc == 0 && list.len + strlen(name) + 1 > FS_XATTR_MAX)
        rc = -ENOSPC;
    shale_buf_fini(&list);
    return rc;
}

/* XATTR_CREATE and XATTR_REPLACE are decided under the op lock, so that of two creates one fails. */
static int set_locked(struct fs *fs, struct inode *i, const char *name, struct shale_slice value, int flags)
{
    struct shale_buf old = SHALE_BUF_INIT;
    int rc = load(fs, i->ino, name, &old);

    shale_buf_fini(&old);
    if (rc == 0 && (flags & XATTR_CREATE))
        return -EEXIST;
    if (rc == -ENODATA && (flags & XATTR_REPLACE))
        return rc;
    if (rc == -ENODATA)
        rc = check_list(fs, i->ino, name);
    return rc < 0 ? rc : change(fs, i, name, &value);
}

int fs_setxattr(struct fs *fs, uint64_t ino, const char *name, const void *value, size_t len, int flags)
{
    struct inode *i;
    int rc = fs->opt.read_only ? -EROFS : check_name(name);

    if (rc == 0 && len > FS_XATTR_MAX)
        rc = -E2BIG;
    if (rc == 0)
        rc = names_lock_node(fs, ino, &i);
    if (rc < 0)
        return fserr(rc);
    rc = i->gone ? -ENOENT : set_locked(fs, i, name, slice_of(value, len), flags);
    names_release(fs, i);
    return fserr(rc);
}

/* Looked for first, since a deletion of what is not there has to fail. */
int fs_removexattr(struct fs *fs, uint64_t ino, const char *name)
{
    struct shale_buf old = SHALE_BUF_INIT;
    struct inode *i;
    int rc = fs->opt.read_only ? -EROFS : check_name(name);

    if (rc == 0)
        rc = names_lock_node(fs, ino, &i);
    if (rc < 0)
        return fserr(rc);
    rc = i->gone ? -ENOENT : load(fs, ino, name, &old);
    if (rc == 0)
        rc = change(fs, i, name, NULL);
    names_release(fs, i);
    shale_buf_fini(&old);
    return fserr(rc);
}

/* In the order of the keys, which is that of the bytes of the names. */
static int list_names(struct fs *fs, uint64_t ino, struct shale_buf *out)
{
    struct shale_iter *it = NULL;
    struct fs_key prefix;
    struct shale_row row;
    int rc;

    fs_key_xattrs(&prefix, ino);
    buf_clear(out);
    rc = rows_scan_prefix(fs, &prefix, NULL, &it);
    while (rc == 0 && (rc = shale_iter_next(it, &row)) == 0) {
        rc = buf_append_slice(out, slice_from(row.key, prefix.len));
        if (rc == 0)
            rc = buf_put_u8(out, 0);
    }
    shale_iter_close(it);
    return rc == SHALE_END ? 0 : rc;
}

/* When another process compacted and collected meanwhile the engine has looked for the tree of now. */
static int list_settled(struct fs *fs, uint64_t ino, struct shale_buf *out)
{
    int rc = list_names(fs, ino, out);

    for (int i = 0; rc == -ESTALE && i < FS_RESCANS_MAX; i++)
        rc = list_names(fs, ino, out);
    return rc;
}

int fs_listxattr(struct fs *fs, uint64_t ino, struct shale_buf *out)
{
    struct follow_read r;
    int rc;

    follow_read_begin(fs, &r);
    do {
        rc = check_there(fs, ino);
        if (rc == 0)
            rc = list_settled(fs, ino, out);
    } while (follow_read_again(fs, &r));
    return fserr(rc);
}
