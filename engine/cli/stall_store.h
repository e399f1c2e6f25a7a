/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_STALL_STORE_H
#define CLI_STALL_STORE_H

#include <shale/object_store.h>

/*
 * A store that lets n SSTs be written under compacted/ and never answers another such put, so that a process can be
 * ended in the middle of a compaction. inner is borrowed.
 */
int stall_store_new(struct shale_store *inner, uint64_t n, struct shale_store **out);

#endif
