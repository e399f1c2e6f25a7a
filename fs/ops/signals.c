/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/signals.h"

#include "base/clock.h"
#include "base/log.h"

#include <signal.h>
#include <string.h>

#define LOOK_MS 100

static void signal_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1); /* signals_stop */
}

/* The thread's own. */
struct ending {
    struct signals *g;
    int n_signals;
    int64_t deadline_ms;
    bool gave_up;
};

/* What it ends does not go before this thread has, see signals_served. */
static void run_end(void *arg)
{
    struct signals *g = arg;
    void (*end)(void *end_arg);

    mutex_lock(&g->mu);
    end = g->on_end;
    mutex_unlock(&g->mu);
    if (end)
        end(g->end_arg);
}

static bool is_stopped(struct signals *g)
{
    bool stop;

    mutex_lock(&g->mu);
    stop = g->stop;
    mutex_unlock(&g->mu);
    return stop;
}

static void give_up(struct ending *e, const char *why)
{
    if (e->gave_up)
        return;
    e->gave_up = true;
    log_error("%s: ending %s without what is not in the store", why, e->g->mount_point);
    cancel_request(&e->g->give_up);
}

/* on_end is started under the lock, so that signals_served knows whether to wait for it. */
static void begin_end(struct ending *e, int sig)
{
    struct signals *g = e->g;

    log_info("signal %d: unmounting %s", sig, g->mount_point);
    e->deadline_ms = clock_mono_ms() + SIGNALS_PATIENCE_MS;
    mutex_lock(&g->mu);
    if (g->on_end && worker_start(&g->ender, "end", run_end, g) < 0)
        log_error("no thread to unmount %s: out of memory", g->mount_point);
    mutex_unlock(&g->mu);
}

static void take(struct ending *e, int sig)
{
    struct signals *g = e->g;

    if (sig == SIGHUP && g->on_hangup)
        g->on_hangup(g->hangup_arg);
    else if (sig != SIGUSR1 && e->n_signals++ == 0)
        begin_end(e, sig);
    else if (sig != SIGUSR1)
        give_up(e, "a second signal");
}

/* Wakes the loop when no request did: its wait ends with a signal, but one that comes just before it is lost. */
static void wake_server(struct signals *g)
{
    mutex_lock(&g->mu);
    if (g->on_end)
        pthread_kill(g->server, SIGUSR2);
    mutex_unlock(&g->mu);
}

static void signals_main(void *arg)
{
    struct ending e = { .g = arg };
    const struct timespec look = { .tv_nsec = LOOK_MS * 1000000 };
    sigset_t set;

    signal_set(&set);
    while (!is_stopped(e.g)) {
        int sig = e.deadline_ms ? sigtimedwait(&set, NULL, &look) : sigwaitinfo(&set, NULL);

        if (sig > 0)
            take(&e, sig);
        if (!e.deadline_ms)
            continue;
        wake_server(e.g);
        if (clock_mono_ms() >= e.deadline_ms)
            give_up(&e, "the store does not answer");
    }
}

/* Does nothing: it is there so that the signal interrupts a wait. */
static void on_wake(int sig)
{
    (void)sig;
}

int signals_start(struct signals *g)
{
    struct sigaction wake = { .sa_handler = on_wake }, ignore = { .sa_handler = SIG_IGN };
    sigset_t set;

    mutex_init(&g->mu, SIGNALS_RANK, "signals");
    sigaction(SIGUSR2, &wake, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    signal_set(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return worker_start(&g->thread, "signals", signals_main, g);
}

void signals_serving(struct signals *g, void (*on_end)(void *arg), void *arg)
{
    mutex_lock(&g->mu);
    g->server = pthread_self();
    g->end_arg = arg;
    g->on_end = on_end;
    mutex_unlock(&g->mu);
}

void signals_served(struct signals *g)
{
    mutex_lock(&g->mu);
    g->on_end = NULL;
    mutex_unlock(&g->mu);
    worker_join(&g->ender);
}

void signals_stop(struct signals *g)
{
    mutex_lock(&g->mu);
    g->stop = true;
    mutex_unlock(&g->mu);
    if (g->thread.running)
        pthread_kill(g->thread.thread, SIGUSR1);
    worker_join(&g->thread);
    mutex_fini(&g->mu);
}
