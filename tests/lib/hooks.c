/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/hooks.h"

#include "base/buf.h"

#include <errno.h>
#include <stdlib.h>

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

struct tally {
    struct tally_hook *hook;
    unsigned rows[256];
};

static int tally_create(void *ctx, enum shale_sst_kind kind, void **collector)
{
    struct tally_hook *h = ctx;
    struct tally *t;
    int rc = hook_fault_hit(&h->create_fault);

    if (rc != 0)
        return rc;
    t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->hook = h;
    atomic_fetch_add(&h->alive, 1);
    atomic_fetch_add(&h->created[kind], 1);
    *collector = t;
    return 0;
}

static int tally_add(void *collector, const struct shale_row *row)
{
    struct tally *t = collector;

    t->rows[row->key.data[0]]++;
    return hook_fault_hit(&t->hook->add_fault);
}

static int tally_finish(void *collector, struct shale_buf *blob)
{
    struct tally *t = collector;
    int rc = hook_fault_hit(&t->hook->finish_fault);

    if (rc == 0 && t->hook->without_blob)
        return SHALE_END;
    if (rc == 0)
        atomic_fetch_add(&t->hook->blobs, 1);
    if (t->hook->empty_blob)
        return rc;
    for (size_t i = 0; rc == 0 && i < t->hook->blob_len; i++)
        rc = shale_buf_append(blob, "x", 1);
    for (int i = 0; rc == 0 && i < 256 && !t->hook->blob_len; i++)
        if (t->rows[i])
            rc = buf_printf(blob, "%c=%u ", i, t->rows[i]);
    return rc;
}

static void tally_destroy(void *collector)
{
    struct tally *t = collector;

    atomic_fetch_sub(&t->hook->alive, 1);
    free(t);
}

void tally_hook_init(struct tally_hook *t)
{
    *t = (struct tally_hook){ .hook = { .ctx = t, .create = tally_create, .add = tally_add, .finish = tally_finish,
                                        .destroy = tally_destroy } };
}

static int mark_create(void *ctx, void **transform)
{
    struct mark_hook *m = ctx;
    int rc = hook_fault_hit(&m->create_fault);

    if (rc != 0)
        return rc;
    atomic_fetch_add(&m->created, 1);
    atomic_fetch_add(&m->alive, 1);
    *transform = m;
    return 0;
}

static int mark_apply(void *transform, const struct shale_row *row, struct shale_buf *new_value)
{
    struct mark_hook *m = transform;
    int rc = hook_fault_hit(&m->apply_fault);

    atomic_fetch_add(&m->applied, 1);
    if (rc != 0)
        return rc;
    if (row->value.len >= 4 && memcmp(row->value.data, "keep", 4) == 0)
        return SHALE_TRANSFORM_KEEP;
    rc = buf_printf(new_value, "<%.*s>", (int)row->value.len, (const char *)row->value.data);
    return rc < 0 ? rc : SHALE_TRANSFORM_REPLACE;
}

static int mark_end(void *transform)
{
    struct mark_hook *m = transform;
    int rc = hook_fault_hit(&m->end_fault);

    atomic_fetch_add(&m->ended, 1);
    return rc;
}

static void mark_destroy(void *transform)
{
    struct mark_hook *m = transform;

    atomic_fetch_sub(&m->alive, 1);
}

void mark_hook_init(struct mark_hook *m)
{
    *m = (struct mark_hook){ .hook = { .ctx = m, .create = mark_create, .apply = mark_apply, .end = mark_end,
                                       .destroy = mark_destroy } };
}
