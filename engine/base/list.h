/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/alloc.h"

#include <stdbool.h>

/*
 * Intrusive doubly linked circular list. A head is a node too; list_init makes it empty. may_alias: a node is
 * reached as part of its element and as part of a neighbour's, or of the head's, structure. gcc 12 -O2 takes these
 * for different objects once all is inlined, and a loop that empties a list never ends.
 */
struct list {
    struct list *prev, *next;
} __attribute__((may_alias));

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

/* Put n behind position at: list_insert(head, n) makes it first, list_insert(head->prev, n) last. */
static inline void list_insert(struct list *at, struct list *n)
{
    n->prev = at;
    n->next = at->next;
    at->next->prev = n;
    at->next = n;
}

static inline void list_append(struct list *head, struct list *n)
{
    list_insert(head->prev, n);
}

/* Unlink n; it becomes a list of its own, so removing it twice does no harm. */
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

#define list_entry(node, type, member) container_of(node, type, member)

#define list_for_each(pos, head) for (struct list *pos = (head)->next; pos != (head); pos = pos->next)

/* pos may be removed, or freed, in the body; tmp may not. */
#define list_for_each_safe(pos, tmp, head)                                                                             \
    for (struct list *pos = (head)->next, *tmp = pos->next; pos != (head); pos = tmp, tmp = pos->next)

#endif
