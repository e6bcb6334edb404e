/* The coord in a local SQLite database: handles. See coord/sqlite_impl.h for the whole.
 *
 * Options: "take_over" = "1" (the database was moved to this machine for good), "log_keep"
 * (revisions that a watch can go back; LODE_COORD_LOG_KEEP).
 */
#include "coord/sqlite.h"
#include <errno.h>
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "coord/backends.h"
#include "coord/sqlite_impl.h"

#define TIMEOUT_MS 5000

/* "sqlite:///srv/coord.db", "sqlite:dir/coord.db". */
static int path_of(const char *url, char **out, struct lode_err *err)
{
    const char *path = strchr(url, ':') + 1;
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    if (!*path)
        return lode_err_set(err, LODE_INVALID, "%s names no file: write sqlite:///dir/coord.db",
                            lode_q(url));
    if (strlen(path) > LODE_PATH_MAX)
        return lode_err_set(err, LODE_LIMIT, "the path of %s is over %d bytes", lode_q(url),
                            LODE_PATH_MAX);
    *out = lode_strdup(path);
    return *out ? 0 : lode_err_nomem(err, "a path");
}

static int handle_new(const struct lode_coord_config *config, struct lode_sq **out,
                      struct lode_err *err)
{
    struct lode_sq *self = lode_zalloc(sizeof *self);
    int r = self ? lode_coord_cond_init(&self->changed, err)
                 : lode_err_nomem(err, "a handle of the root's database");
    if (r < 0) {
        lode_free(self);
        return r;
    }
    pthread_mutex_init(&self->hook_lock, NULL);
    pthread_mutex_init(&self->pool_lock, NULL);
    pthread_mutex_init(&self->group_lock, NULL);
    pthread_mutex_init(&self->watch_lock, NULL);
    self->base =
        (struct lode_coord_base){.ops = &lode_coord_sqlite_ops, .caps = LODE_COORD_LOCAL_FILE};
    self->read_only = config->read_only;
    self->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_MS;
    self->last = &self->first;
    *out = self;
    return 0;
}

/* Readers first: the last connection to close is the writer's, which then leaves no WAL behind. */
static void sq_close(struct lode_coord *coord)
{
    struct lode_sq *self = lode_sq_of(coord);
    lode_sq_poller_stop(self);
    lode_sq_readers_close(self);
    lode_sq_conn_close(self->writer);
    lode_turn_close(self->turn);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->hook_lock);
    pthread_mutex_destroy(&self->pool_lock);
    pthread_mutex_destroy(&self->group_lock);
    pthread_mutex_destroy(&self->watch_lock);
    lode_free(self->base.url);
    lode_free(self->path);
    lode_free(self);
}

static int open_first(struct lode_sq *self, const struct lode_coord_config *config,
                      struct lode_err *err)
{
    struct lode_sq_conn *c;
    struct stat st;
    int flags = self->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    bool there = lode_sys->fstatat(AT_FDCWD, self->path, &st, 0) == 0;
    if (!there && errno != ENOENT)
        return lode_err_sys(err, "cannot look at %s", lode_q(self->path));
    if (!there && (!config->create || self->read_only))
        return lode_err_set(err, LODE_NOT_FOUND,
                            "there is no root's database %s: run `lode init` first",
                            lode_q(self->path));
    int r = lode_sq_conn_open(self->path,
                              flags | (config->create && !self->read_only ? SQLITE_OPEN_CREATE : 0),
                              SQ_WRITER, self->timeout_ms, &c, err);
    if (r < 0)
        return r;
    r = lode_sq_prepare(self, c, config, err);
    /* From here on it only reads: most commands do nothing else. */
    if (r == 0)
        r = lode_sq_exec(c->db, "PRAGMA query_only = ON", "cannot set up the root's database", err);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    lode_sq_reader_give(self, c, r == 0);
    return r;
}

static int sq_open(const struct lode_coord_config *config, struct lode_coord **out,
                   struct lode_err *err)
{
    struct lode_sq *self;
    int r = handle_new(config, &self, err);
    if (r < 0)
        return r;
    self->base.url = lode_strdup(config->url);
    r = self->base.url ? path_of(config->url, &self->path, err) : lode_err_nomem(err, "a URL");
    if (r == 0)
        r = lode_coord_option_u64(config, "log_keep", LODE_COORD_LOG_KEEP, &self->log_keep, err);
    if (r == 0)
        r = lode_sq_check_file_system(self->path, err);
    if (r == 0)
        r = lode_sq_read_machine(&self->here, err);
    if (r == 0)
        r = open_first(self, config, err);
    if (r < 0)
        sq_close((struct lode_coord *)(void *)self);
    else
        *out = (struct lode_coord *)(void *)self;
    return r;
}

static int do_trim(struct lode_sq *self, struct lode_sq_conn *c, void *arg, struct lode_err *err)
{
    return lode_sq_trim(self, c, 0, err);
}

static int sq_compact(struct lode_coord *coord, struct lode_err *err)
{
    return lode_sq_submit(lode_sq_of(coord), do_trim, NULL, err);
}

const struct lode_coord_ops lode_coord_sqlite_ops = {
    .abi = LODE_COORD_ABI,
    .scheme = "sqlite",
    .open = sq_open,
    .close = sq_close,
    .revision = lode_sq_revision,
    .get = lode_sq_get,
    .range = lode_sq_range,
    .txn = lode_sq_txn,
    .watch = lode_sq_watch,
    .watch_next = lode_sq_watch_next,
    .watch_wake = lode_sq_watch_wake,
    .watch_close = lode_sq_watch_close,
    .lease_grant = lode_sq_lease_grant,
    .lease_keep = lode_sq_lease_keep,
    .lease_revoke = lode_sq_lease_revoke,
    .compact = sq_compact,
};

/* ---- for those that share the file: coord/sqlite.h ---- */

static int check_ours(struct lode_coord *coord, struct lode_err *err)
{
    if (lode_coord_ops_of(coord) == &lode_coord_sqlite_ops)
        return 0;
    return lode_err_set(err, LODE_UNSUPPORTED, "%s is not a local database",
                        lode_q(lode_coord_url(coord)));
}

int lode_coord_sqlite_set_hook(struct lode_coord *coord, lode_coord_sqlite_hook *hook, void *arg,
                               struct lode_err *err)
{
    int r = check_ours(coord, err);
    if (r < 0)
        return r;
    struct lode_sq *self = lode_sq_of(coord);
    pthread_mutex_lock(&self->hook_lock);
    self->hook = hook;
    self->hook_arg = arg;
    pthread_mutex_unlock(&self->hook_lock);
    return 0;
}

const char *lode_coord_sqlite_path(struct lode_coord *coord)
{
    return lode_coord_ops_of(coord) == &lode_coord_sqlite_ops ? lode_sq_of(coord)->path : NULL;
}

struct write_call {
    lode_coord_sqlite_fn *fn;
    void *arg;
};

static int do_write(struct lode_sq *self, struct lode_sq_conn *c, void *arg, struct lode_err *err)
{
    struct write_call *call = arg;
    return call->fn(call->arg, c->db, err);
}

int lode_coord_sqlite_write(struct lode_coord *coord, lode_coord_sqlite_fn *fn, void *arg,
                            struct lode_err *err)
{
    struct write_call call = {fn, arg};
    int r = check_ours(coord, err);
    return r < 0 ? r : lode_sq_submit(lode_sq_of(coord), do_write, &call, err);
}

int lode_coord_sqlite_connect(struct lode_coord *coord, sqlite3 **out, struct lode_err *err)
{
    struct lode_sq_conn *c;
    int r = check_ours(coord, err);
    if (r < 0)
        return r;
    struct lode_sq *self = lode_sq_of(coord);
    r = lode_sq_conn_open(self->path,
                          self->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE, SQ_READER,
                          self->timeout_ms, &c, err);
    if (r < 0)
        return r;
    *out = lode_steal(c->db);
    lode_sq_conn_close(c);
    return 0;
}

int lode_coord_sqlite_revision(sqlite3 *db, uint64_t *out, struct lode_err *err)
{
    struct lode_sq_conn c = {.db = db};
    uint64_t revision, compacted;
    int r = lode_sq_state(&c, &revision, &compacted, err);
    sqlite3_finalize(c.stmts[SQ_STATE]);
    if (r == 0)
        *out = revision;
    return r;
}

static int each_row(sqlite3_stmt *s, const char *prefix, lode_coord_sqlite_each_fn *each, void *arg,
                    struct lode_err *err)
{
    struct lode_coord_kv kv = {0};
    const char *key = (const char *)sqlite3_column_text(s, 0);
    if (!key || strncmp(key, prefix, strlen(prefix)) != 0)
        return 0;
    int r = lode_sq_kv_of(s, 1, key, (size_t)sqlite3_column_bytes(s, 0), &kv, err);
    if (r == 0)
        r = each(arg, &kv, err);
    lode_coord_kv_release(&kv);
    return r < 0 ? r : 1;
}

int lode_coord_sqlite_each(sqlite3 *db, const char *prefix, lode_coord_sqlite_each_fn *each,
                           void *arg, struct lode_err *err)
{
    struct lode_sq_conn c = {.db = db};
    sqlite3_stmt *s = lode_sq_stmt(&c, SQ_RANGE, err);
    int r = s ? lode_sq_bind_text(s, 1, prefix, err)
              : lode_sqlite_err(err, db, "cannot read a range of keys");
    for (bool on = r == 0; on; on = r == 1) {
        r = lode_sq_step(s, err);
        if (r == 1)
            r = each_row(s, prefix, each, arg, err);
    }
    sqlite3_finalize(s);
    return r;
}
