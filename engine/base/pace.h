/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_PACE_H
#define BASE_PACE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How often somebody looks at what seldom changes: each look that finds nothing new makes the pause before the next one
 * four times as long, up to most_ms; one that finds something, least_ms again.
 */
struct pace {
    int64_t least_ms, most_ms;
    int64_t pause_ms; /* before the next look */
};

/* most_ms below least_ms, as 0 is: the pause is always least_ms. */
static inline void pace_init(struct pace *p, int64_t least_ms, int64_t most_ms)
{
    *p = (struct pace){ .least_ms = least_ms, .most_ms = most_ms, .pause_ms = least_ms };
    if (most_ms < least_ms)
        p->most_ms = least_ms;
}

/* After a look. The pause before the next one. */
static inline int64_t pace_note(struct pace *p, bool is_news)
{
    if (is_news)
        p->pause_ms = p->least_ms;
    else
        p->pause_ms = p->pause_ms < p->most_ms / 4 ? p->pause_ms * 4 : p->most_ms;
    return p->pause_ms;
}

#endif
