/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_ITER_H
#define FORMAT_ITER_H

#include "base/slice.h"

#include <shale/error.h>

/*
 * Rows in order: key ascending (or descending, as the iterator was made), and the versions of one key newest first in
 * both directions. One thread at a time.
 *
 *   next   0 and a row, whose bytes are borrowed until the next call on the same iterator; SHALE_END, again and again;
 *          or a negative error, after which only close may be called.
 *   seek   the next row will be the first whose key is at or after key (descending: at or before), in iteration order;
 *          only forward. Returns 0 (also when nothing is left) or an error.
 *   close  frees the iterator and what it owns, children included; never fails.
 */
struct iter;

/*
 * A constructor that takes a child over closes it when it fails, so that callers stack iterators
 * without unwinding.
 */
struct iter_ops {
    int (*next)(struct iter *it, struct shale_row *out);
    int (*seek)(struct iter *it, struct shale_slice key);
    void (*close)(struct iter *it);
};

struct iter {
    const struct iter_ops *ops;
};

enum iter_order { ITER_ASC, ITER_DESC };

static inline int iter_next(struct iter *it, struct shale_row *out)
{
    return it->ops->next(it, out);
}

static inline int iter_seek(struct iter *it, struct shale_slice key)
{
    return it->ops->seek(it, key);
}

/* NULL is fine. */
static inline void iter_close(struct iter *it)
{
    if (it)
        it->ops->close(it);
}

#endif
