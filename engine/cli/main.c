/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct cli_command cli_commands[] = {
    { "dump", "URL", "every key and value, in order", 0, 0, cmd_dump },
    { "rows", "URL", "every row version of every object", 0, 0, cmd_rows },
    { "get", "URL KEY", "one row; exit status 1 and 'none' when there is none", 1, 1, cmd_get },
    { "put", "URL KEY VALUE [TTL]", "write one; TTL is ttl=MS, expire_at=MS or noexpiry", 2, -1, cmd_put },
    { "merge", "URL KEY OPERAND [TTL]", "write one merge operand", 2, -1, cmd_merge },
    { "delete", "URL KEY", "delete one", 1, 1, cmd_delete },
    { "apply", "URL FILE", "run a script (- is standard input); each line is answered", 1, 1, cmd_apply },
    { "check", "URL", "verify every SST, and with --expected the rows", 0, 0, cmd_check },
    { "manifest", "URL", "the newest manifest as JSON", 0, 0, cmd_manifest },
    { "compactions", "URL", "the newest compactions object as JSON; null when there is none", 0, 0, cmd_compactions },
    { "checkpoint create", "URL", "keep the present state from gc; prints id and manifest id", 0, 0,
      cmd_checkpoint_create },
    { "checkpoint list", "URL", "the checkpoints as JSON", 0, 0, cmd_checkpoint_list },
    { "checkpoint refresh", "URL ID", "it expires --lifetime-s from now; without, never", 1, 1, cmd_checkpoint_refresh },
    { "checkpoint delete", "URL ID", "let go of it", 1, 1, cmd_checkpoint_delete },
    { "clone", "URL", "make a database that begins as another one is, or was at a checkpoint", 0, 0, cmd_clone },
    { "gc", "URL", "collect garbage once", 0, 0, cmd_gc },
    { NULL, NULL, NULL, 0, 0, NULL },
};

const struct cli_command *cli_find_command(const char *name)
{
    for (const struct cli_command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

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

int main(int argc, char **argv)
{
    struct cli c;
    const struct cli_command *cmd = cli_parse(&c, argc, argv);
    int status = cmd->run(&c);

    cli_fini(&c);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "shale: cannot write to standard output: %s\n", strerror(errno));
        return CLI_ERROR;
    }
    return status;
}
