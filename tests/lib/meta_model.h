/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_META_MODEL_H
#define TESTS_META_MODEL_H

#include "base/rng.h"
#include "format/compactions_codec.h"

/* Random models of manifests and compactions objects that the codecs must carry, and their comparison. */

bool info_equal(const struct sst_info *a, const struct sst_info *b);
bool tracker_equal(const struct seq_tracker *a, const struct seq_tracker *b);
bool manifest_equal(const struct manifest *a, const struct manifest *b);
bool compactions_equal(const struct compactions *a, const struct compactions *b);

/* size is about the number of SSTs in each list. The view ids equal the SST ids, as version 1 wants. */
void manifest_random(struct rng *r, size_t size, struct manifest *out);
void compactions_random(struct rng *r, size_t size, struct compactions *out);

#endif
