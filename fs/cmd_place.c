/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cmd_place.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "fs/cmd.h"
#include "fs/control_client.h"
#include "fs/mountpoint.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#define OWN_MAX 16
#define STORE_MAX 32
#define STORE_BASE 0x2000 /* what getopt_long returns for the first option of stores */

/* A command's own options and those of stores, whose names are as a command line has them. */
struct all_options {
    struct option v[OWN_MAX + STORE_MAX + 1];
    char names[STORE_MAX][24];
};

int cmd_place_init(struct cmd_place *p)
{
    *p = (struct cmd_place){ .url = NULL };
    return shale_store_config_new(&p->store);
}

void cmd_place_fini(struct cmd_place *p)
{
    mem_free(p->url);
    shale_store_config_free(p->store);
}

static char *dashed(char *name)
{
    for (char *c = name; (c = strchr(c, '_')) != NULL;)
        *c = '-';
    return name;
}

static void fill(struct all_options *all, const struct option *own)
{
    const struct shale_store_setting *s;
    size_t n = 0;

    memset(all, 0, sizeof(*all));
    for (; own[n].name && n < OWN_MAX; n++)
        all->v[n] = own[n];
    for (size_t i = 0; i < STORE_MAX && (s = shale_store_setting_at(i)) != NULL; i++) {
        snprintf(all->names[i], sizeof(all->names[i]), "%s", s->name);
        all->v[n + i] = (struct option){ dashed(all->names[i]), s->argument ? required_argument : no_argument, NULL,
                                         STORE_BASE + (int)i };
    }
}

int cmd_place_getopt(struct cmd_place *p, int argc, char **argv, const char *short_options, const struct option *own,
                     int *index)
{
    struct all_options all;
    int c;

    fill(&all, own);
    while ((c = getopt_long(argc, argv, short_options, all.v, index)) >= STORE_BASE) {
        const char *name = shale_store_setting_at((size_t)(c - STORE_BASE))->name;
        int rc = shale_store_config_set(p->store, name, optarg);

        if (rc < 0) {
            (void)err_add(rc, "--%s is wrong", all.names[c - STORE_BASE]);
            return CMD_OPTION_WRONG;
        }
    }
    return c;
}

void cmd_place_help(FILE *out)
{
    const struct shale_store_setting *s;

    fputs("\nOf a volume in a bucket (keys come from the environment, files and roles):\n\n", out);
    for (size_t i = 0; (s = shale_store_setting_at(i)) != NULL; i++) {
        char left[40];

        snprintf(left, sizeof(left), "--%s %s", s->name, s->argument ? s->argument : "");
        fprintf(out, "  %-19s %s\n", dashed(left), s->help);
    }
}

int cmd_place_volume(struct cmd_place *p, const char *arg)
{
    return cmd_volume_url(arg, &p->url);
}

/* A mount that cannot be asked (another user's, or dead) leaves the volume to what the caller says. */
int cmd_place_mounted(struct cmd_place *p, const char *arg)
{
    struct shale_buf lines = SHALE_BUF_INIT;
    struct mountpoint m = { 0 };
    int rc = 0;

    if (strstr(arg, "://") || mountpoint_find(arg, false, &m) < 0)
        return cmd_place_volume(p, arg);
    p->url = m.source;
    m.source = NULL;
    if (!m.dead && control_ask(m.dir, "store", &lines) == 0)
        rc = shale_store_config_adopt(p->store, (const char *)lines.data);
    mountpoint_fini(&m);
    shale_buf_fini(&lines);
    return rc;
}
