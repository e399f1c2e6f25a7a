/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/chunks.h"

#include "base/buf.h"
#include "base/err.h"
#include "fs/core/rows.h"

#include <errno.h>

int chunk_load(struct fs *fs, uint64_t ino, uint32_t gen, uint64_t chunk, struct shale_buf *out)
{
    struct fs_key key;
    int rc;

    fs_key_chunk(&key, ino, gen, chunk);
    buf_clear(out);
    rc = rows_get(fs, &key, NULL, out);
    if (rc == -ENOENT) {
        buf_clear(out);
        return 0;
    }
    return rc;
}

/* One scan of each_of_gen, which see; *first is moved behind each row that fn has taken. */
static int scan_gen(struct fs *fs, uint64_t ino, uint32_t gen, uint64_t *first, uint64_t end, chunk_fn fn, void *arg)
{
    struct extent_list extents = EXTENT_LIST_INIT;
    struct shale_iter *it = NULL;
    struct fs_key from, to;
    struct shale_row row;
    int rc;

    fs_key_chunk(&from, ino, gen, *first);
    fs_key_chunk(&to, ino, gen, end);
    rc = rows_scan(fs, &(struct shale_key_range){ .from = fs_key_slice(&from), .to = fs_key_slice(&to) }, NULL, &it);
    while (rc == 0 && (rc = shale_iter_next(it, &row)) == 0) {
        struct fs_key_parts parts;

        rc = fs_key_parse(row.key, &parts);
        if (rc == 0)
            rc = extent_list_decode(row.value, &extents);
        if (rc < 0)
            err_add(rc, "data of inode %llu", (unsigned long long)ino);
        else
            rc = fn(arg, parts.chunk, &extents);
        if (rc == 0)
            *first = parts.chunk + 1;
    }
    shale_iter_close(it);
    extent_list_fini(&extents);
    return rc == SHALE_END ? 0 : rc;
}

/*
 * Rows of one generation with first <= chunk < end. A scan whose objects another process's compaction and collection
 * took away goes on where it was: the engine has looked for the tree of now. The caller's op lock keeps the rows what
 * they were.
 */
static int each_of_gen(struct fs *fs, uint64_t ino, uint32_t gen, uint64_t first, uint64_t end, chunk_fn fn, void *arg)
{
    int rc = scan_gen(fs, ino, gen, &first, end, fn, arg);

    for (int i = 0; rc == -ESTALE && first < end && i < FS_RESCANS_MAX; i++)
        rc = scan_gen(fs, ino, gen, &first, end, fn, arg);
    return rc;
}

int chunks_each(struct fs *fs, uint64_t ino, const struct inode_rec *rec, uint64_t first, chunk_fn fn, void *arg)
{
    uint64_t from = first;
    int rc = 0;

    /* Generation 0 holds what lies before the first entry, each entry what lies before the next. */
    for (uint32_t k = 0; rc == 0 && k <= rec->n_gens; k++) {
        uint64_t end = k < rec->n_gens ? rec->gens[k].first_chunk : UINT64_MAX;

        if (from >= end)
            continue;
        rc = each_of_gen(fs, ino, k > 0 ? rec->gens[k - 1].gen : 0, from, end, fn, arg);
        from = end;
    }
    return rc;
}
