/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_ROW_TEXT_H
#define TESTS_ROW_TEXT_H

#include "format/iter.h"

/*
 * Rows as text, for tables of cases: separated by spaces,
 *   key=value@seq   key=DEL@seq   key+operand@seq   each with :cN and :eN behind for creation and expiry time.
 */
struct row_list {
    struct shale_row *rows;
    size_t n, cap;
    char *text; /* that the rows point into */
};

/* Exits the test on a malformed text. */
void row_list_parse(struct row_list *l, const char *text);
void row_list_fini(struct row_list *l);

/* Append one row, separated from what is there by a space. */
void row_text(const struct shale_row *row, struct shale_buf *out);
/* Read it to its end and close it; the text of its rows, malloced, or "error N". */
char *iter_text(struct iter *it);
/* The same for at most n rows, not closed. */
char *iter_text_n(struct iter *it, size_t n);

#endif
