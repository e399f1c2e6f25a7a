/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/said.h"

#include <shale/log.h>

#include "base/buf.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct shale_buf said; /* GUARDED_BY(mu) */

void said_add(const char *line)
{
    pthread_mutex_lock(&mu);
    if (buf_printf(&said, "%s\n", line) < 0)
        abort();
    pthread_mutex_unlock(&mu);
}

static void on_log(void *ctx, enum shale_log_level level, const char *line)
{
    (void)ctx, (void)level;
    said_add(line);
}

void said_begin(void)
{
    shale_log_set(on_log, NULL, SHALE_LOG_DEBUG);
}

bool said_has(const char *text)
{
    bool found;

    pthread_mutex_lock(&mu);
    found = said.len && strcasestr((char *)said.data, text);
    pthread_mutex_unlock(&mu);
    return found;
}

void said_end(void)
{
    shale_log_set(NULL, NULL, SHALE_LOG_ERROR);
    shale_buf_fini(&said);
}

void said_clear_environment(const char *prefix)
{
    extern char **environ;

    for (char **e = environ; *e;) {
        char name[128];

        snprintf(name, sizeof(name), "%.*s", (int)strcspn(*e, "="), *e);
        if (strncmp(name, prefix, strlen(prefix)) == 0 || strcasecmp(name, "http_proxy") == 0) {
            unsetenv(name);
            e = environ;
        } else {
            e++;
        }
    }
}
