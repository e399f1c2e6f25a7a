/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block cache: least recently used (nearly, see touch_locked), in shards by hash so that
 * readers on many threads rarely meet. Each shard has a hash table and two lists (data blocks; indexes and filters), both under
 * its own lock. Limits are global: atomics count bytes, and whoever goes over the limit evicts
 * until it fits, taking the shards in turn; so one large item need not fit into a sixteenth.
 * Items are reference-counted: eviction drops the cache's reference, readers keep theirs.
 *   used         bytes kept and reserved. Raised before an item is put in, so it may be over the limit for a moment
 *   used_by[c]   bytes kept of one class. Only a hint, which class to evict from
 * Both are relaxed: they count, and publish nothing; items are handed over under the shard's
 * lock.
 */

#include "sst/block_cache.h"

#include "base/alloc.h"
#include "base/list.h"
#include "base/sync.h"

#include <assert.h>
#include <errno.h>

#define CACHE_RANK 620
#define MAX_SHARDS 16
#define SMALL_LIMIT ((size_t)1 << 20) /* below this one shard: the order of eviction is then exact */
#define FIRST_BUCKETS 64u

enum cache_class { CLASS_BLOCK, CLASS_META, N_CLASSES };

/* What a hit looks at comes first: it fits a cache line. */
struct cache_entry {
    struct cache_entry *next; /* in its bucket */
    uint64_t hash;
    struct cache_key key;
    struct cache_item *item;
    size_t charge; /* of item */
    enum cache_class class;
    uint32_t moved; /* tick of its list when it was put in front */
    struct list lru;
};

/* A part of the keys, by hash. The byte limit is common to all shards, so that one large index fits as well. */
struct cache_shard {
    struct mutex mu;              /* rank 620; never two of them at once */
    struct cache_entry **buckets; /* GUARDED_BY(mu), as all below */
    size_t n_buckets, n_entries;
    struct list lru[N_CLASSES];   /* most recent first; see touch_locked */
    size_t n[N_CLASSES];          /* entries of each */
    uint32_t tick[N_CLASSES];     /* entries ever put in */
    uint64_t hits, misses;
};

struct block_cache {
    size_t limit;
    size_t n_shards;              /* a power of two */
    _Atomic size_t used;          /* bytes kept, and those that a put is making room for; relaxed */
    _Atomic size_t used_by[N_CLASSES]; /* bytes kept; relaxed, a hint for the choice of victims */
    _Atomic size_t hand;          /* shard that gives up an entry next; relaxed */
    struct cache_shard shards[MAX_SHARDS];
};

struct cache_item *cache_item_ref(struct cache_item *item)
{
    atomic_fetch_add_explicit(&item->refs, 1, memory_order_relaxed);
    return item;
}

void cache_item_unref(struct cache_item *item)
{
    int before;

    if (!item)
        return;
    before = atomic_fetch_sub_explicit(&item->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        item->free(item);
}

/* Offsets and ids are far from random in their low bits; both halves of the hash are used. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

static uint64_t key_hash(struct cache_key k)
{
    return mix(k.sst.hi ^ mix(k.sst.lo ^ mix(k.offset)));
}

static bool key_eq(struct cache_key a, struct cache_key b)
{
    return a.offset == b.offset && ulid_eq(a.sst, b.sst);
}

/* The upper half chooses the shard, the lower the bucket. */
static struct cache_shard *shard_of(struct block_cache *c, uint64_t hash)
{
    return &c->shards[(hash >> 32) & (c->n_shards - 1)];
}

static struct cache_entry **bucket_locked(struct cache_shard *s, uint64_t hash)
{
    return &s->buckets[hash & (s->n_buckets - 1)];
}

static struct cache_entry *find_locked(struct cache_shard *s, struct cache_key key, uint64_t hash)
{
    struct cache_entry *e = *bucket_locked(s, hash);

    while (e && !(e->hash == hash && key_eq(e->key, key)))
        e = e->next;
    return e;
}

/*
 * More buckets before chains form, each of whose links is a cache miss; without memory they stay as they are.
 * Never shrinks: the number of entries is bounded by the byte limit.
 */
static void grow_locked(struct cache_shard *s)
{
    size_t n = s->n_buckets * 2;
    struct cache_entry **buckets;

    if (s->n_entries <= s->n_buckets / 2)
        return;
    buckets = mem_calloc(n, sizeof(struct cache_entry *));
    if (!buckets)
        return;
    for (size_t i = 0; i < s->n_buckets; i++) {
        for (struct cache_entry *e = s->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (n - 1)];
            buckets[e->hash & (n - 1)] = e;
        }
    }
    mem_free(s->buckets);
    s->buckets = buckets;
    s->n_buckets = n;
}

static void unlink_locked(struct cache_shard *s, struct cache_entry *e)
{
    struct cache_entry **p = bucket_locked(s, e->hash);

    while (*p != e)
        p = &(*p)->next;
    *p = e->next;
    list_remove(&e->lru);
    s->n[e->class]--;
    s->n_entries--;
}

static struct cache_entry *take_oldest(struct cache_shard *s, enum cache_class class)
{
    struct cache_entry *e = NULL;

    mutex_lock(&s->mu);
    if (!list_empty(&s->lru[class])) {
        e = list_entry(s->lru[class].prev, struct cache_entry, lru);
        unlink_locked(s, e);
    }
    mutex_unlock(&s->mu);
    return e;
}

/*
 * Drop one entry of the class; the shards take turns. Returns whether there was one.
 * The entry is out of its shard when its bytes are subtracted, so no two threads subtract the
 * same. The last reference may be ours: the item is freed outside the lock.
 */
static bool evict_class(struct block_cache *c, enum cache_class class)
{
    size_t hand = atomic_fetch_add_explicit(&c->hand, 1, memory_order_relaxed);
    struct cache_entry *e = NULL;

    for (size_t i = 0; !e && i < c->n_shards; i++)
        e = take_oldest(&c->shards[(hand + i) & (c->n_shards - 1)], class);
    if (!e)
        return false;
    atomic_fetch_sub_explicit(&c->used_by[class], e->item->charge, memory_order_relaxed);
    atomic_fetch_sub_explicit(&c->used, e->item->charge, memory_order_relaxed);
    cache_item_unref(e->item);
    mem_free(e);
    return true;
}

/* Blocks go first, unless indexes and filters hold more than three quarters of the limit. */
static bool evict_one(struct block_cache *c)
{
    size_t meta = atomic_load_explicit(&c->used_by[CLASS_META], memory_order_relaxed);
    enum cache_class first = meta > c->limit / 4 * 3 ? CLASS_META : CLASS_BLOCK;

    return evict_class(c, first) || evict_class(c, first == CLASS_META ? CLASS_BLOCK : CLASS_META);
}

/*
 * Count charge as used, throwing out what is in the way. False when that did not help.
 * First counted, then made true: of two threads that reserve at once, each sees the other's
 * bytes. False only when everything in the cache is on its way in by others.
 */
static bool reserve(struct block_cache *c, size_t charge)
{
    atomic_fetch_add_explicit(&c->used, charge, memory_order_relaxed);
    while (atomic_load_explicit(&c->used, memory_order_relaxed) > c->limit) {
        if (!evict_one(c)) {
            atomic_fetch_sub_explicit(&c->used, charge, memory_order_relaxed);
            return false;
        }
    }
    return true;
}

int block_cache_new(size_t limit_bytes, struct block_cache **out)
{
    struct block_cache *c = mem_zalloc(sizeof(*c));

    if (!c)
        return -ENOMEM;
    c->limit = limit_bytes;
    c->n_shards = limit_bytes < SMALL_LIMIT ? 1 : MAX_SHARDS;
    for (size_t i = 0; i < c->n_shards; i++) {
        struct cache_shard *s = &c->shards[i];

        mutex_init(&s->mu, CACHE_RANK, "block cache");
        for (int k = 0; k < N_CLASSES; k++)
            list_init(&s->lru[k]);
        s->n_buckets = FIRST_BUCKETS;
        s->buckets = mem_calloc(s->n_buckets, sizeof(struct cache_entry *));
        if (!s->buckets) {
            c->n_shards = i + 1;
            block_cache_free(c);
            return -ENOMEM;
        }
    }
    *out = c;
    return 0;
}

static void shard_fini(struct cache_shard *s)
{
    for (int k = 0; k < N_CLASSES; k++) {
        list_for_each_safe(pos, tmp, &s->lru[k]) {
            struct cache_entry *e = list_entry(pos, struct cache_entry, lru);

            cache_item_unref(e->item);
            mem_free(e);
        }
    }
    mem_free(s->buckets);
    mutex_fini(&s->mu);
}

void block_cache_free(struct block_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_shards; i++)
        shard_fini(&c->shards[i]);
    mem_free(c);
}

/*
 * To the front of its list, unless it is among the front ones anyway: fewer have been put in since it moved than an
 * eighth of what is there. So hits in a cache that changes little write to no list, which would touch four more entries'
 * cache lines each; and with less than eight entries the order is exact.
 */
static void touch_locked(struct cache_shard *s, struct cache_entry *e)
{
    uint32_t now = s->tick[e->class];

    if (s->n[e->class] >= 8 && now - e->moved < s->n[e->class] / 8)
        return;
    e->moved = now;
    list_remove(&e->lru);
    list_insert(&s->lru[e->class], &e->lru);
}

struct cache_item *block_cache_get(struct block_cache *c, struct cache_key key)
{
    uint64_t hash = key_hash(key);
    struct cache_shard *s = shard_of(c, hash);
    struct cache_item *item = NULL;
    struct cache_entry *e;

    mutex_lock(&s->mu);
    e = find_locked(s, key, hash);
    if (e) {
        /* The offsets at the end of a block are what its reader looks at first. */
        __builtin_prefetch((const uint8_t *)e->item + e->charge - 1);
        item = cache_item_ref(e->item);
        touch_locked(s, e);
        s->hits++;
    } else {
        s->misses++;
    }
    mutex_unlock(&s->mu);
    return item;
}

/*
 * Link e unless its key is there already.
 * An equal key is there when two readers missed at once; both hold the same bytes, and the older
 * item stays.
 */
static bool insert(struct block_cache *c, struct cache_entry *e)
{
    struct cache_shard *s = shard_of(c, e->hash);
    bool is_new;

    mutex_lock(&s->mu);
    is_new = !find_locked(s, e->key, e->hash);
    if (is_new) {
        struct cache_entry **bucket = bucket_locked(s, e->hash);

        e->next = *bucket;
        *bucket = e;
        e->moved = ++s->tick[e->class];
        list_insert(&s->lru[e->class], &e->lru);
        s->n[e->class]++;
        s->n_entries++;
        cache_item_ref(e->item);
        /* Under the lock, so that nobody takes it out and subtracts first. */
        atomic_fetch_add_explicit(&c->used_by[e->class], e->item->charge, memory_order_relaxed);
        grow_locked(s);
    }
    mutex_unlock(&s->mu);
    return is_new;
}

struct cache_item *block_cache_peek(struct block_cache *c, struct cache_key key)
{
    uint64_t hash = key_hash(key);
    struct cache_shard *s = shard_of(c, hash);
    struct cache_item *item = NULL;
    struct cache_entry *e;

    mutex_lock(&s->mu);
    e = find_locked(s, key, hash);
    if (e)
        item = cache_item_ref(e->item);
    mutex_unlock(&s->mu);
    return item;
}

static bool has_key(struct block_cache *c, struct cache_key key)
{
    struct cache_item *item = block_cache_peek(c, key);

    cache_item_unref(item);
    return item != NULL;
}

/* The first look spares copying and evicting for what is there already. */
void block_cache_put(struct block_cache *c, struct cache_key key, struct cache_item *item, bool high)
{
    struct cache_entry *e;

    /* One item shall not throw out more than half of what is there. */
    if (item->charge > c->limit / 2 || has_key(c, key))
        return;
    e = mem_alloc(sizeof(*e));
    if (!e)
        return;
    *e = (struct cache_entry){ .key = key, .hash = key_hash(key), .item = item, .charge = item->charge };
    e->class = high ? CLASS_META : CLASS_BLOCK;
    if (!reserve(c, item->charge)) {
        mem_free(e);
        return;
    }
    if (!insert(c, e)) {
        atomic_fetch_sub_explicit(&c->used, item->charge, memory_order_relaxed);
        mem_free(e);
    }
}

void block_cache_stats(struct block_cache *c, struct cache_stats *out)
{
    struct cache_stats st = { .bytes = atomic_load_explicit(&c->used, memory_order_relaxed) };

    for (size_t i = 0; i < c->n_shards; i++) {
        struct cache_shard *s = &c->shards[i];

        mutex_lock(&s->mu);
        st.hits += s->hits;
        st.misses += s->misses;
        mutex_unlock(&s->mu);
    }
    *out = st;
}
