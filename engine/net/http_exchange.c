/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http.h"

#include "base/buf.h"
#include "net/secret.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void http_exchange_fini(struct http_exchange *x)
{
    shale_buf_fini(&x->url);
    secret_buf_fini(&x->headers);
    if (x->secret)
        secret_buf_fini(&x->response);
    else
        shale_buf_fini(&x->response);
    shale_buf_fini(&x->response_head);
}

int http_add_header(struct http_exchange *x, const char *fmt, ...)
{
    va_list ap, again;
    uint8_t *p;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    p = n < 0 || secret_buf_reserve(&x->headers, (size_t)n + 1) < 0 ? NULL : buf_extend(&x->headers, (size_t)n + 1);
    if (p)
        (void)vsnprintf((char *)p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p ? 0 : -ENOMEM;
}

/* Both lists of headers are strings, one behind the other. */
static const char *next_string(const struct shale_buf *b, const char *s)
{
    const char *begin = (const char *)b->data;

    if (!begin)
        return NULL;
    s = s ? s + strlen(s) + 1 : begin;
    return s < begin + b->len ? s : NULL;
}

const char *http_request_header(const struct http_exchange *x, size_t i)
{
    const char *s = next_string(&x->headers, NULL);

    while (s && i-- > 0)
        s = next_string(&x->headers, s);
    return s;
}

const char *http_response_header(const struct http_exchange *x, const char *name)
{
    const char *found = NULL;
    size_t n = strlen(name);

    for (const char *s = next_string(&x->response_head, NULL); s; s = next_string(&x->response_head, s))
        if (strncmp(s, name, n) == 0 && s[n] == ':')
            found = s + n + 1;
    return found;
}

uint64_t http_body_len(const struct http_exchange *x)
{
    return x->source.len ? x->source.len : x->body.len;
}

const char *http_method_name(enum http_method m)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_PUT] = "PUT", [HTTP_POST] = "POST", [HTTP_DELETE] = "DELETE",
    };

    return names[m];
}
