/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fs_driver.h"
#include "lib/fs_fixture.h"
#include "lib/random_env.h"

/*
 * Random operations by several handles, compared with the model now and then and whenever the volume was closed and opened again.
 * The bounds are small, so that data is handed over, committed and cut at all moments.
 */
enum { DEFAULT_CASES = 120, OPS = 1200 };

static void choose_options(struct fs_fixture *f, struct rng *rng)
{
    f->opt.commit_interval_ms = (int64_t)(rng_below(rng, 3) ? 1 + rng_below(rng, 30) : 3600000);
    f->opt.dirty_max_bytes = rng_below(rng, 2) ? 64u << 20 : 1 + rng_below(rng, 200000);
    f->opt.atime = rng_below(rng, 2) ? FS_RELATIME : FS_NOATIME;
    f->opt.cache_bytes = rng_below(rng, 3) ? 1u << 20 : 0;
    if (rng_below(rng, 3))
        fixture_tune_small(rng);
    else
        fixture_tune_off();
}

/* Handles and nameless files do not outlive a close. */
static void reopen(struct fs_driver *d, struct fs_fixture *f)
{
    driver_close_all(d);
    fixture_close(f);
    fixture_check(f);
    choose_options(f, &d->rng);
    fixture_open(f);
    d->fs = f->fs;
    driver_compare(d);
}

static void one_case(uint64_t seed)
{
    struct fs_fixture f;
    struct fs_driver d;

    driver_init(&d, seed, 64u << 10);
    fixture_init_closed(&f);
    choose_options(&f, &d.rng);
    fixture_open(&f);
    d.fs = f.fs;
    for (unsigned i = 0; i < OPS; i++) {
        driver_step(&d);
        if (rng_below(&d.rng, 150) == 0)
            driver_compare(&d);
        if (rng_below(&d.rng, 400) == 0)
            reopen(&d, &f);
    }
    reopen(&d, &f);
    fixture_close(&f);
    fixture_fini(&f);
    driver_fini(&d);
}

static void random_operations_agree_with_the_model(void **state)
{
    struct random_env env = random_env(DEFAULT_CASES);

    (void)state;
    for (uint64_t i = 0; i < env.n; i++) {
        print_message("SHALE_SEED=%llu\n", (unsigned long long)(env.first + i));
        one_case(env.first + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(random_operations_agree_with_the_model) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
