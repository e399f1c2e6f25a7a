/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OBJECT_PROBE_REPORT_H
#define OBJECT_PROBE_REPORT_H

#include <shale/object_store.h>

/* What a probe of a store has found so far: SHALE_PROBE_N_CHECKS results, of which the first that is not good stays. */

void probe_report_init(struct shale_probe_result *checks);
void probe_note(struct shale_probe_result *checks, enum shale_probe_check c, enum shale_probe_state state, int rc,
                const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void probe_good(struct shale_probe_result *checks, enum shale_probe_check c);

#define probe_lacks(checks, c, ...) probe_note(checks, c, SHALE_PROBE_LACKS, -EOPNOTSUPP, __VA_ARGS__)
#define probe_warns(checks, c, ...) probe_note(checks, c, SHALE_PROBE_WARNS, 0, __VA_ARGS__)

/*
 * A step ended with rc and the sentence why: it is lacking when rc says that the store cannot do it, and else could not
 * be found out. means: what it means, and what to do, when it is lacking; "" for nothing.
 */
void probe_failed(struct shale_probe_result *checks, enum shale_probe_check c, int rc, const char *why,
                  const char *means);
/* Whether it was found to be not good. */
bool probe_wants(const struct shale_probe_result *checks, enum shale_probe_check c);

/* As shale_store_probe returns: one sentence of all that is lacking, else of the first thing that was not found out. */
int probe_verdict(struct shale_probe_result *checks);

#endif
