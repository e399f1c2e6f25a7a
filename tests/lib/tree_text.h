/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_TREE_TEXT_H
#define TESTS_TREE_TEXT_H

#include "format/compactions_codec.h"

/*
 * Manifests and compactions as text, for tables of cases. L0 SSTs are a, b, c, ... from the oldest on: the letter
 * is the id, so that it stays when others go. Sizes are those that the size-tiered choice sees.
 *   tree         "d:1 c:1 b:1 a:1 10:2 0:2"   newest first, then runs
 *   compactions  "d c b a > 11; 10 9 > 9"     "-" in front: submitted; "*": running; "!": completed; none: submitted
 * Exits the test on what it cannot read.
 */
void tree_parse(struct manifest *m, const char *text); /* initialises m */
void compactions_parse(struct compactions *cs, const char *text); /* ids 1, 2, ... */
/* malloced */
char *tree_text(const struct manifest *m);
char *compactions_text(const struct compactions *cs);

struct shale_ulid letter_id(char letter);

#endif
