/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain of manifests, with one update at a time in this process and compare-and-swap against
 * all others:
 *   copy the newest known -> edit -> create id + 1 -> -EEXIST: somebody else did: read theirs, check epochs, again
 * Losing a race is the normal way to learn of others' changes, so an update need not look first.
 * Two locks: update_mu (rank 15) is held across I/O, as it exists to serialise that; mu (rank 40)
 * is held for moments and guards what readers ask for. Versions are immutable once kept. The
 * danger is the garbage collector: once id + 1 was collected, creating it succeeds although the
 * chain has long moved on. Knowledge younger than TRUST_MS, far below the least age at which
 * anything is collected, is safe; older knowledge is renewed by a listing, and a create that took
 * long is verified by one (storage format 6.5, H1).
 */

#include "manifest/manifest_store.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/reread.h"
#include "manifest/numbered.h"

#include <errno.h>
#include <inttypes.h>

/*
 * Nobody deletes a manifest younger than 300 s, so what was the newest version a minute ago still has its successor in
 * place: probing id + 1 finds it, and creating id + 1 collides with it. Beyond this age only a listing tells (6.5).
 */
#define TRUST_MS 60000
#define RELIST_MAX 100

/* Both clocks, since either may stand still or jump while a machine sleeps. */
struct moment {
    int64_t wall_ms, mono_ms;
};

/* The versions that are alive. It lives as long as the store or one of them does. */
struct manifest_registry {
    _Atomic int refs; /* relaxed to add, acq_rel to drop */
    struct mutex mu;  /* rank 45 */
    struct list versions; /* GUARDED_BY(mu) */
    size_t n;             /* GUARDED_BY(mu) */
};

struct manifest_store {
    struct shale_store *store; /* borrowed */
    struct manifest_registry *held; /* shared with the versions */
    char *root;                /* owned */
    int64_t timeout_ms;
    struct mutex update_mu; /* rank 15; serialises what reads or writes the chain, held across I/O */
    struct moment checked;  /* GUARDED_BY(update_mu); when current was known to be the newest */
    struct mutex mu;        /* rank 40 */
    struct manifest_version *current;            /* GUARDED_BY(mu) */
    uint64_t writer_epoch, compactor_epoch;      /* GUARDED_BY(mu); claimed, 0: not */
};

static struct manifest_registry *registry_new(void)
{
    struct manifest_registry *r = mem_zalloc(sizeof(*r));

    if (!r)
        return NULL;
    atomic_init(&r->refs, 1);
    mutex_init(&r->mu, 45, "manifest versions");
    list_init(&r->versions);
    return r;
}

static void registry_unref(struct manifest_registry *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    mutex_fini(&r->mu);
    mem_free(r);
}

/* When v is complete: others look at it from here on. */
static void registry_add(struct manifest_registry *r, struct manifest_version *v)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    v->held = r;
    mutex_lock(&r->mu);
    list_append(&r->versions, &v->node);
    r->n++;
    mutex_unlock(&r->mu);
}

static void registry_remove(struct manifest_version *v)
{
    struct manifest_registry *r = v->held;

    if (!r)
        return; /* was never complete */
    mutex_lock(&r->mu);
    list_remove(&v->node);
    r->n--;
    mutex_unlock(&r->mu);
    registry_unref(r);
}

struct manifest_version *manifest_version_ref(struct manifest_version *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

/* A reference unless the last one is gone, and v about to leave the registry, whose lock the caller has. */
static bool version_try_ref(struct manifest_version *v)
{
    int refs = atomic_load_explicit(&v->refs, memory_order_relaxed);

    while (refs > 0)
        if (atomic_compare_exchange_weak_explicit(&v->refs, &refs, refs + 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    return false;
}

void manifest_version_unref(struct manifest_version *v)
{
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return;
    registry_remove(v);
    manifest_fini(&v->m);
    mem_free(v);
}

static struct manifest_version *version_new(uint64_t id)
{
    struct manifest_version *v = mem_zalloc(sizeof(*v));

    if (!v)
        return NULL;
    atomic_init(&v->refs, 1);
    v->id = id;
    manifest_init(&v->m);
    return v;
}

int manifest_store_held(struct manifest_store *s, struct manifest_version ***out, size_t *n)
{
    struct manifest_registry *r = s->held;
    struct manifest_version **list;
    size_t k = 0;

    mutex_lock(&r->mu);
    list = mem_calloc(r->n, sizeof(struct manifest_version *));
    if (list)
        list_for_each(p, &r->versions) {
            struct manifest_version *v = list_entry(p, struct manifest_version, node);

            if (version_try_ref(v))
                list[k++] = v;
        }
    mutex_unlock(&r->mu);
    if (!list)
        return -ENOMEM;
    *out = list;
    *n = k;
    return 0;
}

static struct moment moment_now(void)
{
    return (struct moment){ .wall_ms = clock_wall_ms(), .mono_ms = clock_mono_ms() };
}

/*
 * Both clocks must agree: the monotonic one stands still while a machine sleeps, the wall clock
 * may be set. A wall clock set back makes the difference negative, which counts as recent; the
 * monotonic one then decides.
 */
static bool moment_is_within(const struct moment *m, int64_t ms)
{
    struct moment now = moment_now();

    return now.mono_ms - m->mono_ms < ms && now.wall_ms - m->wall_ms < ms;
}

static bool moment_is_recent(const struct moment *m)
{
    return moment_is_within(m, TRUST_MS);
}

static struct numbered chain(const struct manifest_store *s)
{
    return (struct numbered){ .store = s->store, .root = s->root, .kind = PATH_MANIFEST };
}

int manifest_store_new(struct shale_store *store, const char *root, int64_t update_timeout_ms,
                       struct manifest_store **out)
{
    struct manifest_store *s = mem_zalloc(sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->store = store;
    s->timeout_ms = update_timeout_ms;
    s->root = mem_strdup(root);
    s->held = registry_new();
    if (!s->root || !s->held) {
        registry_unref(s->held);
        mem_free(s->root);
        mem_free(s);
        return -ENOMEM;
    }
    mutex_init(&s->update_mu, 15, "manifest update");
    mutex_init(&s->mu, 40, "manifest");
    *out = s;
    return 0;
}

void manifest_store_free(struct manifest_store *s)
{
    if (!s)
        return;
    manifest_version_unref(s->current);
    registry_unref(s->held);
    mutex_fini(&s->mu);
    mutex_fini(&s->update_mu);
    mem_free(s->root);
    mem_free(s);
}

struct manifest_version *manifest_store_current(struct manifest_store *s)
{
    struct manifest_version *v;

    mutex_lock(&s->mu);
    v = s->current ? manifest_version_ref(s->current) : NULL;
    mutex_unlock(&s->mu);
    return v;
}

/*
 * Keep v (borrowed) unless a newer one is kept. Called under update_mu. The greater id stays: a listing may have
 * been answered before a version that this process has stored itself.
 */
static void keep(struct manifest_store *s, struct manifest_version *v)
{
    struct manifest_version *old = NULL;

    mutex_lock(&s->mu);
    if (!s->current || s->current->id < v->id) {
        old = s->current;
        s->current = manifest_version_ref(v);
    }
    mutex_unlock(&s->mu);
    manifest_version_unref(old);
}

static int read_once(struct manifest_store *s, uint64_t id, struct manifest *m)
{
    struct numbered n = chain(s);
    struct shale_buf data = SHALE_BUF_INIT;
    int rc = numbered_get(&n, id, &data);

    if (rc == 0) {
        rc = manifest_decode(slice_of_buf(&data), m);
        if (rc < 0)
            err_add(rc, "manifest %" PRIu64 " under '%s'", id, s->root);
    }
    shale_buf_fini(&data);
    return rc;
}

int manifest_store_read(struct manifest_store *s, uint64_t id, struct manifest_version **out)
{
    struct manifest_version *v = version_new(id);
    struct reread again = REREAD_INIT;
    int rc;

    if (!v)
        return -ENOMEM;
    do
        rc = read_once(s, id, &v->m);
    while (reread_due(&again, rc));
    if (rc < 0) {
        manifest_version_unref(v);
        return rc;
    }
    registry_add(s->held, v);
    *out = v;
    return 0;
}

/*
 * REQUIRES(update_mu)
 * checked is the time before the listing: what was newest when it was answered was so at least
 * then.
 */
static int load_latest_locked(struct manifest_store *s, struct manifest_version **out)
{
    struct numbered n = chain(s);
    struct moment start = moment_now();
    uint64_t id = 0;
    int rc = -ENOENT;

    for (int i = 0; rc == -ENOENT && i < RELIST_MAX; i++) {
        rc = numbered_last(&n, &id, NULL);
        if (rc < 0)
            return rc;
        if (id == 0)
            return err_set(-ENOENT, "there is no manifest under '%s'", s->root);
        rc = manifest_store_read(s, id, out); /* -ENOENT: collected since it was listed */
    }
    if (rc < 0)
        return rc;
    keep(s, *out);
    s->checked = start;
    return 0;
}

int manifest_store_load_latest(struct manifest_store *s, struct manifest_version **out)
{
    int rc;

    mutex_lock(&s->update_mu);
    rc = load_latest_locked(s, out);
    mutex_unlock(&s->update_mu);
    return rc;
}

/*
 * An epoch that went back means that somebody restored or overwrote objects by hand. SlateDB
 * aborts here; going on could undo what a newer owner did.
 */
static int check_epoch(const struct manifest_store *s, const char *who, uint64_t own, uint64_t stored)
{
    if (own == 0 || own == stored)
        return 0;
    if (own < stored)
        return err_set(SHALE_EFENCED, "a newer %s (epoch %" PRIu64 ", ours is %" PRIu64 ") owns the database '%s'", who,
                       stored, own, s->root);
    return err_set(SHALE_ECORRUPT, "the %s epoch of '%s' went back to %" PRIu64 " from %" PRIu64, who, s->root, stored,
                   own);
}

/*
 * Whether what v holds of the epochs that role stands for is still ours. EPOCH_NONE: every claimed one.
 * What was claimed is read under mu, but compared outside: a claim is only ever made by the owner
 * of this store, before its threads start.
 */
static int check_epochs(struct manifest_store *s, enum epoch_role role, const struct manifest_version *v)
{
    uint64_t writer, compactor;
    int rc = 0;

    mutex_lock(&s->mu);
    writer = s->writer_epoch;
    compactor = s->compactor_epoch;
    mutex_unlock(&s->mu);
    if (role != EPOCH_COMPACTOR)
        rc = check_epoch(s, "writer", writer, v->m.writer_epoch);
    if (rc == 0 && role != EPOCH_WRITER)
        rc = check_epoch(s, "compactor", compactor, v->m.compactor_epoch);
    return rc;
}

/*
 * Follow the chain from v (moved), which is the newest known, by probing. REQUIRES(update_mu)
 * Each step costs one GET, which mostly says -ENOENT at once; a LIST would cost more and grow
 * with the chain (H21).
 */
static int advance_locked(struct manifest_store *s, struct manifest_version *v, struct manifest_version **out)
{
    struct moment start = moment_now();
    struct manifest_version *next;
    int rc;

    while ((rc = manifest_store_read(s, v->id + 1, &next)) == 0) {
        manifest_version_unref(v);
        v = next;
    }
    if (rc != -ENOENT) {
        manifest_version_unref(v);
        return rc;
    }
    keep(s, v);
    s->checked = start;
    *out = v;
    return 0;
}

/* The newest version. REQUIRES(update_mu) */
static int newest_locked(struct manifest_store *s, struct manifest_version **out)
{
    struct manifest_version *v = manifest_store_current(s);

    if (v && moment_is_recent(&s->checked))
        return advance_locked(s, v, out);
    manifest_version_unref(v);
    return load_latest_locked(s, out);
}

int manifest_store_newest(struct manifest_store *s, struct manifest_version **out)
{
    int rc;

    mutex_lock(&s->update_mu);
    rc = newest_locked(s, out);
    mutex_unlock(&s->update_mu);
    return rc;
}

int manifest_store_refresh_as(struct manifest_store *s, enum epoch_role role, struct manifest_version **out)
{
    return manifest_store_recent_as(s, role, 0, out);
}

int manifest_store_recent_as(struct manifest_store *s, enum epoch_role role, int64_t max_age_ms,
                             struct manifest_version **out)
{
    struct manifest_version *v = NULL;
    int rc = 0;

    mutex_lock(&s->update_mu);
    if (moment_is_within(&s->checked, max_age_ms))
        v = manifest_store_current(s);
    if (!v)
        rc = newest_locked(s, &v);
    mutex_unlock(&s->update_mu);
    if (rc < 0)
        return rc;
    rc = check_epochs(s, role, v);
    if (rc < 0) {
        manifest_version_unref(v);
        return rc;
    }
    *out = v;
    return 0;
}

int manifest_store_refresh(struct manifest_store *s, struct manifest_version **out)
{
    return manifest_store_refresh_as(s, EPOCH_NONE, out);
}

/* Create version v->id. -EEXIST: somebody else was first. */
static int put_version(struct manifest_store *s, const struct manifest_version *v)
{
    struct numbered n = chain(s);
    struct shale_buf data = SHALE_BUF_INIT;
    int rc = manifest_encode(&v->m, &data);

    if (rc == 0)
        rc = numbered_put(&n, v->id, slice_of_buf(&data));
    shale_buf_fini(&data);
    return rc;
}

int manifest_store_create(struct manifest_store *s, const struct manifest *m)
{
    struct manifest_version *v = version_new(1);
    int rc;

    if (!v)
        return -ENOMEM;
    mutex_lock(&s->update_mu);
    rc = manifest_copy(&v->m, m);
    if (rc == 0)
        rc = put_version(s, v);
    if (rc == 0) {
        registry_add(s->held, v);
        keep(s, v);
        s->checked = moment_now();
    }
    mutex_unlock(&s->update_mu);
    manifest_version_unref(v);
    return rc;
}

/*
 * After a create whose base was not known to be recent: were newer versions there before it, whose predecessor had been
 * collected? -EEXIST then: what we wrote counts for nothing. A next version that is younger than ours builds on it.
 * It is the next one that tells, not the newest, which others may have added since. Times may have
 * steps of a second; of the same time, ours counts, as an edit must not run on its own result.
 */
static int verify_create(struct manifest_store *s, const struct manifest_version *v)
{
    struct numbered n = chain(s);
    struct shale_object_meta own, next;
    uint64_t id = 0;
    int rc = numbered_last(&n, &id, NULL);

    if (rc < 0 || id <= v->id)
        return rc;
    rc = numbered_head(&n, v->id, &own);
    if (rc == 0)
        rc = numbered_head(&n, v->id + 1, &next);
    return rc == -ENOENT || (rc == 0 && next.mtime_ms < own.mtime_ms) ? -EEXIST : rc;
}

/*
 * Copy base, edit, store. 0 and the new version; MANIFEST_UNCHANGED; -EEXIST. REQUIRES(update_mu)
 * A create that had succeeded and is then found to be behind the chain is left where it is: below
 * the newest id it counts for nothing.
 */
static int try_update(struct manifest_store *s, const struct manifest_version *base, manifest_edit_fn fn, void *arg,
                      struct manifest_version **out)
{
    struct manifest_version *v = version_new(base->id + 1);
    struct moment start = moment_now();
    int rc;

    if (!v)
        return -ENOMEM;
    rc = manifest_copy(&v->m, &base->m);
    if (rc == 0)
        rc = fn(arg, &v->m, v->id);
    if (rc == 0)
        rc = put_version(s, v);
    if (rc == 0 && !moment_is_recent(&s->checked)) {
        rc = verify_create(s, v);
        if (rc == -EEXIST)
            s->checked = (struct moment){ INT64_MIN / 2, INT64_MIN / 2 }; /* list, do not probe */
    }
    if (rc != 0) {
        manifest_version_unref(v);
        return rc;
    }
    s->checked = start;
    registry_add(s->held, v);
    keep(s, v);
    *out = v;
    return 0;
}

/*
 * REQUIRES(update_mu)
 * The epoch is checked before every attempt, on the very version that is edited: a fenced process
 * can lose the race for id + 1, but never win it unchecked.
 */
static int update_locked(struct manifest_store *s, enum epoch_role role, manifest_edit_fn fn, void *arg,
                         struct manifest_version **out)
{
    int64_t deadline = clock_mono_ms() + s->timeout_ms;
    struct manifest_version *base = manifest_store_current(s);
    struct manifest_version *v = NULL;
    int rc = 0;

    if (!base || !moment_is_recent(&s->checked)) {
        manifest_version_unref(base);
        base = NULL;
        rc = load_latest_locked(s, &base);
    }
    while (rc == 0) {
        rc = check_epochs(s, role, base);
        if (rc < 0)
            break;
        rc = try_update(s, base, fn, arg, &v);
        if (rc == MANIFEST_UNCHANGED)
            v = manifest_version_ref(base);
        if (rc != -EEXIST)
            break;
        log_debug("manifest %" PRIu64 " of '%s' was written by somebody else; trying again", base->id + 1, s->root);
        if (clock_mono_ms() >= deadline) {
            rc = err_set(-ETIMEDOUT, "cannot update the manifest of '%s': contended for %lld ms", s->root,
                         (long long)s->timeout_ms);
            break;
        }
        manifest_version_unref(base);
        base = NULL;
        rc = newest_locked(s, &base);
    }
    manifest_version_unref(base);
    if (rc < 0)
        return rc;
    *out = v;
    return 0;
}

int manifest_store_update_as(struct manifest_store *s, enum epoch_role role, manifest_edit_fn fn, void *arg,
                             struct manifest_version **out)
{
    struct manifest_version *v = NULL;
    int rc;

    mutex_lock(&s->update_mu);
    rc = update_locked(s, role, fn, arg, &v);
    mutex_unlock(&s->update_mu);
    if (rc < 0)
        return rc;
    if (out)
        *out = v;
    else
        manifest_version_unref(v);
    return 0;
}

int manifest_store_update(struct manifest_store *s, manifest_edit_fn fn, void *arg, struct manifest_version **out)
{
    return manifest_store_update_as(s, EPOCH_NONE, fn, arg, out);
}

struct claim_arg {
    const struct manifest_store *s;
    enum epoch_role role;
    const uint64_t *from; /* NULL: whoever has it */
    uint64_t epoch;
};

/*
 * Called again after a lost race, on the winner's version: the epoch is then the winner's plus
 * one.
 */
static int claim_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    struct claim_arg *a = arg;
    uint64_t *field = a->role == EPOCH_WRITER ? &m->writer_epoch : &m->compactor_epoch;

    (void)next_id;
    if (*field == UINT64_MAX)
        return err_set(SHALE_ECORRUPT, "the epoch cannot grow any more");
    if (a->from && *a->from != *field)
        return err_set(-EBUSY,
                       "somebody else has just taken over the database '%s' (epoch %" PRIu64 ", it was %" PRIu64 ")",
                       a->s->root, *field, *a->from);
    a->epoch = ++*field;
    return 0;
}

static int claim(struct manifest_store *s, enum epoch_role role, const uint64_t *from, uint64_t *epoch,
                 struct manifest_version **out)
{
    struct claim_arg a = { .s = s, .role = role, .from = from };
    /* The other role is checked: a fenced writer starts no compactor. */
    enum epoch_role check = role == EPOCH_WRITER ? EPOCH_COMPACTOR : EPOCH_WRITER;
    int rc;

    rc = manifest_store_update_as(s, check, claim_edit, &a, out);
    if (rc < 0)
        return rc;
    mutex_lock(&s->mu);
    if (role == EPOCH_WRITER)
        s->writer_epoch = a.epoch;
    else
        s->compactor_epoch = a.epoch;
    mutex_unlock(&s->mu);
    *epoch = a.epoch;
    return 0;
}

int manifest_store_claim(struct manifest_store *s, enum epoch_role role, uint64_t *epoch,
                         struct manifest_version **out)
{
    return claim(s, role, NULL, epoch, out);
}

int manifest_store_claim_from(struct manifest_store *s, enum epoch_role role, uint64_t from, uint64_t *epoch,
                              struct manifest_version **out)
{
    return claim(s, role, &from, epoch, out);
}
