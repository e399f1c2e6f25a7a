/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_PROM_H
#define TESTS_PROM_H

#include <stdbool.h>
#include <stddef.h>

/* A strict reader of Prometheus' text exposition format 0.0.4, as this library writes it. */
struct prom_sample {
    char *key;    /* name and labels as they stand in the line */
    double value;
};

struct prom {
    struct prom_sample *samples;
    size_t n, cap;
    char why[300]; /* what is wrong with the text */
};

/*
 * Every name has one HELP, one TYPE and then all its samples; names, labels and escapes are well-formed; no sample
 * comes twice; counters and buckets are whole numbers; the buckets of a histogram ascend and cumulate up to +Inf, which
 * is _count, and _sum is there. false and why otherwise. fini in any case.
 */
bool prom_parse(struct prom *p, const char *text, size_t len);
void prom_fini(struct prom *p);
/* The value of the sample with this key; fails the test when there is none. */
double prom_value(const struct prom *p, const char *key);
bool prom_has(const struct prom *p, const char *key);

#endif
