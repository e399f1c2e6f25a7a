/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_OPS_CONTROL_H
#define FS_OPS_CONTROL_H

#include "fs/core/fs.h"

/*
 * How the commands talk to a running mount: extended attributes of its root directory that are not listed and belong
 * to no file.
 *   shalefs.pid          the process
 *   shalefs.volume       URL
 *   shalefs.store        where that is, as shale_store_config_describe says it; no secrets
 *   shalefs.session      id of the session object; empty for a mount that only reads
 *   shalefs.log          where it logs; empty for standard error
 *   shalefs.status       lines "name value" of the engine
 *   shalefs.requests     lines of what was asked of the store (fs/core/requests.h)
 *   shalefs.metrics.N    what the engine counts, as text for Prometheus, from metric number N on, behind a line with the
 *                        number that follows (0: there is no more)
 *   shalefs.watch.NAME   connects to the abstract UNIX socket NAME; when the mount has ended and everything was written,
 *                        "ok" comes through it, otherwise a sentence. Answers with the process. Only for the user
 *                        of the process and root.
 */
struct control;

/* Strings are copied. */
int control_new(struct fs *fs, const char *volume, const char *store, const char *log, struct control **out);
void control_free(struct control *c); /* NULL is fine; watchers that were not told see the connection end */

bool control_is_name(const char *name);
/* The value replaces out. -ENODATA for an unknown name, -EPERM, or what connecting returned. */
int control_get(struct control *c, const char *name, uid_t uid, struct shale_buf *out);

/* Tell every watcher how the mount ended: sentence NULL for well. */
void control_tell(struct control *c, const char *sentence);

#define CONTROL_PREFIX "shalefs."

/* Fill in the address of the abstract socket NAME; the length, or -EINVAL for a name that is too long. */
struct sockaddr_un;
int control_address(const char *name, struct sockaddr_un *addr);

#endif
