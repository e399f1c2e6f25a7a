/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/golden.h"

#include "lib/check.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH_LEN 4096

/* The real path of tests/golden/path. */
static void full_path(const char *path, char out[PATH_LEN])
{
    const char *src = getenv("SRCDIR");
    int n = snprintf(out, PATH_LEN, "%s/tests/golden/%s", src ? src : ".", path);

    assert_true(n > 0 && n < PATH_LEN);
}

void golden_read(const char *path, struct shale_buf *out)
{
    char full[PATH_LEN];
    uint8_t chunk[4096];
    size_t n;
    FILE *f;

    full_path(path, full);
    f = fopen(full, "rb");
    if (!f)
        fail_msg("cannot open %s", full);
    buf_clear(out);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        assert_int_equal(shale_buf_append(out, chunk, n), 0);
    fclose(f);
}

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);

    return n >= k && strcmp(s + n - k, suffix) == 0;
}

size_t golden_each(const char *below, const char *suffix, golden_fn fn, void *ctx)
{
    char full[PATH_LEN], path[PATH_LEN];
    struct dirent **list = NULL;
    size_t count = 0;
    int n;

    full_path(below, full);
    n = scandir(full, &list, visible, alphasort);
    if (n < 0)
        fail_msg("cannot list %s", full);
    for (int i = 0; i < n; i++) {
        int len = snprintf(path, sizeof(path), "%s%s%s", below, below[0] ? "/" : "", list[i]->d_name);

        assert_true(len > 0 && (size_t)len < sizeof(path));
        if (list[i]->d_type == DT_DIR) {
            count += golden_each(path, suffix, fn, ctx);
        } else if (ends_with(path, suffix)) {
            struct shale_buf content = SHALE_BUF_INIT;

            golden_read(path, &content);
            fn(ctx, path, slice_of_buf(&content));
            shale_buf_fini(&content);
            count++;
        }
        free(list[i]);
    }
    free(list);
    return count;
}
