/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_LOG_H
#define SHALE_LOG_H

#include <shale/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum shale_log_level {
    SHALE_LOG_ERROR = 0, /* something was lost or stopped */
    SHALE_LOG_WARN = 1,  /* degraded, continuing */
    SHALE_LOG_INFO = 2,  /* lifecycle */
    SHALE_LOG_DEBUG = 3,
};

/*
 * One line without newline, never a secret or user bytes. May be called from any thread, several at once.
 * Called with internal locks held: it must not call this library, and should return soon.
 */
typedef void (*shale_log_fn)(void *ctx, enum shale_log_level level, const char *line);

/* Where lines go, for the whole process; fn NULL (the default) drops them. Lines above max_level are not formatted. */
SHALE_API void shale_log_set(shale_log_fn fn, void *ctx, enum shale_log_level max_level);

#ifdef __cplusplus
}
#endif
#endif
