/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_REQUESTS_H
#define BASE_REQUESTS_H

#include "base/io_class.h"

#include <shale/object_store.h>

/*
 * What is counted of requests on the wire, for every client of a network to use. A metric comes into being with the
 * first request that it counts, so that what a mount never does is not listed.
 *   requests          counter   op, class
 *   bytes_sent        counter   op, class; of bodies, as the next one
 *   bytes_received    counter   op, class
 *   repeated_requests counter   op, class; of requests those that were not the first attempt
 *   errors            counter   op, kind
 *   in_flight         up-down   class; on the wire now
 *   queued            up-down   class; in line now
 *   queue_seconds     histogram class
 *   wire_seconds      histogram op
 * Each is called shale.object_store.NAME.
 */
struct requests;

/*
 * watch NULL, or without metrics and function: *out is NULL, which the functions below take for "nobody wants to know".
 * The metrics of watch have to outlive it. 0 or -ENOMEM.
 */
int requests_new(const struct shale_request_watch *watch, struct requests **out);
void requests_free(struct requests *r); /* NULL is fine */

/* One more in line; and out of it again, to go out or not. From any thread. */
void requests_queued(struct requests *r, enum io_class cls);
void requests_dequeued(struct requests *r, enum io_class cls, bool goes_out);
/* One that went out has ended. cls is that of done->io_class. Calls the function of watch. */
void requests_ended(struct requests *r, enum io_class cls, const struct shale_request *done);

/*
 * What kind of error a status (0: no answer) is, NULL: none. "not_found" and "exists" are answers that are asked for as
 * often as not; "refused" (401, 403), "slow_down" (429, 503), "client" (any other below 500), "server", "network".
 */
const char *request_error_kind(int status);

#endif
