/* SPDX-License-Identifier: Apache-2.0 */
#include "net/uri.h"

#include "base/buf.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

static int end_string(struct shale_buf *out)
{
    if (shale_buf_reserve(out, 1) < 0)
        return -ENOMEM;
    out->data[out->len] = '\0';
    return 0;
}

int uri_encode(struct shale_buf *out, const char *s, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *s; s++) {
        uint8_t c = (uint8_t)*s;
        const char hex[3] = { '%', digits[c >> 4], digits[c & 15] };
        bool plain = is_unreserved(*s) || (keep_slash && *s == '/');

        if (shale_buf_append(out, plain ? s : hex, plain ? 1 : 3) < 0)
            return -ENOMEM;
    }
    return end_string(out);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int uri_decode(struct shale_buf *out, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)s[i];

        if (c == '%') {
            if (len - i < 3 || digit(s[i + 1]) < 0 || digit(s[i + 2]) < 0)
                return -EINVAL;
            c = (uint8_t)(digit(s[i + 1]) << 4 | digit(s[i + 2]));
            i += 2;
            if (c == 0)
                return -EINVAL;
        }
        if (buf_put_u8(out, c) < 0)
            return -ENOMEM;
    }
    return end_string(out);
}
