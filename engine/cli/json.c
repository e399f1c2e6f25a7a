/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"

#include <inttypes.h>

void json_init(struct json *j, FILE *out)
{
    *j = (struct json){ .out = out, .fresh = true };
}

static void new_line(struct json *j)
{
    putc('\n', j->out);
    for (int i = 0; i < j->depth; i++)
        fputs("  ", j->out);
}

static void quote(FILE *out, const char *s)
{
    putc('"', out);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c >= 8 && c <= 13 && c != 11)
            fprintf(out, "\\%c", "btn fr"[c - 8]);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

/* What stands in front of a value. */
static void lead(struct json *j, const char *key)
{
    if (j->depth > 0) {
        if (!j->fresh)
            putc(',', j->out);
        new_line(j);
    }
    j->fresh = false;
    if (key) {
        quote(j->out, key);
        fputs(": ", j->out);
    }
}

static void open_with(struct json *j, const char *key, char bracket)
{
    lead(j, key);
    putc(bracket, j->out);
    j->depth++;
    j->fresh = true;
}

static void close_with(struct json *j, char bracket)
{
    j->depth--;
    if (!j->fresh)
        new_line(j);
    putc(bracket, j->out);
    j->fresh = false;
    if (j->depth == 0)
        putc('\n', j->out);
}

void json_object(struct json *j, const char *key)
{
    open_with(j, key, '{');
}

void json_object_end(struct json *j)
{
    close_with(j, '}');
}

void json_array(struct json *j, const char *key)
{
    open_with(j, key, '[');
}

void json_array_end(struct json *j)
{
    close_with(j, ']');
}

void json_string(struct json *j, const char *key, const char *value)
{
    lead(j, key);
    if (value)
        quote(j->out, value);
    else
        fputs("null", j->out);
}

void json_u64(struct json *j, const char *key, uint64_t v)
{
    lead(j, key);
    fprintf(j->out, "%" PRIu64, v);
}

void json_i64(struct json *j, const char *key, int64_t v)
{
    lead(j, key);
    fprintf(j->out, "%" PRId64, v);
}

void json_bool(struct json *j, const char *key, bool v)
{
    lead(j, key);
    fputs(v ? "true" : "false", j->out);
}

void json_bytes(struct json *j, const char *key, struct shale_slice bytes)
{
    json_array(j, key);
    for (size_t i = 0; i < bytes.len; i++)
        json_u64(j, NULL, bytes.data[i]);
    json_array_end(j);
}
