/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_EXCHANGES_H
#define TESTS_EXCHANGES_H

#include "lib/http_server.h"

/*
 * HTTP exchanges in a text file: what a client has to send, and what it gets. The scripted server answers as the file
 * says, one exchange after the other; afterwards the requests that came are compared with those of the file.
 *
 *   # a comment
 *   > PUT /bucket/object              the request line; the target with its query
 *   > x-goog-date: ????????T??????Z   a header that has to be there, its value a pattern as of fnmatch(3)
 *   > !x-amz-*                        no header with such a name
 *   >                                 an empty line: what follows is the body, exactly
 *   > the body
 *   < 412                             the answer: status, headers, body; "< drop" closes the connection instead
 *   < Content-Type: application/xml
 *   <
 *   < <Error>...</Error>
 *
 * A body ends with its last character: the end of its last line is not part of it. Any failure fails the test.
 */
struct exchanges;

/* Adds the answers to s, which the exchanges outlive. */
struct exchanges *exchanges_load(const char *file, struct http_server *s);
/* The requests that came are those of the file, all of them and no more. */
void exchanges_check(const struct exchanges *e);
void exchanges_free(struct exchanges *e);

#endif
