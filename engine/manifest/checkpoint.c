/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/checkpoint.h"

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>
#include <string.h>

struct checkpoint *checkpoint_find(const struct manifest *m, struct shale_uuid id)
{
    for (size_t i = 0; i < m->n_checkpoints; i++)
        if (uuid_eq(m->checkpoints[i].id, id))
            return &m->checkpoints[i];
    return NULL;
}

bool checkpoint_is_expired(const struct checkpoint *c, int64_t now_ms)
{
    return c->expire_s != 0 && (int64_t)c->expire_s * 1000 <= now_ms;
}

/* Unix seconds as the format has them: 32 bits without a sign. */
static uint32_t seconds(int64_t ms, uint32_t least)
{
    int64_t s = ms / 1000;

    if (s < (int64_t)least)
        return least;
    return s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

uint32_t checkpoint_expiry(int64_t now_ms, int64_t lifetime_ms)
{
    int64_t ms;

    return __builtin_add_overflow(now_ms, lifetime_ms, &ms) ? UINT32_MAX : seconds(ms, 1);
}

void checkpoint_request_init(struct checkpoint_request *r, const struct shale_checkpoint_options *opt, int64_t now_ms)
{
    *r = (struct checkpoint_request){ .id = uuid_new(NULL), .create_s = seconds(now_ms, 0) };
    if (!opt)
        return;
    r->name = opt->name;
    r->has_source = opt->has_source;
    r->source = opt->source;
    if (opt->has_lifetime)
        r->expire_s = checkpoint_expiry(now_ms, opt->lifetime_ms);
}

static int no_checkpoint(struct shale_uuid id)
{
    char text[UUID_TEXT_LEN + 1];

    uuid_format(id, text);
    return err_set(-ENOENT, "there is no checkpoint %s", text);
}

int checkpoint_add(struct manifest *m, const struct checkpoint_request *r, uint64_t next_id)
{
    const struct checkpoint *source = r->has_source ? checkpoint_find(m, r->source) : NULL;
    struct checkpoint c = { .id = r->id, .manifest_id = next_id, .expire_s = r->expire_s, .create_s = r->create_s };
    int rc;

    if (!m->initialized)
        return err_set(SHALE_EINITIALIZED, "the database is a clone that was never finished");
    if (checkpoint_find(m, r->id))
        return MANIFEST_UNCHANGED;
    if (r->has_source && !source)
        return no_checkpoint(r->source);
    if (source)
        c.manifest_id = source->manifest_id;
    rc = vec_reserve(&m->checkpoints, &m->cap_checkpoints, m->n_checkpoints + 1, sizeof(m->checkpoints[0]));
    if (rc < 0)
        return rc;
    if (r->name) {
        c.name = mem_strdup(r->name);
        if (!c.name)
            return -ENOMEM;
    }
    m->checkpoints[m->n_checkpoints++] = c;
    return 0;
}

static int add_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    return checkpoint_add(m, arg, next_id);
}

int checkpoint_store_add(struct manifest_store *s, enum epoch_role role, const struct checkpoint_request *r,
                         uint64_t *manifest_id, struct manifest_version **out)
{
    struct checkpoint_request copy = *r;
    struct manifest_version *v = NULL;
    const struct checkpoint *c;
    int rc = manifest_store_update_as(s, role, add_edit, &copy, &v);

    if (rc < 0)
        return rc;
    c = checkpoint_find(&v->m, r->id);
    if (!c) {
        manifest_version_unref(v);
        return err_set(-ENOENT, "the checkpoint was deleted as soon as it was made");
    }
    *manifest_id = c->manifest_id;
    if (out)
        *out = v;
    else
        manifest_version_unref(v);
    return 0;
}

static void remove_at(struct manifest *m, size_t i)
{
    mem_free(m->checkpoints[i].name);
    m->n_checkpoints--;
    memmove(m->checkpoints + i, m->checkpoints + i + 1, (m->n_checkpoints - i) * sizeof(m->checkpoints[0]));
}

bool checkpoint_remove(struct manifest *m, struct shale_uuid id)
{
    struct checkpoint *c = checkpoint_find(m, id);

    if (c)
        remove_at(m, (size_t)(c - m->checkpoints));
    return c != NULL;
}

size_t checkpoint_remove_expired(struct manifest *m, int64_t now_ms)
{
    size_t n = 0;

    for (size_t i = m->n_checkpoints; i-- > 0;)
        if (checkpoint_is_expired(&m->checkpoints[i], now_ms)) {
            remove_at(m, i);
            n++;
        }
    return n;
}

static int remove_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    (void)next_id;
    return checkpoint_remove(m, *(const struct shale_uuid *)arg) ? 0 : MANIFEST_UNCHANGED;
}

int checkpoint_store_remove(struct manifest_store *s, struct shale_uuid id)
{
    return manifest_store_update(s, remove_edit, &id, NULL);
}

struct refresh_arg {
    struct shale_uuid id;
    uint32_t expire_s;
};

static int refresh_edit(void *arg, struct manifest *m, uint64_t next_id)
{
    const struct refresh_arg *a = arg;
    struct checkpoint *c = checkpoint_find(m, a->id);

    (void)next_id;
    if (!c)
        return no_checkpoint(a->id);
    if (c->expire_s == a->expire_s)
        return MANIFEST_UNCHANGED;
    c->expire_s = a->expire_s;
    return 0;
}

int checkpoint_store_refresh(struct manifest_store *s, struct shale_uuid id, uint32_t expire_s)
{
    struct refresh_arg a = { .id = id, .expire_s = expire_s };

    return manifest_store_update(s, refresh_edit, &a, NULL);
}
