/* Leases: see coord/sqlite_impl.h.
 *
 * A lease's end is a time of CLOCK_BOOTTIME and the boot it belongs to: it goes on in suspend, no
 * change of the wall clock touches it, and after a reboot everything that could have kept it is
 * gone, so it has ended. Whoever writes next, or polls, removes what ended, each lease by a
 * transaction of its own before anything else.
 */
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/plant.h"
#include "coord/sqlite_impl.h"

struct lease_call {
    uint64_t id;
    int64_t ttl_ms;
};

static int bind_now(struct lode_sq *self, sqlite3_stmt *s, uint64_t id, struct lode_err *err)
{
    if (sqlite3_bind_int64(s, 1, (sqlite3_int64)id) || sqlite3_bind_int64(s, 2, lode_boot_ms()))
        return lode_sqlite_err(err, sqlite3_db_handle(s), "cannot use a lease");
    return lode_sq_bind_text(s, 3, self->here.boot, err);
}

static int lost(uint64_t id, struct lode_err *err)
{
    return lode_err_set(err, LODE_LOST_LEASE, "lease %llu ended", (unsigned long long)id);
}

static int do_grant(struct lode_sq *self, struct lode_sq_conn *c, void *arg, struct lode_err *err)
{
    struct lease_call *call = arg;
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_LEASE_ADD, err);
    if (!s || sqlite3_bind_int64(s, 1, call->ttl_ms) ||
        sqlite3_bind_int64(s, 2, lode_boot_ms() + call->ttl_ms))
        return lode_sqlite_err(err, c->db, "cannot grant a lease");
    int r = lode_sq_bind_text(s, 3, self->here.boot, err);
    if (r == 0)
        r = lode_sq_step(s, err);
    if (r == 0)
        call->id = (uint64_t)sqlite3_last_insert_rowid(c->db);
    return r;
}

int lode_sq_lease_grant(struct lode_coord *coord, int64_t ttl_ms, uint64_t *lease,
                        struct lode_err *err)
{
    struct lode_sq *self = lode_sq_of(coord);
    struct lease_call call = {.ttl_ms = ttl_ms};
    int r = lode_sq_submit(self, do_grant, &call, err);
    if (r == 0)
        r = lode_sq_poller_start(self, err); /* it ends the lease should nobody write */
    if (r == 0)
        *lease = call.id;
    return r;
}

static int do_keep(struct lode_sq *self, struct lode_sq_conn *c, void *arg, struct lode_err *err)
{
    struct lease_call *call = arg;
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_LEASE_KEEP, err);
    int r =
        s ? bind_now(self, s, call->id, err) : lode_sqlite_err(err, c->db, "cannot keep a lease");
    if (r == 0)
        r = lode_sq_step(s, err);
    if (r == 0 && sqlite3_changes(c->db) == 0)
        r = lost(call->id, err);
    return r;
}

int lode_sq_lease_keep(struct lode_coord *coord, uint64_t lease, struct lode_err *err)
{
    struct lease_call call = {.id = lease};
    return lode_sq_submit(lode_sq_of(coord), do_keep, &call, err);
}

int lode_sq_lease_alive(struct lode_sq *self, struct lode_sq_conn *c, uint64_t lease,
                        const char *key, struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_LEASE_ALIVE, err);
    int r = s ? bind_now(self, s, lease, err) : lode_sqlite_err(err, c->db, "cannot use a lease");
    if (r == 0)
        r = lode_sq_step(s, err);
    if (s)
        sqlite3_reset(s);
    if (r == 0 && !LODE_PLANTED(coord_lease_ignored))
        r = lode_err_set(err, LODE_LOST_LEASE, "lease %llu ended: %s was not written",
                         (unsigned long long)lease, key);
    return r < 0 ? r : 0;
}

/* ---- the end ---- */

struct keys {
    struct lode_coord_op *ops; /* deletes, their keys owned */
    size_t n, cap;
};

static void keys_release(struct keys *k)
{
    for (size_t i = 0; i < k->n; i++)
        lode_free((char *)k->ops[i].key);
    lode_free(k->ops);
}

static int add_key(struct keys *k, const char *key, struct lode_err *err)
{
    char *copy = key ? lode_strdup(key) : NULL;
    if (!copy || lode_grow((void **)&k->ops, &k->cap, k->n + 1, sizeof *k->ops) < 0) {
        lode_free(copy);
        return lode_err_nomem(err, "the end of a lease");
    }
    k->ops[k->n++] = (struct lode_coord_op){.kind = LODE_COORD_DELETE, .key = copy};
    return 0;
}

static int read_keys(struct lode_sq_conn *c, uint64_t id, struct keys *out, struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_LEASE_KEYS, err);
    if (!s || sqlite3_bind_int64(s, 1, (sqlite3_int64)id))
        return lode_sqlite_err(err, c->db, "cannot end a lease");
    int r;
    while ((r = lode_sq_step(s, err)) == 1) {
        r = add_key(out, (const char *)sqlite3_column_text(s, 0), err);
        if (r < 0)
            break;
    }
    sqlite3_reset(s);
    return r;
}

static int end_lease(struct lode_sq *self, struct lode_sq_conn *c, uint64_t id,
                     struct lode_err *err)
{
    struct keys keys = {0};
    int r = read_keys(c, id, &keys, err);
    if (r == 0 && keys.n)
        r = lode_sq_apply(self, c, keys.ops, keys.n, err);
    keys_release(&keys);
    sqlite3_stmt *s = r == 0 ? lode_sq_stmt(c, SQ_LEASE_DROP, err) : NULL;
    if (r == 0 && (!s || sqlite3_bind_int64(s, 1, (sqlite3_int64)id)))
        r = lode_sqlite_err(err, c->db, "cannot end a lease");
    return r < 0 ? r : lode_sq_step(s, err);
}

static int do_revoke(struct lode_sq *self, struct lode_sq_conn *c, void *arg, struct lode_err *err)
{
    struct lease_call *call = arg;
    return end_lease(self, c, call->id, err);
}

int lode_sq_lease_revoke(struct lode_coord *coord, uint64_t lease, struct lode_err *err)
{
    struct lease_call call = {.id = lease};
    return lode_sq_submit(lode_sq_of(coord), do_revoke, &call, err);
}

#define END_AT_ONCE 64

static int read_ended(struct lode_sq *self, struct lode_sq_conn *c, uint64_t ids[END_AT_ONCE],
                      size_t *n, struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_LEASE_ENDED, err);
    int r = s ? lode_sq_bind_text(s, 1, self->here.boot, err)
              : lode_sqlite_err(err, c->db, "cannot read the leases");
    if (r == 0 && sqlite3_bind_int64(s, 2, lode_boot_ms()))
        r = lode_sqlite_err(err, c->db, "cannot read the leases");
    *n = 0;
    while (r >= 0 && *n < END_AT_ONCE && (r = lode_sq_step(s, err)) == 1)
        ids[(*n)++] = (uint64_t)sqlite3_column_int64(s, 0);
    if (s)
        sqlite3_reset(s);
    return r < 0 ? r : 0;
}

/* A hook that refuses the end of a lease must not stop the writers: it is tried again with the next
 * group. */
static int end_in_savepoint(struct lode_sq *self, struct lode_sq_conn *c, uint64_t id,
                            struct lode_err *err)
{
    struct lode_err why = {0};
    int r = lode_sq_run(c, SQ_SAVE, err);
    if (r < 0)
        return r;
    r = end_lease(self, c, id, &why);
    if (sqlite3_get_autocommit(c->db))
        return lode_err_set(err, why.code, "%s", why.text);
    if (r < 0) {
        lode_log_warn("cannot end lease %llu: %s", (unsigned long long)id, why.text);
        r = lode_sq_run(c, SQ_UNDO, err);
    }
    return r < 0 ? r : lode_sq_run(c, SQ_RELEASE, err);
}

int lode_sq_end_leases(struct lode_sq *self, struct lode_sq_conn *c, struct lode_err *err)
{
    uint64_t ids[END_AT_ONCE];
    size_t n;
    int r = read_ended(self, c, ids, &n, err);
    for (size_t i = 0; r == 0 && i < n && !LODE_PLANTED(coord_lease_never_ends); i++)
        r = end_in_savepoint(self, c, ids[i], err);
    return r;
}

int lode_sq_next_end(struct lode_sq *self, struct lode_sq_conn *c, int64_t *out,
                     struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_LEASE_FOREIGN, err);
    int r = s ? lode_sq_bind_text(s, 1, self->here.boot, err)
              : lode_sqlite_err(err, c->db, "cannot read the leases");
    if (r == 0)
        r = lode_sq_step(s, err);
    if (s)
        sqlite3_reset(s);
    if (r == 1)
        *out = 0;
    if (r != 0)
        return r < 0 ? r : 0;
    s = lode_sq_stmt(c, SQ_LEASE_NEXT, err);
    r = s ? lode_sq_bind_text(s, 1, self->here.boot, err)
          : lode_sqlite_err(err, c->db, "cannot read the leases");
    if (r == 0)
        r = lode_sq_step(s, err);
    if (r >= 0)
        *out = r == 1 && sqlite3_column_type(s, 0) != SQLITE_NULL ? sqlite3_column_int64(s, 0)
                                                                  : INT64_MAX;
    if (s)
        sqlite3_reset(s);
    return r < 0 ? r : 0;
}
