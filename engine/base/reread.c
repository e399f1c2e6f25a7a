/* SPDX-License-Identifier: Apache-2.0 */
#include "base/reread.h"

#include "base/err.h"
#include "base/log.h"

/* A version that nobody knows is a number like any other, which a flipped bit makes, too. */
bool reread_due(struct reread *r, int rc)
{
    if (rc != SHALE_ECORRUPT && rc != SHALE_EVERSION)
        return false;
    r->n++;
    if (r->n < REREAD_MAX) {
        log_warn("%s; reading it again", shale_errmsg());
        return true;
    }
    (void)err_set(rc, "%s (read %u times)", shale_errmsg(), r->n); /* returns rc */
    return false;
}
