/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include "base/buf.h"

/* Called with the path below tests/golden and the content (borrowed) of a file. */
typedef void (*golden_fn)(void *ctx, const char *path, struct shale_slice content);

/* Every file in tests/golden/below ("": all) whose name ends in suffix, in order of path. Returns how many. */
size_t golden_each(const char *below, const char *suffix, golden_fn fn, void *ctx);

/* Replaces out with the content of tests/golden/path; fails the test when it cannot. */
void golden_read(const char *path, struct shale_buf *out);

#endif
