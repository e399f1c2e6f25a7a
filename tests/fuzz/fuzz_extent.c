/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include "base/buf.h"
#include "fs/core/extent.h"

#include <stdlib.h>

static int no_frame(void *arg, const struct extent *part, uint8_t *dst)
{
    (void)arg;
    if (part->length == 0 || part->skip + part->length > part->u.frame.raw_len)
        abort();
    memset(dst, 0, part->length);
    return 0;
}

/* A list that was read is written back as the same bytes, and every byte it speaks of can be read. */
static void list(struct shale_slice value)
{
    static uint8_t dst[4096];
    struct extent_list l = EXTENT_LIST_INIT;
    struct shale_buf b = SHALE_BUF_INIT;

    if (extent_list_decode(value, &l) == 0) {
        if (extent_list_encode(&l, EXTENT_OPERAND, &b) < 0 || !slice_eq(slice_of_buf(&b), value))
            abort();
        if (extent_read(value, 0, dst, sizeof(dst), no_frame, NULL) < 0)
            abort();
        if (extent_data_bytes(&l, 0, 100) + extent_data_bytes(&l, 100, UINT32_MAX) !=
            extent_data_bytes(&l, 0, UINT32_MAX))
            abort();
    }
    extent_list_fini(&l);
    shale_buf_fini(&b);
}

/* One of the operands is a fold of the two others: the result is the same. */
static void fold(const struct shale_slice *part)
{
    struct shale_buf all = SHALE_BUF_INIT, upper = SHALE_BUF_INIT, two = SHALE_BUF_INIT;
    struct shale_slice op;

    if (extent_fold(&part[0], &part[1], 2, &all) == 0) {
        list(slice_of_buf(&all));
        if (extent_fold(NULL, &part[1], 2, &upper) < 0)
            abort();
        op = slice_of_buf(&upper);
        if (extent_fold(&part[0], &op, 1, &two) < 0 || !slice_eq(slice_of_buf(&all), slice_of_buf(&two)))
            abort();
    }
    shale_buf_fini(&all);
    shale_buf_fini(&upper);
    shale_buf_fini(&two);
}

/* The first two bytes are the lengths of two of the three lists in the rest. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shale_slice part[3], rest;

    if (size < 2)
        return 0;
    rest = slice_of(data + 2, size - 2);
    list(rest);
    for (size_t i = 0; i < 2; i++) {
        size_t n = data[i] < rest.len ? data[i] : rest.len;

        part[i] = slice_of(rest.data, n);
        rest = slice_from(rest, n);
    }
    part[2] = rest;
    fold(part);
    return 0;
}
