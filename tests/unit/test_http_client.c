/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers, proxies and networks that do not do as they should, and what the HTTP client makes of them.
 */

#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "lib/http_server.h"
#include "lib/temp_dir.h"
#include "net/http.h"
#include "net/http_pace.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WAITS_MS 500 /* how long a client without patience waits for the first byte, and for the rate */
#define RATE 1000

static struct http_server *server;
static struct http_client *client;

static void make_client(const char *ca_file)
{
    const struct http_options opt = { .ca_file = ca_file };

    assert_int_equal(http_client_new(&opt, &client), 0);
}

/* One without patience, for answers that do not come: a busy machine may keep others from coming in time. */
static void make_quick_client(void)
{
    const struct http_options opt = { .first_byte_ms = WAITS_MS, .stall_ms = WAITS_MS, .min_rate = RATE };

    http_client_free(client);
    assert_int_equal(http_client_new(&opt, &client), 0);
}

static int setup(void **state)
{
    (void)state;
    server = http_server_start();
    make_client(NULL);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = { "http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "all_proxy" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        unsetenv(names[i]);
    http_client_free(client);
    http_server_stop(server);
    client = NULL;
    server = NULL;
    return 0;
}

static int run_at(struct http_exchange *x, enum http_method method, const char *origin, const char *path)
{
    *x = (struct http_exchange){ .method = method };
    assert_int_equal(buf_printf(&x->url, "%s%s", origin, path), 0);
    if (method == HTTP_PUT)
        x->body = slice_str("what is sent");
    return http_run(client, x);
}

/* ---- answers ---- */

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define INTERIM "HTTP/1.1 100 Continue\r\n\r\n"

struct bad_answer {
    const char *name;
    struct http_rule rule;
    int rc;
    const char *says; /* in why, or the body of a success */
};

/* Of these a client gets tired. */
static const struct bad_answer late[] = {
    { "it never comes", { .hold = true }, SHALE_ETRANSIENT, "no answer within 500 ms" },
    { "nothing behind the header", { .raw = true, .body = OK_HEAD "Content-Length: 5\r\n\r\n" }, SHALE_ETRANSIENT,
      "nothing moved for" },
    { "a body that trickles", { .body_len = 2000, .drip_ms = 20 }, SHALE_ETRANSIENT, "bytes moved in" },
    { "a header that trickles", { .raw = true, .body = OK_HEAD "X-Thing: " OK_HEAD, .drip_ms = 100 }, SHALE_ETRANSIENT,
      "no answer within" },
    { "one header after the other", { .raw = true, .body = OK_HEAD "X-Thing: a\r\n", .endless = true, .drip_ms = 1 },
      SHALE_ETRANSIENT, "" },
    { "interim answers without end", { .raw = true, .body = INTERIM, .endless = true, .drip_ms = 1 }, SHALE_ETRANSIENT,
      "no answer within" },
    { "chunks without end", { .raw = true, .body = OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" },
      SHALE_ETRANSIENT, "nothing moved for" },
};

static const struct bad_answer bad[] = {
    { "the connection is closed instead", { .drop = true }, SHALE_ETRANSIENT, "" },
    { "half a body", { .body = "hello", .cut = 2 }, SHALE_ETRANSIENT, "" },
    { "no body behind the header", { .raw = true, .body = OK_HEAD "Content-Length: 5\r\n\r\n", .close = true },
      SHALE_ETRANSIENT, "" },
    { "an interim answer nobody asked for", { .raw = true, .body = INTERIM OK_HEAD "Content-Length: 2\r\n\r\nok" }, 0,
      "ok" },
    { "a length that is too great", { .raw = true, .body = OK_HEAD "Content-Length: 9\r\n\r\nhello", .close = true },
      SHALE_ETRANSIENT, "" },
    { "a length that is too small", { .raw = true, .body = OK_HEAD "Content-Length: 2\r\n\r\nhello" }, 0, "he" },
    { "a length that is none", { .raw = true, .body = OK_HEAD "Content-Length: many\r\n\r\nhello", .close = true },
      SHALE_ETRANSIENT, "" },
    { "chunks that break off",
      { .raw = true, .body = OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", .close = true },
      SHALE_ETRANSIENT, "" },
    { "chunks that are none", { .raw = true, .body = OK_HEAD "Transfer-Encoding: chunked\r\n\r\nhello\r\n" },
      SHALE_ETRANSIENT, "" },
    { "HTTP/1.0", { .raw = true, .body = "HTTP/1.0 200 OK\r\n\r\nhello", .close = true }, 0, "hello" },
    { "another protocol", { .raw = true, .body = "220 smtp.test ESMTP\r\n", .close = true }, SHALE_ETRANSIENT,
      "if the server speaks TLS, the endpoint begins with https://" },
    { "more than was asked for", { .body_len = 70000 }, -EIO, "longer than 65536 bytes" },
};

static void check_answers(const struct bad_answer *a, size_t n)
{
    static char zeros[70000];

    for (size_t i = 0; i < n; i++) {
        struct http_rule rule = a[i].rule;
        struct http_exchange x;
        int64_t start = clock_mono_ms();

        print_message("%s\n", a[i].name);
        rule.body = rule.body ? rule.body : zeros;
        http_server_add(server, &rule);
        assert_int_equal(run_at(&x, i % 2 ? HTTP_PUT : HTTP_GET, http_server_url(server), "/a"), a[i].rc);
        assert_true(clock_mono_ms() - start < 20000);
        if (x.rc < 0)
            assert_non_null(strstr(x.why, a[i].says));
        else
            assert_memory_equal(x.response.data, a[i].says, strlen(a[i].says));
        http_exchange_fini(&x);
        http_server_clear(server);
    }
}

static void answers_that_do_not_come_are_given_up(void **state)
{
    (void)state;
    make_quick_client();
    check_answers(late, ARRAY_SIZE(late));
}

static void bad_answers_are_told_apart(void **state)
{
    (void)state;
    check_answers(bad, ARRAY_SIZE(bad));
}

static void a_header_without_end_is_cut_off(void **state)
{
    static char head[200000] = OK_HEAD;
    const struct http_rule rule = { .raw = true, .body = head };
    struct http_exchange x;

    (void)state;
    for (size_t n = strlen(head); n + 30 < sizeof(head); n = strlen(head))
        snprintf(head + n, sizeof(head) - n, "X-Thing: %zu\r\n", n);
    http_server_add(server, &rule);
    assert_int_equal(run_at(&x, HTTP_GET, http_server_url(server), "/a"), -EIO);
    assert_string_equal(x.why, "the answer's header is too long");
    http_exchange_fini(&x);
}

/* A server that closes what it had promised to keep, just when the next request is on its way. */
static void a_connection_closed_between_requests_is_made_anew(void **state)
{
    const struct http_rule rule = { .body = "hello", .close = true };

    (void)state;
    http_server_add(server, &rule);
    for (unsigned i = 0; i < 20; i++) {
        struct http_exchange x;

        assert_int_equal(run_at(&x, i % 2 ? HTTP_PUT : HTTP_GET, http_server_url(server), "/a"), 0);
        assert_int_equal(x.response.len, 5);
        http_exchange_fini(&x);
    }
}

#define SOURCE_LEN 300000

/* Byte i is i % 251; short answers now and then. With arg there is no memory from the middle on. */
static size_t read_source(void *arg, uint64_t at, uint8_t *out, size_t n)
{
    if (arg && at > SOURCE_LEN / 2)
        return 0;
    n = n > 10007 ? 10007 : n;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)((at + i) % 251);
    return n;
}

static int run_source(struct http_exchange *x, void *arg)
{
    *x = (struct http_exchange){ .method = HTTP_PUT, .source = { .len = SOURCE_LEN, .read = read_source, .arg = arg } };
    assert_int_equal(buf_printf(&x->url, "%s/a", http_server_url(server)), 0);
    return http_run(client, x);
}

/* Also over connections that turn out to be closed, when libcurl begins again. */
static void a_body_is_made_while_it_goes_out(void **state)
{
    const struct http_rule rule = { .body = "hello", .close = true };
    struct http_exchange x;

    (void)state;
    http_server_add(server, &rule);
    for (unsigned i = 0; i < 20; i++) {
        const struct http_request *r;

        assert_int_equal(run_source(&x, NULL), 0);
        assert_int_equal(x.bytes_out, SOURCE_LEN);
        r = http_server_request(server, http_server_count(server) - 1);
        assert_string_equal(r->method, "PUT");
        assert_int_equal(r->body_len, SOURCE_LEN);
        for (size_t k = 0; k < SOURCE_LEN; k++)
            if ((uint8_t)r->body[k] != k % 251)
                fail_msg("byte %zu of request %u", k, i);
        http_exchange_fini(&x);
    }
}

static void a_body_that_cannot_be_made_ends_its_request(void **state)
{
    const struct http_rule rule = { .body = "hello" };
    struct http_exchange x;

    (void)state;
    http_server_add(server, &rule);
    assert_int_equal(run_source(&x, &x), -ENOMEM);
    assert_string_equal(x.why, "out of memory");
    http_exchange_fini(&x);
    assert_int_equal(run_source(&x, NULL), 0);
    http_exchange_fini(&x);
}

/* Only silence ends what a store is known to answer byte by byte. */
static void an_answer_may_be_allowed_to_drip(void **state)
{
    const struct http_rule rule = { .body = "hello", .drip_ms = WAITS_MS / 4 };
    struct http_exchange x = { .drips = true };

    (void)state;
    make_quick_client();
    http_server_add(server, &rule);
    assert_int_equal(buf_printf(&x.url, "%s/a", http_server_url(server)), 0);
    assert_int_equal(http_run(client, &x), 0);
    assert_int_equal(x.response.len, 5);
    http_exchange_fini(&x);
}

/* ---- the pace, by itself ---- */

static void a_request_has_to_get_out_at_the_rate(void **state)
{
    const struct http_options opt = { .first_byte_ms = 300, .stall_ms = 100, .min_rate = 1000 };
    static const uint8_t body[10000];
    struct http_exchange x = { .body = slice_of(body, sizeof(body)) };
    struct http_pace p;

    (void)state;
    http_pace_begin(&p, &opt, &x, 1000);
    assert_int_equal(http_pace_check(&p, &x, 0, false, 1099), 0);
    assert_int_equal(http_pace_check(&p, &x, 100, false, 1100), 0); /* the rate, exactly */
    assert_int_equal(http_pace_check(&p, &x, 199, false, 1199), 0);
    assert_int_equal(http_pace_check(&p, &x, 199, false, 1200), SHALE_ETRANSIENT);
    assert_string_equal(x.why, "only 99 bytes moved in 100 ms");
    /* once it is out, the time for the answer begins */
    http_pace_begin(&p, &opt, &x, 1000);
    assert_int_equal(http_pace_check(&p, &x, 10000, true, 1090), 0);
    assert_int_equal(http_pace_check(&p, &x, 10000, true, 1694), 0);
    assert_int_equal(http_pace_check(&p, &x, 10000, true, 1695), SHALE_ETRANSIENT);
    assert_string_equal(x.why, "no answer within 605 ms"); /* 305 for 10000 bytes that the kernel may still hold */
    /* and with the answer the rate counts again */
    http_pace_begin(&p, &opt, &x, 1000);
    assert_int_equal(http_pace_check(&p, &x, 10000, true, 1090), 0);
    assert_int_equal(http_pace_check(&p, &x, 10000, false, 1380), 0);
    assert_int_equal(http_pace_check(&p, &x, 10000, true, 1479), 0);
    assert_int_equal(http_pace_check(&p, &x, 10000, true, 1480), SHALE_ETRANSIENT);
    assert_string_equal(x.why, "nothing moved for 100 ms");
    /* sent again from the start by libcurl */
    http_pace_begin(&p, &opt, &x, 1000);
    assert_int_equal(http_pace_check(&p, &x, 9000, false, 1100), 0);
    assert_int_equal(http_pace_check(&p, &x, 10, false, 1200), 0);
    assert_int_equal(http_pace_check(&p, &x, 20, false, 1300), SHALE_ETRANSIENT);
}

/* The table in http.h. */
static void each_class_has_its_defaults(void **state)
{
    static const struct {
        uint32_t limit;
        int64_t first, stall;
        uint64_t bytes;
    } want[IO_CLASSES] = {
        { 64, 30000, 20000, 20480 }, { 4, 30000, 20000, 20480 }, { 16, 60000, 30000, 15360 },
        { 16, 60000, 30000, 15360 }, { 4, 60000, 30000, 15360 },
    };
    const struct http_options none = { 0 }, silent = { .min_rate = -1 };

    (void)state;
    for (int i = 0; i < IO_CLASSES; i++) {
        struct http_pace_rules r = http_pace_rules_of(&none, (enum io_class)i);

        assert_int_equal(http_pace_limit_of(&none, (enum io_class)i), want[i].limit);
        assert_int_equal(r.first_byte_ms, want[i].first);
        assert_int_equal(r.stall_ms, want[i].stall);
        assert_int_equal(r.min_bytes, want[i].bytes);
        assert_int_equal(http_pace_rules_of(&silent, (enum io_class)i).min_bytes, 1);
    }
}

/* ---- classes ---- */

#define MANY 100

static void submit_to(struct http_exchange *x, enum io_class cls, const char *path)
{
    *x = (struct http_exchange){ .cls = cls };
    assert_int_equal(buf_printf(&x->url, "%s%s", http_server_url(server), path), 0);
    http_submit(client, x);
}

/* As many of each background class as may are on the wire, and hang; more wait in line. */
static void background_work_holds_nobody_up(void **state)
{
    static const enum io_class background[] = { IO_UPLOAD, IO_COMPACTION, IO_GC };
    const struct http_options opt = { .first_byte_ms = 600000 };
    const struct http_rule held = { .path = "/background", .hold = true }, rule = { .body = "hello" };
    static struct http_exchange x[3][MANY];
    struct http_exchange wal, get;

    (void)state;
    http_client_free(client);
    assert_int_equal(http_client_new(&opt, &client), 0);
    http_server_add(server, &held);
    http_server_add(server, &rule);
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < MANY; i++)
            submit_to(&x[c][i], background[c], "/background");
    assert_true(http_server_wait(server, 16 + 16 + 4));
    for (int i = 0; i < 10; i++) {
        submit_to(&wal, IO_WAL, "/wal");
        submit_to(&get, IO_FOREGROUND, "/get");
        http_wait(client, &wal);
        http_wait(client, &get);
        assert_int_equal(wal.rc, 0);
        assert_int_equal(get.rc, 0);
        http_exchange_fini(&wal);
        http_exchange_fini(&get);
    }
    assert_int_equal(http_server_count(server), 16 + 16 + 4 + 20); /* and not one more of the others went out */
    assert_false(http_is_done(client, &x[0][0]));
    http_server_clear(server);
    http_server_add(server, &rule);
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < MANY; i++) {
            http_wait(client, &x[c][i]);
            assert_int_equal(x[c][i].rc, 0);
            http_exchange_fini(&x[c][i]);
        }
    }
}

/* ---- no server, and TLS ---- */

static void check_failure(const char *origin, int rc, const char *says)
{
    struct http_exchange x;

    assert_int_equal(run_at(&x, HTTP_GET, origin, "/a"), rc);
    print_message("%s\n", x.why);
    assert_non_null(strstr(x.why, says));
    assert_null(strchr(x.why, '\n'));
    http_exchange_fini(&x);
}

static void who_is_not_there_is_told(void **state)
{
    char url[60], tls_url[80];

    (void)state;
    snprintf(url, sizeof(url), "%s", http_server_url(server));
    snprintf(tls_url, sizeof(tls_url), "https%s", url + 4);
    check_failure(tls_url, SHALE_ETRANSIENT, "the endpoint begins with http://");
    http_server_stop(server);
    server = NULL;
    check_failure(url, SHALE_ETRANSIENT, "check the endpoint's name and port, and whether the server runs");
    check_failure("http://no-such-host.invalid", SHALE_ETRANSIENT, "check the endpoint's name and this host's DNS");
    check_failure("ftp://127.0.0.1", -EINVAL, "");
}

/* Names of hosts that begin so are looked up for as long as names_hang; libcurl does so in a thread of its own. */
#define HANGS "hangs."
#define NAMES_HANG_MAX_MS 60000

static _Atomic bool names_hang;

__attribute__((visibility("default")))
int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict out)
{
    typeof(&getaddrinfo) real = (typeof(&getaddrinfo))dlsym(RTLD_NEXT, "getaddrinfo");
    int64_t end = clock_mono_ms() + NAMES_HANG_MAX_MS;

    if (!node || strncmp(node, HANGS, strlen(HANGS)) != 0)
        return real(node, service, hints, out);
    while (names_hang && clock_mono_ms() < end)
        usleep(1000);
    return EAI_AGAIN;
}

/* As without a network: resolvers take half a minute and more, in which all else has to go on, and a close to end. */
static void a_name_server_that_hangs_holds_nobody_up(void **state)
{
    const struct http_options opt = { .connect_ms = 300 };
    const struct http_rule rule = { .body = "hello" };
    int64_t start = clock_mono_ms();
    struct http_exchange x;

    (void)state;
    names_hang = true;
    http_client_free(client);
    assert_int_equal(http_client_new(&opt, &client), 0);
    http_server_add(server, &rule);
    check_failure("http://" HANGS "test", SHALE_ETRANSIENT, "Resolving timed out after");
    assert_int_equal(run_at(&x, HTTP_GET, http_server_url(server), "/a"), 0);
    http_exchange_fini(&x);
    http_client_free(client);
    client = NULL;
    assert_true(clock_mono_ms() - start < NAMES_HANG_MAX_MS / 2);
    names_hang = false;
}

static struct http_tls tls;
static char *dir, ca_file[200];

static void start_tls(const char *name, int days)
{
    http_server_stop(server);
    http_client_free(client);
    dir = temp_dir_new();
    snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", dir);
    http_tls_init(&tls, name, days, ca_file);
    server = http_server_start_tls(&tls);
    make_client(ca_file);
}

static int teardown_tls(void **state)
{
    teardown(state);
    http_tls_fini(&tls);
    temp_dir_remove(dir);
    return 0;
}

static void tls_is_spoken(void **state)
{
    const struct http_rule rule = { .body = "hello" };
    struct http_exchange x;

    (void)state;
    start_tls("IP:127.0.0.1", 100);
    http_server_add(server, &rule);
    assert_int_equal(run_at(&x, HTTP_PUT, http_server_url(server), "/a"), 0);
    assert_int_equal(x.response.len, 5);
    http_exchange_fini(&x);
}

static void a_certificate_of_another_is_refused(void **state)
{
    (void)state;
    start_tls("DNS:other.test", 100);
    check_failure(http_server_url(server), -EIO, "the certificate is another host's: check the endpoint's name");
}

static void an_expired_certificate_is_refused(void **state)
{
    (void)state;
    start_tls("IP:127.0.0.1", -1);
    check_failure(http_server_url(server), -EIO, "check this host's clock, then the server's certificate");
}

static void an_authority_that_is_not_trusted_is_refused(void **state)
{
    (void)state;
    start_tls("IP:127.0.0.1", 100);
    http_client_free(client);
    make_client(NULL);
    check_failure(http_server_url(server), -EIO, "give the certificate of its authority as the CA file");
    http_client_free(client);
    make_client("/nonexistent/ca.pem");
    check_failure(http_server_url(server), -EINVAL, "the CA file cannot be read");
}

static void tls_where_none_is_expected_is_told(void **state)
{
    char url[80];

    (void)state;
    start_tls("IP:127.0.0.1", 100);
    snprintf(url, sizeof(url), "http%s", http_server_url(server) + 5);
    check_failure(url, SHALE_ETRANSIENT, "if the server speaks TLS, the endpoint begins with https://");
}

/* ---- proxies ---- */

static void a_proxy_forwards_what_is_not_secret(void **state)
{
    const struct http_rule rule = { .path = "http://store.invalid/*", .body = "hello" };
    const struct http_rule own = { .path = "/own", .body = "my own" };
    struct http_exchange x;

    (void)state;
    setenv("http_proxy", http_server_url(server), 1);
    http_server_add(server, &rule);
    http_server_add(server, &own);
    assert_int_equal(run_at(&x, HTTP_PUT, "http://store.invalid", "/a"), 0);
    assert_int_equal(x.response.len, 5);
    assert_string_equal(http_server_request(server, 0)->target, "http://store.invalid/a");
    http_exchange_fini(&x);
    setenv("no_proxy", "localhost,127.0.0.1", 1);
    assert_int_equal(run_at(&x, HTTP_GET, http_server_url(server), "/own"), 0);
    assert_string_equal(http_server_request(server, 1)->target, "/own");
    assert_int_equal(x.response.len, 6);
    http_exchange_fini(&x);
}

static void start_proxy(const char *name)
{
    start_tls(name, 100);
    http_server_stop(server);
    server = http_server_start_proxy(&tls);
    setenv("https_proxy", http_server_url(server), 1);
}

static void a_proxy_makes_tunnels(void **state)
{
    const struct http_rule connect = { .method = "CONNECT" }, rule = { .path = "/a", .body = "hello" };
    struct http_exchange x;

    (void)state;
    start_proxy("DNS:store.invalid");
    http_server_add(server, &connect);
    http_server_add(server, &rule);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run_at(&x, HTTP_PUT, "https://store.invalid", "/a"), 0);
        assert_int_equal(x.response.len, 5);
        http_exchange_fini(&x);
    }
    assert_string_equal(http_server_request(server, 0)->target, "store.invalid:443");
    assert_int_equal(http_server_count(server), 3); /* one tunnel */
}

static void a_proxy_that_refuses_is_told(void **state)
{
    const struct http_rule login = { .method = "CONNECT", .status = 407, .times = 1 };
    const struct http_rule forbidden = { .method = "CONNECT", .status = 403, .times = 1 };
    const struct http_rule down = { .method = "CONNECT", .status = 502 };

    (void)state;
    start_proxy("DNS:store.invalid");
    http_server_add(server, &login);
    http_server_add(server, &forbidden);
    http_server_add(server, &down);
    check_failure("https://store.invalid", SHALE_ETRANSIENT, "the proxy answers 407; give its URL a login");
    check_failure("https://store.invalid", SHALE_ETRANSIENT, "the proxy answers 403 instead of connecting");
    check_failure("https://store.invalid", SHALE_ETRANSIENT, "the proxy answers 502 instead of connecting");
}

static void a_proxy_that_is_none_is_told_without_its_password(void **state)
{
    static const char *const proxies[] = { "http://user:HUSH@no-such-proxy.invalid:1", "gopher://user:HUSH@127.0.0.1",
                                           "http://user:HUSH@127.0.0.1:70000", "http://user:HUSH@127.0.0.1:1" };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(proxies); i++) {
        struct http_exchange x;

        setenv("http_proxy", proxies[i], 1);
        assert_int_equal(run_at(&x, HTTP_GET, "http://store.invalid", "/a"), SHALE_ETRANSIENT);
        print_message("%s\n", x.why);
        assert_null(strstr(x.why, "HUSH"));
        http_exchange_fini(&x);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TLS(name) cmocka_unit_test_setup_teardown(name, setup, teardown_tls)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(answers_that_do_not_come_are_given_up),
        T(bad_answers_are_told_apart),
        T(a_header_without_end_is_cut_off),
        T(a_connection_closed_between_requests_is_made_anew),
        T(a_body_is_made_while_it_goes_out),
        T(a_body_that_cannot_be_made_ends_its_request),
        T(an_answer_may_be_allowed_to_drip),
        T(a_request_has_to_get_out_at_the_rate),
        T(each_class_has_its_defaults),
        T(background_work_holds_nobody_up),
        T(who_is_not_there_is_told),
        T(a_name_server_that_hangs_holds_nobody_up),
        TLS(tls_is_spoken),
        TLS(a_certificate_of_another_is_refused),
        TLS(an_expired_certificate_is_refused),
        TLS(an_authority_that_is_not_trusted_is_refused),
        TLS(tls_where_none_is_expected_is_told),
        T(a_proxy_forwards_what_is_not_secret),
        TLS(a_proxy_makes_tunnels),
        TLS(a_proxy_that_refuses_is_told),
        T(a_proxy_that_is_none_is_told_without_its_password),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
