/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_PART_UPLOAD_H
#define OBJECT_PART_UPLOAD_H

#include "base/alloc.h"

#include <shale/object_store.h>

/*
 * A large object in parts, for stores that put one together of parts sent before. What is written gathers; a write
 * first sends the whole parts that are there, up to PART_SLOTS at once, each from a buffer of its own, and only then
 * takes the new bytes. So a write that fails with SHALE_ETRANSIENT has taken nothing, and a part that failed is sent
 * again by the next call. What fits into one part is not sent in parts, unless that was asked for: finish puts it.
 */
#define PART_BYTES ((size_t)8 << 20)
#define PART_SLOTS 4

enum part_state { PART_FREE, PART_SENT, PART_FAILED };

struct part {
    enum part_state state;
    unsigned number; /* from 1 */
    struct shale_buf data;
};

struct part_upload;

/* What a store adds. Errors are those of struct shale_store_ops, each with a sentence. */
struct part_upload_ops {
    unsigned parts_max;
    int (*begin)(struct part_upload *u);                /* once, before the first part; NULL: there is nothing to do */
    int (*send)(struct part_upload *u, unsigned slot);  /* put u->parts[slot] in line; wait follows when it succeeds */
    int (*wait)(struct part_upload *u, unsigned slot);  /* until it is at the store */
    int (*complete)(struct part_upload *u);             /* the parts 1 to n_parts are the object now; may be repeated */
    void (*discard)(struct part_upload *u);             /* the parts are not wanted; NULL: they vanish by themselves */
    void (*free)(struct part_upload *u);                /* u itself, after part_upload_fini */
};

struct part_upload {
    struct shale_upload base;
    const struct part_upload_ops *ops;
    bool begun;
    bool in_parts;             /* however little it is */
    struct shale_buf gathered; /* not yet in a part */
    struct part parts[PART_SLOTS];
    unsigned n_parts;          /* numbers given out */
    uint64_t size;             /* of what is in parts */
    char put_id[SHALE_PUT_ID_LEN + 1];
    char *name;                /* owned */
};

static inline struct part_upload *part_upload_of(struct shale_upload *u)
{
    return container_of(u, struct part_upload, base);
}

/* u is all zero, and freed by ops->free when this fails. 0 or -ENOMEM. */
int part_upload_init(struct part_upload *u, struct shale_store *store, const char *name,
                     const struct part_upload_ops *ops);

/* Of shale_store_ops. */
int part_upload_write(struct shale_upload *u, struct shale_slice data);
int part_upload_finish(struct shale_upload *u);
void part_upload_abort(struct shale_upload *u);
void part_upload_in_parts(struct shale_upload *u);

/*
 * For complete, when the store does not know the parts: whether an earlier attempt, whose reply was lost, has put them
 * together. 0; -EIO when none has; what head says when it cannot tell. bucket: for the sentence.
 */
int part_upload_look(struct part_upload *u, const char *bucket);

#endif
