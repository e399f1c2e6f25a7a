/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CASES_H
#define TESTS_CASES_H

#include "lib/check.h"

/*
 * Tables as tests: each entry is a cmocka test of its own, called by the rule and the test of SlateDB 0.12.1 that it
 * repeats and by the entry's name, with the entry as its state.
 */
struct cases {
    struct CMUnitTest *list;
    size_t n, cap;
};

/* "rule: name"; state: borrowed until cases_run returns. Aborts when out of memory, as all of these. */
void cases_add(struct cases *c, const char *rule, const char *name, CMUnitTestFunction fn, const void *state);
/* Tests as they are. */
void cases_add_tests(struct cases *c, const struct CMUnitTest *tests, size_t n);
/* Runs all and frees the list; what cmocka_run_group_tests returns. */
int cases_run(struct cases *c, CMFixtureFunction setup, CMFixtureFunction teardown);

/* All entries of an array of structs with a field name. */
#define CASES_ADD_TABLE(c, rule, table, fn)                                                                            \
    do {                                                                                                               \
        for (size_t i_ = 0; i_ < sizeof(table) / sizeof((table)[0]); i_++)                                             \
            cases_add(c, rule, (table)[i_].name, fn, &(table)[i_]);                                                    \
    } while (0)

#endif
