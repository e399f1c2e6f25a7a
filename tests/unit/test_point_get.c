/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/rng.h"
#include "lib/concat_operator.h"
#include "lib/fake_sst.h"
#include "lib/heap_fault.h"
#include "lib/list_iter.h"
#include "lib/random_env.h"
#include "lib/row_text.h"
#include "read/point_get.h"

#include <errno.h>
#include <stdio.h>

enum { MAX_LAYERS = 12, MAX_ROWS = 400 };

/* Layers of a read, newest first: tables, L0, runs. Rows of a layer in any order. */
struct fixture {
    struct concat concat;
    struct shale_merge_operator op;
    struct memtable *tables[MAX_LAYERS];
    struct shale_row ssts[MAX_LAYERS][MAX_ROWS]; /* rows of the fake SSTs */
    size_t n_ssts;
    struct sst_view l0[MAX_LAYERS];
    struct sorted_run runs[MAX_LAYERS];
    struct manifest manifest;
    struct read_layers layers;
};

static void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    fake_sst_reset();
    f->op = concat_operator(&f->concat);
    f->manifest.l0 = f->l0;
    f->manifest.runs = f->runs;
    f->layers = (struct read_layers){
        .tables = f->tables,
        .manifest = &f->manifest,
        .op = &f->op,
        .max_seq = UINT64_MAX,
        .expire_now = SHALE_NO_TS,
    };
}

static void fixture_fini(struct fixture *f)
{
    for (size_t i = 0; i < f->layers.n_tables; i++)
        memtable_unref(f->tables[i]);
    for (size_t i = 0; i < f->manifest.n_l0; i++)
        sst_view_fini(&f->l0[i]);
    for (size_t i = 0; i < f->manifest.n_runs; i++)
        sorted_run_fini(&f->runs[i]);
    assert_int_equal(list_iter_open_count(), 0);
}

static int by_order(const void *a, const void *b)
{
    const struct shale_row *x = a, *y = b;
    int c = slice_cmp(x->key, y->key);

    return c ? c : (x->seq < y->seq) - (x->seq > y->seq);
}

static void add_table(struct fixture *f, const struct shale_row *rows, size_t n)
{
    struct memtable *m;

    assert_int_equal(memtable_new(&m), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(memtable_insert(m, &rows[i], NULL), 0);
    f->tables[f->layers.n_tables++] = m;
}

static const struct shale_row *keep_sorted(struct fixture *f, const struct shale_row *rows, size_t n)
{
    struct shale_row *mine = f->ssts[f->n_ssts++];

    assert_true(n <= MAX_ROWS);
    memcpy(mine, rows, n * sizeof(*rows));
    qsort(mine, n, sizeof(*mine), by_order);
    for (size_t i = 0; i < n; i++)
        if (mine[i].seq > f->manifest.last_l0_seq)
            f->manifest.last_l0_seq = mine[i].seq;
    return mine;
}

static void add_l0(struct fixture *f, const struct shale_row *rows, size_t n)
{
    f->l0[f->manifest.n_l0++].sst = fake_sst_new(keep_sorted(f, rows, n), n, true);
}

static void add_run(struct fixture *f, const struct shale_row *rows, size_t n, const size_t *cuts, size_t n_cuts)
{
    fake_run(&f->runs[f->manifest.n_runs++], keep_sorted(f, rows, n), n, cuts, n_cuts, true);
}

/* The layer that a word such as "mem:key=v@1" names; greater is older. */
static int layer_rank(const char *word)
{
    int i;

    if (word[0] == 'w')
        return 0;
    if (word[0] == 'm')
        return 1;
    if (sscanf(word, "imm%d", &i) == 1)
        return 2 + i;
    if (sscanf(word, "L0#%d", &i) == 1)
        return 19 - i;
    assert_int_equal(sscanf(word, "SR%d", &i), 1);
    return 29 - i;
}

/*
 * Layers as "layer:row; layer:row". The own batch of a transaction is a table on top, whose rows are newer than all others in
 * the order in which they are written.
 */
static void add_layers(struct fixture *f, const char *text, struct row_list *l)
{
    int ranks[32];
    char flat[600] = "", *copy = mem_strdup(text), *rest = copy, *word;
    size_t n = 0;

    while ((word = strsep(&rest, ";"))) {
        word += strspn(word, " ");
        ranks[n] = layer_rank(word);
        strcat(flat, strchr(word, ':') + 1);
        if (!strchr(word, '@') || ranks[n] == 0) {
            char *at = strrchr(flat, '@');

            if (strchr(word, '@'))
                *at = '\0';
            sprintf(flat + strlen(flat), "@%zu", 1000 + n);
        }
        strcat(flat, " ");
        n++;
    }
    row_list_parse(l, flat);
    assert_int_equal(l->n, n);
    for (int rank = 0; rank < 30; rank++) {
        struct shale_row rows[32];
        size_t n_rows = 0;

        for (size_t i = 0; i < n; i++)
            if (ranks[i] == rank)
                rows[n_rows++] = l->rows[i];
        if (n_rows == 0)
            continue;
        if (rank < 10)
            add_table(f, rows, n_rows);
        else if (rank < 20)
            add_l0(f, rows, n_rows);
        else
            add_run(f, rows, n_rows, NULL, 0);
    }
    mem_free(copy);
}

#define NONE UINT64_MAX

static uint64_t limit(bool dirty, uint64_t committed, uint64_t snapshot)
{
    return dirty || snapshot < committed ? snapshot : committed;
}

/* R147. */
static void a_get_finds_what_is_visible(void **state)
{
    static const struct {
        const char *name, *layers;
        bool dirty;
        uint64_t committed, snapshot;
        const char *value;
    } cases[] = {
        { "G1", "wb:key1=wb_value@100; mem:key1=mem_value@50; L0#0:key1=l0_value@40", true, NONE, NONE, "wb_value" },
        { "G2", "mem:key1=mem_value@50; L0#0:key1=l0_value@40; SR0:key1=sr_value@30", true, NONE, NONE, "mem_value" },
        { "G3", "wb:key1=DEL@100; mem:key1=mem_value@50; L0#0:key1=l0_value@40", true, NONE, NONE, NULL },
        { "G4", "mem:key1=DEL@50; L0#0:key1=l0_value@40", true, NONE, NONE, NULL },
        { "G5", "L0#0:key1=DEL@40; SR0:key1=sr_value@30", true, NONE, NONE, NULL },
        { "G6", "mem:key1=new_value@60; L0#0:key1=DEL@50", true, NONE, NONE, "new_value" },
        { "G7", "L0#1:key1=l0_newer@45; L0#0:key1=l0_older@40", true, NONE, NONE, "l0_newer" },
        { "G8", "L0#0:key1=l0_value@40; SR0:key1=sr_value@30", true, NONE, NONE, "l0_value" },
        { "G9", "mem:other_key=value@50", true, NONE, NONE, NULL },
        { "G10", "mem:key1=DEL@50", true, NONE, NONE, NULL },
        { "G11", "wb:key1=wb@100; mem:key1=mem@90; "
                "imm0:key1=imm@80; L0#0:key1=l0@70; SR0:key1=sr@60", true, NONE, NONE, "wb" },
        { "G12", "L0#1:key1=l0_0_val1@50; "
                "L0#1:key2=l0_0_val2@51; L0#0:key1=l0_1_val1@40", true, NONE, NONE, "l0_0_val1" },
        { "G13", "SR1:key1=sr0@30; SR0:key1=sr1@20", true, NONE, NONE, "sr0" },
        { "G14", "imm0:key1=imm0@60; imm1:key1=imm1@50; L0#0:key1=l0@40", true, NONE, NONE, "imm0" },
        { "G15", "wb:key2=wb2@100; mem:key1=mem@90; mem:key3=mem3@91; "
                "L0#1:key1=l0_0@70; L0#0:key1=l0_1@60; SR0:key1=sr@50", true, NONE, NONE, "mem" },
        { "G16", "L0#1:key1=DEL@60; L0#0:key1=l0_old_value@50", true, NONE, NONE, NULL },
        { "G17", "mem:key1=mem_value@50", true, NONE, NONE, "mem_value" },
        { "G18", "mem:key1=uncommitted@100", false, 50, NONE, NULL },
        { "G19", "mem:key1=committed@40", false, 50, NONE, "committed" },
        { "G20", "mem:key1=uncommitted@100; L0#0:key1=committed@40", false, 50, NONE, "committed" },
        { "G21", "mem:key1=newer@80; L0#0:key1=older@50", true, NONE, 60, "older" },
        { "G22", "mem:key1=newer@80", true, NONE, 60, NULL },
        { "G23", "mem:key1=v1@100; L0#1:key1=v2@70; L0#0:key1=v3@40", false, 50, 60, "v3" },
        { "G24", "L0#0:key1=DEL@45; SR0:key1=old_value@30", false, 50, NONE, NULL },
        { "G25", "mem:key1=DEL@100; L0#0:key1=old_value@40", false, 50, NONE, "old_value" },
        { "G26", "mem:key1=mem@90; imm0:key1=imm@70; L0#0:key1=l0@50; SR0:key1=sr@30", false, 60, NONE, "l0" },
        { "G27", "mem:key1=uncommitted@100", true, 50, NONE, "uncommitted" },
        { "G28", "wb:key1+wb_merge; "
                "mem:key1=mem_value@50; L0#0:key1=l0_value@40", true, NONE, NONE, "mem_valuewb_merge" },
        { "G29", "wb:key1+merge1; wb:key1+merge2; L0#0:key1=base@50", true, NONE, NONE, "basemerge1merge2" },
        { "G30", "wb:key1+old_merge; wb:key1=DEL@90; "
                "wb:key1+new_merge; L0#0:key1=base@50", true, NONE, NONE, "new_merge" },
        { "G31", "wb:key1+old_merge; wb:key1=new_base@90; "
                "wb:key1+merge; L0#0:key1=old_base@50", true, NONE, NONE, "new_basemerge" },
        { "G32", "wb:key1+merge1; wb:key1+merge2", true, NONE, NONE, "merge1merge2" },
        { "G33", "mem:key1+a@50", true, NONE, NONE, "a" },
        { "G34", "mem:key1+b@60; L0#0:key1=a@50", true, NONE, NONE, "ab" },
        { "G35", "mem:key1+c@70; L0#0:key1+b@60; SR0:key1=a@50", true, NONE, NONE, "abc" },
        { "G36", "mem:key1+d@80; L0#1:key1=DEL@70; L0#0:key1+c@60; SR0:key1=ab@50", true, NONE, NONE, "d" },
        { "G37", "mem:key1+z@90; L0#1:key1=y@80; L0#0:key1+x@70; SR0:key1=w@60", true, NONE, NONE, "yz" },
        { "G38", "mem:key1+d@100; imm0:key1+c@90; L0#0:key1+b@80; SR0:key1=a@70", true, NONE, NONE, "abcd" },
        { "G39", "mem:key1+c@100; mem:key1+b@45; L0#0:key1=a@40", false, 50, NONE, "ab" },
        { "G40", "mem:key1+c@80; mem:key1+b@55; L0#0:key1=a@50", true, NONE, 60, "ab" },
        { "G41", "mem:key1+c@70; L0#0:key1+b@60; SR0:key1+a@50", true, NONE, NONE, "abc" },
        { "G42", "mem:key1+new@80; L0#1:key1=DEL@70; L0#0:key1=old@60", true, NONE, NONE, "new" },
        { "G43", "mem:key1+c@70; mem:key1+b@60; mem:key1+a@50", true, NONE, NONE, "abc" },
    };
    struct shale_buf value = SHALE_BUF_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        static struct fixture f;
        struct row_list l;
        struct shale_row row;
        int rc;

        print_message("%s\n", cases[i].name);
        fixture_init(&f);
        add_layers(&f, cases[i].layers, &l);
        f.layers.max_seq = limit(cases[i].dirty, cases[i].committed, cases[i].snapshot);
        rc = point_get(&f.layers, slice_str("key1"), &value, &row);
        if (cases[i].value) {
            assert_int_equal(rc, 0);
            assert_int_equal(row.kind, SHALE_PUT);
            assert_true(slice_eq(slice_of_buf(&value), slice_str(cases[i].value)));
            assert_ptr_equal(row.value.data, value.data);
        } else {
            assert_int_equal(rc, -ENOENT);
        }
        fixture_fini(&f);
        row_list_fini(&l);
    }
    shale_buf_fini(&value);
}

static struct iter *scan(struct fixture *f, const struct key_range *range, enum iter_order order)
{
    struct sst_iter_options opt = { .order = order };
    struct iter *it;

    assert_int_equal(scan_iter_new(&f->layers, range, &opt, &it), 0);
    return it;
}

static void expect_scan(struct iter *it, const char *want)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct shale_row row;
    int rc;

    while ((rc = iter_next(it, &row)) == 0)
        assert_int_equal(buf_printf(&out, "%s%.*s=%.*s", out.len ? " " : "", (int)row.key.len, (const char *)row.key.data,
                                    (int)row.value.len, (const char *)row.value.data), 0);
    assert_int_equal(rc, SHALE_END);
    iter_close(it);
    assert_true(slice_eq(slice_of_buf(&out), slice_str(want)));
    shale_buf_fini(&out);
}

/* The words of a line in reverse order. */
static char *reversed(const char *line)
{
    char *copy = mem_strdup(line), *out = mem_zalloc(strlen(line) + 1), *word;

    while ((word = strrchr(copy, ' ')) || *copy) {
        strcat(strcat(out, *out ? " " : ""), word ? word + 1 : copy);
        *(word ? word : copy) = '\0';
    }
    mem_free(copy);
    return out;
}

/* R153, R155. */
static void a_scan_gives_what_is_visible(void **state)
{
    static const struct {
        const char *name, *layers;
        bool dirty;
        uint64_t committed, snapshot;
        const char *from, *to;
        const char *rows;
    } cases[] = {
        { "S1", "mem:key1=val1@10; mem:key2=val2@10; mem:key3=val3@10",
          true, NONE, NONE, NULL, NULL, "key1=val1 key2=val2 key3=val3" },
        { "S2", "mem:key1=val1@10; mem:key2=val2@10; mem:key3=val3@10", true, NONE, NONE, "key2", "key3", "key2=val2" },
        { "S3", "mem:key1=mem_val@50; L0#0:key1=l0_val@40; L0#0:key2=l0_val2@40",
          true, NONE, NONE, NULL, NULL, "key1=mem_val key2=l0_val2" },
        { "S4", "mem:key1=val1@50; mem:key2=DEL@50; L0#0:key2=old_val2@40; mem:key3=val3@50",
          true, NONE, NONE, NULL, NULL, "key1=val1 key3=val3" },
        { "S5", "mem:key1=committed@40; mem:key2=uncommitted@60; mem:key3=committed@30",
          false, 50, NONE, NULL, NULL, "key1=committed key3=committed" },
        { "S6", "mem:key1=uncommitted@60; L0#0:key1=committed@40", false, 50, NONE, NULL, NULL, "key1=committed" },
        { "S7", "mem:key1=v1_new@70; L0#0:key1=v1_old@50; mem:key2=v2@55",
          true, NONE, 60, NULL, NULL, "key1=v1_old key2=v2" },
        { "S8", "mem:key1=mem@80; imm0:key2=imm@70; L0#1:key3=l0_new@60; L0#0:key3=l0_old@50; "
                "SR0:key4=sr@40",
          true, NONE, NONE, NULL, NULL, "key1=mem key2=imm key3=l0_new key4=sr" },
        { "S9", "mem:key1=val1@10", true, NONE, NONE, "key3", "key2", "" },
        { "S10", "mem:key1=DEL@50; mem:key2=DEL@50", true, NONE, NONE, NULL, NULL, "" },
        { "S11", "mem:key1=uncommitted1@70; L0#0:key1=committed1@40; mem:key2=committed2@45; "
                "mem:key3=uncommitted3@80",
          false, 50, NONE, NULL, NULL, "key1=committed1 key2=committed2" },
        { "S12", "L0#0:key1=DEL@45; SR0:key1=old@30; mem:key2=val2@40", false, 50, NONE, NULL, NULL, "key2=val2" },
        { "S13", "mem:key1=DEL@70; L0#0:key1=visible@40", false, 50, NONE, NULL, NULL, "key1=visible" },
        { "S14", "mem:key1+b@60; L0#0:key1=a@50; L0#0:key2=x@50", true, NONE, NONE, NULL, NULL, "key1=ab key2=x" },
        { "S15", "mem:key1+2@60; L0#0:key1=1@50; mem:key2+b@60; L0#0:key2=a@50; mem:key3+y@60; "
                "L0#0:key3=x@50",
          true, NONE, NONE, NULL, NULL, "key1=12 key2=ab key3=xy" },
        { "S16", "mem:key1+new@70; L0#1:key1=DEL@60; L0#0:key1+c@50; L0#0:key2=x@50",
          true, NONE, NONE, NULL, NULL, "key1=new key2=x" },
        { "S17", "mem:key1+b@60; L0#0:key1+a@50; mem:key2+y@60; L0#0:key2+x@50",
          true, NONE, NONE, NULL, NULL, "key1=ab key2=xy" },
        { "S18", "mem:key1+d@80; imm0:key1+c@70; L0#0:key1+b@60; SR0:key1=a@50",
          true, NONE, NONE, NULL, NULL, "key1=abcd" },
        { "S19", "mem:key1+c@100; mem:key1+b@45; L0#0:key1=a@40; L0#0:key2=x@40",
          false, 50, NONE, NULL, NULL, "key1=ab key2=x" },
        { "S20", "mem:key1+b@60; L0#0:key1=a@50; mem:key2=DEL@60; L0#0:key2+z@50; mem:key3+y@60; "
                "L0#0:key3+x@50",
          true, NONE, NONE, NULL, NULL, "key1=ab key3=xy" },
        { "S21", "wb:key1+wb_merge@100; L0#0:key1=base@50; L0#0:key2=normal@50",
          true, NONE, NONE, NULL, NULL, "key1=basewb_merge key2=normal" },
        { "S22", "wb:key1+merge1@80; wb:key1+merge2@90; wb:key1+merge3@100; L0#0:key1=base@50; "
                "L0#0:key2=normal@50",
          true, NONE, NONE, NULL, NULL, "key1=basemerge1merge2merge3 key2=normal" },
        { "S23", "wb:key1+old_merge@80; wb:key1=DEL@90; wb:key1+new_merge@100; L0#0:key1=base@50; "
                "L0#0:key2=normal@50",
          true, NONE, NONE, NULL, NULL, "key1=new_merge key2=normal" },
        { "S24", "wb:key1+old_merge@80; wb:key1=new_base@90; wb:key1+final_merge@100; "
                "L0#0:key1=old_base@50; L0#0:key2=normal@50",
          true, NONE, NONE, NULL, NULL, "key1=new_basefinal_merge key2=normal" },
        { "S25", "wb:key1+1_merge@100; L0#0:key1=1_base@50; wb:key2+2_merge@100; L0#0:key2=2_base@50; "
                "wb:key3+3_merge@100; L0#0:key3=3_base@50",
          true, NONE, NONE, NULL, NULL, "key1=1_base1_merge key2=2_base2_merge key3=3_base3_merge" },
        { "S26", "wb:key1+merge1@90; wb:key1+merge2@100; L0#0:key2=normal@50",
          true, NONE, NONE, NULL, NULL, "key1=merge1merge2 key2=normal" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        static struct fixture f;
        struct key_range range = { 0 };
        struct row_list l;
        char *desc = reversed(cases[i].rows);

        print_message("%s\n", cases[i].name);
        fixture_init(&f);
        add_layers(&f, cases[i].layers, &l);
        f.layers.max_seq = limit(cases[i].dirty, cases[i].committed, cases[i].snapshot);
        if (cases[i].from) {
            range.from_kind = KEY_INCLUDED;
            range.from = slice_str(cases[i].from);
            range.to_kind = KEY_EXCLUDED;
            range.to = slice_str(cases[i].to);
        }
        expect_scan(scan(&f, &range, ITER_ASC), cases[i].rows);
        expect_scan(scan(&f, &range, ITER_DESC), desc);
        mem_free(desc);
        fixture_fini(&f);
        row_list_fini(&l);
    }
}

/* R142. */
static void layers_are_opened_until_the_value_is_found(void **state)
{
    static const struct {
        const char *layers;
        size_t opened;
    } cases[] = {
        { "mem:key1=v@9; L0#0:key1=v@8; SR0:key1=v@7", 0 },
        { "mem:key1+v@9; L0#1:key1=v@8; L0#0:key1=v@7; SR0:key1=v@6", 1 },
        { "mem:key1+v@9; L0#1:key2=v@8; L0#0:key1+v@7; SR1:key1=v@6; SR0:key1=v@5", 2 },
        { "L0#1:key0=v@8; L0#0:key2=v@7; SR1:key2=v@6; SR0:key1=DEL@5", 1 },
    };
    struct shale_buf value = SHALE_BUF_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        static struct fixture f;
        struct row_list l;
        struct shale_row row;

        fixture_init(&f);
        add_layers(&f, cases[i].layers, &l);
        (void)point_get(&f.layers, slice_str("key1"), &value, &row);
        assert_int_equal(fake_sst_opened(), cases[i].opened);
        fixture_fini(&f);
        row_list_fini(&l);
    }
    shale_buf_fini(&value);
}

/* R146. */
static void a_merged_value_has_the_times_of_its_parts(void **state)
{
    static struct fixture f;
    struct shale_buf value = SHALE_BUF_INIT;
    struct row_list l;
    struct shale_row row;

    (void)state;
    fixture_init(&f);
    add_layers(&f, "mem:key1+c@9:c5:e70; L0#0:key1+b@8:c6; SR0:key1=a@7:c4:e60", &l);
    assert_int_equal(point_get(&f.layers, slice_str("key1"), &value, &row), 0);
    assert_int_equal(row.seq, 9);
    assert_int_equal(row.create_ts, 6);
    assert_int_equal(row.expire_ts, 60);
    fixture_fini(&f);
    row_list_fini(&l);
    shale_buf_fini(&value);
}

/* H9: nothing of what has expired is seen, and what lies below an expired value stays hidden. */
static void expired_rows_are_hidden_on_request(void **state)
{
    static const struct {
        const char *layers;
        int64_t now;
        const char *value;
    } cases[] = {
        { "mem:key1=v@9:e10", 9, "v" },
        { "mem:key1=v@9:e10", 10, NULL },
        { "mem:key1=v@9:e10", SHALE_NO_TS, "v" },
        { "mem:key1=v@9:e10; L0#0:key1=old@8", 10, NULL },
        { "mem:key1+b@9:e10; L0#0:key1=a@8", 10, "a" },
        { "mem:key1+b@9:e10; L0#0:key1=a@8", 9, "ab" },
        { "mem:key1+b@9; L0#0:key1=a@8:e10; SR0:key1=o@7", 10, "b" },
    };
    static const struct key_range everything;
    struct shale_buf value = SHALE_BUF_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        static struct fixture f;
        struct row_list l;
        struct shale_row row;
        char want[16] = "";
        int rc;

        fixture_init(&f);
        add_layers(&f, cases[i].layers, &l);
        f.layers.expire_now = cases[i].now;
        rc = point_get(&f.layers, slice_str("key1"), &value, &row);
        assert_int_equal(rc, cases[i].value ? 0 : -ENOENT);
        if (rc == 0) {
            assert_true(slice_eq(slice_of_buf(&value), slice_str(cases[i].value)));
            assert_true(row.expire_ts == SHALE_NO_TS || cases[i].now == SHALE_NO_TS || row.expire_ts > cases[i].now);
            snprintf(want, sizeof(want), "key1=%s", cases[i].value);
        }
        expect_scan(scan(&f, &everything, ITER_ASC), want);
        fixture_fini(&f);
        row_list_fini(&l);
    }
    shale_buf_fini(&value);
}

/* A WAL object that was replayed over the L0 with the same rows. */
static void the_same_rows_in_two_layers_count_once(void **state)
{
    static const struct key_range everything;
    static struct fixture f;
    struct shale_buf value = SHALE_BUF_INIT;
    struct row_list l;
    struct shale_row row;

    (void)state;
    fixture_init(&f);
    add_layers(&f, "mem:key1+c@9; mem:key1+b@8; L0#0:key1+c@9; L0#0:key1+b@8; L0#0:key1=a@7", &l);
    assert_int_equal(point_get(&f.layers, slice_str("key1"), &value, &row), 0);
    assert_true(slice_eq(slice_of_buf(&value), slice_str("abc")));
    expect_scan(scan(&f, &everything, ITER_ASC), "key1=abc");
    fixture_fini(&f);
    row_list_fini(&l);
    shale_buf_fini(&value);
}

static void an_operand_needs_an_operator(void **state)
{
    static const struct key_range everything;
    static struct fixture f;
    struct shale_buf value = SHALE_BUF_INIT;
    struct row_list l;
    struct shale_row row;
    struct iter *it;

    (void)state;
    fixture_init(&f);
    add_layers(&f, "mem:key1+b@9; L0#0:key1=a@7", &l);
    f.layers.op = NULL;
    assert_int_equal(point_get(&f.layers, slice_str("key1"), &value, &row), SHALE_EMERGE);
    it = scan(&f, &everything, ITER_ASC);
    assert_int_equal(iter_next(it, &row), SHALE_EMERGE);
    iter_close(it);
    fixture_fini(&f);
    row_list_fini(&l);
    shale_buf_fini(&value);
}

static void failures_leave_the_result_alone(void **state)
{
    (void)state;
    for (int heap = 0; heap < 2; heap++) {
        for (size_t n = 1;; n++) {
            static struct fixture f;
            struct shale_buf value = SHALE_BUF_INIT;
            struct shale_row row = { .seq = 77 };
            struct row_list l;
            int rc;

            fixture_init(&f);
            add_layers(&f, "mem:key1+d@9; L0#1:key1+c@8; L0#0:key1+b@7; SR0:key1=a@6", &l);
            assert_int_equal(shale_buf_append(&value, "before", 6), 0);
            if (heap)
                heap_fault_after((unsigned)n);
            else
                fake_sst_fail((n + 1) / 2, n % 2, -EIO);
            rc = point_get(&f.layers, slice_str("key1"), &value, &row);
            (void)heap_fault_off();
            fixture_fini(&f);
            row_list_fini(&l);
            if (rc == 0) {
                assert_true(slice_eq(slice_of_buf(&value), slice_str("abcd")));
                assert_true(n > 6);
                shale_buf_fini(&value);
                break;
            }
            assert_int_equal(rc, heap ? -ENOMEM : -EIO);
            assert_true(slice_eq(slice_of_buf(&value), slice_str("before")));
            assert_int_equal(row.seq, 77);
            shale_buf_fini(&value);
        }
    }
}

static void failures_of_a_scan_leak_nothing(void **state)
{
    static const struct key_range everything;

    (void)state;
    for (int heap = 0; heap < 2; heap++) {
        int rc = 0;

        for (size_t n = 1; rc != SHALE_END; n++) {
            struct sst_iter_options opt = { .order = ITER_ASC };
            static struct fixture f;
            struct iter *it = NULL;
            struct shale_row row;
            struct row_list l;

            fixture_init(&f);
            add_layers(&f, "mem:key1+d@9; L0#1:key1+c@8; L0#0:key2+b@7; SR0:key1=a@6; SR1:key2=e@6", &l);
            f.layers.max_seq = 100;
            f.layers.expire_now = 5;
            if (heap)
                heap_fault_after((unsigned)n);
            else
                fake_sst_fail((n + 1) / 2, n % 2, -EIO);
            rc = scan_iter_new(&f.layers, &everything, &opt, &it);
            while (rc == 0)
                rc = iter_next(it, &row);
            (void)heap_fault_off();
            assert_int_equal(rc, rc == SHALE_END ? SHALE_END : heap ? -ENOMEM : -EIO);
            assert_true(n > 8 || rc != SHALE_END);
            iter_close(it);
            fixture_fini(&f);
            row_list_fini(&l);
        }
    }
}

/* A scan keeps the tables when the caller drops them; the manifest is the caller's to keep. */
static void a_scan_outlives_its_tables(void **state)
{
    static const struct key_range everything;
    static struct fixture f;
    struct row_list l;
    struct iter *it;

    (void)state;
    fixture_init(&f);
    add_layers(&f, "mem:a=1@9; L0#0:b=2@8; SR0:c=3@7", &l);
    it = scan(&f, &everything, ITER_ASC);
    memtable_unref(f.tables[0]);
    memset(&f.layers, 0, sizeof(f.layers));
    expect_scan(it, "a=1 b=2 c=3");
    sst_view_fini(&f.l0[0]);
    sorted_run_fini(&f.runs[0]);
    row_list_fini(&l);
    assert_int_equal(list_iter_open_count(), 0);
}

static void nothing_to_read_gives_nothing(void **state)
{
    static const struct key_range everything;
    struct read_layers l = { .max_seq = UINT64_MAX, .expire_now = SHALE_NO_TS };
    struct sst_iter_options opt = { .order = ITER_DESC };
    struct shale_buf value = SHALE_BUF_INIT;
    struct shale_row row;
    struct iter *it;

    (void)state;
    assert_int_equal(point_get(&l, slice_str("k"), &value, &row), -ENOENT);
    assert_int_equal(scan_iter_new(&l, &everything, &opt, &it), 0);
    expect_scan(it, "");
}

/* All versions, newest first, and what a reader makes of those of one key. */
enum { KEYS = 20 };

struct world {
    struct shale_row rows[MAX_ROWS]; /* seq descending */
    char keys[MAX_ROWS][4], values[MAX_ROWS][4];
    size_t n;
};

static bool model_get(const struct world *w, const struct read_layers *l, struct shale_slice key, char *out)
{
    bool found = false;

    *out = '\0';
    for (size_t i = w->n; i-- > 0;) {
        struct shale_row row = w->rows[i];
        bool expired = l->expire_now != SHALE_NO_TS && row.expire_ts != SHALE_NO_TS && row.expire_ts <= l->expire_now;

        if (row.seq > l->max_seq || !slice_eq(row.key, key) || (expired && row.kind == SHALE_MERGE))
            continue;
        if (row.kind != SHALE_MERGE)
            *out = '\0';
        found = row.kind != SHALE_TOMBSTONE && !expired;
        if (found)
            strncat(out, (const char *)row.value.data, row.value.len);
    }
    return found;
}

static void random_world(struct world *w, struct rng *rng)
{
    w->n = rng_below(rng, MAX_ROWS);
    for (size_t i = 0; i < w->n; i++) {
        struct shale_row *row = &w->rows[i];

        snprintf(w->keys[i], sizeof(w->keys[i]), "%03u", (unsigned)rng_below(rng, KEYS));
        snprintf(w->values[i], sizeof(w->values[i]), "%03zu", w->n - i);
        *row = (struct shale_row){ .key = slice_str(w->keys[i]), .value = slice_str(w->values[i]), .seq = w->n - i,
                                   .kind = SHALE_MERGE, .create_ts = SHALE_NO_TS, .expire_ts = SHALE_NO_TS };
        if (rng_below(rng, 4) == 0)
            row->kind = rng_below(rng, 3) ? SHALE_PUT : SHALE_TOMBSTONE;
        if (row->kind == SHALE_TOMBSTONE)
            row->value.len = 0;
        else if (rng_below(rng, 5) == 0)
            row->expire_ts = (int64_t)rng_below(rng, 20);
    }
}

/* Cut the history into layers; now and then a table repeats what the next layer begins with. */
static void random_layers(struct fixture *f, const struct world *w, struct rng *rng)
{
    size_t n_tables = 1 + rng_below(rng, 3), n_l0 = rng_below(rng, 4), n_runs = rng_below(rng, 4);
    size_t n_layers = n_tables + n_l0 + n_runs, at = 0;

    for (size_t i = 0; i < n_layers; i++) {
        size_t n = i + 1 == n_layers ? w->n - at : rng_below(rng, (w->n - at) / 2 + 1), n_cuts = 0, cuts[MAX_ROWS];
        size_t more = i + 1 < n_layers && i + 1 == n_tables && rng_below(rng, 2) ? rng_below(rng, w->n - at - n + 1) : 0;

        if (i < n_tables) {
            add_table(f, w->rows + at, n + (more > 20 ? 20 : more));
        } else if (n > 0 && i < n_tables + n_l0) {
            add_l0(f, w->rows + at, n);
        } else if (n > 0) {
            for (size_t c = 1; c < n; c++)
                if (rng_below(rng, 8) == 0)
                    cuts[n_cuts++] = c;
            add_run(f, w->rows + at, n, cuts, n_cuts);
        }
        at += n;
    }
}

static void check_scan(struct fixture *f, const struct world *w, struct rng *rng)
{
    enum iter_order order = rng_below(rng, 2) ? ITER_DESC : ITER_ASC;
    static char want[4 * MAX_ROWS];
    char from[4], to[4], key[4];
    struct key_range range = { .from_kind = (enum key_bound_kind)rng_below(rng, 3),
                               .to_kind = (enum key_bound_kind)rng_below(rng, 3) };
    struct shale_row row;
    struct iter *it;

    snprintf(from, sizeof(from), "%03u", (unsigned)rng_below(rng, KEYS));
    snprintf(to, sizeof(to), "%03u", (unsigned)rng_below(rng, KEYS));
    range.from = slice_str(from);
    range.to = slice_str(to);
    it = scan(f, &range, order);
    for (unsigned i = 0; i < KEYS; i++) {
        if (rng_below(rng, 6) == 0) { /* the next key at the earliest; keys in between are passed over */
            unsigned skip = (unsigned)rng_below(rng, KEYS - i);

            i += skip;
            snprintf(key, sizeof(key), "%03u", order == ITER_DESC ? KEYS - 1 - i : i);
            assert_int_equal(iter_seek(it, slice_str(key)), 0);
        }
        snprintf(key, sizeof(key), "%03u", order == ITER_DESC ? KEYS - 1 - i : i);
        if (!key_in_range(&range, slice_str(key)) || !model_get(w, &f->layers, slice_str(key), want))
            continue;
        assert_int_equal(iter_next(it, &row), 0);
        assert_true(slice_eq(row.key, slice_str(key)));
        assert_true(slice_eq(row.value, slice_str(want)));
        assert_int_equal(row.kind, SHALE_PUT);
    }
    assert_int_equal(iter_next(it, &row), SHALE_END);
    iter_close(it);
}

static void random_reads_agree_with_a_model(void **state)
{
    uint64_t seed = random_env(1).first;
    struct shale_buf value = SHALE_BUF_INIT;
    static struct fixture f;
    static struct world w;
    static char want[4 * MAX_ROWS];
    struct rng rng;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (size_t round = 0; round < 400; round++) {
        fixture_init(&f);
        random_world(&w, &rng);
        random_layers(&f, &w, &rng);
        f.layers.max_seq = rng_below(&rng, 2) ? UINT64_MAX : rng_below(&rng, w.n + 1);
        f.layers.expire_now = rng_below(&rng, 2) ? SHALE_NO_TS : (int64_t)rng_below(&rng, 20);
        for (unsigned k = 0; k < KEYS; k++) {
            struct shale_row row;
            char key[4];
            bool found;

            snprintf(key, sizeof(key), "%03u", k);
            found = model_get(&w, &f.layers, slice_str(key), want);
            assert_int_equal(point_get(&f.layers, slice_str(key), &value, &row), found ? 0 : -ENOENT);
            if (found)
                assert_true(slice_eq(row.value, slice_str(want)));
        }
        for (size_t i = 0; i < 4; i++)
            check_scan(&f, &w, &rng);
        fixture_fini(&f);
    }
    shale_buf_fini(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_finds_what_is_visible),
        cmocka_unit_test(a_scan_gives_what_is_visible),
        cmocka_unit_test(layers_are_opened_until_the_value_is_found),
        cmocka_unit_test(a_merged_value_has_the_times_of_its_parts),
        cmocka_unit_test(expired_rows_are_hidden_on_request),
        cmocka_unit_test(the_same_rows_in_two_layers_count_once),
        cmocka_unit_test(an_operand_needs_an_operator),
        cmocka_unit_test(failures_leave_the_result_alone),
        cmocka_unit_test(failures_of_a_scan_leak_nothing),
        cmocka_unit_test(a_scan_outlives_its_tables),
        cmocka_unit_test(nothing_to_read_gives_nothing),
        cmocka_unit_test(random_reads_agree_with_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
