/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_VOLUME_INFO_H
#define FS_VOLUME_INFO_H

#include "fs/core/session.h"
#include "fs/core/volume.h"

#include <shale/inspect.h>

/* What can be known of a volume without opening its database, so also while it is mounted. */
enum { INFO_MANIFEST, INFO_WAL, INFO_COMPACTED, INFO_COMPACTIONS, INFO_SEGMENTS, INFO_N_KINDS };

struct volume_info {
    char *url;
    struct volume volume;
    uint64_t version;
    struct {
        uint64_t n, bytes;
    } objects[INFO_N_KINDS];
    struct shale_tree *tree; /* NULL: it cannot be read, for this reason */
    char tree_error[300];
    struct session_list sessions;
    char *origin;             /* the server that the volume is on, as of shale_store_origin; NULL: none */
    struct shale_buf *engine; /* of each session: lines "name value", empty when it is not a mount that we can ask */
    struct shale_buf *requests; /* of each session: what it asked of the store (fs/core/requests.h); empty likewise */
    bool *dead;               /* of each session: certainly gone */
};

const char *volume_info_kind(int kind);

/* url is copied; store: as of fs_options. 0, or what kept it from being read, with a sentence. */
int volume_info_load(const char *url, const struct shale_store_options *store_options, struct volume_info *out);
void volume_info_fini(struct volume_info *v);

#endif
