/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_OPS_KILLPRIV_H
#define FS_OPS_KILLPRIV_H

#include <stdbool.h>

struct fuse_session;

/*
 * FUSE_HANDLE_KILLPRIV_V2 (Linux 5.11, include/uapi/linux/fuse.h) for a libfuse that does not know it: the kernel then
 * stops asking for "security.capability" before every single write, and says with a flag of the write when set-id bits
 * have to go. The flag is added to libfuse's answer to INIT, and read from the requests, by standing between libfuse
 * and the device.
 */

/* For a session that is mounted. 0 or -errno. */
int killpriv_attach(struct fuse_session *se);

/* In the init operation: the kernel offers it, and gets it with the answer. */
bool killpriv_offered(void);

/* In the write operation: set-id bits have to go. */
bool killpriv_write_kills(void);

#endif
