/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SAID_H
#define TESTS_SAID_H

#include <stdbool.h>

/* What a program says, kept so that a test can look for what must not be in it. From any thread. */

/* From now on log lines are kept, of every level. */
void said_begin(void);
/* Keep a sentence, too. */
void said_add(const char *line);
/* Whether a text is in anything that was kept, whatever its case. */
bool said_has(const char *text);
void said_end(void);

/* Unset the variables whose names begin with prefix, and those of proxies. */
void said_clear_environment(const char *prefix);

#endif
