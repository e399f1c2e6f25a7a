/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <shale/log.h>

/* Log one line: what, which object, which code. */
void log_at(enum shale_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(SHALE_LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(SHALE_LOG_WARN, __VA_ARGS__)
#define log_info(...) log_at(SHALE_LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(SHALE_LOG_DEBUG, __VA_ARGS__)

#endif
