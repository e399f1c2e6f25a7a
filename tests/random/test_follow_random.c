/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_driver.h"
#include "lib/fs_fixture.h"
#include "lib/random_env.h"

#include "fs/core/volume_state.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>

/*
 * Random operations of a writer, and a follower with a cache above it that behaves as the kernel does: it keeps what it
 * is given for as long as it may, and forgets what is called back. Whenever everything is committed and called back,
 * the follower shows what the model has, and so does whatever the cache still keeps; in between the follower shows a
 * tree that hangs together. The volume's tables are flushed, merged and collected all the while.
 */
enum { DEFAULT_CASES = 40, OPS = 700, KEPT_MAX = 4096, PAGE = 4096, INOS_MAX = 65536 };

enum kept_kind { KEPT_ATTR, KEPT_NAME, KEPT_PAGE };

struct kept {
    enum kept_kind kind;
    uint64_t ino;      /* or directory */
    char name[MODEL_NAME];
    uint64_t leads_to; /* 0: absent */
    struct fs_attr attr;
    uint64_t offset;
    uint8_t bytes[PAGE];
};

struct cache {
    pthread_mutex_t mu;
    struct kept *v;
    size_t n;
};

static void drop_where(struct cache *c, bool (*fn)(const struct kept *k, const void *arg), const void *arg)
{
    size_t n = 0;

    pthread_mutex_lock(&c->mu);
    for (size_t i = 0; i < c->n; i++)
        if (!fn(&c->v[i], arg))
            c->v[n++] = c->v[i];
    c->n = n;
    pthread_mutex_unlock(&c->mu);
}

static bool is_same(const struct kept *k, const void *arg)
{
    const struct kept *other = arg;

    return k->kind == other->kind && k->ino == other->ino &&
           (k->kind != KEPT_NAME || strcmp(k->name, other->name) == 0) &&
           (k->kind != KEPT_PAGE || k->offset == other->offset);
}

/* Instead of what was kept before. */
static void keep(struct cache *c, const struct kept *k)
{
    drop_where(c, is_same, k);
    pthread_mutex_lock(&c->mu);
    if (c->n < KEPT_MAX)
        c->v[c->n++] = *k;
    pthread_mutex_unlock(&c->mu);
}

struct inode_call {
    uint64_t ino, offset, end;
    bool data;
};

static bool is_of_inode(const struct kept *k, const void *arg)
{
    const struct inode_call *call = arg;

    if (k->ino != call->ino || k->kind == KEPT_NAME)
        return false;
    return k->kind == KEPT_ATTR || (call->data && k->offset + PAGE > call->offset && k->offset < call->end);
}

static void on_inode(void *arg, uint64_t ino, bool data, uint64_t offset, uint64_t len)
{
    const struct inode_call call = { ino, offset, len ? offset + len : UINT64_MAX, data };

    drop_where(arg, is_of_inode, &call);
}

static bool is_name(const struct kept *k, const void *arg)
{
    const struct kept *name = arg;

    return k->kind == KEPT_NAME && k->ino == name->ino && strcmp(k->name, name->name) == 0;
}

static void on_name(void *arg, uint64_t parent, const char *name)
{
    struct kept k = { .ino = parent };

    snprintf(k.name, sizeof(k.name), "%s", name);
    drop_where(arg, is_name, &k);
}

struct rig {
    struct fs_fixture w;
    struct fs_driver d;
    struct fs_options opt; /* of the follower */
    struct fs *r;
    struct cache cache;
    bool known[INOS_MAX];    /* numbers that were looked up and are not forgotten; others cannot be used */
    struct fs_file *open[4]; /* that the follower keeps open */
};

static void open_follower(struct rig *g)
{
    const struct fs_cache cache = { &g->cache, on_inode, on_name };
    struct rng *rng = &g->d.rng;

    fs_options_init(&g->opt);
    g->opt.read_only = true;
    g->opt.poll_ms = rng_below(rng, 2) ? 1 + (int64_t)rng_below(rng, 5) : 3600000;
    g->opt.cache_bytes = rng_below(rng, 3) ? 1u << 20 : 0;
    check_ok(fs_open(g->w.url, &g->opt, &g->r));
    check_ok(fs_cache_attach(g->r, &cache));
}

static void close_files(struct rig *g)
{
    for (size_t i = 0; i < ARRAY_SIZE(g->open); i++) {
        if (g->open[i])
            fs_file_release(g->open[i]);
        g->open[i] = NULL;
    }
}

static void close_follower(struct rig *g)
{
    close_files(g);
    check_ok(fs_close(g->r));
    g->cache.n = 0;
    memset(g->known, 0, sizeof(g->known));
}

/* ---- filling the cache, as fs/ops answers the kernel ---- */

static void look_up(struct rig *g, uint64_t dir, const char *name)
{
    struct kept k = { .kind = KEPT_NAME, .ino = dir };
    struct fs_answer answer;
    int rc;

    snprintf(k.name, sizeof(k.name), "%s", name);
    fs_answer_begin(g->r, &answer);
    rc = fs_lookup(g->r, dir, name, &k.attr);
    assert_true(rc == 0 || rc == -ENOENT);
    k.leads_to = rc == 0 ? k.attr.ino : 0;
    assert_true(k.leads_to < INOS_MAX);
    g->known[k.leads_to] = true;
    if ((rc == 0 || fs_may_keep_absent(g->r, dir, name)) && fs_answer_keep_seconds(&answer) > 0) {
        keep(&g->cache, &k);
        k.kind = KEPT_ATTR;
        k.ino = k.leads_to;
        if (rc == 0)
            keep(&g->cache, &k);
    }
    fs_answer_end(&answer);
}

static void read_page(struct rig *g, struct fs_file *f, uint64_t ino, uint64_t offset)
{
    struct kept k = { .kind = KEPT_PAGE, .ino = ino, .offset = offset };
    struct fs_answer answer;
    ssize_t n;

    fs_answer_begin(g->r, &answer);
    n = fs_file_read(f, offset, k.bytes, PAGE);
    assert_true(n >= 0 || n == -ESTALE);
    if (n >= 0)
        keep(&g->cache, &k);
    fs_answer_end(&answer);
}

static void use_file(struct rig *g, const struct model_node *n)
{
    size_t slot = rng_below(&g->d.rng, ARRAY_SIZE(g->open));
    struct fs_file *f = NULL;
    int rc = g->known[n->ino] ? fs_file_open(g->r, n->ino, O_RDONLY, &f) : -ESTALE;

    if (rc == -ESTALE)
        return; /* the follower does not have it yet, or no more */
    check_ok(rc);
    for (unsigned i = 0; i < 4; i++)
        read_page(g, f, n->ino, rng_below(&g->d.rng, n->size / PAGE + 2) * PAGE);
    if (g->open[slot])
        fs_file_release(g->open[slot]);
    g->open[slot] = f;
}

static const struct model_node *any_node(struct rig *g)
{
    const struct model_node *n = g->d.model.all;

    for (uint64_t skip = rng_below(&g->d.rng, g->d.model.n_nodes + 1); skip > 0 && n->next; skip--)
        n = n->next;
    return n;
}

static void use(struct rig *g)
{
    const struct model_node *n = any_node(g);
    char name[MODEL_NAME];

    if (S_ISREG(n->mode)) {
        use_file(g, n);
    } else if (S_ISDIR(n->mode) && (g->known[n->ino] || n->ino == FS_ROOT_INO)) {
        if (n->n > 0)
            look_up(g, n->ino, n->entries[rng_below(&g->d.rng, n->n)].name);
        snprintf(name, sizeof(name), "n%u", (unsigned)rng_below(&g->d.rng, 20));
        look_up(g, n->ino, name);
    }
}

/* ---- checking ---- */

static void check_attr(struct rig *g, struct kept *k)
{
    struct fs_attr now;
    int rc = fs_getattr(g->r, k->ino, &now);

    if (rc < 0 || now.mode != k->attr.mode || now.nlink != k->attr.nlink || now.size != k->attr.size ||
        now.blocks != k->attr.blocks || now.atime_ns != k->attr.atime_ns || now.mtime_ns != k->attr.mtime_ns ||
        now.ctime_ns != k->attr.ctime_ns)
        fail_msg("attributes of inode %llu are out of date (%d)", (unsigned long long)k->ino, rc);
}

static void check_name(struct rig *g, struct kept *k)
{
    struct fs_attr now = { 0 };
    int rc = fs_lookup(g->r, k->ino, k->name, &now);

    if (rc == 0)
        fs_forget(g->r, now.ino, 1);
    if ((rc != 0 && rc != -ENOENT) || (rc == 0 ? now.ino : 0) != k->leads_to)
        fail_msg("'%s' in directory %llu leads to %llu, and not to %llu (%d)", k->name, (unsigned long long)k->ino,
                 (unsigned long long)now.ino, (unsigned long long)k->leads_to, rc);
}

/* A kernel zeroes what lies behind the end of a file when it learns where that is. */
static void check_page(struct rig *g, struct kept *k)
{
    struct fs_attr attr;
    struct fs_file *f;
    uint8_t now[PAGE] = { 0 };

    if (fs_getattr(g->r, k->ino, &attr) < 0)
        return; /* nobody can read it any more */
    if (attr.size < k->offset + PAGE)
        memset(k->bytes + (attr.size > k->offset ? attr.size - k->offset : 0), 0,
               PAGE - (attr.size > k->offset ? attr.size - k->offset : 0));
    check_ok(fs_file_open(g->r, k->ino, O_RDONLY, &f));
    assert_true(fs_file_read(f, k->offset, now, PAGE) >= 0);
    fs_file_release(f);
    if (memcmp(now, k->bytes, PAGE) != 0)
        fail_msg("the page of inode %llu at %llu is out of date", (unsigned long long)k->ino,
                 (unsigned long long)k->offset);
}

static void check_cache(struct rig *g)
{
    static void (*const checks[])(struct rig *, struct kept *) = { check_attr, check_name, check_page };
    struct fs_follow_status st;

    do {
        sched_yield();
        fs_follow_status(g->r, &st);
    } while (st.untold > 0);
    for (size_t i = 0; i < g->cache.n; i++)
        checks[g->cache.v[i].kind](g, &g->cache.v[i]);
}

/* Everything that was done is committed, and shown. */
static void check_settled(struct rig *g)
{
    check_ok(fs_sync(g->w.fs));
    check_ok(fs_refresh(g->r));
    check_cache(g);
    g->d.fs = g->r;
    driver_compare(&g->d);
    g->d.fs = g->w.fs;
}

/* Every name leads to an inode, and links are what names say. Of a follower that looks only when it is told to. */
struct walk {
    struct rig *g;
    struct {
        uint64_t ino;
        uint32_t links;
    } seen[1024];
    size_t n;
    bool torn; /* what was read does not fit together */
};

static uint32_t *links_of(struct walk *w, uint64_t ino)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->seen[i].ino == ino)
            return &w->seen[i].links;
    assert_true(w->n < ARRAY_SIZE(w->seen));
    w->seen[w->n].ino = ino;
    w->seen[w->n].links = 0;
    return &w->seen[w->n++].links;
}

static void walk_dir(struct walk *w, uint64_t ino)
{
    struct fs_dirent e;
    struct fs_attr attr;
    struct fs_dir *dir;
    uint64_t cookie = 2;
    int rc;

    *links_of(w, ino) += 2;
    rc = fs_dir_open(w->g->r, ino, &dir);
    if (rc < 0) {
        w->torn = true;
        return;
    }
    while ((rc = fs_dir_read(dir, cookie, &e)) == 0) {
        cookie = e.cookie;
        on_name(&w->g->cache, ino, e.name); /* the answer comes in its place */
        rc = fs_lookup(w->g->r, ino, e.name, &attr);
        if (rc == 0)
            fs_forget(w->g->r, attr.ino, 1);
        w->torn = w->torn || rc < 0 || attr.ino != e.ino;
        if (w->torn)
            break;
        if (S_ISDIR(attr.mode)) {
            (*links_of(w, ino))++;
            walk_dir(w, attr.ino);
        } else {
            (*links_of(w, attr.ino))++;
        }
    }
    w->torn = w->torn || rc != SHALE_END;
    fs_dir_release(dir);
}

/* Only the reader itself can make a step meanwhile, when it finds that objects were collected. */
static void check_between(struct rig *g)
{
    struct walk w = { .g = g };
    struct fs_follow_status before, after;
    struct fs_attr attr;

    if (g->opt.poll_ms < 1000)
        return;
    check_ok(fs_refresh(g->r));
    fs_follow_status(g->r, &before);
    walk_dir(&w, FS_ROOT_INO);
    for (size_t i = 0; i < w.n; i++)
        w.torn = w.torn || fs_getattr(g->r, w.seen[i].ino, &attr) < 0 || attr.nlink != w.seen[i].links;
    fs_follow_status(g->r, &after);
    if (w.torn && after.steps == before.steps)
        fail_msg("the tree does not hang together");
}

static void choose_writer(struct fs_fixture *f, struct rng *rng)
{
    f->opt.commit_interval_ms = (int64_t)(rng_below(rng, 3) ? 1 + rng_below(rng, 30) : 3600000);
    f->opt.dirty_max_bytes = rng_below(rng, 2) ? 64u << 20 : 1 + rng_below(rng, 200000);
    f->opt.tuning.gc_min_age_ms = rng_below(rng, 3) ? rng_below(rng, 20) : 300000;
    f->opt.tuning.gc_interval_ms = 10;
    if (rng_below(rng, 4))
        fixture_tune_small(rng);
    else
        fixture_tune_off();
}

static void reopen_writer(struct rig *g)
{
    driver_close_all(&g->d);
    close_files(g);
    fixture_close(&g->w);
    choose_writer(&g->w, &g->d.rng);
    fixture_open(&g->w);
    g->d.fs = g->w.fs;
}

static void step(struct rig *g)
{
    struct rng *rng = &g->d.rng;

    driver_step(&g->d);
    if (rng_below(rng, 2))
        use(g);
    if (rng_below(rng, 30) == 0)
        check_between(g);
    if (rng_below(rng, 60) == 0)
        check_settled(g);
    if (rng_below(rng, 300) == 0)
        reopen_writer(g);
    if (rng_below(rng, 300) == 0) {
        close_follower(g);
        open_follower(g);
    }
}

static void one_case(uint64_t seed)
{
    static struct rig g;

    g = (struct rig){ .cache = { .mu = PTHREAD_MUTEX_INITIALIZER } };
    g.cache.v = calloc(KEPT_MAX, sizeof(*g.cache.v));
    assert_non_null(g.cache.v);
    driver_init(&g.d, seed, 64u << 10);
    fixture_init_closed(&g.w);
    choose_writer(&g.w, &g.d.rng);
    fixture_open(&g.w);
    g.d.fs = g.w.fs;
    open_follower(&g);
    for (unsigned i = 0; i < OPS; i++)
        step(&g);
    check_settled(&g);
    close_follower(&g);
    driver_close_all(&g.d);
    fixture_close(&g.w);
    fixture_fini(&g.w);
    driver_fini(&g.d);
    free(g.cache.v);
}

static void a_follower_and_its_cache_agree_with_the_model(void **state)
{
    struct random_env env = random_env(DEFAULT_CASES);

    (void)state;
    for (uint64_t i = 0; i < env.n; i++) {
        print_message("SHALE_SEED=%llu\n", (unsigned long long)(env.first + i));
        one_case(env.first + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_follower_and_its_cache_agree_with_the_model) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
