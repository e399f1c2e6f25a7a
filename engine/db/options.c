/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Defaults and limits of the options, which are those of SlateDB where it has the same option.
 * Checked once, at open: no later code asks whether a setting makes sense.
 */

#include <shale/options.h>

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>
#include <string.h>

#define KIB 1024u
#define MIB (1024u * KIB)
#define GIB (1024u * MIB)

static const char *const codec_names[] = {
    [SHALE_CODEC_NONE] = "none", [SHALE_CODEC_SNAPPY] = "snappy", [SHALE_CODEC_ZLIB] = "zlib",
    [SHALE_CODEC_LZ4] = "lz4",   [SHALE_CODEC_ZSTD] = "zstd",
};

int shale_codec_parse(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(codec_names); i++)
        if (strcmp(name, codec_names[i]) == 0)
            return (int)i;
    return err_set(-EINVAL, "there is no codec '%s'; there are none, snappy, zlib, lz4 and zstd", name);
}

const char *shale_codec_name(enum shale_codec codec)
{
    size_t i = (size_t)codec;

    return i < ARRAY_SIZE(codec_names) ? codec_names[i] : NULL;
}

void shale_options_init(struct shale_options *opt)
{
    *opt = (struct shale_options){
        .flush_interval_ms = 100,
        .manifest_poll_interval_ms = 1000,
        .manifest_update_timeout_ms = 300000,
        .min_filter_keys = 1000,
        .filter_bits_per_key = 10,
        .l0_sst_size_bytes = 64 * MIB,
        .l0_max_ssts = 8,
        .freeze_wal_count = 4096,
        .max_unflushed_bytes = GIB,
        .block_cache_bytes = 64 * MIB,
        .block_size = 4 * KIB,
        .codec = SHALE_CODEC_NONE,
        .wal_enabled = true,
        .read_expired = true,
        .compactor = {
            .enabled = true,
            .poll_interval_ms = 5000,
            .max_sst_size = 256 * MIB,
            .max_concurrent = 4,
            .min_sources = 4,
            .max_sources = 8,
            .include_size_threshold = 4.0,
        },
        .gc = {
            .interval_ms = 60000,
            .manifest_min_age_ms = 300000,
            .wal_min_age_ms = 300000,
            .compacted_min_age_ms = 300000,
            .compactions_min_age_ms = 300000,
            .fence_age_ms = 86400000,
        },
    };
}

/* One numeric setting and what it may be. */
struct bound {
    const char *name;
    uint64_t value, min, max;
};

static int check_bounds(const struct bound *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (b[i].value >= b[i].min && b[i].value <= b[i].max)
            continue;
        return err_set(-EINVAL, "option %s is %llu; it may be %llu to %llu", b[i].name,
                       (unsigned long long)b[i].value, (unsigned long long)b[i].min, (unsigned long long)b[i].max);
    }
    return 0;
}

static int check_times(const struct shale_options *opt)
{
    const struct {
        const char *name;
        int64_t value, min;
    } t[] = {
        { "flush_interval_ms", opt->flush_interval_ms, 0 },
        { "commit_gather_us", opt->commit_gather_us, 0 },
        { "manifest_poll_interval_ms", opt->manifest_poll_interval_ms, 1 },
        { "manifest_idle_poll_ms", opt->manifest_idle_poll_ms, 0 },
        { "store_limit_ms", opt->store_limit_ms, 0 },
        { "manifest_update_timeout_ms", opt->manifest_update_timeout_ms, 1 },
        { "default_ttl_ms", opt->default_ttl_ms, 0 },
        { "compactor.poll_interval_ms", opt->compactor.poll_interval_ms, 1 },
        { "compactor.idle_poll_ms", opt->compactor.idle_poll_ms, 0 },
        { "gc.interval_ms", opt->gc.interval_ms, 0 },
        { "gc.idle_interval_ms", opt->gc.idle_interval_ms, 0 },
        { "gc.manifest_min_age_ms", opt->gc.manifest_min_age_ms, 0 },
        { "gc.wal_min_age_ms", opt->gc.wal_min_age_ms, 0 },
        { "gc.compacted_min_age_ms", opt->gc.compacted_min_age_ms, 0 },
        { "gc.compactions_min_age_ms", opt->gc.compactions_min_age_ms, 0 },
        { "gc.fence_age_ms", opt->gc.fence_age_ms, 0 },
    };
    const int64_t max = (int64_t)1 << 52; /* sums with a time stay far from overflow */

    for (size_t i = 0; i < ARRAY_SIZE(t); i++)
        if (t[i].value < t[i].min || t[i].value > max)
            return err_set(-EINVAL, "option %s is %lld; it may be %lld to %lld", t[i].name, (long long)t[i].value,
                           (long long)t[i].min, (long long)max);
    return 0;
}

static int check_hooks(const struct shale_options *opt)
{
    const struct shale_flush_transform *f = opt->flush_transform;
    const struct shale_property_collector *p = opt->property_collector;
    const struct shale_block_transformer *t = opt->block_transformer;

    if (f && !f->apply)
        return err_set(-EINVAL, "option flush_transform lacks its function apply");
    if (p && (!p->create || !p->add || !p->finish))
        return err_set(-EINVAL, "option property_collector lacks a function");
    if (t && (!t->encode || !t->decode))
        return err_set(-EINVAL, "option block_transformer lacks a function");
    return 0;
}

int shale_options_check(const struct shale_options *opt)
{
    const struct shale_compactor_options *c = &opt->compactor;
    const struct bound b[] = {
        { "filter_bits_per_key", opt->filter_bits_per_key, 1, 1000 },
        { "l0_sst_size_bytes", opt->l0_sst_size_bytes, 1, (uint64_t)64 * GIB },
        { "l0_max_ssts", opt->l0_max_ssts, 1, UINT32_MAX },
        { "freeze_wal_count", opt->freeze_wal_count, 1, UINT32_MAX },
        { "read_window_bytes", opt->read_window_bytes, 0, 64 * MIB },
        { "max_unflushed_bytes", opt->max_unflushed_bytes, 1, UINT64_MAX },
        { "compactor.max_sst_size", c->max_sst_size, 1, UINT64_MAX },
        { "compactor.max_concurrent", c->max_concurrent, 1, 1024 },
        { "compactor.min_sources", c->min_sources, 1, UINT32_MAX },
        { "compactor.max_sources", c->max_sources, c->min_sources, UINT32_MAX },
    };
    uint32_t size = opt->block_size;
    int rc = check_bounds(b, ARRAY_SIZE(b));

    if (rc == 0)
        rc = check_times(opt);
    if (rc < 0)
        return rc;
    if (size < KIB || size > 64 * KIB || (size & (size - 1)) != 0)
        return err_set(-EINVAL, "option block_size is %u; it may be 1, 2, 4, 8, 16, 32 or 64 KiB", size);
    if (!shale_codec_name(opt->codec))
        return err_set(-EINVAL, "option codec is %d; it may be 0 to 4", (int)opt->codec);
    if (!(c->include_size_threshold > 0))
        return err_set(-EINVAL, "option compactor.include_size_threshold is %g; it must be above 0",
                       c->include_size_threshold);
    if (opt->checkpoint && !opt->read_only)
        return err_set(-EINVAL, "option checkpoint is for reading only");
    if (opt->merge_operator && !opt->merge_operator->merge)
        return err_set(-EINVAL, "option merge_operator has no merge function");
    if (opt->compaction_filter && (!opt->compaction_filter->create || !opt->compaction_filter->decide))
        return err_set(-EINVAL, "option compaction_filter lacks a function");
    return check_hooks(opt);
}
