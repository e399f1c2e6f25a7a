/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_MODEL_H
#define TESTS_MODEL_H

#include "base/buf.h"

#include <stdbool.h>

/*
 * What a database should hold: every change with its sequence number, so that any moment can be looked at. Keys are
 * numbers below MODEL_KEYS; merging appends. For small histories: each look goes through all of it.
 */
#define MODEL_KEYS 24

struct model_change {
    uint64_t seq;
    unsigned key;
    enum shale_kind kind;
    char value[16];
};

struct model {
    struct model_change *changes; /* seq ascending */
    size_t n, cap;
};

void model_fini(struct model *m);
void model_add(struct model *m, uint64_t seq, unsigned key, enum shale_kind kind, const char *value);
/* Forget what came after seq: a crash. */
void model_truncate(struct model *m, uint64_t seq);
uint64_t model_last_seq(const struct model *m);
/* The value of key at seq replaces out; false when there is none. */
bool model_get(const struct model *m, unsigned key, uint64_t seq, struct shale_buf *out);
/* Forget changes that no look at or after seq can see. */
void model_compact(struct model *m, uint64_t seq);

#endif
