/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ulid.h"
#include "cli/cli.h"

#include <inttypes.h>

/* "none", or the blob as a cell. */
static int print_properties(void *arg, const struct shale_properties *p)
{
    const struct cli *c = arg;
    char id[SHALE_ULID_TEXT_LEN + 1];

    ulid_format(p->id, id);
    switch (p->kind) {
    case SHALE_SST_WAL:
        printf("wal\t%020" PRIu64 "\t", p->wal_id);
        break;
    case SHALE_SST_L0:
        printf("l0\t%s\t", id);
        break;
    case SHALE_SST_RUN:
        printf("run %" PRIu32 "\t%s\t", p->run, id);
        break;
    }
    if (p->has_blob)
        text_cell(stdout, p->blob, c->digest);
    else
        fputs("none", stdout);
    putchar('\n');
    return 0;
}

int cmd_properties(struct cli *c)
{
    struct shale_inspect *in = NULL;
    int rc = cli_open_store(c, false);

    if (rc == 0)
        rc = cli_open_inspect(c, &in);
    if (rc == 0)
        rc = shale_inspect_properties(in, c->admin.has_checkpoint ? &c->admin.checkpoint : NULL, print_properties, c);
    if (rc < 0)
        (void)cli_fail(c, rc);
    shale_inspect_close(in);
    return rc < 0 ? CLI_ERROR : CLI_OK;
}
