/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_OPS_SESSION_H
#define FS_OPS_SESSION_H

#include "fs/ops/control.h"
#include "fs/ops/signals.h"

/* One mount: from attaching to the directory to its end. */
struct session_options {
    const char *volume;     /* URL, shown as the source of the mount */
    const char *mount_point; /* absolute */
    const char *kernel_options; /* further ones for mount(2) and fusermount3, comma separated; may be NULL or "" */
    bool read_only;
    bool allow_other;
    unsigned max_threads;
    void (*on_ready)(void *arg); /* the mount answers; called by a worker */
    void *ready_arg;
    struct signals *signals;     /* started */
};

/*
 * Mount fs and serve requests until it is unmounted or a signal ends it; then the kernel's dirty pages are taken
 * first. 0 when it ended so, else -errno with a sentence; unmounted in any case.
 */
int session_run(struct fs *fs, struct control *control, const struct session_options *opt);

#endif
