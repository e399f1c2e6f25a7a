/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes on stores that cannot hold one: they are neither made nor mounted, and nothing is left there. */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/slice.h"
#include "fs/core/fs.h"
#include "lib/store_lame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define URL "memory://probed/volume"

/* Every store that is opened by URL is lame in this way. */
static enum lame_way way;

int __real_shale_store_open(const char *url, bool create, struct shale_store **out, char **path);
int __wrap_shale_store_open(const char *url, bool create, struct shale_store **out, char **path);
int __wrap_shale_store_open_with(const char *url, bool create, const struct shale_store_options *opt,
                                 struct shale_store **out, char **path);

static struct shale_store *opened[64]; /* what the lame ones stand on; closed at the end */
static size_t n_opened;

int __wrap_shale_store_open(const char *url, bool create, struct shale_store **out, char **path)
{
    int rc = __real_shale_store_open(url, create, out, path);

    if (rc < 0)
        return rc;
    assert_true(n_opened < ARRAY_SIZE(opened));
    opened[n_opened++] = *out;
    *out = store_lame_new(*out, way);
    return 0;
}

int __wrap_shale_store_open_with(const char *url, bool create, const struct shale_store_options *opt,
                                 struct shale_store **out, char **path)
{
    (void)opt;
    return __wrap_shale_store_open(url, create, out, path);
}

static struct shale_store *keep; /* a store in memory lasts as long as somebody has it */

static int setup(void **state)
{
    char *path;

    (void)state;
    way = LAME_NOT;
    if (__real_shale_store_open(URL, true, &keep, &path) < 0)
        return -1;
    free(path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    while (n_opened > 0)
        shale_store_close(opened[--n_opened]);
    shale_store_close(keep);
    return 0;
}

static int count(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)meta;
    print_message("there is %s\n", name);
    ++*(unsigned *)arg;
    return 0;
}

static unsigned n_objects(void)
{
    unsigned n = 0;

    assert_int_equal(shale_store_list(keep, "", NULL, count, &n), 0);
    return n;
}

static unsigned n_warnings;

static void warn(const char *name, const char *text)
{
    print_message("%s: %s\n", name, text);
    n_warnings++;
}

static int format(void)
{
    struct fs_format_options opt;

    fs_format_options_init(&opt);
    n_warnings = 0;
    opt.warn = warn;
    return fs_format(URL, &opt);
}

static int mount(bool read_only, struct fs **fs)
{
    struct fs_options opt;

    fs_options_init(&opt);
    opt.read_only = read_only;
    return fs_open(URL, &opt, fs);
}

static void no_volume_is_made_where_none_can_be(void **state)
{
    static const struct {
        enum lame_way way;
        int rc;
        const char *says;
    } cases[] = {
        { LAME_OVERWRITES, -EOPNOTSUPP, "two mounts would overwrite each other's work" },
        { LAME_501, -EOPNOTSUPP, "501 NotImplemented" },
        { LAME_STALE_LIST, -EOPNOTSUPP, "listing" },
        { LAME_SHIFTED_RANGE, -EOPNOTSUPP, "ranges" },
        { LAME_NO_UPLOAD, -EOPNOTSUPP, "in parts" },
        { LAME_READ_ONLY, -EACCES, "permission refused" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        way = cases[i].way;
        assert_int_equal(format(), cases[i].rc);
        print_message("%s\n", shale_errmsg());
        assert_non_null(strstr(shale_errmsg(), cases[i].says));
        assert_int_equal(n_objects(), 0);
    }
}

static void a_store_that_only_warns_is_taken(void **state)
{
    struct fs *fs;

    (void)state;
    way = LAME_NO_PUT_ID;
    assert_int_equal(format(), 0);
    assert_int_equal(n_warnings, 1);
    assert_int_equal(mount(false, &fs), 0);
    assert_int_equal(fs_close(fs), 0);
}

/* What is served under the URL may have changed since the volume was made. */
static void a_store_that_overwrites_is_not_mounted(void **state)
{
    static const enum lame_way ways[] = { LAME_OVERWRITES, LAME_501 };
    struct fs *fs;
    unsigned n;

    (void)state;
    assert_int_equal(format(), 0);
    n = n_objects();
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        way = ways[i];
        assert_int_equal(mount(false, &fs), -EOPNOTSUPP);
        print_message("%s\n", shale_errmsg());
        assert_int_equal(n_objects(), n);
    }
    assert_non_null(strstr(shale_errmsg(), "501"));
    way = LAME_NOT;
    assert_int_equal(mount(false, &fs), 0);
    assert_int_equal(fs_close(fs), 0);
}

static void a_mount_that_only_reads_writes_nothing(void **state)
{
    struct fs *fs;
    unsigned n;

    (void)state;
    assert_int_equal(format(), 0);
    n = n_objects();
    way = LAME_READ_ONLY; /* any put would fail it */
    assert_int_equal(mount(true, &fs), 0);
    assert_int_equal(n_objects(), n);
    assert_int_equal(fs_close(fs), 0);
    assert_int_equal(n_objects(), n);
}

static void what_a_killed_probe_left_is_no_volume(void **state)
{
    (void)state;
    assert_int_equal(shale_store_put(keep, "volume/probe-01ARZ3NDEKTSV4RRFFQ69G5FAV-1", slice_str("x"),
                                     SHALE_PUT_IF_ABSENT), 0);
    assert_int_equal(format(), 0);
    assert_int_equal(format(), -EEXIST);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(no_volume_is_made_where_none_can_be),
        T(a_store_that_only_warns_is_taken),
        T(a_store_that_overwrites_is_not_mounted),
        T(a_mount_that_only_reads_writes_nothing),
        T(what_a_killed_probe_left_is_no_volume),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
