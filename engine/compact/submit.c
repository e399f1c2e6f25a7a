/* SPDX-License-Identifier: Apache-2.0 */
#include "compact/submit.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/err.h"
#include "compact/compactor_state.h"
#include "compact/size_tiered.h"
#include "object/paths.h"
#include "object/store_retry.h"

#include <errno.h>
#include <inttypes.h>

/* Longest time that a submission contends for the next version of the list. */
#define SUBMIT_TIMEOUT_MS 60000

/* The n oldest L0 SSTs of m. */
static int take_l0_oldest(const struct manifest *m, size_t n, struct compaction *c)
{
    if (n > m->n_l0)
        n = m->n_l0;
    c->l0 = mem_calloc(n, sizeof(*c->l0));
    if (!c->l0)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        c->l0[i] = m->l0[m->n_l0 - n + i].id;
    c->n_l0 = n;
    return 0;
}

static int take_l0(const struct shale_compaction_spec *spec, struct compaction *c)
{
    c->l0 = mem_dup(spec->l0, spec->n_l0 * sizeof(*c->l0));
    if (!c->l0 && spec->n_l0)
        return -ENOMEM;
    c->n_l0 = spec->n_l0;
    return 0;
}

static int take_all_runs(const struct manifest *m, struct compaction *c)
{
    c->runs = mem_calloc(m->n_runs, sizeof(*c->runs));
    if (!c->runs)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_runs; i++)
        c->runs[i] = m->runs[i].id;
    c->n_runs = m->n_runs;
    return 0;
}

static int take_runs(const struct shale_compaction_spec *spec, struct compaction *c)
{
    c->runs = mem_dup(spec->runs, spec->n_runs * sizeof(*c->runs));
    if (!c->runs && spec->n_runs)
        return -ENOMEM;
    c->n_runs = spec->n_runs;
    return 0;
}

/* Highest first. There are few. */
static void sort_runs(struct compaction *c)
{
    for (size_t i = 1; i < c->n_runs; i++) {
        uint32_t run = c->runs[i];
        size_t at = i;

        for (; at > 0 && c->runs[at - 1] < run; at--)
            c->runs[at] = c->runs[at - 1];
        c->runs[at] = run;
    }
}

static int take_sources(const struct manifest *m, const struct shale_compaction_spec *spec, struct compaction *c)
{
    int rc;

    switch (spec->kind) {
    case SHALE_COMPACT_FULL:
        rc = take_l0_oldest(m, m->n_l0, c);
        return rc < 0 ? rc : take_all_runs(m, c);
    case SHALE_COMPACT_L0:
        return take_l0_oldest(m, spec->n_l0_oldest ? spec->n_l0_oldest : m->n_l0, c);
    case SHALE_COMPACT_RUNS:
        rc = take_l0_oldest(m, spec->n_l0_oldest, c);
        if (rc == 0)
            rc = take_runs(spec, c);
        sort_runs(c);
        return rc;
    case SHALE_COMPACT_SOURCES:
        rc = take_l0(spec, c);
        return rc < 0 ? rc : take_runs(spec, c);
    default:
        return err_set(-EINVAL, "a compaction of unknown kind %d was asked for", (int)spec->kind);
    }
}

/*
 * A stored record has no destination of its own: a reader takes the lowest of the runs. So a compaction of L0 SSTs
 * alone goes into the next free run, whatever is asked for, and one of runs cannot go anywhere else.
 */
static int place(const struct manifest *m, const struct shale_compaction_spec *spec, struct compaction *c)
{
    uint32_t next = m->n_runs ? m->runs[0].id + 1 : 0;

    c->destination = c->n_runs ? c->runs[c->n_runs - 1] : next;
    if (spec->kind == SHALE_COMPACT_SOURCES && spec->destination != c->destination)
        return err_set(-EINVAL, "invalid compaction: destination %" PRIu32 ", it has to be %" PRIu32, spec->destination,
                       c->destination);
    return 0;
}

int compaction_of_spec(const struct manifest *m, const struct shale_compaction_spec *spec, struct compaction *out)
{
    struct compaction c = { .status = COMPACTION_SUBMITTED };
    int rc = take_sources(m, spec, &c);

    if (rc == 0 && c.n_l0 + c.n_runs == 0)
        rc = SHALE_END;
    if (rc == 0)
        rc = place(m, spec, &c);
    if (rc == 0)
        rc = compaction_spec_check(m, &c, NULL, 0);
    if (rc == 0)
        *out = c;
    else
        compaction_fini(&c);
    return rc;
}

struct shale_ulid compactions_new_id(const struct compactions *cs, int64_t now_ms)
{
    struct shale_ulid last = cs->n ? cs->list[cs->n - 1].id : (struct shale_ulid){ 0, 0 };
    int64_t least = ulid_time_ms(last);
    struct shale_ulid id = ulid_new(now_ms > least ? now_ms : least, NULL);

    return ulid_cmp(id, last) > 0 ? id : ulid_new(least + 1, NULL);
}

static int resolve(struct shale_store *store, const char *root, const struct shale_compaction_spec *spec,
                   int64_t timeout_ms, struct compaction *out)
{
    struct manifest_version *v = NULL;
    struct manifest_store *manifests = NULL;
    int rc = manifest_store_new(store, root, timeout_ms, &manifests);

    if (rc == 0)
        rc = manifest_store_load_latest(manifests, &v);
    if (rc == 0)
        rc = compaction_of_spec(&v->m, spec, out);
    manifest_version_unref(v);
    manifest_store_free(manifests);
    return rc;
}

/* One attempt to add a copy of c to the list; -EEXIST when somebody else was first. */
static int add_to_list(struct compactions_store *s, const struct compaction *c, int64_t now_ms, struct shale_ulid *id)
{
    struct compactions list = { 0 };
    struct compaction copy = { 0 };
    int rc = compactions_store_load(s, &list);

    if (rc == 0)
        rc = compaction_copy(&copy, c);
    if (rc == 0) {
        copy.id = *id = compactions_new_id(&list, now_ms);
        rc = compactions_add(&list, &copy);
    }
    if (rc == 0)
        rc = compactions_store_write(s, &list);
    compactions_fini(&list);
    return rc;
}

int compaction_submit(struct shale_store *store, const char *root, const struct shale_compaction_spec *spec,
                      int64_t now_ms, int64_t timeout_ms, struct shale_ulid *id)
{
    int64_t deadline = clock_mono_ms() + timeout_ms;
    struct compactions_store s = { 0 };
    struct compaction c = { 0 };
    struct shale_ulid given;
    int rc = resolve(store, root, spec, timeout_ms, &c);

    if (rc == 0)
        rc = compactions_store_init(&s, store, root);
    while (rc == 0 && (rc = add_to_list(&s, &c, now_ms, &given)) == -EEXIST)
        rc = clock_mono_ms() < deadline
                 ? 0
                 : err_set(-ETIMEDOUT, "the list of compactions of '%s' could not be updated in %" PRId64 " ms", root,
                           timeout_ms);
    if (rc == 0)
        *id = given;
    compactions_store_fini(&s);
    compaction_fini(&c);
    return rc;
}

int shale_compaction_submit(struct shale_store *store, const char *path, const struct shale_compaction_spec *spec,
                            struct shale_ulid *id)
{
    struct shale_store *retrying = NULL;
    int rc = path_check_root(path);

    if (rc == 0)
        rc = store_retry_new(store, NULL, &retrying);
    if (rc == 0)
        rc = compaction_submit(retrying, path, spec, clock_wall_ms(), SUBMIT_TIMEOUT_MS, id);
    shale_store_close(retrying);
    return rc;
}

struct shale_compaction compaction_told(const struct compaction *c)
{
    return (struct shale_compaction){ .id = c->id,
                                      .status = (enum shale_compaction_status)c->status,
                                      .destination = c->destination,
                                      .n_l0 = (uint32_t)c->n_l0,
                                      .n_runs = (uint32_t)c->n_runs,
                                      .n_outputs = (uint32_t)c->n_outputs };
}

int shale_compaction_list(struct shale_store *store, const char *path,
                          int (*fn)(void *arg, const struct shale_compaction *c), void *arg)
{
    struct compactions_store s = { 0 };
    struct shale_store *retrying = NULL;
    struct compactions list = { 0 };
    int rc = path_check_root(path);

    if (rc == 0)
        rc = store_retry_new(store, NULL, &retrying);
    if (rc == 0)
        rc = compactions_store_init(&s, retrying, path);
    if (rc == 0)
        rc = compactions_store_load(&s, &list);
    for (size_t i = 0; rc == 0 && i < list.n; i++) {
        struct shale_compaction c = compaction_told(&list.list[i]);

        rc = fn(arg, &c);
    }
    compactions_fini(&list);
    compactions_store_fini(&s);
    shale_store_close(retrying);
    return rc;
}
