/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_BLOCK_MODEL_H
#define TESTS_BLOCK_MODEL_H

#include "base/alloc.h"
#include "base/rng.h"
#include "format/block.h"

#include <stdlib.h>

/* A sorted array of rows that own their bytes, to compare blocks with. */
struct model {
    struct shale_row *rows;
    size_t n, cap;
};

static inline void model_fini(struct model *m)
{
    for (size_t i = 0; i < m->n; i++) {
        free((void *)(uintptr_t)m->rows[i].key.data);
        free((void *)(uintptr_t)m->rows[i].value.data);
    }
    free(m->rows);
    *m = (struct model){ 0 };
}

static inline void model_add(struct model *m, struct shale_row row)
{
    if (vec_reserve(&m->rows, &m->cap, m->n + 1, sizeof(row)) < 0)
        abort();
    row.key.data = mem_dup(row.key.data, row.key.len);
    row.value.data = mem_dup(row.value.data, row.value.len);
    if (!row.key.data || !row.value.data)
        abort();
    m->rows[m->n++] = row;
}

/* Key ascending, newest first. */
static inline int model_cmp(const void *a, const void *b)
{
    const struct shale_row *x = a, *y = b;
    int c = slice_cmp(x->key, y->key);

    return c ? c : (x->seq < y->seq) - (x->seq > y->seq);
}

/* Sort, and forget rows whose key and sequence number occur twice. */
static inline void model_sort(struct model *m)
{
    size_t n = 0;

    qsort(m->rows, m->n, sizeof(*m->rows), model_cmp);
    for (size_t i = 0; i < m->n; i++) {
        if (n > 0 && model_cmp(&m->rows[n - 1], &m->rows[i]) == 0) {
            free((void *)(uintptr_t)m->rows[i].key.data);
            free((void *)(uintptr_t)m->rows[i].value.data);
        } else {
            m->rows[n++] = m->rows[i];
        }
    }
    m->n = n;
}

/* The same rows as a descending iterator gives them: keys descend, versions of one key keep their order. */
static inline void model_descending(const struct model *m, const struct shale_row **out)
{
    size_t n = 0;

    for (size_t end = m->n; end > 0;) {
        size_t begin = end - 1;

        while (begin > 0 && slice_eq(m->rows[begin - 1].key, m->rows[begin].key))
            begin--;
        for (size_t i = begin; i < end; i++)
            out[n++] = &m->rows[i];
        end = begin;
    }
}

#endif
