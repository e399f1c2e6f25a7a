/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/log.h"
#include "fs/core/file_data.h"
#include "fs/core/follow.h"
#include "fs/core/fserr.h"
#include "fs/core/namespace.h"
#include "fs/core/rows.h"

#include <errno.h>

/*
 * Entries stream in name order. A cookie counts the entries given out before it: 1 is behind ".", 2 behind "..", n + 2
 * behind the n-th name. The handle keeps a window of names that it read last, and the name at each MARK_STEP-th
 * cookie, so that any earlier cookie is found again by a scan from the mark before it.
 */
#define WINDOW_READ 512u  /* names to read at once */
#define WINDOW_KEEP 2048u /* names before them to keep: the caller may have used only a part of what it was given */
#define MARK_STEP 1024u
#define FIRST_NAME 2u

struct window_entry {
    size_t name; /* where its name, with NUL, begins in names */
    struct dentry d;
    uint64_t step;  /* of a follower: it is what the directory had then */
};

struct fs_dir {
    struct fs *fs;
    struct inode *i;
    uint64_t first;            /* cookie in front of the first entry of the window */
    struct window_entry *win;
    size_t n, cap;
    struct shale_buf names;
    uint64_t step;             /* of what is read now */
    bool at_end;               /* nothing followed the window when it was read */
    char **marks;              /* marks[k]: the name before cookie FIRST_NAME + (k + 1) * MARK_STEP */
    size_t n_marks, cap_marks;
};

/* Reads nothing yet: many directories are opened to be handles, as by openat. */
int fs_dir_open(struct fs *fs, uint64_t ino, struct fs_dir **out)
{
    struct fs_dir *d;
    struct inode *i;
    bool is_dir;
    int rc = inode_get(fs, ino, &i);

    if (rc < 0)
        return fserr(follow_gone(fs, rc));
    mutex_lock(&i->mu);
    is_dir = inode_is_dir(i);
    mutex_unlock(&i->mu);
    d = is_dir ? mem_zalloc(sizeof(*d)) : NULL;
    if (!d) {
        inode_put(fs, i);
        return is_dir ? -ENOMEM : -ENOTDIR;
    }
    d->fs = fs;
    d->i = i;
    d->first = FIRST_NAME;
    *out = d;
    return 0;
}

void fs_dir_release(struct fs_dir *d)
{
    for (size_t k = 0; k < d->n_marks; k++)
        mem_free(d->marks[k]);
    mem_free(d->marks);
    mem_free(d->win);
    shale_buf_fini(&d->names);
    inode_put(d->fs, d->i);
    mem_free(d);
}

int fs_dir_fsync(struct fs_dir *d)
{
    if (d->fs->opt.read_only)
        return 0;
    return fserr(d->i->ino == FS_ROOT_INO ? fs_sync(d->fs) : volume_commit(d->fs));
}

static const char *window_name(const struct fs_dir *d, size_t k)
{
    return (const char *)d->names.data + d->win[k].name;
}

/* Remember the name of the entry that was just read, when its cookie is one of the marks. */
static int note_mark(struct fs_dir *d, uint64_t cookie, const char *name)
{
    uint64_t k = (cookie - FIRST_NAME) / MARK_STEP;
    char *copy;

    if ((cookie - FIRST_NAME) % MARK_STEP != 0 || k != d->n_marks + 1)
        return 0;
    if (vec_reserve(&d->marks, &d->cap_marks, d->n_marks + 1, sizeof(*d->marks)) < 0)
        return -ENOMEM;
    copy = mem_strdup(name);
    if (!copy)
        return -ENOMEM;
    d->marks[d->n_marks++] = copy;
    return 0;
}

/* Names lie one behind the other in one buffer; entries keep offsets, as it moves when it grows. */
static int window_add(struct fs_dir *d, const struct shale_row *row)
{
    struct window_entry e = { .name = d->names.len, .step = d->step };
    struct fs_key_parts parts;
    int rc = fs_key_parse(row->key, &parts);

    if (rc == 0)
        rc = dentry_decode(row->value, &e.d);
    if (rc == 0)
        rc = vec_reserve(&d->win, &d->cap, d->n + 1, sizeof(*d->win));
    if (rc == 0)
        rc = buf_append_slice(&d->names, parts.name);
    if (rc == 0)
        rc = buf_put_u8(&d->names, 0);
    if (rc < 0)
        return rc;
    d->win[d->n++] = e;
    return note_mark(d, d->first + d->n, window_name(d, d->n - 1));
}

/* Empty, in front of that cookie. */
static void window_reset(struct fs_dir *d, uint64_t first)
{
    d->first = first;
    d->n = 0;
    d->at_end = false;
    buf_clear(&d->names);
}

/* Forget the oldest names but WINDOW_KEEP. */
static void window_slide(struct fs_dir *d)
{
    size_t drop = d->n > WINDOW_KEEP ? d->n - WINDOW_KEEP : 0;
    size_t bytes = drop > 0 ? d->win[drop].name : 0;

    if (drop == 0)
        return;
    d->n -= drop;
    d->first += drop;
    memmove(d->win, d->win + drop, d->n * sizeof(*d->win));
    for (size_t k = 0; k < d->n; k++)
        d->win[k].name -= bytes;
    d->names.len -= bytes;
    memmove(d->names.data, d->names.data + bytes, d->names.len);
}

/* Read on, behind the name after (NULL: from the first one), leaving out skip entries. */
static int window_extend_once(struct fs_dir *d, const char *after, uint64_t skip)
{
    size_t end = d->n + WINDOW_READ;
    struct shale_iter *it = NULL;
    struct fs_key from, prefix;
    struct shale_row row;
    int rc = 0;

    d->step = follow_step(d->fs);
    fs_key_dentries(&prefix, d->i->ino);
    rc = rows_scan_prefix(d->fs, &prefix, NULL, &it);
    if (rc == 0 && after) {
        rc = fs_key_dentry(&from, d->i->ino, slice_str(after));
        fs_key_after(&from);
        if (rc == 0)
            rc = shale_iter_seek(it, fs_key_slice(&from));
    }
    while (rc == 0 && d->n < end) {
        rc = shale_iter_next(it, &row);
        if (rc == 0 && skip > 0)
            skip--;
        else if (rc == 0)
            rc = window_add(d, &row);
    }
    shale_iter_close(it);
    d->at_end = rc == SHALE_END;
    return rc == SHALE_END ? 0 : rc;
}

/*
 * The same. A scan whose objects another process's compaction and collection took away is begun anew, behind what it
 * brought: the engine has looked for the tree of now by then.
 */
static int window_extend(struct fs_dir *d, const char *after, uint64_t skip)
{
    size_t n_before = d->n;
    char *last = NULL;
    int rc = window_extend_once(d, after, skip);

    for (int i = 0; rc == -ESTALE && i < FS_RESCANS_MAX; i++) {
        mem_free(last);
        last = NULL;
        if (d->n == n_before) {
            rc = window_extend_once(d, after, skip);
            continue;
        }
        last = mem_strdup(window_name(d, d->n - 1));
        rc = last ? window_extend_once(d, last, 0) : -ENOMEM;
    }
    mem_free(last);
    return rc;
}

/* Make the window hold the entry behind cookie, if there is one. */
static int window_seek(struct fs_dir *d, uint64_t cookie)
{
    uint64_t mark;
    char *last = NULL;
    int rc;

    if (cookie >= d->first && cookie < d->first + d->n)
        return 0;
    if (cookie == d->first + d->n && d->n > 0) {
        if (d->at_end)
            return 0;
        last = mem_strdup(window_name(d, d->n - 1));
        if (!last)
            return -ENOMEM;
        window_slide(d);
        rc = window_extend(d, last, 0);
        mem_free(last);
        return rc;
    }
    mark = (cookie - FIRST_NAME) / MARK_STEP;
    if (mark > d->n_marks)
        mark = d->n_marks;
    window_reset(d, cookie);
    return window_extend(d, mark > 0 ? d->marks[mark - 1] : NULL, cookie - FIRST_NAME - mark * MARK_STEP);
}

/* From the start, so as the directory is now. */
static void rewind_dir(struct fs_dir *d)
{
    while (d->n_marks > 0)
        mem_free(d->marks[--d->n_marks]);
    window_reset(d, FIRST_NAME);
}

/* "." and ".." */
static int read_dots(struct fs_dir *d, uint64_t cookie, struct fs_dirent *out)
{
    uint64_t parent;

    mutex_lock(&d->i->mu);
    parent = d->i->rec.parent;
    mutex_unlock(&d->i->mu);
    *out = (struct fs_dirent){
        .name = cookie == 0 ? "." : "..",
        .ino = cookie == 0 ? d->i->ino : parent,
        .cookie = cookie + 1,
        .type = S_IFDIR,
    };
    return 0;
}

/* Back at the start means rewinddir, which has to show what came since. */
int fs_dir_read(struct fs_dir *d, uint64_t cookie, struct fs_dirent *out)
{
    size_t k;
    int rc;

    if (cookie == 0)
        rewind_dir(d);
    if (cookie < FIRST_NAME)
        return read_dots(d, cookie, out);
    rc = window_seek(d, cookie);
    if (rc < 0)
        return fserr(rc);
    k = (size_t)(cookie - d->first);
    if (k >= d->n)
        return SHALE_END;
    *out = (struct fs_dirent){
        .name = window_name(d, k),
        .ino = d->win[k].d.ino,
        .cookie = cookie + 1,
        .type = d->win[k].d.type,
        .step = d->win[k].step,
    };
    return 0;
}

/*
 * The entry may be gone or name another file by now; the caller of a listing has to live with the first, and inode
 * numbers never mean another file.
 */
static int dir_inode(struct fs_dir *d, const struct fs_dirent *e, uint64_t step, struct inode **out)
{
    struct inode *i = NULL;
    int rc = e->step == step ? inode_get(d->fs, e->ino, &i) : -ENOENT; /* an older entry may be another's by now */

    if (rc == 0)
        rc = follow_tell_name(d->fs, d->i->ino, e->name, i);
    if (rc == 0)
        *out = i;
    else
        inode_put(d->fs, i);
    return rc;
}

int fs_dir_attr(struct fs_dir *d, const struct fs_dirent *e, struct fs_attr *out)
{
    struct inode *i = NULL;
    struct follow_read r;
    int rc;

    follow_read_begin(d->fs, &r);
    do {
        inode_put(d->fs, i);
        i = NULL;
        rc = dir_inode(d, e, r.step, &i);
    } while (follow_read_again(d->fs, &r));
    if (rc < 0)
        return fserr(rc);
    inode_add_lookup(d->fs, i);
    attr_settled(d->fs, i, out);
    inode_put(d->fs, i);
    return 0;
}
