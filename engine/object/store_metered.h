/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_STORE_METERED_H
#define OBJECT_STORE_METERED_H

#include "object/store_retry.h"

#include <shale/metrics.h>

/*
 * A store that counts the requests to another one, their errors and how long they take (R179):
 * slatedb.object_store.request_count, error_count and request_duration_seconds, with labels component (who asks),
 * store_type (main or wal), op (get, put or delete) and api. Every attempt counts, so it lies below the retrying store;
 * every error does, also "not found" and "exists already". Listings are not counted. What the other store lacks
 * (several ranges at once, uploads) is emulated above this one, and counted as the requests that it comes to.
 */
int store_metered_new(struct shale_store *inner, struct shale_metrics *m, const char *component, const char *store_type,
                      struct shale_store **out);

/* A retrying store on a metered one, each owned, on a store that is borrowed. All zero is closed. */
struct counted_store {
    struct shale_store *metered;
    struct shale_store *retry; /* what to use */
};

/* retry NULL: the defaults. m NULL: nothing is counted. */
int counted_store_open(struct counted_store *c, struct shale_store *inner, const struct store_retry_options *retry,
                       struct shale_metrics *m, const char *component, const char *store_type);
void counted_store_stop(struct counted_store *c); /* as store_retry_stop; also of a closed one */
void counted_store_close(struct counted_store *c);

#endif
