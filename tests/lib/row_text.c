/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/row_text.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <stdio.h>

static void malformed(const char *word)
{
    fprintf(stderr, "malformed row: %s\n", word);
    abort();
}

static void parse_row(struct shale_row *row, char *word)
{
    char *sign = strpbrk(word, "=+");
    char *at = sign ? strchr(sign, '@') : NULL;
    char *rest;

    if (!at)
        malformed(word);
    row->key = slice_of(word, (size_t)(sign - word));
    row->value = slice_of(sign + 1, (size_t)(at - sign - 1));
    row->kind = *sign == '+' ? SHALE_MERGE : SHALE_PUT;
    if (row->kind == SHALE_PUT && slice_eq(row->value, slice_str("DEL"))) {
        row->kind = SHALE_TOMBSTONE;
        row->value.len = 0;
    }
    row->seq = strtoull(at + 1, &rest, 10);
    row->create_ts = row->expire_ts = SHALE_NO_TS;
    while (*rest == ':') {
        int64_t *ts = rest[1] == 'c' ? &row->create_ts : &row->expire_ts;

        *ts = strtoll(rest + 2, &rest, 10);
    }
    if (*rest)
        malformed(word);
}

void row_list_parse(struct row_list *l, const char *text)
{
    char *save = NULL;

    *l = (struct row_list){ .text = mem_strdup(text) };
    if (!l->text)
        abort();
    for (char *w = strtok_r(l->text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        if (vec_reserve(&l->rows, &l->cap, l->n + 1, sizeof(*l->rows)) < 0)
            abort();
        parse_row(&l->rows[l->n++], w);
    }
}

void row_list_fini(struct row_list *l)
{
    mem_free(l->rows);
    mem_free(l->text);
}

void row_text(const struct shale_row *row, struct shale_buf *out)
{
    const char *sep = out->len ? " " : "";
    int rc;

    rc = buf_printf(out, "%s%.*s%s%.*s@%llu", sep, (int)row->key.len, (const char *)row->key.data,
                    row->kind == SHALE_MERGE ? "+" : row->kind == SHALE_TOMBSTONE ? "=DEL" : "=", (int)row->value.len,
                    row->value.len ? (const char *)row->value.data : "", (unsigned long long)row->seq);
    if (rc == 0 && row->create_ts != SHALE_NO_TS)
        rc = buf_printf(out, ":c%lld", (long long)row->create_ts);
    if (rc == 0 && row->expire_ts != SHALE_NO_TS)
        rc = buf_printf(out, ":e%lld", (long long)row->expire_ts);
    if (rc < 0)
        abort();
}

char *iter_text_n(struct iter *it, size_t n)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct shale_row row;
    int rc = 0;

    if (shale_buf_append(&out, "", 1) < 0)
        abort();
    out.len = 0;
    while (n-- > 0 && (rc = iter_next(it, &row)) == 0)
        row_text(&row, &out);
    if (rc < 0 && buf_printf(&out, "%serror %d", out.len ? " " : "", rc) < 0)
        abort();
    return (char *)buf_take(&out);
}

char *iter_text(struct iter *it)
{
    char *text = iter_text_n(it, SIZE_MAX);

    iter_close(it);
    return text;
}
