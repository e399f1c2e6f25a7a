/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_ERROR_H
#define SHALE_ERROR_H

#include <shale/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Every function that can fail returns 0 or a count on success and a negative number on failure: -errno for what the
 * system or the caller did, one of these for what only this library knows.
 */
enum shale_error {
    SHALE_EBASE = -10000,
    SHALE_ECORRUPT = -10001,     /* checksum or structure is wrong; never retried */
    SHALE_EFENCED = -10002,      /* a newer writer or compactor owns the database; this handle is dead */
    SHALE_ECLOSED = -10003,      /* the handle was closed */
    SHALE_EVERSION = -10004,     /* a format version that this library does not know */
    SHALE_EMERGE = -10005,       /* a merge operand without a merge operator, or the operator failed */
    SHALE_ECLOCK = -10006,       /* the clock went backwards by more than the tolerated seconds */
    SHALE_ETRANSIENT = -10007,   /* the store may answer if asked again */
    SHALE_EINITIALIZED = -10008, /* the database is an unfinished clone */
    SHALE_ECANCELED = -10009,    /* stopped on request before it was done */
    SHALE_ECONFLICT = -10010,    /* another commit was in the transaction's way; begin anew */
    SHALE_EHOOK = -10011,        /* a function that the application gave (shale/hooks.h) failed */
};

/* Outcome of iteration: there is no further row. Not a failure. */
#define SHALE_END 1

/* A short English name of a code, for logs: "corrupt", "fenced", or the text of the errno. Never NULL. */
SHALE_API const char *shale_strerror(int code);

/*
 * The sentence that the last failing call of this thread left: what was attempted, on which object, what came back.
 * Borrowed until the next failing call on this thread. "" when there is none.
 */
SHALE_API const char *shale_errmsg(void);

#ifdef __cplusplus
}
#endif
#endif
