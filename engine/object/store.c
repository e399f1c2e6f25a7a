/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher between callers and stores: it checks names and ranges once, gives implementations
 * empty buffers, and emulates what they lack (ranges one by one, uploads gathered in memory). A
 * caller's buffer changes only when the call succeeds.
 */

#include "object/store.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"

#include <errno.h>
#include <string.h>

/* An upload into a store without uploads: gathered here, then put. */
struct gathered_upload {
    struct shale_upload base;
    struct shale_buf data;
    char name[];
};

static _Thread_local int64_t asked_delay_ms;

void store_retry_after(int64_t ms)
{
    if (ms > asked_delay_ms)
        asked_delay_ms = ms;
}

int64_t store_retry_after_taken(void)
{
    int64_t ms = asked_delay_ms;

    asked_delay_ms = 0;
    return ms;
}

/*
 * The set is the smallest that S3 keys, file names on every file system and URLs carry without
 * escaping. '#' is not in it: staged files use it (dir_stage.h).
 */
static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("._=@:+-", c));
}

const char *store_segment_error(const char *segment, size_t len)
{
    if (len == 0)
        return "has an empty segment";
    if (len > STORE_SEGMENT_MAX)
        return "has a segment longer than 230 bytes";
    if (segment[0] == '.' && (len == 1 || (len == 2 && segment[1] == '.')))
        return "has a segment \".\" or \"..\"";
    for (size_t i = 0; i < len; i++)
        if (!name_char(segment[i]))
            return "has a character other than letters, digits and . _ = @ : + -";
    return NULL;
}

const char *store_name_error(const char *name, size_t len)
{
    const char *end = name + len;
    const char *why = NULL;

    if (len == 0)
        return "is empty";
    if (len > STORE_NAME_MAX)
        return "is longer than 1024 bytes";
    for (const char *p = name; !why; p++) {
        const char *slash = memchr(p, '/', (size_t)(end - p));

        why = store_segment_error(p, (size_t)((slash ? slash : end) - p));
        if (!slash)
            break;
        p = slash;
    }
    return why;
}

static int check_name(const char *what, const char *name)
{
    const char *why = store_name_error(name, strlen(name));

    return why ? err_set(-EINVAL, "cannot %s object: the name \"%.100s\" %s", what, name, why) : 0;
}

static int check_range(const char *name, uint64_t offset, uint64_t len)
{
    uint64_t end;

    if (len == 0)
        return err_set(-EINVAL, "cannot read an empty range of %s", name);
    if (__builtin_add_overflow(offset, len, &end))
        return err_set(-ERANGE, "%s is shorter than offset %llu + length %llu", name, (unsigned long long)offset,
                       (unsigned long long)len);
    return check_name("read", name);
}

/* A read fills tmp; only a success reaches the caller's buffer. */
static int deliver(int rc, struct shale_buf *tmp, struct shale_buf *out)
{
    if (rc < 0) {
        shale_buf_fini(tmp);
        return rc;
    }
    shale_buf_fini(out);
    *out = *tmp;
    return 0;
}

const char *shale_store_origin(struct shale_store *s)
{
    return s->ops->origin ? s->ops->origin(s) : NULL;
}

void shale_store_close(struct shale_store *s)
{
    if (s && s->ops->close)
        s->ops->close(s);
}

int shale_store_get(struct shale_store *s, const char *name, struct shale_buf *out)
{
    struct shale_buf tmp = SHALE_BUF_INIT;
    int rc = check_name("read", name);

    if (rc < 0)
        return rc;
    rc = s->ops->get(s, name, &tmp);
    return deliver(rc, &tmp, out);
}

/* A body that ends early is what a broken connection looks like, hence worth another attempt. */
static int check_body(const char *name, uint64_t want, size_t got)
{
    if (got == want)
        return 0;
    return err_set(SHALE_ETRANSIENT, "the store sent %zu bytes of %s instead of %llu", got, name,
                   (unsigned long long)want);
}

static int get_range_checked(struct shale_store *s, const char *name, uint64_t offset, uint64_t len,
                             struct shale_buf *out)
{
    struct shale_buf tmp = SHALE_BUF_INIT;
    int rc = s->ops->get_range(s, name, offset, len, &tmp);

    if (rc == 0)
        rc = check_body(name, len, tmp.len);
    return deliver(rc, &tmp, out);
}

int shale_store_get_range(struct shale_store *s, const char *name, uint64_t offset, uint64_t len,
                          struct shale_buf *out)
{
    int rc = check_range(name, offset, len);

    return rc < 0 ? rc : get_range_checked(s, name, offset, len, out);
}

/* Give the op empty buffers, and put the old contents back where it fails. */
static int get_ranges_native(struct shale_store *s, struct shale_range_get *r, size_t n)
{
    struct shale_buf *old = mem_calloc(n, sizeof(*old));
    int rc;

    if (!old)
        return err_set(-ENOMEM, "out of memory for %zu ranges", n);
    for (size_t i = 0; i < n; i++) {
        old[i] = r[i].out;
        r[i].out = (struct shale_buf)SHALE_BUF_INIT;
        r[i].rc = 0;
    }
    rc = s->ops->get_ranges(s, r, n);
    for (size_t i = 0; i < n; i++) {
        if (rc == 0 && r[i].rc == 0)
            r[i].rc = check_body(r[i].name, r[i].len, r[i].out.len);
        if (rc == 0 && r[i].rc == 0) {
            shale_buf_fini(&old[i]);
            continue;
        }
        shale_buf_fini(&r[i].out);
        r[i].out = old[i];
    }
    mem_free(old);
    return rc;
}

int shale_store_get_ranges(struct shale_store *s, struct shale_range_get *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int rc = check_range(r[i].name, r[i].offset, r[i].len);

        if (rc < 0)
            return rc;
    }
    if (s->ops->get_ranges)
        return n ? get_ranges_native(s, r, n) : 0;
    for (size_t i = 0; i < n; i++)
        r[i].rc = get_range_checked(s, r[i].name, r[i].offset, r[i].len, &r[i].out);
    return 0;
}

int shale_store_head(struct shale_store *s, const char *name, struct shale_object_meta *out)
{
    struct shale_object_meta meta = { 0 };
    int rc = check_name("look at", name);

    if (rc < 0)
        return rc;
    rc = s->ops->head(s, name, &meta);
    if (rc == 0)
        *out = meta;
    return rc;
}

int store_put_with_id(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode,
                      const char *put_id)
{
    int rc = check_name("write", name);

    if (rc < 0)
        return rc;
    if (mode != SHALE_PUT_OVERWRITE && mode != SHALE_PUT_IF_ABSENT)
        return err_set(-EINVAL, "cannot write %s: unknown mode %d", name, (int)mode);
    if (put_id && strlen(put_id) != SHALE_PUT_ID_LEN)
        return err_set(-EINVAL, "cannot write %s: the put id has not 26 characters", name);
    return s->ops->put(s, name, data, mode, put_id);
}

int shale_store_put(struct shale_store *s, const char *name, struct shale_slice data, enum shale_put_mode mode)
{
    return store_put_with_id(s, name, data, mode, NULL);
}

int shale_store_delete(struct shale_store *s, const char *name)
{
    int rc = check_name("delete", name);

    return rc < 0 ? rc : s->ops->remove(s, name);
}

int shale_store_delete_many(struct shale_store *s, const char *const *names, size_t n)
{
    int first = 0;

    for (size_t i = 0; i < n; i++) {
        int rc = check_name("delete", names[i]);

        if (rc < 0)
            return rc;
    }
    if (s->ops->remove_many)
        return n ? s->ops->remove_many(s, names, n) : 0;
    for (size_t i = 0; i < n; i++) {
        int rc = s->ops->remove(s, names[i]);

        first = first ? first : rc;
    }
    return first;
}

int shale_store_list(struct shale_store *s, const char *prefix, const char *start_after, shale_list_fn fn, void *arg)
{
    return s->ops->list(s, prefix ? prefix : "", start_after, fn, arg);
}

static int gather_begin(struct shale_store *s, const char *name, struct shale_upload **out)
{
    size_t len = strlen(name);
    struct gathered_upload *g = mem_zalloc(sizeof(*g) + len + 1);

    if (!g)
        return err_set(-ENOMEM, "out of memory for the upload of %s", name);
    g->base.store = s;
    memcpy(g->name, name, len + 1);
    *out = &g->base;
    return 0;
}

static void gather_free(struct gathered_upload *g)
{
    shale_buf_fini(&g->data);
    mem_free(g);
}

static int gather_finish(struct gathered_upload *g)
{
    struct shale_store *s = g->base.store;
    int rc = s->ops->put(s, g->name, slice_of_buf(&g->data), SHALE_PUT_OVERWRITE, NULL);

    if (rc != SHALE_ETRANSIENT)
        gather_free(g);
    return rc;
}

int shale_upload_begin(struct shale_store *s, const char *name, struct shale_upload **out)
{
    int rc = check_name("write", name);

    if (rc < 0)
        return rc;
    return s->ops->upload_begin ? s->ops->upload_begin(s, name, out) : gather_begin(s, name, out);
}

int shale_upload_write(struct shale_upload *u, struct shale_slice data)
{
    const struct shale_store_ops *ops = u->store->ops;
    struct gathered_upload *g;

    if (data.len == 0)
        return 0;
    if (ops->upload_begin)
        return ops->upload_write(u, data);
    g = container_of(u, struct gathered_upload, base);
    if (buf_append_slice(&g->data, data) < 0)
        return err_set(-ENOMEM, "out of memory for the upload of %s", g->name);
    return 0;
}

void store_upload_in_parts(struct shale_upload *u)
{
    if (u->store->ops->upload_in_parts)
        u->store->ops->upload_in_parts(u);
}

/*
 * For wrappers: unlike shale_upload_finish it does not abort after SHALE_ETRANSIENT, so that the same
 * upload can be finished again.
 */
int store_upload_try_finish(struct shale_upload *u)
{
    const struct shale_store_ops *ops = u->store->ops;

    return ops->upload_begin ? ops->upload_finish(u) : gather_finish(container_of(u, struct gathered_upload, base));
}

int shale_upload_finish(struct shale_upload *u)
{
    int rc = store_upload_try_finish(u);

    if (rc == SHALE_ETRANSIENT)
        shale_upload_abort(u);
    return rc;
}

void shale_upload_abort(struct shale_upload *u)
{
    if (!u)
        return;
    if (u->store->ops->upload_begin)
        u->store->ops->upload_abort(u);
    else
        gather_free(container_of(u, struct gathered_upload, base));
}
