/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_STORE_AGED_H
#define TESTS_STORE_AGED_H

#include <shale/object_store.h>

/*
 * A store that tells another one's objects with the ages that a test wants: each is as old as the last rule says whose
 * text its name contains; without one it was made at now_ms. One thread sets rules, before others use it.
 */
struct shale_store *store_aged_new(struct shale_store *inner, int64_t now_ms);
void store_aged_set(struct shale_store *s, const char *match, int64_t age_ms); /* match: borrowed */

#endif
