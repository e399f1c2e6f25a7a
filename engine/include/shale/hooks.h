/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_HOOKS_H
#define SHALE_HOOKS_H

#include <shale/error.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What an application can have done to SSTs on their way into the store; beside merge operator and compaction filter
 * (shale/options.h), which work on rows.
 *
 * Every block and section of an SST or WAL object passes: codec, block transformer, checksum.
 *
 * The functions are called with no lock held, so that they may take their time and do I/O. They may read from the
 * database, but not write to it, flush or close it: these can wait for the very thread that called. Slices are borrowed
 * for the call. What they return below zero is an error of theirs, which fails what called them with SHALE_EHOOK; the
 * sentence (shale_errmsg) has its name.
 */

/*
 * Changes the stored form of blocks and sections, to encrypt them, say: what SlateDB calls a block transformer. The
 * result replaces out, which is empty on entry; it may be longer or shorter than in. decode(encode(x)) is x. Stored
 * nowhere: whoever opens the database gives the same one. The info section of an SST, which has its first and last key,
 * is left as it is, and so is the manifest, which has them, too. The checksum covers what encode made.
 *
 * Called from any number of threads at once. An error of encode fails the write of that SST or WAL object, which is
 * tried again as if the store had not answered, a compaction later on. An error of decode fails the read, and names the
 * object and the part; -ENOMEM and SHALE_ETRANSIENT are passed on as they are.
 */
struct shale_block_transformer {
    void *ctx;
    int (*encode)(void *ctx, struct shale_slice in, struct shale_buf *out);
    int (*decode)(void *ctx, struct shale_slice in, struct shale_buf *out);
};

#ifdef __cplusplus
}
#endif
#endif
