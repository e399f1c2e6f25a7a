/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/db_fixture.h"
#include "lib/heap_fault.h"

#include "db/reader.h"
#include "object/paths.h"

#include <sched.h>
#include <stdio.h>

/* Followers, by the rules of section 21 of the behaviour of SlateDB 0.12.1; each test names its rule. */

static struct shale_reader_options reader_options(struct db_fixture *f)
{
    struct shale_reader_options o;

    shale_reader_options_init(&o);
    o.manifest_poll_interval_ms = 3600000; /* looks only when told to */
    o.checkpoint_lifetime_ms = 2 * o.manifest_poll_interval_ms;
    o.merge_operator = f->opt.merge_operator;
    o.clock = f->opt.clock;
    return o;
}

static struct shale_reader *open_reader(struct db_fixture *f, const struct shale_reader_options *o)
{
    struct shale_reader *r = NULL;

    check_ok(shale_reader_open(f->store, FIXTURE_ROOT, o, &r));
    return r;
}

static struct shale_reader *open_default(struct db_fixture *f)
{
    struct shale_reader_options o = reader_options(f);

    return open_reader(f, &o);
}

static struct shale_reader *open_without_checkpoint(struct db_fixture *f)
{
    struct shale_reader_options o = reader_options(f);

    o.no_checkpoint = true;
    return open_reader(f, &o);
}

static struct shale_reader_status reader_status(struct shale_reader *r)
{
    struct shale_reader_status s;

    shale_reader_status(r, &s);
    return s;
}

static void check_rows(struct shale_iter *it, const char *text)
{
    struct shale_buf got = SHALE_BUF_INIT;
    struct shale_row row;
    int rc;

    while ((rc = shale_iter_next(it, &row)) == 0)
        check_ok(buf_printf(&got, "%s%.*s=%.*s", got.len ? " " : "", (int)row.key.len, (const char *)row.key.data,
                            (int)row.value.len, (const char *)row.value.data));
    check_err(SHALE_END, rc);
    shale_iter_close(it);
    assert_string_equal(got.len ? (const char *)got.data : "", text);
    shale_buf_fini(&got);
}

/* All rows, by a scan and one by one. */
static void check_reader(struct shale_reader *r, const char *text)
{
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_iter *it = NULL;
    char copy[256], *save = NULL;

    check_ok(shale_reader_scan(r, &(struct shale_key_range){ 0 }, NULL, &it));
    check_rows(it, text);
    snprintf(copy, sizeof(copy), "%s", text);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *v = strchr(word, '=');

        *v++ = '\0';
        check_ok(shale_reader_get(r, slice_str(word), NULL, &value));
        if (!slice_eq(slice_of_buf(&value), slice_str(v)))
            fail_msg("%s is '%.*s', not '%s'", word, (int)value.len, (const char *)value.data, v);
    }
    check_err(-ENOENT, shale_reader_get(r, slice_str("no such key"), NULL, &value));
    shale_buf_fini(&value);
}

/* The newest manifest; a reference. */
static struct manifest_version *newest(struct db_fixture *f)
{
    struct manifest_store *s = NULL;
    struct manifest_version *v = NULL;

    check_ok(manifest_store_new(f->mem, FIXTURE_ROOT, 1000, &s));
    check_ok(manifest_store_load_latest(s, &v));
    manifest_store_free(s);
    return v;
}

static size_t n_checkpoints(struct db_fixture *f, struct checkpoint *first)
{
    struct manifest_version *v = newest(f);
    size_t n = v->m.n_checkpoints;

    if (n && first) {
        *first = v->m.checkpoints[0];
        first->name = NULL;
    }
    manifest_version_unref(v);
    return n;
}

/* Change the newest manifest behind everybody's back. */
static void edit_manifest(struct db_fixture *f, manifest_edit_fn fn, void *arg)
{
    struct manifest_store *s = NULL;

    check_ok(manifest_store_new(f->mem, FIXTURE_ROOT, 1000, &s));
    check_ok(manifest_store_update(s, fn, arg, NULL));
    manifest_store_free(s);
}

static int drop_checkpoints(void *arg, struct manifest *m, uint64_t next_id)
{
    (void)arg, (void)next_id;
    for (size_t i = 0; i < m->n_checkpoints; i++)
        free(m->checkpoints[i].name);
    m->n_checkpoints = 0;
    return 0;
}

static int add_checkpoint(void *arg, struct manifest *m, uint64_t next_id)
{
    struct checkpoint c = { .manifest_id = next_id, .create_s = 1 };

    c.id = *(struct shale_uuid *)arg;
    check_ok(vec_reserve(&m->checkpoints, &m->cap_checkpoints, m->n_checkpoints + 1, sizeof(c)));
    m->checkpoints[m->n_checkpoints++] = c;
    return 0;
}

static int uninitialize(void *arg, struct manifest *m, uint64_t next_id)
{
    (void)arg, (void)next_id;
    m->initialized = false;
    return 0;
}

/* Section 2.1: what the options may be. */
static void test_options(void **state)
{
    struct db_fixture *f = *state;
    struct shale_merge_operator no_op = { .name = "none" };
    struct shale_reader_options o;
    struct shale_reader *r = NULL;
    struct shale_uuid id = { 0 };

    shale_reader_options_init(&o);
    assert_int_equal(o.manifest_poll_interval_ms, 10000);
    assert_int_equal(o.checkpoint_lifetime_ms, 600000);
    assert_int_equal(o.max_memtable_bytes, 64 << 20);
    assert_false(o.skip_wal_replay);
    check_ok(shale_reader_options_check(&o));
    o.checkpoint_lifetime_ms = 20000;
    check_ok(shale_reader_options_check(&o));
    o.checkpoint_lifetime_ms = 19999;
    check_err(-EINVAL, shale_reader_options_check(&o));
    assert_non_null(strstr(shale_errmsg(), "checkpoint_lifetime_ms is 19999"));
    check_err(-EINVAL, shale_reader_open(f->store, FIXTURE_ROOT, &o, &r));
    o.no_checkpoint = true;
    check_ok(shale_reader_options_check(&o));
    o.no_checkpoint = false;
    o.checkpoint = &id;
    check_ok(shale_reader_options_check(&o));
    o.checkpoint = NULL;
    o.manifest_poll_interval_ms = 1;
    o.checkpoint_lifetime_ms = 999;
    check_err(-EINVAL, shale_reader_options_check(&o));
    o.checkpoint_lifetime_ms = 1000;
    check_ok(shale_reader_options_check(&o));
    o.manifest_poll_interval_ms = 0;
    check_err(-EINVAL, shale_reader_options_check(&o));
    shale_reader_options_init(&o);
    o.max_memtable_bytes = 0;
    check_err(-EINVAL, shale_reader_options_check(&o));
    shale_reader_options_init(&o);
    o.merge_operator = &no_op;
    check_err(-EINVAL, shale_reader_options_check(&o));
}

static void test_nothing_to_open(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = reader_options(f);
    const struct shale_uuid id = { 1, 2 };
    struct shale_reader *r = NULL;

    check_err(-ENOENT, shale_reader_open(f->store, FIXTURE_ROOT, &o, &r));
    check_err(-ENOENT, shale_reader_open(f->store, FIXTURE_ROOT, NULL, &r));
    check_err(-EINVAL, shale_reader_open(f->store, "a//b", &o, &r));
    fixture_open(f);
    fixture_close(f);
    o.checkpoint = &id;
    check_err(-ENOENT, shale_reader_open(f->store, FIXTURE_ROOT, &o, &r));
    assert_non_null(strstr(shale_errmsg(), "checkpoint"));
    o.checkpoint = NULL;
    o.wal_store = f->mem;
    check_err(-EINVAL, shale_reader_open(f->store, FIXTURE_ROOT, &o, &r));
    o.wal_store = NULL;
    edit_manifest(f, uninitialize, NULL);
    check_err(SHALE_EINITIALIZED, shale_reader_open(f->store, FIXTURE_ROOT, &o, &r));
    assert_int_equal(n_checkpoints(f, NULL), 0);
    assert_null(r);
}

/* R299, R300: what is in SSTs and in the WAL, with a checkpoint of its own and without fencing anybody. */
static void test_open(void **state)
{
    struct db_fixture *f = *state;
    struct checkpoint c = { 0 };
    struct shale_reader *r;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "b", "2", true));
    check_ok(merge_text(f->db, "a", "+", true));
    check_ok(put_text(f->db, "c", "3", false)); /* not durable */
    r = open_default(f);
    check_reader(r, "a=1+ b=2");
    assert_int_equal(reader_status(r).seq, 3);
    assert_true(reader_status(r).has_checkpoint && reader_status(r).error == 0);
    assert_int_equal(n_checkpoints(f, &c), 1);
    assert_int_equal(c.manifest_id, reader_status(r).manifest_id);
    assert_int_equal(c.create_s, f->now_ms / 1000);
    assert_int_equal(c.expire_s, f->now_ms / 1000 + 7200);
    assert_true(uuid_eq(c.id, reader_status(r).checkpoint));
    check_ok(put_text(f->db, "d", "4", true)); /* the writer goes on */
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_reader(r, "a=1+ b=2");
    check_ok(shale_reader_close(r));
    assert_int_equal(n_checkpoints(f, NULL), 0); /* R305 */
    assert_int_equal(db_status(f->db).error, 0);
}

/* R301: new WAL objects, new L0s, compactions; scans in both directions, and prefixes. */
static void test_follow(void **state)
{
    struct db_fixture *f = *state;
    struct shale_read_options down = { .descending = true };
    struct shale_iter *it = NULL, *old = NULL;
    struct shale_reader *r;
    struct shale_row row;
    struct checkpoint c;

    fixture_open(f);
    r = open_default(f);
    check_reader(r, "");
    check_ok(put_text(f->db, "a", "1", true));
    check_reader(r, "");
    check_ok(shale_reader_refresh(r));
    check_reader(r, "a=1");
    assert_int_equal(reader_status(r).n_tables, 1);
    check_ok(put_text(f->db, "b", "2", true));
    check_ok(put_text(f->db, "a", "3", true));
    check_ok(delete_text(f->db, "b", true));
    check_ok(put_text(f->db, "c", "4", true));
    check_ok(shale_reader_scan(r, &(struct shale_key_range){ 0 }, NULL, &old));
    check_ok(shale_iter_next(old, &row));
    check_ok(shale_reader_refresh(r));
    check_reader(r, "a=3 c=4");
    check_rows(old, ""); /* a scan stands where it was begun */
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "d", "5", true));
    check_ok(shale_reader_refresh(r));
    check_reader(r, "a=3 c=4 d=5");
    assert_int_equal(n_checkpoints(f, &c), 1); /* the new one replaced the old */
    assert_int_equal(c.manifest_id, reader_status(r).manifest_id);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(shale_reader_refresh(r));
    assert_int_equal(reader_status(r).n_tables, 0);
    check_reader(r, "a=3 c=4 d=5");
    check_ok(shale_reader_scan(r, &(struct shale_key_range){ slice_str("b"), slice_str("d") }, &down, &it));
    check_rows(it, "c=4");
    check_ok(shale_reader_scan_prefix(r, slice_str("d"), NULL, &it));
    check_rows(it, "d=5");
    check_ok(shale_reader_close(r));
}

/*
 * R301: of a table that straddles last_l0_seq only the newer rows count. An operand that the flush folded into a value whose
 * base this table does not have would otherwise hide it.
 */
static void test_straddling_table(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = reader_options(f);
    struct shale_reader *r;

    fixture_open(f);
    o.max_memtable_bytes = 1; /* a table for each look with news, or each object */
    check_ok(put_text(f->db, "k", "base", true));
    r = open_reader(f, &o);
    o.max_memtable_bytes = 1 << 20;
    check_ok(merge_text(f->db, "k", "+1", false));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_WAL));
    check_ok(shale_reader_refresh(r));
    assert_int_equal(reader_status(r).n_tables, 2);
    check_reader(r, "k=base+1");
    r->opt.max_memtable_bytes = 1 << 20; /* the second table goes on growing */
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(merge_text(f->db, "k", "+2", true));
    check_ok(put_text(f->db, "z", "1", true));
    assert_int_equal(r->n_tables, 2);
    check_ok(shale_reader_refresh(r));
    check_reader(r, "k=base+1+2 z=1");
    check_ok(shale_reader_close(r));
}

/* The same, by the order of events that needs the filter: the WAL is taken in before the manifest is seen. */
static void test_wal_ahead_of_manifest(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = reader_options(f);
    struct manifest_version *v;
    struct shale_reader *r;

    fixture_open(f);
    o.no_checkpoint = true;
    o.max_memtable_bytes = 30; /* of one row */
    r = open_reader(f, &o);
    check_ok(put_text(f->db, "k", "base.............................", true));
    check_ok(merge_text(f->db, "k", "+1", true));
    check_ok(shale_reader_refresh(r));
    assert_int_equal(reader_status(r).n_tables, 2);
    r->opt.max_memtable_bytes = 1 << 20;
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE)); /* the base and +1 are one value there */
    check_ok(merge_text(f->db, "k", "+2", true));
    check_ok(reader_replay(r, r->after_wal_id + 5)); /* into the table that has +1 */
    assert_int_equal(reader_status(r).n_tables, 2);
    v = newest(f);
    check_ok(reader_install(r, v));
    manifest_version_unref(v);
    assert_int_equal(reader_status(r).n_tables, 1);
    check_reader(r, "k=base.............................+1+2");
    check_ok(shale_reader_close(r));
}

/* R302, H14: renewed once for each half of its life; and made anew when it was lost. */
static void test_checkpoint_life(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader *r;
    struct checkpoint c = { 0 };
    unsigned manifests;
    uint32_t expiry;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    r = open_default(f);
    assert_int_equal(n_checkpoints(f, &c), 1);
    expiry = c.expire_s;
    manifests = count_objects(f->mem, "manifest");
    f->now_ms += 3600000; /* half of it */
    check_ok(shale_reader_refresh(r));
    assert_int_equal(count_objects(f->mem, "manifest"), manifests);
    f->now_ms += 1000;
    for (int i = 0; i < 5; i++)
        check_ok(shale_reader_refresh(r));
    assert_int_equal(count_objects(f->mem, "manifest"), manifests + 1);
    assert_int_equal(n_checkpoints(f, &c), 1);
    assert_int_equal(c.expire_s, expiry + 3601);
    assert_true(uuid_eq(c.id, reader_status(r).checkpoint));
    f->now_ms += 100000000; /* stalled; a collector removes what has expired */
    edit_manifest(f, drop_checkpoints, NULL);
    check_ok(shale_reader_refresh(r));
    assert_int_equal(n_checkpoints(f, &c), 1);
    assert_true(uuid_eq(c.id, reader_status(r).checkpoint));
    assert_int_equal(c.manifest_id, reader_status(r).manifest_id);
    check_reader(r, "a=1");
    check_ok(shale_reader_close(r));
    assert_int_equal(n_checkpoints(f, NULL), 0);
}

/* R303, R305: at a checkpoint nothing moves, and nothing is written. */
static void test_fixed_checkpoint(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = reader_options(f);
    struct shale_uuid id = { 11, 22 };
    struct shale_reader *r;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "b", "2", true));
    fixture_close(f); /* tells the manifest which WAL objects there are */
    edit_manifest(f, add_checkpoint, &id);
    fixture_open(f);
    check_ok(put_text(f->db, "c", "3", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    o.checkpoint = &id;
    store_fault_reset_counts(f->store);
    r = open_reader(f, &o);
    check_reader(r, "a=1 b=2");
    check_ok(shale_reader_refresh(r));
    check_reader(r, "a=1 b=2");
    assert_false(reader_status(r).has_checkpoint);
    check_ok(shale_reader_close(r));
    assert_int_equal(store_fault_count(f->store, FAULT_PUT), 0);
    assert_int_equal(n_checkpoints(f, NULL), 1);
    /* Its manifest may tell of a WAL object that was never written. */
    o.skip_wal_replay = true;
    r = open_reader(f, &o);
    check_reader(r, "a=1");
    check_ok(shale_reader_close(r));
}

static int promise_wal(void *arg, struct manifest *m, uint64_t next_id)
{
    m->wal_id_last_seen += 3;
    return add_checkpoint(arg, m, next_id);
}

/* R102: what a manifest tells of and is not there is the end of the log, and what was before it counts. */
static void test_promised_wal(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = reader_options(f);
    struct shale_uuid id = { 11, 22 };
    struct shale_reader *r;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(put_text(f->db, "b", "2", true));
    fixture_close(f);
    edit_manifest(f, promise_wal, &id);
    o.checkpoint = &id;
    r = open_reader(f, &o);
    check_reader(r, "a=1 b=2");
    check_ok(shale_reader_close(r));
    r = open_default(f);
    check_reader(r, "a=1 b=2");
    check_ok(shale_reader_close(r));
}

static void remove_wal(struct db_fixture *f, uint64_t id)
{
    char name[PATH_NAME_MAX];

    check_ok(path_wal(FIXTURE_ROOT, id, name));
    check_ok(shale_store_delete(f->mem, name));
}

/* R102: a hole ends the log; the rows before it stay, those behind are not seen before it is filled or passed. */
static void test_hole(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader *r;

    fixture_open(f);
    for (int i = 0; i < 6; i++) {
        char key[2] = { (char)('a' + i), 0 };

        check_ok(put_text(f->db, key, "1", true)); /* WAL objects 2 to 7 */
    }
    remove_wal(f, 5);
    r = open_without_checkpoint(f);
    check_reader(r, "a=1 b=1 c=1");
    assert_int_equal(reader_status(r).next_wal_id, 5);
    check_ok(shale_reader_refresh(r));
    check_reader(r, "a=1 b=1 c=1");
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE)); /* the manifest passes it */
    check_ok(put_text(f->db, "g", "1", true));
    check_ok(shale_reader_refresh(r));
    check_reader(r, "a=1 b=1 c=1 d=1 e=1 f=1 g=1");
    check_ok(shale_reader_close(r));
}

static void collect_wal(void *arg)
{
    struct db_fixture *f = arg;

    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    for (uint64_t id = 1; id <= 3; id++)
        remove_wal(f, id);
}

/* The WAL goes between the reading of the manifest and of the WAL: nothing that was durable is missed. */
static void test_collected_while_opening(void **state)
{
    struct db_fixture *f = *state;
    struct fault_rule rule = { .cls = FAULT_GET, .action = FAULT_CRASH, .match = "/wal/", .fn = collect_wal, .arg = f };
    struct shale_reader *r;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(put_text(f->db, "b", "1", true));
    store_fault_add(f->store, &rule);
    r = open_without_checkpoint(f);
    check_reader(r, "a=1 b=1");
    check_ok(shale_reader_close(r));
}

/* R304: with skip_wal_replay no WAL object is looked at, and only what is in SSTs is seen, also later. */
static void test_skip_wal(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = reader_options(f);
    const struct fault_rule no_wal = { .cls = FAULT_ANY, .action = FAULT_FAIL, .match = "/wal/", .rc = -EACCES,
                                       .times = FAULT_ALWAYS };
    struct shale_reader *r;
    unsigned rule;

    o.skip_wal_replay = true;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    rule = store_fault_add(f->store, &no_wal);
    r = open_reader(f, &o);
    check_reader(r, "");
    assert_int_equal(store_fault_hits(f->store, rule), 0);
    store_fault_clear(f->store);
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "b", "2", true));
    rule = store_fault_add(f->store, &no_wal);
    check_ok(shale_reader_refresh(r));
    check_reader(r, "a=1");
    assert_int_equal(reader_status(r).seq, 1);
    assert_int_equal(store_fault_hits(f->store, rule), 0);
    check_ok(shale_reader_close(r));
}

/* Read-only credentials do; an idle look is two requests, and none of them a listing (H21). */
static void test_writes_nothing(void **state)
{
    struct db_fixture *f = *state;
    const struct fault_rule denied[] = {
        { .cls = FAULT_PUT, .rc = -EACCES, .times = FAULT_ALWAYS },
        { .cls = FAULT_DELETE, .rc = -EACCES, .times = FAULT_ALWAYS },
        { .cls = FAULT_UPLOAD_BEGIN, .rc = -EACCES, .times = FAULT_ALWAYS },
    };
    struct shale_reader_options o = reader_options(f);
    struct shale_reader *r = NULL;

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(put_text(f->db, "b", "2", true));
    fixture_close(f);
    for (size_t i = 0; i < ARRAY_SIZE(denied); i++)
        store_fault_add(f->store, &denied[i]);
    check_err(-EACCES, shale_reader_open(f->store, FIXTURE_ROOT, &o, &r));
    r = open_without_checkpoint(f);
    check_reader(r, "a=1 b=2");
    store_fault_reset_counts(f->store);
    for (int i = 0; i < 3; i++)
        check_ok(shale_reader_refresh(r));
    assert_int_equal(store_fault_count(f->store, FAULT_ANY), 6);
    assert_int_equal(store_fault_count(f->store, FAULT_GET), 6);
    check_ok(shale_reader_close(r));
    assert_int_equal(store_fault_count(f->store, FAULT_PUT) + store_fault_count(f->store, FAULT_DELETE), 0);
}

static void remove_sst(void *arg, const char *name)
{
    check_ok(shale_store_delete(arg, name));
}

struct names {
    char name[16][128];
    size_t n;
};

static int add_name(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct names *s = arg;

    (void)meta;
    assert_true(s->n < ARRAY_SIZE(s->name));
    snprintf(s->name[s->n++], sizeof(s->name[0]), "%s", name);
    return 0;
}

/* What was collected from under a reader without checkpoint is no missing key: it looks again, or says so. */
static void test_collected(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = reader_options(f);
    struct shale_buf value = SHALE_BUF_INIT;
    struct names before = { .n = 0 };
    struct shale_iter *it = NULL;
    struct shale_reader *r;
    struct shale_row row;

    f->opt.compactor.enabled = true;
    f->opt.compactor.min_sources = 2;
    f->opt.compactor.poll_interval_ms = 5;
    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    o.no_checkpoint = true;
    o.block_cache_bytes = 0;
    r = open_reader(f, &o);
    check_ok(shale_store_list(f->mem, FIXTURE_ROOT "/compacted/", NULL, add_name, &before));
    assert_int_equal(before.n, 1);
    check_ok(shale_reader_scan(r, &(struct shale_key_range){ 0 }, NULL, &it));
    check_ok(put_text(f->db, "b", "1", true));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    while (db_status(f->db).n_runs == 0)
        sched_yield();
    remove_sst(f->mem, before.name[0]);
    check_err(-ESTALE, shale_iter_next(it, &row));
    shale_iter_close(it);
    check_ok(shale_reader_get(r, slice_str("a"), NULL, &value)); /* found by the newer manifest */
    check_reader(r, "a=1 b=1");
    check_ok(shale_store_list(f->mem, FIXTURE_ROOT "/compacted/", NULL, add_name, &before));
    for (size_t i = 1; i < before.n; i++)
        remove_sst(f->mem, before.name[i]); /* what nobody collects is lost */
    check_err(-ESTALE, shale_reader_get(r, slice_str("a"), NULL, &value));
    check_ok(shale_reader_close(r));
    shale_buf_fini(&value);
}

/* A failure that may pass leaves the reader as it was; one that stays ends it, and every new read says so. */
static void test_failures(void **state)
{
    struct db_fixture *f = *state;
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_iter *it = NULL;
    struct shale_reader *r;
    char name[PATH_NAME_MAX];

    fixture_open(f);
    check_ok(put_text(f->db, "a", "1", true));
    r = open_without_checkpoint(f);
    check_ok(put_text(f->db, "b", "2", true));
    /* Lost replies and short outages are the retrying store's. */
    store_fault_add(f->store, &(struct fault_rule){ .cls = FAULT_GET, .times = 2 });
    check_ok(shale_reader_refresh(r));
    check_reader(r, "a=1 b=2");
    check_ok(path_manifest(FIXTURE_ROOT, reader_status(r).manifest_id + 1, name));
    check_ok(shale_store_put(f->mem, name, slice_str("garbage, but long enough to look at"), SHALE_PUT_IF_ABSENT));
    assert_true(shale_reader_refresh(r) < 0);
    assert_true(reader_status(r).error < 0);
    check_err(reader_status(r).error, shale_reader_get(r, slice_str("a"), NULL, &value));
    check_err(reader_status(r).error, shale_reader_scan(r, &(struct shale_key_range){ 0 }, NULL, &it));
    check_err(reader_status(r).error, shale_reader_scan_prefix(r, slice_str("a"), NULL, &it));
    check_err(reader_status(r).error, shale_reader_refresh(r));
    assert_non_null(strstr(shale_errmsg(), "manifest"));
    check_ok(shale_reader_close(r));
    shale_buf_fini(&value);
}

/* R305: a checkpoint that cannot be removed is left to expire, and the reader is closed all the same. */
static void test_close_fails(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader *r;

    fixture_open(f);
    fixture_close(f);
    r = open_default(f);
    store_fault_add(f->store, &(struct fault_rule){ .cls = FAULT_PUT, .rc = -EACCES, .times = FAULT_ALWAYS });
    check_err(-EACCES, shale_reader_close(r));
    assert_non_null(strstr(shale_errmsg(), "checkpoint"));
    assert_int_equal(n_checkpoints(f, NULL), 1);
    check_ok(shale_reader_close(NULL));
}

static int batch_of_two(struct shale_db *db, const char *value)
{
    struct shale_batch *b = NULL;
    int rc = shale_batch_new(&b);

    if (rc == 0)
        rc = shale_batch_put(b, slice_str("x"), slice_str(value), SHALE_TTL_INIT);
    if (rc == 0)
        rc = shale_batch_put(b, slice_str("y"), slice_str(value), SHALE_TTL_INIT);
    if (rc == 0)
        rc = shale_db_write(db, b, true, NULL);
    shale_batch_free(b);
    return rc;
}

/* Without memory a look does all of an object or nothing; and the next one goes on. */
static void test_without_memory(void **state)
{
    struct db_fixture *f = *state;
    bool failed = true;
    unsigned n_failed = 0;

    for (unsigned n = 1; failed; n++) {
        struct shale_reader_options o;
        struct shale_buf x = SHALE_BUF_INIT, y = SHALE_BUF_INIT;
        struct shale_reader *r;
        int rc;

        fixture_fini(f);
        fixture_init(f);
        fixture_open(f);
        o = reader_options(f);
        o.no_checkpoint = n % 2;
        o.max_memtable_bytes = 1;
        check_ok(batch_of_two(f->db, "old"));
        r = open_reader(f, &o);
        check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
        check_ok(batch_of_two(f->db, "mid"));
        check_ok(batch_of_two(f->db, "new"));
        heap_fault_after(n);
        rc = reader_look(r, true); /* here, where nobody else allocates: the reader's thread waits */
        failed = heap_fault_off();
        assert_true(rc == 0 || rc == -ENOMEM);
        n_failed += rc < 0;
        check_ok(shale_reader_get(r, slice_str("x"), NULL, &x));
        check_ok(shale_reader_get(r, slice_str("y"), NULL, &y));
        assert_true(slice_eq(slice_of_buf(&x), slice_of_buf(&y)));
        check_ok(shale_reader_refresh(r));
        check_reader(r, "x=new y=new");
        check_ok(shale_reader_close(r));
        shale_buf_fini(&x);
        shale_buf_fini(&y);
    }
    assert_true(n_failed > 20);
}

/* So does opening. */
static void test_open_without_memory(void **state)
{
    struct db_fixture *f = *state;

    fixture_open(f);
    check_ok(batch_of_two(f->db, "v"));
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    check_ok(batch_of_two(f->db, "w"));
    fixture_close(f);
    for (unsigned n = 1;; n++) {
        struct shale_reader_options o = reader_options(f);
        struct shale_reader *r = NULL;
        int rc;

        o.no_checkpoint = true;
        heap_fault_after(n);
        rc = shale_reader_open(f->store, FIXTURE_ROOT, &o, &r);
        if (heap_fault_off() && rc < 0) {
            assert_true(rc == -ENOMEM || rc == -EAGAIN);
            assert_null(r);
            continue;
        }
        check_ok(rc);
        check_reader(r, "x=w y=w");
        check_ok(shale_reader_close(r));
        assert_true(n > 30);
        break;
    }
}

/* H4: of two operands of one batch, as SlateDB may leave them in its WAL, the last one counts. */
static void test_double_rows(void **state)
{
    struct db_fixture *f = *state;
    const struct shale_row rows[] = {
        { slice_str("a"), slice_str("1"), 1, 5, SHALE_NO_TS, SHALE_PUT },
        { slice_str("k"), slice_str("one"), 1, 5, 100, SHALE_MERGE },
        { slice_str("k"), slice_str("2"), 1, 5, 200, SHALE_MERGE },
        { slice_str("z"), slice_str("3"), 1, 5, SHALE_NO_TS, SHALE_PUT },
    };
    const struct shale_row *list[] = { &rows[0], &rows[1], &rows[2], &rows[3] };
    struct shale_buf data = SHALE_BUF_INIT;
    struct shale_reader *r;
    char name[PATH_NAME_MAX];

    fixture_open(f);
    check_ok(wal_sst_encode(&f->db->ts.format, list, ARRAY_SIZE(list), &data));
    fixture_close(f);
    check_ok(path_wal(FIXTURE_ROOT, 2, name));
    check_ok(shale_store_put(f->mem, name, slice_of_buf(&data), SHALE_PUT_IF_ABSENT));
    r = open_without_checkpoint(f);
    check_reader(r, "a=1 k=2 z=3");
    check_ok(shale_reader_close(r));
    shale_buf_fini(&data);
}

/* R306: rows that a compaction or flush has not removed are shown although expired, unless told otherwise (H9). */
static void test_expired(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = reader_options(f);
    struct shale_batch *b = NULL;
    struct shale_reader *r;

    fixture_open(f);
    check_ok(shale_batch_new(&b));
    check_ok(shale_batch_put(b, slice_str("k"), slice_str("v"), (struct shale_ttl){ SHALE_TTL_AFTER, 100 }));
    check_ok(shale_db_write(f->db, b, true, NULL));
    shale_batch_free(b);
    f->now_ms += 1000;
    r = open_reader(f, &o);
    check_reader(r, "k=v");
    check_ok(shale_reader_close(r));
    o.read_expired = false;
    r = open_reader(f, &o);
    check_reader(r, "");
    check_ok(shale_reader_close(r));
}

/* By itself: the thread looks every so often. */
static void test_polls(void **state)
{
    struct db_fixture *f = *state;
    struct shale_reader_options o = reader_options(f);
    struct shale_reader *r;

    o.manifest_poll_interval_ms = 1;
    fixture_open(f);
    r = open_reader(f, &o);
    check_ok(put_text(f->db, "a", "1", true));
    while (reader_status(r).seq < 1)
        sched_yield();
    check_ok(shale_db_flush(f->db, SHALE_FLUSH_MEMTABLE));
    while (reader_status(r).n_tables > 0)
        sched_yield();
    check_reader(r, "a=1");
    check_ok(shale_reader_close(r));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_options),      TEST(test_nothing_to_open), TEST(test_open),
        TEST(test_follow),       TEST(test_straddling_table), TEST(test_wal_ahead_of_manifest),
        TEST(test_checkpoint_life), TEST(test_fixed_checkpoint), TEST(test_promised_wal),
        TEST(test_hole),         TEST(test_collected_while_opening), TEST(test_skip_wal),
        TEST(test_writes_nothing), TEST(test_collected),     TEST(test_failures),
        TEST(test_close_fails),  TEST(test_without_memory),  TEST(test_open_without_memory),
        TEST(test_double_rows),  TEST(test_expired),         TEST(test_polls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
