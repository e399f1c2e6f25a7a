/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_CHECK_H
#define FS_CORE_CHECK_H

#include <shale/object_store.h>
#include <stdbool.h>

struct fs_check_options {
    bool quiet; /* count problems, report none */
    const struct shale_store_options *store; /* as of fs_options */
};

struct fs_check_result {
    uint64_t inodes, directories, entries, xattrs, chunks, orphans;
    uint64_t bytes;    /* of blocks */
    uint64_t garbage;  /* rows that nothing refers to: removed files, cut data; not an error */
    uint64_t problems; /* reported lines */
};

/*
 * Read a closed volume and check every invariant: that each entry names an inode of its type, link counts, parents,
 * that each directory is reached from the root, entry counts, counters, orphans, that extents decode and lie within
 * the size, blocks. Changes nothing. Each problem is one line to report. 0 when it could be read (result->problems
 * tells), or what kept it from being read, with a sentence in shale_errmsg().
 */
int fs_check(const char *url, const struct fs_check_options *opt, void (*report)(void *arg, const char *line), void *arg,
             struct fs_check_result *result);

#endif
