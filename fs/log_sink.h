/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_LOG_SINK_H
#define FS_LOG_SINK_H

#include <shale/log.h>

/*
 * Where the process logs: one line each, with time, level and process, written at once so that lines of several
 * processes do not mix. There is one for the process.
 */

/* path NULL: standard error. 0, or -errno with a sentence; missing directories above the file are made. */
int log_sink_open(const char *path, enum shale_log_level level);
/* After the file was moved away (logrotate). Keeps the old one when it cannot. */
void log_sink_reopen(void);

/*
 * The file that a mount of the volume logs to by default: NAME.log in /var/log/shalefs for root, else in
 * $XDG_STATE_HOME/shalefs (~/.local/state/shalefs). NAME is the last component of the URL. Owned by the caller; NULL
 * when there is no home or no memory.
 */
char *log_sink_default_path(const char *volume_url);

#endif
