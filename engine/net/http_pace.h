/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_HTTP_PACE_H
#define NET_HTTP_PACE_H

#include "net/http.h"

/*
 * Whether an exchange on the wire still gets on. Not only silence ends one: bytes that only trickle would keep it, and
 * whoever waits for it, for hours. Pure: no clock, no libcurl.
 */
struct http_pace_rules {
    int64_t first_byte_ms;
    int64_t stall_ms;
    uint64_t min_bytes; /* that have to move in each stall_ms */
};

struct http_pace {
    struct http_pace_rules rules;
    int64_t mark_ms;     /* since when `mark` is the state */
    uint64_t mark;       /* bytes moved by then, in both directions */
    bool answer_begun;
};

/* o as the user gave it. Where it has 0, it is as the table in http_pace.c has it for the class. */
struct http_pace_rules http_pace_rules_of(const struct http_options *o, enum io_class cls);
uint32_t http_pace_limit_of(const struct http_options *o, enum io_class cls);

/* The request of x begins to go out at now_ms. */
void http_pace_begin(struct http_pace *p, const struct http_options *o, const struct http_exchange *x, int64_t now_ms);
/*
 * moved: bytes of bodies so far; waiting: the request is out and nothing of the answer is there. 0, or SHALE_ETRANSIENT
 * with x->why.
 */
int http_pace_check(struct http_pace *p, struct http_exchange *x, uint64_t moved, bool waiting, int64_t now_ms);

#endif
