/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_REQUESTS_H
#define FS_CORE_REQUESTS_H

#include <shale/metrics.h>
#include <shale/object_store.h>

/*
 * What a mount has asked of its store: the registry in which all of it counts, and for each operation how often in the
 * last hour. Times are of the monotonic clock, in milliseconds.
 */
struct fs_requests;

/* now_ms: the mount begins. also, with its argument, hears of each request as well; NULL: nobody. 0 or -ENOMEM. */
int fs_requests_new(int64_t now_ms, void (*also)(void *arg, const struct shale_request *r), void *arg,
                    struct fs_requests **out);
/* When the volume is closed. NULL is fine. */
void fs_requests_free(struct fs_requests *r);

/* For the store, and for the database; borrowed. */
const struct shale_request_watch *fs_requests_watch(const struct fs_requests *r);
struct shale_metrics *fs_requests_metrics(const struct fs_requests *r);

/* One request that ended at now_ms; what the watch does, with the clock's time. */
void fs_requests_note(struct fs_requests *r, const struct shale_request *done, int64_t now_ms);

/*
 * Append lines, for fs/cost.h to read:
 *   elapsed_ms N          since the mount
 *   window_ms N           of it the part that "recent" is about: the last hour, or all when it is shorter
 *   recent OP N           requests in the window
 *   requests OP CLASS N   since the mount, as the next ones
 *   bytes_sent N, bytes_received N, repeated N
 *   errors KIND N
 * What is 0 is left out. 0 or -ENOMEM.
 */
int fs_requests_text(struct fs_requests *r, int64_t now_ms, struct shale_buf *out);

#endif
