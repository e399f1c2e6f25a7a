/* SPDX-License-Identifier: Apache-2.0 */
#include "format/block.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Read to the end; there are never more rows than bytes, and every byte handed out can be read. */
static void walk(struct block_iter *it)
{
    static volatile uint8_t sink;
    struct shale_row row;
    size_t n = 0;

    while (block_iter_next(it, &row) == 0) {
        if (n++ > it->payload.len || row.key.len == 0 || row.key.len > SHALE_KEY_MAX)
            abort();
        sink = row.key.data[row.key.len - 1];
        if (row.value.len)
            sink = row.value.data[row.value.len - 1];
    }
    (void)sink;
}

/* Input: a byte whose low bit chooses the version, its other bits the length of a key to seek; that key; the block. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct block_iter it = { 0 };
    struct shale_slice key, payload;
    int version;

    if (size == 0 || size - 1 < (size_t)(data[0] >> 1))
        return 0;
    version = data[0] & 1 ? BLOCK_V1 : BLOCK_V2;
    key = slice_of(data + 1, data[0] >> 1);
    payload = slice_of(data + 1 + key.len, size - 1 - key.len);
    for (int order = ITER_ASC; order <= ITER_DESC; order++) {
        if (block_iter_reset(&it, payload, version, (enum iter_order)order) < 0)
            break;
        walk(&it);
        if (block_iter_reset(&it, payload, version, (enum iter_order)order) == 0 && block_iter_seek(&it, key) == 0)
            walk(&it);
    }
    block_iter_fini(&it);
    return 0;
}
