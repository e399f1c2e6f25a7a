/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_STATUS_TREE_H
#define FS_STATUS_TREE_H

#include <shale/inspect.h>

/* The shape of a volume's tree on standard output; as lines, or as the value of a member of a JSON object. */
void status_tree_text(const struct shale_tree *t);
void status_tree_json(const struct shale_tree *t);

#endif
