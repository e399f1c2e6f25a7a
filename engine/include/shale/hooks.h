/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHALE_HOOKS_H
#define SHALE_HOOKS_H

#include <shale/error.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What an application can have done to rows on their way into SSTs, and to SSTs on their way into the store; beside
 * merge operator and compaction filter (shale/options.h).
 *
 * A row passes, in a memtable flush:  fold of merge operands, retention, flush transform, property collector, SST;
 * in a compaction:                    fold, retention, compaction filter, property collector, SST;
 * on its way into a WAL object:       property collector, WAL object.
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

enum shale_transform_decision {
    SHALE_TRANSFORM_KEEP = 0,
    SHALE_TRANSFORM_REPLACE = 1, /* the value by new_value; key, sequence number, kind and times stay */
};

/*
 * May replace values on their way from a memtable into an L0 SST, by a reference to where it has put them, say. It sees
 * what is left after folding and retention, in key order, newest version first; tombstones have no value, and are not
 * shown. Rows of WAL objects and of compactions are not, either.
 *
 * Until its flush a row reads as it was written, and so does what recovery finds in the WAL; afterwards as it was
 * transformed, under any snapshot. So both forms of a value must mean the same to whoever reads it, the merge operator
 * included, which gets to see both.
 *
 * One transform is created for each attempt of a flush and used by the one thread that flushes memtables. An error of
 * any call fails the attempt before anything refers to its SST. The flush is tried again with a new transform, from the
 * same rows as far as they are still retained; after a crash, or a close meanwhile, after the next open. So what an
 * attempt has stored elsewhere may come to be referred to by nobody. Meanwhile frozen memtables gather, and writers wait
 * when there are too many (max_unflushed_bytes).
 */
struct shale_flush_transform {
    void *ctx;
    int (*create)(void *ctx, void **transform); /* may be NULL: transform is then ctx */
    /* An enum shale_transform_decision, or a negative error. new_value is empty on entry. */
    int (*apply)(void *transform, const struct shale_row *row, struct shale_buf *new_value);
    int (*end)(void *transform);      /* after the last row: what new values refer to is to be durable now; may be NULL */
    void (*destroy)(void *transform); /* always, if it was created; may be NULL */
};

enum shale_sst_kind {
    SHALE_SST_L0,  /* made of a memtable */
    SHALE_SST_RUN, /* a part of a sorted run, made by a compaction */
    SHALE_SST_WAL, /* a WAL object */
};

/* Longest blob that is stored. */
#define SHALE_PROPERTIES_MAX ((size_t)16 << 20)

/*
 * Sees every row that enters an SST, and describes them by bytes that are stored with it: its properties, or blob, which
 * shale_inspect_properties lists. Nobody else looks at them. They lie where SlateDB 0.12.1 does not look, so that it
 * reads such SSTs, and compacts them into some without.
 *
 * One collector is created for each SST, used by one thread, and destroyed in any case; others are at work at the same
 * time, since several SSTs are written at once. An error fails that SST: it is made again, with a new collector, as if
 * the store had not answered (memtable, WAL object), or its compaction fails (and is chosen again later). Rows of a WAL
 * object come in the order of their commits; they enter an L0 SST later, folded and transformed. Rows of SSTs that were
 * written without collector, by SlateDB or with other options, are described by none: no blob does not say no rows.
 */
struct shale_property_collector {
    void *ctx;
    int (*create)(void *ctx, enum shale_sst_kind kind, void **collector);
    int (*add)(void *collector, const struct shale_row *row); /* in the order of the SST, as it is stored */
    /* After the last row. 0: blob, empty on entry, is stored, be it empty; SHALE_END: this SST gets none. */
    int (*finish)(void *collector, struct shale_buf *blob);
    void (*destroy)(void *collector); /* may be NULL */
};

#ifdef __cplusplus
}
#endif
#endif
