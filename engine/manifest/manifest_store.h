/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MANIFEST_MANIFEST_STORE_H
#define MANIFEST_MANIFEST_STORE_H

#include "base/list.h"
#include "base/sync.h"
#include "format/compactions_codec.h"

#include <shale/object_store.h>

/* A manifest as stored: immutable, shared, refcounted. Readers keep one while they use its SSTs. */
struct manifest_version {
    _Atomic int refs; /* relaxed to add, acq_rel to drop */
    uint64_t id;
    struct manifest m;
    struct list node;               /* in held, GUARDED_BY its lock */
    struct manifest_registry *held; /* shared */
};

struct manifest_version *manifest_version_ref(struct manifest_version *v);
void manifest_version_unref(struct manifest_version *v); /* NULL is fine */

/*
 * Which epoch a process holds and must find unchanged in what it loads.
 * A process may hold both, one or none; each role looks only at its own, or at both with
 * EPOCH_NONE.
 */
enum epoch_role { EPOCH_NONE, EPOCH_WRITER, EPOCH_COMPACTOR };

/*
 * The chain of manifest objects (R109-R118). One of it serves all threads of a process: updates are serialised, and
 * the latest version that was read or written is kept. No lock is held across I/O but the update lock, which exists
 * for that. Fencing: see each call.
 */
struct manifest_store;

int manifest_store_new(struct shale_store *store, const char *root, int64_t update_timeout_ms,
                       struct manifest_store **out);
void manifest_store_free(struct manifest_store *s);

/* Read the newest version (a LIST, R111). -ENOENT when there is none. *out is a reference. */
int manifest_store_load_latest(struct manifest_store *s, struct manifest_version **out);
/* The same by probing, where what is kept is recent enough: as manifest_store_refresh, and no epoch is checked. */
int manifest_store_newest(struct manifest_store *s, struct manifest_version **out);
/*
 * Look for versions newer than the one kept, by probing id + 1 (H21), and keep the newest. *out is a reference to it.
 * SHALE_EFENCED when it holds a greater epoch than one claimed through this object.
 */
int manifest_store_refresh(struct manifest_store *s, struct manifest_version **out);
/*
 * The same for one role: only its epoch is checked. The writer uses these forms, since a compactor that was
 * overtaken must not stop it (H19). EPOCH_NONE checks both.
 */
int manifest_store_refresh_as(struct manifest_store *s, enum epoch_role role, struct manifest_version **out);
/*
 * The same, and without a look when whoever shares s had one at most max_age_ms ago: the version kept, whose epoch is
 * checked as well.
 */
int manifest_store_recent_as(struct manifest_store *s, enum epoch_role role, int64_t max_age_ms,
                             struct manifest_version **out);
/*
 * The version kept; a reference. NULL before the first load.
 * No I/O; what it gives may be out of date by up to a poll interval, and is whole in itself.
 */
struct manifest_version *manifest_store_current(struct manifest_store *s);
int manifest_store_read(struct manifest_store *s, uint64_t id, struct manifest_version **out);
/*
 * A reference to every version of this store that somebody in this process holds: readers' views, compactions, the
 * version kept. Asked after loading the newest version, it misses none that a reader may come to use later, but for
 * newer ones. *out is an array (free) of *n.
 */
int manifest_store_held(struct manifest_store *s, struct manifest_version ***out, size_t *n);

/* Write version 1; -EEXIST when there is a manifest already. */
int manifest_store_create(struct manifest_store *s, const struct manifest *m);

/*
 * Compare and swap: copy the newest version, let fn edit the copy (next_id is what it will be stored as), store it
 * as the next id; when somebody else was first, read theirs, check epochs, and start over. fn returns 0, or
 * MANIFEST_UNCHANGED to leave it, or an error that ends the update. *out (may be NULL) is a reference to the
 * version that then is the newest. SHALE_EFENCED: a claimed epoch has been overtaken. -ETIMEDOUT after
 * update_timeout_ms. After a create that took long, a listing makes sure that no greater id was there (storage
 * format section 6.5).
 */
#define MANIFEST_UNCHANGED 1
/*
 * fn may be called several times, each time with a fresh copy, and is called with the update lock
 * (rank 15) held: it may take locks of higher rank for moments, and must not call the store. An
 * edit whose earlier attempt was stored without our knowing must recognise that
 * (MANIFEST_UNCHANGED), or be harmless twice.
 */
typedef int (*manifest_edit_fn)(void *arg, struct manifest *m, uint64_t next_id);
int manifest_store_update(struct manifest_store *s, manifest_edit_fn fn, void *arg, struct manifest_version **out);
int manifest_store_update_as(struct manifest_store *s, enum epoch_role role, manifest_edit_fn fn, void *arg,
                             struct manifest_version **out);

/* Take writer (compactor) epoch + 1; from then on every load and update checks it. */
int manifest_store_claim(struct manifest_store *s, enum epoch_role role, uint64_t *epoch,
                         struct manifest_version **out);
/* The same, unless the epoch of role is another than from: -EBUSY. */
int manifest_store_claim_from(struct manifest_store *s, enum epoch_role role, uint64_t from, uint64_t *epoch,
                              struct manifest_version **out);

#endif
