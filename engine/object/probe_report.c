/* SPDX-License-Identifier: Apache-2.0 */
#include "object/probe_report.h"

#include "base/buf.h"
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name, *good;
} texts[SHALE_PROBE_N_CHECKS] = {
    [SHALE_PROBE_CONDITIONAL] = { "conditional put", "creates what is absent, refuses what exists and leaves it" },
    [SHALE_PROBE_RACE] = { "race", "of several puts at once exactly one creates the object" },
    [SHALE_PROBE_READ] = { "read", "objects are read as they were written" },
    [SHALE_PROBE_RANGE] = { "ranges", "a part of an object is read alone" },
    [SHALE_PROBE_NAMES] = { "names", "the longest names under this path are taken" },
    [SHALE_PROBE_LIST] = { "list", "listings show what was just written, and begin where they are told to" },
    [SHALE_PROBE_UPLOAD] = { "upload", "large objects go up in parts" },
    [SHALE_PROBE_DELETE] = { "delete", "objects can be deleted, also twice" },
    [SHALE_PROBE_PUT_ID] = { "put id", "tells after a lost answer who wrote an object" },
    [SHALE_PROBE_CLOCK] = { "clock", "agrees with ours within a minute" },
};

void probe_report_init(struct shale_probe_result *checks)
{
    for (int c = 0; c < SHALE_PROBE_N_CHECKS; c++)
        checks[c] = (struct shale_probe_result){ .name = texts[c].name, .text = "not tried" };
}

bool probe_wants(const struct shale_probe_result *checks, enum shale_probe_check c)
{
    return checks[c].state > SHALE_PROBE_GOOD;
}

void probe_note(struct shale_probe_result *checks, enum shale_probe_check c, enum shale_probe_state state, int rc,
                const char *fmt, ...)
{
    struct shale_probe_result *r = &checks[c];
    va_list ap;

    if (probe_wants(checks, c))
        return;
    r->state = state;
    r->rc = rc;
    va_start(ap, fmt);
    (void)vsnprintf(r->text, sizeof(r->text), fmt, ap);
    va_end(ap);
}

void probe_good(struct shale_probe_result *checks, enum shale_probe_check c)
{
    probe_note(checks, c, SHALE_PROBE_GOOD, 0, "%s", texts[c].good);
}

/* Of a step that was right; others say that we do not know. */
static bool is_refusal(int rc)
{
    return rc == -EOPNOTSUPP || rc == -ENAMETOOLONG || rc == -EINVAL || rc == -ERANGE || rc == -ENOENT;
}

void probe_failed(struct shale_probe_result *checks, enum shale_probe_check c, int rc, const char *why,
                  const char *means)
{
    if (is_refusal(rc))
        probe_lacks(checks, c, "%s%s%s", why, means[0] ? "; " : "", means);
    else
        probe_note(checks, c, SHALE_PROBE_FAILED, rc, "%s", why);
}

/* Without conditional puts there is nothing to say of a race. */
static void forget_race(struct shale_probe_result *checks)
{
    struct shale_probe_result *race = &checks[SHALE_PROBE_RACE];

    if (checks[SHALE_PROBE_CONDITIONAL].state == SHALE_PROBE_LACKS)
        *race = (struct shale_probe_result){ .name = race->name, .text = "not tried, for lack of conditional puts" };
}

int probe_verdict(struct shale_probe_result *checks)
{
    const struct shale_probe_result *unknown = NULL;
    struct shale_buf text = SHALE_BUF_INIT;
    int rc = 0;

    forget_race(checks);
    for (int c = 0; c < SHALE_PROBE_N_CHECKS && rc == 0; c++) {
        const struct shale_probe_result *r = &checks[c];

        if (r->state == SHALE_PROBE_FAILED && !unknown)
            unknown = r;
        if (r->state == SHALE_PROBE_LACKS)
            rc = buf_printf(&text, "%s%s: %s", text.len ? ". Also, " : "", r->name, r->text);
    }
    if (rc == 0 && text.len)
        rc = err_set(-EOPNOTSUPP, "the store cannot hold a database: %s", (const char *)text.data);
    else if (rc == 0 && unknown)
        rc = err_set(unknown->rc, "the store could not be tried (%s): %s", unknown->name, unknown->text);
    shale_buf_fini(&text);
    return rc;
}
