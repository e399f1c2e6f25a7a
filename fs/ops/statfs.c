/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct fs_statfs s = { 0 };
    struct statvfs st = { 0 };
    int rc = fs_statfs(ops_of(req)->fs, &s);

    (void)ino;
    if (rc < 0) {
        fuse_reply_err(req, -rc);
        return;
    }
    st.f_bsize = s.block_bytes;
    st.f_frsize = s.block_bytes;
    st.f_blocks = s.blocks;
    st.f_bfree = s.blocks_free;
    st.f_bavail = s.blocks_free;
    st.f_files = s.files;
    st.f_ffree = s.files_free;
    st.f_favail = s.files_free;
    st.f_namemax = FS_NAME_MAX;
    fuse_reply_statfs(req, &st);
}
