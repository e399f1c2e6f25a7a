/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/text.h"

#include "base/buf.h"
#include "base/crc32.h"
#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define CRC_KEY "crc32="
#define CRC_LINE_LEN (sizeof(CRC_KEY) - 1 + 8 + 1)
#define TIME_LEN 24 /* 2026-11-23T14:00:05.123Z */
#define FIELDS_MAX 32

void text_begin(struct text_out *t, struct shale_buf *b, const char *magic)
{
    *t = (struct text_out){ .buf = b, .start = b->len };
    t->rc = buf_printf(b, "%s\n", magic);
}

/* What stands for itself. Others, among them those that could end a line, become %XX. */
static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c != 0x7f && c != '%';
}

/* Keys are ours and need no escaping. */
void text_add(struct text_out *t, const char *key, const char *value)
{
    if (t->rc == 0)
        t->rc = buf_printf(t->buf, "%s=", key);
    for (const char *p = value; *p && t->rc == 0; p++) {
        uint8_t c = (uint8_t)*p;

        t->rc = is_plain(c) ? buf_put_u8(t->buf, c) : buf_printf(t->buf, "%%%02X", c);
    }
    if (t->rc == 0)
        t->rc = buf_put_u8(t->buf, '\n');
}

void text_add_u64(struct text_out *t, const char *key, uint64_t v)
{
    if (t->rc == 0)
        t->rc = buf_printf(t->buf, "%s=%" PRIu64 "\n", key, v);
}

void text_add_hex(struct text_out *t, const char *key, uint64_t v)
{
    if (t->rc == 0)
        t->rc = buf_printf(t->buf, "%s=0x%" PRIx64 "\n", key, v);
}

static int format_time(int64_t ms, char *out, size_t cap)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;

    if (ms < 0 || !gmtime_r(&t, &tm) || tm.tm_year > 9999 - 1900)
        return -EINVAL;
    snprintf(out, cap, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec, (int)(ms % 1000));
    return 0;
}

void text_add_time(struct text_out *t, const char *key, int64_t ms)
{
    char text[64];

    if (t->rc == 0)
        t->rc = format_time(ms, text, sizeof(text));
    if (t->rc == 0)
        text_add(t, key, text);
}

/* The sum is of this text alone, whatever stood in the buffer before it. After a failure that is all that is left. */
int text_end(struct text_out *t)
{
    uint32_t crc = crc32_of(slice_from(slice_of_buf(t->buf), t->start));

    if (t->rc == 0)
        t->rc = buf_printf(t->buf, CRC_KEY "%08" PRIx32 "\n", crc);
    if (t->rc < 0)
        t->buf->len = t->start;
    return t->rc;
}

/* The sum is compared as text, so that there is one way to write it. It finds damage and cut ends, and no forgery. */
int text_open(struct shale_slice data, const char *magic, const char *what, struct shale_slice *lines)
{
    size_t magic_len = strlen(magic);
    char want[CRC_LINE_LEN + 1];
    struct shale_slice body;

    if (data.len < magic_len + 1 || memcmp(data.data, magic, magic_len) != 0 || data.data[magic_len] != '\n')
        return err_set(SHALE_ECORRUPT, "%s does not begin with the line \"%s\"", what, magic);
    if (data.len < magic_len + 1 + CRC_LINE_LEN)
        return err_set(SHALE_ECORRUPT, "%s is cut short", what);
    body = slice_of(data.data, data.len - CRC_LINE_LEN);
    snprintf(want, sizeof(want), CRC_KEY "%08" PRIx32 "\n", crc32_of(body));
    if (memcmp(data.data + body.len, want, CRC_LINE_LEN) != 0 || body.data[body.len - 1] != '\n')
        return err_set(SHALE_ECORRUPT, "%s is damaged: its last line should be %.*s", what, (int)CRC_LINE_LEN - 1,
                       want);
    *lines = slice_from(body, magic_len + 1);
    return 0;
}

/* Takes the first line off, cut at its first '='. 1 for a line, 0 at the end, -EINVAL for one without key. */
static int next_line(struct shale_slice *lines, struct shale_slice *key, struct shale_slice *value)
{
    const uint8_t *end, *eq;

    if (lines->len == 0)
        return 0;
    end = memchr(lines->data, '\n', lines->len); /* text_open saw that the last byte is one */
    if (!end)
        return -EINVAL;
    eq = memchr(lines->data, '=', (size_t)(end - lines->data));
    if (!eq || eq == lines->data)
        return -EINVAL;
    *key = slice_of(lines->data, (size_t)(eq - lines->data));
    *value = slice_of(eq + 1, (size_t)(end - eq - 1));
    *lines = slice_from(*lines, (size_t)(end - lines->data) + 1);
    return 1;
}

/* For what must be known before it is clear how to read the rest, such as the version. */
bool text_find(struct shale_slice lines, const char *key, struct shale_slice *value)
{
    struct shale_slice k, v;

    while (next_line(&lines, &k, &v) == 1) {
        if (!slice_eq(k, slice_str(key)))
            continue;
        *value = v;
        return true;
    }
    return false;
}

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

/* No signs, spaces or leading zeros: strtoull would take them. */
static int get_number(struct shale_slice value, unsigned base, uint64_t *out)
{
    uint64_t v = 0;

    if (value.len == 0 || (value.len > 1 && value.data[0] == '0'))
        return -EINVAL;
    for (size_t i = 0; i < value.len; i++) {
        unsigned d = (unsigned)digit(value.data[i]);

        if (d >= base || __builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, (uint64_t)d, &v))
            return -EINVAL;
    }
    *out = v;
    return 0;
}

int text_get_u64(struct shale_slice value, uint64_t *out)
{
    return get_number(value, 10, out);
}

int text_get_hex(struct shale_slice value, uint64_t *out)
{
    if (!slice_has_prefix(value, slice_str("0x")))
        return -EINVAL;
    return get_number(slice_from(value, 2), 16, out);
}

static int get_digits(const uint8_t *p, size_t n)
{
    int v = 0;

    for (size_t i = 0; i < n; i++)
        v = v * 10 + (p[i] >= '0' && p[i] <= '9' ? p[i] - '0' : 0);
    return v;
}

/* What was read is written again and compared: so whatever is not exactly the one form of a real time is refused. */
int text_get_time(struct shale_slice value, int64_t *ms)
{
    const uint8_t *p = value.data;
    char again[64];
    struct tm tm;
    int64_t t;

    if (value.len != TIME_LEN)
        return -EINVAL;
    memset(&tm, 0, sizeof(tm));
    tm.tm_year = get_digits(p, 4) - 1900;
    tm.tm_mon = get_digits(p + 5, 2) - 1;
    tm.tm_mday = get_digits(p + 8, 2);
    tm.tm_hour = get_digits(p + 11, 2);
    tm.tm_min = get_digits(p + 14, 2);
    tm.tm_sec = get_digits(p + 17, 2);
    t = (int64_t)timegm(&tm) * 1000 + get_digits(p + 20, 3);
    if (format_time(t, again, sizeof(again)) < 0 || memcmp(again, p, TIME_LEN) != 0)
        return -EINVAL;
    *ms = t;
    return 0;
}

/* The byte that %XX stands for, from s on; only the form that text_add writes. -EINVAL. */
static int get_escaped(struct shale_slice s)
{
    int c;

    if (s.len < 3 || digit(s.data[1]) > 15 || digit(s.data[2]) > 15 || s.data[1] >= 'a' || s.data[2] >= 'a')
        return -EINVAL;
    c = digit(s.data[1]) << 4 | digit(s.data[2]);
    return c == 0 || is_plain((uint8_t)c) ? -EINVAL : c;
}

int text_get_string(struct shale_slice value, char *out, size_t cap)
{
    size_t n = 0;

    for (size_t i = 0; i < value.len; i++) {
        int c = value.data[i];

        if (c == '%') {
            c = get_escaped(slice_from(value, i));
            i += 2;
        } else if (!is_plain((uint8_t)c)) {
            c = -EINVAL;
        }
        if (c < 0 || n + 1 >= cap)
            return -EINVAL;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return 0;
}

static int read_line(const struct text_field *fields, size_t n, const char *what, void *obj, struct shale_slice key,
                     struct shale_slice value, bool *seen)
{
    for (size_t i = 0; i < n; i++) {
        if (!slice_eq(key, slice_str(fields[i].key)))
            continue;
        if (seen[i])
            return err_set(SHALE_ECORRUPT, "%s has two lines %s", what, fields[i].key);
        seen[i] = true;
        if (fields[i].get(obj, value) < 0)
            return err_set(SHALE_ECORRUPT, "%s has the line %s with a value that cannot be", what, fields[i].key);
        return 1;
    }
    return 0;
}

/* Each field once, none left out: a default for what is missing would hide damage. */
int text_parse(struct shale_slice lines, const struct text_field *fields, size_t n, const char *what, void *obj,
               size_t *n_unknown)
{
    bool seen[FIELDS_MAX] = { false };
    struct shale_slice key, value;
    size_t unknown = 0;
    int more, rc;

    assert(n <= FIELDS_MAX);
    while ((more = next_line(&lines, &key, &value)) == 1) {
        rc = read_line(fields, n, what, obj, key, value, seen);
        if (rc < 0)
            return rc;
        if (rc == 0 && !n_unknown)
            return err_set(SHALE_ECORRUPT, "%s has a line with the unknown key %.*s", what,
                           key.len > 40 ? 40 : (int)key.len, (const char *)key.data);
        unknown += rc == 0;
    }
    if (more < 0)
        return err_set(SHALE_ECORRUPT, "%s has a line that is not of the form key=value", what);
    for (size_t i = 0; i < n; i++)
        if (!seen[i])
            return err_set(SHALE_ECORRUPT, "%s has no line %s", what, fields[i].key);
    if (n_unknown)
        *n_unknown = unknown;
    return 0;
}
