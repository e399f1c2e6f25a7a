/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_COMPACTIONS_CODEC_H
#define FORMAT_COMPACTIONS_CODEC_H

#include "format/manifest_codec.h"

/* The compactions object, version 1 (storage format section 9). Source: SlateDB 0.12.1, schemas/compactor.fbs. */

/*
 * Submitted -> Running -> Completed or Failed; a new owner of the list takes Running back to Submitted.
 * Numbers as stored; an unknown one reads as Submitted. See compact/compactor.c for who moves what
 * when.
 */
enum compaction_status {
    COMPACTION_SUBMITTED = 0,
    COMPACTION_RUNNING = 1,
    COMPACTION_COMPLETED = 2,
    COMPACTION_FAILED = 3,
};

struct compaction {
    struct shale_ulid id;
    enum compaction_status status;
    struct shale_ulid *l0; /* view ids, newest first */
    size_t n_l0;
    uint32_t *runs; /* highest id first */
    size_t n_runs;
    uint32_t destination; /* not stored: the least of runs, or 0, when decoded */
    struct sst_handle **outputs; /* shared; in key order */
    size_t n_outputs, cap_outputs;
};

void compaction_fini(struct compaction *c);
int compaction_copy(struct compaction *to, const struct compaction *from);

struct compactions {
    uint64_t compactor_epoch;
    struct compaction *list; /* by id, ascending */
    size_t n, cap;
};

void compactions_fini(struct compactions *c); /* all zero is empty */
int compactions_copy(struct compactions *to, const struct compactions *from);
int compactions_encode(const struct compactions *c, struct shale_buf *out);
int compactions_decode(struct shale_slice in, struct compactions *out);

#endif
