/* SPDX-License-Identifier: Apache-2.0 */
/* Google Cloud Storage, by exchanges that are written down in tests/s3/gcs. */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "lib/exchanges.h"
#include "object/store.h"
#include "object/store_retry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT "db/object"
#define MANIFEST "db/manifest/00000000000000000001.manifest"
#define PUT_ID "01HXXXXXXXXXXXXXXXXXXXXXX1"

struct replay {
    struct http_server *server;
    struct exchanges *exchanges;
    struct shale_store *s;
};

static struct shale_s3_options options(const char *endpoint)
{
    return (struct shale_s3_options){ .endpoint = endpoint, .access_key = "GOOGTESTKEY", .secret_key = "secret" };
}

static void open_with(struct replay *r, const char *name, const struct shale_s3_options *s3)
{
    const struct shale_store_options opt = { .s3 = s3 };
    static char file[512];
    char *path = NULL;

    snprintf(file, sizeof(file), "%s/tests/s3/gcs/%s.txt", getenv("SRCDIR") ? getenv("SRCDIR") : ".", name);
    r->exchanges = exchanges_load(file, r->server);
    assert_int_equal(shale_store_open_with("gs://shale-bucket/db", false, &opt, &r->s, &path), 0);
    assert_string_equal(path, "db");
    free(path);
}

static struct replay replay(const char *name)
{
    struct replay r = { .server = http_server_start() };
    struct shale_s3_options s3 = options(http_server_url(r.server));

    open_with(&r, name, &s3);
    return r;
}

static void replay_end(struct replay *r)
{
    exchanges_check(r->exchanges);
    shale_store_close(r->s);
    http_server_stop(r->server); /* its threads read the exchanges' bytes */
    exchanges_free(r->exchanges);
}

static void check_rc(int got, int want)
{
    if (got != want)
        fail_msg("%d instead of %d: %s", got, want, shale_errmsg());
    if (got < 0)
        print_message("%s\n", shale_errmsg());
}

static int create(struct shale_store *s)
{
    return store_put_with_id(s, MANIFEST, slice_str("ok"), SHALE_PUT_IF_ABSENT, PUT_ID);
}

static void a_put_creates(void **state)
{
    struct replay r = replay("put-won");

    (void)state;
    check_rc(create(r.s), 0);
    replay_end(&r);
}

static void a_put_finds_another_object(void **state)
{
    struct replay r = replay("put-lost");

    (void)state;
    check_rc(create(r.s), -EEXIST);
    replay_end(&r);
}

static void a_put_finds_its_own_object_after_a_lost_answer(void **state)
{
    static const struct store_retry_options opt = { .base_ms = 1, .cap_ms = 2 };
    struct replay r = replay("put-answer-lost");
    struct shale_store *patient;

    (void)state;
    assert_int_equal(store_retry_new(r.s, &opt, &patient), 0);
    check_rc(create(patient), 0);
    shale_store_close(patient);
    replay_end(&r);
}

static void objects_are_read(void **state)
{
    struct replay r = replay("get");
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    check_rc(shale_store_get(r.s, OBJECT, &b), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_str("0123456789")));
    shale_buf_fini(&b);
    replay_end(&r);
}

static void ranges_are_read(void **state)
{
    struct replay r = replay("range");
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    check_rc(shale_store_get_range(r.s, OBJECT, 2, 4, &b), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_str("2345")));
    check_rc(shale_store_get_range(r.s, OBJECT, 20, 10, &b), -ERANGE);
    shale_buf_fini(&b);
    replay_end(&r);
}

static void what_is_missing_is_told(void **state)
{
    struct replay r = replay("missing");
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_object_meta meta;

    (void)state;
    check_rc(shale_store_get(r.s, OBJECT, &b), -ENOENT);
    check_rc(shale_store_head(r.s, OBJECT, &meta), -ENOENT);
    replay_end(&r);
}

static int add_line(void *arg, const char *name, const struct shale_object_meta *meta)
{
    return buf_printf(arg, "%s %d %lld\n", name, (int)meta->size, (long long)meta->mtime_ms);
}

static void listings_go_on_page_by_page(void **state)
{
    struct replay r = replay("list");
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    check_rc(shale_store_list(r.s, "db/", "db/a", add_line, &b), 0);
    assert_string_equal((char *)b.data, "db/b 10 1795928400000\ndb/c=d 20 1795928401000\ndb/e 30 1795928402000\n");
    shale_buf_fini(&b);
    replay_end(&r);
}

static void objects_are_deleted(void **state)
{
    struct replay r = replay("delete");

    (void)state;
    check_rc(shale_store_delete(r.s, OBJECT), 0);
    check_rc(shale_store_delete(r.s, OBJECT), 0);
    replay_end(&r);
}

static const char *const two[] = { "db/a", "db/b" };

static void several_objects_are_deleted_at_once(void **state)
{
    struct replay r = replay("delete-many");

    (void)state;
    check_rc(shale_store_delete_many(r.s, two, 2), 0);
    replay_end(&r);
}

static void several_objects_are_deleted_singly_where_that_is_refused(void **state)
{
    struct replay r = replay("delete-many-refused");

    (void)state;
    check_rc(shale_store_delete_many(r.s, two, 2), 0);
    check_rc(shale_store_delete_many(r.s, two, 2), 0);
    replay_end(&r);
}

static int upload(struct shale_store *s)
{
    struct shale_upload *u;

    assert_int_equal(shale_upload_begin(s, OBJECT, &u), 0);
    store_upload_in_parts(u);
    assert_int_equal(shale_upload_write(u, slice_str("0123456789")), 0);
    return shale_upload_finish(u);
}

static void large_objects_go_up_in_parts(void **state)
{
    struct replay r = replay("upload");

    (void)state;
    check_rc(upload(r.s), 0);
    replay_end(&r);
}

static void an_upload_that_fails_is_aborted(void **state)
{
    struct replay r = replay("upload-aborted");

    (void)state;
    check_rc(upload(r.s), -EACCES);
    replay_end(&r);
}

static void it_may_ask_to_wait(void **state)
{
    struct replay r = replay("unavailable");
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    check_rc(shale_store_get(r.s, OBJECT, &b), SHALE_ETRANSIENT);
    assert_int_equal(store_retry_after_taken(), 7000);
    check_rc(shale_store_get(r.s, OBJECT, &b), SHALE_ETRANSIENT);
    assert_int_equal(store_retry_after_taken(), 0);
    replay_end(&r);
}

static void refusals_have_sentences(void **state)
{
    static const struct {
        const char *file;
        int rc;
        const char *says;
    } cases[] = {
        { "forbidden", -EACCES, "cannot read gs://shale-bucket/db/object: permission refused (403 AccessDenied)" },
        { "wrong-secret", -EACCES, "the secret key is not the one of access key GOOGTESTKEY" },
        { "unknown-key", -EACCES, "does not know access key GOOGTESTKEY" },
        { "no-bucket", -EIO, "there is no such bucket" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct replay r = replay(cases[i].file);
        struct shale_buf b = SHALE_BUF_INIT;

        check_rc(shale_store_get(r.s, OBJECT, &b), cases[i].rc);
        assert_non_null(strstr(shale_errmsg(), cases[i].says));
        replay_end(&r);
    }
}

static void without_keys_nothing_is_signed(void **state)
{
    struct replay r = { .server = http_server_start() };
    struct shale_s3_options s3 = { .endpoint = http_server_url(r.server), .anonymous = true };
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    open_with(&r, "anonymous", &s3);
    check_rc(shale_store_get(r.s, OBJECT, &b), -EACCES);
    replay_end(&r);
}

/* They are not Google's, and would go out in a header that it refuses. */
static void keys_with_a_session_token_are_refused(void **state)
{
    struct http_server *server = http_server_start();
    struct shale_s3_options s3 = options(http_server_url(server));
    const struct shale_store_options opt = { .s3 = &s3 };
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_store *s;
    char *path;

    (void)state;
    s3.session_token = "token";
    assert_int_equal(shale_store_open_with("gs://shale-bucket/db", false, &opt, &s, &path), 0);
    free(path);
    check_rc(shale_store_get(s, OBJECT, &b), -EACCES);
    assert_non_null(strstr(shale_errmsg(), "HMAC keys"));
    assert_int_equal(http_server_count(server), 0);
    shale_store_close(s);
    http_server_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_creates),
        cmocka_unit_test(a_put_finds_another_object),
        cmocka_unit_test(a_put_finds_its_own_object_after_a_lost_answer),
        cmocka_unit_test(objects_are_read),
        cmocka_unit_test(ranges_are_read),
        cmocka_unit_test(what_is_missing_is_told),
        cmocka_unit_test(listings_go_on_page_by_page),
        cmocka_unit_test(objects_are_deleted),
        cmocka_unit_test(several_objects_are_deleted_at_once),
        cmocka_unit_test(several_objects_are_deleted_singly_where_that_is_refused),
        cmocka_unit_test(large_objects_go_up_in_parts),
        cmocka_unit_test(an_upload_that_fails_is_aborted),
        cmocka_unit_test(it_may_ask_to_wait),
        cmocka_unit_test(refusals_have_sentences),
        cmocka_unit_test(without_keys_nothing_is_signed),
        cmocka_unit_test(keys_with_a_session_token_are_refused),
    };

    /* Nothing of who runs this may matter. */
    unsetenv("AWS_ENDPOINT_URL");
    unsetenv("AWS_ENDPOINT_URL_S3");
    unsetenv("AWS_PROFILE");
    unsetenv("http_proxy");
    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
