/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/fserr.h"

#include <errno.h>
#include <shale/error.h>

/*
 * What a program can do something about keeps its number: no space, no memory, a name that is there. ESTALE stays as
 * well: what was asked for was there, and may be again when it is asked once more. What gave up waiting was asked to,
 * by a signal to the program.
 */
int fserr(int rc)
{
    if (rc >= 0)
        return rc;
    if (rc == SHALE_ECANCELED)
        return -EINTR;
    if (rc <= SHALE_EBASE)
        return -EIO;
    switch (-rc) {
    /* What the store says of itself means nothing to the caller of a system call. */
    case EACCES:
    case ETIMEDOUT:
    case ECANCELED:
    case ECONNREFUSED:
    case ECONNRESET:
        return -EIO;
    default:
        return rc;
    }
}
