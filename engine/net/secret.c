/* SPDX-License-Identifier: Apache-2.0 */
#include "net/secret.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <unistd.h>

void secret_wipe(void *p, size_t n)
{
    if (n)
        OPENSSL_cleanse(p, n);
}

void secret_free(char *s)
{
    if (s)
        secret_wipe(s, strlen(s));
    mem_free(s);
}

void secret_buf_fini(struct shale_buf *b)
{
    secret_wipe(b->data, b->cap);
    shale_buf_fini(b);
}

int secret_buf_reserve(struct shale_buf *b, size_t extra)
{
    struct shale_buf moved = SHALE_BUF_INIT;
    size_t need = size_add(b->len, extra);

    if (need <= b->cap)
        return 0;
    if (shale_buf_reserve(&moved, size_add(need, b->cap)) < 0)
        return -ENOMEM;
    if (b->len)
        memcpy(moved.data, b->data, b->len);
    moved.len = b->len;
    secret_buf_fini(b);
    *b = moved;
    return 0;
}

static int read_all(struct shale_buf *b, int fd, size_t max)
{
    size_t begin = b->len;

    for (;;) {
        ssize_t n;

        if (secret_buf_reserve(b, 4097) < 0)
            return -ENOMEM;
        n = read(fd, b->data + b->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        b->len += (size_t)n;
        b->data[b->len] = '\0';
        if (n == 0)
            return 0;
        if (b->len - begin > max)
            return -EFBIG;
    }
}

int secret_read_file(struct shale_buf *b, const char *path, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : read_all(b, fd, max);

    if (fd >= 0)
        close(fd);
    return rc;
}
