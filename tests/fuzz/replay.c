/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Feeds files, and the files of directories, to a fuzz target: it stands in for libFuzzer in ordinary builds, so that
 * make check replays the corpora. Without arguments it replays the corpus of the target, whose name is the program's.
 * Fails when there is nothing to replay.
 */

/* Each input gets a block of its own length, so that a sanitizer sees the smallest step outside. */
static int replay_file(const char *path, size_t len)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(len ? len : 1);

    if (!f || !data || fread(data, 1, len, f) != len) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    fclose(f);
    (void)LLVMFuzzerTestOneInput(data, len); /* always 0 */
    free(data);
    return 1;
}

static int replay(const char *path)
{
    char child[4096];
    struct dirent *e;
    struct stat st;
    int count = 0;
    DIR *d;

    if (stat(path, &st) < 0) {
        fprintf(stderr, "cannot find %s: %s\n", path, strerror(errno));
        exit(1);
    }
    if (!S_ISDIR(st.st_mode)) {
        printf("%s\n", path);
        fflush(stdout);
        return replay_file(path, (size_t)st.st_size);
    }
    d = opendir(path);
    while (d && (e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(child, sizeof(child), "%s/%s", path, e->d_name);
        count += replay(child);
    }
    if (d)
        closedir(d);
    return count;
}

int main(int argc, char **argv)
{
    const char *src = getenv("SRCDIR"), *name = strrchr(argv[0], '/');
    char corpus[4096];
    int count = 0;

    name = name ? name + 1 : argv[0];
    if (strncmp(name, "lt-", 3) == 0)
        name += 3;
    snprintf(corpus, sizeof(corpus), "%s/tests/fuzz/corpus/%s", src ? src : ".", name);
    if (argc < 2)
        count = replay(corpus);
    for (int i = 1; i < argc; i++)
        count += replay(argv[i]);
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 1;
}
