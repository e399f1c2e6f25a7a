/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share: opening the store and the database of the URL, and saying what failed. */
#include "cli/cli.h"

#include "base/err.h"
#include "base/request_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 30000

static int open_request_log(struct cli *c)
{
    int rc;

    if (!c->request_log_path || c->request_log)
        return 0;
    rc = request_log_open(c->request_log_path, &c->request_log);
    if (rc < 0)
        return rc;
    c->watch = (struct shale_request_watch){ .ended = request_log_note, .ctx = c->request_log };
    return request_log_start(c->request_log);
}

static int open_wal_store(struct cli *c, bool create, const struct shale_store_options *opt)
{
    char *wal_path = NULL;
    int rc;

    if (!c->wal_url)
        return 0;
    rc = shale_store_open_with(c->wal_url, create, opt, &c->wal_store, &wal_path);
    if (rc == 0 && strcmp(wal_path, c->path) != 0)
        rc = err_set(-EINVAL, "--wal-url: the database is '%s' there and '%s' in the main store; the names must be equal",
                     wal_path, c->path);
    free(wal_path);
    c->opt.wal_store = c->wal_store;
    return rc;
}

int cli_open_store(struct cli *c, bool create)
{
    struct shale_store_options opt = *shale_store_config_options(c->where);
    int rc = open_request_log(c);

    opt.watch = &c->watch;
    if (rc == 0)
        rc = shale_store_open_with(c->url, create, &opt, &c->store, &c->path);
    if (rc == 0)
        rc = open_wal_store(c, create, &opt);
    if (rc == 0)
        rc = shale_store_retrying(c->store, PATIENCE_MS, &c->patient);
    return rc == 0 ? shale_store_retrying(c->wal_store ? c->wal_store : c->store, PATIENCE_MS, &c->patient_wal) : rc;
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
    shale_store_close(c->patient_wal);
    shale_store_close(c->patient);
    shale_store_close(c->wal_store);
    shale_store_close(c->store);
    request_log_close(c->request_log);
    shale_store_config_free(c->where);
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
