/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a stream of rows into SSTs. One writer is open at a time; it streams, so memory stays
 * small however large an SST gets. When an SST may end is explained in output_set.h.
 *   list:    [0, n_kept) others know of them   [n_kept, n) only we do: deleted if the job fails
 */

#include "compact/output_set.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#include <errno.h>

int output_set_init(struct output_set *o, struct table_store *ts, uint64_t max_sst_size, struct shale_ulid job,
                    const struct shale_clock *clock, struct sst_handle *const *earlier, size_t n_earlier)
{
    int rc;

    *o = (struct output_set){ .ts = ts, .max_sst_size = max_sst_size, .last_id = job, .clock = clock };
    rc = vec_reserve(&o->list, &o->cap, n_earlier, sizeof(struct sst_handle *));
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n_earlier; i++) {
        if (earlier[i]->info.has_first)
            o->list[o->n++] = sst_handle_ref(earlier[i]);
        if (ulid_cmp(earlier[i]->id, o->last_id) > 0)
            o->last_id = earlier[i]->id;
    }
    o->n_kept = o->n;
    return 0;
}

void output_set_fini(struct output_set *o)
{
    sst_writer_free(o->writer);
    for (size_t i = 0; i < o->n; i++)
        sst_handle_unref(o->list[i]);
    mem_free(o->list);
    shale_buf_fini(&o->key);
    *o = (struct output_set){ 0 };
}

/*
 * The collector spares what is not older than the oldest compaction: a clock that went back must not make it so.
 * Always random, as an attempt that crashed may have left any object behind.
 */
static struct shale_ulid next_id(const struct output_set *o)
{
    int64_t now = o->clock ? o->clock->now_ms(o->clock->ctx) : clock_wall_ms();
    int64_t least = ulid_time_ms(o->last_id);
    struct shale_ulid id = ulid_new(now > least ? now : least, NULL);

    return ulid_cmp(id, o->last_id) > 0 ? id : ulid_new(least + 1, NULL);
}

static int open_writer(struct output_set *o)
{
    struct shale_ulid id = next_id(o);
    int rc;

    rc = sst_writer_new(o->ts, id, false, &o->writer);
    if (rc < 0)
        return rc;
    rc = sst_writer_collect(o->writer, SHALE_SST_RUN);
    if (rc < 0) {
        sst_writer_free(o->writer);
        o->writer = NULL;
        return rc;
    }
    o->last_id = id;
    o->closing = false;
    o->block_bytes = 0;
    return 0;
}

static bool is_over(const struct output_set *o)
{
    return o->block_bytes > o->max_sst_size;
}

/*
 * Whether the open SST is closed in front of row.
 * Halved rather than doubled: max_sst_size may be any 64-bit number.
 */
static bool must_split(const struct output_set *o, const struct shale_row *row)
{
    if (!is_over(o))
        return false;
    if (!slice_eq(slice_of_buf(&o->key), row->key))
        return true;
    return o->block_bytes / 2 > o->max_sst_size && o->kind != SHALE_MERGE;
}

/* Splitting is looked at before a row is written, when it is known whether it begins a new key. */
int output_set_add(struct output_set *o, const struct shale_row *row)
{
    uint64_t completed = 0;
    int finished = 0;
    int rc;

    if (o->writer && must_split(o, row)) {
        rc = output_set_finish(o);
        if (rc < 0)
            return rc;
        finished = 1;
    }
    rc = o->writer ? 0 : open_writer(o);
    if (rc < 0)
        return rc;
    rc = sst_writer_add(o->writer, row, &completed);
    if (rc < 0)
        return rc;
    o->block_bytes += completed;
    o->kind = row->kind;
    if (is_over(o)) {
        rc = buf_set(&o->key, row->key);
        if (rc < 0)
            return rc;
    }
    return finished;
}

/* Room in the list first: after the object is durable nothing may fail, or it would be forgotten. */
int output_set_finish(struct output_set *o)
{
    int rc;

    if (!o->writer)
        return 0;
    rc = vec_reserve(&o->list, &o->cap, o->n + 1, sizeof(struct sst_handle *));
    if (rc < 0)
        return rc;
    o->closing = true;
    rc = sst_writer_finish(o->writer, &o->list[o->n]);
    if (rc < 0)
        return rc;
    metric_count(o->written, o->list[o->n]->info.filter_offset);
    o->n++;
    o->closing = false;
    o->writer = NULL; /* finishing ended it */
    return 0;
}

void output_delete(struct table_store *ts, struct shale_ulid id)
{
    struct shale_buf name = SHALE_BUF_INIT;
    char text[SHALE_ULID_TEXT_LEN + 1];
    int rc = table_store_sst_name(ts, id, &name);

    if (rc == 0)
        rc = shale_store_delete(ts->store, (const char *)name.data);
    ulid_format(id, text);
    if (rc < 0)
        log_warn("SST %s of a failed compaction stays behind unused: %s", text, shale_strerror(rc));
    shale_buf_fini(&name);
}

/*
 * A finish that failed may have made the object all the same (a lost reply), so its name is
 * deleted as well; deleting what is not there succeeds.
 */
void output_set_abandon(struct output_set *o)
{
    bool may_exist = o->writer && o->closing;

    sst_writer_free(o->writer);
    o->writer = NULL;
    if (may_exist)
        output_delete(o->ts, o->last_id);
    while (o->n > o->n_kept) {
        struct sst_handle *h = o->list[--o->n];

        output_delete(o->ts, h->id);
        sst_handle_unref(h);
    }
}
