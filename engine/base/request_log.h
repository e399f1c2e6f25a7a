/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_REQUEST_LOG_H
#define BASE_REQUEST_LOG_H

#include <shale/object_store.h>

/*
 * A file with a line for each request on the wire, to see what a program asks of its bucket and how long that takes:
 *
 *   time class op object range status sent received attempt queued_ms wire_ms
 *
 * time: when it went out (UTC); range: OFFSET+LEN, "-" for none; status: of HTTP, "-" when no whole answer came; sent
 * and received: bytes of bodies. Objects have no spaces in their names; the prefix of a listing stands in their place.
 * Nothing of the query or the headers is written, so no key and no signature. The first line of each file names the
 * columns.
 *
 * Whoever writes a line never waits for the file: lines gather in memory, a thread writes them once a second or when
 * there are many. What does not fit (the disk is slow, or full) is dropped, and a line "# N requests are missing here"
 * says so.
 */
struct request_log;

/* path: appended to. Nothing is written before request_log_start. 0, or -errno with a sentence. */
int request_log_open(const char *path, struct request_log **out);
/* Start the thread; apart, since it would not survive a fork. 0 or -errno with a sentence. */
int request_log_start(struct request_log *l);
/* Writes what is left. NULL is fine. */
void request_log_close(struct request_log *l);

/* One line; the function of struct shale_request_watch. */
void request_log_note(void *log, const struct shale_request *r);
/* After the file was moved away: go on in a new one, or in the old one when there cannot be any. NULL is fine. */
void request_log_reopen(struct request_log *l);

#endif
