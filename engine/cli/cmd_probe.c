/* SPDX-License-Identifier: Apache-2.0 */
/* What the store of a URL can do. The URL need not name a database; objects of the probe are there while it runs. */
#include "cli/cli.h"
#include "cli/json.h"

#include <errno.h>

#define PATIENCE_MS 30000

static const char *const states[] = {
    [SHALE_PROBE_NOT_TRIED] = "not tried", [SHALE_PROBE_GOOD] = "good",     [SHALE_PROBE_WARNS] = "warning",
    [SHALE_PROBE_LACKS] = "lacking",       [SHALE_PROBE_FAILED] = "failed",
};

static void print_text(const struct shale_probe_report *r)
{
    for (int i = 0; i < SHALE_PROBE_N_CHECKS; i++)
        printf("%-16s %-10s %s\n", r->checks[i].name, states[r->checks[i].state], r->checks[i].text);
}

static void print_json(const struct cli *c, const struct shale_probe_report *r, int rc)
{
    struct json j;

    json_init(&j, stdout);
    json_object(&j, NULL);
    json_string(&j, "url", c->url);
    json_bool(&j, "usable", rc == 0);
    json_string(&j, "error", rc < 0 ? shale_errmsg() : NULL);
    json_array(&j, "checks");
    for (int i = 0; i < SHALE_PROBE_N_CHECKS; i++) {
        json_object(&j, NULL);
        json_string(&j, "name", r->checks[i].name);
        json_string(&j, "state", states[r->checks[i].state]);
        json_string(&j, "text", r->checks[i].text);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
}

int cmd_probe(struct cli *c)
{
    struct shale_probe_report report;
    struct shale_store *patient = NULL;
    int rc = cli_open_store(c, true);

    if (rc == 0)
        rc = shale_store_retrying(c->store, PATIENCE_MS, &patient);
    if (rc < 0)
        return cli_fail(c, rc);
    rc = shale_store_probe(patient, c->path, &report);
    if (c->json)
        print_json(c, &report, rc);
    else
        print_text(&report);
    shale_store_close(patient);
    if (rc == -EOPNOTSUPP)
        (void)cli_fail(c, rc);
    return rc == 0 ? CLI_OK : rc == -EOPNOTSUPP ? CLI_NOT_FOUND : cli_fail(c, rc);
}
