/* SPDX-License-Identifier: Apache-2.0 */
#include "sst/sst_collect.h"

#include "base/err.h"
#include "format/properties.h"

#include <errno.h>

/* One code for all of them: the application's own could be taken for the store's, which mean something here. */
static int failed(int rc, const char *what)
{
    return err_set(SHALE_EHOOK, "the property collector cannot %s: %s", what, shale_strerror(rc));
}

int sst_collect_begin(struct sst_collect *c, const struct shale_property_collector *hook, enum shale_sst_kind kind)
{
    void *state = NULL;
    int rc;

    if (!hook)
        return 0;
    rc = hook->create(hook->ctx, kind, &state);
    if (rc < 0)
        return failed(rc, "be created");
    *c = (struct sst_collect){ hook, state };
    return 0;
}

int sst_collect_row(struct sst_collect *c, const struct shale_row *row)
{
    int rc = c->hook->add(c->state, row);

    return rc < 0 ? failed(rc, "take a row") : 0;
}

int sst_collect_end(struct sst_collect *c, struct shale_buf *blob)
{
    int rc;

    if (!c->hook)
        return SHALE_END;
    buf_clear(blob);
    rc = c->hook->finish(c->state, blob);
    if (rc < 0)
        return failed(rc, "tell the properties of the rows");
    if (rc != 0)
        return SHALE_END;
    if (blob->len > SHALE_PROPERTIES_MAX)
        return err_set(SHALE_EHOOK, "the property collector made %zu bytes; %zu are possible", blob->len,
                       SHALE_PROPERTIES_MAX);
    return 0;
}

void sst_collect_fini(struct sst_collect *c)
{
    if (c->hook && c->hook->destroy)
        c->hook->destroy(c->state);
    *c = (struct sst_collect){ 0 };
}

int properties_encode(struct shale_slice blob, const struct section_form *form, struct shale_buf *scratch,
                      struct shale_buf *out)
{
    size_t start = out->len;
    int rc = payload_encode(blob, form, scratch, out);

    return rc < 0 ? rc : properties_seal(out, start);
}
