/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DB_READ_PATH_H
#define DB_READ_PATH_H

#include "db/db.h"

/*
 * What a read of view v up to max_seq looks at; borrows v.
 * The time for expiry is taken here, once for the whole read.
 */
void db_read_layers(struct shale_db *db, const struct db_view *v, uint64_t max_seq,
                    const struct shale_read_options *opt, struct read_layers *out);

#endif
