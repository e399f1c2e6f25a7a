/* SPDX-License-Identifier: Apache-2.0 */
#include "net/azure_sign.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "net/canonical.h"
#include "net/uri.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

void azure_date(int64_t now_s, char out[AZURE_DATE_LEN + 1])
{
    static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov",
                                          "Dec" };
    time_t t = (time_t)now_s;
    char text[96];
    struct tm tm;

    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", AZURE_DATE_LEN + 1);
    if (!gmtime_r(&t, &tm) || tm.tm_year < 0 || tm.tm_year > 8099)
        return;
    /* strftime would name days and months in the language of the host. */
    if (snprintf(text, sizeof(text), "%s, %02d %s %d %02d:%02d:%02d GMT", days[tm.tm_wday % 7], tm.tm_mday,
                 months[tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec) == AZURE_DATE_LEN)
        memcpy(out, text, AZURE_DATE_LEN + 1);
}

static bool is_named(const struct canonical_header *h, const char *name)
{
    return h->name.len == strlen(name) && strncasecmp((const char *)h->name.data, name, h->name.len) == 0;
}

/* The lines between method and x-ms- headers, by their places; what is not sent is empty. */
static int put_standard_headers(const struct azure_sign_request *r, const struct canonical_header *h,
                                struct shale_buf *out)
{
    static const char *const names[] = { "Content-Encoding", "Content-Language", "Content-Length", "Content-MD5",
                                         "Content-Type", "Date", "If-Modified-Since", "If-Match", "If-None-Match",
                                         "If-Unmodified-Since", "Range" };
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(names) && rc == 0; i++) {
        if (i == 2 && r->body_len > 0)
            rc = buf_printf(out, "%zu", r->body_len);
        for (size_t k = 0; k < r->n_headers && rc == 0; k++)
            if (is_named(&h[k], names[i]))
                rc = buf_append_slice(out, h[k].value);
        if (rc == 0)
            rc = buf_put_u8(out, '\n');
    }
    return rc;
}

static bool is_azures(const struct canonical_header *h)
{
    return h->name.len >= 5 && strncasecmp((const char *)h->name.data, "x-ms-", 5) == 0;
}

/* The parameters as "\nname:value", each decoded. */
static int put_query(struct shale_buf *out, const char *query)
{
    int rc = 0;

    while (*query && rc == 0) {
        size_t len = strcspn(query, "&"), name = strcspn(query, "=&");

        rc = buf_printf(out, "\n%.*s:", (int)name, query);
        if (rc == 0 && name < len)
            rc = uri_decode(out, query + name + 1, len - name - 1);
        query += len;
        query += *query == '&';
    }
    return rc;
}

static int put_string(const struct azure_sign_request *r, struct canonical_header *h, const char *account,
                      struct shale_buf *out)
{
    size_t n = 0;
    int rc = buf_printf(out, "%s\n", r->method);

    for (size_t i = 0; i < r->n_headers; i++)
        h[i] = canonical_split(r->headers[i]);
    if (rc == 0)
        rc = put_standard_headers(r, h, out);
    for (size_t i = 0; i < r->n_headers; i++)
        if (is_azures(&h[i]))
            h[n++] = h[i];
    canonical_sort(h, n);
    if (rc == 0)
        rc = canonical_put_headers(out, h, n);
    if (rc == 0)
        rc = buf_printf(out, "/%s%s", account, r->path);
    return rc == 0 ? put_query(out, r->query) : rc;
}

int azure_string_to_sign(const struct azure_sign_request *r, const char *account, struct shale_buf *out)
{
    struct canonical_header *h = mem_calloc(r->n_headers, sizeof(*h));
    int rc = h ? put_string(r, h, account, out) : -ENOMEM;

    mem_free(h);
    return rc;
}

int azure_authorize(const struct azure_sign_request *r, const char *account, struct shale_slice key,
                    struct shale_buf *out)
{
    struct shale_buf text = SHALE_BUF_INIT;
    uint8_t digest[CANONICAL_DIGEST_LEN];
    char signature[CANONICAL_DIGEST_LEN * 2];
    int rc = azure_string_to_sign(r, account, &text);

    if (rc == 0)
        rc = canonical_hmac(key, slice_of_buf(&text), digest);
    if (rc == 0) {
        EVP_EncodeBlock((uint8_t *)signature, digest, sizeof(digest));
        rc = buf_printf(out, "SharedKey %s:%s", account, signature);
    }
    shale_buf_fini(&text);
    return rc;
}
