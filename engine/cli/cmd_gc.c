/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "cli/cli.h"

#include <errno.h>
#include <string.h>

static const char *const kinds[SHALE_GC_N_KINDS] = {
    [SHALE_GC_MANIFEST] = "manifest",
    [SHALE_GC_WAL] = "wal",
    [SHALE_GC_COMPACTED] = "compacted",
    [SHALE_GC_COMPACTIONS] = "compactions",
};

/* "wal,manifest" */
static int parse_only(const char *text, bool skip[SHALE_GC_N_KINDS])
{
    for (int k = 0; k < SHALE_GC_N_KINDS; k++)
        skip[k] = true;
    while (*text) {
        size_t len = strcspn(text, ",");
        int k = 0;

        while (k < SHALE_GC_N_KINDS && (strlen(kinds[k]) != len || strncmp(kinds[k], text, len) != 0))
            k++;
        if (k == SHALE_GC_N_KINDS)
            return err_set(-EINVAL, "--only: '%.*s' is none of manifest, wal, compacted, compactions", (int)len, text);
        skip[k] = false;
        text += len + (text[len] == ',');
    }
    return 0;
}

static int print_name(void *arg, enum shale_gc_kind kind, const char *name)
{
    (void)arg, (void)kind;
    puts(name);
    return 0;
}

int cmd_gc(struct cli *c)
{
    struct shale_admin_options admin;
    struct shale_gc_options opt;
    int rc = 0;

    shale_gc_options_init(&opt);
    if (c->admin.only)
        rc = parse_only(c->admin.only, opt.skip);
    for (int k = 0; k < SHALE_GC_N_KINDS && c->admin.has_min_age; k++)
        opt.min_age_ms[k] = (int64_t)c->admin.min_age_s * 1000;
    opt.dry_run = c->admin.dry_run;
    if (opt.dry_run)
        opt.report = print_name;
    if (rc == 0)
        rc = cli_open_store(c, false);
    admin = cli_admin(c);
    if (rc == 0)
        rc = shale_gc(c->store, c->path, &admin, &opt, NULL);
    return rc < 0 ? cli_fail(c, rc) : CLI_OK;
}
