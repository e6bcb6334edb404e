/* Tables, their version, upgrades: see coord/sqlite_impl.h.
 *
 * The version is SQLite's user_version, the mark of ours its application_id. A newer version is
 * refused; an older one is copied beside the database (<path>.bak-<version>) and then upgraded, in
 * one transaction that no writer can get in between. A change of the tables is a new line of
 * `upgrades`, and its statements also in `tables`.
 */
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "coord/sqlite_impl.h"

static const char tables[] =
    "CREATE TABLE lode_state (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, "
    "    compacted INTEGER NOT NULL, machine TEXT NOT NULL, boot TEXT NOT NULL);"
    "INSERT INTO lode_state VALUES (1, 0, 0, '', '');"
    "CREATE TABLE lode_kv (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL, "
    "    created INTEGER NOT NULL, modified INTEGER NOT NULL, lease INTEGER NOT NULL);"
    "CREATE INDEX lode_kv_lease ON lode_kv (lease) WHERE lease <> 0;"
    /* id: revision << 20 | index; value is NULL in the line of a delete */
    "CREATE TABLE lode_log (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, key TEXT NOT NULL, "
    "value BLOB, "
    "    created INTEGER NOT NULL, lease INTEGER NOT NULL);"
    "CREATE TABLE lode_lease (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl_ms INTEGER NOT NULL, "
    "    end_ms INTEGER NOT NULL, boot TEXT NOT NULL);"
    "CREATE INDEX lode_lease_end ON lode_lease (boot, end_ms);";

/* upgrades[n - 1] makes n + 1 of n. */
static const char *const upgrades[LODE_SQ_SCHEMA - 1] = {
    "CREATE INDEX lode_lease_end ON lode_lease (boot, end_ms);", /* 2: a poll of thousands of leases
                                                                    is a look-up */
};

struct shape {
    int64_t application, version;
    bool empty; /* no table at all: a file that SQLite or a crash made */
};

static int pragma_number(sqlite3 *db, const char *sql, int64_t *out, struct lode_err *err)
{
    sqlite3_stmt *s = NULL;
    int r = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW)
        r = lode_sqlite_err(err, db, "cannot read the root's database");
    else
        *out = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return r;
}

/* At one moment: another process may be making the tables. */
static int read_shape(sqlite3 *db, struct shape *out, struct lode_err *err)
{
    int64_t tables_there = 0;
    bool own = sqlite3_get_autocommit(db);
    int r = own ? lode_sq_exec(db, "BEGIN", "cannot read the root's database", err) : 0;
    if (r < 0)
        return r;
    r = pragma_number(db, "SELECT count(*) FROM sqlite_schema", &tables_there, err);
    if (r == 0)
        r = pragma_number(db, "PRAGMA application_id", &out->application, err);
    if (r == 0)
        r = pragma_number(db, "PRAGMA user_version", &out->version, err);
    out->empty = tables_there == 0;
    int ended =
        own ? lode_sq_exec(db, "COMMIT", "cannot read the root's database", r < 0 ? NULL : err) : 0;
    return r < 0 ? r : ended;
}

static int check_shape(const struct shape *shape, const char *path, struct lode_err *err)
{
    if (shape->empty)
        return lode_err_set(err, LODE_NOT_FOUND, "%s is empty: run `lode init` there",
                            lode_q(path));
    if (shape->application != LODE_SQ_APPLICATION || shape->version < 1)
        return lode_err_set(err, LODE_INVALID,
                            "%s is an SQLite database, but not one of Lode's: choose another place",
                            lode_q(path));
    if (shape->version > LODE_SQ_SCHEMA)
        return lode_err_set(err, LODE_SCHEMA,
                            "%s was written by a newer Lode (schema %lld, this one knows up to "
                            "%d): use that version, or a "
                            "backup from before its upgrade",
                            lode_q(path), (long long)shape->version, LODE_SQ_SCHEMA);
    return 0;
}

/* ---- making and upgrading, inside one write transaction in the writers' queue ---- */

static int make_tables(sqlite3 *db, struct lode_err *err)
{
    char marks[96];
    snprintf(marks, sizeof marks, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             LODE_SQ_APPLICATION, LODE_SQ_SCHEMA);
    int r = lode_sq_exec(db, tables, "cannot make the root's database", err);
    return r < 0 ? r : lode_sq_exec(db, marks, "cannot make the root's database", err);
}

/* A reader sees the last commit, and the lock that `c` holds keeps it the last. */
static int copy_before(struct lode_sq *self, int64_t version, struct lode_err *err)
{
    struct lode_sq_conn *reader;
    _cleanup_free_ char *to = lode_asprintf("%s.bak-%lld", self->path, (long long)version);
    int r = to ? lode_sq_reader_take(self, &reader, err) : lode_err_nomem(err, "a path");
    if (r < 0)
        return r;
    r = lode_sq_copy(reader->db, to, true, err);
    lode_sq_reader_give(self, reader, r == 0);
    if (r < 0)
        lode_err_prefix(err, "cannot upgrade %s, for its copy failed", self->path);
    return r;
}

static int upgrade(struct lode_sq *self, sqlite3 *db, int64_t version, struct lode_err *err)
{
    int r = LODE_PLANTED(coord_upgrade_without_copy) ? 0 : copy_before(self, version, err);
    for (; r == 0 && version < LODE_SQ_SCHEMA; version++) {
        char mark[64];
        snprintf(mark, sizeof mark, "PRAGMA user_version = %lld", (long long)version + 1);
        r = lode_sq_exec(db, upgrades[version - 1], "cannot upgrade the root's database", err);
        if (r == 0)
            r = lode_sq_exec(db, mark, "cannot upgrade the root's database", err);
    }
    return r;
}

static int read_last(sqlite3 *db, struct lode_sq_machine *out, struct lode_err *err)
{
    sqlite3_stmt *s = NULL;
    int r = 0;
    if (sqlite3_prepare_v2(db, "SELECT machine, boot FROM lode_state", -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_ROW) {
        r = lode_sqlite_err(err, db, "cannot read the root's database");
    } else {
        snprintf(out->machine, sizeof out->machine, "%s", (const char *)sqlite3_column_text(s, 0));
        snprintf(out->boot, sizeof out->boot, "%s", (const char *)sqlite3_column_text(s, 1));
    }
    sqlite3_finalize(s);
    return r;
}

static bool is_here(const struct lode_sq_machine *last, const struct lode_sq_machine *here)
{
    return strcmp(last->machine, here->machine) == 0 && strcmp(last->boot, here->boot) == 0;
}

static int set_machine(sqlite3 *db, const struct lode_sq_machine *here, struct lode_err *err)
{
    sqlite3_stmt *s = NULL;
    int r = 0;
    if (sqlite3_prepare_v2(db, "UPDATE lode_state SET machine = ?1, boot = ?2", -1, &s, NULL) !=
            SQLITE_OK ||
        sqlite3_bind_text(s, 1, here->machine, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_bind_text(s, 2, here->boot, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_DONE)
        r = lode_sqlite_err(err, db, "cannot note this machine in the root's database");
    sqlite3_finalize(s);
    return r;
}

struct plan {
    bool create, take_over;
};

/* Everything is looked at again here: another process may have done it meanwhile. */
static int prepare_locked(struct lode_sq *self, sqlite3 *db, const struct plan *plan,
                          struct lode_err *err)
{
    struct shape shape;
    struct lode_sq_machine last;
    int r = read_shape(db, &shape, err);
    if (r == 0 && shape.empty && plan->create) {
        r = make_tables(db, err);
        return r < 0 ? r : set_machine(db, &self->here, err);
    }
    if (r == 0)
        r = check_shape(&shape, self->path, err);
    if (r == 0)
        r = read_last(db, &last, err);
    if (r == 0 && !plan->take_over)
        r = lode_sq_check_machine(&last, &self->here, self->path, err);
    if (r == 0 && shape.version < LODE_SQ_SCHEMA)
        r = upgrade(self, db, shape.version, err);
    if (r == 0 && !is_here(&last, &self->here))
        r = set_machine(db, &self->here, err);
    return r;
}

/* SQLite does not wait for readers when it changes the journal's mode: we do. */
static int set_wal(sqlite3 *db, int64_t deadline_ms, struct lode_err *err)
{
    for (;;) {
        int r =
            lode_sq_exec(db, "PRAGMA journal_mode = WAL", "cannot set up the root's database", err);
        if (r != LODE_UNAVAILABLE || lode_mono_ms() >= deadline_ms)
            return r;
        lode_sleep_ms(2);
    }
}

static int prepare_in_turn(struct lode_sq *self, struct lode_sq_conn *c, const struct plan *plan,
                           struct lode_err *err)
{
    int64_t deadline = lode_mono_ms() + self->timeout_ms;
    struct lode_turn *turn;
    int r = lode_sq_turn(self, &turn, err);
    if (r == 0)
        r = lode_turn_take(turn, deadline, err);
    if (r < 0)
        return r;
    r = set_wal(c->db, deadline, err);
    if (r == 0)
        r = lode_sq_run(c, SQ_BEGIN_WRITE, err);
    if (r == 0) {
        r = prepare_locked(self, c->db, plan, err);
        if (r == 0)
            r = lode_sq_run(c, SQ_COMMIT, err);
        if (r < 0 && !sqlite3_get_autocommit(c->db))
            sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    }
    lode_turn_give(turn);
    return r;
}

/* Read-only: nothing may be changed, so everything must fit as it is. */
static int check_only(struct lode_sq *self, const struct shape *shape,
                      const struct lode_sq_machine *last, struct lode_err *err)
{
    int r = check_shape(shape, self->path, err);
    if (r == 0 && shape->version < LODE_SQ_SCHEMA)
        r = lode_err_set(err, LODE_SCHEMA,
                         "%s is of schema %lld: open it for writing once, and it is upgraded",
                         lode_q(self->path), (long long)shape->version);
    return r < 0 ? r : lode_sq_check_machine(last, &self->here, self->path, err);
}

int lode_sq_prepare(struct lode_sq *self, struct lode_sq_conn *c,
                    const struct lode_coord_config *config, struct lode_err *err)
{
    const char *take_over = lode_coord_option(config, "take_over");
    struct plan plan = {.create = config->create,
                        .take_over = take_over && strcmp(take_over, "1") == 0};
    struct shape shape;
    struct lode_sq_machine last = {0};
    int r = read_shape(c->db, &shape, err);
    bool ours = shape.application == LODE_SQ_APPLICATION && shape.version >= 1;
    if (r == 0 && !shape.empty && ours && shape.version <= LODE_SQ_SCHEMA)
        r = read_last(c->db, &last, err);
    if (r < 0)
        return r;
    if (self->read_only)
        return check_only(self, &shape, &last, err);
    if (ours && shape.version == LODE_SQ_SCHEMA && is_here(&last, &self->here))
        return 0;
    if (!shape.empty || !plan.create) {
        r = check_shape(&shape, self->path, err);
        if (r < 0)
            return r;
    }
    return prepare_in_turn(self, c, &plan, err);
}
