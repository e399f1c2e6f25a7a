/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_MUTATE_H
#define TESTS_MUTATE_H

#include "base/slice.h"

/* Decodes in, frees what came out, and returns the code of the decoder. */
typedef int (*mutate_fn)(struct shale_slice in);

/*
 * Hand every truncation of in, and every copy with one bit flipped, to decode, in a heap block of just that length so
 * that a sanitizer sees the smallest step outside. Asserts that decode returns 0 or a negative code; returns how many
 * were refused.
 */
size_t mutate_all(struct shale_slice in, mutate_fn decode);

#endif
