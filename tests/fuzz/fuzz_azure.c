/* SPDX-License-Identifier: Apache-2.0 */
/* Connection strings of Azure, and the endpoints, keys and signatures in them. */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "base/slice.h"
#include "object/azure/azure_config.h"

#include <stdlib.h>
#include <string.h>

/* What becomes part of URLs and headers is fit for them. */
static void check(const struct azure_config *c)
{
    if (strspn(c->account, "abcdefghijklmnopqrstuvwxyz0123456789") != strlen(c->account) || strlen(c->account) < 3)
        abort();
    if (strncmp(c->origin, c->tls ? "https://" : "http://", c->tls ? 8 : 7) != 0 || strpbrk(c->origin + 8, "/?#@"))
        abort();
    if ((c->base[0] && c->base[0] != '/') || strpbrk(c->base, "?#@"))
        abort();
    if (!c->source || (c->key.len == 0) == (c->sas == NULL))
        abort();
    for (const char *p = c->sas ? c->sas : ""; *p; p++)
        if (*p <= ' ' || *p > '~' || *p == '#')
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_dup(data, size);
    const struct shale_azure_options whole = { .connection_string = text };
    const struct shale_azure_options parts[] = { whole, { .account = "acc", .key = text },
                                                 { .account = "acc", .sas = text },
                                                 { .account = "acc", .key = "aGVsbG8=", .endpoint = text } };

    for (size_t i = 0; text && i < ARRAY_SIZE(parts); i++) {
        struct azure_config c = { .account = NULL };

        if (azure_config_find(&parts[i], &c) == 0)
            check(&c);
        azure_config_fini(&c);
    }
    mem_free(text);
    return 0;
}
