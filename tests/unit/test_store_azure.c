/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Azure Blob Storage against a scripted server: what is sent, what answers mean, lost replies, listings, and where
 * account and keys come from. Sentences and log lines are kept, and looked through for secrets in the end.
 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "lib/heap_fault.h"
#include "lib/http_server.h"
#include "lib/said.h"
#include "object/store.h"

#include <errno.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Every secret begins so. */
#define HUSH "hush"
#define KEY "aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo" /* of "hushhushhushhushhushhush" */
#define SAS "sv=2021-12-02&se=2030-01-02T03%3A04%3A05Z&sig=hush%2Bsignature"
#define ID "01J79C21YKR31J2BS1EFXJZ7MR"
#define OTHER_ID "01J79C21YKR31J2BS1EFXJZ7MS"

#define AZURES "x-ms-request-id: 7\r\nx-ms-version: 2021-12-02\r\n"
#define CODE(c) AZURES "x-ms-error-code: " c "\r\n"
#define MTIME "Last-Modified: Fri, 26 Jun 2015 23:39:12 GMT\r\n"

static struct http_server *server;
static struct shale_store *store;

/* ---- around each test ---- */

static void clear_environment(void)
{
    said_clear_environment("AZURE_");
    unsetenv("REQUESTS_CA_BUNDLE");
}

static int setup(void **state)
{
    (void)state;
    clear_environment();
    server = http_server_start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shale_store_close(store);
    store = NULL;
    http_server_stop(server);
    return 0;
}

static void open_at(const char *endpoint, struct shale_azure_options opt)
{
    if (!opt.endpoint)
        opt.endpoint = endpoint;
    shale_store_close(store);
    store = NULL;
    if (shale_store_azure("box", &opt, &store) != 0)
        fail_msg("%s", shale_errmsg());
}

static void open_by_key(void)
{
    open_at(http_server_url(server), (struct shale_azure_options){ .account = "acc", .key = KEY });
}

static void open_by_sas(void)
{
    open_at(http_server_url(server), (struct shale_azure_options){ .account = "acc", .sas = "?" SAS });
}

static void serve(const struct http_rule rule)
{
    http_server_add(server, &rule);
}

static const char *header_of(unsigned i, const char *name)
{
    static char value[1000];

    http_request_value(http_server_request(server, i), name, value, sizeof(value));
    return value;
}

static void assert_target(unsigned i, const char *method, const char *target)
{
    assert_string_equal(http_server_request(server, i)->method, method);
    assert_string_equal(http_server_request(server, i)->target, target);
}

static void assert_says(int got, int want, const char *why)
{
    said_add(shale_errmsg());
    if (got != want || !strstr(shale_errmsg(), why))
        fail_msg("%d: \"%s\", not %d: \"%s\"", got, shale_errmsg(), want, why);
}

/* ---- what is sent ---- */

static void a_put_has_what_azure_wants(void **state)
{
    (void)state;
    open_by_key();
    serve((struct http_rule){ .method = "PUT", .path = "/acc/box/d/a%3Db", .status = 201, .headers = AZURES });
    assert_int_equal(store_put_with_id(store, "d/a=b", slice_str("hello"), SHALE_PUT_IF_ABSENT, ID), 0);
    assert_target(0, "PUT", "/acc/box/d/a%3Db");
    assert_string_equal(header_of(0, "x-ms-version"), "2021-12-02");
    assert_string_equal(header_of(0, "x-ms-blob-type"), "BlockBlob");
    assert_string_equal(header_of(0, "if-none-match"), "*");
    assert_string_equal(header_of(0, "x-ms-meta-slatedbputid"), ID);
    assert_string_equal(header_of(0, "content-md5"), "XUFAKrxLKna5cZ2REBfFkg==");
    assert_string_equal(header_of(0, "content-length"), "5");
    assert_non_null(strstr(header_of(0, "authorization"), "SharedKey acc:"));
    assert_int_equal(strlen(header_of(0, "x-ms-date")), 29);
    assert_string_equal(header_of(0, "content-type"), "");
}

static void a_shared_access_signature_is_part_of_each_address(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    open_by_sas();
    serve((struct http_rule){ .status = 200, .headers = AZURES MTIME, .body = "x" });
    assert_int_equal(shale_store_get(store, "a", &b), 0);
    assert_target(0, "GET", "/acc/box/a?" SAS);
    assert_string_equal(header_of(0, "authorization"), "");
    shale_buf_fini(&b);
}

static void an_object_is_removed_once(void **state)
{
    static const char *names[40];

    (void)state;
    open_by_key();
    serve((struct http_rule){ .path = "/acc/box/gone", .status = 404, .headers = CODE("BlobNotFound") });
    serve((struct http_rule){ .path = "/acc/box/held", .status = 412, .headers = CODE("LeaseIdMissing") });
    serve((struct http_rule){ .method = "DELETE", .status = 202, .headers = AZURES });
    assert_int_equal(shale_store_delete(store, "gone"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        names[i] = i == 3 ? "held" : i == 20 ? "gone" : "o";
    assert_says(shale_store_delete_many(store, names, ARRAY_SIZE(names)), -EACCES, "held: somebody holds a lease");
    assert_int_equal(http_server_count(server), 1 + ARRAY_SIZE(names));
}

/* ---- what answers mean ---- */

enum call { GET, RANGE, HEAD, PUT, CREATE, DELETE };

static int make(enum call call)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct shale_object_meta meta;
    int rc;

    switch (call) {
    case GET:
        rc = shale_store_get(store, "o", &b);
        break;
    case RANGE:
        rc = shale_store_get_range(store, "o", 5, 5, &b);
        break;
    case HEAD:
        rc = shale_store_head(store, "o", &meta);
        break;
    case DELETE:
        rc = shale_store_delete(store, "o");
        break;
    default:
        rc = shale_store_put(store, "o", slice_str("x"), call == CREATE ? SHALE_PUT_IF_ABSENT : SHALE_PUT_OVERWRITE);
    }
    shale_buf_fini(&b);
    return rc;
}

#define ERROR(code, message) "<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>" message \
                             "\nRequestId:1\nTime:2</Message><Detail>sig=hush</Detail></Error>"

static const struct {
    enum call call;
    int status;
    const char *headers, *body;
    int want;
    const char *says;
} answers[] = {
    { GET, 404, CODE("BlobNotFound"), ERROR("BlobNotFound", "x"), -ENOENT, "az://box/o: there is no such object" },
    { HEAD, 404, CODE("BlobNotFound"), NULL, -ENOENT, "no such object" },
    { HEAD, 404, CODE("ContainerNotFound"), NULL, -EIO, "no container \"box\" in storage account acc at http:" },
    { GET, 404, AZURES, ERROR("ContainerNotFound", "x"), -EIO, "create it, or check the names" },
    { DELETE, 404, CODE("ContainerNotFound"), NULL, -EIO, "there is no container" },
    { HEAD, 404, "", NULL, -EIO, "answers 404, not as Azure Blob Storage does; check the endpoint" },
    { GET, 404, "Content-Type: text/html\r\nServer: nginx\r\n", "<html>", -EIO, "with a web page, by nginx" },
    { GET, 200, "Content-Type: text/html\r\n", "<html>Log in", -EIO, "with a web page" },
    { PUT, 200, "", NULL, -EIO, "not as Azure" },
    { GET, 403, CODE("AuthenticationFailed"), ERROR("AuthenticationFailed", "Server failed to"), -EACCES,
      "the key from the options is none of storage account acc" },
    { HEAD, 403, CODE("AuthenticationFailed"), NULL, -EACCES, "the key from the options" },
    { HEAD, 403, CODE("AuthenticationFailed") "Date: Fri, 26 Jun 2015 23:39:12 GMT\r\n", NULL, -EACCES,
      "s ahead of the store's, which accepts 15 minutes; set the clock" },
    { GET, 403, CODE("AuthorizationFailure"), NULL, -EACCES, "network rules of storage account acc" },
    { GET, 403, CODE("KeyBasedAuthenticationNotPermitted"), NULL, -EACCES, "does not allow access by its keys" },
    { GET, 403, CODE("InsufficientAccountPermissions"), ERROR("X", "Read operations are off"), -EACCES,
      "403 InsufficientAccountPermissions: Read operations are off (request 7)" },
    { GET, 403, CODE("New"), ERROR("New", "you sent sig=hush"), -EACCES, "403 New (request 7)" },
    { PUT, 403, CODE("UnauthorizedBlobOverwrite"), NULL, -EACCES, "sp= needs w" },
    { PUT, 409, CODE("BlobImmutableDueToPolicy"), NULL, -EACCES, "immutability policy" },
    { PUT, 409, CODE("ContainerBeingDeleted"), NULL, -EIO, "being deleted" },
    { PUT, 400, CODE("Md5Mismatch"), NULL, SHALE_ETRANSIENT, "other bytes" },
    { PUT, 413, CODE("RequestBodyTooLarge"), NULL, -EFBIG, "larger" },
    { PUT, 400, CODE("InvalidHeaderValue"), ERROR("InvalidHeaderValue", "no such version"), -EIO, "no such version" },
    { PUT, 409, CODE("InvalidBlobType"), NULL, -EIO, "409 InvalidBlobType" },
    { PUT, 501, CODE("NotImplemented"), NULL, -EIO, "501 NotImplemented" },
    { PUT, 503, CODE("ServerBusy"), ERROR("ServerBusy", "Ingress is over"), SHALE_ETRANSIENT, "ServerBusy: Ingress" },
    { PUT, 500, CODE("OperationTimedOut"), NULL, SHALE_ETRANSIENT, "500 OperationTimedOut" },
    { PUT, 500, CODE("InternalError"), NULL, SHALE_ETRANSIENT, "500 InternalError" },
    { PUT, 429, AZURES, NULL, SHALE_ETRANSIENT, "429" },
    { PUT, 502, "", NULL, SHALE_ETRANSIENT, "502" },
    { DELETE, 409, CODE("SnapshotsPresent"), NULL, -EIO, "it has snapshots" },
    { RANGE, 416, CODE("InvalidRange"), NULL, -ERANGE, "the object is shorter" },
    { RANGE, 206, AZURES "Content-Range: bytes 5-7/8\r\n", "abc", -ERANGE, "only 3 of the 5 bytes from offset 5" },
    { RANGE, 206, AZURES "Content-Range: bytes 5-4/5\r\n", NULL, -ERANGE, "only 0 of the 5 bytes" },
    { RANGE, 206, AZURES "Content-Range: bytes 0-4/9\r\n", "abcde", SHALE_ETRANSIENT, "another range" },
    { RANGE, 200, AZURES, "abcde", -EOPNOTSUPP, "whole objects" },
    { HEAD, 200, AZURES, NULL, SHALE_ETRANSIENT, "neither size nor time" },
};

static void each_error_says_what_to_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        open_by_key();
        http_server_clear(server);
        serve((struct http_rule){ .status = answers[i].status, .headers = answers[i].headers,
                                  .body = answers[i].body });
        print_message("%d %s\n", answers[i].status, answers[i].says);
        assert_says(make(answers[i].call), answers[i].want, answers[i].says);
    }
}

static void a_signature_that_is_refused_says_until_when_it_was_valid(void **state)
{
    (void)state;
    open_by_sas();
    serve((struct http_rule){ .status = 403, .times = 1, .headers = CODE("AuthenticationFailed") });
    assert_says(make(HEAD), -EACCES, "signature from the options, valid until 2030-01-02T03:04:05Z: it has expired");
    serve((struct http_rule){ .status = 403, .times = 1, .headers = CODE("AuthorizationPermissionMismatch") });
    assert_says(make(PUT), -EACCES, "sp=rwdl");
    open_at(http_server_url(server), (struct shale_azure_options){ .account = "acc", .anonymous = true });
    serve((struct http_rule){ .status = 404, .headers = CODE("ResourceNotFound") });
    assert_says(make(GET), -EACCES, "or it is not public");
    assert_string_equal(header_of(2, "authorization"), "");
}

/* A login page of a network is a mistake at first, and an outage once the store was seen. */
static void what_comes_in_between_later_is_an_outage(void **state)
{
    (void)state;
    open_by_key();
    serve((struct http_rule){ .status = 404, .times = 1, .headers = CODE("BlobNotFound") });
    serve((struct http_rule){ .status = 200, .headers = "Content-Type: text/html\r\n", .body = "<html>Log in" });
    assert_int_equal(make(GET), -ENOENT);
    assert_says(make(GET), SHALE_ETRANSIENT, "with a web page");
}

/* A terminal takes some characters for orders. */
static void what_the_other_side_says_is_one_line_of_text(void **state)
{
    static const struct {
        enum call call;
        int status;
        const char *headers;
    } answers_of_wags[] = {
        { GET, 400, CODE("a\033[2J\tb") },
        { GET, 404, "Server: a\033[2J\tb\r\n" },
        { GET, 503, AZURES "x-ms-request-id: a\033[2J\tb\r\n" },
        { RANGE, 206, AZURES "Content-Range: a\033[2J\tb\r\n" },
    };

    (void)state;
    open_by_key();
    for (size_t i = 0; i < ARRAY_SIZE(answers_of_wags); i++) {
        http_server_clear(server);
        serve((struct http_rule){ .status = answers_of_wags[i].status, .headers = answers_of_wags[i].headers });
        assert_true(make(answers_of_wags[i].call) < 0);
        print_message("  %s\n", shale_errmsg());
        assert_non_null(strstr(shale_errmsg(), "a [2J b"));
    }
}

/* So is anything else that is none of its answers, of whatever status and length. */
static void what_the_store_does_not_say_is_not_believed(void **state)
{
    static char page[200000];
    static const struct {
        int status;
        const char *headers, *body;
    } between[] = {
        { 302, "Location: https://login.test/\r\n", NULL }, { 307, "", NULL },
        { 400, "", "no such host" },  { 403, "Content-Type: text/plain\r\n", "blocked" },
        { 407, "", NULL },            { 412, "", NULL },
        { 416, "", NULL },            { 511, "", NULL },
        { 200, "", page },            { 403, "Content-Type: text/html\r\n", page },
    };

    (void)state;
    memset(page, 'x', sizeof(page) - 1);
    for (size_t i = 0; i < ARRAY_SIZE(between); i++) {
        const struct http_rule rule = { .status = between[i].status, .headers = between[i].headers,
                                        .body = between[i].body };

        print_message("%d\n", between[i].status);
        open_by_key();
        http_server_clear(server);
        serve(rule);
        assert_says(make(PUT), -EIO, "not as Azure Blob Storage does");
        http_server_clear(server);
        serve((struct http_rule){ .status = 404, .times = 1, .headers = CODE("BlobNotFound") });
        serve(rule);
        assert_int_equal(make(GET), -ENOENT);
        assert_says(make(PUT), SHALE_ETRANSIENT, "not as Azure Blob Storage does");
    }
}

/* Each look at the clock finds it so much further on. */
static _Atomic int64_t clock_step_ms;

int64_t __real_clock_wall_ms(void);
int64_t __wrap_clock_wall_ms(void);

int64_t __wrap_clock_wall_ms(void)
{
    static _Atomic int64_t ahead_ms;

    return __real_clock_wall_ms() + atomic_fetch_add(&ahead_ms, clock_step_ms);
}

/* This host slept, or its clock was set, while a request was on its way: another one is signed anew. */
static void a_request_that_slept_may_be_made_again(void **state)
{
    (void)state;
    open_by_key();
    serve((struct http_rule){ .status = 403, .headers = CODE("AuthenticationFailed") });
    clock_step_ms = 20 * 60000;
    assert_says(make(GET), SHALE_ETRANSIENT, "403 AuthenticationFailed");
    clock_step_ms = 0;
    assert_says(make(GET), -EACCES, "the key from the options is none of storage account acc");
}

/* Who has a store in use does not lose it for a clock that is set wrongly for a while. */
static void a_wrong_clock_is_waited_for_when_it_was_right(void **state)
{
    (void)state;
    open_by_key();
    serve((struct http_rule){ .status = 404, .times = 1, .headers = CODE("BlobNotFound") });
    serve((struct http_rule){ .status = 403, .headers = CODE("AuthenticationFailed")
                              "Date: Fri, 26 Jun 2015 23:39:12 GMT\r\n" });
    assert_int_equal(make(GET), -ENOENT);
    assert_says(make(GET), SHALE_ETRANSIENT, "s ahead of the store's, which accepts 15 minutes; set the clock");
}

static void a_busy_store_says_when_to_come_back(void **state)
{
    (void)state;
    open_by_key();
    serve((struct http_rule){ .status = 503, .headers = CODE("ServerBusy") "Retry-After: 7\r\n" });
    assert_int_equal(make(PUT), SHALE_ETRANSIENT);
    assert_int_equal(store_retry_after_taken(), 7000);
}

/* ---- whose object it is ---- */

static void serve_head(const char *id)
{
    static char headers[300];

    snprintf(headers, sizeof(headers), AZURES MTIME "x-ms-meta-SlateDBPutID: %s\r\n", id);
    serve((struct http_rule){ .method = "HEAD", .status = 200, .headers = headers, .body = "x" });
}

static const struct {
    const char *name;
    int status;
    const char *headers;
} taken[] = {
    { "a lost reply, and the same put again", 409, CODE("BlobAlreadyExists") },
    { "the other status", 412, CODE("ConditionNotMet") },
    { "a policy that keeps it", 409, CODE("BlobImmutableDueToPolicy") },
    { "somebody's lease", 412, CODE("LeaseIdMissing") },
    { "a signature that may only create", 403, CODE("UnauthorizedBlobOverwrite") },
};

static void a_put_that_finds_its_own_object_has_created_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
        print_message("%s\n", taken[i].name);
        open_by_key();
        http_server_clear(server);
        serve((struct http_rule){ .method = "PUT", .status = taken[i].status, .headers = taken[i].headers });
        serve_head(ID);
        assert_int_equal(store_put_with_id(store, "o", slice_str("x"), SHALE_PUT_IF_ABSENT, ID), 0);
        assert_int_equal(store_put_with_id(store, "o", slice_str("x"), SHALE_PUT_IF_ABSENT, OTHER_ID), -EEXIST);
        assert_int_equal(shale_store_put(store, "o", slice_str("x"), SHALE_PUT_IF_ABSENT), -EEXIST);
    }
}

/* ---- uploads ---- */

/* The put id of an upload, from the name of a block. */
static void read_put_id(const char *target, char out[SHALE_PUT_ID_LEN + 1])
{
    const char *id = strstr(target, "blockid=");
    uint8_t name[64] = { 0 };

    assert_non_null(id);
    assert_int_equal(EVP_DecodeBlock(name, (const uint8_t *)id + 8, 40), 30);
    memcpy(out, name, SHALE_PUT_ID_LEN);
    out[SHALE_PUT_ID_LEN] = '\0';
}

/* Its first block has arrived. */
static struct shale_upload *begin_large(void)
{
    static uint8_t nine[9 << 20];
    struct shale_upload *u = NULL;
    unsigned before = http_server_count(server);

    assert_int_equal(shale_upload_begin(store, "o", &u), 0);
    assert_int_equal(shale_upload_write(u, slice_of(nine, sizeof(nine))), 0);
    assert_int_equal(shale_upload_write(u, slice_of(nine, 1)), 0); /* the first block goes out */
    assert_true(http_server_wait(server, before + 1));
    return u;
}

static void an_upload_is_blocks_and_their_list(void **state)
{
    struct shale_upload *u;
    const char *list;

    (void)state;
    open_by_key();
    serve((struct http_rule){ .method = "PUT", .status = 201, .headers = AZURES });
    u = begin_large();
    assert_int_equal(shale_upload_finish(u), 0);
    assert_int_equal(http_server_count(server), 3);
    assert_int_equal(http_server_request(server, 0)->body_len, 8 << 20);
    assert_int_equal(http_server_request(server, 1)->body_len, (1 << 20) + 1);
    assert_non_null(strstr(http_server_request(server, 1)->target, "/acc/box/o?blockid="));
    assert_non_null(strstr(http_server_request(server, 1)->target, "&comp=block"));
    assert_target(2, "PUT", "/acc/box/o?comp=blocklist");
    assert_int_equal(strlen(header_of(2, "x-ms-meta-slatedbputid")), SHALE_PUT_ID_LEN);
    list = http_server_request(server, 2)->body;
    assert_non_null(strstr(list, "<BlockList><Latest>"));
    assert_non_null(strstr(list, "MDAwMDAy</Latest></BlockList>") ? "" : strstr(list, "</Latest></BlockList>"));
}

/* The list arrived, its answer did not, and somebody wrote another object of that name, or nobody did. */
static void a_commit_whose_reply_was_lost_is_looked_for(void **state)
{
    static const char *const lens[] = { "Content-Length: 9437185\r\n", "Content-Length: 3\r\n" };
    static char headers[300];
    char id[SHALE_PUT_ID_LEN + 1];

    (void)state;
    for (int mine = 1; mine >= 0; mine--) {
        struct shale_upload *u;

        open_by_key();
        http_server_clear(server);
        serve((struct http_rule){ .method = "PUT", .times = 2, .status = 201, .headers = AZURES });
        serve((struct http_rule){ .method = "PUT", .times = 1, .status = 500, .headers = CODE("OperationTimedOut") });
        serve((struct http_rule){ .method = "PUT", .status = 400, .headers = CODE("InvalidBlockList") });
        u = begin_large();
        read_put_id(http_server_request(server, http_server_count(server) - 1)->target, id);
        snprintf(headers, sizeof(headers), AZURES MTIME "x-ms-meta-slatedbputid: %s\r\n%s", mine ? id : OTHER_ID,
                 lens[mine ? 0 : 1]);
        serve((struct http_rule){ .method = "HEAD", .times = 1, .status = 503, .headers = CODE("ServerBusy") });
        serve((struct http_rule){ .method = "HEAD", .status = 200, .headers = headers });
        assert_int_equal(store_upload_try_finish(u), SHALE_ETRANSIENT); /* the commit's answer is lost */
        assert_int_equal(store_upload_try_finish(u), SHALE_ETRANSIENT); /* whose object it is cannot be told */
        if (mine)
            assert_int_equal(store_upload_try_finish(u), 0);
        else
            assert_says(store_upload_try_finish(u), -EIO, "az://box/o: the store has lost the parts");
    }
}

static void a_block_that_failed_is_sent_again(void **state)
{
    struct shale_upload *u = NULL;
    static uint8_t nine[9 << 20];

    (void)state;
    open_by_key();
    serve((struct http_rule){ .method = "PUT", .times = 1, .status = 503, .headers = CODE("ServerBusy") });
    serve((struct http_rule){ .method = "PUT", .status = 201, .headers = AZURES });
    assert_int_equal(shale_upload_begin(store, "o", &u), 0);
    assert_int_equal(shale_upload_write(u, slice_of(nine, sizeof(nine))), 0);
    assert_int_equal(shale_upload_write(u, slice_of(nine, 1)), 0); /* the first block goes out */
    assert_int_equal(store_upload_try_finish(u), SHALE_ETRANSIENT);
    assert_int_equal(store_upload_try_finish(u), 0);
    shale_upload_abort(NULL);
    assert_target(http_server_count(server) - 1, "PUT", "/acc/box/o?comp=blocklist");
}

/* ---- listings ---- */

#define LIST_HEAD "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"http://x/\" " \
                  "ContainerName=\"box\"><Prefix>d/</Prefix><Blobs>"
#define BLOB(name, size, more) "<Blob><Name>" name "</Name><Properties><Creation-Time>x</Creation-Time>"           \
                               "<Last-Modified>Fri, 26 Jun 2015 23:39:12 GMT</Last-Modified><Content-Length>" size \
                               "</Content-Length>" more "</Properties><OrMetadata /></Blob>"
#define LIST_END(marker) "</Blobs><NextMarker>" marker "</NextMarker></EnumerationResults>"

static int gather(void *arg, const char *name, const struct shale_object_meta *meta)
{
    assert_int_equal(meta->mtime_ms, INT64_C(1435361952000));
    assert_int_equal(buf_printf(arg, "%s:%llu,", name, (unsigned long long)meta->size), 0);
    return 0;
}

static int list(const char *start_after, const char *want)
{
    struct shale_buf got = SHALE_BUF_INIT;
    int rc;

    assert_int_equal(buf_printf(&got, "%s", ""), 0);
    rc = shale_store_list(store, "d/", start_after, gather, &got);
    if (rc == 0)
        assert_string_equal((char *)got.data, want);
    shale_buf_fini(&got);
    return rc;
}

static void listings_go_on_by_markers(void **state)
{
    (void)state;
    open_by_key();
    serve((struct http_rule){ .times = 1, .headers = AZURES, .body = LIST_HEAD BLOB("d/a", "1", "")
                              BLOB("d/b c", "2", "")
                              BLOB("d/b", "0", "<ResourceType>directory</ResourceType>") LIST_END("2!76!M&amp;=") });
    serve((struct http_rule){ .times = 1, .headers = AZURES, .body = LIST_HEAD LIST_END("next") });
    serve((struct http_rule){ .times = 1, .headers = AZURES, .body = LIST_HEAD BLOB("d/b/x", "3", "") LIST_END("") });
    assert_int_equal(list(NULL, "d/a:1,d/b/x:3,"), 0);
    assert_target(0, "GET", "/acc/box?comp=list&maxresults=5000&prefix=d%2F&restype=container");
    assert_target(1, "GET", "/acc/box?comp=list&marker=2%2176%21M%26%3D&maxresults=5000&prefix=d%2F&restype=container");
    assert_target(2, "GET", "/acc/box?comp=list&marker=next&maxresults=5000&prefix=d%2F&restype=container");
    assert_int_equal(http_server_count(server), 3);
}

static void listings_begin_behind_a_name(void **state)
{
    (void)state;
    open_by_key();
    serve((struct http_rule){ .headers = AZURES, .body = LIST_HEAD BLOB("d/a", "1", "") BLOB("d/b", "2", "")
                              BLOB("d/c", "3", "") LIST_END("") });
    assert_int_equal(list("d/b", "d/c:3,"), 0);
    assert_int_equal(list("d/", "d/a:1,d/b:2,d/c:3,"), 0);
    assert_int_equal(list("d/z", ""), 0);
}

/* By a cache that goes by the path alone, for instance. */
static void listings_hold_what_was_asked_for(void **state)
{
    (void)state;
    open_by_key();
    serve((struct http_rule){ .headers = AZURES, .body = LIST_HEAD BLOB("c", "1", "") BLOB("d", "1", "")
                              BLOB("d/a", "1", "") BLOB("e/a", "1", "") LIST_END("") });
    assert_int_equal(list(NULL, "d/a:1,"), 0);
    assert_int_equal(list("a", "d/a:1,"), 0);
}

static void listings_that_make_no_sense_are_errors(void **state)
{
    static const struct {
        const char *body;
        int want;
        const char *says;
    } bad[] = {
        { LIST_HEAD BLOB("d/b", "1", "") BLOB("d/a", "1", "") LIST_END(""), -EIO, "order of names" },
        { LIST_HEAD BLOB("d/b", "1", ""), SHALE_ETRANSIENT, "not understood" },
        { LIST_HEAD BLOB("d/b", "-x", "") LIST_END(""), SHALE_ETRANSIENT, "not understood" },
        { LIST_HEAD "<Blob></Blob>" LIST_END(""), SHALE_ETRANSIENT, "not understood" },
        { "<html><body/></html>", SHALE_ETRANSIENT, "not understood" },
        { "", SHALE_ETRANSIENT, "not understood" },
    };

    (void)state;
    open_by_key();
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        http_server_clear(server);
        serve((struct http_rule){ .headers = AZURES, .body = bad[i].body });
        assert_says(list(NULL, ""), bad[i].want, bad[i].says);
    }
}

/* "data" by its MD5; a store keeps it, and sends it with the whole blob. */
static void a_body_that_is_spoilt_is_read_again(void **state)
{
    const char *md5 = AZURES "Content-MD5: jXd/OF09/siBXSD3SWAm3A==\r\n";
    struct shale_buf out = SHALE_BUF_INIT;

    (void)state;
    open_by_key();
    serve((struct http_rule){ .headers = md5, .body = "dada", .times = 2 });
    serve((struct http_rule){ .headers = md5, .body = "data", .times = 1 });
    assert_int_equal(shale_store_get(store, "a", &out), 0);
    assert_true(slice_eq(slice_of_buf(&out), slice_str("data")));
    serve((struct http_rule){ .headers = md5, .body = "dada" });
    assert_says(shale_store_get(store, "a", &out), SHALE_ECORRUPT, "(read 3 times)");
    shale_buf_fini(&out);
}

/* ---- where account and keys come from ---- */

#define CLOUD "DefaultEndpointsProtocol=https;EndpointSuffix=core.windows.net;"

/* What is set, and the sentence of a request that a proxy, ours, answers: it tells the address and the source. */
static const struct {
    const char *name;
    const char *env[4]; /* "NAME=value" */
    struct shale_azure_options opt;
    const char *says; /* NULL: it opens */
} places[] = {
    { "nothing", { NULL }, { .account = NULL }, "set AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING" },
    { "no key", { "AZURE_STORAGE_ACCOUNT=acc" }, { .key = NULL }, "storage account acc; set AZURE_STORAGE_KEY" },
    { "az", { "AZURE_STORAGE_ACCOUNT=acc", "AZURE_STORAGE_KEY=" KEY }, { .key = NULL }, NULL },
    { "object_store", { "AZURE_STORAGE_ACCOUNT_NAME=acc", "AZURE_STORAGE_ACCOUNT_KEY=" KEY }, { .key = NULL }, NULL },
    { "access key", { "AZURE_STORAGE_ACCOUNT_NAME=acc", "AZURE_STORAGE_ACCESS_KEY=" KEY }, { .key = NULL }, NULL },
    { "SAS", { "AZURE_STORAGE_ACCOUNT=acc", "AZURE_STORAGE_SAS_TOKEN=" SAS }, { .key = NULL }, NULL },
    { "string", { "AZURE_STORAGE_CONNECTION_STRING=" CLOUD "AccountName=acc;AccountKey=" KEY }, { .key = NULL }, NULL },
    { "emulator", { "AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true" }, { .key = NULL }, NULL },
    { "emulator by variable", { "AZURE_STORAGE_USE_EMULATOR=true" }, { .key = NULL }, NULL },
    { "SAS with an endpoint", { "AZURE_STORAGE_CONNECTION_STRING=BlobEndpoint=https://acc.blob.core.windows.net/;"
                                "SharedAccessSignature=" SAS }, { .key = NULL }, NULL },
    { "a key of another account", { "AZURE_STORAGE_CONNECTION_STRING=" CLOUD "AccountName=other;AccountKey=" KEY },
      { .account = "acc" }, "for the storage account acc" },
    { "no string", { "AZURE_STORAGE_CONNECTION_STRING=AccountName=acc;" KEY }, { .key = NULL }, "part 2" },
    { "a name that is none", { NULL }, { .account = "Acc", .key = KEY }, "3 to 24 lower-case" },
    { "a key that is none", { NULL }, { .account = "acc", .key = "hush!" }, "the options is not in Base64" },
    { "a key cut short", { "AZURE_STORAGE_KEY=aHVzaGh1c2h" }, { .account = "acc" }, "_STORAGE_KEY is not in Base64" },
    { "a key with a blank", { NULL }, { .account = "acc", .key = "aHVz aGh1" }, "blank" },
    { "a URL for a SAS", { NULL }, { .account = "acc", .sas = "https://x/hush" }, "no \"sig=\"" },
    { "a SAS with a blank", { NULL }, { .account = "acc", .sas = "sig=hush hush" }, "no URL has" },
    { "a SAS in the endpoint", { NULL }, { .account = "acc", .key = KEY, .endpoint = "https://h/?sig=hush" },
      "AZURE_STORAGE_SAS_TOKEN" },
    { "an endpoint that is none", { NULL }, { .account = "acc", .key = KEY, .endpoint = "h:80" },
      "https:// or http://" },
};

static void set_environment(const char *const *env)
{
    clear_environment();
    for (; *env; env++) {
        char name[64];

        snprintf(name, sizeof(name), "%.*s", (int)strcspn(*env, "="), *env);
        setenv(name, strchr(*env, '=') + 1, 1);
    }
}

static void accounts_are_found_or_it_is_said_why_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        struct shale_store *s = NULL;
        int rc;

        print_message("%s\n", places[i].name);
        set_environment(places[i].env);
        rc = shale_store_azure("box", &places[i].opt, &s);
        if (places[i].says)
            assert_says(rc, -EINVAL, places[i].says);
        else
            assert_int_equal(rc, 0);
        shale_store_close(s);
    }
}

/* By what is sent, and how: the options go first, then the string, then the variables. */
static void what_comes_first_is_used(void **state)
{
    char string[400];

    (void)state;
    serve((struct http_rule){ .status = 403, .headers = CODE("AuthenticationFailed") });
    setenv("AZURE_STORAGE_ACCOUNT", "acc", 1);
    setenv("AZURE_STORAGE_SAS_TOKEN", SAS, 1);
    setenv("AZURE_STORAGE_BLOB_ENDPOINT", http_server_url(server), 1);
    open_at(NULL, (struct shale_azure_options){ .account = NULL });
    assert_says(make(HEAD), -EACCES, "signature from AZURE_STORAGE_SAS_TOKEN");
    setenv("AZURE_STORAGE_KEY", KEY, 1);
    open_at(NULL, (struct shale_azure_options){ .account = NULL });
    assert_says(make(HEAD), -EACCES, "the key from AZURE_STORAGE_KEY is none of storage account acc");
    snprintf(string, sizeof(string), "AccountName=two;SharedAccessSignature=%s;BlobEndpoint=%s/path", SAS,
             http_server_url(server));
    setenv("AZURE_STORAGE_CONNECTION_STRING", string, 1);
    open_at(NULL, (struct shale_azure_options){ .account = NULL });
    assert_says(make(HEAD), -EACCES, "from AZURE_STORAGE_CONNECTION_STRING");
    assert_target(2, "HEAD", "/path/box/o?" SAS);
    open_at(NULL, (struct shale_azure_options){ .account = "acc" });
    assert_says(make(HEAD), -EACCES, "the key from AZURE_STORAGE_KEY");
    assert_target(3, "HEAD", "/acc/box/o");
    open_at(NULL, (struct shale_azure_options){ .connection_string = string, .key = KEY });
    assert_says(make(HEAD), -EACCES, "the key from the options is none of storage account two");
}

static void containers_have_names(void **state)
{
    static const char *const bad[] = { "", "ab", "Box", "a_b", "-ab", "ab-", "a--b", "$web" };
    const struct shale_azure_options opt = { .account = "acc", .key = KEY };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct shale_store *s = NULL;

        assert_says(shale_store_azure(bad[i], &opt, &s), -EINVAL, "is no name of a container");
    }
}

/* ---- memory, and what was said ---- */

/* A server in a process of its own, whose allocations do not fail. */
static pid_t serve_elsewhere(char url[64])
{
    int fd[2];
    pid_t pid;

    assert_int_equal(pipe(fd), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        server = http_server_start();
        serve((struct http_rule){ .method = "PUT", .status = 201, .headers = AZURES });
        serve((struct http_rule){ .method = "HEAD", .headers = AZURES MTIME, .body = "x" });
        serve((struct http_rule){ .path = "/acc/box", .headers = AZURES,
                                  .body = LIST_HEAD BLOB("d/a", "1", "") LIST_END("") });
        serve((struct http_rule){ .headers = AZURES, .body = "x" });
        if (write(fd[1], http_server_url(server), strlen(http_server_url(server)) + 1) < 0)
            abort();
        for (;;)
            pause();
    }
    close(fd[1]);
    assert_true(read(fd[0], url, 64) > 0);
    close(fd[0]);
    return pid;
}

static int note(void *arg, const char *name, const struct shale_object_meta *meta)
{
    (void)name, (void)meta;
    ++*(int *)arg;
    return 0;
}

static int live(const char *url, const struct shale_azure_options *opt)
{
    struct shale_azure_options o = *opt;
    struct shale_object_meta meta;
    struct shale_store *s = NULL;
    struct shale_upload *u = NULL;
    struct shale_buf b = SHALE_BUF_INIT;
    int n = 0, rc;

    o.endpoint = url;
    rc = shale_store_azure("box", &o, &s);
    if (rc == 0)
        rc = shale_store_put(s, "o", slice_str("x"), SHALE_PUT_IF_ABSENT);
    if (rc == 0)
        rc = shale_store_head(s, "o", &meta);
    if (rc == 0)
        rc = shale_store_get(s, "o", &b);
    if (rc == 0)
        rc = shale_store_list(s, "d/", NULL, note, &n);
    if (rc == 0)
        rc = shale_upload_begin(s, "u", &u);
    if (rc == 0 && (rc = shale_upload_write(u, slice_str("x"))) < 0)
        shale_upload_abort(u);
    else if (rc == 0)
        rc = shale_upload_finish(u);
    shale_buf_fini(&b);
    shale_store_close(s);
    return rc;
}

static void running_out_of_memory_is_an_error(void **state)
{
    static const struct shale_azure_options by[] = { { .account = "acc", .key = KEY },
                                                     { .account = "acc", .sas = SAS } };
    char url[64];
    pid_t pid = serve_elsewhere(url);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(by); i++) {
        for (unsigned n = 1;; n++) {
            int rc;

            heap_fault_after(n);
            rc = live(url, &by[i]);
            if (!heap_fault_off()) {
                if (rc != 0)
                    fail_msg("%d: %s", rc, shale_errmsg());
                print_message("%u allocations\n", n - 1);
                assert_true(n > 40);
                break;
            }
            if (rc != -ENOMEM)
                fail_msg("allocation %u: %d: %s", n, rc, shale_errmsg());
        }
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void no_secret_was_said(void **state)
{
    (void)state;
    assert_true(said_has("is none of storage account acc"));
    assert_false(said_has(HUSH));
    assert_false(said_has("aHVza")); /* a key */
    said_end();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_put_has_what_azure_wants),
        T(a_shared_access_signature_is_part_of_each_address),
        T(an_object_is_removed_once),
        T(each_error_says_what_to_do),
        T(a_signature_that_is_refused_says_until_when_it_was_valid),
        T(what_comes_in_between_later_is_an_outage),
        T(what_the_store_does_not_say_is_not_believed),
        T(what_the_other_side_says_is_one_line_of_text),
        T(a_request_that_slept_may_be_made_again),
        T(a_wrong_clock_is_waited_for_when_it_was_right),
        T(a_busy_store_says_when_to_come_back),
        T(a_put_that_finds_its_own_object_has_created_it),
        T(an_upload_is_blocks_and_their_list),
        T(a_commit_whose_reply_was_lost_is_looked_for),
        T(a_block_that_failed_is_sent_again),
        T(listings_go_on_by_markers),
        T(listings_begin_behind_a_name),
        T(listings_hold_what_was_asked_for),
        T(listings_that_make_no_sense_are_errors),
        T(a_body_that_is_spoilt_is_read_again),
        T(accounts_are_found_or_it_is_said_why_not),
        T(what_comes_first_is_used),
        T(containers_have_names),
        cmocka_unit_test(running_out_of_memory_is_an_error),
        cmocka_unit_test(no_secret_was_said),
    };

    said_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
