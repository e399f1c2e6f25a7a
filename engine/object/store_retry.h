/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_STORE_RETRY_H
#define OBJECT_STORE_RETRY_H

#include <shale/metrics.h>
#include <shale/object_store.h>

/*
 * A store that asks another one again after SHALE_ETRANSIENT, first after base_ms, each time after twice as long, up to
 * cap_ms, less up to a quarter by chance, so that many who wait do not come back together (R173); or after as long as
 * the store asked for (Retry-After). Every other error is permanent and returned at once (H12).
 *
 * When calls fail, one warning says so, another each minute while it lasts, and one line that it is over (R178 has a
 * line for each attempt, which are at the level debug here: an outage of an hour has many).
 *
 * A create-if-absent carries a put id (R174): when the reply to an attempt was lost and a later one finds the name
 * taken, the object's head says whether it is ours. On a store that keeps no ids that stays open, and -EEXIST is the
 * answer (R175). -EEXIST to a first attempt is a plain lost race.
 *
 * Listings go on behind the last object that was passed on. An upload's parts are asked for again like the rest, which
 * the contract of upload_write makes safe.
 * Times are of the monotonic clock. limit_ms bounds the waiting, not an attempt under way. A thread that is asked to
 * (base/cancel.h) stops waiting with SHALE_ECANCELED.
 */
struct store_retry_options {
    int64_t base_ms;  /* 0: 100 */
    int64_t cap_ms;   /* 0: 1000 */
    int64_t limit_ms; /* give up with SHALE_ETRANSIENT so long after the first attempt of a call; 0: never. Only for
                         threads of the classes IO_FOREGROUND and IO_WAL: for others nobody waits */
    /*
     * The same for calls until one of this store has had an answer, so that a wrong address is told about and not
     * waited for. 0: 30 s; below 0: as limit_ms. The shorter of the two counts.
     */
    int64_t contact_ms;
    struct shale_metrics *metrics; /* NULL, or where attempts beyond the first count, as shale.object_store.retries */
};

/* inner: borrowed until close. opt NULL: the defaults. */
int store_retry_new(struct shale_store *inner, const struct store_retry_options *opt, struct shale_store **out);

/*
 * From now on nobody waits: calls that sleep between attempts wake up and return SHALE_ECANCELED, as do later ones
 * whose only attempt fails with SHALE_ETRANSIENT. From any thread.
 */
void store_retry_stop(struct shale_store *s);

#endif
