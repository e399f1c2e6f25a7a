/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_OPS_SIGNALS_H
#define FS_OPS_SIGNALS_H

#include "base/cancel.h"
#include "base/pool.h"

/*
 * Signals to the process of a mount, taken by one thread from before it serves until the volume is closed.
 *   SIGHUP            on_hangup; without one as the next
 *   SIGTERM, SIGINT   end the mount: on_end, on a thread of its own, since it may wait for what other threads do.
 *                     What is not in the store SIGNALS_PATIENCE_MS later is given up (give_up is wanted), so that an end
 *                     never takes as long as an outage; a second signal gives up at once. A mount that is unmounted
 *                     without a signal waits for its store; the first signal then begins the patience.
 */
struct signals {
    const char *mount_point;  /* borrowed; the first group is set before the start */
    void (*on_hangup)(void *arg);
    void *hangup_arg;

    struct cancel give_up;
    struct worker thread, ender;
    pthread_t server;         /* of whoever serves: woken by SIGUSR2 until signals_served */
    struct mutex mu;          /* rank SIGNALS_RANK; guards the rest */
    void (*on_end)(void *arg); /* NULL: nobody serves */
    void *end_arg;
    bool stop;
};

#define SIGNALS_RANK 1
#define SIGNALS_PATIENCE_MS 30000

/* Blocks the signals in this thread, and so in all that it starts. 0 or -errno. */
int signals_start(struct signals *g);
/* This thread serves from now on, and what ends it; and not any more, once on_end has returned if it was called. */
void signals_serving(struct signals *g, void (*on_end)(void *arg), void *arg);
void signals_served(struct signals *g);
/* The volume is closed. */
void signals_stop(struct signals *g);

#endif
