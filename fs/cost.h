/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_COST_H
#define FS_COST_H

#include "base/io_class.h"
#include "fs/prices.h"

#include <shale/types.h>

/* What a mount has asked of its store and what that costs, as shalefs status tells it. Pure: text in, text out. */

#define COST_CLASSES (IO_CLASSES + 1) /* the last: one that this program does not know */

struct cost_requests {
    int64_t elapsed_ms, window_ms;
    uint64_t n[SHALE_REQUEST_N_OPS][COST_CLASSES];
    uint64_t recent[SHALE_REQUEST_N_OPS]; /* in the window */
    uint64_t bytes_sent, bytes_received, repeated;
    uint64_t failed;                      /* errors but for "not_found" and "exists", which are answers */
};

/* Read what fs/core/requests.h writes. Lines of a newer version are passed over, an unknown operation is "other". */
void cost_requests_parse(const char *text, struct cost_requests *out);

struct cost {
    double so_far;  /* of the requests since the mount, in dollars */
    double monthly; /* a month of requests as in the window */
};

/* A month has 30 days. */
struct cost cost_of_requests(const struct price *p, const struct cost_requests *r);
double cost_of_storage(const struct price *p, uint64_t bytes); /* a month */

/*
 * Append what status prints of the requests of a mount: lines that begin with "requests" and "cost", the further ones
 * indented; without "cost" when p is NULL. Nothing when nothing was asked. 0 or -ENOMEM.
 */
int cost_text(const struct price *p, const struct cost_requests *r, struct shale_buf *out);
/* The same as an object of JSON. */
int cost_json(const struct price *p, const struct cost_requests *r, struct shale_buf *out);

#endif
