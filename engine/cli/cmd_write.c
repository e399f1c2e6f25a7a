/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/err.h"
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

int cli_parse_ttl(char *const *words, int n, struct shale_ttl *out)
{
    uint64_t ms;
    int rc;

    *out = SHALE_TTL_INIT;
    if (n == 0)
        return 0;
    if (strcmp(words[0], "noexpiry") == 0) {
        out->kind = SHALE_TTL_NONE;
        return 0;
    }
    if (strncmp(words[0], "ttl=", 4) == 0) {
        out->kind = SHALE_TTL_AFTER;
        rc = text_parse_u64(words[0] + 4, "ttl", UINT64_MAX, &ms);
        if (rc == 0 && ms > INT64_MAX)
            out->kind = SHALE_TTL_NONE; /* beyond all times (R14) */
        else if (rc == 0)
            out->ms = (int64_t)ms;
        return rc;
    }
    if (strncmp(words[0], "expire_at=", 10) == 0) {
        char *end;

        out->kind = SHALE_TTL_AT;
        out->ms = strtoll(words[0] + 10, &end, 10);
        return *end || end == words[0] + 10 ? err_set(-EINVAL, "expire_at: '%s' is no number", words[0] + 10) : 0;
    }
    return err_set(-EINVAL, "unknown option %s", words[0]);
}

typedef int (*add_fn)(struct shale_batch *b, struct shale_slice key, struct shale_slice value, struct shale_ttl ttl);

static int add_delete(struct shale_batch *b, struct shale_slice key, struct shale_slice value, struct shale_ttl ttl)
{
    (void)value, (void)ttl;
    return shale_batch_delete(b, key);
}

/* Open, write one operation, close: durable when it says ok. */
static int write_one(struct cli *c, add_fn add, const char *value_text)
{
    struct shale_buf key = SHALE_BUF_INIT, value = SHALE_BUF_INIT;
    struct shale_batch *batch = NULL;
    struct shale_db *db = NULL;
    struct shale_write_result res;
    struct shale_ttl ttl = SHALE_TTL_INIT;
    int rc = text_parse_cell(c->args[0], &key), close_rc;

    if (rc == 0 && value_text) {
        rc = text_parse_cell(value_text, &value);
        if (rc == 0)
            rc = cli_parse_ttl(c->args + 2, c->n_args - 2, &ttl);
    }
    if (rc == 0)
        rc = shale_batch_new(&batch);
    if (rc == 0)
        rc = add(batch, slice_of_buf(&key), slice_of_buf(&value), ttl);
    if (rc == 0)
        rc = cli_open_writer(c, &db);
    if (rc == 0)
        rc = shale_db_write(db, batch, false, &res);
    close_rc = shale_db_close(db, rc == 0 ? SHALE_CLOSE_FLUSH : SHALE_CLOSE_ABANDON);
    if (rc == 0)
        rc = close_rc;
    shale_batch_free(batch);
    shale_buf_fini(&key);
    shale_buf_fini(&value);
    if (rc < 0)
        return cli_fail(c, rc);
    printf("ok %" PRIu64 "\n", res.seq);
    return CLI_OK;
}

int cmd_put(struct cli *c)
{
    return write_one(c, shale_batch_put, c->args[1]);
}

int cmd_merge(struct cli *c)
{
    return write_one(c, shale_batch_merge, c->args[1]);
}

int cmd_delete(struct cli *c)
{
    return write_one(c, add_delete, NULL);
}
