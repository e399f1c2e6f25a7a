/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of compacting as pure edits of the manifest and of the list, so that they can be
 * tested without threads or stores. What must always hold: sources are a contiguous window of [L0
 * newest..oldest, runs highest..lowest], and a window with L0 SSTs reaches the oldest of them.
 * Else a key's newer version could end up below an older one, or the watermark l0_last_compacted
 * would cut off SSTs that were never merged (R243, R244, H7).
 */

#include "compact/compactor_state.h"

#include "base/alloc.h"
#include "base/err.h"
#include "manifest/manifest_store.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static size_t l0_find(const struct manifest *m, struct shale_ulid view)
{
    size_t i = 0;

    while (i < m->n_l0 && !ulid_eq(m->l0[i].id, view))
        i++;
    return i;
}

static size_t run_find(const struct manifest *m, uint32_t id)
{
    size_t i = 0;

    while (i < m->n_runs && m->runs[i].id != id)
        i++;
    return i;
}

/* Views are looked up by id and must stand one behind the other. */
static int l0_window(const struct manifest *m, const struct compaction *c, size_t *start)
{
    char text[SHALE_ULID_TEXT_LEN + 1];

    *start = c->n_l0 ? l0_find(m, c->l0[0]) : m->n_l0;
    for (size_t i = 0; i < c->n_l0; i++) {
        size_t at = l0_find(m, c->l0[i]);

        ulid_format(c->l0[i], text);
        if (at == m->n_l0)
            return err_set(-EINVAL, "invalid compaction: L0 SST %s is not in the manifest", text);
        if (at != *start + i)
            return err_set(-EINVAL, "invalid compaction: L0 SST %s is not next to the source before it", text);
    }
    if (*start + c->n_l0 != m->n_l0)
        return err_set(-EINVAL, "invalid compaction: L0 SSTs older than its sources would stay behind");
    return 0;
}

/* With L0 sources the window goes on with the newest run: nothing may lie between. */
static int run_window(const struct manifest *m, const struct compaction *c, size_t *start)
{
    *start = !c->n_runs ? m->n_runs : c->n_l0 ? 0 : run_find(m, c->runs[0]);
    for (size_t i = 0; i < c->n_runs; i++) {
        size_t at = run_find(m, c->runs[i]);

        if (at == m->n_runs)
            return err_set(-EINVAL, "invalid compaction: sorted run %" PRIu32 " is not in the manifest", c->runs[i]);
        if (at != *start + i)
            return err_set(-EINVAL, "invalid compaction: sorted run %" PRIu32 " is not next to the source before it",
                           c->runs[i]);
    }
    return 0;
}

int compaction_window_find(const struct manifest *m, const struct compaction *c, struct compaction_window *out)
{
    struct compaction_window w = { .n_l0 = c->n_l0, .n_runs = c->n_runs };
    int rc;

    if (c->n_l0 + c->n_runs == 0)
        return err_set(-EINVAL, "invalid compaction: it has no sources");
    rc = l0_window(m, c, &w.l0);
    if (rc < 0)
        return rc;
    rc = run_window(m, c, &w.runs);
    if (rc < 0)
        return rc;
    *out = w;
    return 0;
}

/*
 * Tombstones may go when nothing older is left for them to hide: the destination is the oldest
 * run, or the first one. Runs are only ever added above, so what is true at the start of a job
 * stays true.
 */
bool compaction_is_last_run(const struct manifest *m, const struct compaction *c)
{
    return m->n_runs == 0 || m->runs[m->n_runs - 1].id == c->destination;
}

/* Whether m is what publishing c left: no source but the run that took the place of one, and that run is the result. */
static bool is_published(const struct manifest *m, const struct compaction *c, const struct sorted_run *result)
{
    size_t at = run_find(m, c->destination);

    for (size_t i = 0; i < c->n_l0; i++)
        if (l0_find(m, c->l0[i]) < m->n_l0)
            return false;
    for (size_t i = 0; i < c->n_runs; i++)
        if (c->runs[i] != c->destination && run_find(m, c->runs[i]) < m->n_runs)
            return false;
    if (result->n == 0)
        return at == m->n_runs;
    return at < m->n_runs && m->runs[at].n == result->n &&
           ulid_eq(m->runs[at].ssts[0].sst->id, result->ssts[0].sst->id);
}

/* Descending by id: newer runs first, which is the order reads rely on. */
static int run_insert(struct manifest *m, const struct sorted_run *run)
{
    struct sorted_run copy = { 0 };
    size_t at = 0;
    int rc;

    rc = vec_reserve(&m->runs, &m->cap_runs, m->n_runs + 1, sizeof(*m->runs));
    if (rc < 0)
        return rc;
    rc = sorted_run_copy(&copy, run);
    if (rc < 0)
        return rc;
    while (at < m->n_runs && m->runs[at].id > run->id)
        at++;
    memmove(&m->runs[at + 1], &m->runs[at], (m->n_runs - at) * sizeof(*m->runs));
    m->runs[at] = copy;
    m->n_runs++;
    return 0;
}

/*
 * The watermark is the newest L0 source. A writer of SlateDB's kind that merges manifests cuts
 * its own L0 list there.
 */
static void sources_remove(struct manifest *m, const struct compaction_window *w)
{
    if (w->n_l0) {
        m->has_l0_last_compacted = true;
        m->l0_last_compacted = m->l0[w->l0].sst->id;
        for (size_t i = w->l0; i < m->n_l0; i++)
            sst_view_fini(&m->l0[i]);
        m->n_l0 = w->l0; /* the window reaches the oldest */
    }
    for (size_t i = 0; i < w->n_runs; i++)
        sorted_run_fini(&m->runs[w->runs + i]);
    if (w->n_runs)
        memmove(&m->runs[w->runs], &m->runs[w->runs + w->n_runs],
                (m->n_runs - w->runs - w->n_runs) * sizeof(*m->runs));
    m->n_runs -= w->n_runs;
}

int compaction_publish(struct manifest *m, const struct compaction *c, const struct sorted_run *result)
{
    struct compaction_window w;
    int rc;

    if (is_published(m, c, result))
        return MANIFEST_UNCHANGED;
    rc = compaction_window_find(m, c, &w);
    if (rc < 0)
        return rc;
    sources_remove(m, &w);
    if (run_find(m, result->id) < m->n_runs)
        return err_set(-EINVAL, "invalid compaction: sorted run %" PRIu32 " exists and is not a source", result->id);
    return result->n ? run_insert(m, result) : 0;
}

struct compaction *compactions_find(const struct compactions *cs, struct shale_ulid id)
{
    for (size_t i = 0; i < cs->n; i++)
        if (ulid_eq(cs->list[i].id, id))
            return &cs->list[i];
    return NULL;
}

/* By insertion from the end, where new ids belong. */
int compactions_add(struct compactions *cs, struct compaction *c)
{
    size_t at = cs->n;
    int rc = -EEXIST;

    if (compactions_find(cs, c->id))
        goto out;
    rc = vec_reserve(&cs->list, &cs->cap, cs->n + 1, sizeof(*cs->list));
    if (rc < 0)
        goto out;
    while (at > 0 && ulid_cmp(cs->list[at - 1].id, c->id) > 0)
        at--;
    memmove(&cs->list[at + 1], &cs->list[at], (cs->n - at) * sizeof(*cs->list));
    cs->list[at] = *c;
    cs->n++;
    memset(c, 0, sizeof(*c));
out:
    compaction_fini(c);
    memset(c, 0, sizeof(*c));
    return rc;
}

/*
 * One finished record stays as SlateDB's does: its id is the least age for the collector when
 * nothing is active (R216, R318).
 */
void compactions_trim(struct compactions *cs)
{
    size_t kept = 0, latest = cs->n;

    for (size_t i = 0; i < cs->n; i++)
        if (!compaction_is_active(&cs->list[i]))
            latest = i;
    for (size_t i = 0; i < cs->n; i++) {
        if (compaction_is_active(&cs->list[i]) || i == latest)
            cs->list[kept++] = cs->list[i];
        else
            compaction_fini(&cs->list[i]);
    }
    cs->n = kept;
}

void compactions_take_over(struct compactions *cs, uint64_t epoch)
{
    cs->compactor_epoch = epoch;
    for (size_t i = 0; i < cs->n; i++)
        if (cs->list[i].status == COMPACTION_RUNNING)
            cs->list[i].status = COMPACTION_SUBMITTED;
    compactions_trim(cs);
}

/*
 * Other states of an unknown record are what this owner once stored itself, and has since trimmed.
 * Ours win for what both have: only the owner moves a record past Submitted.
 */
int compactions_merge_submitted(struct compactions *cs, const struct compactions *remote, size_t *n_new)
{
    *n_new = 0;
    for (size_t i = 0; i < remote->n; i++) {
        struct compaction copy = { 0 };
        int rc;

        if (remote->list[i].status != COMPACTION_SUBMITTED || compactions_find(cs, remote->list[i].id))
            continue;
        rc = compaction_copy(&copy, &remote->list[i]);
        if (rc < 0)
            return rc;
        rc = compactions_add(cs, &copy);
        if (rc < 0)
            return rc;
        (*n_new)++;
    }
    return 0;
}

/* Several may get the same id: of those with L0 sources only one can start, and the others are placed again then. */
void compactions_place(struct compactions *cs, const struct manifest *m)
{
    uint32_t next = m->n_runs ? m->runs[0].id + 1 : 0;

    for (size_t i = 0; i < cs->n; i++)
        if (cs->list[i].status == COMPACTION_SUBMITTED && cs->list[i].n_runs == 0)
            cs->list[i].destination = next;
}

/* References first: what goes may be what comes. */
int compaction_set_outputs(struct compaction *c, struct sst_handle *const *outputs, size_t n)
{
    int rc = vec_reserve(&c->outputs, &c->cap_outputs, n, sizeof(struct sst_handle *));

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++)
        sst_handle_ref(outputs[i]);
    while (c->n_outputs > 0)
        sst_handle_unref(c->outputs[--c->n_outputs]);
    for (size_t i = 0; i < n; i++)
        c->outputs[c->n_outputs++] = outputs[i];
    return 0;
}
