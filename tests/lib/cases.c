/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void grow(struct cases *c, size_t n)
{
    if (c->n + n <= c->cap)
        return;
    c->cap = 2 * (c->n + n);
    c->list = realloc(c->list, c->cap * sizeof(c->list[0]));
    if (!c->list)
        abort();
}

static char *join(const char *rule, const char *name)
{
    size_t len = strlen(rule) + strlen(name) + 3;
    char *text = malloc(len);

    if (!text)
        abort();
    snprintf(text, len, "%s%s%s", rule, *rule ? ": " : "", name);
    return text;
}

void cases_add(struct cases *c, const char *rule, const char *name, CMUnitTestFunction fn, const void *state)
{
    grow(c, 1);
    c->list[c->n++] = (struct CMUnitTest){ .name = join(rule, name), .test_func = fn, .initial_state = (void *)(uintptr_t)state };
}

void cases_add_tests(struct cases *c, const struct CMUnitTest *tests, size_t n)
{
    grow(c, n);
    for (size_t i = 0; i < n; i++) {
        c->list[c->n] = tests[i];
        c->list[c->n++].name = join("", tests[i].name);
    }
}

int cases_run(struct cases *c, CMFixtureFunction setup, CMFixtureFunction teardown)
{
    int rc = _cmocka_run_group_tests("tests", c->list, c->n, setup, teardown);

    for (size_t i = 0; i < c->n; i++)
        free((void *)(uintptr_t)c->list[i].name);
    free(c->list);
    *c = (struct cases){ 0 };
    return rc;
}
