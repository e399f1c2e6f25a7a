/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "cli/cli.h"
#include "cli/metadata.h"
#include "manifest/compactions_store.h"
#include "manifest/manifest_store.h"

#include <errno.h>

int cmd_manifest(struct cli *c)
{
    struct manifest_version *v = NULL;
    struct manifest_store *s = NULL;
    struct json j;
    int rc = cli_open_store(c, false);

    if (rc == 0)
        rc = manifest_store_new(c->patient, c->path, c->opt.manifest_update_timeout_ms, &s);
    if (rc == 0)
        rc = c->has_id ? manifest_store_read(s, c->id, &v) : manifest_store_load_latest(s, &v);
    if (rc == 0) {
        json_init(&j, stdout);
        rc = metadata_print_manifest(&j, v->id, &v->m);
    }
    if (rc < 0)
        (void)cli_fail(c, rc);
    manifest_version_unref(v);
    manifest_store_free(s);
    return rc < 0 ? CLI_ERROR : CLI_OK;
}

int cmd_compactions(struct cli *c)
{
    struct compactions list = { 0 };
    struct compactions_store s = { 0 };
    struct json j;
    int rc = cli_open_store(c, false);

    if (rc == 0)
        rc = compactions_store_init(&s, c->patient, c->path);
    if (rc == 0)
        rc = c->has_id ? compactions_store_read(&s, c->id, &list) : compactions_store_load(&s, &list);
    if (rc == -ENOENT) {
        puts("null");
        rc = 0;
    } else if (rc == 0) {
        json_init(&j, stdout);
        rc = metadata_print_compactions(&j, c->has_id ? c->id : s.id, &list);
    }
    if (rc < 0)
        (void)cli_fail(c, rc);
    compactions_fini(&list);
    compactions_store_fini(&s);
    return rc < 0 ? CLI_ERROR : CLI_OK;
}
