/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/core/volume_claim.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/ulid.h"

#include <errno.h>
#include <stdio.h>

/* Refuse when another mount may be alive, unless it is to be taken over. */
static int check_sessions(const struct volume_claim *c)
{
    for (size_t i = 0; i < c->others.n; i++) {
        const struct session *s = &c->others.v[i];
        char who[512];

        session_describe(s, who, sizeof(who));
        if (!c->fs->opt.takeover && !session_is_provably_dead(s))
            return err_set(-EBUSY,
                           "%s is in use by %s; unmount it there, or mount with -o takeover if that mount is gone",
                           c->url, who);
    }
    return 0;
}

static void tell_others(const struct volume_claim *c)
{
    char who[512];

    for (size_t i = 0; i < c->others.n; i++)
        log_info("taking over from %s", session_describe(&c->others.v[i], who, sizeof(who)));
}

int volume_claim_look(void *claim)
{
    struct volume_claim *c = claim;
    int rc = session_list_load(c->fs->patient, c->fs->path, &c->others);

    return rc == 0 ? check_sessions(c) : rc;
}

/*
 * Our session object tells cheaply whether the store still keeps the promise that everything stands on: created once
 * more it must be refused. A store that overwrites it does no harm, as the bytes are the same. Once it may be absent:
 * somebody who takes over has removed it.
 */
static int check_conditional_put(const struct volume_claim *c)
{
    struct fs *fs = c->fs;
    int rc = session_create(fs->patient, fs->path, &fs->session);

    if (rc == 0)
        rc = session_create(fs->patient, fs->path, &fs->session);
    if (rc == -EEXIST)
        return 0;
    return rc < 0 ? rc : err_set(-EOPNOTSUPP, "the store of %s overwrites objects that it is told to create only if "
                                              "absent, so that two mounts would overwrite each other's work; what "
                                              "serves the bucket has changed: 'shale probe %s' says more",
                                c->url, c->url);
}

static int make_session(struct volume_claim *c)
{
    struct fs *fs = c->fs;
    int64_t now = clock_wall_ms();
    int rc = volume_claim_look(c);

    if (rc == 0) {
        tell_others(c);
        rc = session_init(&fs->session, ulid_new(now, NULL), fs->opt.mount_point, now);
    }
    if (rc == 0)
        rc = session_create(fs->patient, fs->path, &fs->session);
    c->has_session = rc == 0;
    return rc == 0 ? check_conditional_put(c) : rc;
}

static int claim_unless_taken(void *arg, bool fresh)
{
    (void)fresh; /* a volume without a database is refused by the engine */
    return make_session(arg);
}

int volume_claim_begin(struct volume_claim *c, struct shale_options *opt)
{
    if (c->fs->opt.takeover)
        return make_session(c);
    opt->before_claim = claim_unless_taken;
    opt->before_claim_arg = c;
    return 0;
}

int volume_claim_finish(void *claim)
{
    const struct volume_claim *c = claim;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < c->others.n; i++)
        rc = session_remove(c->fs->patient, c->fs->path, c->others.v[i].id);
    return rc;
}

/* The winner's session was there before its claim; but it may be gone again, or not be readable. */
static int name_winner(struct volume_claim *c)
{
    struct session_list now = SESSION_LIST_INIT;
    char who[512] = "another mount";

    (void)session_list_load(c->fs->patient, c->fs->path, &now); /* then nobody is named */
    for (size_t i = 0; i < now.n; i++)
        if (!ulid_eq(now.v[i].id, c->fs->session.id) && !session_is_provably_dead(&now.v[i]))
            session_describe(&now.v[i], who, sizeof(who));
    session_list_fini(&now);
    return err_set(-EBUSY,
                   "%s was just taken by %s; unmount it there, or mount with -o takeover if that mount is gone",
                   c->url, who);
}

int volume_claim_cancel(struct volume_claim *c, int rc)
{
    char why[1024];

    if (!c->has_session)
        return rc;
    if (rc == -EBUSY)
        (void)name_winner(c); /* returns rc */
    snprintf(why, sizeof(why), "%s", shale_errmsg());
    (void)session_remove(c->fs->patient, c->fs->path, c->fs->session.id); /* rc says why we failed */
    return err_set(rc, "%s", why);
}

void volume_claim_fini(struct volume_claim *c)
{
    session_list_fini(&c->others);
}
