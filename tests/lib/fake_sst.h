/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAKE_SST_H
#define TESTS_FAKE_SST_H

#include "format/manifest_codec.h"

/*
 * SSTs that are arrays of rows: a program that links fake_sst.c has its sst_iter_new in place of the engine's, so that
 * what reads SSTs is tested without a store. Views and ranges are honoured as by the real one.
 */

/* A handle (one reference) of an SST with these rows, which stay the caller's until fake_sst_reset. */
struct sst_handle *fake_sst_new(const struct shale_row *rows, size_t n, bool has_last);
/* Cut sorted rows into SSTs at the given places (ascending), which become the views of run. */
void fake_run(struct sorted_run *run, const struct shale_row *rows, size_t n, const size_t *cuts, size_t n_cuts,
              bool has_last);
/* Forget all SSTs, counts and failures. */
void fake_sst_reset(void);
/* Iterators made since then. */
size_t fake_sst_opened(void);
/* The kth iterator made from now on (1 is the next) fails at its nth call; n 0: making it fails. */
void fake_sst_fail(size_t k, size_t n, int rc);

#endif
