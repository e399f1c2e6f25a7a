/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_SPEC_JSON_H
#define CLI_SPEC_JSON_H

#include <shale/compact.h>

/* The sources that a parsed spec points to; owned. */
struct spec_json {
    struct shale_ulid *l0;
    uint32_t *runs;
    size_t n_l0, cap_l0, n_runs, cap_runs;
};

/*
 * {"sources":[{"SstView":"01H..."},{"SortedRun":3}],"destination":3}, as the real program takes it: L0 SSTs newest
 * first, then runs, highest first. out borrows from s. 0, -EINVAL with a sentence, -ENOMEM; fini also after a
 * failure.
 */
int spec_json_parse(const char *text, struct spec_json *s, struct shale_compaction_spec *out);
void spec_json_fini(struct spec_json *s);

#endif
