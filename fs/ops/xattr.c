/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

#include "fs/ops/control.h"

/* A value or list of names for a caller with room for size bytes; 0 asks how many there are. */
static void reply_bytes(fuse_req_t req, int rc, const struct shale_buf *b, size_t size)
{
    if (rc < 0)
        fuse_reply_err(req, -rc);
    else if (size == 0)
        fuse_reply_xattr(req, b->len);
    else if (b->len > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, (const char *)b->data, b->len);
}

void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct ops *o = ops_of(req);
    struct shale_buf value = SHALE_BUF_INIT;
    int rc;

    if (ino == FS_ROOT_INO && control_is_name(name))
        rc = control_get(o->control, name, fuse_req_ctx(req)->uid, &value);
    else
        rc = OPS_CALL(req, fs_getxattr(o->fs, ino, name, &value));
    reply_bytes(req, rc, &value, size);
    shale_buf_fini(&value);
}

/* The kernel has checked the name and the right to it. */
void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
    ops_reply_rc(req, OPS_CALL(req, fs_setxattr(ops_of(req)->fs, ino, name, value, size, flags)));
}

void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct shale_buf names = SHALE_BUF_INIT;
    int rc = OPS_CALL(req, fs_listxattr(ops_of(req)->fs, ino, &names));

    reply_bytes(req, rc, &names, size);
    shale_buf_fini(&names);
}

void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    ops_reply_rc(req, OPS_CALL(req, fs_removexattr(ops_of(req)->fs, ino, name)));
}
