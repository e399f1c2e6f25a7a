/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <shale/error.h>

/* A sentence with its NUL is no longer; what does not fit is cut off. */
#define ERR_TEXT_MAX 1024

/*
 * Leave a sentence for shale_errmsg() on this thread and return rc, so that a failing function ends with
 * return err_set(rc, "cannot read %s: %s", ...). State what was attempted and on which object; no full stop.
 * A function that returns a negative code either leaves a sentence or returns -ENOMEM, which says
 * it all.
 */
int err_set(int rc, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put "context: " in front of the sentence that is there (or of the name of rc when there is none); returns rc. */
int err_add(int rc, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Forget the sentence. */
void err_clear(void);

#endif
