/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_FS_MERGE_H
#define FS_CORE_FS_MERGE_H

#include <shale/options.h>

/*
 * The merge operator of a volume, by kind of key (fs/core/key_codec.h):
 *   counter  value and operand are a signed 64-bit number, little-endian; the result is the sum
 *   inode    operands change the record below (fs/core/inode_codec.h)
 *   chunk    operands are laid over what is below (fs/core/extent.h)
 * A result without anything below is an operand again. It may come back as what is below: the engine makes it a value
 * where a deletion ends the operands. So an inode may have an operand as its value; a reader takes it for no inode.
 * Anything else fails with a sentence: SHALE_EMERGE for a key that is not merged or a number out of range,
 * SHALE_ECORRUPT for bytes that are no operand. Has no state; the same for every volume.
 */
extern const struct shale_merge_operator fs_merge_operator;

#define FS_COUNTER_LEN 8

void fs_counter_encode(int64_t v, uint8_t out[FS_COUNTER_LEN]);
/* 0, or SHALE_ECORRUPT for another length. */
int fs_counter_decode(struct shale_slice value, int64_t *out);

#endif
