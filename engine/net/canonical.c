/* SPDX-License-Identifier: Apache-2.0 */
#include "net/canonical.h"

#include "base/buf.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

struct canonical_header canonical_split(const char *line)
{
    size_t n = strcspn(line, ":");
    const char *v = line[n] ? line + n + 1 : line + n;
    size_t len;

    v += strspn(v, " \t");
    len = strlen(v);
    while (len > 0 && (v[len - 1] == ' ' || v[len - 1] == '\t'))
        len--;
    return (struct canonical_header){ .name = slice_of(line, n), .value = slice_of(v, len) };
}

static int compare_headers(const void *a, const void *b)
{
    const struct canonical_header *x = a, *y = b;
    size_t n = x->name.len < y->name.len ? x->name.len : y->name.len;

    for (size_t i = 0; i < n; i++) {
        int c = tolower(x->name.data[i]) - tolower(y->name.data[i]);

        if (c != 0)
            return c;
    }
    return (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

void canonical_sort(struct canonical_header *h, size_t n)
{
    qsort(h, n, sizeof(*h), compare_headers);
}

int canonical_put_lower(struct shale_buf *out, struct shale_slice s)
{
    uint8_t *p = buf_extend(out, s.len);

    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < s.len; i++)
        p[i] = (uint8_t)tolower(s.data[i]);
    return 0;
}

int canonical_put_headers(struct shale_buf *out, const struct canonical_header *h, size_t n)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = canonical_put_lower(out, h[i].name);
        if (rc == 0)
            rc = buf_put_u8(out, ':');
        if (rc == 0)
            rc = buf_append_slice(out, h[i].value);
        if (rc == 0)
            rc = buf_put_u8(out, '\n');
    }
    return rc;
}

int canonical_hmac(struct shale_slice key, struct shale_slice text, uint8_t out[CANONICAL_DIGEST_LEN])
{
    unsigned n = 0;

    return HMAC(EVP_sha256(), key.data, (int)key.len, text.data, text.len, out, &n) && n == CANONICAL_DIGEST_LEN
               ? 0 : -EIO;
}
