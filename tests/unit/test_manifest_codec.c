/* SPDX-License-Identifier: Apache-2.0 */
#include "format/manifest_codec.h"

#include "base/alloc.h"
#include "format/manifest_wire.h"
#include "format/wire.h"
#include "format/wire_sst.h"
#include "lib/check.h"
#include "lib/golden.h"
#include "lib/heap_fault.h"
#include "lib/hex.h"
#include "lib/meta_model.h"
#include "lib/mutate.h"
#include "lib/random_env.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Storage format appendix B.1. */
static const char fresh_hex[] =
    "00 01   2c 00 00 00 00 00 00 00 24 00 24 00 00 00"
    "00 00 23 00 00 00 00 00 00 00 00 00 00 00 10 00"
    "14 00 04 00 18 00 00 00 00 00 00 00 1c 00 24 00"
    "00 00 00 00 00 00 00 00 00 80 00 00 00 00 30 00"
    "00 00 28 00 00 00 20 00 00 00 08 00 00 00 00 00"
    "00 01 0d 00 00 00 01 00 00 00 00 00 00 00 00 00"
    "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
    "00 00";

static void the_manifest_of_a_fresh_database_is_read(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct manifest m, fresh;

    (void)state;
    hex_append(&b, fresh_hex);
    manifest_init(&fresh);
    assert_int_equal(manifest_decode(slice_of_buf(&b), &m), 0);
    assert_true(m.initialized && m.last_l0_clock_tick == SHALE_NO_TS);
    assert_true(manifest_equal(&m, &fresh));
    manifest_fini(&m);
    shale_buf_fini(&b);
}

static void round_trip(const struct manifest *m)
{
    struct shale_buf b = SHALE_BUF_INIT, again = SHALE_BUF_INIT;
    struct manifest back, copy;

    assert_int_equal(manifest_encode(m, &b), 0);
    assert_int_equal(manifest_decode(slice_of_buf(&b), &back), 0);
    assert_true(manifest_equal(m, &back));
    assert_int_equal(manifest_copy(&copy, &back), 0);
    manifest_fini(&back);
    assert_true(manifest_equal(m, &copy));
    assert_int_equal(manifest_encode(&copy, &again), 0);
    assert_true(slice_eq(slice_of_buf(&b), slice_of_buf(&again)));
    manifest_fini(&copy);
    shale_buf_fini(&again);
    shale_buf_fini(&b);
}

static void random_manifests_survive(void **state)
{
    uint64_t seed = random_env(1).first;
    struct manifest m;
    struct rng r;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&r, seed);
    for (int i = 0; i < 200; i++) {
        manifest_random(&r, i < 190 ? 6 : 300, &m);
        round_trip(&m);
        manifest_fini(&m);
    }
}

static int decode(struct shale_slice in)
{
    struct manifest m;
    int rc = manifest_decode(in, &m);

    if (rc == 0)
        manifest_fini(&m);
    return rc;
}

static void no_truncation_or_flipped_bit_reads_outside(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    struct manifest m;
    struct rng r;

    (void)state;
    hex_append(&b, fresh_hex);
    assert_true(mutate_all(slice_of_buf(&b), decode) > b.len);
    rng_seed(&r, 11);
    for (int i = 0; i < 4; i++) {
        manifest_random(&r, 4, &m);
        buf_clear(&b);
        assert_int_equal(manifest_encode(&m, &b), 0);
        assert_true(mutate_all(slice_of_buf(&b), decode) > b.len);
        manifest_fini(&m);
    }
    shale_buf_fini(&b);
}

static int copy_encode_decode(const struct manifest *m)
{
    struct manifest copy, back;
    struct shale_buf b = SHALE_BUF_INIT;
    int rc = manifest_copy(&copy, m);

    if (rc < 0)
        return rc;
    rc = manifest_encode(&copy, &b);
    assert_true(rc == 0 || b.len == 0);
    if (rc == 0)
        rc = manifest_decode(slice_of_buf(&b), &back);
    if (rc == 0) {
        assert_true(manifest_equal(m, &back));
        manifest_fini(&back);
    }
    manifest_fini(&copy);
    shale_buf_fini(&b);
    return rc;
}

static void running_out_of_memory_is_reported(void **state)
{
    struct manifest m;
    struct rng r;
    unsigned n = 1;
    int rc;

    (void)state;
    rng_seed(&r, 5);
    do {
        manifest_random(&r, 4, &m);
        if (m.n_l0 && m.n_runs && m.n_checkpoints && m.n_externals)
            break;
        manifest_fini(&m);
    } while (true);
    for (;; n++) {
        heap_fault_after(n);
        rc = copy_encode_decode(&m);
        if (!heap_fault_off())
            break;
        assert_int_equal(rc, -ENOMEM);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 20);
    manifest_fini(&m);
}

/* One manifest with one L0 SST "b".."d", to be spoilt. */
static struct manifest *small_manifest(struct manifest *m)
{
    struct sst_info info = { .has_first = true, .has_last = true };

    manifest_init(m);
    m->l0 = mem_calloc(1, sizeof(*m->l0));
    m->n_l0 = m->cap_l0 = 1;
    assert_int_equal(buf_set(&info.first, slice_str("b")), 0);
    assert_int_equal(buf_set(&info.last, slice_str("d")), 0);
    assert_int_equal(sst_handle_new((struct shale_ulid){ 1, 2 }, 2, &info, &m->l0[0].sst), 0);
    m->l0[0].id = m->l0[0].sst->id;
    sst_info_fini(&info);
    return m;
}

static int reread(const struct manifest *m)
{
    struct shale_buf b = SHALE_BUF_INIT;
    int rc;

    assert_int_equal(manifest_encode(m, &b), 0);
    rc = decode(slice_of_buf(&b));
    shale_buf_fini(&b);
    return rc;
}

static void impossible_ssts_are_refused(void **state)
{
    struct manifest m;
    struct sst_info *i;

    (void)state;
    i = &small_manifest(&m)->l0[0].sst->info;
    assert_int_equal(reread(&m), 0);
    i->last.len = 0;
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    i->has_last = false;
    assert_int_equal(reread(&m), 0);
    i->first.len = 0;
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    i->has_first = false;
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    i->has_first = i->has_last = true;
    i->first.len = i->last.len = 1;
    i->first.data[0] = 'e';
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    i->first.data[0] = 'b';
    i->codec = (enum shale_codec)5;
    assert_int_equal(reread(&m), SHALE_EVERSION);
    i->codec = SHALE_CODEC_ZSTD;
    m.l0[0].sst->version = 3;
    assert_int_equal(reread(&m), SHALE_EVERSION);
    m.l0[0].sst->version = 1;
    i->type = (enum sst_type)2;
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    i->type = SST_COMPACTED;
    i->filter_format = 2;
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    i->filter_format = 1;
    i->index_offset = UINT64_MAX;
    i->index_len = 1;
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    i->index_len = 0;
    assert_int_equal(reread(&m), 0);
    manifest_fini(&m);
}

static void keys_have_at_most_65535_bytes(void **state)
{
    struct manifest m;
    struct sst_info *i;

    (void)state;
    i = &small_manifest(&m)->l0[0].sst->info;
    assert_int_equal(shale_buf_reserve(&i->last, 65535), 0);
    memset(i->last.data, 'x', 65536);
    i->last.len = 65535;
    assert_int_equal(reread(&m), 0);
    i->last.len = 65536;
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    manifest_fini(&m);
}

static void visible_ranges_must_be_sane(void **state)
{
    static const struct {
        enum key_bound_kind start, end;
        const char *from, *to;
        int want;
    } cases[] = {
        { KEY_UNBOUNDED, KEY_UNBOUNDED, "", "", 0 },
        { KEY_INCLUDED, KEY_INCLUDED, "c", "c", 0 },
        { KEY_INCLUDED, KEY_EXCLUDED, "c", "c", SHALE_ECORRUPT },
        { KEY_INCLUDED, KEY_EXCLUDED, "c", "d", 0 },
        { KEY_INCLUDED, KEY_INCLUDED, "d", "c", SHALE_ECORRUPT },
        { KEY_EXCLUDED, KEY_UNBOUNDED, "b", "", SHALE_ECORRUPT },
        { KEY_INCLUDED, KEY_UNBOUNDED, "d", "", 0 },
        { KEY_INCLUDED, KEY_UNBOUNDED, "da", "", SHALE_ECORRUPT },
        { KEY_UNBOUNDED, KEY_INCLUDED, "", "b", 0 },
        { KEY_UNBOUNDED, KEY_EXCLUDED, "", "b", SHALE_ECORRUPT },
        { KEY_INCLUDED, KEY_UNBOUNDED, "", "", SHALE_ECORRUPT },
        { KEY_UNBOUNDED, KEY_EXCLUDED, "", "", SHALE_ECORRUPT },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct manifest m;
        struct sst_view *v = &small_manifest(&m)->l0[0];

        print_message("case %zu\n", i);
        v->has_range = true;
        v->start.kind = cases[i].start;
        v->end.kind = cases[i].end;
        assert_int_equal(buf_set(&v->start.key, slice_str(cases[i].from)), 0);
        assert_int_equal(buf_set(&v->end.key, slice_str(cases[i].to)), 0);
        assert_int_equal(reread(&m), cases[i].want);
        manifest_fini(&m);
    }
}

static void add_run(struct manifest *m, uint32_t id, size_t n_views)
{
    struct sorted_run *run;

    assert_int_equal(vec_reserve(&m->runs, &m->cap_runs, m->n_runs + 1, sizeof(*m->runs)), 0);
    run = &m->runs[m->n_runs++];
    *run = (struct sorted_run){ .id = id, .ssts = mem_calloc(n_views, sizeof(struct sst_view)) };
    for (; run->n < n_views; run->n++)
        assert_int_equal(sst_view_copy(&run->ssts[run->n], &m->l0[0]), 0);
}

static void runs_must_be_in_order(void **state)
{
    struct manifest m;

    (void)state;
    small_manifest(&m);
    add_run(&m, 7, 1);
    add_run(&m, 3, 0);
    assert_int_equal(reread(&m), 0);
    m.runs[1].id = 7;
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    m.runs[1].id = 8;
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    manifest_fini(&m);

    small_manifest(&m);
    add_run(&m, 0, 2); /* b..d twice */
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    sst_handle_unref(m.runs[0].ssts[1].sst);
    assert_int_equal(sst_handle_new((struct shale_ulid){ 3, 4 }, 2, &m.l0[0].sst->info, &m.runs[0].ssts[1].sst), 0);
    m.runs[0].ssts[1].sst->info.first.data[0] = 'd'; /* the key may be split between the two */
    assert_int_equal(reread(&m), 0);
    m.runs[0].ssts[1].sst->info.first.data[0] = 'c';
    assert_int_equal(reread(&m), SHALE_ECORRUPT);
    manifest_fini(&m);
}

static void copies_share_ssts_but_not_lists(void **state)
{
    struct manifest m, copy;

    (void)state;
    small_manifest(&m);
    add_run(&m, 1, 1);
    m.l0[0].sst->info.index_offset = 100;
    m.l0[0].sst->info.index_len = 20;
    assert_int_equal(sorted_run_size(&m.runs[0]), 120);
    assert_int_equal(manifest_copy(&copy, &m), 0);
    assert_ptr_equal(copy.l0[0].sst, m.l0[0].sst);
    assert_ptr_not_equal(copy.l0, m.l0);
    assert_int_equal(atomic_load(&m.l0[0].sst->refs), 4);
    manifest_fini(&m);
    assert_int_equal(atomic_load(&copy.l0[0].sst->refs), 2);
    manifest_fini(&copy);
}

static void other_versions_are_refused(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    hex_append(&b, fresh_hex);
    b.data[1] = 3;
    assert_int_equal(decode(slice_of_buf(&b)), SHALE_EVERSION);
    b.data[1] = 0;
    assert_int_equal(decode(slice_of_buf(&b)), SHALE_EVERSION);
    b.len = 1;
    assert_int_equal(decode(slice_of_buf(&b)), SHALE_ECORRUPT);
    shale_buf_fini(&b);
}

/* What to put into a version 2 manifest beside two SSTs and two views. */
struct v2_options {
    bool twice, unknown, segment, extractor;
};

static fb_ref put_v2_view(struct fb_builder *b, struct shale_ulid id, struct shale_ulid sst)
{
    fb_ref view_id = wire_put_ulid(b, id), sst_id = wire_put_ulid(b, sst);

    fb_begin(b);
    fb_add_ref(b, VIEW_SST_ID, sst_id);
    fb_add_ref(b, VIEW_ID, view_id);
    return fb_end(b);
}

static fb_ref put_v2_sst(struct fb_builder *b, const struct sst_handle *h, struct shale_ulid id)
{
    fb_ref id_ref = wire_put_ulid(b, id), info = wire_put_info(b, &h->info);

    fb_begin(b);
    fb_add_ref(b, 1, info);
    fb_add_ref(b, 0, id_ref);
    fb_add_u16_always(b, WIRE_SST_V2_SLOT_VERSION, h->version);
    return fb_end(b);
}

static fb_ref put_v2_run(struct fb_builder *b, fb_ref view)
{
    fb_ref views = fb_put_refs(b, &view, 1);

    fb_begin(b);
    fb_add_ref(b, RUN_SSTS, views);
    fb_add_u32(b, RUN_ID, 4, 0);
    return fb_end(b);
}

static int decode_v2(const struct v2_options *o, struct manifest *out)
{
    const struct shale_ulid a = { 5, 5 }, c = { 2, 2 };
    struct shale_buf bytes = SHALE_BUF_INIT;
    struct fb_builder b;
    fb_ref refs[2], ssts, l0, runs, none, last, text;
    struct manifest m;
    int rc;

    small_manifest(&m);
    fb_builder_init(&b);
    refs[0] = put_v2_sst(&b, m.l0[0].sst, a);
    refs[1] = put_v2_sst(&b, m.l0[0].sst, o->twice ? a : c);
    ssts = fb_put_refs(&b, refs, 2);
    refs[0] = put_v2_view(&b, (struct shale_ulid){ 9, 1 }, a);
    l0 = fb_put_refs(&b, refs, 1);
    refs[0] = put_v2_view(&b, (struct shale_ulid){ 9, 2 }, o->unknown ? (struct shale_ulid){ 1, 1 } : c);
    refs[0] = put_v2_run(&b, refs[0]);
    runs = fb_put_refs(&b, refs, 1);
    none = fb_put_refs(&b, refs, o->segment ? 1 : 0);
    last = wire_put_ulid(&b, (struct shale_ulid){ 9, 3 });
    text = fb_put_string(&b, "prefix");
    fb_begin(&b);
    fb_add_u64(&b, MF2_SNAPSHOT_MIN, 12, 0);
    fb_add_u64(&b, MF2_LAST_SEQ, 11, 0);
    fb_add_u64(&b, MF2_CLOCK_TICK, 10, 0);
    fb_add_ref(&b, MF2_SEGMENTS, none);
    fb_add_ref(&b, MF2_EXTRACTOR, o->extractor ? text : 0);
    fb_add_ref(&b, MF2_CHECKPOINTS, o->segment ? l0 : none);
    fb_add_ref(&b, MF2_RUNS, runs);
    fb_add_ref(&b, MF2_L0, l0);
    fb_add_ref(&b, MF2_SSTS, ssts);
    fb_add_ref(&b, MF_L0_LAST_COMPACTED, last);
    assert_int_equal(buf_put_u16be(&bytes, MANIFEST_V2), 0);
    assert_int_equal(fb_finish(&b, fb_end(&b), &bytes), 0);
    rc = manifest_decode(slice_of_buf(&bytes), out);
    fb_builder_fini(&b);
    shale_buf_fini(&bytes);
    manifest_fini(&m);
    return rc;
}

static void version_2_is_read(void **state)
{
    struct manifest m;

    (void)state;
    assert_int_equal(decode_v2(&(struct v2_options){ 0 }, &m), 0);
    assert_int_equal(m.n_l0, 1);
    assert_int_equal(m.l0[0].id.hi, 9);
    assert_int_equal(m.l0[0].sst->id.hi, 5);
    assert_int_equal(m.n_runs, 1);
    assert_int_equal(m.runs[0].id, 4);
    assert_int_equal(m.runs[0].ssts[0].id.lo, 2);
    assert_int_equal(m.runs[0].ssts[0].sst->id.hi, 2);
    assert_int_equal(atomic_load(&m.l0[0].sst->refs), 1);
    assert_true(m.has_l0_last_compacted && m.l0_last_compacted.lo == 3);
    assert_int_equal(m.last_l0_clock_tick, 10);
    assert_int_equal(m.last_l0_seq, 11);
    assert_int_equal(m.recent_snapshot_min_seq, 12);
    assert_null(m.wal_store_uri);
    assert_false(m.initialized);
    manifest_fini(&m);
    assert_int_equal(decode_v2(&(struct v2_options){ .twice = true }, &m), SHALE_ECORRUPT);
    assert_int_equal(decode_v2(&(struct v2_options){ .unknown = true }, &m), SHALE_ECORRUPT);
    assert_int_equal(decode_v2(&(struct v2_options){ .segment = true }, &m), SHALE_EVERSION);
    assert_int_equal(decode_v2(&(struct v2_options){ .extractor = true }, &m), SHALE_EVERSION);
}

struct newest {
    char path[512];
};

static void golden_one(void *ctx, const char *path, struct shale_slice in)
{
    struct newest *newest = ctx;
    struct shale_buf b = SHALE_BUF_INIT;
    struct manifest m;

    if (manifest_decode(in, &m) != 0)
        fail_msg("%s: %s", path, shale_errmsg());
    round_trip(&m);
    assert_int_equal(manifest_encode(&m, &b), 0);
    if (!slice_eq(in, slice_of_buf(&b)) && strncmp(path, "v1-", 3) != 0)
        fail_msg("%s: other bytes than SlateDB's", path);
    shale_buf_fini(&b);
    manifest_fini(&m);
    snprintf(newest->path, sizeof(newest->path), "%s", path);
}

static void golden_manifests_are_rewritten_byte_for_byte(void **state)
{
    struct newest newest;

    (void)state;
    assert_true(golden_each("", ".manifest", golden_one, &newest) > 200);
}

static uint64_t json_number(const char *json, const char *key)
{
    const char *p = strstr(json, key);

    if (!p)
        fail_msg("no %s", key);
    return strtoull(p + strlen(key), NULL, 10);
}

/* The next "Compacted": "ULID" must be id. */
static void expect_id(const char **json, struct shale_ulid id)
{
    static const char key[] = "\"Compacted\": \"";
    char text[SHALE_ULID_TEXT_LEN + 1];

    *json = strstr(*json, key);
    assert_non_null(*json);
    *json += strlen(key);
    ulid_format(id, text);
    assert_memory_equal(*json, text, SHALE_ULID_TEXT_LEN);
}

/* Keys are sorted: runs, L0, external databases. Only runs have numeric ids. */
static void expect_ids(const char *json, const struct manifest *m)
{
    const char *runs = json;

    for (size_t i = 0; i < m->n_runs; i++) {
        for (runs = strstr(runs, "\"id\": "); runs && !isdigit((unsigned char)runs[6]);)
            runs = strstr(runs + 6, "\"id\": ");
        assert_non_null(runs);
        assert_int_equal(strtoul(runs + 6, NULL, 10), m->runs[i].id);
        runs += 6;
        for (size_t k = 0; k < m->runs[i].n; k++)
            expect_id(&json, m->runs[i].ssts[k].sst->id);
    }
    for (size_t i = 0; i < m->n_l0; i++)
        expect_id(&json, m->l0[i].sst->id);
    for (size_t i = 0; i < m->n_externals; i++)
        for (size_t k = 0; k < m->externals[i].n_ssts; k++)
            expect_id(&json, m->externals[i].ssts[k]);
    assert_null(strstr(json, "\"Compacted\": \""));
}

static void json_one(void *ctx, const char *path, struct shale_slice content)
{
    const char *name = strrchr(path, '/') + 1;
    struct shale_buf text = SHALE_BUF_INIT, in = SHALE_BUF_INIT;
    char manifest[512], db[16] = "db";
    struct manifest m;
    const char *json;

    (void)ctx;
    (void)sscanf(name, "manifest.%15[a-z0-9].json", db);
    if (strcmp(db, "json") == 0)
        strcpy(db, "db");
    assert_int_equal(buf_append_slice(&text, content), 0);
    assert_int_equal(buf_put_u8(&text, 0), 0);
    json = (const char *)text.data;
    snprintf(manifest, sizeof(manifest), "%.*s/store/%s/manifest/%020llu.manifest", (int)(name - path - 1), path, db,
             (unsigned long long)json_number(json, "["));
    print_message("%s\n", manifest);
    golden_read(manifest, &in);
    assert_int_equal(manifest_decode(slice_of_buf(&in), &m), 0);
    assert_int_equal(m.writer_epoch, json_number(json, "\"writer_epoch\": "));
    assert_int_equal(m.compactor_epoch, json_number(json, "\"compactor_epoch\": "));
    assert_int_equal(m.last_l0_seq, json_number(json, "\"last_l0_seq\": "));
    assert_int_equal(m.replay_after_wal_id, json_number(json, "\"replay_after_wal_id\": "));
    assert_int_equal(m.wal_id_last_seen + 1, json_number(json, "\"next_wal_sst_id\": "));
    expect_ids(json, &m);
    manifest_fini(&m);
    shale_buf_fini(&in);
    shale_buf_fini(&text);
}

static void manifest_json(void *ctx, const char *path, struct shale_slice content)
{
    if (strstr(path, "/manifest."))
        json_one(ctx, path, content);
}

static void golden_manifests_say_what_their_json_says(void **state)
{
    (void)state;
    assert_true(golden_each("", ".json", manifest_json, NULL) > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manifest_of_a_fresh_database_is_read),
        cmocka_unit_test(random_manifests_survive),
        cmocka_unit_test(no_truncation_or_flipped_bit_reads_outside),
        cmocka_unit_test(running_out_of_memory_is_reported),
        cmocka_unit_test(impossible_ssts_are_refused),
        cmocka_unit_test(keys_have_at_most_65535_bytes),
        cmocka_unit_test(visible_ranges_must_be_sane),
        cmocka_unit_test(runs_must_be_in_order),
        cmocka_unit_test(copies_share_ssts_but_not_lists),
        cmocka_unit_test(other_versions_are_refused),
        cmocka_unit_test(version_2_is_read),
        cmocka_unit_test(golden_manifests_are_rewritten_byte_for_byte),
        cmocka_unit_test(golden_manifests_say_what_their_json_says),
    };

    return cmocka_run_group_tests_name("manifest_codec", tests, NULL, NULL);
}
