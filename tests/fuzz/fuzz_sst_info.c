/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include "format/sst_info.h"

#include <stdlib.h>

#define INDEX_DATA_END (1u << 20)

static void try_info(struct shale_slice in)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct sst_info i, back;

    if (sst_info_decode(in, &i) < 0)
        return;
    if (sst_info_encode(&i, &b) < 0 || sst_info_decode(slice_of_buf(&b), &back) < 0)
        abort();
    sst_info_fini(&back);
    sst_info_fini(&i);
    shale_buf_fini(&b);
}

static void try_index(struct shale_slice in)
{
    struct sst_index_builder builder = { 0 };
    struct shale_buf b = SHALE_BUF_INIT;
    struct sst_index x, back;

    if (sst_index_decode(in, INDEX_DATA_END, &x) < 0)
        return;
    for (size_t i = 0; i < x.n; i++)
        if (sst_index_builder_add(&builder, x.offsets[i], x.first_keys[i]) < 0)
            abort();
    if (sst_index_builder_finish(&builder, &b) < 0 ||
        sst_index_decode(slice_of_buf(&b), INDEX_DATA_END, &back) < 0 || back.n != x.n)
        abort();
    sst_index_fini(&back);
    sst_index_fini(&x);
    sst_index_builder_fini(&builder);
    shale_buf_fini(&b);
}

static void try_stats(struct shale_slice in)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct sst_stats s, back;

    if (sst_stats_decode(in, &s) < 0)
        return;
    if (sst_stats_encode(&s, &b) < 0 || sst_stats_decode(slice_of_buf(&b), &back) < 0 ||
        back.n_blocks != s.n_blocks)
        abort();
    sst_stats_fini(&back);
    sst_stats_fini(&s);
    shale_buf_fini(&b);
}

/* One byte that selects info, index or stats, and then such a FlatBuffer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(struct shale_slice) = { try_info, try_index, try_stats };

    if (size > 0)
        tries[data[0] % 3](slice_of(data + 1, size - 1));
    return 0;
}
