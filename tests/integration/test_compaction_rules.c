/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/cases.h"
#include "lib/db_fixture.h"
#include "lib/row_text.h"

#include "db/db.h"
#include "read/merge_iter.h"
#include "read/run_iter.h"

#include <sched.h>
#include <shale/compact.h>
#include <shale/transaction.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * What compactions of an open database leave, by section 15.10 of the behaviour of SlateDB 0.12.1 (compactor.rs) and
 * the TTL table of section 17.2. Each case is a script of words:
 *   put:K=V  merge:K=V  del:K     with ,ttl=MS  ,at=MS  or ,never behind
 *   clock:MS  flush  snap  drop  txn (begins one and leaves it)  commit
 *   compact:full   all into the lowest run        compact:l0   every L0 SST into a new run
 *   compact:oldest   the oldest L0 SST into a new run
 * then the rows of all runs, in the notation of row_text, and what a scan of the database gives.
 */
struct rule_case {
    const char *name, *steps, *rows, *scan;
};

static const struct rule_case rule_cases[] = {
    { "test_compactor_compacts_l0", "put:a=1 put:j=2 put:b=3 put:k=4 flush compact:full",
      "a=1@1:c0 b=3@3:c0 j=2@2:c0 k=4@4:c0", "a=1 b=3 j=2 k=4" },
    { "test_should_tombstones_in_l0", "put:a=1 put:b=2 flush compact:full del:b put:a=3 flush compact:full",
      "a=3@4:c0", "a=3" },
    { "a tombstone stays above a lower run", "put:a=1 put:b=2 flush compact:l0 del:b put:c=3 flush compact:l0",
      "a=1@1:c0 b=DEL@3:c0 b=2@2:c0 c=3@4:c0", "a=1 c=3" },
    { "test_should_not_filter_tombstone_with_snapshot",
      "put:a=1 put:b=2 flush snap del:b put:a=3 flush compact:full",
      "a=3@4:c0 a=1@1:c0 b=DEL@3:c0 b=2@2:c0", "a=3" },
    { "once the snapshot is gone, the next flush lets the versions go",
      "put:a=1 put:b=2 flush snap del:b put:a=3 flush drop put:c=5 flush compact:full", "a=3@4:c0 c=5@5:c0",
      "a=3 c=5" },
    { "should_apply_merge_during_l0_compaction",
      "merge:key1=a merge:key1=b put:x=p flush merge:key1=c merge:key2=x put:y=p flush compact:l0",
      "key1+abc@4:c0 key2+x@5:c0 x=p@3:c0 y=p@6:c0", "key1=abc key2=x x=p y=p" },
    { "should_apply_merge_across_l0_and_sorted_runs",
      "merge:k=a merge:k=b flush merge:k=c flush compact:l0 merge:k=d flush compact:full", "k+abcd@4:c0", "k=abcd" },
    { "should_merge_without_base_value", "merge:k=x flush merge:k=y flush merge:k=z flush compact:full", "k+xyz@3:c0",
      "k=xyz" },
    { "should_preserve_merge_order_across_multiple_ssts",
      "merge:k=1 flush merge:k=2 flush merge:k=3 flush compact:full",
      "k+123@3:c0", "k=123" },
    { "should_not_compact_expired_merge_operations_in_last_run",
      "clock:0 merge:k=a,ttl=10 flush clock:20 merge:k=b,never flush compact:full", "k+b@2:c20", "k=b" },
    { "should_merge_and_then_overwrite_with_put", "merge:k=a merge:k=b flush put:k=v flush compact:full", "k=v@3:c0",
      "k=v" },
    { "should_not_merge_operations_with_different_expire_times",
      "clock:0 merge:k=a,ttl=100 flush merge:k=b,ttl=200 flush merge:k=c,ttl=200 flush compact:full",
      "k+bc@3:c0:e200 k+a@1:c0:e100", "k=abc" },
    { "should_merge_operations_with_same_expire_at",
      "clock:0 merge:k=a,at=1000 flush clock:5 merge:k=b,at=1000 flush compact:full", "k+ab@2:c5:e1000", "k=ab" },
    { "should_compact_expired_expire_at_entries",
      "clock:0 put:a=v,at=10 clock:5 put:b=v,at=9223372036854775807 flush clock:10 put:c=v,never flush compact:full",
      "b=v@2:c5:e9223372036854775807 c=v@3:c10", "b=v c=v" },
    { "test_should_compact_expired_entries",
      "clock:0 put:a=v,ttl=10 clock:10 put:b=v,ttl=50 flush clock:30 put:c=v,never clock:70 put:a=v,ttl=80 flush "
      "compact:full", "a=v@4:c70:e150 c=v@3:c30", "a=v c=v" },
    { "an expired value is a tombstone above a lower run",
      "clock:0 put:a=old flush compact:l0 put:a=v,ttl=10 flush clock:20 put:c=v flush compact:l0",
      "a=DEL@2:c0 a=old@1:c0 c=v@3:c20", "c=v" },
    { "an expired value hides older ones in the last run too",
      "clock:0 put:a=old flush put:a=v,ttl=10 flush clock:20 put:c=v flush compact:full", "c=v@3:c20", "c=v" },
    { "a flush looks at the time of its newest row, a compaction at that of the newest L0",
      "clock:0 put:a=v,ttl=10 clock:9 put:b=v flush clock:10 put:c=v flush compact:full", "b=v@2:c9 c=v@3:c10",
      "b=v c=v" },
    { "reads take expired rows until a compaction ends them", "clock:0 put:a=v,ttl=10 flush compact:full clock:999",
      "a=v@1:c0:e10", "a=v" },
    { "the oldest SST alone", "put:a=1 flush put:a=2 flush put:b=3 flush compact:oldest", "a=1@1:c0", "a=2 b=3" },
    { "a transaction holds versions as a snapshot does", "put:a=1 flush txn put:a=2 flush compact:full",
      "a=2@2:c0 a=1@1:c0", "a=2" },
    { "operands above the least snapshot stay apart", "merge:k=a flush snap merge:k=b merge:k=c flush compact:full",
      "k+c@3:c0 k+b@2:c0 k+a@1:c0", "k=abc" },
};

struct scene {
    struct db_fixture f;
    struct shale_snapshot *snap;
    struct shale_txn *txn;
};

static struct shale_ttl ttl_of(const char *text)
{
    if (!text)
        return SHALE_TTL_INIT;
    if (strncmp(text, "ttl=", 4) == 0)
        return (struct shale_ttl){ SHALE_TTL_AFTER, strtoll(text + 4, NULL, 10) };
    if (strncmp(text, "at=", 3) == 0)
        return (struct shale_ttl){ SHALE_TTL_AT, strtoll(text + 3, NULL, 10) };
    assert_string_equal(text, "never");
    return (struct shale_ttl){ SHALE_TTL_NONE, 0 };
}

static void write_step(struct shale_db *db, const char *verb, char *arg)
{
    char *ttl = strchr(arg, ','), *value;
    struct shale_batch *b = NULL;

    if (ttl)
        *ttl++ = '\0';
    value = strchr(arg, '=');
    if (value)
        *value++ = '\0';
    check_ok(shale_batch_new(&b));
    if (strcmp(verb, "put") == 0)
        check_ok(shale_batch_put(b, slice_str(arg), slice_str(value), ttl_of(ttl)));
    else if (strcmp(verb, "merge") == 0)
        check_ok(shale_batch_merge(b, slice_str(arg), slice_str(value), ttl_of(ttl)));
    else
        check_ok(shale_batch_delete(b, slice_str(arg)));
    check_ok(shale_db_write(db, b, false, NULL));
    shale_batch_free(b);
}

static void compact_step(struct shale_db *db, const char *what)
{
    struct shale_compaction_spec spec = { .kind = strcmp(what, "full") == 0 ? SHALE_COMPACT_FULL : SHALE_COMPACT_L0,
                                          .n_l0_oldest = strcmp(what, "oldest") == 0 };
    struct shale_compaction told = { .status = SHALE_COMPACTION_SUBMITTED };
    struct shale_ulid id;

    check_ok(shale_db_compact(db, &spec, &id));
    while (told.status != SHALE_COMPACTION_COMPLETED) {
        check_ok(shale_db_compaction(db, id, &told));
        assert_int_not_equal(told.status, SHALE_COMPACTION_FAILED);
        sched_yield();
    }
}

static void step(struct scene *s, const char *verb, char *arg)
{
    struct shale_db *db = s->f.db;

    if (strcmp(verb, "clock") == 0)
        s->f.now_ms = strtoll(arg, NULL, 10);
    else if (strcmp(verb, "flush") == 0)
        check_ok(shale_db_flush(db, SHALE_FLUSH_MEMTABLE));
    else if (strcmp(verb, "snap") == 0)
        check_ok(shale_db_snapshot(db, &s->snap));
    else if (strcmp(verb, "drop") == 0)
        shale_snapshot_release(db, s->snap), s->snap = NULL;
    else if (strcmp(verb, "txn") == 0)
        check_ok(shale_txn_begin(db, SHALE_TXN_SNAPSHOT, &s->txn));
    else if (strcmp(verb, "compact") == 0)
        compact_step(db, arg);
    else
        write_step(db, verb, arg);
}

/* Every row of every run, in order. */
static char *run_rows(struct shale_db *db)
{
    struct manifest_version *v = manifest_store_current(db->manifests);
    struct sst_iter_options opt = { .order = ITER_ASC };
    struct key_range all = { 0 };
    struct iter *children[8], *merged;
    char *text;

    assert_true(v->m.n_runs <= ARRAY_SIZE(children));
    for (size_t i = 0; i < v->m.n_runs; i++)
        check_ok(run_iter_new(&db->ts, &v->m.runs[i], &all, &opt, &children[i]));
    check_ok(merge_iter_new(children, v->m.n_runs, ITER_ASC, false, &merged));
    text = iter_text(merged);
    manifest_version_unref(v);
    return text;
}

static void scene_open(struct scene *s)
{
    *s = (struct scene){ 0 };
    fixture_init(&s->f);
    s->f.now_ms = 0;
    s->f.opt.compactor.enabled = true;
    s->f.opt.compactor.min_sources = s->f.opt.compactor.max_sources = 1000; /* chooses nothing itself */
    s->f.opt.compactor.poll_interval_ms = 3600000;
    fixture_open(&s->f);
}

static void scene_close(struct scene *s)
{
    if (s->snap)
        shale_snapshot_release(s->f.db, s->snap);
    shale_txn_rollback(s->txn);
    fixture_fini(&s->f);
}

static void run_script(struct scene *s, const char *steps)
{
    char text[256], *save = NULL;

    assert_true(strlen(steps) < sizeof(text));
    snprintf(text, sizeof(text), "%s", steps);
    for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *arg = strchr(word, ':');

        if (arg)
            *arg++ = '\0';
        step(s, word, arg);
    }
}

static void a_compaction_leaves(void **state)
{
    const struct rule_case *c = *state;
    struct scene s;
    char *rows;

    scene_open(&s);
    run_script(&s, c->steps);
    rows = run_rows(s.f.db);
    assert_string_equal(rows, c->rows);
    check_scan(s.f.db, NULL, c->scan);
    free(rows);
    scene_close(&s);
}

/* test_should_compact_expired_entries: the tick of the manifest is the time of the newest row in L0. */
static void the_tick_is_that_of_the_last_write(void **state)
{
    struct scene s;

    (void)state;
    scene_open(&s);
    run_script(&s, "clock:0 put:a=v flush clock:70 put:b=v,ttl=80 flush clock:75 compact:full");
    assert_int_equal(s.f.db->mv->m.last_l0_clock_tick, 70);
    scene_close(&s);
}

/* test_compactor_compressed_block_size: what is split by and counted is the size of the blocks as stored. */
static void blocks_count_as_they_are_stored(void **state)
{
    static const enum shale_codec codecs[] = { SHALE_CODEC_NONE, SHALE_CODEC_ZSTD };
    uint64_t bytes[ARRAY_SIZE(codecs)];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(codecs); i++) {
        struct scene s;
        char value[1001], key[8];

        scene_open(&s);
        fixture_close(&s.f);
        s.f.opt.codec = codecs[i];
        fixture_open(&s.f);
        memset(value, 'v', 1000);
        value[1000] = '\0';
        for (int k = 0; k < 8; k++) {
            snprintf(key, sizeof(key), "k%d", k);
            check_ok(put_text(s.f.db, key, value, false));
        }
        run_script(&s, "flush compact:full");
        bytes[i] = s.f.db->mv->m.runs[0].ssts[0].sst->info.filter_offset;
        scene_close(&s);
    }
    assert_true(bytes[0] > 8000);
    assert_in_range(bytes[1], 1, 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tick_is_that_of_the_last_write),
        cmocka_unit_test(blocks_count_as_they_are_stored),
    };
    struct cases c = { 0 };

    CASES_ADD_TABLE(&c, "15.10", rule_cases, a_compaction_leaves);
    cases_add_tests(&c, tests, ARRAY_SIZE(tests));
    return cases_run(&c, NULL, NULL);
}
