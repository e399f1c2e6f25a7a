/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/exchanges.h"

#include "lib/check.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXCHANGES_MAX 16u
#define TEXT_MAX 8192u

/* What stands behind '>' or '<' of one exchange. */
struct text {
    char first[512];        /* request line, or status */
    char headers[TEXT_MAX]; /* of the answer with CRLF, of the request with \n */
    char body[TEXT_MAX];
    size_t n_lines;
    bool in_body, has_body;
};

struct exchange {
    struct text want, answer;
    char method[16];
    char path[512]; /* without the query */
};

struct exchanges {
    const char *file;
    struct http_server *server;
    struct exchange v[EXCHANGES_MAX];
    size_t n;
};

static void append(char *to, const char *text, const char *end)
{
    size_t n = strlen(to);

    if (n + strlen(text) + strlen(end) >= TEXT_MAX)
        fail_msg("a part of an exchange is too long");
    sprintf(to + n, "%s%s", text, end);
}

static void take_line(struct text *t, const char *line, const char *header_end)
{
    if (t->n_lines++ == 0) {
        snprintf(t->first, sizeof(t->first), "%s", line);
    } else if (t->in_body) {
        append(t->body, t->has_body ? "\n" : "", line);
        t->has_body = true;
    } else if (!line[0]) {
        t->in_body = true;
    } else {
        append(t->headers, line, header_end);
    }
}

/* A request behind an answer begins the next exchange. */
static void take(struct exchanges *e, char *line)
{
    struct exchange *x;
    char side = line[0];

    line[strcspn(line, "\n")] = '\0';
    if (side == '#' || !line[0])
        return;
    if (side != '>' && side != '<')
        fail_msg("%s: a line begins with '%c'", e->file, side);
    line += line[1] == ' ' ? 2 : 1;
    if (side == '>' && (e->n == 0 || e->v[e->n - 1].answer.n_lines > 0))
        e->n++;
    assert_true(e->n > 0 && e->n <= EXCHANGES_MAX);
    x = &e->v[e->n - 1];
    take_line(side == '>' ? &x->want : &x->answer, line, side == '>' ? "\n" : "\r\n");
}

static void script(struct exchanges *e, struct exchange *x)
{
    struct http_rule rule = { .method = x->method, .path = x->path, .times = 1, .headers = x->answer.headers,
                              .body = x->answer.body };

    if (sscanf(x->want.first, "%15s %511s", x->method, x->path) != 2)
        fail_msg("%s: \"%s\" is no request line", e->file, x->want.first);
    x->path[strcspn(x->path, "?")] = '\0';
    rule.drop = strcmp(x->answer.first, "drop") == 0;
    rule.status = atoi(x->answer.first);
    if (!rule.drop && rule.status < 100)
        fail_msg("%s: \"%s\" is no status", e->file, x->answer.first);
    http_server_add(e->server, &rule);
}

struct exchanges *exchanges_load(const char *file, struct http_server *s)
{
    struct exchanges *e = calloc(1, sizeof(*e));
    char *line = NULL;
    size_t cap = 0;
    FILE *f = fopen(file, "r");

    assert_non_null(e);
    if (!f)
        fail_msg("there is no %s", file);
    e->file = file;
    e->server = s;
    while (getline(&line, &cap, f) >= 0)
        take(e, line);
    free(line);
    fclose(f);
    for (size_t i = 0; i < e->n; i++)
        script(e, &e->v[i]);
    return e;
}

/* Whether the request has a header that fits the pattern, which may be NULL. */
static bool has_header(const struct http_request *r, const char *name, const char *value)
{
    const char *line = r->head;

    while (*line) {
        size_t len = strcspn(line, "\n"), name_len = strcspn(line, ":");
        char got_name[128], got[2048];

        snprintf(got_name, sizeof(got_name), "%.*s", (int)name_len, line);
        snprintf(got, sizeof(got), "%.*s", (int)(len - name_len - 1), line + name_len + 1);
        if (fnmatch(name, got_name, 0) == 0 && (!value || fnmatch(value, got + strspn(got, " "), 0) == 0))
            return true;
        line += len + (line[len] == '\n');
    }
    return false;
}

static void check_header(const struct exchanges *e, const struct http_request *r, char *line)
{
    char *colon = strchr(line, ':');

    if (line[0] == '!') {
        if (has_header(r, line + 1, NULL))
            fail_msg("%s: %s %s has a header %s:\n%s", e->file, r->method, r->target, line + 1, r->head);
        return;
    }
    if (!colon)
        fail_msg("%s: \"%s\" is no header", e->file, line);
    *colon = '\0';
    if (!has_header(r, line, colon + 1 + strspn(colon + 1, " ")))
        fail_msg("%s: %s %s has no header %s:%s, but\n%s", e->file, r->method, r->target, line, colon + 1, r->head);
}

static void check_request(const struct exchanges *e, const struct exchange *x, const struct http_request *r)
{
    char got[1024], headers[TEXT_MAX], *save = NULL;

    snprintf(got, sizeof(got), "%s %s", r->method, r->target);
    if (strcmp(got, x->want.first) != 0)
        fail_msg("%s: the request is\n%s and not\n%s", e->file, got, x->want.first);
    strcpy(headers, x->want.headers);
    for (char *line = strtok_r(headers, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        check_header(e, r, line);
    if (x->want.in_body && (r->body_len != strlen(x->want.body) || memcmp(r->body, x->want.body, r->body_len) != 0))
        fail_msg("%s: the body of %s is\n%s\nand not\n%s", e->file, got, r->body, x->want.body);
}

void exchanges_check(const struct exchanges *e)
{
    for (unsigned i = 0; i < e->n && i < http_server_count(e->server); i++)
        check_request(e, &e->v[i], http_server_request(e->server, i));
    if (http_server_count(e->server) != e->n)
        fail_msg("%s: %u requests came instead of %zu", e->file, http_server_count(e->server), e->n);
}

void exchanges_free(struct exchanges *e)
{
    free(e);
}
