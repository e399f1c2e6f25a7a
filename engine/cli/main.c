/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>

static const struct cli_command commands[] = {
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
    { "properties", "URL", "what the property collector left with each SST and WAL object", 0, 0, cmd_properties },
    { "top", "URL", "the shape of the tree and how far compactions are; refreshed on a terminal", 0, 0, cmd_top },
    { "probe", "URL", "whether the store can hold a database there; exit status 1 when it cannot", 0, 0, cmd_probe },
    { "compact", "URL", "run one compaction to its end, or --watch", 0, 0, cmd_compact },
    { "checkpoint create", "URL", "keep the present state from gc; prints id and manifest id", 0, 0,
      cmd_checkpoint_create },
    { "checkpoint list", "URL", "the checkpoints as JSON", 0, 0, cmd_checkpoint_list },
    { "checkpoint refresh", "URL ID", "it expires --lifetime-s from now; without, never", 1, 1, cmd_checkpoint_refresh },
    { "checkpoint delete", "URL ID", "let go of it", 1, 1, cmd_checkpoint_delete },
    { "clone", "URL", "make a database that begins as another one is, or was at a checkpoint", 0, 0, cmd_clone },
    { "gc", "URL", "collect garbage once", 0, 0, cmd_gc },
    { "seq-to-ts", "URL SEQ", "when a sequence number was current; exit status 1 and 'not found' when unknown", 1, 1,
      cmd_seq_to_ts },
    { "ts-to-seq", "URL SECONDS", "the sequence number of a Unix time; as seq-to-ts", 1, 1, cmd_ts_to_seq },
    { NULL, NULL, NULL, 0, 0, NULL },
};

int main(int argc, char **argv)
{
    struct cli c;
    const struct cli_command *cmd = cli_parse(&c, commands, argc, argv);
    int status = cmd->run(&c);

    cli_fini(&c);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "shale: cannot write to standard output: %s\n", strerror(errno));
        return CLI_ERROR;
    }
    return status;
}
