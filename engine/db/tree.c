/* SPDX-License-Identifier: Apache-2.0 */
#include "db/tree.h"

#include "base/alloc.h"
#include "base/err.h"
#include "compact/compactor_state.h"

#include <errno.h>

/* What the public struct points at, in one piece of memory with it. */
struct whole_tree {
    struct shale_tree tree;
    struct shale_tree_compaction *compactions;
    struct shale_tree_layer layers[];
};

static uint64_t add_layer(struct shale_tree_layer *out, struct shale_tree_layer layer, uint64_t bytes)
{
    *out = layer;
    out->bytes = bytes;
    return bytes;
}

static void add_layers(struct whole_tree *w, const struct manifest *m)
{
    struct shale_tree *t = &w->tree;

    for (size_t i = 0; i < m->n_l0; i++, t->n_l0++)
        t->l0_bytes += add_layer(&w->layers[i], (struct shale_tree_layer){ .l0 = m->l0[i].id, .n_ssts = 1 },
                                 sst_handle_size(m->l0[i].sst));
    for (size_t i = 0; i < m->n_runs; i++, t->n_runs++)
        t->run_bytes += add_layer(&w->layers[m->n_l0 + i],
                                  (struct shale_tree_layer){ .is_run = true, .run = m->runs[i].id,
                                                              .n_ssts = m->runs[i].n },
                                  sorted_run_size(&m->runs[i]));
    t->layers = w->layers;
}

static void measure_sources(const struct manifest *m, const struct compaction_window *win,
                            struct shale_tree_compaction *out)
{
    for (size_t i = 0; i < win->n_l0; i++)
        out->source_bytes += sst_handle_size(m->l0[win->l0 + i].sst);
    for (size_t i = 0; i < win->n_runs; i++)
        out->source_bytes += sorted_run_size(&m->runs[win->runs + i]);
}

/* What the list does not store of a compaction of L0 alone: it makes the next run. */
static uint32_t destination_of(const struct manifest *m, const struct compaction *c)
{
    if (c->n_runs)
        return c->runs[c->n_runs - 1];
    return m->n_runs ? m->runs[0].id + 1 : 0;
}

/* One whose sources are gone was published since the list was stored, or is about to fail. */
static void add_compactions(struct whole_tree *w, const struct manifest *m, const struct compactions *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct compaction *c = &list->list[i];
        struct shale_tree_compaction *out = &w->compactions[w->tree.n_compactions];
        struct compaction_window win;

        if (!compaction_is_active(c) || compaction_window_find(m, c, &win) < 0)
            continue;
        *out = (struct shale_tree_compaction){ .id = c->id,
                                               .is_running = c->status == COMPACTION_RUNNING,
                                               .destination = destination_of(m, c),
                                               .n_l0 = (uint32_t)c->n_l0,
                                               .n_runs = (uint32_t)c->n_runs,
                                               .n_outputs = (uint32_t)c->n_outputs };
        measure_sources(m, &win, out);
        for (size_t k = 0; k < c->n_outputs; k++)
            out->written_bytes += sst_handle_size(c->outputs[k]);
        w->tree.n_compactions++;
    }
    w->tree.compactions = w->compactions;
}

int tree_new(const struct manifest_version *v, const struct compactions *list, struct shale_tree **out)
{
    const struct manifest *m = &v->m;
    size_t n_layers = size_add(m->n_l0, m->n_runs);
    struct whole_tree *w = mem_zalloc(size_add(sizeof(*w), size_mul(n_layers, sizeof(w->layers[0]))));

    if (w)
        w->compactions = mem_calloc(list->n, sizeof(w->compactions[0]));
    if (!w || !w->compactions) {
        mem_free(w);
        return err_set(-ENOMEM, "out of memory for the shape of the tree");
    }
    w->tree = (struct shale_tree){ .manifest_id = v->id,
                                   .writer_epoch = m->writer_epoch,
                                   .compactor_epoch = m->compactor_epoch,
                                   .last_l0_seq = m->last_l0_seq,
                                   .replay_after_wal_id = m->replay_after_wal_id,
                                   .last_wal_id = m->wal_id_last_seen,
                                   .n_checkpoints = m->n_checkpoints };
    add_layers(w, m);
    add_compactions(w, m, list);
    *out = &w->tree;
    return 0;
}

void shale_tree_free(struct shale_tree *tree)
{
    struct whole_tree *w = tree ? container_of(tree, struct whole_tree, tree) : NULL;

    if (w)
        mem_free(w->compactions);
    mem_free(w);
}
