/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/temp_dir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char *temp_dir_new(void)
{
    const char *base = getenv("TMPDIR");
    char *path = NULL;

    if (asprintf(&path, "%s/shale-test-XXXXXX", base && *base ? base : "/tmp") < 0 || !mkdtemp(path)) {
        perror("temporary directory");
        abort();
    }
    return path;
}

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
    (void)sb, (void)type, (void)ftw;
    return remove(path);
}

void temp_dir_remove(char *dir)
{
    if (dir && nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
        perror(dir);
    free(dir);
}
