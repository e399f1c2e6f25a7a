/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_TEMP_DIR_H
#define TESTS_TEMP_DIR_H

/* A new directory under $TMPDIR (or /tmp), freed with free(). Aborts the test when that fails. */
char *temp_dir_new(void);
/* Removes it with all that is in it, and frees the name. NULL is fine. */
void temp_dir_remove(char *dir);

#endif
