/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "cli/cli.h"
#include "sst/table_store.h"

#include <errno.h>
#include <stdlib.h>

/* Names of the SSTs of one kind, sorted. */
struct names {
    char **v;
    size_t n, cap;
};

static int add_name(void *arg, const char *name, const struct shale_object_meta *meta)
{
    size_t len = strlen(name);
    struct names *names = arg;

    (void)meta;
    if (len < 4 || strcmp(name + len - 4, ".sst") != 0)
        return 0;
    if (vec_reserve(&names->v, &names->cap, names->n + 1, sizeof(*names->v)) < 0)
        return -ENOMEM;
    names->v[names->n] = mem_strdup(name);
    return names->v[names->n++] ? 0 : -ENOMEM;
}

static void names_fini(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        mem_free(names->v[i]);
    mem_free(names->v);
}

struct rows_out {
    FILE *out; /* NULL: only count */
    size_t digest, n;
};

static int print_row(void *arg, const struct shale_row *row)
{
    struct rows_out *o = arg;

    if (o->out)
        text_row_line(o->out, row, o->digest);
    o->n++;
    return 0;
}

/* One object: first counted, for the line in front of its rows. */
static int print_object(const struct cli *c, struct shale_store *store, const char *name, const char *kind, FILE *out)
{
    const struct shale_block_transformer *t = c->opt.block_transformer;
    struct shale_buf object = SHALE_BUF_INIT;
    struct rows_out count = { NULL, c->digest, 0 }, print = { out, c->digest, 0 };
    const char *base = strrchr(name, '/');
    int rc = sst_get_object(store, name, t, &object);

    base = base ? base + 1 : name;
    if (rc == 0)
        rc = sst_scan_object(slice_of_buf(&object), name, t, print_row, &count);
    if (rc == 0 && out) {
        fprintf(out, "# %s/%.*s bytes=%zu rows=%zu\n", kind, (int)(strlen(base) - 4), base, object.len, count.n);
        rc = sst_scan_object(slice_of_buf(&object), name, t, print_row, &print);
    }
    shale_buf_fini(&object);
    return rc;
}

static int print_kind(struct cli *c, struct shale_store *store, const char *kind, FILE *out)
{
    struct shale_buf prefix = SHALE_BUF_INIT;
    struct names names = { 0 };
    int rc = buf_printf(&prefix, "%s%s%s/", c->path, c->path[0] ? "/" : "", kind);

    if (rc == 0)
        rc = shale_store_list(store, (const char *)prefix.data, NULL, add_name, &names);
    for (size_t i = 0; rc == 0 && i < names.n; i++)
        rc = print_object(c, store, names.v[i], kind, out);
    names_fini(&names);
    shale_buf_fini(&prefix);
    return rc;
}

int cli_print_objects(struct cli *c, FILE *out)
{
    int rc = print_kind(c, c->patient_wal, "wal", out);

    return rc < 0 ? rc : print_kind(c, c->patient, "compacted", out);
}

int cmd_rows(struct cli *c)
{
    int rc = cli_open_store(c, false);

    if (rc == 0)
        rc = cli_print_objects(c, stdout);
    return rc < 0 ? cli_fail(c, rc) : CLI_OK;
}
