/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_INTEGRITY_H
#define TESTS_INTEGRITY_H

#include <shale/admin.h>

/*
 * Fails the test unless every object is there that the newest manifest of the database or one of its checkpoints refers
 * to: manifests, SSTs (also under other databases' paths), WAL objects (R334).
 */
void check_integrity(struct shale_store *s, const char *root);
/*
 * Fails the test when there is an object under root that nothing needs: a manifest other than the newest and those of
 * checkpoints, an SST or WAL object that none of these refers to, a list of compactions other than the newest.
 */
void check_no_orphans(struct shale_store *s, const char *root);
/* How many checkpoints the newest manifest has. */
size_t count_checkpoints(struct shale_store *s, const char *root);
/* Names of all objects that begin with prefix, one a line; malloced. */
char *object_names(struct shale_store *s, const char *prefix);
/* A memory store with the same objects. */
struct shale_store *copy_store(struct shale_store *from);

#endif
