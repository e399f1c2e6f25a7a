/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cost.h"

#include "base/buf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MONTH_MS (30.0 * 86400 * 1000)
#define HOUR_MS 3600000.0
#define MINUTE_MS 60000.0
#define WINDOW_MIN_MS 1000 /* a mount of a moment says nothing of a month */

static enum shale_request_op op_of(const char *name)
{
    for (int i = 0; i < SHALE_REQUEST_N_OPS; i++)
        if (strcmp(shale_request_op_name((enum shale_request_op)i), name) == 0)
            return (enum shale_request_op)i;
    return SHALE_REQUEST_UNKNOWN;
}

static int class_of(const char *name)
{
    int i = 0;

    while (i < IO_CLASSES && strcmp(io_class_name((enum io_class)i), name) != 0)
        i++;
    return i;
}

static void parse_line(const char *line, struct cost_requests *r)
{
    char a[32], b[32];
    uint64_t n;

    if (sscanf(line, "requests %31s %31s %" SCNu64, a, b, &n) == 3)
        r->n[op_of(a)][class_of(b)] += n;
    else if (sscanf(line, "recent %31s %" SCNu64, a, &n) == 2)
        r->recent[op_of(a)] += n;
    else if (sscanf(line, "errors %31s %" SCNu64, a, &n) == 2)
        r->failed += strcmp(a, "not_found") != 0 && strcmp(a, "exists") != 0 ? n : 0;
    else if (sscanf(line, "bytes_sent %" SCNu64, &n) == 1)
        r->bytes_sent = n;
    else if (sscanf(line, "bytes_received %" SCNu64, &n) == 1)
        r->bytes_received = n;
    else if (sscanf(line, "repeated %" SCNu64, &n) == 1)
        r->repeated = n;
    else if (sscanf(line, "elapsed_ms %" SCNu64, &n) == 1)
        r->elapsed_ms = (int64_t)n;
    else if (sscanf(line, "window_ms %" SCNu64, &n) == 1)
        r->window_ms = (int64_t)n;
}

void cost_requests_parse(const char *text, struct cost_requests *out)
{
    char line[160];

    *out = (struct cost_requests){ .elapsed_ms = 0 };
    while (*text) {
        size_t n = strcspn(text, "\n");

        snprintf(line, sizeof(line), "%.*s", (int)(n < sizeof(line) ? n : 0), text);
        parse_line(line, out);
        text += n + (text[n] == '\n');
    }
}

static uint64_t total_of(const struct cost_requests *r, int op)
{
    uint64_t sum = 0;

    for (int c = 0; c < COST_CLASSES; c++)
        sum += r->n[op][c];
    return sum;
}

static double window_of(const struct cost_requests *r)
{
    return (double)(r->window_ms > WINDOW_MIN_MS ? r->window_ms : WINDOW_MIN_MS);
}

struct cost cost_of_requests(const struct price *p, const struct cost_requests *r)
{
    struct cost c = { 0 };

    for (int op = 0; op < SHALE_REQUEST_N_OPS; op++) {
        c.so_far += price_requests(p, (enum shale_request_op)op, (double)total_of(r, op));
        c.monthly += price_requests(p, (enum shale_request_op)op, (double)r->recent[op]) * MONTH_MS / window_of(r);
    }
    return c;
}

double cost_of_storage(const struct price *p, uint64_t bytes)
{
    return (double)bytes / (1 << 30) * p->gib_month;
}

static const char *class_name(int c)
{
    return c < IO_CLASSES ? io_class_name((enum io_class)c) : "other";
}

static double per_hour(const struct cost_requests *r, int op)
{
    return (double)r->recent[op] * HOUR_MS / window_of(r);
}

/* "  get  1204: foreground 1000, compaction 204; 63 an hour" */
static int text_op(const struct cost_requests *r, int op, struct shale_buf *out)
{
    const char *between = ": ";
    int rc = buf_printf(out, "  %-20s %" PRIu64, shale_request_op_name((enum shale_request_op)op), total_of(r, op));

    for (int c = 0; rc == 0 && c < COST_CLASSES; c++) {
        if (!r->n[op][c])
            continue;
        rc = buf_printf(out, "%s%s %" PRIu64, between, class_name(c), r->n[op][c]);
        between = ", ";
    }
    return rc == 0 ? buf_printf(out, "; %.0f an hour lately\n", per_hour(r, op)) : rc;
}

static int text_cost(const struct price *p, const struct cost_requests *r, struct shale_buf *out)
{
    struct cost c = cost_of_requests(p, r);

    return buf_printf(out, "cost      $%.4f for these requests; $%.2f a month at the rate of the last %.1f minutes\n",
                      c.so_far, c.monthly, window_of(r) / MINUTE_MS);
}

static bool is_empty(const struct cost_requests *r)
{
    uint64_t sum = 0;

    for (int op = 0; op < SHALE_REQUEST_N_OPS; op++)
        sum += total_of(r, op);
    return sum == 0;
}

int cost_text(const struct price *p, const struct cost_requests *r, struct shale_buf *out)
{
    bool hours = (double)r->elapsed_ms >= HOUR_MS;
    int rc;

    if (is_empty(r))
        return 0;
    rc = buf_printf(out, "requests  in %.1f %s: %" PRIu64 " bytes sent, %" PRIu64 " received, %" PRIu64
                         " repeated, %" PRIu64 " failed\n",
                    (double)r->elapsed_ms / (hours ? HOUR_MS : MINUTE_MS), hours ? "hours" : "minutes", r->bytes_sent,
                    r->bytes_received, r->repeated, r->failed);
    for (int op = 0; rc == 0 && op < SHALE_REQUEST_N_OPS; op++)
        if (total_of(r, op))
            rc = text_op(r, op, out);
    return rc == 0 && p ? text_cost(p, r, out) : rc;
}

static int json_op(const struct cost_requests *r, int op, struct shale_buf *out)
{
    int rc = buf_printf(out, ",\"%s\":{\"count\":%" PRIu64 ",\"per_hour\":%.1f",
                        shale_request_op_name((enum shale_request_op)op), total_of(r, op), per_hour(r, op));

    for (int c = 0; rc == 0 && c < COST_CLASSES; c++)
        if (r->n[op][c])
            rc = buf_printf(out, ",\"%s\":%" PRIu64, class_name(c), r->n[op][c]);
    return rc == 0 ? buf_printf(out, "}") : rc;
}

int cost_json(const struct price *p, const struct cost_requests *r, struct shale_buf *out)
{
    struct cost c = p ? cost_of_requests(p, r) : (struct cost){ 0 };
    int rc = buf_printf(out, "{\"elapsed_ms\":%" PRId64 ",\"window_ms\":%" PRId64 ",\"bytes_sent\":%" PRIu64
                             ",\"bytes_received\":%" PRIu64 ",\"repeated\":%" PRIu64 ",\"failed\":%" PRIu64,
                        r->elapsed_ms, r->window_ms, r->bytes_sent, r->bytes_received, r->repeated, r->failed);

    for (int op = 0; rc == 0 && op < SHALE_REQUEST_N_OPS; op++)
        if (total_of(r, op))
            rc = json_op(r, op, out);
    if (rc == 0 && p)
        rc = buf_printf(out, ",\"dollars\":%.6f,\"dollars_a_month\":%.6f", c.so_far, c.monthly);
    return rc == 0 ? buf_printf(out, "}") : rc;
}
