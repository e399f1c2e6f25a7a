/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CONTROL_CLIENT_H
#define FS_CONTROL_CLIENT_H

#include <shale/types.h>
#include <sys/types.h>

/* The other end of fs/ops/control.h: asking a running mount. */

/* The answer of the mount on dir replaces out, with a NUL behind it that is not counted. -errno without a sentence. */
int control_ask(const char *dir, const char *what, struct shale_buf *out);

/* What the engine of the mount on dir counts, as text for Prometheus, replaces out. -errno without a sentence. */
int control_metrics(const char *dir, struct shale_buf *out);

/* Hears how a mount ends. */
struct control_watch {
    int fd;    /* connected to the process of the mount */
    pid_t pid; /* that process */
};

/* 0, or -errno without a sentence. */
int control_watch_begin(const char *dir, struct control_watch *w);
/*
 * Waits for the end. The sentence replaces out: "ok", or what went wrong; empty when the process ended without a word.
 */
int control_watch_wait(struct control_watch *w, struct shale_buf *out);
void control_watch_end(struct control_watch *w);

#endif
