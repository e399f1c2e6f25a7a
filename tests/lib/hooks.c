/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/hooks.h"

#include "base/buf.h"

#include <errno.h>

void hook_fault_set(struct hook_fault *f, unsigned nth, unsigned times, int rc)
{
    f->rc = rc;
    atomic_store(&f->times, times);
    atomic_store(&f->countdown, nth);
}

int hook_fault_hit(struct hook_fault *f)
{
    unsigned n = atomic_load(&f->countdown), times;

    while (n > 1)
        if (atomic_compare_exchange_weak(&f->countdown, &n, n - 1))
            return 0;
    times = n ? atomic_load(&f->times) : 0;
    while (times > 0)
        if (atomic_compare_exchange_weak(&f->times, &times, times - 1))
            return f->rc;
    return 0;
}

/* Sealed: the length, four bytes, then the bytes; all of it with the key. */
static int xor_encode(void *ctx, struct shale_slice in, struct shale_buf *out)
{
    struct xor_hook *x = ctx;
    int rc = hook_fault_hit(&x->encode_fault);

    atomic_fetch_add(&x->encoded, 1);
    if (rc == 0 && x->seals)
        rc = buf_put_u32be(out, (uint32_t)in.len);
    if (rc == 0)
        rc = buf_append_slice(out, in);
    for (size_t i = 0; rc == 0 && i < out->len; i++)
        out->data[i] ^= x->key;
    return rc;
}

static int xor_decode(void *ctx, struct shale_slice in, struct shale_buf *out)
{
    struct xor_hook *x = ctx;
    int rc = hook_fault_hit(&x->decode_fault);

    atomic_fetch_add(&x->decoded, 1);
    if (rc == 0)
        rc = buf_append_slice(out, in);
    for (size_t i = 0; rc == 0 && i < out->len; i++)
        out->data[i] ^= x->key;
    if (rc != 0 || !x->seals)
        return rc;
    if (out->len < 4 || get_u32be(out->data) != out->len - 4)
        return -EKEYREJECTED;
    memmove(out->data, out->data + 4, out->len - 4);
    out->len -= 4;
    return 0;
}

void xor_hook_init(struct xor_hook *x, uint8_t key, bool seals)
{
    *x = (struct xor_hook){ .key = key, .seals = seals };
    x->hook = (struct shale_block_transformer){ .ctx = x, .encode = xor_encode, .decode = xor_decode };
}
