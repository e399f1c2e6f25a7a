/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_TREE_H
#define DB_TREE_H

#include "format/compactions_codec.h"
#include "manifest/manifest_store.h"

#include <shale/inspect.h>

/*
 * The shape that a version of the manifest and a list of compactions (not later than it; empty: none) make. 0 or
 * -ENOMEM.
 */
int tree_new(const struct manifest_version *v, const struct compactions *list, struct shale_tree **out);

#endif
