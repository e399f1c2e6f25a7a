/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WAL_WAL_REPLAY_H
#define WAL_WAL_REPLAY_H

#include "sst/table_store.h"

/* Ids that are stored are below this: it leaves room to count on. */
#define WAL_ID_END (UINT64_MAX - ((uint64_t)1 << 56))

/*
 * The greatest WAL id that exists and is at least from, or 0 when there is none. SHALE_ECORRUPT when it is WAL_ID_END
 * or more. *largest (NULL: not wanted): bytes of the largest object from from on.
 */
int wal_find_last(struct table_store *ts, uint64_t from, uint64_t *last, uint64_t *largest);

/*
 * Read WAL objects first..last in order, several ahead (R97-R102), and hand every row to row, then the end of each
 * object to end, which may be NULL. A missing object is SHALE_ECORRUPT, unless tail; an unreadable one too, with its
 * name. fn values other than 0 stop and are returned.
 * Both are called on the thread that called wal_replay, in order of ids, and row in file order. A
 * row's bytes are borrowed for the call.
 */
struct wal_replay_fns {
    int (*row)(void *arg, const struct shale_row *row);
    int (*end)(void *arg, uint64_t wal_id);
    void *arg;
    uint64_t largest; /* bytes of the largest object, as far as is known; 0: nothing is, and two are read at first */
    bool tail; /* a missing object is the end of the log: 0, and what came before it counts */
};
int wal_replay(struct table_store *ts, uint64_t first, uint64_t last, const struct wal_replay_fns *fns);

#endif
