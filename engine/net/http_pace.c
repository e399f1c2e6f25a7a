/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_pace.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * What nobody waits for may take longer, and stores take their time to put parts together or to delete a thousand
 * objects. The rate is what a connection must have at least: low, since all that are open share a line, which may be
 * thin.
 */
static const struct {
    uint32_t limit;        /* on the wire at once */
    int64_t first_byte_ms;
    int64_t stall_ms;
    uint32_t min_rate;     /* bytes a second */
} defaults[IO_CLASSES] = {
    [IO_FOREGROUND] = { 64, 30000, 20000, 1024 },
    [IO_WAL]        = {  4, 30000, 20000, 1024 },
    [IO_UPLOAD]     = { 16, 60000, 30000,  512 },
    [IO_COMPACTION] = { 16, 60000, 30000,  512 },
    [IO_GC]         = {  4, 60000, 30000,  512 },
};

/*
 * The last bytes of a request are out for us when the kernel has them, which may hold megabytes for a thin line. As
 * long as those may take, the answer is waited for in addition.
 */
#define SOCKET_BYTES ((uint64_t)4 << 20) /* tcp_wmem */
#define SOCKET_RATE 32768                /* bytes a second */

static int64_t drain_ms(const struct http_exchange *x)
{
    uint64_t len = http_body_len(x), n = len < SOCKET_BYTES ? len : SOCKET_BYTES;

    return (int64_t)(n * 1000 / SOCKET_RATE);
}

uint32_t http_pace_limit_of(const struct http_options *o, enum io_class cls)
{
    return o->limit[cls] ? o->limit[cls] : defaults[cls].limit;
}

struct http_pace_rules http_pace_rules_of(const struct http_options *o, enum io_class cls)
{
    uint64_t rate = o->min_rate > 0 ? (uint64_t)o->min_rate : defaults[cls].min_rate;
    struct http_pace_rules r = { .first_byte_ms = o->first_byte_ms ? o->first_byte_ms : defaults[cls].first_byte_ms,
                                 .stall_ms = o->stall_ms ? o->stall_ms : defaults[cls].stall_ms };

    r.min_bytes = o->min_rate < 0 ? 1 : rate * (uint64_t)r.stall_ms / 1000;
    if (r.min_bytes == 0)
        r.min_bytes = 1;
    return r;
}

static void set_mark(struct http_pace *p, uint64_t moved, int64_t now_ms)
{
    p->mark = moved;
    p->mark_ms = now_ms;
}

void http_pace_begin(struct http_pace *p, const struct http_options *o, const struct http_exchange *x, int64_t now_ms)
{
    *p = (struct http_pace){ .rules = http_pace_rules_of(o, x->cls) };
    p->rules.first_byte_ms += drain_ms(x);
    if (x->drips)
        p->rules.min_bytes = 1;
    set_mark(p, 0, now_ms);
}

static int too_slow(struct http_exchange *x, uint64_t bytes, int64_t ms)
{
    if (bytes == 0)
        snprintf(x->why, sizeof(x->why), "nothing moved for %" PRId64 " ms", ms);
    else
        snprintf(x->why, sizeof(x->why), "only %" PRIu64 " bytes moved in %" PRId64 " ms", bytes, ms);
    return SHALE_ETRANSIENT;
}

/* An answer begins once: interim ones ("100 Continue"), of which there may be many, buy no more time. */
int http_pace_check(struct http_pace *p, struct http_exchange *x, uint64_t moved, bool waiting, int64_t now_ms)
{
    if (!waiting && !p->answer_begun && moved >= http_body_len(x)) {
        p->answer_begun = true;
        set_mark(p, moved, now_ms);
    }
    if (moved < p->mark) /* libcurl sends it again on another connection */
        set_mark(p, moved, now_ms);
    if (waiting && !p->answer_begun) {
        if (moved != p->mark) /* the last of the request has gone out */
            set_mark(p, moved, now_ms);
        if (now_ms - p->mark_ms < p->rules.first_byte_ms)
            return 0;
        snprintf(x->why, sizeof(x->why), "no answer within %" PRId64 " ms", p->rules.first_byte_ms);
        return SHALE_ETRANSIENT;
    }
    if (now_ms - p->mark_ms < p->rules.stall_ms)
        return 0;
    if (moved - p->mark < p->rules.min_bytes)
        return too_slow(x, moved - p->mark, now_ms - p->mark_ms);
    set_mark(p, moved, now_ms);
    return 0;
}
