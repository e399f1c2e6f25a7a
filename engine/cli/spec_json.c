/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/spec_json.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/ulid.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* One object of two members, whose form is known: a reader for just that, strict. */
struct reader {
    const char *p;
    bool bad;
};

static void skip_space(struct reader *r)
{
    while (isspace((unsigned char)*r->p))
        r->p++;
}

static bool next_is(struct reader *r, char c)
{
    skip_space(r);
    if (*r->p != c)
        return false;
    r->p++;
    return true;
}

static void expect(struct reader *r, char c)
{
    if (!next_is(r, c))
        r->bad = true;
}

/* A string without escapes: none of those that may stand here has any. */
static struct shale_slice read_string(struct reader *r)
{
    const char *start;

    expect(r, '"');
    start = r->p;
    while (*r->p && *r->p != '"' && *r->p != '\\')
        r->p++;
    if (*r->p != '"' || r->bad) {
        r->bad = true;
        return (struct shale_slice){ NULL, 0 };
    }
    return (struct shale_slice){ (const uint8_t *)start, (size_t)(r->p++ - start) };
}

static bool is_name(struct shale_slice s, const char *name)
{
    return s.len == strlen(name) && memcmp(s.data, name, s.len) == 0;
}

static uint32_t read_u32(struct reader *r)
{
    uint64_t n = 0;

    skip_space(r);
    if (!isdigit((unsigned char)*r->p))
        r->bad = true;
    while (isdigit((unsigned char)*r->p) && n <= UINT32_MAX)
        n = n * 10 + (uint64_t)(*r->p++ - '0');
    if (n > UINT32_MAX)
        r->bad = true;
    return (uint32_t)n;
}

static int read_view(struct reader *r, struct spec_json *s)
{
    struct shale_slice text = read_string(r);
    char id[SHALE_ULID_TEXT_LEN + 1] = "";
    int rc = vec_reserve(&s->l0, &s->cap_l0, s->n_l0 + 1, sizeof(*s->l0));

    if (rc < 0)
        return rc;
    if (text.len == SHALE_ULID_TEXT_LEN)
        memcpy(id, text.data, text.len);
    if (s->n_runs > 0 || ulid_parse(id, strlen(id), &s->l0[s->n_l0]) < 0)
        r->bad = true; /* also an L0 SST behind a run */
    s->n_l0++;
    return 0;
}

static int read_source(struct reader *r, struct spec_json *s)
{
    struct shale_slice kind;
    int rc = 0;

    expect(r, '{');
    kind = read_string(r);
    expect(r, ':');
    if (is_name(kind, "SstView")) {
        rc = read_view(r, s);
    } else if (is_name(kind, "SortedRun")) {
        rc = vec_reserve(&s->runs, &s->cap_runs, s->n_runs + 1, sizeof(*s->runs));
        if (rc == 0)
            s->runs[s->n_runs++] = read_u32(r);
    } else {
        r->bad = true;
    }
    expect(r, '}');
    return rc;
}

static int read_sources(struct reader *r, struct spec_json *s)
{
    int rc = 0;

    expect(r, '[');
    if (next_is(r, ']'))
        return 0;
    do
        rc = read_source(r, s);
    while (rc == 0 && !r->bad && next_is(r, ','));
    expect(r, ']');
    return rc;
}

int spec_json_parse(const char *text, struct spec_json *s, struct shale_compaction_spec *out)
{
    bool has_sources = false, has_destination = false;
    struct reader r = { .p = text };
    uint32_t destination = 0;
    int rc = 0;

    *s = (struct spec_json){ .l0 = NULL };
    expect(&r, '{');
    do {
        struct shale_slice name = read_string(&r);

        expect(&r, ':');
        if (is_name(name, "sources") && !has_sources) {
            has_sources = true;
            rc = read_sources(&r, s);
        } else if (is_name(name, "destination") && !has_destination) {
            has_destination = true;
            destination = read_u32(&r);
        } else {
            r.bad = true;
        }
    } while (rc == 0 && !r.bad && next_is(&r, ','));
    expect(&r, '}');
    skip_space(&r);
    if (rc < 0)
        return rc;
    if (r.bad || *r.p || !has_sources || !has_destination)
        return err_set(-EINVAL, "--spec: not of the form {\"sources\":[{\"SstView\":\"01H...\"},{\"SortedRun\":3}],"
                                "\"destination\":3}, wrong at '%.20s'",
                       r.p);
    *out = (struct shale_compaction_spec){ .kind = SHALE_COMPACT_SOURCES, .l0 = s->l0, .n_l0 = s->n_l0, .runs = s->runs,
                                           .n_runs = s->n_runs, .destination = destination };
    return 0;
}

void spec_json_fini(struct spec_json *s)
{
    mem_free(s->l0);
    mem_free(s->runs);
    *s = (struct spec_json){ .l0 = NULL };
}
