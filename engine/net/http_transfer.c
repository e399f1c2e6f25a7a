/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libcurl is asked for one exchange, and what its result means. Bodies are sent as "post fields" whatever the
 * method: libcurl then takes them from where they lie, puts a small one into one packet with the header, and can send
 * them again by itself when a kept connection turns out to be dead. Those of a source are an upload, which libcurl can
 * begin again, too.
 */

#include "net/http_transfer.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "net/secret.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>

#define RESPONSE_DEFAULT 65536u
#define HEAD_MAX 65536u
#define BUFFER_BYTES 524288L /* the most that libcurl takes for reading, and enough for sending */

/* A header line becomes "name:value" with the name in lower case. A status line begins anew: there may be a 100 first. */
static size_t on_header(char *line, size_t one, size_t n, void *arg)
{
    struct http_transfer *t = arg;
    struct shale_buf *head = &t->x->response_head;
    const char *colon = memchr(line, ':', n);
    size_t len = n, name;
    uint8_t *p;

    (void)one;
    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        buf_clear(head);
        return n;
    }
    if (!colon)
        return n;
    while (len > 0 && isspace((unsigned char)line[len - 1]))
        len--;
    name = (size_t)(colon - line);
    line[name] = '\0';
    do
        colon++;
    while (colon < line + len && isspace((unsigned char)*colon));
    if (colon > line + len)
        colon = line + len;
    if (head->len + n > HEAD_MAX || !(p = buf_extend(head, name + 2 + (size_t)(line + len - colon)))) {
        t->rc = head->len + n > HEAD_MAX ? -EIO : -ENOMEM;
        return 0;
    }
    for (size_t i = 0; i < name; i++)
        *p++ = (uint8_t)tolower((unsigned char)line[i]);
    *p++ = ':';
    memcpy(p, colon, (size_t)(line + len - colon));
    p[line + len - colon] = '\0';
    return n;
}

static uint64_t response_max(const struct http_exchange *x)
{
    return x->max_response ? x->max_response : RESPONSE_DEFAULT;
}

static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
    struct http_transfer *t = arg;
    struct http_exchange *x = t->x;
    uint64_t max = response_max(x);

    (void)one;
    if (n > max - x->response.len) {
        t->rc = -EIO;
        snprintf(x->why, sizeof(x->why), "the answer is longer than %" PRIu64 " bytes", max);
        (void)shale_buf_append(&x->response, data, (size_t)(max - x->response.len)); /* to tell what it is */
        return 0;
    }
    if (shale_buf_append(&x->response, data, n) < 0) {
        t->rc = -ENOMEM;
        return 0;
    }
    return n;
}

static size_t on_source(char *out, size_t one, size_t n, void *arg)
{
    struct http_transfer *t = arg;
    const struct http_source *s = &t->x->source;
    uint64_t left = s->len - t->sent;
    size_t got;

    (void)one;
    if (left == 0)
        return 0;
    got = s->read(s->arg, t->sent, (uint8_t *)out, n < left ? n : (size_t)left);
    if (got == 0) {
        t->rc = -ENOMEM;
        return CURL_READFUNC_ABORT;
    }
    t->sent += got;
    return got;
}

/* libcurl sends it once more. */
static int on_seek(void *arg, curl_off_t at, int origin)
{
    struct http_transfer *t = arg;

    if (origin != SEEK_SET || at < 0 || (uint64_t)at > t->x->source.len)
        return CURL_SEEKFUNC_FAIL;
    t->sent = (uint64_t)at;
    return CURL_SEEKFUNC_OK;
}

/* There is a connection; before, CURLOPT_CONNECTTIMEOUT counts. Again when libcurl makes the request once more. */
static int on_connected(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    struct http_transfer *t = arg;

    (void)ip, (void)local_ip, (void)port, (void)local_port;
    t->asking = true;
    http_pace_begin(&t->pace, t->opt, t->x, clock_mono_ms());
    return CURL_PREREQFUNC_OK;
}

/* Called by libcurl whenever something moves, and whenever the client looks after its transfers. */
static int on_progress(void *arg, curl_off_t all_in, curl_off_t in, curl_off_t all_out, curl_off_t out)
{
    struct http_transfer *t = arg;
    bool waiting = out >= (curl_off_t)http_body_len(t->x) && t->x->response_head.len == 0;
    int rc = 0;

    (void)all_in, (void)all_out;
    if (t->asking)
        rc = http_pace_check(&t->pace, t->x, (uint64_t)in + (uint64_t)out, waiting, clock_mono_ms());
    if (rc < 0)
        t->rc = rc;
    return rc < 0;
}

/* The lines that libcurl has are copies of those of the exchange. */
static void drop_headers(struct http_transfer *t)
{
    for (struct curl_slist *l = t->headers; l; l = l->next)
        secret_wipe(l->data, strlen(l->data));
    curl_slist_free_all(t->headers);
    t->headers = NULL;
}

struct http_transfer *http_transfer_new(const struct http_options *opt)
{
    struct http_transfer *t = mem_zalloc(sizeof(*t));

    if (!t)
        return NULL;
    t->opt = opt;
    t->easy = curl_easy_init();
    if (!t->easy) {
        mem_free(t);
        return NULL;
    }
    list_init(&t->node);
    return t;
}

void http_transfer_free(struct http_transfer *t)
{
    if (!t)
        return;
    drop_headers(t);
    curl_easy_cleanup(t->easy);
    mem_free(t);
}

static int set_headers(struct http_transfer *t)
{
    /* What libcurl would add by itself: a hundred milliseconds of waiting for a "100", and a type that is wrong. */
    static const char *const without[] = { "Expect:", "Content-Type:" };
    const char *line;
    size_t i = 0;

    while ((line = i < ARRAY_SIZE(without) ? without[i] : http_request_header(t->x, i - ARRAY_SIZE(without))) != NULL) {
        struct curl_slist *more = curl_slist_append(t->headers, line);

        if (!more)
            return -ENOMEM;
        t->headers = more;
        i++;
    }
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    return 0;
}

static void set_source(CURL *e, struct http_transfer *t)
{
    curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->x->source.len);
    curl_easy_setopt(e, CURLOPT_READFUNCTION, on_source);
    curl_easy_setopt(e, CURLOPT_READDATA, t);
    curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(e, CURLOPT_SEEKDATA, t);
}

static void set_method(CURL *e, struct http_transfer *t)
{
    const struct http_exchange *x = t->x;

    if (x->method == HTTP_HEAD) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else if (x->source.len) {
        set_source(e, t);
    } else if (x->method == HTTP_PUT || x->method == HTTP_POST) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, x->body.len ? (const char *)x->body.data : "");
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body.len);
    } else {
        curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    }
    if (x->method != HTTP_HEAD && x->method != HTTP_GET)
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, http_method_name(x->method));
}

static void set_rules(struct http_transfer *t)
{
    CURL *e = t->easy;

    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "shalefs");
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* a look-up of a name that hangs is left behind, not waited for */
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)t->opt->connect_ms);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)t->x->total_ms);
    if (t->x->direct)
        curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
    if (t->opt->ca_file)
        curl_easy_setopt(e, CURLOPT_CAINFO, t->opt->ca_file);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, t);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(e, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->complaint);
}

int http_transfer_begin(struct http_transfer *t, struct http_exchange *x)
{
    int rc = x->prepare ? x->prepare(x, x->prepare_arg) : 0;

    t->x = x;
    t->rc = 0;
    t->asking = false;
    t->sent = 0;
    t->begun_ns = clock_mono_ns();
    t->complaint[0] = '\0';
    buf_clear(&x->response);
    buf_clear(&x->response_head);
    curl_easy_reset(t->easy); /* what it says of its last exchange with it */
    if (rc == 0)
        rc = shale_buf_reserve(&x->response, x->secret ? response_max(x) : x->expected);
    if (rc < 0)
        return rc;
    rc = curl_easy_setopt(t->easy, CURLOPT_URL, (const char *)x->url.data) == CURLE_OK ? 0 : -ENOMEM;
    if (rc == 0)
        rc = set_headers(t);
    if (rc < 0)
        return rc;
    set_method(t->easy, t);
    set_rules(t);
    x->transfer = t;
    return 0;
}

/* What OpenSSL found wrong. Unspecified is where libcurl begins, and stays when nothing is wrong but the name. */
static const char *certificate_hint(CURL *e)
{
    long verdict = 0;

    curl_easy_getinfo(e, CURLINFO_SSL_VERIFYRESULT, &verdict);
    switch (verdict) {
    case X509_V_OK:
    case X509_V_ERR_UNSPECIFIED:
        return "; the certificate is another host's: check the endpoint's name";
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "; check this host's clock, then the server's certificate";
    default:
        return "; if you trust the server, give the certificate of its authority as the CA file (AWS_CA_BUNDLE)";
    }
}

static bool begins(const struct http_exchange *x, const char *scheme)
{
    return x->url.len && strncmp((const char *)x->url.data, scheme, strlen(scheme)) == 0;
}

/* The proxy's answer to CONNECT; 0: there was none, or it let us through. */
static long proxy_refusal(CURL *e)
{
    long status = 0;

    curl_easy_getinfo(e, CURLINFO_HTTP_CONNECTCODE, &status);
    return status >= 300 ? status : 0;
}

/* A server that answers in another protocol: only then libcurl had a connection. */
static bool was_connected(CURL *e)
{
    curl_off_t us = 0;

    curl_easy_getinfo(e, CURLINFO_CONNECT_TIME_T, &us);
    return us > 0;
}

/* What a code of libcurl means to us, and what to do about it that libcurl's own words do not say. */
static int meaning_of(const struct http_transfer *t, CURLcode code, const char **hint)
{
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_UNSUPPORTED_PROTOCOL:
        if (!was_connected(t->easy))
            return -EINVAL;
        break;
    case CURLE_URL_MALFORMAT:
        return -EINVAL;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
        *hint = certificate_hint(t->easy);
        return -EIO;
    case CURLE_SSL_CACERT_BADFILE:
        *hint = "; the CA file cannot be read";
        return -EINVAL;
    case CURLE_SSL_CONNECT_ERROR:
        *hint = "; if the server speaks no TLS, the endpoint begins with http://";
        return SHALE_ETRANSIENT;
    case CURLE_COULDNT_RESOLVE_HOST:
        *hint = "; check the endpoint's name and this host's DNS";
        return SHALE_ETRANSIENT;
    case CURLE_COULDNT_CONNECT:
        *hint = "; check the endpoint's name and port, and whether the server runs";
        return SHALE_ETRANSIENT;
    case CURLE_GOT_NOTHING:
    case CURLE_WEIRD_SERVER_REPLY:
        break;
    default:
        return SHALE_ETRANSIENT;
    }
    *hint = begins(t->x, "http:") ? "; if the server speaks TLS, the endpoint begins with https://" : "";
    return SHALE_ETRANSIENT;
}

static bool explain_proxy(struct http_transfer *t, CURLcode code)
{
    struct http_exchange *x = t->x;
    long status = proxy_refusal(t->easy);

    if (code != CURLE_COULDNT_RESOLVE_PROXY && code != CURLE_PROXY && !status)
        return false;
    x->rc = SHALE_ETRANSIENT;
    if (status)
        snprintf(x->why, sizeof(x->why), "the proxy answers %ld%s", status,
                 status == 407 ? "; give its URL a login, as in https_proxy=http://USER:PASSWORD@HOST:PORT"
                               : " instead of connecting to the store; check https_proxy, or set no_proxy");
    else
        snprintf(x->why, sizeof(x->why), "the proxy cannot be used (%s); check http_proxy and https_proxy, or set "
                 "no_proxy", curl_easy_strerror(code));
    return true;
}

static void explain(struct http_transfer *t, CURLcode code)
{
    const char *hint = "", *words = t->complaint;
    struct http_exchange *x = t->x;
    size_t n = strlen(words);

    if (explain_proxy(t, code))
        return;
    if (!words[0] || strchr(words, '@')) /* may be a URL with a password */
        n = strlen(words = curl_easy_strerror(code));
    while (n > 0 && words[n - 1] == ' ')
        n--;
    x->rc = meaning_of(t, code, &hint);
    snprintf(x->why, sizeof(x->why), "%.*s%s", (int)n, words, hint);
}

void http_transfer_end(struct http_transfer *t, CURLcode code)
{
    struct http_exchange *x = t->x;
    curl_off_t in = 0, out = 0;
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &out);
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &in);
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    x->bytes_in = (uint64_t)in;
    x->bytes_out = (uint64_t)out;
    x->wire_ns = clock_mono_ns() - t->begun_ns;
    x->status = (int)status;
    if (t->rc < 0) {
        x->rc = t->rc;
        if (t->rc == -ENOMEM || !x->why[0])
            snprintf(x->why, sizeof(x->why), t->rc == -ENOMEM ? "out of memory" : "the answer's header is too long");
    } else if (code != CURLE_OK) {
        explain(t, code);
    } else {
        x->rc = 0;
    }
    drop_headers(t);
    t->x = NULL;
    x->transfer = NULL;
}
