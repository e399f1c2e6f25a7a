/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/model.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

void model_fini(struct model *m)
{
    free(m->changes);
    *m = (struct model){ 0 };
}

void model_add(struct model *m, uint64_t seq, unsigned key, enum shale_kind kind, const char *value)
{
    struct model_change *c;

    if (vec_reserve(&m->changes, &m->cap, m->n + 1, sizeof(m->changes[0])) < 0)
        abort();
    c = &m->changes[m->n++];
    *c = (struct model_change){ .seq = seq, .key = key, .kind = kind };
    snprintf(c->value, sizeof(c->value), "%s", value);
}

void model_truncate(struct model *m, uint64_t seq)
{
    while (m->n && m->changes[m->n - 1].seq > seq)
        m->n--;
}

uint64_t model_last_seq(const struct model *m)
{
    return m->n ? m->changes[m->n - 1].seq : 0;
}

bool model_get(const struct model *m, unsigned key, uint64_t seq, struct shale_buf *out)
{
    bool found = false;

    buf_clear(out);
    for (size_t i = 0; i < m->n && m->changes[i].seq <= seq; i++) {
        const struct model_change *c = &m->changes[i];

        if (c->key != key)
            continue;
        if (c->kind != SHALE_MERGE)
            buf_clear(out);
        found = c->kind != SHALE_TOMBSTONE;
        if (found && shale_buf_append(out, c->value, strlen(c->value)) < 0)
            abort();
    }
    return found;
}

void model_compact(struct model *m, uint64_t seq)
{
    bool covered[MODEL_KEYS] = { false };
    size_t to = m->n;

    for (size_t i = m->n; i-- > 0;) {
        const struct model_change c = m->changes[i];

        if (c.seq <= seq && covered[c.key])
            continue;
        if (c.seq <= seq && c.kind != SHALE_MERGE)
            covered[c.key] = true;
        m->changes[--to] = c;
    }
    m->n -= to;
    memmove(m->changes, m->changes + to, m->n * sizeof(m->changes[0]));
}
