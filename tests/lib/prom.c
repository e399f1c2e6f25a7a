/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/prom.h"

#include "lib/check.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 128
#define KEY_MAX_LEN 512

enum type { NONE, COUNTER, GAUGE, HISTOGRAM };

struct parser {
    struct prom *p;
    char name[NAME_MAX_LEN]; /* of the group */
    char help[NAME_MAX_LEN]; /* name of the last HELP line */
    enum type type;
    char seen[256][NAME_MAX_LEN];
    size_t n_seen;
    /* A histogram's series. */
    char series[KEY_MAX_LEN]; /* labels without le; whether buckets are being read */
    bool in_buckets, had_inf, had_sum;
    double last_le, last_count;
};

static bool bad(struct parser *q, const char *why, const char *line)
{
    snprintf(q->p->why, sizeof(q->p->why), "%s: %.200s", why, line);
    return false;
}

static bool take_name(const char **s, char *out, bool colon)
{
    size_t n = 0;

    while (isalnum((unsigned char)**s) || **s == '_' || (colon && **s == ':')) {
        if (n + 1 == NAME_MAX_LEN || (n == 0 && isdigit((unsigned char)**s)))
            return false;
        out[n++] = *(*s)++;
    }
    out[n] = '\0';
    return n > 0;
}

static bool on_comment(struct parser *q, const char *line)
{
    static const char *const types[] = { [COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram" };
    bool help = strncmp(line, "# HELP ", 7) == 0;
    const char *s = line + 7;
    char name[NAME_MAX_LEN];

    if (!help && strncmp(line, "# TYPE ", 7) != 0)
        return bad(q, "neither HELP nor TYPE", line);
    if (!take_name(&s, name, true) || *s++ != ' ')
        return bad(q, "no name", line);
    if (help) {
        for (; *s; s++)
            if (*s == '\\' && *++s != '\\' && *s != 'n')
                return bad(q, "bad escape", line);
        for (size_t i = 0; i < q->n_seen; i++)
            if (strcmp(q->seen[i], name) == 0)
                return bad(q, "a second group", line);
        if (q->n_seen == sizeof(q->seen) / sizeof(q->seen[0]))
            return bad(q, "too many names for this reader", line);
        strcpy(q->seen[q->n_seen++], name);
        strcpy(q->help, name);
        return true;
    }
    if (strcmp(q->help, name) != 0 || strcmp(q->name, name) == 0)
        return bad(q, "TYPE not right behind its HELP", line);
    strcpy(q->name, name);
    q->type = NONE;
    for (int t = COUNTER; t <= HISTOGRAM; t++)
        if (strcmp(s, types[t]) == 0)
            q->type = (enum type)t;
    return q->type ? true : bad(q, "unknown type", line);
}

/* {a="b",le="1"}: *le, if there, and the rest in series. */
static bool take_labels(const char **s, char *series, double *le, bool *has_le)
{
    char names[16][NAME_MAX_LEN];
    size_t n = 0, len = 0;

    *has_le = false;
    series[0] = '\0';
    if (**s != '{')
        return true;
    do {
        const char *from = ++*s, *value;

        if (n == 16 || !take_name(s, names[n], false) || strncmp(*s, "=\"", 2) != 0)
            return false;
        for (size_t i = 0; i < n; i++)
            if (strcmp(names[i], names[n]) == 0)
                return false;
        *s += 2;
        value = *s;
        for (; **s != '"'; ++*s)
            if (**s == '\0' || (**s == '\\' && !strchr("\\\"n", *++*s)))
                return false;
        ++*s;
        if (strcmp(names[n++], "le") == 0) {
            char *end;

            *le = strtod(value, &end);
            *has_le = true;
            if (end != *s - 1)
                return false;
        } else {
            len += (size_t)snprintf(series + len, KEY_MAX_LEN - len, "%.*s,", (int)(*s - from), from);
        }
    } while (**s == ',' && len < KEY_MAX_LEN);
    return *(*s)++ == '}' && len < KEY_MAX_LEN;
}

/* The order is that of our own text: all buckets, _sum, _count. */
static bool on_histogram(struct parser *q, const char *suffix, const char *series, bool has_le, double le, double value,
                         const char *line)
{
    if (strcmp(suffix, "_bucket") == 0) {
        if (!has_le)
            return bad(q, "a bucket without le", line);
        if (!q->in_buckets) {
            q->in_buckets = true;
            q->had_inf = q->had_sum = false;
            q->last_le = -INFINITY;
            q->last_count = 0;
            strcpy(q->series, series);
        }
        if (strcmp(q->series, series) != 0 || !(le > q->last_le) || value < q->last_count)
            return bad(q, "buckets do not ascend", line);
        q->last_le = le;
        q->last_count = value;
        q->had_inf = isinf(le);
        return true;
    }
    if (has_le || !q->in_buckets || !q->had_inf || strcmp(q->series, series) != 0)
        return bad(q, "not behind all its buckets", line);
    if (strcmp(suffix, "_sum") == 0 && !q->had_sum)
        return q->had_sum = true;
    if (strcmp(suffix, "_count") != 0 || !q->had_sum)
        return bad(q, "_sum and then _count expected", line);
    q->in_buckets = false;
    return value == q->last_count ? true : bad(q, "_count is not the last bucket", line);
}

static bool add_sample(struct parser *q, const char *line, size_t key_len, double value)
{
    struct prom *p = q->p;
    char *key = strndup(line, key_len);

    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->samples[i].key, key) == 0) {
            free(key);
            return bad(q, "a sample comes twice", line);
        }
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 64;
        p->samples = realloc(p->samples, p->cap * sizeof(p->samples[0]));
    }
    p->samples[p->n++] = (struct prom_sample){ .key = key, .value = value };
    return true;
}

static bool on_sample(struct parser *q, const char *line)
{
    char name[NAME_MAX_LEN], series[KEY_MAX_LEN];
    const char *s = line, *suffix;
    size_t group = strlen(q->name), key_len;
    bool has_le = false, whole;
    double le = 0, value;
    char *end;

    if (!take_name(&s, name, true) || !take_labels(&s, series, &le, &has_le))
        return bad(q, "malformed name or labels", line);
    key_len = (size_t)(s - line);
    if (*s++ != ' ' || isspace((unsigned char)*s))
        return bad(q, "no single space before the value", line);
    value = strtod(s, &end);
    if (end == s || *end)
        return bad(q, "malformed value", line);
    if (group == 0 || strncmp(name, q->name, group) != 0 || strcmp(q->help, q->name) != 0)
        return bad(q, "outside of its group", line);
    suffix = name + group;
    whole = strspn(s, "0123456789") == strlen(s);
    if (q->type != HISTOGRAM && (*suffix || has_le))
        return bad(q, "outside of its group", line);
    if ((q->type == COUNTER || (q->type == HISTOGRAM && strcmp(suffix, "_sum") != 0)) && !whole)
        return bad(q, "no whole number", line);
    if (q->type == HISTOGRAM && !on_histogram(q, suffix, series, has_le, le, value, line))
        return false;
    return add_sample(q, line, key_len, value);
}

bool prom_parse(struct prom *p, const char *text, size_t len)
{
    struct parser *q = calloc(1, sizeof(*q));
    char *copy = len ? strndup(text, len) : strdup(""), *line = copy;
    bool ok = true;

    *p = (struct prom){ 0 };
    q->p = p;
    if (strlen(copy) != len || (len && copy[len - 1] != '\n'))
        ok = bad(q, "a NUL, or no line feed at the end", copy);
    while (ok && *line) {
        char *end = strchr(line, '\n');

        *end = '\0';
        if (q->in_buckets && *line == '#')
            ok = bad(q, "a histogram ends early", line);
        else
            ok = *line == '#' ? on_comment(q, line) : on_sample(q, line);
        line = end + 1;
    }
    if (ok && q->in_buckets)
        ok = bad(q, "a histogram ends early", "");
    free(copy);
    free(q);
    return ok;
}

void prom_fini(struct prom *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->samples[i].key);
    free(p->samples);
    *p = (struct prom){ 0 };
}

static const struct prom_sample *find(const struct prom *p, const char *key)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->samples[i].key, key) == 0)
            return &p->samples[i];
    return NULL;
}

bool prom_has(const struct prom *p, const char *key)
{
    return find(p, key) != NULL;
}

double prom_value(const struct prom *p, const char *key)
{
    const struct prom_sample *s = find(p, key);

    if (!s)
        fail_msg("no sample %s", key);
    return s ? s->value : 0;
}
