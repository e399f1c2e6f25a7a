/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HOOKS_H
#define TESTS_HOOKS_H

#include <shale/hooks.h>
#include <stdatomic.h>

/*
 * Hooks of an application that counts what is asked of it and fails when told to. Safe from any thread; the fields
 * that the test sets are set while nobody is at work.
 */

/* The n-th call from now on fails, and so do the next times - 1. All zero: none. */
struct hook_fault {
    _Atomic unsigned countdown; /* 1: the next call; 0: no more */
    _Atomic unsigned times;
    int rc;
};

void hook_fault_set(struct hook_fault *f, unsigned nth, unsigned times, int rc);
/* What this call is to return: 0, or its failure. */
int hook_fault_hit(struct hook_fault *f);

/* Exclusive-or with a byte; a sealing one adds the length, so that stored forms are longer, and knows its own. */
struct xor_hook {
    struct shale_block_transformer hook;
    uint8_t key;
    bool seals;
    _Atomic unsigned encoded, decoded;
    struct hook_fault encode_fault, decode_fault;
};

void xor_hook_init(struct xor_hook *x, uint8_t key, bool seals);

/* Rows by the first byte of their keys; the blob is "a=3 b=1 ", in that order. */
struct tally_hook {
    struct shale_property_collector hook;
    bool without_blob, empty_blob;
    size_t blob_len;                      /* not 0: so many bytes instead */
    _Atomic int alive;                    /* created and not destroyed */
    _Atomic unsigned created[3];          /* by kind */
    _Atomic unsigned blobs;               /* made */
    struct hook_fault create_fault, add_fault, finish_fault;
};

void tally_hook_init(struct tally_hook *t);

/* Puts "<" and ">" around values, but for those that begin with "keep"; counts the attempts. */
struct mark_hook {
    struct shale_flush_transform hook;
    _Atomic int alive;
    _Atomic unsigned created, applied, ended;
    struct hook_fault create_fault, apply_fault, end_fault;
};

void mark_hook_init(struct mark_hook *m);

#endif
