/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "cli/cli.h"

#include <errno.h>

int cli_print_scan(struct shale_iter *it, bool bare, size_t digest, FILE *out, uint64_t *n)
{
    struct shale_row row;
    int rc;

    *n = 0;
    while ((rc = shale_iter_next(it, &row)) == 0) {
        text_scan_line(out, &row, bare, digest);
        ++*n;
    }
    shale_iter_close(it);
    return rc == SHALE_END ? 0 : rc;
}

int cmd_dump(struct cli *c)
{
    struct shale_key_range range = { .from = slice_of_buf(&c->from), .to = slice_of_buf(&c->to) };
    struct shale_db *db = NULL;
    struct shale_iter *it;
    uint64_t n;
    int rc = cli_open_reader(c, &db);

    if (rc == 0)
        rc = shale_db_scan(db, &range, NULL, &it);
    if (rc == 0)
        rc = cli_print_scan(it, c->bare, c->digest, stdout, &n);
    if (rc < 0)
        (void)cli_fail(c, rc);
    (void)shale_db_close(db, SHALE_CLOSE_ABANDON); /* a reader has nothing to write */
    return rc < 0 ? CLI_ERROR : CLI_OK;
}

static int print_one(struct cli *c, struct shale_db *db, struct shale_slice key)
{
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_row row;
    int rc = shale_db_get_row(db, key, NULL, &value, &row);
    int status = CLI_OK;

    if (rc == 0) {
        text_scan_line(stdout, &row, false, TEXT_NO_DIGEST);
    } else if (rc == -ENOENT) {
        puts("none");
        status = CLI_NOT_FOUND;
    } else {
        status = cli_fail(c, rc);
    }
    shale_buf_fini(&value);
    return status;
}

int cmd_get(struct cli *c)
{
    struct shale_buf key = SHALE_BUF_INIT;
    struct shale_db *db = NULL;
    int status, rc = text_parse_cell(c->args[0], &key);

    if (rc == 0)
        rc = cli_open_reader(c, &db);
    status = rc < 0 ? cli_fail(c, rc) : print_one(c, db, slice_of_buf(&key));
    (void)shale_db_close(db, SHALE_CLOSE_ABANDON); /* a reader has nothing to write */
    shale_buf_fini(&key);
    return status;
}
