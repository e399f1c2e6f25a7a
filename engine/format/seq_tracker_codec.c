/* SPDX-License-Identifier: Apache-2.0 */
#include "format/seq_tracker.h"

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>

/*
 *   u8 version | u32le n | stream of sequence numbers | stream of times
 * A stream holds signed 64-bit values, most significant bit first, and ends on a whole byte: 32 bits count, 64 bits
 * first value, then the differences between consecutive deltas in one of the widths below. The last width is a bare
 * four-bit prefix with 32 bits.
 */
#define TRACKER_VERSION 1

static const struct {
    uint8_t prefix, prefix_bits, value_bits;
    int64_t max;
} widths[] = {
    { 0x2, 2, 7, 63 },
    { 0x6, 3, 9, 255 },
    { 0xe, 4, 12, 2047 },
    { 0xf, 4, 32, INT32_MAX },
};

struct bit_writer {
    struct shale_buf *out;
    uint64_t acc; /* its low n_bits are not written yet */
    unsigned n_bits;
    int rc;
};

/*
 * Up to 32 bits.
 * acc holds at most 7 bits that are not written plus 32 new ones.
 */
static void bits_put(struct bit_writer *w, uint64_t v, unsigned n)
{
    if (w->rc < 0)
        return; /* what could not be written is still there: no room for more */
    w->acc = w->acc << n | (v & ((1ull << n) - 1));
    w->n_bits += n;
    while (w->n_bits >= 8 && w->rc == 0) {
        w->n_bits -= 8;
        w->rc = buf_put_u8(w->out, (uint8_t)(w->acc >> w->n_bits));
    }
}

static int bits_flush(struct bit_writer *w)
{
    if (w->rc == 0 && w->n_bits)
        bits_put(w, 0, 8 - w->n_bits);
    return w->rc;
}

/*
 *   bits      0        10 vvvvvvv    110 v*9     1110 v*12    1111 v*32
 *   holds     0        +-63          +-255       +-2047       the rest
 * v is two's complement. The symmetric limits are SlateDB's; -64 would fit seven bits and is written
 * with nine all the same.
 */
static void put_dod(struct bit_writer *w, int64_t dod)
{
    size_t i = 0;

    if (dod == 0) {
        bits_put(w, 0, 1);
        return;
    }
    while (i + 1 < ARRAY_SIZE(widths) && (dod > widths[i].max || dod < -widths[i].max))
        i++;
    bits_put(w, widths[i].prefix, widths[i].prefix_bits);
    bits_put(w, (uint64_t)dod, widths[i].value_bits);
}

/* Columns are read through these, as bit patterns; differences wrap as in SlateDB. */
typedef uint64_t (*column_get)(const struct seq_point *p);
typedef void (*column_set)(struct seq_point *p, uint64_t v);

static uint64_t seq_of(const struct seq_point *p)
{
    return p->seq;
}

static uint64_t time_of(const struct seq_point *p)
{
    return (uint64_t)p->time_s;
}

static int put_column(struct shale_buf *out, const struct seq_point *p, size_t n, column_get get)
{
    struct bit_writer w = { .out = out };
    uint64_t delta = 0;

    bits_put(&w, n, 32);
    if (n) {
        bits_put(&w, get(p) >> 32, 32);
        bits_put(&w, get(p), 32);
    }
    for (size_t i = 1; i < n && w.rc == 0; i++) {
        uint64_t d = get(&p[i]) - get(&p[i - 1]);

        put_dod(&w, (int64_t)(d - delta));
        delta = d;
    }
    return bits_flush(&w);
}

static bool fits(uint64_t dod)
{
    return (int64_t)dod >= INT32_MIN && (int64_t)dod <= INT32_MAX;
}

/*
 * Where to begin so that every difference fits its 32 bits: SlateDB cuts larger ones silently and then aborts when it
 * reads what comes of it. The newest points are kept.
 */
static size_t first_encodable(const struct seq_tracker *t)
{
    uint64_t seq_delta = 0, time_delta = 0;
    size_t first = 0;

    for (size_t i = 1; i < t->n; i++) {
        uint64_t ds = seq_of(&t->points[i]) - seq_of(&t->points[i - 1]);
        uint64_t dt = time_of(&t->points[i]) - time_of(&t->points[i - 1]);

        if (!fits(ds - seq_delta) || !fits(dt - time_delta)) {
            first = i;
            ds = dt = 0;
        }
        seq_delta = ds;
        time_delta = dt;
    }
    return first;
}

int seq_tracker_encode(const struct seq_tracker *t, struct shale_buf *out)
{
    size_t first = first_encodable(t), n = t->n - first;
    const struct seq_point *p = n ? t->points + first : NULL;
    size_t len = out->len;
    uint8_t head[5] = { TRACKER_VERSION };

    put_u32le(head + 1, (uint32_t)n);
    if (shale_buf_append(out, head, sizeof(head)) < 0 || put_column(out, p, n, seq_of) < 0 ||
        put_column(out, p, n, time_of) < 0) {
        out->len = len;
        return -ENOMEM;
    }
    return 0;
}

struct bit_reader {
    const uint8_t *data;
    size_t n_bits, pos;
    bool short_data;
};

/* Up to 32 bits; 0 and short_data when they are not there. */
static uint64_t bits_get(struct bit_reader *r, unsigned n)
{
    uint64_t v = 0;

    if (n > r->n_bits - r->pos) {
        r->short_data = true;
        return 0;
    }
    while (n > 0) {
        unsigned left = 8 - (unsigned)(r->pos % 8);
        unsigned k = n < left ? n : left;
        uint8_t byte = r->data[r->pos / 8];

        v = v << k | ((byte >> (left - k)) & ((1u << k) - 1));
        r->pos += k;
        n -= k;
    }
    return v;
}

static uint64_t sign_extend(uint64_t v, unsigned bits)
{
    uint64_t sign = 1ull << (bits - 1);

    return (v ^ sign) - sign;
}

/*
 * Leading ones, up to four, choose the width. Short data ends as 0 with short_data set, which
 * get_column looks at.
 */
static uint64_t get_dod(struct bit_reader *r)
{
    unsigned ones = 0;

    while (ones < 4 && bits_get(r, 1))
        ones++;
    if (ones == 0)
        return 0;
    return sign_extend(bits_get(r, widths[ones - 1].value_bits), widths[ones - 1].value_bits);
}

static void set_seq(struct seq_point *p, uint64_t v)
{
    p->seq = v;
}

static void set_time(struct seq_point *p, uint64_t v)
{
    p->time_s = (int64_t)v;
}

/* Each column begins on a byte of its own and repeats the count, which must agree. */
static int get_column(struct bit_reader *r, struct seq_point *p, size_t n, column_set set)
{
    uint64_t v, delta = 0;

    r->pos = (r->pos + 7) / 8 * 8;
    if (bits_get(r, 32) != n || r->short_data)
        return SHALE_ECORRUPT;
    if (n == 0)
        return 0;
    v = bits_get(r, 32) << 32;
    v |= bits_get(r, 32);
    set(p, v);
    for (size_t i = 1; i < n; i++) {
        delta += get_dod(r);
        v += delta;
        set(&p[i], v);
    }
    return r->short_data ? SHALE_ECORRUPT : 0;
}

static bool is_monotonic(const struct seq_point *p, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (p[i].seq < p[i - 1].seq || p[i].time_s < p[i - 1].time_s)
            return false;
    return true;
}

int seq_tracker_decode(struct shale_slice in, struct seq_tracker *out)
{
    struct seq_tracker t;
    struct bit_reader r;
    size_t n;

    seq_tracker_init(&t);
    if (in.len < 5)
        return err_set(SHALE_ECORRUPT, "sequence tracker of %zu bytes", in.len);
    if (in.data[0] != TRACKER_VERSION)
        return err_set(SHALE_EVERSION, "unknown sequence tracker version %u", in.data[0]);
    n = get_u32le(in.data + 1);
    r = (struct bit_reader){ .data = in.data + 5, .n_bits = (in.len - 5) * 8 };
    /* Each value takes a bit or more: the count cannot make us allocate more than a multiple of the input. */
    if (n > r.n_bits)
        return err_set(SHALE_ECORRUPT, "sequence tracker counts more points than it holds");
    if (n && vec_reserve(&t.points, &t.cap, n, sizeof(*t.points)) < 0)
        return -ENOMEM;
    t.n = n;
    if (get_column(&r, t.points, n, set_seq) < 0 || get_column(&r, t.points, n, set_time) < 0 ||
        !is_monotonic(t.points, n)) {
        seq_tracker_fini(&t);
        return err_set(SHALE_ECORRUPT, "malformed sequence tracker");
    }
    *out = t;
    return 0;
}
