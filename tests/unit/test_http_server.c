/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scripted server against the engine's HTTP client: what the one does, the other has to see.
 */

#include "lib/check.h"

#include "base/buf.h"
#include "lib/http_server.h"
#include "net/http.h"

#include <stdio.h>

static struct http_server *server;
static struct http_client *client;

static int setup(void **state)
{
    const struct http_options opt = { .first_byte_ms = 300 };

    (void)state;
    server = http_server_start();
    return http_client_new(&opt, &client);
}

static int teardown(void **state)
{
    (void)state;
    http_client_free(client);
    http_server_stop(server);
    return 0;
}

static int run(struct http_exchange *x, enum http_method method, const char *path)
{
    *x = (struct http_exchange){ .method = method };
    assert_int_equal(buf_printf(&x->url, "%s%s", http_server_url(server), path), 0);
    return http_run(client, x);
}

static void rules_answer_in_order(void **state)
{
    const struct http_rule first = { .path = "/a", .times = 1, .status = 503, .headers = "Retry-After: 7\r\n" };
    const struct http_rule then = { .path = "/a", .method = "GET", .body = "hello" };
    struct http_exchange x;

    (void)state;
    http_server_add(server, &first);
    http_server_add(server, &then);
    assert_int_equal(run(&x, HTTP_GET, "/a?q=1"), 0);
    assert_int_equal(x.status, 503);
    assert_string_equal(http_response_header(&x, "retry-after"), "7");
    http_exchange_fini(&x);
    assert_int_equal(run(&x, HTTP_GET, "/a"), 0);
    assert_int_equal(x.status, 200);
    assert_int_equal(x.response.len, 5);
    http_exchange_fini(&x);
    assert_int_equal(run(&x, HTTP_DELETE, "/a"), 0);
    assert_int_equal(x.status, 404);
    http_exchange_fini(&x);
    assert_int_equal(http_server_count(server), 3);
    assert_string_equal(http_server_request(server, 0)->target, "/a?q=1");
    assert_string_equal(http_server_request(server, 2)->method, "DELETE");
    assert_int_equal(http_server_request(server, 2)->connection, 0);
}

static void requests_are_kept_whole(void **state)
{
    const struct http_rule rule = { .path = "/put/*", .status = 201 };
    struct http_exchange x = { .method = HTTP_PUT, .body = slice_str("the body") };
    char value[40];

    (void)state;
    http_server_add(server, &rule);
    assert_int_equal(buf_printf(&x.url, "%s/put/it", http_server_url(server)), 0);
    assert_int_equal(http_add_header(&x, "X-Thing: one: two"), 0);
    assert_int_equal(http_run(client, &x), 0);
    assert_int_equal(x.status, 201);
    assert_string_equal(http_server_request(server, 0)->body, "the body");
    assert_true(http_request_value(http_server_request(server, 0), "x-thing", value, sizeof(value)));
    assert_string_equal(value, "one: two");
    assert_false(http_request_value(http_server_request(server, 0), "x-other", value, sizeof(value)));
    http_exchange_fini(&x);
}

static void an_answer_can_break_or_stay_away(void **state)
{
    const struct http_rule cut = { .path = "/cut", .body = "0123456789", .cut = 4 };
    const struct http_rule drop = { .path = "/drop", .drop = true };
    const struct http_rule slow = { .path = "/slow", .delay_ms = 60000 };
    struct http_exchange x;

    (void)state;
    http_server_add(server, &cut);
    http_server_add(server, &drop);
    http_server_add(server, &slow);
    assert_int_equal(run(&x, HTTP_GET, "/cut"), SHALE_ETRANSIENT);
    assert_int_equal(x.response.len, 4);
    http_exchange_fini(&x);
    assert_int_equal(run(&x, HTTP_GET, "/drop"), SHALE_ETRANSIENT);
    http_exchange_fini(&x);
    assert_int_equal(run(&x, HTTP_GET, "/slow"), SHALE_ETRANSIENT);
    assert_non_null(strstr(x.why, "no answer within 300 ms"));
    http_exchange_fini(&x);
}

static void what_is_held_comes_when_released(void **state)
{
    const struct http_rule hold = { .path = "/hold", .hold = true, .body = "late" };
    struct http_exchange x = { .method = HTTP_GET };

    (void)state;
    http_server_add(server, &hold);
    assert_int_equal(buf_printf(&x.url, "%s/hold", http_server_url(server)), 0);
    http_submit(client, &x);
    assert_true(http_server_wait(server, 1));
    assert_false(http_is_done(client, &x));
    http_server_release(server);
    http_wait(client, &x);
    assert_int_equal(x.rc, 0);
    assert_memory_equal(x.response.data, "late", 4);
    http_exchange_fini(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rules_answer_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(requests_are_kept_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(an_answer_can_break_or_stay_away, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_held_comes_when_released, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
