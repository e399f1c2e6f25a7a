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

#endif
