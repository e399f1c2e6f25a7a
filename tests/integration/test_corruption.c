/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"
#include "lib/damage.h"
#include "lib/random_env.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "format/manifest_codec.h"
#include "object/paths.h"
#include "sst/sst_section.h"

#include <errno.h>
#include <sched.h>
#include <shale/shale.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Databases with everything in them (a log to replay, L0 SSTs, a run of several SSTs, merge operands, tombstones), one
 * for each codec, of which one object is damaged; then opened, scanned, and each key looked up.
 *
 * SSTs and WAL objects carry checksums: whoever needs the damaged bytes gets an error that names the object, and what
 * is read without them is right. Manifests and lists of compactions carry none, and whole objects that change places are
 * sound in themselves: there rows may be missing or old, but each is one that was written, and nothing crashes or hangs.
 */

#define ROOT "t/db"

enum { KEYS = 40, WRITES = 400, SECONDS = 60 };

static const enum shale_codec codecs[] = { SHALE_CODEC_NONE, SHALE_CODEC_SNAPPY, SHALE_CODEC_ZLIB, SHALE_CODEC_LZ4,
                                           SHALE_CODEC_ZSTD };

enum object_class { CLASS_MANIFEST, CLASS_COMPACTIONS, CLASS_WAL, CLASS_SST, CLASS_UNUSED, N_CLASSES };

/* A database at rest, and what it holds. */
struct scene {
    struct shale_options opt;
    struct shale_merge_operator op;
    struct stored_set objects;
    enum object_class *class_of; /* of each object */
    struct shale_buf values[KEYS]; /* len 0: no such key */
    unsigned key_of[WRITES];     /* which key the n-th write was about */
    unsigned n_writes;
    unsigned refused[N_CLASSES], right[N_CLASSES];
};

/* The n-th write's value or operand: says whose it is, and has a length and letters of its own. */
static void token(unsigned key, unsigned n, struct shale_buf *out)
{
    struct rng r;

    rng_seed(&r, n);
    assert_int_equal(buf_printf(out, "<%02u.%03u", key, n), 0);
    for (uint64_t i = rng_below(&r, 100); i > 0; i--)
        assert_int_equal(buf_put_u8(out, (uint8_t)("aaaaabcd"[rng_below(&r, 8)])), 0);
    assert_int_equal(buf_put_u8(out, '>'), 0);
}

static void key_text(unsigned key, char out[8])
{
    snprintf(out, 8, "key%02u", key);
}

static int append(void *ctx, struct shale_slice key, const struct shale_slice *existing,
                  const struct shale_slice *operands, size_t n, struct shale_buf *out)
{
    int rc = existing ? buf_append_slice(out, *existing) : 0;

    (void)ctx, (void)key;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = buf_append_slice(out, operands[i]);
    return rc;
}

static void write_one(struct scene *s, struct shale_db *db, struct rng *r, bool durable)
{
    unsigned key = (unsigned)rng_below(r, KEYS), n = s->n_writes++;
    unsigned kind = (unsigned)rng_below(r, 8);
    struct shale_buf text = SHALE_BUF_INIT;
    struct shale_slice k;
    char name[8];

    assert_true(n < WRITES);
    s->key_of[n] = key;
    key_text(key, name);
    k = slice_str(name);
    token(key, n, &text);
    if (kind == 0) {
        assert_int_equal(shale_db_delete(db, k, durable), 0);
        buf_clear(&s->values[key]);
    } else if (kind < 3) {
        assert_int_equal(shale_db_merge(db, k, slice_of_buf(&text), durable), 0);
        assert_int_equal(buf_append_slice(&s->values[key], slice_of_buf(&text)), 0);
    } else {
        assert_int_equal(shale_db_put(db, k, slice_of_buf(&text), durable), 0);
        assert_int_equal(buf_set(&s->values[key], slice_of_buf(&text)), 0);
    }
    shale_buf_fini(&text);
}

static void write_many(struct scene *s, struct shale_db *db, struct rng *r, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        write_one(s, db, r, false);
    assert_int_equal(shale_db_flush(db, SHALE_FLUSH_MEMTABLE), 0);
}

static struct shale_db_status status(struct shale_db *db)
{
    struct shale_db_status st;

    shale_db_status(db, &st);
    return st;
}

/* A run of several SSTs, then three L0 SSTs, then a log that nobody flushed. */
static void fill(struct scene *s, struct shale_store *store)
{
    struct shale_db *db = NULL;
    struct rng r;

    rng_seed(&r, 7 + (uint64_t)s->opt.codec);
    s->opt.compactor.enabled = true;
    assert_int_equal(shale_db_open(store, ROOT, &s->opt, true, &db), 0);
    for (int i = 0; i < 4; i++)
        write_many(s, db, &r, 40);
    while (status(db).n_runs != 1 || status(db).n_l0 > 0 || status(db).n_compacting > 0) {
        assert_int_equal(status(db).error, 0);
        sched_yield();
    }
    assert_int_equal(shale_db_close(db, SHALE_CLOSE_FLUSH), 0);

    s->opt.compactor.enabled = false;
    assert_int_equal(shale_db_open(store, ROOT, &s->opt, false, &db), 0);
    for (int i = 0; i < 3; i++)
        write_many(s, db, &r, 12);
    for (int i = 0; i < 6; i++)
        write_one(s, db, &r, true);
    assert_int_equal(shale_db_close(db, SHALE_CLOSE_ABANDON), 0);
}

static bool uses_sst(const struct manifest *m, struct shale_ulid id)
{
    for (size_t i = 0; i < m->n_l0; i++)
        if (ulid_eq(m->l0[i].sst->id, id))
            return true;
    for (size_t i = 0; i < m->n_runs; i++)
        for (size_t k = 0; k < m->runs[i].n; k++)
            if (ulid_eq(m->runs[i].ssts[k].sst->id, id))
                return true;
    return false;
}

static enum object_class class_of(const struct scene *s, size_t i, const struct manifest *m)
{
    const char *name = s->objects.v[i].name, *next = i + 1 < s->objects.n ? s->objects.v[i + 1].name : "";
    struct shale_ulid id;
    uint64_t number;

    if (path_parse_ulid(ROOT, name, &id))
        return uses_sst(m, id) ? CLASS_SST : CLASS_UNUSED;
    if (path_parse_numbered(ROOT, PATH_WAL, name, &number))
        return number > m->replay_after_wal_id ? CLASS_WAL : CLASS_UNUSED;
    if (path_parse_numbered(ROOT, PATH_MANIFEST, name, &number)) /* only the last one is read */
        return path_parse_numbered(ROOT, PATH_MANIFEST, next, &number) ? CLASS_UNUSED : CLASS_MANIFEST;
    assert_true(path_parse_numbered(ROOT, PATH_COMPACTIONS, name, &number));
    return path_parse_numbered(ROOT, PATH_COMPACTIONS, next, &number) ? CLASS_UNUSED : CLASS_COMPACTIONS;
}

static void classify(struct scene *s)
{
    unsigned n[N_CLASSES] = { 0 };
    struct shale_slice last = { NULL, 0 };
    struct manifest m;

    for (size_t i = 0; i < s->objects.n; i++)
        if (strstr(s->objects.v[i].name, "/manifest/"))
            last = slice_of_buf(&s->objects.v[i].data);
    assert_int_equal(manifest_decode(last, &m), 0);
    assert_int_equal(m.n_runs, 1);
    assert_true(m.n_l0 == 3 && m.runs[0].n >= 2);
    s->class_of = mem_calloc(s->objects.n, sizeof(*s->class_of));
    assert_non_null(s->class_of);
    for (size_t i = 0; i < s->objects.n; i++) {
        s->class_of[i] = class_of(s, i, &m);
        n[s->class_of[i]]++;
    }
    assert_true(n[CLASS_WAL] >= 6 && n[CLASS_UNUSED] > 0 && n[CLASS_MANIFEST] == 1 && n[CLASS_COMPACTIONS] == 1);
    manifest_fini(&m);
}

static void scene_init(struct scene *s, enum shale_codec codec)
{
    struct shale_store *store = NULL;

    memset(s, 0, sizeof(*s));
    s->op = (struct shale_merge_operator){ .name = "append", .merge = append };
    shale_options_init(&s->opt);
    s->opt.codec = codec;
    s->opt.seed = 1;
    s->opt.block_size = 1024;
    s->opt.min_filter_keys = 1;
    s->opt.flush_interval_ms = 0;
    s->opt.manifest_poll_interval_ms = 3600000;
    s->opt.merge_operator = &s->op;
    s->opt.compactor.min_sources = 4; /* as many as fill writes, so that there is one run, whoever is quicker */
    s->opt.compactor.max_sst_size = 500;
    assert_int_equal(shale_store_memory(&store), 0);
    fill(s, store);
    stored_load(&s->objects, store);
    classify(s);
    shale_store_close(store);
}

static void scene_fini(struct scene *s)
{
    for (size_t i = 0; i < KEYS; i++)
        shale_buf_fini(&s->values[i]);
    stored_fini(&s->objects);
    mem_free(s->class_of);
}

/* ---- one case ---- */

struct trial {
    const struct scene *s;
    const struct damage *d;
    bool strict;   /* an error has to name the object, and rows have to be right */
    unsigned errors;
};

static bool is_checked(const struct scene *s, size_t object)
{
    return s->class_of[object] != CLASS_MANIFEST && s->class_of[object] != CLASS_COMPACTIONS;
}

/*
 * Later versions of SlateDB fence with a WAL object of no bytes, so one that was emptied is nothing unusual. And a WAL
 * object that holds another one's rows, or an SST's, is sound in itself; what lies at an SST's place the manifest
 * describes.
 */
static bool is_strict(const struct scene *s, const struct damage *d)
{
    if (d->kind == DAMAGE_SWAP)
        return s->class_of[d->victim] == CLASS_SST && s->class_of[d->other] == CLASS_SST;
    return is_checked(s, d->victim) && !(s->class_of[d->victim] == CLASS_WAL && d->kind == DAMAGE_CUT && d->at == 0);
}

static void complain(const struct trial *t, const char *what)
{
    fail_msg("codec %s: %s: %s", shale_codec_name(t->s->opt.codec), damage_text(&t->s->objects, t->d), what);
}

/* An error is fine when its sentence says where. */
static void note_error(struct trial *t, int rc)
{
    char text[2048];

    t->errors++;
    if (rc >= 0)
        complain(t, "a positive code");
    if (rc == -ENOMEM || (t->strict && rc == -EINVAL))
        complain(t, rc == -ENOMEM ? "asks for more memory than there is" : shale_errmsg());
    if (t->strict ? damage_named(&t->s->objects, t->d, shale_errmsg()) : strstr(shale_errmsg(), ROOT) != NULL)
        return;
    snprintf(text, sizeof(text), "%s (%d), in a sentence without the object: '%s'", shale_strerror(rc), rc,
             shale_errmsg());
    complain(t, text);
}

/* The value is made of what was written to this key, in that order. */
static bool is_real(const struct scene *s, unsigned key, struct shale_slice value)
{
    struct shale_buf want = SHALE_BUF_INIT;
    unsigned k, n, from = 0;
    char head[8] = "";
    bool ok = true;

    while (ok && value.len > 0) {
        buf_clear(&want);
        memcpy(head, value.data, value.len < 7 ? value.len : 7);
        ok = value.len >= 7 && sscanf(head, "<%2u.%3u", &k, &n) == 2 && k == key && n >= from && n < s->n_writes &&
             s->key_of[n] == key;
        if (!ok)
            break;
        token(k, n, &want);
        ok = slice_has_prefix(value, slice_of_buf(&want));
        if (ok)
            value = slice_from(value, want.len);
        from = n + 1;
    }
    shale_buf_fini(&want);
    return ok;
}

static void check_row(const struct trial *t, struct shale_slice key, struct shale_slice value)
{
    unsigned k = KEYS;
    char name[8], text[8];

    snprintf(text, sizeof(text), "%.*s", (int)(key.len < 7 ? key.len : 7), (const char *)key.data);
    if (sscanf(text, "key%2u", &k) == 1 && k < KEYS)
        key_text(k, name);
    if (k >= KEYS || !slice_eq(key, slice_str(name)))
        complain(t, "a key that was never written");
    if (t->strict ? !slice_eq(value, slice_of_buf(&t->s->values[k])) : !is_real(t->s, k, value))
        complain(t, text);
}

static void scan_all(struct trial *t, struct shale_db *db, bool descending)
{
    const struct shale_read_options ro = { .descending = descending };
    unsigned n = 0, want = 0;
    struct shale_iter *it = NULL;
    struct shale_row row;
    int rc = shale_db_scan(db, &(struct shale_key_range){ { NULL, 0 }, { NULL, 0 } }, &ro, &it);

    while (rc == 0 && (rc = shale_iter_next(it, &row)) == 0) {
        check_row(t, row.key, row.value);
        n++;
    }
    for (unsigned k = 0; k < KEYS; k++)
        want += t->s->values[k].len > 0;
    if (rc != SHALE_END)
        note_error(t, rc);
    else if (t->strict && n != want)
        complain(t, "a scan lost rows");
    shale_iter_close(it);
}

static void get_all(struct trial *t, struct shale_db *db)
{
    struct shale_buf value = SHALE_BUF_INIT;
    char name[8];
    int rc;

    for (unsigned k = 0; k < KEYS; k++) {
        key_text(k, name);
        rc = shale_db_get(db, slice_str(name), NULL, &value);
        if (rc == 0)
            check_row(t, slice_str(name), slice_of_buf(&value));
        else if (rc != -ENOENT)
            note_error(t, rc);
        else if (t->strict && t->s->values[k].len > 0)
            complain(t, "a get lost its key");
    }
    shale_buf_fini(&value);
}

/* Writing to what was read goes on, or fails; what it says is checked elsewhere. */
static void write_on(struct shale_db *db)
{
    (void)shale_db_put(db, slice_str("later"), slice_str("value"), true);
    (void)shale_db_flush(db, SHALE_FLUSH_MEMTABLE);
}

enum how { WRITER, COMPACTING, READER, N_HOWS };

/* Returns the number of errors. */
static unsigned try_case(struct scene *s, const struct damage *d, enum how how)
{
    struct trial t = { .s = s, .d = d, .strict = is_strict(s, d) };
    struct shale_options opt = s->opt;
    struct shale_store *store = NULL;
    struct shale_db *db = NULL;
    int rc;

    damage_watch(damage_text(&s->objects, d), SECONDS);
    opt.compactor.enabled = how == COMPACTING;
    opt.compactor.min_sources = 2; /* there is something to do */
    opt.read_only = how == READER;
    assert_int_equal(shale_store_memory(&store), 0);
    damage_apply(&s->objects, d, store);
    rc = shale_db_open(store, ROOT, &opt, false, &db);
    if (rc < 0) {
        note_error(&t, rc);
    } else {
        scan_all(&t, db, false);
        scan_all(&t, db, true);
        get_all(&t, db);
        if (t.errors == 0 || d->at % 2)
            write_on(db);
        (void)shale_db_close(db, SHALE_CLOSE_FLUSH);
    }
    shale_store_close(store);
    damage_watch("", 0);
    t.errors ? s->refused[s->class_of[d->victim]]++ : s->right[s->class_of[d->victim]]++;
    return t.errors;
}

/* ---- which cases ---- */

/* Where the parts of an SST begin and end, and the end of its blocks. */
static size_t boundaries(struct shale_slice object, enum shale_codec codec, uint64_t *out, size_t cap,
                         uint64_t *blocks_end)
{
    struct sst_part part = { .object = "x", .kind = "x" };
    const struct section_form form = { .codec = codec };
    struct shale_buf scratch = SHALE_BUF_INIT;
    struct sst_trailer t;
    struct sst_info info;
    struct sst_index x;
    struct shale_slice payload;
    size_t n = 0;

    assert_int_equal(sst_trailer_decode(object.data + object.len - SST_TRAILER_LEN, object.len, &t), 0);
    part.offset = t.info_offset;
    payload = slice_of(object.data + t.info_offset, object.len - SST_TRAILER_LEN - t.info_offset);
    assert_int_equal(section_info_decode(&part, payload, &info), 0);
    payload = slice_of(object.data + info.index_offset, info.index_len);
    assert_int_equal(section_decode(&part, payload, &form, &scratch, &payload), 0);
    assert_int_equal(sst_index_decode(payload, info.filter_offset, &x), 0);
    assert_true(x.n + 8 <= cap);
    for (size_t i = 0; i < x.n; i++)
        out[n++] = x.offsets[i];
    out[n++] = info.filter_offset;
    out[n++] = info.filter_offset + info.filter_len;
    out[n++] = info.index_offset;
    out[n++] = info.index_offset + info.index_len;
    out[n++] = info.stats_offset;
    out[n++] = t.info_offset;
    out[n++] = object.len - SST_TRAILER_LEN;
    out[n++] = object.len - 1;
    *blocks_end = info.filter_offset;
    sst_index_fini(&x);
    sst_info_fini(&info);
    shale_buf_fini(&scratch);
    return n;
}

static void cut_at_boundaries(struct scene *s, size_t victim)
{
    const struct stored *o = &s->objects.v[victim];
    uint64_t at[128] = { 0, 1, 2, 9, 10, 11, o->data.len - 1, o->data.len / 2 }, blocks_end;
    size_t n = 8;

    if (strstr(o->name, ".sst"))
        n += boundaries(slice_of_buf(&o->data), s->opt.codec, at + n, ARRAY_SIZE(at) - n, &blocks_end);
    for (size_t i = 0; i < n; i++) {
        for (int delta = -1; delta <= 1; delta++) {
            struct damage d = { .kind = DAMAGE_CUT, .victim = victim, .at = at[i] + (uint64_t)delta };

            if (d.at < o->data.len) /* a -1 below 0 is not */
                try_case(s, &d, delta ? WRITER : READER);
        }
        if (at[i] < o->data.len)
            try_case(s, &(struct damage){ .kind = DAMAGE_FLIP, .victim = victim, .at = at[i] * 8 + 3 }, WRITER);
    }
}

static void replace_whole(struct scene *s, size_t victim)
{
    try_case(s, &(struct damage){ .kind = DAMAGE_ZEROS, .victim = victim }, COMPACTING);
    try_case(s, &(struct damage){ .kind = DAMAGE_GARBAGE, .victim = victim, .at = victim }, COMPACTING);
    for (size_t other = victim + 1; other < s->objects.n; other++)
        if (s->class_of[other] != CLASS_UNUSED)
            try_case(s, &(struct damage){ .kind = DAMAGE_SWAP, .victim = victim, .other = other }, WRITER);
}

static void print_seeds(const struct random_env *env)
{
    print_message("SHALE_SEED=%llu SHALE_RANDOM_CASES=%llu\n", (unsigned long long)env->first,
                  (unsigned long long)env->n);
}

static void report(const struct scene *s)
{
    static const char *const names[N_CLASSES] = { "manifest", "compactions", "log", "SSTs", "unused" };

    print_message("codec %s:", shale_codec_name(s->opt.codec));
    for (int c = 0; c < N_CLASSES; c++)
        print_message(" %s %u refused, %u right;", names[c], s->refused[c], s->right[c]);
    print_message("\n");
}

static void parts_cut_and_objects_replaced(void **state)
{
    struct scene s;

    (void)state;
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        scene_init(&s, codecs[c]);
        for (size_t i = 0; i < s.objects.n; i++) {
            if (s.class_of[i] == CLASS_UNUSED)
                continue;
            cut_at_boundaries(&s, i);
            replace_whole(&s, i);
        }
        report(&s);
        assert_true(s.refused[CLASS_SST] > 100 && s.refused[CLASS_WAL] > 100);
        scene_fini(&s);
    }
}

/* Every byte has a turn; of a fraction of SHALE_RANDOM_SCALE percent, from one seed to the next others. */
static void each_byte_flipped(void **state)
{
    struct random_env env = random_env(100);
    uint64_t stride = env.n < 100 ? 100 / env.n : 1;
    struct scene s;

    (void)state;
    print_seeds(&env);
    scene_init(&s, SHALE_CODEC_NONE);
    for (size_t i = 0; i < s.objects.n; i++) {
        uint64_t len = s.objects.v[i].data.len, step = s.class_of[i] == CLASS_UNUSED ? 50 * stride : stride;
        uint64_t unused[128], blocks_end = 0;

        if (s.class_of[i] == CLASS_SST)
            boundaries(slice_of_buf(&s.objects.v[i].data), SHALE_CODEC_NONE, unused, ARRAY_SIZE(unused), &blocks_end);
        for (uint64_t at = env.first % step; at < len; at += step) {
            struct damage d = { .kind = DAMAGE_FLIP, .victim = i, .at = at * 8 + (at + env.first) % 8 };

            if (try_case(&s, &d, (enum how)(at / stride % N_HOWS)) == 0 && at < blocks_end)
                fail_msg("%s: nobody noticed", damage_text(&s.objects, &d));
        }
    }
    report(&s);
    assert_int_equal(s.right[CLASS_WAL], 0); /* every part of it is read */
    assert_int_equal(s.refused[CLASS_UNUSED], 0);
    scene_fini(&s);
}

static struct damage random_damage(const struct scene *s, struct rng *r)
{
    struct damage d = { .kind = (enum damage_kind)rng_below(r, DAMAGE_SWAP + 1) };
    uint64_t len;

    do {
        d.victim = rng_below(r, s->objects.n);
        d.other = rng_below(r, s->objects.n);
    } while (d.victim == d.other || (s->class_of[d.victim] == CLASS_UNUSED && rng_below(r, 20)));
    len = s->objects.v[d.victim].data.len;
    if (d.kind == DAMAGE_FLIP || rng_below(r, 2)) { /* more of these than of others */
        d.kind = DAMAGE_FLIP;
        d.at = rng_below(r, len * 8);
    } else {
        d.at = rng_below(r, len);
    }
    return d;
}

static void random_damages(void **state)
{
    struct random_env env = random_env(1500);
    struct scene s[ARRAY_SIZE(codecs)];
    struct damage d;
    struct rng r;

    (void)state;
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++)
        scene_init(&s[c], codecs[c]);
    print_seeds(&env);
    for (uint64_t i = 0; i < env.n; i++) {
        struct scene *one;

        rng_seed(&r, env.first + i);
        one = &s[rng_below(&r, ARRAY_SIZE(codecs))];
        d = random_damage(one, &r);
        try_case(one, &d, (enum how)rng_below(&r, N_HOWS));
    }
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        report(&s[c]);
        scene_fini(&s[c]);
    }
}

/* Without damage there is nothing to refuse: otherwise all of the above would prove little. */
static void sound_databases_are_right(void **state)
{
    struct scene s;
    struct damage none;

    (void)state;
    for (size_t c = 0; c < ARRAY_SIZE(codecs); c++) {
        scene_init(&s, codecs[c]);
        for (size_t i = 0; i < s.objects.n; i++)
            if (s.class_of[i] == CLASS_SST)
                none = (struct damage){ .kind = DAMAGE_SWAP, .victim = i, .other = i };
        for (int how = 0; how < N_HOWS; how++)
            assert_int_equal(try_case(&s, &none, (enum how)how), 0);
        scene_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_databases_are_right),
        cmocka_unit_test(parts_cut_and_objects_replaced),
        cmocka_unit_test(each_byte_flipped),
        cmocka_unit_test(random_damages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
