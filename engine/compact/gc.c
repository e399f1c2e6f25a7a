/* SPDX-License-Identifier: Apache-2.0 */
#include "compact/gc.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/log.h"
#include "compact/gc_sweep.h"
#include "manifest/checkpoint.h"
#include "manifest/compactions_store.h"
#include "manifest/numbered.h"
#include "sst/table_store.h"

#include <errno.h>
#include <inttypes.h>

/*
 * The order of looks is what makes it safe beside writers and compactors that know nothing of it:
 *   1. the clock, 2. the list of compactions, 3. the manifest, 4. what checkpoints and this process hold,
 *   5. the objects.
 * An SST that becomes referenced after 3 is an L0, whose id is not older than the newest L0 of 3; or the output of a
 * compaction that stands in 2, whose id is older; or of one begun after 2, whose id is younger than 1 and all in
 * 2. None of them is older than the cut-off (9.7). A checkpoint taken after 3 holds a version of 4 or a younger one.
 */

/*
 * Processes of this library that looked at the manifest less than a minute ago rely on the next version being
 * there, if there is one (manifest_store.c): none goes before that is over, whatever the options say.
 */
#define MANIFEST_AGE_MIN_MS 120000
/* A WAL object with a row is rarely so small; a fence of any writer is smaller. */
#define FENCE_BYTES_MAX 1024
#define RELOAD_MAX 16

struct gc {
    const struct gc_config *cfg;
    const struct shale_gc_options *opt;
    struct shale_gc_result *res;
    struct compactions compactions;
    bool has_compactions;
    struct manifest_version *latest;
    struct manifest_version **kept; /* what checkpoints refer to, latest excepted */
    size_t n_kept, cap_kept;
    size_t expired; /* checkpoints */
    uint64_t last_compactions_id;
    struct live_set live;
    int64_t cut_ms;        /* SSTs with an id of this time or later stay */
    int64_t ripe_ms[SHALE_GC_N_KINDS]; /* until the youngest garbage is old enough; 0: all is */
    int64_t expiry_ms;     /* so long until the first checkpoint expires; 0: none does */
    struct gc_memory next; /* of cfg->memory */
};

void shale_gc_options_init(struct shale_gc_options *opt)
{
    *opt = (struct shale_gc_options){ .fence_age_ms = 86400000 };
    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        opt->min_age_ms[k] = 300000;
}

int gc_options_check(const struct shale_gc_options *opt)
{
    static const char *const names[] = { "manifest", "wal", "compacted", "compactions" };
    const int64_t max = (int64_t)1 << 52; /* sums with a time stay far from overflow */

    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        if (opt->min_age_ms[k] < 0 || opt->min_age_ms[k] > max)
            return err_set(-EINVAL, "the minimum age for %s is %" PRId64 " ms; it may be 0 to %" PRId64, names[k],
                           opt->min_age_ms[k], max);
    if (opt->fence_age_ms < 0 || opt->fence_age_ms > max)
        return err_set(-EINVAL, "the minimum age for fences is %" PRId64 " ms; it may be 0 to %" PRId64,
                       opt->fence_age_ms, max);
    return 0;
}

static bool is_older(const struct gc *g, int64_t mtime_ms, int64_t age_ms)
{
    return mtime_ms < g->cfg->now_ms - age_ms;
}

/* What nothing needs any more: whether it may go, and if not, when. */
static bool is_ripe(struct gc *g, enum shale_gc_kind kind, int64_t mtime_ms, int64_t age_ms)
{
    int64_t left = mtime_ms - (g->cfg->now_ms - age_ms) + 1;

    if (left > g->ripe_ms[kind])
        g->ripe_ms[kind] = left;
    return left <= 0;
}

/* All of a kind at once, and the kind that is ripe first. */
static int64_t next_ripe(const struct gc *g)
{
    int64_t first = g->expiry_ms;

    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        if (g->ripe_ms[k] && (first == 0 || g->ripe_ms[k] < first))
            first = g->ripe_ms[k];
    return first;
}

/* ---- what is there ---- */

static int load_compactions(struct gc *g)
{
    struct compactions_store s;
    int rc = compactions_store_init(&s, g->cfg->store, g->cfg->root);

    if (rc == 0)
        rc = compactions_store_load(&s, &g->compactions);
    if (rc == 0) {
        g->has_compactions = true;
        g->last_compactions_id = s.id;
    }
    compactions_store_fini(&s);
    return rc == -ENOENT ? 0 : rc;
}

struct expire_arg {
    int64_t now_ms;
    size_t n;
};

static int expire_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    struct expire_arg *a = arg;

    (void)next_id;
    a->n = checkpoint_remove_expired(m, a->now_ms);
    return a->n ? 0 : MANIFEST_UNCHANGED;
}

static bool is_dropped(const struct gc *g, const struct checkpoint *c)
{
    return checkpoint_is_expired(c, g->cfg->now_ms);
}

static size_t count_expired(struct gc *g)
{
    const struct manifest *m = &g->latest->m;
    size_t n = 0;

    g->expiry_ms = 0;
    for (size_t i = 0; i < m->n_checkpoints; i++) {
        int64_t left = (int64_t)m->checkpoints[i].expire_s * 1000 - g->cfg->now_ms;

        n += is_dropped(g, &m->checkpoints[i]);
        if (left > 0 && (g->expiry_ms == 0 || left < g->expiry_ms))
            g->expiry_ms = left;
    }
    return n;
}

/* The newest version, without expired checkpoints (R313); in a dry run they are passed over instead. */
static int drop_expired(struct gc *g)
{
    struct expire_arg a = { .now_ms = g->cfg->now_ms, .n = count_expired(g) };
    struct manifest_version *v = NULL;
    int rc = 0;

    if (a.n > 0 && !g->opt->dry_run) {
        rc = manifest_store_update_as(g->cfg->manifests, g->cfg->role, expire_edit, &a, &v);
        if (rc < 0)
            return rc;
        manifest_version_unref(g->latest);
        g->latest = v;
    }
    g->expired = a.n;
    return 0;
}

static bool is_kept_version(const struct gc *g, uint64_t id)
{
    const struct manifest *m = &g->latest->m;

    if (id == g->latest->id)
        return true;
    for (size_t i = 0; i < m->n_checkpoints; i++)
        if (m->checkpoints[i].manifest_id == id && !is_dropped(g, &m->checkpoints[i]))
            return true;
    return false;
}

static bool is_loaded(const struct gc *g, uint64_t id)
{
    bool found = id == g->latest->id;

    for (size_t i = 0; !found && i < g->n_kept; i++)
        found = g->kept[i]->id == id;
    return found;
}

static void drop_kept(struct gc *g)
{
    while (g->n_kept)
        manifest_version_unref(g->kept[--g->n_kept]);
}

static int load_kept(struct gc *g)
{
    const struct manifest *m = &g->latest->m;
    int rc = vec_reserve(&g->kept, &g->cap_kept, m->n_checkpoints, sizeof(struct manifest_version *));

    for (size_t i = 0; rc == 0 && i < m->n_checkpoints; i++) {
        uint64_t id = m->checkpoints[i].manifest_id;

        if (is_dropped(g, &m->checkpoints[i]) || is_loaded(g, id))
            continue;
        rc = manifest_store_read(g->cfg->manifests, id, &g->kept[g->n_kept]);
        if (rc == 0)
            g->n_kept++;
    }
    return rc;
}

/*
 * A version that a checkpoint names is missing when the checkpoint was deleted meanwhile, and another collector took
 * it: look again. If it is still named, nobody knows what it refers to, and nothing may go.
 */
static int load_manifests(struct gc *g)
{
    int rc = -ENOENT;

    for (int i = 0; rc == -ENOENT && i < RELOAD_MAX; i++) {
        uint64_t before = g->latest ? g->latest->id : 0;

        drop_kept(g);
        manifest_version_unref(g->latest);
        g->latest = NULL;
        rc = manifest_store_newest(g->cfg->manifests, &g->latest);
        if (rc < 0)
            return rc;
        if (i > 0 && g->latest->id == before)
            return err_add(SHALE_ECORRUPT, "a checkpoint of '%s' has lost its manifest", g->cfg->root);
        rc = drop_expired(g);
        if (rc == 0)
            rc = load_kept(g);
    }
    return rc == -ENOENT ? SHALE_ECORRUPT : rc;
}

/* ---- manifests, compactions ---- */

static int judge_manifest(void *arg, const struct sweep_object *o)
{
    struct gc *g = arg;
    int64_t age = g->opt->min_age_ms[SHALE_GC_MANIFEST];
    uint64_t id;

    if (!path_parse_numbered(g->cfg->root, PATH_MANIFEST, o->name, &id) || id >= g->latest->id || is_kept_version(g, id))
        return 0;
    return is_ripe(g, SHALE_GC_MANIFEST, o->mtime_ms, age < MANIFEST_AGE_MIN_MS ? MANIFEST_AGE_MIN_MS : age);
}

static int judge_compactions(void *arg, const struct sweep_object *o)
{
    struct gc *g = arg;
    uint64_t id;

    return path_parse_numbered(g->cfg->root, PATH_COMPACTIONS, o->name, &id) && id < g->last_compactions_id &&
           is_ripe(g, SHALE_GC_COMPACTIONS, o->mtime_ms, g->opt->min_age_ms[SHALE_GC_COMPACTIONS]);
}

/* ---- WAL ---- */

static bool is_needed_wal(const struct gc *g, uint64_t id)
{
    if (id >= g->latest->m.replay_after_wal_id)
        return true;
    for (size_t i = 0; i < g->n_kept; i++)
        if (id > g->kept[i]->m.replay_after_wal_id && id <= g->kept[i]->m.wal_id_last_seen)
            return true;
    return false;
}

static int judge_wal(void *arg, const struct sweep_object *o)
{
    struct gc *g = arg;
    uint64_t id;

    return path_parse_numbered(g->cfg->root, PATH_WAL, o->name, &id) && !is_needed_wal(g, id) &&
           is_ripe(g, SHALE_GC_WAL, o->mtime_ms, g->opt->min_age_ms[SHALE_GC_WAL]);
}

#define HAS_ROWS 1

static int stop_at_row(void *arg, const struct shale_row *row)
{
    (void)arg, (void)row;
    return HAS_ROWS;
}

/*
 * A fence lies where an older writer would put its next object. A writer that slept, or stalled, since before the fence
 * was made would find the place free once it is gone, and acknowledge rows that nobody ever reads (H1).
 */
static int confirm_wal(void *arg, const struct sweep_object *o)
{
    const struct gc *g = arg;
    struct shale_buf data = SHALE_BUF_INIT;
    int rc;

    if (o->size > FENCE_BYTES_MAX || is_older(g, o->mtime_ms, g->opt->fence_age_ms))
        return 1;
    rc = sst_get_object(g->cfg->wal_store, o->name, g->cfg->transformer, &data);
    if (rc == 0 && data.len > 0) /* later versions of SlateDB fence with no bytes at all */
        rc = sst_scan_object(slice_of_buf(&data), o->name, g->cfg->transformer, stop_at_row, NULL);
    shale_buf_fini(&data);
    if (rc == SHALE_ECORRUPT || rc == SHALE_EVERSION || rc == SHALE_EHOOK)
        return 0; /* for all we know it is one */
    return rc < 0 && rc != -ENOENT ? rc : rc == HAS_ROWS;
}

/* ---- SSTs ---- */

/* Storage format section 9.7. INT64_MIN: nothing may go. */
static int64_t cut_off(const struct gc *g)
{
    const struct manifest *m = &g->latest->m;
    int64_t cut = g->cfg->now_ms - g->opt->min_age_ms[SHALE_GC_COMPACTED], t;

    if (!g->has_compactions || g->compactions.n == 0 || (m->n_l0 == 0 && !m->has_l0_last_compacted))
        return INT64_MIN;
    for (size_t i = 0; i < g->compactions.n; i++) {
        t = ulid_time_ms(g->compactions.list[i].id);
        cut = t < cut ? t : cut;
    }
    t = ulid_time_ms(m->n_l0 ? m->l0[0].sst->id : m->l0_last_compacted);
    return t < cut ? t : cut;
}

static int add_held(struct gc *g)
{
    struct manifest_version **list = NULL;
    size_t n = 0;
    int rc = manifest_store_held(g->cfg->manifests, &list, &n);

    for (size_t i = 0; i < n; i++) {
        if (rc == 0)
            rc = live_set_add_manifest(&g->live, &list[i]->m);
        if (list[i]->id != g->latest->id && !is_loaded(g, list[i]->id) && g->ripe_ms[SHALE_GC_COMPACTED] == 0)
            g->ripe_ms[SHALE_GC_COMPACTED] = 1; /* nobody tells when it is let go, and what only it has */
        manifest_version_unref(list[i]);
    }
    mem_free(list);
    return rc;
}

static int find_live(struct gc *g)
{
    int rc = live_set_add_manifest(&g->live, &g->latest->m);

    for (size_t i = 0; rc == 0 && i < g->n_kept; i++)
        rc = live_set_add_manifest(&g->live, &g->kept[i]->m);
    if (rc == 0)
        rc = live_set_add_outputs(&g->live, &g->compactions);
    if (rc == 0)
        rc = add_held(g);
    live_set_settle(&g->live);
    g->cut_ms = cut_off(g);
    return rc;
}

static int judge_sst(void *arg, const struct sweep_object *o)
{
    struct gc *g = arg;
    int64_t age = g->opt->min_age_ms[SHALE_GC_COMPACTED], since;
    char name[PATH_NAME_MAX];
    struct shale_ulid id;
    int rc;

    if (!path_parse_ulid(g->cfg->root, o->name, &id) || live_set_has(&g->live, id))
        return 0;
    rc = path_sst(g->cfg->root, id, name);
    if (rc < 0 || strcmp(name, o->name) != 0)
        return rc; /* not made by an engine */
    if (g->cfg->memory) {
        rc = gc_memory_carry(g->cfg->memory, &g->next, id, g->cfg->mono_ms, &since);
        if (rc < 0)
            return rc;
        if (!is_ripe(g, SHALE_GC_COMPACTED, g->cfg->now_ms - (g->cfg->mono_ms - since) - 1, age))
            return 0;
    }
    return ulid_time_ms(id) < g->cut_ms;
}

static int sweep_kind(struct gc *g, enum shale_gc_kind kind)
{
    static const struct {
        enum path_kind dir;
        sweep_fn judge, confirm;
    } of[] = {
        [SHALE_GC_MANIFEST] = { PATH_MANIFEST, judge_manifest, NULL },
        [SHALE_GC_WAL] = { PATH_WAL, judge_wal, confirm_wal },
        [SHALE_GC_COMPACTED] = { PATH_COMPACTED, judge_sst, NULL },
        [SHALE_GC_COMPACTIONS] = { PATH_COMPACTIONS, judge_compactions, NULL },
    };
    struct sweep s = { .store = kind == SHALE_GC_WAL ? g->cfg->wal_store : g->cfg->store,
                       .judge = of[kind].judge,
                       .confirm = of[kind].confirm,
                       .arg = g,
                       .kind = kind,
                       .opt = g->opt,
                       .stopped = g->cfg->stopped,
                       .stopped_arg = g->cfg->arg };
    int rc = path_dir(g->cfg->root, of[kind].dir, s.prefix);

    if (rc == 0)
        rc = sweep_run(&s);
    g->res->removed[kind] += s.removed;
    if (g->cfg->metrics && !g->opt->dry_run)
        metric_count(g->cfg->metrics->deleted[kind], s.removed);
    return rc;
}

static int sweep_ssts(struct gc *g)
{
    int rc = find_live(g);

    /* Without memory of what was seen, a listing from which nothing can go is spared. */
    if (rc == 0 && (g->cut_ms > INT64_MIN || g->cfg->memory))
        rc = sweep_kind(g, SHALE_GC_COMPACTED);
    if (rc == 0 && g->cfg->memory) {
        struct gc_memory old = *g->cfg->memory;

        *g->cfg->memory = g->next;
        g->next = old;
    }
    return rc;
}

/* In the order of R314. */
static int sweep_all(struct gc *g, int compactions_rc)
{
    int first = 0;

    for (int k = 0; k < SHALE_GC_N_KINDS && first != SHALE_ECANCELED; k++) {
        enum shale_gc_kind kind = (enum shale_gc_kind)k;
        int rc = 0;

        if (g->opt->skip[k])
            continue;
        if (kind == SHALE_GC_COMPACTED || kind == SHALE_GC_COMPACTIONS)
            rc = compactions_rc;
        if (rc == 0)
            rc = kind == SHALE_GC_COMPACTED ? sweep_ssts(g) : sweep_kind(g, kind);
        if (rc != 0 && (first == 0 || rc == SHALE_ECANCELED))
            first = rc;
        if (rc > 0)
            break; /* report said so */
    }
    return first;
}

int gc_run(const struct gc_config *cfg, const struct shale_gc_options *opt, struct shale_gc_result *res)
{
    struct gc g = { .cfg = cfg, .opt = opt, .res = res };
    int compactions_rc = 0, rc;

    if (!opt->skip[SHALE_GC_COMPACTED] || !opt->skip[SHALE_GC_COMPACTIONS])
        compactions_rc = load_compactions(&g);
    rc = load_manifests(&g);
    res->expired += g.expired;
    if (rc == 0)
        rc = sweep_all(&g, compactions_rc);
    if (cfg->metrics && !opt->dry_run && rc != SHALE_ECANCELED)
        metric_count(cfg->metrics->runs, 1);
    if (cfg->ripe_ms)
        *cfg->ripe_ms = next_ripe(&g);
    drop_kept(&g);
    mem_free(g.kept);
    manifest_version_unref(g.latest);
    compactions_fini(&g.compactions);
    live_set_fini(&g.live);
    gc_memory_fini(&g.next);
    return rc;
}
