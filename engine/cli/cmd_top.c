/* SPDX-License-Identifier: Apache-2.0 */
/* The shape of the tree as the store has it: nothing is written, whoever writes the database is not disturbed. */
#include "base/buf.h"
#include "base/err.h"
#include "base/ulid.h"
#include "cli/cli.h"
#include "cli/json.h"

#include <inttypes.h>
#include <shale/inspect.h>
#include <time.h>
#include <unistd.h>

/* "12.3 MiB" */
static const char *size_text(uint64_t bytes, char text[static 32])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double v = (double)bytes;
    size_t u = 0;

    for (; v >= 1024; u++)
        v /= 1024;
    snprintf(text, 32, "%.*f %s", u == 0 ? 0 : 1, v, units[u]);
    return text;
}

static unsigned percent(const struct shale_tree_compaction *c)
{
    double part = c->source_bytes ? (double)c->written_bytes / (double)c->source_bytes : 0;

    return part < 1 ? (unsigned)(part * 100) : 100;
}

static void print_layers(const struct shale_tree *t, FILE *out)
{
    char size[32], id[SHALE_ULID_TEXT_LEN + 1];

    fprintf(out, "L0           %6zu SSTs  %12s\n", t->n_l0, size_text(t->l0_bytes, size));
    for (size_t i = 0; i < t->n_l0 + t->n_runs; i++) {
        const struct shale_tree_layer *l = &t->layers[i];

        if (i == t->n_l0)
            fprintf(out, "runs         %6zu       %12s\n", t->n_runs, size_text(t->run_bytes, size));
        if (l->is_run) {
            fprintf(out, "  run %-6" PRIu32 " %6zu SSTs  %12s\n", l->run, l->n_ssts, size_text(l->bytes, size));
        } else {
            ulid_format(l->l0, id);
            fprintf(out, "  %s %9s\n", id, size_text(l->bytes, size));
        }
    }
    if (t->n_runs == 0)
        fprintf(out, "runs              0\n");
}

static void print_compactions(const struct shale_tree *t, FILE *out)
{
    char written[32], source[32], id[SHALE_ULID_TEXT_LEN + 1];

    fprintf(out, "compactions  %6zu\n", t->n_compactions);
    for (size_t i = 0; i < t->n_compactions; i++) {
        const struct shale_tree_compaction *c = &t->compactions[i];

        ulid_format(c->id, id);
        fprintf(out, "  %s  %" PRIu32 " L0 + %" PRIu32 " runs -> run %" PRIu32 "  ", id, c->n_l0, c->n_runs,
                c->destination);
        if (c->is_running)
            fprintf(out, "%3u %%  %s of %s, %" PRIu32 " SSTs\n", percent(c), size_text(c->written_bytes, written),
                    size_text(c->source_bytes, source), c->n_outputs);
        else
            fprintf(out, "waiting  %s\n", size_text(c->source_bytes, source));
    }
}

static void print_text(const struct cli *c, const struct shale_tree *t, FILE *out)
{
    fprintf(out, "%s\n", c->url);
    fprintf(out, "manifest %" PRIu64 "  writer %" PRIu64 "  compactor %" PRIu64 "  checkpoints %zu  seq %" PRIu64
                 "  WAL %" PRIu64 " (replay after %" PRIu64 ")\n",
            t->manifest_id, t->writer_epoch, t->compactor_epoch, t->n_checkpoints, t->last_l0_seq, t->last_wal_id,
            t->replay_after_wal_id);
    print_layers(t, out);
    print_compactions(t, out);
}

static void json_id(struct json *j, const char *key, struct shale_ulid id)
{
    char text[SHALE_ULID_TEXT_LEN + 1];

    ulid_format(id, text);
    json_string(j, key, text);
}

static void json_layers(struct json *j, const struct shale_tree *t)
{
    json_array(j, "l0");
    for (size_t i = 0; i < t->n_l0; i++) {
        json_object(j, NULL);
        json_id(j, "id", t->layers[i].l0);
        json_u64(j, "bytes", t->layers[i].bytes);
        json_object_end(j);
    }
    json_array_end(j);
    json_array(j, "runs");
    for (size_t i = t->n_l0; i < t->n_l0 + t->n_runs; i++) {
        json_object(j, NULL);
        json_u64(j, "id", t->layers[i].run);
        json_u64(j, "ssts", t->layers[i].n_ssts);
        json_u64(j, "bytes", t->layers[i].bytes);
        json_object_end(j);
    }
    json_array_end(j);
}

static void json_compactions(struct json *j, const struct shale_tree *t)
{
    json_array(j, "compactions");
    for (size_t i = 0; i < t->n_compactions; i++) {
        const struct shale_tree_compaction *c = &t->compactions[i];

        json_object(j, NULL);
        json_id(j, "id", c->id);
        json_string(j, "status", c->is_running ? "running" : "submitted");
        json_u64(j, "destination", c->destination);
        json_u64(j, "l0", c->n_l0);
        json_u64(j, "runs", c->n_runs);
        json_u64(j, "outputs", c->n_outputs);
        json_u64(j, "source_bytes", c->source_bytes);
        json_u64(j, "written_bytes", c->written_bytes);
        json_object_end(j);
    }
    json_array_end(j);
}

static void print_json(const struct cli *c, const struct shale_tree *t, FILE *out)
{
    struct json j;

    json_init(&j, out);
    json_object(&j, NULL);
    json_string(&j, "url", c->url);
    json_u64(&j, "manifest", t->manifest_id);
    json_u64(&j, "writer_epoch", t->writer_epoch);
    json_u64(&j, "compactor_epoch", t->compactor_epoch);
    json_u64(&j, "checkpoints", t->n_checkpoints);
    json_u64(&j, "last_l0_seq", t->last_l0_seq);
    json_u64(&j, "last_wal", t->last_wal_id);
    json_u64(&j, "replay_after_wal", t->replay_after_wal_id);
    json_u64(&j, "l0_bytes", t->l0_bytes);
    json_u64(&j, "run_bytes", t->run_bytes);
    json_layers(&j, t);
    json_compactions(&j, t);
    json_object_end(&j);
}

static int show(const struct cli *c, struct shale_inspect *in)
{
    struct shale_tree *t = NULL;
    int rc = shale_inspect_tree(in, &t);

    if (rc < 0)
        return rc;
    if (c->json)
        print_json(c, t, stdout);
    else
        print_text(c, t, stdout);
    shale_tree_free(t);
    return 0;
}

/* Each picture replaces the one before; ends by a signal, or when nobody looks any more. */
static int watch(const struct cli *c, struct shale_inspect *in)
{
    const struct timespec pause = { .tv_sec = (time_t)c->interval_s };
    int rc = 0;

    while (rc == 0 && !ferror(stdout)) {
        fputs("\033[H\033[J", stdout);
        rc = show(c, in);
        fflush(stdout);
        if (rc == 0)
            nanosleep(&pause, NULL);
    }
    return rc;
}

int cmd_top(struct cli *c)
{
    struct shale_inspect *in = NULL;
    int rc = cli_open_store(c, false);

    if (rc == 0)
        rc = cli_open_inspect(c, &in);
    if (rc == 0)
        rc = c->once || c->json || !isatty(STDOUT_FILENO) ? show(c, in) : watch(c, in);
    if (rc < 0)
        (void)cli_fail(c, rc);
    shale_inspect_close(in);
    return rc < 0 ? CLI_ERROR : CLI_OK;
}
