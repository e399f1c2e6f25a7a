/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_FILTER_H
#define FORMAT_FILTER_H

#include "base/buf.h"

#include <stdbool.h>

/* Bloom filters over whole keys (storage format section 4). Source: SlateDB 0.12.1, filter.rs. */

/* SipHash-1-3 with key 0,0 of the bare key bytes. */
uint64_t filter_hash(struct shale_slice key);

/* Collects the hash of every row's key, then makes the bits. */
struct filter_builder {
    uint64_t *hashes;
    size_t n, cap;
};

void filter_builder_fini(struct filter_builder *f); /* all zero is empty */
int filter_builder_add(struct filter_builder *f, struct shale_slice key);
/* Append the bare filter payload (u16be probes, bits) to out. n must not be 0. 0 or -ENOMEM. */
int filter_builder_finish(const struct filter_builder *f, uint32_t bits_per_key, struct shale_buf *out);

/* The two forms of a filter section. */
enum filter_format { FILTER_BARE = 0, FILTER_COMPOSITE = 1 };

/* A parsed filter: borrows the payload. n_bits 0 means that it says nothing. */
struct filter {
    const uint8_t *bits;
    uint64_t n_bits;
    uint16_t n_probes;
};

/* Finds the bloom data in a payload of either form; unknown names of a composite one are skipped. */
int filter_parse(struct shale_slice payload, enum filter_format format, struct filter *out);
bool filter_may_contain(const struct filter *f, uint64_t hash);

#endif
