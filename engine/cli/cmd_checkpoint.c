/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "base/ulid.h"
#include "cli/cli.h"
#include "cli/json.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

int cli_parse_uuid(const char *text, struct shale_uuid *out)
{
    return uuid_parse(text, out) < 0 ? err_set(-EINVAL, "'%s' is no UUID", text) : 0;
}

struct shale_admin_options cli_admin(const struct cli *c)
{
    return (struct shale_admin_options){ .clock = c->opt.clock, .wal_store = c->wal_store,
                                         .block_transformer = c->opt.block_transformer };
}

/* Seconds of the command line as milliseconds; what lies beyond all times is the last. */
static int64_t lifetime_ms(const struct cli *c)
{
    return c->admin.lifetime_s > INT64_MAX / 1000 ? INT64_MAX : (int64_t)c->admin.lifetime_s * 1000;
}

void cli_print_checkpoint(const char *before, const struct shale_checkpoint *cp)
{
    char id[UUID_TEXT_LEN + 1];

    uuid_format(cp->id, id);
    printf("%s%s %" PRIu64 "\n", before, id, cp->manifest_id);
}

static int create_open(struct cli *c, const struct shale_checkpoint_options *opt, struct shale_checkpoint *out)
{
    struct shale_db *db = NULL;
    int rc = cli_open_writer(c, &db), close_rc;

    if (rc < 0)
        return rc;
    rc = shale_db_checkpoint(db, SHALE_CHECKPOINT_ALL, opt, out);
    if (rc < 0) {
        (void)cli_fail(c, rc); /* while its sentence is there */
        (void)shale_db_close(db, SHALE_CLOSE_ABANDON); /* nothing was written */
        return rc;
    }
    close_rc = shale_db_close(db, SHALE_CLOSE_FLUSH);
    if (close_rc < 0)
        (void)cli_fail(c, close_rc);
    return close_rc;
}

int cmd_checkpoint_create(struct cli *c)
{
    const struct cli_admin_options *a = &c->admin;
    const struct shale_checkpoint_options opt = { .name = a->name, .has_lifetime = a->has_lifetime,
                                                  .lifetime_ms = lifetime_ms(c), .has_source = a->has_source,
                                                  .source = a->source };
    struct shale_admin_options admin;
    struct shale_checkpoint cp;
    int rc;

    if (a->flush) {
        if (create_open(c, &opt, &cp) < 0)
            return CLI_ERROR;
    } else {
        rc = cli_open_store(c, false);
        admin = cli_admin(c);
        if (rc == 0)
            rc = shale_checkpoint_create(c->store, c->path, &admin, &opt, &cp);
        if (rc < 0)
            return cli_fail(c, rc);
    }
    cli_print_checkpoint("", &cp);
    return CLI_OK;
}

static void print_time(struct json *j, const char *key, int64_t s)
{
    char text[32];
    time_t t = (time_t)s;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_string(j, key, text);
}

struct list {
    struct json json;
    bool begun; /* an error shows no half of a list */
};

static void begin(struct list *l)
{
    if (!l->begun) {
        json_init(&l->json, stdout);
        json_array(&l->json, NULL);
    }
    l->begun = true;
}

/* In the order in which SlateDB shows the fields. */
static int print_entry(void *arg, const struct shale_checkpoint *cp)
{
    char id[UUID_TEXT_LEN + 1];
    struct list *l = arg;
    struct json *j = &l->json;

    begin(l);
    uuid_format(cp->id, id);
    json_object(j, NULL);
    json_string(j, "id", id);
    json_u64(j, "manifest_id", cp->manifest_id);
    if (cp->expire_s)
        print_time(j, "expire_time", cp->expire_s);
    else
        json_string(j, "expire_time", NULL);
    print_time(j, "create_time", cp->create_s);
    json_string(j, "name", cp->name);
    json_object_end(j);
    return 0;
}

int cmd_checkpoint_list(struct cli *c)
{
    struct shale_admin_options admin;
    struct list l = { .begun = false };
    int rc = cli_open_store(c, false);

    admin = cli_admin(c);
    if (rc == 0)
        rc = shale_checkpoint_list(c->store, c->path, &admin, c->admin.name, print_entry, &l);
    if (rc < 0)
        return cli_fail(c, rc);
    begin(&l);
    json_array_end(&l.json);
    return CLI_OK;
}

int cmd_checkpoint_refresh(struct cli *c)
{
    struct shale_admin_options admin;
    struct shale_uuid id;
    int rc = cli_parse_uuid(c->args[0], &id);

    if (rc == 0)
        rc = cli_open_store(c, false);
    admin = cli_admin(c);
    if (rc == 0)
        rc = shale_checkpoint_refresh(c->store, c->path, &admin, id, c->admin.has_lifetime ? lifetime_ms(c) : -1);
    return rc < 0 ? cli_fail(c, rc) : CLI_OK;
}

int cmd_checkpoint_delete(struct cli *c)
{
    struct shale_admin_options admin;
    struct shale_uuid id;
    int rc = cli_parse_uuid(c->args[0], &id);

    if (rc == 0)
        rc = cli_open_store(c, false);
    admin = cli_admin(c);
    if (rc == 0)
        rc = shale_checkpoint_delete(c->store, c->path, &admin, id);
    return rc < 0 ? cli_fail(c, rc) : CLI_OK;
}
