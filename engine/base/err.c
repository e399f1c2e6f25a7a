/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error codes, their names, and the sentence that goes with the last failure of each thread. A sentence
 * lives in thread-local storage: it costs no allocation on the way out of an out-of-memory, and threads
 * cannot mix theirs up. Who hands a failure to another thread has to copy the sentence (see executor.c,
 * wal_replay.c).
 */

#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char err_text[ERR_TEXT_MAX];

static const struct {
    int code;
    const char *name;
} err_names[] = {
    { SHALE_ECORRUPT, "corrupt data" },
    { SHALE_EFENCED, "fenced by a newer writer" },
    { SHALE_ECLOSED, "closed" },
    { SHALE_EVERSION, "unsupported format version" },
    { SHALE_EMERGE, "merge operator missing or failed" },
    { SHALE_ECLOCK, "clock went backwards" },
    { SHALE_ETRANSIENT, "store temporarily unavailable" },
    { SHALE_EINITIALIZED, "database is not initialized" },
    { SHALE_ECANCELED, "canceled" },
    { SHALE_ECONFLICT, "transaction conflict" },
    { SHALE_EHOOK, "a callback failed" },
};

const char *shale_strerror(int code)
{
    if (code >= 0)
        return code == SHALE_END ? "end" : "success";
    for (size_t i = 0; i < sizeof(err_names) / sizeof(err_names[0]); i++)
        if (err_names[i].code == code)
            return err_names[i].name;
    if (code <= SHALE_EBASE)
        return "unknown error";
    return strerrordesc_np(-code) ? strerrordesc_np(-code) : "unknown error";
}

const char *shale_errmsg(void)
{
    return err_text;
}

/* Formatted into a place of its own first, since an argument may be shale_errmsg() itself. */
int err_set(int rc, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    memcpy(err_text, text, sizeof(text));
    return rc;
}

/* Append as much of s as fits. */
static void append(char text[ERR_TEXT_MAX], const char *s)
{
    size_t n = strlen(text);
    size_t len = strnlen(s, ERR_TEXT_MAX - 1 - n);

    memcpy(text + n, s, len);
    text[n + len] = '\0';
}

/*
 * Outermost context comes first: "manifest 7 under 'db': malformed manifest: a range passes the end of
 * the buffer".
 */
int err_add(int rc, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    append(text, ": ");
    append(text, err_text[0] ? err_text : shale_strerror(rc));
    memcpy(err_text, text, sizeof(text));
    return rc;
}

/*
 * Before calling what may fail without leaving a sentence, so that err_add does not add to an older
 * one.
 */
void err_clear(void)
{
    err_text[0] = '\0';
}
