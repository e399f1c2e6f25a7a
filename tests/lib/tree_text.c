/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/tree_text.h"

#include "base/alloc.h"
#include "base/buf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static void check(bool ok, const char *text)
{
    if (ok)
        return;
    fprintf(stderr, "cannot read: %s\n", text);
    abort();
}

struct shale_ulid letter_id(char letter)
{
    return (struct shale_ulid){ .hi = 0, .lo = (uint64_t)(letter - 'a') + 1 };
}

static struct sst_view view_of(struct shale_ulid id, uint64_t size)
{
    struct sst_info info = { .has_first = true, .index_offset = size };
    struct sst_view v = { .id = id };

    check(shale_buf_append(&info.first, "k", 1) == 0 && sst_handle_new(id, 2, &info, &v.sst) == 0, "memory");
    sst_info_fini(&info);
    return v;
}

static void add_run(struct manifest *m, uint32_t id, uint64_t size)
{
    struct sorted_run run = { .id = id };

    check(vec_reserve(&m->runs, &m->cap_runs, m->n_runs + 1, sizeof(*m->runs)) == 0 &&
          vec_reserve(&run.ssts, &run.cap, 1, sizeof(*run.ssts)) == 0, "memory");
    run.ssts[run.n++] = view_of((struct shale_ulid){ 1, id }, size);
    m->runs[m->n_runs++] = run;
}

static void add_l0(struct manifest *m, char letter, uint64_t size)
{
    check(vec_reserve(&m->l0, &m->cap_l0, m->n_l0 + 1, sizeof(*m->l0)) == 0, "memory");
    m->l0[m->n_l0++] = view_of(letter_id(letter), size);
}

void tree_parse(struct manifest *m, const char *text)
{
    manifest_init(m);
    while (*text) {
        char letter = islower((unsigned char)*text) ? *text : 0;
        char *end = NULL;
        uint32_t id = letter ? 0 : (uint32_t)strtoul(text, &end, 10);
        uint64_t size;

        text = letter ? text + 1 : end;
        check(*text == ':', text);
        size = strtoull(text + 1, &end, 10);
        if (letter)
            add_l0(m, letter, size);
        else
            add_run(m, id, size);
        text = end + strspn(end, " ");
    }
}

static const char marks[] = "-*!x";

static const char *parse_sources(struct compaction *c, const char *text)
{
    size_t cap_l0 = 0, cap_runs = 0;
    char *end;

    for (text += strspn(text, " "); *text && *text != '>'; text += strspn(text, " ")) {
        if (islower((unsigned char)*text)) {
            check(vec_reserve(&c->l0, &cap_l0, c->n_l0 + 1, sizeof(*c->l0)) == 0, text);
            c->l0[c->n_l0++] = letter_id(*text++);
        } else {
            check(isdigit((unsigned char)*text) != 0, text);
            check(vec_reserve(&c->runs, &cap_runs, c->n_runs + 1, sizeof(*c->runs)) == 0, text);
            c->runs[c->n_runs++] = (uint32_t)strtoul(text, &end, 10);
            text = end;
        }
    }
    check(*text == '>', text);
    c->destination = (uint32_t)strtoul(text + 1, &end, 10);
    return end;
}

void compactions_parse(struct compactions *cs, const char *text)
{
    *cs = (struct compactions){ 0 };
    while (*text) {
        struct compaction c = { .id = { 0, cs->n + 1 } };
        const char *mark = strchr(marks, *text);

        if (mark) {
            c.status = (enum compaction_status)(mark - marks);
            text++;
        }
        text = parse_sources(&c, text);
        check(vec_reserve(&cs->list, &cs->cap, cs->n + 1, sizeof(*cs->list)) == 0, text);
        cs->list[cs->n++] = c;
        text += strspn(text, "; ");
    }
}

static void put(struct shale_buf *b, const char *sep, bool is_l0, struct shale_ulid l0, uint32_t run)
{
    const char *s = b->len && b->data[b->len - 1] != ' ' ? sep : "";

    check((is_l0 ? buf_printf(b, "%s%c", s, (char)('a' + l0.lo - 1)) : buf_printf(b, "%s%u", s, run)) == 0, "memory");
}

char *tree_text(const struct manifest *m)
{
    struct shale_buf b = SHALE_BUF_INIT;

    check(buf_printf(&b, "%s", "") == 0, "memory");
    for (size_t i = 0; i < m->n_l0; i++)
        put(&b, " ", true, m->l0[i].id, 0);
    for (size_t i = 0; i < m->n_runs; i++)
        put(&b, " ", false, (struct shale_ulid){ 0, 0 }, m->runs[i].id);
    return (char *)buf_take(&b);
}

char *compactions_text(const struct compactions *cs)
{
    struct shale_buf b = SHALE_BUF_INIT;

    check(buf_printf(&b, "%s", "") == 0, "memory");
    for (size_t i = 0; i < cs->n; i++) {
        const struct compaction *c = &cs->list[i];
        struct shale_buf one = SHALE_BUF_INIT;

        for (size_t k = 0; k < c->n_l0; k++)
            put(&one, " ", true, c->l0[k], 0);
        for (size_t k = 0; k < c->n_runs; k++)
            put(&one, " ", false, (struct shale_ulid){ 0, 0 }, c->runs[k]);
        check(buf_printf(&b, "%s%c%.*s > %u", b.len ? "; " : "", marks[c->status], (int)one.len, (char *)one.data,
                         c->destination) == 0, "memory");
        shale_buf_fini(&one);
    }
    return (char *)buf_take(&b);
}
