/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32 by zlib, which uses what the processor offers. Every section of an SST ends with it (storage
 * format 2.2).
 */

#include "base/crc32.h"

#include <zlib.h>

uint32_t crc32_of(struct shale_slice s)
{
    return crc32_extend(0, s);
}

uint32_t crc32_extend(uint32_t crc, struct shale_slice s)
{
    return s.len ? (uint32_t)crc32_z(crc, s.data, s.len) : crc;
}
