/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "cli/cli.h"

#include <errno.h>

int cmd_clone(struct cli *c)
{
    struct shale_admin_options admin;
    int rc = 0;

    if (!c->from_text)
        rc = err_set(-EINVAL, "which database? --from PATH says it");
    if (rc == 0)
        rc = cli_open_store(c, false);
    admin = cli_admin(c);
    if (rc == 0)
        rc = shale_clone(c->store, c->path, c->from_text, c->admin.has_checkpoint ? &c->admin.checkpoint : NULL, &admin);
    return rc < 0 ? cli_fail(c, rc) : CLI_OK;
}
