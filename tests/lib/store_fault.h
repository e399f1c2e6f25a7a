/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_STORE_FAULT_H
#define TESTS_STORE_FAULT_H

#include <shale/object_store.h>

/* A store that passes calls on to another one, except where a script of rules says otherwise. Safe from any thread. */

enum fault_class {
    FAULT_ANY,
    FAULT_GET,   /* of whole objects */
    FAULT_RANGE, /* each single range, also of shale_store_get_ranges */
    FAULT_HEAD,
    FAULT_PUT,
    FAULT_DELETE,
    FAULT_LIST,
    FAULT_UPLOAD_BEGIN,
    FAULT_UPLOAD_WRITE,
    FAULT_UPLOAD_FINISH,
    FAULT_N_CLASSES,
};

enum fault_action {
    FAULT_FAIL,       /* return rc, nothing was done */
    FAULT_LOSE_REPLY, /* do it, then return rc; an upload_write is not done, as its contract has it */
    FAULT_SHORT,      /* get, range: only the first keep bytes arrive, with rc (0: as if all was well);
                         list: only the first keep objects, then rc; anything else as FAULT_FAIL */
    FAULT_FLIP,       /* get, range: one bit of byte keep (modulo the length) arrives changed; anything else is done */
    FAULT_CRASH,      /* before: call fn(arg), or _exit(FAULT_EXIT_STATUS) when fn is NULL */
    FAULT_CRASH_DONE, /* the same after it was done */
    FAULT_GATE,       /* wait until store_fault_release, then do it */
    FAULT_GATE_DONE,  /* do it, then wait */
};

#define FAULT_EXIT_STATUS 77

struct fault_rule {
    enum fault_class cls;
    enum fault_action action;
    unsigned nth;      /* the first call that it acts on, 1 is the next one of its class and match; 0: the same as 1 */
    unsigned times;    /* how many calls in a row; 0: one; FAULT_ALWAYS */
    unsigned every;    /* with period every for ever, from the nth on, instead of times; 0: not */
    const char *match; /* only calls on names (for list: prefixes) that contain it; NULL: all; borrowed */
    int rc;            /* 0: SHALE_ETRANSIENT, but for FAULT_SHORT and FAULT_FLIP, which has none */
    size_t keep;
    void (*fn)(void *arg);
    void *arg;
};

#define FAULT_ALWAYS ((unsigned)-1)

/* inner: borrowed until close. Aborts the test when out of memory. */
struct shale_store *store_fault_new(struct shale_store *inner);

/* A copy of rule takes part from now on. When several rules act on a call the first added wins; each counts it. */
unsigned store_fault_add(struct shale_store *s, const struct fault_rule *rule);
/* How many calls the rule acted on. */
unsigned store_fault_hits(struct shale_store *s, unsigned rule);
/* Forget all rules, and let everybody through the gates. */
void store_fault_clear(struct shale_store *s);

/* Wait until n calls in all have arrived at the gate (for FAULT_GATE_DONE: were done before). */
void store_fault_wait(struct shale_store *s, unsigned rule, unsigned n);
/* Open the gate for those who wait and those who come. */
void store_fault_release(struct shale_store *s, unsigned rule);

/* Calls since creation or the last reset, those that failed by script included. */
unsigned store_fault_count(struct shale_store *s, enum fault_class cls);
void store_fault_reset_counts(struct shale_store *s);

#endif
