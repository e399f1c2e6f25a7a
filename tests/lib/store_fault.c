/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/store_fault.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/sync.h"
#include "object/store.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RULES_MAX 32

struct armed {
    struct fault_rule rule;
    unsigned seen; /* calls of its class and match */
    unsigned hits;
    unsigned arrived; /* at a gate */
    bool open; /* of a gate */
    bool gone;
};

struct fault_store {
    struct shale_store base;
    struct shale_store *inner;
    struct mutex mu; /* rank STORE_RANK_FAULT */
    struct cond changed;
    struct armed rules[RULES_MAX];   /* GUARDED_BY(mu) */
    unsigned n_rules;                /* GUARDED_BY(mu) */
    unsigned count[FAULT_N_CLASSES]; /* GUARDED_BY(mu) */
};

struct fault_upload {
    struct shale_upload base;
    struct shale_upload *inner; /* NULL: finished, but nobody was told */
    char name[];
};

/* One call, and what is to become of it. */
struct plan {
    struct fault_store *f;
    unsigned index;
    bool acts;
    struct fault_rule rule;
};

static struct fault_store *fault_of(struct shale_store *s)
{
    return container_of(s, struct fault_store, base);
}

static bool concerns(const struct armed *a, enum fault_class cls, const char *name)
{
    return !a->gone && (a->rule.cls == FAULT_ANY || a->rule.cls == cls) &&
           (!a->rule.match || strstr(name, a->rule.match));
}

static bool due(const struct armed *a)
{
    unsigned nth = a->rule.nth ? a->rule.nth : 1, times = a->rule.times ? a->rule.times : 1;

    if (a->rule.every)
        return a->seen >= nth && (a->seen - nth) % a->rule.every == 0;
    return a->seen >= nth && (times == FAULT_ALWAYS || a->seen - nth < times);
}

static void pass_gate(struct plan *p)
{
    struct armed *a = &p->f->rules[p->index];

    mutex_lock(&p->f->mu);
    a->arrived++;
    cond_broadcast(&p->f->changed);
    while (!a->open)
        cond_wait(&p->f->changed, &p->f->mu);
    mutex_unlock(&p->f->mu);
}

static void crash(const struct plan *p)
{
    if (p->rule.fn)
        p->rule.fn(p->rule.arg);
    else
        _exit(FAULT_EXIT_STATUS);
}

/* Before a call: count it, find the rule that acts, and do what comes first. */
static struct plan begin(struct shale_store *s, enum fault_class cls, const char *name)
{
    struct plan p = { .f = fault_of(s) };

    mutex_lock(&p.f->mu);
    p.f->count[FAULT_ANY]++;
    p.f->count[cls]++;
    for (unsigned i = 0; i < p.f->n_rules; i++) {
        struct armed *a = &p.f->rules[i];

        if (!concerns(a, cls, name))
            continue;
        a->seen++;
        if (p.acts || !due(a))
            continue;
        a->hits++;
        p.acts = true;
        p.index = i;
        p.rule = a->rule;
    }
    mutex_unlock(&p.f->mu);
    if (p.acts && p.rule.action == FAULT_GATE)
        pass_gate(&p);
    if (p.acts && p.rule.action == FAULT_CRASH)
        crash(&p);
    return p;
}

static int scripted(const struct plan *p)
{
    int rc = p->rule.rc ? p->rule.rc : SHALE_ETRANSIENT;

    return err_set(rc, "failed by script");
}

static bool refuses(const struct plan *p)
{
    return p->acts && p->rule.action == FAULT_FAIL;
}

static bool cuts(const struct plan *p)
{
    return p->acts && p->rule.action == FAULT_SHORT;
}

/* After the call was done with rc. */
static int end(struct plan *p, int rc)
{
    if (p->acts && p->rule.action == FAULT_GATE_DONE)
        pass_gate(p);
    if (p->acts && p->rule.action == FAULT_CRASH_DONE)
        crash(p);
    if (p->acts && p->rule.action == FAULT_LOSE_REPLY)
        return scripted(p);
    return rc;
}

static int end_read(struct plan *p, int rc, struct shale_buf *out)
{
    if (rc == 0 && cuts(p)) {
        if (p->rule.rc)
            return scripted(p);
        out->len = out->len < p->rule.keep ? out->len : p->rule.keep;
    }
    if (rc == 0 && p->acts && p->rule.action == FAULT_FLIP && out->len > 0)
        out->data[p->rule.keep % out->len] ^= 0x10;
    return end(p, rc);
}

static int fault_get(struct shale_store *s, const char *name, struct shale_buf *out)
{
    struct plan p = begin(s, FAULT_GET, name);

    return refuses(&p) ? scripted(&p) : end_read(&p, shale_store_get(p.f->inner, name, out), out);
}

static int fault_get_range(struct shale_store *s, const char *name, uint64_t offset, uint64_t len,
                           struct shale_buf *out)
{
    struct plan p = begin(s, FAULT_RANGE, name);

    return refuses(&p) ? scripted(&p) : end_read(&p, shale_store_get_range(p.f->inner, name, offset, len, out), out);
}

static int fault_head(struct shale_store *s, const char *name, struct shale_object_meta *out)
{
    struct plan p = begin(s, FAULT_HEAD, name);

    return refuses(&p) || cuts(&p) ? scripted(&p) : end(&p, shale_store_head(p.f->inner, name, out));
}

static int fault_put(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
                     const char *put_id)
{
    struct plan p = begin(s, FAULT_PUT, name);

    return refuses(&p) || cuts(&p) ? scripted(&p) : end(&p, store_put_with_id(p.f->inner, name, data, mode, put_id));
}

static int fault_remove(struct shale_store *s, const char *name)
{
    struct plan p = begin(s, FAULT_DELETE, name);

    return refuses(&p) || cuts(&p) ? scripted(&p) : end(&p, shale_store_delete(p.f->inner, name));
}

struct cut_list {
    shale_list_fn fn;
    void *arg;
    size_t left;
    bool cut;
};

static int cut_list_one(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct cut_list *c = arg;

    c->cut = c->left == 0;
    if (c->cut)
        return SHALE_END;
    c->left--;
    return c->fn(c->arg, name, meta);
}

static int fault_list(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn, void *arg)
{
    struct plan p = begin(s, FAULT_LIST, prefix);
    struct cut_list c = { .fn = fn, .arg = arg, .left = cuts(&p) ? p.rule.keep : SIZE_MAX };
    int rc;

    if (refuses(&p))
        return scripted(&p);
    rc = shale_store_list(p.f->inner, prefix, start_after, cut_list_one, &c);
    return c.cut ? scripted(&p) : end(&p, rc);
}

static int fault_upload_begin(struct shale_store *s, const char *name, struct shale_upload **out)
{
    struct plan p = begin(s, FAULT_UPLOAD_BEGIN, name);
    struct fault_upload *u;
    int rc;

    if (refuses(&p) || cuts(&p))
        return scripted(&p);
    u = calloc(1, sizeof(*u) + strlen(name) + 1);
    if (!u)
        abort();
    u->base.store = s;
    memcpy(u->name, name, strlen(name) + 1);
    rc = shale_upload_begin(p.f->inner, name, &u->inner);
    if (rc < 0) {
        free(u);
        return rc;
    }
    rc = end(&p, rc);
    if (rc < 0) { /* begun, but nobody will ever hear of it */
        shale_upload_abort(u->inner);
        free(u);
        return rc;
    }
    *out = &u->base;
    return 0;
}

static int fault_upload_write(struct shale_upload *up, struct shale_slice data)
{
    struct fault_upload *u = container_of(up, struct fault_upload, base);
    struct plan p = begin(up->store, FAULT_UPLOAD_WRITE, u->name);

    if (refuses(&p) || cuts(&p) || (p.acts && p.rule.action == FAULT_LOSE_REPLY))
        return scripted(&p);
    return end(&p, shale_upload_write(u->inner, data));
}

/* Only SHALE_ETRANSIENT leaves an upload alive, so any other scripted error has to end it. */
static int fault_upload_finish(struct shale_upload *up)
{
    struct fault_upload *u = container_of(up, struct fault_upload, base);
    struct plan p = begin(up->store, FAULT_UPLOAD_FINISH, u->name);
    int rc;

    if (refuses(&p) || cuts(&p)) {
        rc = scripted(&p);
    } else {
        rc = u->inner ? store_upload_try_finish(u->inner) : 0;
        if (rc != SHALE_ETRANSIENT)
            u->inner = NULL;
        rc = end(&p, rc);
    }
    if (rc != SHALE_ETRANSIENT) {
        shale_upload_abort(u->inner);
        free(u);
    }
    return rc;
}

static void fault_upload_abort(struct shale_upload *up)
{
    struct fault_upload *u = container_of(up, struct fault_upload, base);

    shale_upload_abort(u->inner);
    free(u);
}

static void fault_close(struct shale_store *s)
{
    struct fault_store *f = fault_of(s);

    cond_fini(&f->changed);
    mutex_fini(&f->mu);
    free(f);
}

/* Ranges and deletes come one by one from the dispatcher, so that each counts. */
static const struct shale_store_ops fault_ops = {
    .scheme = "fault",
    .get = fault_get,
    .get_range = fault_get_range,
    .head = fault_head,
    .put = fault_put,
    .remove = fault_remove,
    .list = fault_list,
    .upload_begin = fault_upload_begin,
    .upload_write = fault_upload_write,
    .upload_finish = fault_upload_finish,
    .upload_abort = fault_upload_abort,
    .close = fault_close,
};

struct shale_store *store_fault_new(struct shale_store *inner)
{
    struct fault_store *f = calloc(1, sizeof(*f));

    if (!f)
        abort();
    f->base.ops = &fault_ops;
    f->inner = inner;
    mutex_init(&f->mu, STORE_RANK_FAULT, "fault store");
    cond_init(&f->changed);
    return &f->base;
}

/* The slot of a gate is not used again, since somebody may not have got through yet. */
unsigned store_fault_add(struct shale_store *s, const struct fault_rule *rule)
{
    struct fault_store *f = fault_of(s);
    unsigned i;

    mutex_lock(&f->mu);
    for (i = 0; i < f->n_rules && !(f->rules[i].gone && f->rules[i].rule.action < FAULT_GATE); i++)
        ;
    if (i == RULES_MAX)
        abort();
    if (i == f->n_rules)
        f->n_rules++;
    f->rules[i] = (struct armed){ .rule = *rule };
    mutex_unlock(&f->mu);
    return i;
}

unsigned store_fault_hits(struct shale_store *s, unsigned rule)
{
    struct fault_store *f = fault_of(s);
    unsigned n;

    mutex_lock(&f->mu);
    n = f->rules[rule].hits;
    mutex_unlock(&f->mu);
    return n;
}

void store_fault_clear(struct shale_store *s)
{
    struct fault_store *f = fault_of(s);

    mutex_lock(&f->mu);
    for (unsigned i = 0; i < f->n_rules; i++) {
        f->rules[i].gone = true;
        f->rules[i].open = true;
    }
    cond_broadcast(&f->changed);
    mutex_unlock(&f->mu);
}

void store_fault_wait(struct shale_store *s, unsigned rule, unsigned n)
{
    struct fault_store *f = fault_of(s);

    mutex_lock(&f->mu);
    while (f->rules[rule].arrived < n)
        cond_wait(&f->changed, &f->mu);
    mutex_unlock(&f->mu);
}

void store_fault_release(struct shale_store *s, unsigned rule)
{
    struct fault_store *f = fault_of(s);

    mutex_lock(&f->mu);
    f->rules[rule].open = true;
    cond_broadcast(&f->changed);
    mutex_unlock(&f->mu);
}

unsigned store_fault_count(struct shale_store *s, enum fault_class cls)
{
    struct fault_store *f = fault_of(s);
    unsigned n;

    mutex_lock(&f->mu);
    n = f->count[cls];
    mutex_unlock(&f->mu);
    return n;
}

void store_fault_reset_counts(struct shale_store *s)
{
    struct fault_store *f = fault_of(s);

    mutex_lock(&f->mu);
    memset(f->count, 0, sizeof(f->count));
    mutex_unlock(&f->mu);
}
