/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process-wide sink. Its function is called under a read lock, so that shale_log_set returns only
 * when nobody is in the old sink any more and its context may be freed. A sink must therefore not call
 * shale_log_set, and, as engine code logs while it holds locks, no other function of this library
 * either.
 */

#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static struct {
    shale_log_fn fn;
    void *ctx;
} sink;
static pthread_rwlock_t sink_lock = PTHREAD_RWLOCK_INITIALIZER;
/* relaxed: a line that races with shale_log_set may be kept or dropped */
static _Atomic int max_level = -1;

void shale_log_set(shale_log_fn fn, void *ctx, enum shale_log_level level)
{
    pthread_rwlock_wrlock(&sink_lock);
    sink.fn = fn;
    sink.ctx = ctx;
    pthread_rwlock_unlock(&sink_lock);
    atomic_store_explicit(&max_level, fn ? (int)level : -1, memory_order_relaxed);
}

void log_at(enum shale_log_level level, const char *fmt, ...)
{
    char line[1024];
    va_list ap;

    if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed))
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    pthread_rwlock_rdlock(&sink_lock);
    if (sink.fn)
        sink.fn(sink.ctx, level, line);
    pthread_rwlock_unlock(&sink_lock);
}
