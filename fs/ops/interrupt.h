/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_OPS_INTERRUPT_H
#define FS_OPS_INTERRUPT_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Whether a signal waits for the thread that is meant to end what it does: SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGABRT,
 * or one that ends the process. The kernel tells of any signal, and file operations that fail with EINTR for a timer
 * or a child that ended would surprise every program; on a disk they do not. True also of a thread that cannot be
 * seen.
 */
bool interrupt_is_meant(pid_t tid);

/* The same by the text of /proc/TID/status. */
bool interrupt_in_status(const char *text);

#endif
