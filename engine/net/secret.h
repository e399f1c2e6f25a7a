/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_SECRET_H
#define NET_SECRET_H

#include <shale/types.h>

/*
 * Memory that held keys or tokens is overwritten before it is given back, so that they are not found in a core dump
 * or in what the next allocation gets.
 */

/* Overwrite n bytes; the compiler does not leave it out. p may be NULL when n is 0. */
void secret_wipe(void *p, size_t n);
/* Overwrite a string and free it. NULL is fine. */
void secret_free(char *s);
/* shale_buf_fini for bytes that are secret, those behind len too. */
void secret_buf_fini(struct shale_buf *b);
/* shale_buf_reserve that leaves no copy behind when the bytes move. 0 or -ENOMEM. */
int secret_buf_reserve(struct shale_buf *b, size_t extra);
/*
 * Append a file's bytes; a NUL follows that does not count. 0, -ENOMEM, -EFBIG when it is longer than max, or what
 * the system says; no sentence, as only the caller knows what the file is for. On failure b holds what was read.
 */
int secret_read_file(struct shale_buf *b, const char *path, size_t max);

#endif
