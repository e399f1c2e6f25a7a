/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share: opening the store and the database of the URL, and saying what failed. */
#include "cli/cli.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int cli_open_store(struct cli *c, bool create)
{
    char *wal_path = NULL;
    int rc = shale_store_open(c->url, create, &c->store, &c->path);

    if (rc < 0 || !c->wal_url)
        return rc;
    rc = shale_store_open(c->wal_url, create, &c->wal_store, &wal_path);
    if (rc == 0 && strcmp(wal_path, c->path) != 0)
        rc = err_set(-EINVAL, "--wal-url: the database is '%s' there and '%s' in the main store; the names must be equal",
                     wal_path, c->path);
    free(wal_path);
    c->opt.wal_store = c->wal_store;
    return rc;
}

int cli_open_writer(struct cli *c, struct shale_db **out)
{
    int rc = cli_open_store(c, true);

    return rc < 0 ? rc : shale_db_open(c->store, c->path, &c->opt, true, out);
}

int cli_open_reader(struct cli *c, struct shale_db **out)
{
    int rc = cli_open_store(c, false);

    c->opt.read_only = true;
    if (c->admin.has_checkpoint)
        c->opt.checkpoint = &c->admin.checkpoint;
    return rc < 0 ? rc : shale_db_open(c->store, c->path, &c->opt, false, out);
}

int cli_open_inspect(struct cli *c, struct shale_inspect **out)
{
    const struct shale_inspect_options opt = { .wal_store = c->wal_store,
                                               .block_transformer = c->opt.block_transformer };

    return shale_inspect_open(c->store, c->path, &opt, out);
}

void cli_fini(struct cli *c)
{
    shale_store_close(c->wal_store);
    shale_store_close(c->store);
    free(c->path);
    shale_buf_fini(&c->from);
    shale_buf_fini(&c->to);
}

int cli_fail(const struct cli *c, int rc)
{
    fflush(stdout);
    fprintf(stderr, "shale: %s: %s\n", c->command, shale_errmsg()[0] ? shale_errmsg() : shale_strerror(rc));
    return CLI_ERROR;
}
