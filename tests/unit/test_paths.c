/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/ulid.h"
#include "object/paths.h"

#include <errno.h>
#include <shale/error.h>

#define ULID "01J79C21YKR31J2BS1EFXJZ7MR"

static void names_are_those_of_slatedb(void **state)
{
    char out[PATH_NAME_MAX];
    struct shale_ulid id;

    (void)state;
    assert_int_equal(ulid_parse(ULID, strlen(ULID), &id), 0);
    assert_int_equal(path_manifest("mydb", 7, out), 0);
    assert_string_equal(out, "mydb/manifest/00000000000000000007.manifest");
    assert_int_equal(path_compactions("mydb", 3, out), 0);
    assert_string_equal(out, "mydb/compactions/00000000000000000003.compactions");
    assert_int_equal(path_wal("mydb", UINT64_MAX, out), 0);
    assert_string_equal(out, "mydb/wal/18446744073709551615.sst");
    assert_int_equal(path_sst("mydb", id, out), 0);
    assert_string_equal(out, "mydb/compacted/" ULID ".sst");
    assert_int_equal(path_dir("a/b", PATH_WAL, out), 0);
    assert_string_equal(out, "a/b/wal/");
}

static void the_root_may_be_empty(void **state)
{
    char out[PATH_NAME_MAX];
    uint64_t id = 0;

    (void)state;
    assert_int_equal(path_wal("", 1, out), 0);
    assert_string_equal(out, "wal/00000000000000000001.sst");
    assert_true(path_parse_numbered("", PATH_WAL, out, &id));
    assert_int_equal(id, 1);
    assert_int_equal(path_dir("", PATH_COMPACTED, out), 0);
    assert_string_equal(out, "compacted/");
    assert_int_equal(path_sst("", (struct shale_ulid){ 0, 1 }, out), 0);
    assert_string_equal(out, "compacted/00000000000000000000000001.sst");
}

static void roots_are_checked(void **state)
{
    static const char *const bad[] = { "/a", "a/", "a//b", "a/../b", ".", "a b", "a#1", "a[b" };
    char out[PATH_NAME_MAX] = "untouched";
    char longest[PATH_ROOT_MAX + 2];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        print_message("%s\n", bad[i]);
        assert_int_equal(path_manifest(bad[i], 1, out), -EINVAL);
        assert_int_equal(path_sst(bad[i], (struct shale_ulid){ 0, 1 }, out), -EINVAL);
        assert_int_equal(path_dir(bad[i], PATH_WAL, out), -EINVAL);
        assert_non_null(strstr(shale_errmsg(), bad[i]));
    }
    assert_string_equal(out, "untouched");
    memset(longest, 'r', sizeof(longest));
    for (size_t i = 100; i < sizeof(longest); i += 100)
        longest[i] = '/';
    longest[PATH_ROOT_MAX + 1] = '\0';
    assert_int_equal(path_check_root(longest), -EINVAL);
    longest[PATH_ROOT_MAX] = '\0';
    assert_int_equal(path_compactions(longest, UINT64_MAX, out), 0);
    assert_int_equal(strlen(out), PATH_ROOT_MAX + strlen("/compactions/.compactions") + 20);
}

static const struct {
    const char *name;
    enum path_kind kind;
    int64_t want; /* -1: refused */
} numbered[] = {
    { "db/manifest/00000000000000000007.manifest", PATH_MANIFEST, 7 },
    { "db/manifest/7.manifest", PATH_MANIFEST, 7 },
    { "db/manifest/+7.manifest", PATH_MANIFEST, 7 },
    { "db/manifest/7.x.manifest", PATH_MANIFEST, 7 },
    { "db/manifest/7.manifest.x", PATH_MANIFEST, -1 },
    { "db/manifest/7", PATH_MANIFEST, -1 },
    { "db/manifest/7.compactions", PATH_MANIFEST, -1 },
    { "db/manifest/x.manifest", PATH_MANIFEST, -1 },
    { "db/manifest/.manifest", PATH_MANIFEST, -1 },
    { "db/manifest/+.manifest", PATH_MANIFEST, -1 },
    { "db/manifest/-7.manifest", PATH_MANIFEST, -1 },
    { "db/manifest/18446744073709551616.manifest", PATH_MANIFEST, -1 },
    { "db/manifest/99999999999999999999.manifest", PATH_MANIFEST, -1 },
    { "db/manifest/a/7.manifest", PATH_MANIFEST, -1 },
    { "db/manifest/", PATH_MANIFEST, -1 },
    { "db/manifest", PATH_MANIFEST, -1 },
    { "dbx/manifest/7.manifest", PATH_MANIFEST, -1 },
    { "db/manifestx/7.manifest", PATH_MANIFEST, -1 },
    { "db/wal/7.manifest", PATH_MANIFEST, -1 },
    { "db/compactions/00000000000000000003.compactions", PATH_COMPACTIONS, 3 },
    { "db/compactions/3.manifest", PATH_COMPACTIONS, -1 },
    { "db/wal/00000000000000000009.sst", PATH_WAL, 9 },
    { "db/wal/00000000000000000009.tmp", PATH_WAL, 9 }, /* the extension does not count */
    { "db/wal/9", PATH_WAL, 9 },
    { "db/wal/9.d/x", PATH_WAL, 9 },
    { "db/wal/9/x.sst", PATH_WAL, 9 },
    { "db/wal/x/9.sst", PATH_WAL, -1 },
    { "db/wal/.sst", PATH_WAL, -1 },
    { "db/wal/9x.sst", PATH_WAL, -1 },
    { "db/compacted/9.sst", PATH_COMPACTED, -1 },
};

static void numbers_are_accepted_as_slatedb_accepts_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(numbered); i++) {
        uint64_t id = 4711;
        bool ok = path_parse_numbered("db", numbered[i].kind, numbered[i].name, &id);

        print_message("%s\n", numbered[i].name);
        assert_int_equal(ok, numbered[i].want >= 0);
        assert_int_equal(id, ok ? (uint64_t)numbered[i].want : 4711);
    }
}

static void every_number_survives_the_round_trip(void **state)
{
    static const uint64_t ids[] = { 0, 1, 9999999999, UINT64_MAX - 1, UINT64_MAX };
    char out[PATH_NAME_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        uint64_t id = 4711;

        assert_int_equal(path_manifest("a/b", ids[i], out), 0);
        assert_true(path_parse_numbered("a/b", PATH_MANIFEST, out, &id));
        assert_true(id == ids[i]);
        assert_int_equal(path_compactions("a/b", ids[i], out), 0);
        assert_true(path_parse_numbered("a/b", PATH_COMPACTIONS, out, &id));
        assert_true(id == ids[i]);
    }
}

static const struct {
    const char *name;
    bool want;
} ulids[] = {
    { "db/compacted/" ULID ".sst", true },
    { "db/compacted/" ULID ".tmp", true },
    { "db/compacted/" ULID, true },
    { "db/compacted/" ULID "/x", true },
    { "db/compacted/x/" ULID ".sst", false },
    { "db/compacted/" ULID "X.sst", false },
    { "db/compacted/U1J79C21YKR31J2BS1EFXJZ7MR.sst", false },
    { "db/compacted/.sst", false },
    { "db/wal/" ULID ".sst", false },
    { "compacted/" ULID ".sst", false },
};

static void ulids_are_accepted_as_slatedb_accepts_them(void **state)
{
    struct shale_ulid want;

    (void)state;
    assert_int_equal(ulid_parse(ULID, strlen(ULID), &want), 0);
    for (size_t i = 0; i < ARRAY_SIZE(ulids); i++) {
        struct shale_ulid id = { 0, 0 };

        print_message("%s\n", ulids[i].name);
        assert_int_equal(path_parse_ulid("db", ulids[i].name, &id), ulids[i].want);
        assert_true(ulid_eq(id, ulids[i].want ? want : (struct shale_ulid){ 0, 0 }));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_slatedb),
        cmocka_unit_test(the_root_may_be_empty),
        cmocka_unit_test(roots_are_checked),
        cmocka_unit_test(numbers_are_accepted_as_slatedb_accepts_them),
        cmocka_unit_test(every_number_survives_the_round_trip),
        cmocka_unit_test(ulids_are_accepted_as_slatedb_accepts_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
