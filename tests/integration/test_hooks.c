/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/hooks.h"

#include "base/clock.h"
#include "base/sync.h"

#include <inttypes.h>
#include <sched.h>
#include <shale/admin.h>
#include <shale/compact.h>
#include <shale/inspect.h>
#include <shale/reader.h>
#include <stdio.h>
#include <stdlib.h>

/* Property collector, flush transform and block transformer of a database. */

struct rig {
    struct db_fixture f;
    struct tally_hook tally;
    struct mark_hook mark;
    struct xor_hook xor;
    struct shale_buf text;
};

static int rig_setup(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));

    if (!r)
        return -1;
    fixture_init(&r->f);
    r->f.opt.manifest_poll_interval_ms = 2; /* the pause between attempts */
    tally_hook_init(&r->tally);
    mark_hook_init(&r->mark);
    xor_hook_init(&r->xor, 0xa5, true);
    *state = r;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *r = *state;

    fixture_fini(&r->f);
    assert_int_equal(r->tally.alive, 0);
    assert_int_equal(r->mark.alive, 0);
    shale_buf_fini(&r->text);
    free(r);
    return 0;
}

/* "l0 a=1 ;run7 none;wal3 empty;" */
static int note(void *arg, const struct shale_properties *p)
{
    struct rig *r = arg;
    int rc = p->kind == SHALE_SST_WAL ? buf_printf(&r->text, "wal%" PRIu64 " ", p->wal_id)
             : p->kind == SHALE_SST_L0 ? buf_printf(&r->text, "l0 ")
                                       : buf_printf(&r->text, "run%" PRIu32 " ", p->run);

    assert_false(p->is_partial);
    if (rc == 0 && p->has_blob && p->blob.len)
        rc = buf_append_slice(&r->text, p->blob);
    else if (rc == 0)
        rc = buf_printf(&r->text, "%s", p->has_blob ? "empty " : "none ");
    return rc < 0 ? rc : buf_printf(&r->text, ";");
}

static struct shale_inspect *inspect(struct rig *r)
{
    const struct shale_inspect_options opt = { .wal_store = r->f.opt.wal_store,
                                               .block_transformer = r->f.opt.block_transformer };
    struct shale_inspect *in = NULL;

    check_ok(shale_inspect_open(r->f.store, FIXTURE_ROOT, &opt, &in));
    return in;
}

static void check_properties(struct rig *r, const struct shale_uuid *checkpoint, const char *want)
{
    struct shale_inspect *in = inspect(r);

    buf_clear(&r->text);
    check_ok(buf_printf(&r->text, "%s", ""));
    check_ok(shale_inspect_properties(in, checkpoint, note, r));
    assert_string_equal(r->text.len ? (const char *)r->text.data : "", want);
    shale_inspect_close(in);
}

static void flush(struct rig *r)
{
    check_ok(shale_db_flush(r->f.db, SHALE_FLUSH_MEMTABLE));
}

/* ---- compactions ---- */

struct teller {
    struct mutex mu;
    struct cond changed;
    unsigned n_completed, n_failed; /* GUARDED_BY(mu) */
};

static void tell(void *arg, const struct shale_compaction *c, int rc)
{
    struct teller *t = arg;

    (void)rc;
    mutex_lock(&t->mu);
    t->n_completed += c && c->status == SHALE_COMPACTION_COMPLETED;
    t->n_failed += c && c->status == SHALE_COMPACTION_FAILED;
    cond_broadcast(&t->changed);
    mutex_unlock(&t->mu);
}

/* Everything into one run, by a compactor of its own; whether it worked. */
static bool compact(struct rig *r)
{
    const struct shale_compaction_spec full = { .kind = SHALE_COMPACT_FULL };
    struct teller t = { .n_completed = 0 };
    const struct shale_compactor_config cfg = { .only_submitted = true, .report = tell, .arg = &t };
    struct shale_compactor *c = NULL;
    struct shale_ulid id;
    bool good;

    mutex_init(&t.mu, 1000, "teller");
    cond_init(&t.changed);
    check_ok(shale_compactor_open(r->f.store, FIXTURE_ROOT, &r->f.opt, &cfg, &c));
    check_ok(shale_compaction_submit(r->f.store, FIXTURE_ROOT, &full, &id));
    shale_compactor_wake(c);
    mutex_lock(&t.mu);
    while (t.n_completed + t.n_failed == 0)
        cond_wait(&t.changed, &t.mu);
    good = t.n_completed > 0;
    mutex_unlock(&t.mu);
    shale_compactor_close(c);
    cond_fini(&t.changed);
    mutex_fini(&t.mu);
    return good;
}

/* ---- property collector ---- */

static void every_sst_and_wal_object_has_its_properties(void **state)
{
    struct shale_checkpoint_options how = { .name = "c" };
    struct rig *r = *state;
    struct shale_checkpoint c;

    r->f.opt.property_collector = &r->tally.hook;
    fixture_open(&r->f); /* object 1 fences */
    check_ok(put_text(r->f.db, "a1", "1", false));
    check_ok(put_text(r->f.db, "b1", "1", true));
    check_ok(delete_text(r->f.db, "a1", true));
    check_properties(r, NULL, "wal1 none ;wal2 a=1 b=1 ;wal3 a=1 ;");
    flush(r);
    check_properties(r, NULL, "l0 a=1 b=1 ;"); /* the tombstone, and not what it is for */
    check_ok(put_text(r->f.db, "a2", "1", false));
    check_ok(merge_text(r->f.db, "c", "1", false));
    check_ok(merge_text(r->f.db, "c", "2", false));
    check_ok(put_text(r->f.db, "a3", "1", true));
    flush(r);
    check_properties(r, NULL, "l0 a=2 c=1 ;l0 a=1 b=1 ;");
    check_ok(put_text(r->f.db, "d", "1", true));
    fixture_close(&r->f);
    check_ok(shale_checkpoint_create(r->f.store, FIXTURE_ROOT, NULL, &how, &c));
    assert_true(compact(r));
    check_properties(r, NULL, "wal5 d=1 ;run0 a=2 b=1 c=1 ;");
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "e", "1", true));
    flush(r);
    check_properties(r, NULL, "l0 d=1 e=1 ;run0 a=2 b=1 c=1 ;");
    check_properties(r, &c.id, "wal5 d=1 ;l0 a=2 c=1 ;l0 a=1 b=1 ;");
    assert_int_equal(r->tally.created[SHALE_SST_RUN], 1);
    assert_int_equal(r->tally.created[SHALE_SST_L0], 3);
}

static void no_blob_is_told_from_an_empty_one(void **state)
{
    struct rig *r = *state;
    struct shale_inspect *in;
    struct shale_uuid id = { 1, 2 };
    bool has = false;

    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "1", true));
    flush(r);
    fixture_close(&r->f);
    r->f.opt.property_collector = &r->tally.hook;
    r->tally.empty_blob = true;
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "1", true));
    flush(r);
    r->tally.empty_blob = false;
    r->tally.without_blob = true;
    check_ok(put_text(r->f.db, "a", "1", true));
    flush(r);
    check_properties(r, NULL, "l0 none ;l0 empty ;l0 none ;");
    check_ok(put_text(r->f.db, "a", "1", true));
    in = inspect(r);
    check_ok(shale_inspect_wal_properties(in, db_status(r->f.db).next_wal_id - 1, &has, &r->text));
    assert_false(has);
    check_err(-ENOENT, shale_inspect_wal_properties(in, 99, &has, &r->text));
    check_err(-ENOENT, shale_inspect_properties(in, &id, note, r));
    shale_inspect_close(in);
}

static int stop_at_first(void *arg, const struct shale_properties *p)
{
    (void)p;
    ++*(int *)arg;
    return 55;
}

static void listing_ends_when_told(void **state)
{
    struct rig *r = *state;
    struct shale_inspect *in;
    int n = 0;

    in = inspect(r);
    check_err(-ENOENT, shale_inspect_properties(in, NULL, stop_at_first, &n));
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "1", true));
    flush(r);
    check_err(55, shale_inspect_properties(in, NULL, stop_at_first, &n));
    assert_int_equal(n, 1);
    shale_inspect_close(in);
}

/* Each kind of failure, several times in a row: tried again, and nothing is lost or described twice. */
static void a_failing_collector_holds_up_a_flush(void **state)
{
    struct rig *r = *state;
    struct hook_fault *faults[] = { &r->tally.create_fault, &r->tally.add_fault, &r->tally.finish_fault };

    r->f.opt.property_collector = &r->tally.hook;
    fixture_open(&r->f);
    for (int i = 0; i < 3; i++) {
        const char key[] = { (char)('a' + i), '\0' };

        check_ok(put_text(r->f.db, key, "1", true));
        hook_fault_set(faults[i], 1, 3, i == 1 ? SHALE_ETRANSIENT : -EIO);
        flush(r);
        assert_int_equal(faults[i]->times, 0);
    }
    check_properties(r, NULL, "l0 c=1 ;l0 b=1 ;l0 a=1 ;");
    check_scan(r->f.db, NULL, "a=1 b=1 c=1");
    /* The same on the way to the WAL. */
    for (int i = 0; i < 3; i++) {
        hook_fault_set(faults[i], 1, 2, -EIO);
        check_ok(put_text(r->f.db, "d", "1", true));
        assert_int_equal(faults[i]->times, 0);
    }
    fixture_crash(&r->f);
    fixture_open(&r->f);
    check_scan(r->f.db, NULL, "a=1 b=1 c=1 d=1");
}

/* The job fails and nothing changes; another one is made later. */
static void a_failing_collector_fails_a_compaction(void **state)
{
    struct rig *r = *state;
    unsigned n_objects;

    r->f.opt.property_collector = &r->tally.hook;
    fixture_open(&r->f);
    for (int i = 0; i < 2; i++) {
        check_ok(put_text(r->f.db, "a", "1", true));
        flush(r);
    }
    fixture_close(&r->f);
    n_objects = count_objects(r->f.mem, "compacted");
    hook_fault_set(&r->tally.create_fault, 1, 1, -EIO);
    assert_false(compact(r));
    hook_fault_set(&r->tally.add_fault, 1, 1, SHALE_ETRANSIENT);
    assert_false(compact(r));
    hook_fault_set(&r->tally.finish_fault, 1, 1, -ENOMEM);
    assert_false(compact(r));
    assert_int_equal(count_objects(r->f.mem, "compacted"), n_objects);
    check_properties(r, NULL, "l0 a=1 ;l0 a=1 ;");
    assert_true(compact(r));
    check_properties(r, NULL, "run0 a=1 ;");
}

static void flip_last_magic_byte(struct rig *r, const char *name)
{
    struct shale_buf object = SHALE_BUF_INIT;
    bool found = false;

    check_ok(shale_store_get(r->f.mem, name, &object));
    for (size_t i = 8; i <= object.len && !found; i++) {
        found = memcmp(object.data + i - 8, "shalepr1", 8) == 0;
        if (found)
            object.data[i - 20] ^= 1;
    }
    assert_true(found);
    check_ok(shale_store_put(r->f.mem, name, slice_of_buf(&object), SHALE_PUT_OVERWRITE));
    shale_buf_fini(&object);
}

struct name_of_one {
    char name[256];
};

static int keep_name(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct name_of_one *n = arg;

    (void)meta;
    snprintf(n->name, sizeof(n->name), "%s", name);
    return 0;
}

/* The blob alone: rows are read all the same, and compacted, whereupon it is good again. */
static void a_damaged_blob_is_told_by_name(void **state)
{
    struct rig *r = *state;
    struct shale_inspect *in;
    struct name_of_one sst;

    r->f.opt.property_collector = &r->tally.hook;
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "1", true));
    flush(r);
    check_ok(shale_store_list(r->f.mem, FIXTURE_ROOT "/compacted/", NULL, keep_name, &sst));
    flip_last_magic_byte(r, sst.name);
    in = inspect(r);
    check_err(SHALE_ECORRUPT, shale_inspect_properties(in, NULL, note, r));
    assert_non_null(strstr(shale_errmsg(), sst.name));
    assert_non_null(strstr(shale_errmsg(), "properties at"));
    shale_inspect_close(in);
    fixture_close(&r->f);
    fixture_open(&r->f);
    check_scan(r->f.db, NULL, "a=1");
    fixture_close(&r->f);
    assert_true(compact(r));
    check_properties(r, NULL, "wal3 none ;run0 a=1 ;");
}

/* What the manifest needs of the WAL, and is gone. */
static void wal_objects_that_went_are_told(void **state)
{
    struct rig *r = *state;
    struct shale_inspect *in;

    r->f.opt.property_collector = &r->tally.hook;
    fixture_open(&r->f);
    for (int i = 0; i < 3; i++)
        check_ok(put_text(r->f.db, "a", "1", true));
    check_ok(shale_store_delete(r->f.mem, FIXTURE_ROOT "/wal/00000000000000000003.sst"));
    in = inspect(r);
    check_err(-ESTALE, shale_inspect_properties(in, NULL, note, r));
    assert_non_null(strstr(shale_errmsg(), "WAL object 3"));
    shale_inspect_close(in);
}

/* ---- flush transform ---- */

static void values_change_on_their_way_to_l0(void **state)
{
    struct shale_read_options then = { 0 };
    struct shale_snapshot *snapshot = NULL;
    struct rig *r = *state;

    r->f.opt.flush_transform = &r->mark.hook;
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "1", true));
    check_ok(shale_db_snapshot(r->f.db, &snapshot));
    check_ok(put_text(r->f.db, "a", "2", true));
    check_ok(put_text(r->f.db, "b", "keep", true));
    check_ok(put_text(r->f.db, "c", "3", true));
    check_ok(delete_text(r->f.db, "c", true));
    check_ok(put_text(r->f.db, "e", "", true));
    then.snapshot = snapshot;
    check_scan(r->f.db, NULL, "a=2 b=keep e=");
    check_scan(r->f.db, &then, "a=1");
    fixture_crash(&r->f);
    fixture_open(&r->f);
    check_scan(r->f.db, NULL, "a=2 b=keep e="); /* the WAL has it as it was written */
    check_ok(shale_db_snapshot(r->f.db, &snapshot));
    then.snapshot = snapshot;
    flush(r);
    check_scan(r->f.db, NULL, "a=<2> b=keep e=<>");
    check_scan(r->f.db, &then, "a=<2> b=keep e=<>");
    shale_snapshot_release(r->f.db, snapshot);
    assert_int_equal(r->mark.created, 1);
    assert_int_equal(r->mark.applied, 3); /* neither what retention leaves out, nor the tombstone */
    assert_int_equal(r->mark.ended, 1);
    fixture_close(&r->f);
    assert_true(compact(r));
    fixture_open(&r->f);
    check_scan(r->f.db, NULL, "a=<2> b=keep e=<>");
    assert_int_equal(r->mark.created, 1);
}

/* Old versions that a snapshot needs are transformed, too; each as itself. */
static void each_version_is_transformed(void **state)
{
    struct shale_read_options then = { 0 };
    struct shale_snapshot *snapshot = NULL;
    struct rig *r = *state;

    r->f.opt.flush_transform = &r->mark.hook;
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "1", true));
    check_ok(shale_db_snapshot(r->f.db, &snapshot));
    check_ok(put_text(r->f.db, "a", "2", true));
    flush(r);
    then.snapshot = snapshot;
    check_scan(r->f.db, NULL, "a=<2>");
    check_scan(r->f.db, &then, "a=<1>");
    assert_int_equal(r->mark.applied, 2);
    shale_snapshot_release(r->f.db, snapshot);
}

/* Operands are folded first: one value, transformed once. Then the merge operator meets what was transformed. */
static void operands_are_folded_before(void **state)
{
    struct rig *r = *state;

    r->f.opt.flush_transform = &r->mark.hook;
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "1", true));
    check_ok(merge_text(r->f.db, "a", "2", true));
    check_ok(merge_text(r->f.db, "b", "3", true));
    check_ok(merge_text(r->f.db, "b", "4", true));
    flush(r);
    check_scan(r->f.db, NULL, "a=<12> b=<34>");
    check_ok(merge_text(r->f.db, "a", "5", true));
    check_scan(r->f.db, NULL, "a=<12>5 b=<34>");
    flush(r);
    check_scan(r->f.db, NULL, "a=<12><5> b=<34>");
    fixture_close(&r->f);
    assert_true(compact(r));
    fixture_open(&r->f);
    check_scan(r->f.db, NULL, "a=<12><5> b=<34>");
}

/* The collector is shown what is stored. */
struct lengths {
    struct shale_property_collector hook;
    _Atomic size_t l0, wal;
};

static _Atomic size_t *length_of_kind;

static int length_create(void *ctx, enum shale_sst_kind kind, void **collector)
{
    struct lengths *l = ctx;

    *collector = kind == SHALE_SST_WAL ? &l->wal : &l->l0;
    length_of_kind = *collector;
    return 0;
}

static int length_add(void *collector, const struct shale_row *row)
{
    atomic_fetch_add((_Atomic size_t *)collector, row->value.len);
    return 0;
}

static int length_finish(void *collector, struct shale_buf *blob)
{
    (void)collector, (void)blob;
    return SHALE_END;
}

static void the_collector_sees_transformed_rows(void **state)
{
    struct lengths l = { .hook = { .create = length_create, .add = length_add, .finish = length_finish } };
    struct rig *r = *state;

    l.hook.ctx = &l;
    r->f.opt.flush_transform = &r->mark.hook;
    r->f.opt.property_collector = &l.hook;
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "12345", true));
    flush(r);
    assert_int_equal(l.wal, 5);
    assert_int_equal(l.l0, 7);
    fixture_close(&r->f);
}

static void a_failing_transform_holds_up_a_flush(void **state)
{
    struct rig *r = *state;
    struct hook_fault *faults[] = { &r->mark.create_fault, &r->mark.apply_fault, &r->mark.end_fault };
    const int codes[] = { -EIO, 17, SHALE_ETRANSIENT }; /* 17 is no decision */

    r->f.opt.flush_transform = &r->mark.hook;
    fixture_open(&r->f);
    for (int i = 0; i < 3; i++) {
        unsigned n_objects = count_objects(r->f.mem, "compacted");

        check_ok(put_text(r->f.db, "a", "1", true));
        check_ok(put_text(r->f.db, "b", "2", true));
        hook_fault_set(faults[i], 1, 3, codes[i]);
        flush(r);
        assert_int_equal(faults[i]->times, 0);
        check_scan(r->f.db, NULL, "a=<1> b=<2>");
        assert_int_equal(count_objects(r->f.mem, "compacted"), n_objects + 1);
        assert_int_equal(db_status(r->f.db).error, 0);
    }
    assert_int_equal(db_status(r->f.db).n_l0, 3);
}

/* Closing does not wait for what may never succeed: the WAL has the rows. */
static void a_close_leaves_a_failing_flush_to_the_next_open(void **state)
{
    struct rig *r = *state;

    r->f.opt.flush_transform = &r->mark.hook;
    r->f.opt.l0_sst_size_bytes = 1;
    fixture_open(&r->f);
    hook_fault_set(&r->mark.end_fault, 1, 1000000000, -EIO);
    check_ok(put_text(r->f.db, "a", "1", true)); /* freezes the table */
    while (r->mark.ended < 2)
        sched_yield();
    fixture_close(&r->f);
    hook_fault_set(&r->mark.end_fault, 0, 0, 0);
    fixture_open(&r->f); /* freezes what it replays, too */
    flush(r);
    check_scan(r->f.db, NULL, "a=<1>");
}

/* No lock is held: it reads, and others write meanwhile. */
struct reading {
    struct shale_flush_transform hook;
    struct rig *r;
    _Atomic unsigned n;
};

static int read_and_write(void *ctx, const struct shale_row *row, struct shale_buf *new_value)
{
    struct reading *x = ctx;
    struct shale_buf v = SHALE_BUF_INIT;

    (void)new_value;
    check_ok(shale_db_get(x->r->f.db, row->key, NULL, &v));
    assert_true(slice_eq(slice_of_buf(&v), row->value));
    shale_buf_fini(&v);
    atomic_fetch_add(&x->n, 1);
    return SHALE_TRANSFORM_KEEP;
}

static void a_transform_may_read_the_database(void **state)
{
    struct rig *r = *state;
    struct reading x = { .hook = { .ctx = &x, .apply = read_and_write }, .r = r };

    r->f.opt.flush_transform = &x.hook;
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "1", true));
    check_ok(put_text(r->f.db, "b", "2", true));
    flush(r);
    assert_int_equal(x.n, 2);
    fixture_close(&r->f);
}

/* Without a WAL the flush is what makes rows durable. */
static void a_database_without_wal_waits_for_its_transform(void **state)
{
    struct rig *r = *state;

    r->f.opt.flush_transform = &r->mark.hook;
    r->f.opt.wal_enabled = false;
    fixture_open(&r->f);
    hook_fault_set(&r->mark.end_fault, 1, 2, -EIO);
    check_ok(put_text(r->f.db, "a", "1", true));
    assert_int_equal(r->mark.end_fault.times, 0);
    fixture_crash(&r->f);
    fixture_open(&r->f);
    check_scan(r->f.db, NULL, "a=<1>");
}

/* ---- block transformer ---- */

/* Every object that has rows, and everybody who reads them. */
static void everybody_reads_through_the_transformer(void **state)
{
    struct shale_reader_options how;
    struct shale_reader *reader = NULL;
    struct rig *r = *state;
    struct shale_buf v = SHALE_BUF_INIT;
    unsigned before;

    r->f.opt.block_transformer = &r->xor.hook;
    r->f.opt.property_collector = &r->tally.hook;
    r->f.opt.codec = SHALE_CODEC_ZSTD;
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "1", true));
    flush(r);
    check_ok(put_text(r->f.db, "b", "2", true));
    flush(r);
    check_ok(put_text(r->f.db, "c", "3", true));
    fixture_crash(&r->f);
    before = r->xor.decoded;
    fixture_open(&r->f); /* replays */
    assert_true(r->xor.decoded > before);
    check_scan(r->f.db, NULL, "a=1 b=2 c=3");
    shale_reader_options_init(&how);
    how.block_transformer = &r->xor.hook;
    check_ok(shale_reader_open(r->f.store, FIXTURE_ROOT, &how, &reader));
    check_ok(shale_reader_get(reader, slice_str("c"), NULL, &v));
    assert_true(slice_eq(slice_of_buf(&v), slice_str("3")));
    check_ok(shale_reader_get(reader, slice_str("a"), NULL, &v));
    check_ok(shale_reader_close(reader));
    fixture_close(&r->f);
    assert_true(compact(r));
    check_properties(r, NULL, "wal4 c=1 ;wal5 none ;run0 a=1 b=1 ;");
    fixture_open(&r->f);
    check_scan(r->f.db, NULL, "a=1 b=2 c=3");
    shale_buf_fini(&v);
}

static int first_id(void *arg, struct shale_ulid id, const struct shale_object_meta *meta)
{
    (void)meta;
    *(struct shale_ulid *)arg = id;
    return 0;
}

/* SlateDB 0.12.1, sst_reader.rs. */
static void test_stats_with_block_transformer(void **state)
{
    struct shale_sst_counts counts;
    struct rig *r = *state;
    struct shale_inspect *in;
    struct shale_sst *sst = NULL;
    struct shale_ulid id;

    r->f.opt.block_transformer = &r->xor.hook;
    fixture_open(&r->f);
    for (int i = 0; i < 5; i++) {
        const char key[] = { 'k', (char)('0' + i), '\0' };

        check_ok(put_text(r->f.db, key, "v", false));
    }
    flush(r);
    fixture_close(&r->f);
    in = inspect(r);
    check_ok(shale_inspect_sst_list(in, first_id, &id));
    check_ok(shale_inspect_sst(in, id, &sst));
    check_ok(shale_sst_counts(sst, &counts));
    assert_int_equal(counts.puts, 5);
    shale_sst_close(sst);
    shale_inspect_close(in);
    r->f.opt.block_transformer = NULL;
    in = inspect(r);
    check_err(SHALE_ECORRUPT, shale_inspect_sst(in, id, &sst)); /* ours looks at the index at once */
    shale_inspect_close(in);
}

/* Without it, or with another key: an error that names an object, and not one wrong row. */
static void the_wrong_transformer_is_told(void **state)
{
    struct shale_buf v = SHALE_BUF_INIT;
    struct rig *r = *state;
    struct shale_db *db = NULL;

    r->f.opt.block_transformer = &r->xor.hook;
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "1", true));
    fixture_crash(&r->f);
    r->xor.key ^= 1;
    check_err(SHALE_EHOOK, shale_db_open(r->f.store, FIXTURE_ROOT, &r->f.opt, true, &db));
    assert_non_null(strstr(shale_errmsg(), "wal/00000000000000000001.sst"));
    r->f.opt.block_transformer = NULL;
    check_err(SHALE_ECORRUPT, shale_db_open(r->f.store, FIXTURE_ROOT, &r->f.opt, true, &db));
    r->f.opt.block_transformer = &r->xor.hook;
    r->xor.key ^= 1;
    r->f.opt.block_cache_bytes = 0;
    /* Both attempts have left a fence of their own kind; what they say is nobody else's business. */
    check_ok(shale_store_delete(r->f.mem, FIXTURE_ROOT "/wal/00000000000000000003.sst"));
    check_ok(shale_store_delete(r->f.mem, FIXTURE_ROOT "/wal/00000000000000000004.sst"));
    fixture_open(&r->f);
    flush(r);
    check_value(r->f.db, NULL, "a", "1");
    hook_fault_set(&r->xor.decode_fault, 1, 1, -EKEYEXPIRED);
    check_err(SHALE_EHOOK, shale_db_get(r->f.db, slice_str("a"), NULL, &v));
    assert_non_null(strstr(shale_errmsg(), "/compacted/"));
    check_value(r->f.db, NULL, "a", "1"); /* the handle is none the worse */
    shale_buf_fini(&v);
}

static void a_failing_encode_holds_up_writes(void **state)
{
    struct rig *r = *state;

    r->f.opt.block_transformer = &r->xor.hook;
    fixture_open(&r->f);
    hook_fault_set(&r->xor.encode_fault, 1, 2, -EIO);
    check_ok(put_text(r->f.db, "a", "1", true));
    hook_fault_set(&r->xor.encode_fault, 2, 1, -EIO);
    flush(r);
    assert_int_equal(r->xor.encode_fault.times, 0);
    check_scan(r->f.db, NULL, "a=1");
    fixture_close(&r->f);
    hook_fault_set(&r->xor.encode_fault, 1, 1, -EIO);
    assert_false(compact(r));
    hook_fault_set(&r->xor.decode_fault, 1, 1, -EIO);
    assert_false(compact(r));
    assert_true(compact(r));
    hook_fault_set(&r->xor.encode_fault, 1, 1, -EIO);
    check_err(SHALE_EHOOK, shale_db_open(r->f.store, FIXTURE_ROOT, &r->f.opt, true, &r->f.db)); /* its fence */
    r->f.db = NULL;
    fixture_open(&r->f);
    check_scan(r->f.db, NULL, "a=1");
}

static int64_t in_an_hour(void *ctx)
{
    (void)ctx;
    return clock_wall_ms() + 3600000;
}

/* Small WAL objects are looked into, since an empty one is a fence and stays longer. */
static void a_collection_of_garbage_looks_into_wal_objects(void **state)
{
    const struct shale_clock later = { .now_ms = in_an_hour };
    struct shale_admin_options admin = { .clock = &later };
    struct shale_gc_options gc;
    struct shale_gc_result res;
    struct rig *r = *state;

    r->f.opt.block_transformer = &r->xor.hook;
    fixture_open(&r->f);
    check_ok(put_text(r->f.db, "a", "1", true));
    flush(r);
    check_ok(put_text(r->f.db, "b", "1", true));
    flush(r);
    fixture_close(&r->f);
    shale_gc_options_init(&gc);
    gc.skip[SHALE_GC_MANIFEST] = gc.skip[SHALE_GC_COMPACTED] = gc.skip[SHALE_GC_COMPACTIONS] = true;
    gc.dry_run = true;
    check_ok(shale_gc(r->f.store, FIXTURE_ROOT, &admin, &gc, &res));
    assert_int_equal(res.removed[SHALE_GC_WAL], 0); /* they may be fences, for all that can be seen */
    admin.block_transformer = &r->xor.hook;
    check_ok(shale_gc(r->f.store, FIXTURE_ROOT, &admin, &gc, &res));
    assert_int_equal(res.removed[SHALE_GC_WAL], 1);
    r->xor.key ^= 1; /* one that refuses them */
    check_ok(shale_gc(r->f.store, FIXTURE_ROOT, &admin, &gc, &res));
    assert_int_equal(res.removed[SHALE_GC_WAL], 0);
}

/* ---- options ---- */

static void incomplete_hooks_are_refused(void **state)
{
    const struct shale_block_transformer half = { .encode = (int (*)(void *, struct shale_slice, struct shale_buf *))1 };
    const struct shale_property_collector collector = { .ctx = NULL };
    const struct shale_flush_transform transform = { .ctx = NULL };
    struct shale_reader_options reader;
    struct shale_options opt;

    (void)state;
    shale_options_init(&opt);
    opt.block_transformer = &half;
    check_err(-EINVAL, shale_options_check(&opt));
    opt.block_transformer = NULL;
    opt.property_collector = &collector;
    check_err(-EINVAL, shale_options_check(&opt));
    opt.property_collector = NULL;
    opt.flush_transform = &transform;
    check_err(-EINVAL, shale_options_check(&opt));
    assert_non_null(strstr(shale_errmsg(), "flush_transform"));
    shale_reader_options_init(&reader);
    reader.block_transformer = &half;
    check_err(-EINVAL, shale_reader_options_check(&reader));
}

#define hook_test(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        hook_test(every_sst_and_wal_object_has_its_properties),
        hook_test(no_blob_is_told_from_an_empty_one),
        hook_test(listing_ends_when_told),
        hook_test(a_failing_collector_holds_up_a_flush),
        hook_test(a_failing_collector_fails_a_compaction),
        hook_test(a_damaged_blob_is_told_by_name),
        hook_test(wal_objects_that_went_are_told),
        hook_test(values_change_on_their_way_to_l0),
        hook_test(each_version_is_transformed),
        hook_test(operands_are_folded_before),
        hook_test(the_collector_sees_transformed_rows),
        hook_test(a_failing_transform_holds_up_a_flush),
        hook_test(a_close_leaves_a_failing_flush_to_the_next_open),
        hook_test(a_transform_may_read_the_database),
        hook_test(a_database_without_wal_waits_for_its_transform),
        hook_test(everybody_reads_through_the_transformer),
        hook_test(test_stats_with_block_transformer),
        hook_test(the_wrong_transformer_is_told),
        hook_test(a_failing_encode_holds_up_writes),
        hook_test(a_collection_of_garbage_looks_into_wal_objects),
        cmocka_unit_test(incomplete_hooks_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
