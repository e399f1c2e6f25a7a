/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CRC32_H
#define BASE_CRC32_H

#include "base/slice.h"

/* CRC-32/ISO-HDLC (zlib), of s. crc32_extend continues from the value of an earlier part. */
uint32_t crc32_of(struct shale_slice s);
uint32_t crc32_extend(uint32_t crc, struct shale_slice s);

#endif
