/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_REREAD_H
#define BASE_REREAD_H

#include <stdbool.h>

/*
 * What was read from a store and does not fit its checksum or its form may have been spoilt on the way. It is read
 * again before it is called damaged:
 *
 *   struct reread again = REREAD_INIT;
 *   do
 *       rc = read_and_check(...);
 *   while (reread_due(&again, rc));
 */
struct reread {
    unsigned n; /* reads so far */
};

#define REREAD_INIT { 0 }
#define REREAD_MAX 3u /* reads in all */

/*
 * After a read that ended with rc, and its sentence. True, with a line in the log, when it is to be done once more: rc
 * is SHALE_ECORRUPT or SHALE_EVERSION and there were less than REREAD_MAX. False else; after the last of them the
 * sentence says how many there were.
 */
bool reread_due(struct reread *r, int rc);

#endif
