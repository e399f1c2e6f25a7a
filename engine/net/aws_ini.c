/* SPDX-License-Identifier: Apache-2.0 */
#include "net/aws_ini.h"

#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct ini {
    const struct aws_ini_visitor *v;
    const char *file;
    unsigned line;
    const char *section; /* NULL: none yet */
    const char *name;    /* of the last setting; NULL: none in this section */
    bool block;          /* its value is empty */
    size_t indent;       /* of the last line that continued nothing */
};

static int wrong(const struct ini *p, const char *what)
{
    return err_set(-EINVAL, "%s, line %u: %s", p->file, p->line, what);
}

/* Without blanks at either end. */
static char *trim(char *s)
{
    size_t n;

    s += strspn(s, " \t");
    n = strlen(s);
    while (n > 0 && isspace((unsigned char)s[n - 1]))
        n--;
    s[n] = '\0';
    return s;
}

static void cut_comment(char *value)
{
    for (char *p = value; *p; p++)
        if ((*p == '#' || *p == ';') && (p == value || p[-1] == ' ' || p[-1] == '\t')) {
            *p = '\0';
            return;
        }
}

/* NULL when there is no delimiter; else the value, and line becomes the name. */
static char *split(char *line)
{
    char *at = strpbrk(line, "=:");
    char *value;

    if (!at)
        return NULL;
    *at = '\0';
    for (char *p = line; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    trim(line);
    value = at + 1;
    if (strcmp(line, "credential_process") != 0) /* where a # may be part of an argument */
        cut_comment(value);
    return trim(value);
}

static int take_section(struct ini *p, char *line)
{
    char *end = strchr(line, ']');

    if (!end)
        return wrong(p, "the name of a section has no ] behind it");
    *end = '\0';
    p->section = trim(line + 1);
    p->name = NULL;
    return p->v->section(p->v->arg, p->section);
}

static int take_setting(struct ini *p, char *line)
{
    char *value = split(line);

    if (!value || !line[0])
        return wrong(p, "neither [SECTION] nor NAME = VALUE");
    if (!p->section)
        return wrong(p, "a setting in front of the first section");
    p->name = line;
    p->block = !value[0];
    return p->v->setting(p->v->arg, p->section, line, NULL, value);
}

/* Further lines of a value that is no block are no business of ours: nothing that we read has them. */
static int take_continuation(struct ini *p, char *line)
{
    char *value;

    if (!p->block)
        return 0;
    value = split(line);
    if (!value || !line[0])
        return wrong(p, "an indented line that is not NAME = VALUE");
    return p->v->setting(p->v->arg, p->section, p->name, line, value);
}

static int take_line(struct ini *p, char *line)
{
    size_t indent = strspn(line, " \t");
    char *text = trim(line);

    if (!text[0] || text[0] == '#' || text[0] == ';')
        return 0;
    if (p->name && indent > p->indent)
        return take_continuation(p, text);
    p->indent = indent;
    return text[0] == '[' ? take_section(p, text) : take_setting(p, text);
}

int aws_ini_parse(char *text, const char *file, const struct aws_ini_visitor *v)
{
    struct ini p = { .v = v, .file = file };
    int rc = 0;

    if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3; /* the mark that editors of Windows put in front */
    while (rc == 0 && *text) {
        char *end = strchr(text, '\n');
        char *next = end ? end + 1 : text + strlen(text);

        if (end)
            *end = '\0';
        p.line++;
        rc = take_line(&p, text);
        text = next;
    }
    return rc;
}
