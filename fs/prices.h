/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_PRICES_H
#define FS_PRICES_H

#include <shale/object_store.h>

/* What a provider charges, in US dollars at list price, before any free allowance. */
struct price {
    const char *name;  /* for --prices: "s3" */
    const char *title; /* "S3 Standard, us-east-1" */
    const char *hosts; /* a name of a host that ends so is one of it; NULL: none can be told */
    double write_1000; /* PUT, POST and the parts of an upload */
    double list_1000;
    double read_1000;  /* GET, HEAD */
    double gib_month;
};

/* The i-th of the table, or NULL behind the last. */
const struct price *price_at(size_t i);
/* By name, or NULL. */
const struct price *price_find(const char *name);
/* By the server that a store talks to, as shale_store_origin tells it; NULL for one without a list price. */
const struct price *price_of(const char *origin);

/* What n requests of an operation cost. Deleting, giving up an upload, and asking for keys are free everywhere. */
double price_requests(const struct price *p, enum shale_request_op op, double n);

#endif
