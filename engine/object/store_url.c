/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs to stores. Paths are cleaned up by text alone, never by asking the file system: the same URL
 * names the same database wherever and whenever it is opened.
 */

#include "object/store.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/*
 * Append the segments of text to out, one slash between them and none at the ends, without empty ones and without "."
 * (both mean nothing in a path; ".." does, and stays). 0 or -ENOMEM. out ends with a NUL that does not count.
 */
static int append_path(struct shale_buf *out, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "/");

        if (n > 0 && !(n == 1 && text[0] == '.')) {
            if ((out->len > 0 && buf_put_u8(out, '/') < 0) || shale_buf_append(out, text, n) < 0)
                return -ENOMEM;
        }
        text += n;
        text += *text == '/';
    }
    if (shale_buf_reserve(out, 1) < 0)
        return -ENOMEM;
    out->data[out->len] = '\0';
    return 0;
}

static int open_memory(const char *url, const char *rest, struct shale_store **store, char **path)
{
    size_t n = strcspn(rest, "/");
    struct shale_buf in_store = SHALE_BUF_INIT;
    const char *why = n ? store_segment_error(rest, n) : NULL;
    int rc;

    if (why)
        return err_set(-EINVAL, "%s: the name of the memory store %s", url, why);
    rc = append_path(&in_store, rest + n);
    if (rc < 0) {
        err_set(rc, "%s: out of memory", url);
        goto out;
    }
    why = in_store.len ? store_name_error((char *)in_store.data, in_store.len) : NULL;
    if (why) {
        rc = err_set(-EINVAL, "%s: the path %s", url, why);
        goto out;
    }
    rc = n ? store_memory_shared(rest, n, store) : shale_store_memory(store);
    if (rc < 0)
        goto out;
    *path = (char *)buf_take(&in_store);
out:
    shale_buf_fini(&in_store);
    return rc;
}

/* whole: an absolute path as append_path leaves it, without the slash in front. */
static int open_directory(const char *url, char *whole, bool create, struct shale_store **store, char **path)
{
    char *slash = strrchr(whole, '/');
    const char *last = slash ? slash + 1 : whole;
    const char *why = store_name_error(last, strlen(last));
    struct shale_buf dir = SHALE_BUF_INIT;
    char *name = NULL;
    int rc;

    if (!*last)
        return err_set(-EINVAL, "%s names no path: file:///DIRECTORY/NAME is expected", url);
    if (why)
        return err_set(-EINVAL, "%s: the last component \"%.100s\" %s", url, last, why);
    name = mem_strdup(last);
    rc = name ? 0 : -ENOMEM;
    if (rc == 0)
        rc = buf_printf(&dir, "/%.*s", slash ? (int)(slash - whole) : 0, whole);
    if (rc < 0)
        err_set(rc, "%s: out of memory", url);
    else
        rc = shale_store_directory((char *)dir.data, create, store);
    if (rc == 0) {
        *path = name;
        name = NULL;
    }
    mem_free(name);
    shale_buf_fini(&dir);
    return rc;
}

static int open_absolute(const char *url, const char *text, bool create, struct shale_store **store, char **path)
{
    struct shale_buf whole = SHALE_BUF_INIT;
    int rc = append_path(&whole, text);

    if (rc < 0)
        err_set(rc, "%s: out of memory", url);
    else
        rc = open_directory(url, (char *)whole.data, create, store, path);
    shale_buf_fini(&whole);
    return rc;
}

static int open_plain(const char *text, bool create, struct shale_store **store, char **path)
{
    struct shale_buf whole = SHALE_BUF_INIT;
    char *cwd = NULL;
    int rc;

    if (text[0] == '/')
        return open_absolute(text, text, create, store, path);
    cwd = getcwd(NULL, 0);
    if (!cwd)
        return err_set(errno == ENOMEM ? -ENOMEM : -EIO, "%s: cannot tell the working directory: %s", text,
                       shale_strerror(-errno));
    rc = buf_printf(&whole, "%s/%s", cwd, text);
    if (rc < 0)
        err_set(rc, "%s: out of memory", text);
    else
        rc = open_absolute(text, (char *)whole.data, create, store, path);
    shale_buf_fini(&whole);
    free(cwd); /* of the C library */
    return rc;
}

/* The store of a bucket, or of what goes by another name elsewhere. */
typedef int (*open_bucket_fn)(const char *bucket, const struct shale_store_options *opt, struct shale_store **out);

static int open_s3(const char *bucket, const struct shale_store_options *opt, struct shale_store **out)
{
    struct shale_s3_options s3 = { .watch = NULL };

    if (opt->s3)
        s3 = *opt->s3;
    if (opt->watch)
        s3.watch = opt->watch;
    return shale_store_s3(bucket, &s3, out);
}

static int open_google(const char *bucket, const struct shale_store_options *opt, struct shale_store **out)
{
    struct shale_s3_options google = { .watch = NULL };
    struct shale_store_options with = *opt;

    if (opt->s3)
        google = *opt->s3;
    google.dialect = SHALE_S3_GCS;
    if (!google.endpoint || !google.endpoint[0])
        google.endpoint = "https://storage.googleapis.com";
    with.s3 = &google;
    return open_s3(bucket, &with, out);
}

static int open_azure(const char *container, const struct shale_store_options *opt, struct shale_store **out)
{
    struct shale_azure_options azure = { .watch = NULL };

    if (opt->azure)
        azure = *opt->azure;
    if (opt->watch)
        azure.watch = opt->watch;
    return shale_store_azure(container, &azure, out);
}

static int open_bucket(const char *url, const char *rest, open_bucket_fn open, const struct shale_store_options *opt,
                       struct shale_store **store, char **path)
{
    size_t n = strcspn(rest, "/");
    struct shale_buf prefix = SHALE_BUF_INIT;
    char *bucket = NULL;
    const char *why;
    int rc = append_path(&prefix, rest + n);

    if (rc == 0 && !(bucket = mem_dup(rest, n)))
        rc = -ENOMEM;
    if (rc < 0) {
        err_set(rc, "%s: out of memory", url);
        goto out;
    }
    why = prefix.len ? store_name_error((char *)prefix.data, prefix.len) : "is missing: BUCKET/PREFIX is expected";
    rc = why ? err_set(-EINVAL, "%s: the prefix %s", url, why) : open(bucket, opt, store);
    if (rc == 0)
        *path = (char *)buf_take(&prefix);
out:
    mem_free(bucket);
    shale_buf_fini(&prefix);
    return rc;
}

int shale_store_open_with(const char *url, bool create, const struct shale_store_options *opt,
                          struct shale_store **out, char **path)
{
    static const struct shale_store_options none;
    const char *sep = strstr(url, "://");
    const char *rest = sep ? sep + 3 : url;

    if (!*url)
        return err_set(-EINVAL, "the URL of the store is empty");
    /* "://" behind a slash belongs to a file name. */
    if (!sep || memchr(url, '/', (size_t)(sep - url)))
        return open_plain(url, create, out, path);
    if (strncmp(url, "memory://", 9) == 0)
        return open_memory(url, rest, out, path);
    if (strncmp(url, "s3://", 5) == 0)
        return open_bucket(url, rest, open_s3, opt ? opt : &none, out, path);
    if (strncmp(url, "gs://", 5) == 0)
        return open_bucket(url, rest, open_google, opt ? opt : &none, out, path);
    if (strncmp(url, "az://", 5) == 0)
        return open_bucket(url, rest, open_azure, opt ? opt : &none, out, path);
    if (strncmp(url, "file://", 7) != 0)
        return err_set(-EINVAL, "%s: s3://, gs://, az://, file:// and memory:// stores are known, not %.*s://", url,
                       (int)(sep - url), url);
    if (rest[0] != '/')
        return err_set(-EINVAL, "%s: three slashes and an absolute path are expected, as in file:///DIRECTORY/NAME",
                       url);
    if (strchr(rest, '%'))
        return err_set(-EINVAL, "%s: percent-encoding is not understood; give the plain path", url);
    return open_absolute(url, rest, create, out, path);
}

int shale_store_open(const char *url, bool create, struct shale_store **out, char **path)
{
    return shale_store_open_with(url, create, NULL, out, path);
}
