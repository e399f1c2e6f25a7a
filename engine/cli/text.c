/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include "base/buf.h"
#include "base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>

static void put_hex(FILE *out, const uint8_t *p, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        putc(digits[p[i] >> 4], out);
        putc(digits[p[i] & 15], out);
    }
}

static void sha256(struct shale_slice bytes, uint8_t out[32])
{
    unsigned len = 32;

    if (EVP_Digest(bytes.data, bytes.len, out, &len, EVP_sha256(), NULL) != 1)
        abort();
}

void text_cell(FILE *out, struct shale_slice bytes, size_t digest)
{
    uint8_t sum[32];

    if (bytes.len == 0) {
        putc('-', out);
    } else if (bytes.len > digest) {
        sha256(bytes, sum);
        fprintf(out, "@%zu:", bytes.len);
        put_hex(out, sum, sizeof(sum));
    } else {
        put_hex(out, bytes.data, bytes.len);
    }
}

static void put_time(FILE *out, int64_t ms)
{
    if (ms == SHALE_NO_TS)
        putc('-', out);
    else
        fprintf(out, "%" PRId64, ms);
}

void text_scan_line(FILE *out, const struct shale_row *row, bool bare, size_t digest)
{
    text_cell(out, row->key, digest);
    putc('\t', out);
    text_cell(out, row->value, digest);
    if (!bare) {
        fprintf(out, "\t%" PRIu64 "\t%" PRId64 "\t", row->seq, row->create_ts == SHALE_NO_TS ? 0 : row->create_ts);
        put_time(out, row->expire_ts);
    }
    putc('\n', out);
}

void text_row_line(FILE *out, const struct shale_row *row, size_t digest)
{
    text_cell(out, row->key, digest);
    fprintf(out, "\t%" PRIu64 "\t%c\t", row->seq, row->kind == SHALE_PUT ? 'P' : row->kind == SHALE_MERGE ? 'M' : 'D');
    put_time(out, row->create_ts);
    putc('\t', out);
    put_time(out, row->expire_ts);
    putc('\t', out);
    text_cell(out, row->value, digest);
    putc('\n', out);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int parse_repeat(const char *text, struct shale_buf *out)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    uint8_t *p;

    if (*end != ':' || hex_digit(end[1]) < 0 || hex_digit(end[2]) < 0 || end[3] || n > SHALE_VALUE_MAX)
        return err_set(-EINVAL, "'*%s' is no cell: want *COUNT:HH", text);
    p = buf_extend(out, n);
    if (!p)
        return -ENOMEM;
    memset(p, hex_digit(end[1]) << 4 | hex_digit(end[2]), n);
    return 0;
}

int text_parse_cell(const char *text, struct shale_buf *out)
{
    size_t len = strlen(text);
    uint8_t *p;

    buf_clear(out);
    if (strcmp(text, "-") == 0)
        return 0;
    if (text[0] == '*')
        return parse_repeat(text + 1, out);
    if (len % 2)
        return err_set(-EINVAL, "'%.80s' is no cell: an odd number of hex digits", text);
    p = buf_extend(out, len / 2);
    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < len; i += 2) {
        if (hex_digit(text[i]) < 0 || hex_digit(text[i + 1]) < 0)
            return err_set(-EINVAL, "'%.80s' is no cell: want hex digits, - or *COUNT:HH", text);
        p[i / 2] = (uint8_t)(hex_digit(text[i]) << 4 | hex_digit(text[i + 1]));
    }
    return 0;
}

bool text_cell_is(const char *cell, struct shale_slice bytes)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    bool same;

    if (!f)
        return false;
    text_cell(f, bytes, cell[0] == '@' ? 0 : TEXT_NO_DIGEST);
    fclose(f);
    same = strcmp(cell, text) == 0;
    free(text);
    return same;
}

int text_parse_u64(const char *text, const char *what, uint64_t max, uint64_t *out)
{
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || v > max)
        return err_set(-EINVAL, "%s: '%s' is no number from 0 to %" PRIu64, what, text, max);
    *out = v;
    return 0;
}
