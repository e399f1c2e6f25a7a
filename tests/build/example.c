/* SPDX-License-Identifier: Apache-2.0 */
/* What a user of the installed library writes; C11 and C++11 (test_install.sh). */
#include <shale/shale.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct shale_slice text(const char *s)
{
    struct shale_slice slice = { (const uint8_t *)s, strlen(s) };

    return slice;
}

static int put_and_get(struct shale_db *db)
{
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_batch *batch = NULL;
    int rc = shale_db_put(db, text("hello"), text("world"), true);

    if (rc == 0)
        rc = shale_batch_new(&batch);
    if (rc == 0)
        rc = shale_batch_put(batch, text("one"), text("1"), SHALE_TTL_INIT);
    if (rc == 0)
        rc = shale_db_write(db, batch, true, NULL);
    if (rc == 0)
        rc = shale_db_get(db, text("hello"), NULL, &value);
    if (rc == 0)
        printf("%.*s\n", (int)value.len, (const char *)value.data);
    shale_batch_free(batch);
    shale_buf_fini(&value);
    return rc;
}

int main(void)
{
    struct shale_options opt;
    struct shale_store *store = NULL;
    struct shale_db *db = NULL;
    char *path = NULL;
    int rc;

    shale_options_init(&opt);
    rc = shale_store_open("memory://example/db", true, &store, &path);
    if (rc == 0)
        rc = shale_db_open(store, path, &opt, true, &db);
    if (rc == 0)
        rc = put_and_get(db);
    if (rc == 0) {
        rc = shale_db_close(db, SHALE_CLOSE_FLUSH);
        db = NULL;
    }
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", shale_strerror(rc), shale_errmsg());
    shale_db_close(db, SHALE_CLOSE_ABANDON);
    shale_store_close(store);
    free(path);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
