/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMPACT_GC_SWEEP_H
#define COMPACT_GC_SWEEP_H

#include "object/paths.h"

#include <shale/admin.h>

/* One walk over the objects of a directory, which removes what is garbage. */
struct sweep_object {
    char *name; /* owned by the sweep */
    uint64_t size;
    int64_t mtime_ms;
};

/* 1: garbage; 0: it stays; or a negative error, which ends the sweep. */
typedef int (*sweep_fn)(void *arg, const struct sweep_object *o);

struct sweep {
    struct shale_store *store; /* borrowed, as all */
    char prefix[PATH_NAME_MAX];
    sweep_fn judge;   /* in order of names, without I/O, once for each object unless the listing is begun anew */
    sweep_fn confirm; /* may look at the object; NULL: it is garbage */
    void *arg;
    enum shale_gc_kind kind;
    const struct shale_gc_options *opt;
    bool (*stopped)(void *arg); /* may be NULL */
    void *stopped_arg;
    uint64_t removed; /* result */
};

/* 0; SHALE_ECANCELED; what report or confirm returned; an error of the store. */
int sweep_run(struct sweep *s);

#endif
