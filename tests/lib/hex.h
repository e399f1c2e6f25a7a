/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HEX_H
#define TESTS_HEX_H

#include "base/buf.h"
#include "lib/check.h"

#include <ctype.h>

static inline unsigned hex_digit(char c)
{
    return isdigit((unsigned char)c) ? (unsigned)(c - '0') : (unsigned)(tolower((unsigned char)c) - 'a') + 10;
}

/* Append the bytes that text spells in hexadecimal; everything but digits separates. */
static inline void hex_append(struct shale_buf *out, const char *text)
{
    for (; *text; text++) {
        if (!isxdigit((unsigned char)text[0]))
            continue;
        assert_true(isxdigit((unsigned char)text[1]));
        assert_int_equal(buf_put_u8(out, (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]))), 0);
        text++;
    }
}

#endif
