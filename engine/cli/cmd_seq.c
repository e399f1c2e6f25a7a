/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <shale/inspect.h>
#include <time.h>

/* Sequence numbers and times of the newest manifest, printed as SlateDB's command line does. */

static int open_inspect(struct cli *c, struct shale_inspect **in)
{
    int rc = cli_open_store(c, false);

    return rc < 0 ? rc : cli_open_inspect(c, in);
}

static int print_time(int64_t time_s)
{
    time_t t = (time_t)time_s;
    char text[64];
    struct tm tm;

    if (!gmtime_r(&t, &tm) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S+00:00", &tm) == 0)
        return err_set(-EOVERFLOW, "%" PRId64 " seconds are no date", time_s);
    puts(text);
    return 0;
}

static int finish(struct cli *c, struct shale_inspect *in, int rc)
{
    if (rc == -ERANGE) {
        puts("not found");
        shale_inspect_close(in);
        return CLI_NOT_FOUND;
    }
    if (rc < 0)
        (void)cli_fail(c, rc);
    shale_inspect_close(in);
    return rc < 0 ? CLI_ERROR : CLI_OK;
}

int cmd_seq_to_ts(struct cli *c)
{
    struct shale_inspect *in = NULL;
    int64_t time_s = 0;
    uint64_t seq = 0;
    int rc = text_parse_u64(c->args[0], "SEQ", UINT64_MAX, &seq);

    if (rc == 0)
        rc = open_inspect(c, &in);
    if (rc == 0)
        rc = shale_inspect_time_of_seq(in, seq, c->round_up, &time_s);
    if (rc == 0)
        rc = print_time(time_s);
    return finish(c, in, rc);
}

int cmd_ts_to_seq(struct cli *c)
{
    struct shale_inspect *in = NULL;
    uint64_t time_s = 0, seq = 0;
    int rc = text_parse_u64(c->args[0], "SECONDS", INT64_MAX, &time_s);

    if (rc == 0)
        rc = open_inspect(c, &in);
    if (rc == 0)
        rc = shale_inspect_seq_at_time(in, (int64_t)time_s, c->round_up, &seq);
    if (rc == 0)
        printf("%" PRIu64 "\n", seq);
    return finish(c, in, rc);
}
