/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus' text exposition format, version 0.0.4: for each name HELP and TYPE, then a line for each number. */

#include "base/metrics.h"

#include "base/buf.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static int put_text(struct shale_buf *out, const char *s)
{
    return buf_append_slice(out, slice_str(s));
}

/* Letters, digits, underscores and colons; everything else becomes an underscore. */
static int put_name(struct shale_buf *out, const struct shale_metric_desc *d)
{
    size_t at = out->len;
    int rc = put_text(out, d->name);

    for (size_t i = at; rc == 0 && i < out->len; i++)
        if (!isalnum(out->data[i]) && out->data[i] != ':')
            out->data[i] = '_';
    if (rc == 0 && d->kind == SHALE_METRIC_COUNTER)
        rc = put_text(out, "_total");
    return rc;
}

/* In help texts, and with quotes in the values of labels, backslash and line feed are escaped. */
static int put_escaped(struct shale_buf *out, const char *s, bool quotes)
{
    int rc = 0;

    for (; rc == 0 && *s; s++) {
        if (*s == '\\' || (quotes && *s == '"'))
            rc = buf_put_u8(out, '\\');
        if (rc == 0)
            rc = *s == '\n' ? put_text(out, "\\n") : buf_put_u8(out, (uint8_t)*s);
    }
    return rc;
}

static int put_header(struct shale_buf *out, const struct shale_metric_desc *d)
{
    static const char *const types[] = { [SHALE_METRIC_COUNTER] = "counter",
                                         [SHALE_METRIC_GAUGE] = "gauge",
                                         [SHALE_METRIC_UP_DOWN_COUNTER] = "gauge",
                                         [SHALE_METRIC_HISTOGRAM] = "histogram" };
    int rc = put_text(out, "# HELP ");

    if (rc == 0)
        rc = put_name(out, d);
    if (rc == 0)
        rc = buf_put_u8(out, ' ');
    if (rc == 0)
        rc = put_escaped(out, d->help, false);
    if (rc == 0)
        rc = put_text(out, "\n# TYPE ");
    if (rc == 0)
        rc = put_name(out, d);
    return rc < 0 ? rc : buf_printf(out, " %s\n", types[d->kind]);
}

/* What stands before the number. le: of a bucket, else NULL. */
static int put_line_head(struct shale_buf *out, const struct shale_metric_desc *d, const char *suffix, const char *le)
{
    const char *between = "{";
    int rc = put_name(out, d);

    if (rc == 0)
        rc = put_text(out, suffix);
    for (size_t i = 0; rc == 0 && i < d->n_labels; i++, between = ",") {
        rc = buf_printf(out, "%s%s=\"", between, d->labels[i].name);
        if (rc == 0)
            rc = put_escaped(out, d->labels[i].value, true);
        if (rc == 0)
            rc = buf_put_u8(out, '"');
    }
    if (rc == 0 && le)
        rc = buf_printf(out, "%sle=\"%s\"", between, le);
    return rc < 0 ? rc : put_text(out, d->n_labels || le ? "} " : " ");
}

/* With a point, whatever the locale has. */
static const char *real_text(double v, int digits, char text[static 40])
{
    snprintf(text, 40, "%.*g", digits, v);
    for (char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("+-", *p))
            *p = '.';
    return text;
}

static int put_histogram(struct shale_buf *out, const struct shale_metric *v)
{
    const struct shale_metric_desc *d = v->desc;
    uint64_t below = 0;
    char text[40];
    int rc = 0;

    for (size_t i = 0; rc == 0 && i <= d->n_bounds; i++) {
        below += v->buckets[i];
        rc = put_line_head(out, d, "_bucket", i < d->n_bounds ? real_text(d->bounds[i], 10, text) : "+Inf");
        if (rc == 0)
            rc = buf_printf(out, "%llu\n", (unsigned long long)below);
    }
    if (rc == 0)
        rc = put_line_head(out, d, "_sum", NULL);
    if (rc == 0)
        rc = buf_printf(out, "%s\n", real_text(v->sum, 17, text));
    if (rc == 0)
        rc = put_line_head(out, d, "_count", NULL);
    return rc < 0 ? rc : buf_printf(out, "%llu\n", (unsigned long long)v->count);
}

static int put_metric(struct shale_buf *out, const struct metric *m)
{
    struct shale_metric v;
    int rc;

    metric_read(m, &v);
    if (m->desc.kind == SHALE_METRIC_HISTOGRAM)
        return put_histogram(out, &v);
    rc = put_line_head(out, &m->desc, "", NULL);
    if (rc < 0)
        return rc;
    return m->desc.kind == SHALE_METRIC_COUNTER ? buf_printf(out, "%llu\n", (unsigned long long)v.count)
                                                : buf_printf(out, "%lld\n", (long long)v.value);
}

/* Those of one name come together, so its header comes with the first of them. */
int shale_metrics_text_part(struct shale_metrics *m, size_t *from, size_t max_len, struct shale_buf *out)
{
    const struct metric *before = NULL, *x = metrics_next(m, NULL);
    struct shale_buf text = SHALE_BUF_INIT;
    size_t i = 0;
    int rc = 0;

    for (; x && i < *from; i++) {
        before = x;
        x = metrics_next(m, x);
    }
    for (; rc == 0 && x && text.len < max_len; i++) {
        if (!before || strcmp(before->desc.name, x->desc.name) != 0)
            rc = put_header(&text, &x->desc);
        if (rc == 0)
            rc = put_metric(&text, x);
        before = x;
        x = metrics_next(m, x);
    }
    if (rc < 0) {
        shale_buf_fini(&text);
        return rc;
    }
    shale_buf_fini(out);
    *out = text;
    *from = i;
    return x ? 0 : SHALE_END;
}

int shale_metrics_text(struct shale_metrics *m, struct shale_buf *out)
{
    size_t from = 0;
    int rc = shale_metrics_text_part(m, &from, SIZE_MAX, out);

    return rc < 0 ? rc : 0;
}
