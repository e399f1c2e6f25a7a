/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/status_tree.h"

#include "base/ulid.h"

#include <inttypes.h>
#include <stdio.h>

void status_tree_text(const struct shale_tree *t)
{
    char id[SHALE_ULID_TEXT_LEN + 1];

    printf("tree      manifest %" PRIu64 "\n", t->manifest_id);
    printf("          L0: %zu SSTs, %" PRIu64 " bytes\n", t->n_l0, t->l0_bytes);
    for (size_t i = t->n_l0; i < t->n_l0 + t->n_runs; i++)
        printf("          run %" PRIu32 ": %zu SSTs, %" PRIu64 " bytes\n", t->layers[i].run, t->layers[i].n_ssts,
               t->layers[i].bytes);
    for (size_t i = 0; i < t->n_compactions; i++) {
        const struct shale_tree_compaction *c = &t->compactions[i];

        ulid_format(c->id, id);
        printf("          %s %s: %" PRIu32 " L0 and %" PRIu32 " runs into run %" PRIu32 ", %" PRIu64 " of %" PRIu64
               " bytes written\n",
               c->is_running ? "compaction" : "waiting", id, c->n_l0, c->n_runs, c->destination, c->written_bytes,
               c->source_bytes);
    }
}

static void json_compaction(const struct shale_tree_compaction *c)
{
    char id[SHALE_ULID_TEXT_LEN + 1];

    ulid_format(c->id, id);
    printf("{\"id\":\"%s\",\"status\":\"%s\",\"l0\":%" PRIu32 ",\"runs\":%" PRIu32 ",\"destination\":%" PRIu32
           ",\"source_bytes\":%" PRIu64 ",\"written_bytes\":%" PRIu64 "}",
           id, c->is_running ? "running" : "submitted", c->n_l0, c->n_runs, c->destination, c->source_bytes,
           c->written_bytes);
}

void status_tree_json(const struct shale_tree *t)
{
    char id[SHALE_ULID_TEXT_LEN + 1];

    printf("{\"manifest\":%" PRIu64 ",\"l0\":[", t->manifest_id);
    for (size_t i = 0; i < t->n_l0; i++) {
        ulid_format(t->layers[i].l0, id);
        printf("%s{\"id\":\"%s\",\"bytes\":%" PRIu64 "}", i ? "," : "", id, t->layers[i].bytes);
    }
    fputs("],\"runs\":[", stdout);
    for (size_t i = t->n_l0; i < t->n_l0 + t->n_runs; i++)
        printf("%s{\"id\":%" PRIu32 ",\"ssts\":%zu,\"bytes\":%" PRIu64 "}", i > t->n_l0 ? "," : "", t->layers[i].run,
               t->layers[i].n_ssts, t->layers[i].bytes);
    fputs("],\"compactions\":[", stdout);
    for (size_t i = 0; i < t->n_compactions; i++) {
        if (i)
            putchar(',');
        json_compaction(&t->compactions[i]);
    }
    fputs("]}", stdout);
}
