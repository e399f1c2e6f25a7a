/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/damage.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "lib/check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *watched;

static int add_name(void *arg, const char *name, const struct shale_object_meta *meta)
{
    struct stored_set *s = arg;

    (void)meta;
    assert_int_equal(vec_reserve(&s->v, &s->cap, s->n + 1, sizeof(*s->v)), 0);
    s->v[s->n] = (struct stored){ .name = mem_strdup(name) };
    assert_non_null(s->v[s->n].name);
    s->n++;
    return 0;
}

void stored_load(struct stored_set *s, struct shale_store *store)
{
    *s = (struct stored_set){ .v = NULL };
    assert_int_equal(shale_store_list(store, "", NULL, add_name, s), 0);
    for (size_t i = 0; i < s->n; i++)
        assert_int_equal(shale_store_get(store, s->v[i].name, &s->v[i].data), 0);
}

void stored_fini(struct stored_set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        mem_free(s->v[i].name);
        shale_buf_fini(&s->v[i].data);
    }
    mem_free(s->v);
    *s = (struct stored_set){ .v = NULL };
}

static void put(struct shale_store *store, const char *name, struct shale_slice data)
{
    assert_int_equal(shale_store_put(store, name, data, SHALE_PUT_OVERWRITE), 0);
}

static void put_damaged(const struct stored_set *s, const struct damage *d, struct shale_store *store)
{
    const struct stored *o = &s->v[d->victim];
    struct shale_buf data = SHALE_BUF_INIT;
    struct rng rng;

    assert_int_equal(buf_set(&data, slice_of_buf(&o->data)), 0);
    switch (d->kind) {
    case DAMAGE_FLIP:
        assert_true(d->at / 8 < data.len);
        data.data[d->at / 8] ^= (uint8_t)(1u << d->at % 8);
        break;
    case DAMAGE_CUT:
        assert_true(d->at < data.len);
        data.len = d->at;
        break;
    case DAMAGE_ZEROS:
        memset(data.data, 0, data.len);
        break;
    case DAMAGE_GARBAGE:
        rng_seed(&rng, d->at);
        for (size_t i = 0; i < data.len; i++)
            data.data[i] = (uint8_t)rng_next(&rng);
        break;
    case DAMAGE_SWAP:
        assert_int_equal(buf_set(&data, slice_of_buf(&s->v[d->other].data)), 0);
        put(store, s->v[d->other].name, slice_of_buf(&o->data));
        break;
    }
    put(store, o->name, slice_of_buf(&data));
    shale_buf_fini(&data);
}

void damage_apply(const struct stored_set *s, const struct damage *d, struct shale_store *store)
{
    for (size_t i = 0; i < s->n; i++)
        if (i != d->victim && !(d->kind == DAMAGE_SWAP && i == d->other))
            put(store, s->v[i].name, slice_of_buf(&s->v[i].data));
    put_damaged(s, d, store);
}

const char *damage_text(const struct stored_set *s, const struct damage *d)
{
    static char text[512];
    const struct stored *o = &s->v[d->victim];
    unsigned long long at = d->at;

    switch (d->kind) {
    case DAMAGE_FLIP:
        snprintf(text, sizeof(text), "bit %llu of byte %llu of %s (%zu bytes) flipped", at % 8, at / 8, o->name,
                 o->data.len);
        break;
    case DAMAGE_CUT:
        snprintf(text, sizeof(text), "%s cut from %zu to %llu bytes", o->name, o->data.len, at);
        break;
    case DAMAGE_ZEROS:
        snprintf(text, sizeof(text), "%s all zeros", o->name);
        break;
    case DAMAGE_GARBAGE:
        snprintf(text, sizeof(text), "%s all garbage of seed %llu", o->name, at);
        break;
    case DAMAGE_SWAP:
        snprintf(text, sizeof(text), "%s and %s swapped", o->name, s->v[d->other].name);
        break;
    }
    return text;
}

static bool named(const struct stored *o, const char *sentence)
{
    const char *slash = strrchr(o->name, '/');

    return strstr(sentence, slash ? slash + 1 : o->name) != NULL;
}

bool damage_named(const struct stored_set *s, const struct damage *d, const char *sentence)
{
    return named(&s->v[d->victim], sentence) || (d->kind == DAMAGE_SWAP && named(&s->v[d->other], sentence));
}

static void too_slow(int sig)
{
    static const char head[] = "takes too long: ";

    (void)sig;
    (void)!write(STDERR_FILENO, head, sizeof(head) - 1);
    (void)!write(STDERR_FILENO, watched, strlen(watched));
    (void)!write(STDERR_FILENO, "\n", 1);
    abort();
}

void damage_watch(const char *text, unsigned seconds)
{
    watched = text;
    signal(SIGALRM, seconds ? too_slow : SIG_DFL);
    alarm(seconds);
}
