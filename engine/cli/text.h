/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <shale/types.h>
#include <stdbool.h>
#include <stdio.h>

/*
 * The text format of rows: columns separated by tabs. A cell is lower-case hex, "-" for no bytes, and with a digest
 * limit "@LENGTH:SHA256" for what is longer. Absent times are "-".
 */
#define TEXT_NO_DIGEST SIZE_MAX

void text_cell(FILE *out, struct shale_slice bytes, size_t digest);
/* key, value, sequence number, creation time (0 when absent), expiry time; or key and value only. */
void text_scan_line(FILE *out, const struct shale_row *row, bool bare, size_t digest);
/* key, sequence number, kind (P, D, M), creation time, expiry time, value. */
void text_row_line(FILE *out, const struct shale_row *row, size_t digest);

/* The inverse of a cell without digest, and "*N:HH", N times the byte HH; replaces out. 0, -EINVAL with a sentence, -ENOMEM. */
int text_parse_cell(const char *text, struct shale_buf *out);
/* Whether a cell of a file says these bytes. */
bool text_cell_is(const char *cell, struct shale_slice bytes);

/* Strict decimal. 0 or -EINVAL with a sentence naming what. */
int text_parse_u64(const char *text, const char *what, uint64_t max, uint64_t *out);

#endif
