/* Connections and their kept statements: see coord/sqlite_impl.h. */
#include <limits.h>
#include <string.h>
#include "base/name.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/sqlite_vfs.h"
#include "coord/sqlite_impl.h"

static const char *const texts[SQ_N_STMTS] = {
    [SQ_BEGIN] = "BEGIN",
    [SQ_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [SQ_COMMIT] = "COMMIT",
    [SQ_ROLLBACK] = "ROLLBACK",
    [SQ_SAVE] = "SAVEPOINT lode",
    [SQ_RELEASE] = "RELEASE lode",
    [SQ_UNDO] = "ROLLBACK TO lode",
    [SQ_STATE] = "SELECT revision, compacted FROM lode_state",
    [SQ_SET_REVISION] = "UPDATE lode_state SET revision = ?1",
    [SQ_SET_COMPACTED] = "UPDATE lode_state SET compacted = ?1",
    [SQ_SCHEMA] = "PRAGMA user_version",
    [SQ_DATA_VERSION] = "PRAGMA data_version",
    [SQ_GET] = "SELECT value, created, modified, lease FROM lode_kv WHERE key = ?1",
    [SQ_RANGE] =
        "SELECT key, value, created, modified, lease FROM lode_kv WHERE key >= ?1 ORDER BY key",
    [SQ_MODIFIED] = "SELECT modified FROM lode_kv WHERE key = ?1",
    [SQ_PUT] =
        ("INSERT INTO lode_kv (key, value, created, modified, lease) VALUES (?1, ?2, ?3, ?3, "
         "?4) ON CONFLICT (key) DO "
         "UPDATE SET value = excluded.value, modified = excluded.modified, lease = "
         "excluded.lease RETURNING created"),
    [SQ_DELETE] = "DELETE FROM lode_kv WHERE key = ?1 RETURNING created",
    [SQ_LOG_ADD] = ("INSERT INTO lode_log (id, kind, key, value, created, lease) VALUES (?1, ?2, "
                    "?3, ?4, ?5, ?6)"),
    [SQ_LOG_READ] =
        "SELECT id, kind, key, value, created, lease FROM lode_log WHERE id >= ?1 ORDER BY id",
    [SQ_LOG_TRIM] = "DELETE FROM lode_log WHERE id < ?1",
    [SQ_LEASE_ADD] = "INSERT INTO lode_lease (ttl_ms, end_ms, boot) VALUES (?1, ?2, ?3)",
    [SQ_LEASE_KEEP] =
        "UPDATE lode_lease SET end_ms = ?2 + ttl_ms WHERE id = ?1 AND boot = ?3 AND end_ms > ?2",
    [SQ_LEASE_ALIVE] = "SELECT 1 FROM lode_lease WHERE id = ?1 AND boot = ?3 AND end_ms > ?2",
    [SQ_LEASE_DROP] = "DELETE FROM lode_lease WHERE id = ?1",
    [SQ_LEASE_ENDED] = ("SELECT id FROM lode_lease WHERE boot = ?1 AND end_ms <= ?2 UNION ALL "
                        "SELECT id FROM lode_lease WHERE boot < ?1 "
                        "UNION ALL SELECT id FROM lode_lease WHERE boot > ?1 LIMIT 64"),
    [SQ_LEASE_KEYS] = "SELECT key FROM lode_kv WHERE lease = ?1 AND lease <> 0 ORDER BY key",
    [SQ_LEASE_NEXT] = "SELECT min(end_ms) FROM lode_lease WHERE boot = ?1",
    [SQ_LEASE_FOREIGN] = "SELECT 1 FROM lode_lease WHERE boot < ?1 OR boot > ?1 LIMIT 1",
};

static int code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return LODE_UNAVAILABLE;
    case SQLITE_FULL:
        return LODE_NO_SPACE;
    case SQLITE_NOMEM:
        return LODE_NO_MEMORY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return LODE_CORRUPT;
    case SQLITE_READONLY:
        return LODE_READ_ONLY;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return LODE_DENIED;
    case SQLITE_INTERRUPT:
        return LODE_CANCELLED;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        return LODE_IO;
    default:
        return LODE_INTERNAL;
    }
}

int lode_sqlite_err(struct lode_err *err, sqlite3 *db, const char *what)
{
    int rc = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    int primary = rc & 0xff;
    int number = db && (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN)
                     ? sqlite3_system_errno(db)
                     : 0;
    const char *why = db ? sqlite3_errmsg(db) : "out of memory";
    /* SQLite tells of the missing -wal, not of why it could not make one. */
    if (db && primary == SQLITE_CANTOPEN && sqlite3_db_readonly(db, "main") == 1)
        return lode_err_set(err, LODE_READ_ONLY,
                            "%s: %s is on a read-only file system, or may not be written by this "
                            "user; readers too write beside it (-wal, -shm)",
                            what, lode_q(sqlite3_db_filename(db, "main")));
    if (number && rc != SQLITE_IOERR_NOMEM)
        return lode_err_num(err, number, "%s: %s", what, why);
    return lode_err_set(err, code_of(rc == SQLITE_IOERR_NOMEM ? SQLITE_NOMEM : rc), "%s: %s", what,
                        why);
}

int lode_sq_exec(sqlite3 *db, const char *sql, const char *what, struct lode_err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
                                                                : lode_sqlite_err(err, db, what);
}

/* The writer checkpoints when it is convenient (sqlite_group.c), and once more when it closes; a
 * reader never, for a command that only looks must not wait for a disk. */
static int configure(struct lode_sq_conn *c, enum lode_sq_role role, struct lode_err *err)
{
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, role == SQ_READER, NULL);
    int r = lode_sq_exec(c->db,
                         LODE_PLANTED(coord_synchronous_off) ? "PRAGMA synchronous = OFF"
                                                             : "PRAGMA synchronous = FULL",
                         "cannot set up the root's database", err);
    if (r == 0)
        r = lode_sq_exec(c->db,
                         "PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY; PRAGMA "
                         "cell_size_check = ON",
                         "cannot set up the root's database", err);
    if (r == 0 && role == SQ_READER)
        r = lode_sq_exec(c->db, "PRAGMA query_only = ON; PRAGMA cache_size = -1024",
                         "cannot set up the root's database", err);
    return r;
}

int lode_sq_conn_open(const char *path, int sqlite_flags, enum lode_sq_role role,
                      int64_t timeout_ms, struct lode_sq_conn **out, struct lode_err *err)
{
    int r = lode_sqlite_vfs_register(err);
    if (r < 0)
        return r;
    struct lode_sq_conn *c = lode_zalloc(sizeof *c);
    if (!c)
        return lode_err_nomem(err, "a connection to the root's database");
    int flags = sqlite_flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(path, &c->db, flags, LODE_SQLITE_VFS) != SQLITE_OK)
        r = lode_sqlite_err(err, c->db, "cannot open the root's database");
    if (r == 0) {
        lode_sq_conn_patience(c, timeout_ms); /* from here on: already the settings read the file */
        r = configure(c, role, err);
    }
    if (r < 0)
        lode_sq_conn_close(c);
    else
        *out = c;
    return r;
}

void lode_sq_conn_patience(struct lode_sq_conn *c, int64_t timeout_ms)
{
    sqlite3_busy_timeout(c->db, (int)lode_min(lode_max(timeout_ms, (int64_t)1), (int64_t)INT_MAX));
}

void lode_sq_conn_close(struct lode_sq_conn *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < SQ_N_STMTS; i++)
        sqlite3_finalize(c->stmts[i]);
    sqlite3_close_v2(c->db);
    lode_free(c);
}

sqlite3_stmt *lode_sq_stmt(struct lode_sq_conn *c, enum lode_sq_stmt which, struct lode_err *err)
{
    sqlite3_stmt **s = &c->stmts[which];
    if (!*s && sqlite3_prepare_v3(c->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL) !=
                   SQLITE_OK) {
        int r lode_unused = lode_sqlite_err(err, c->db, "cannot use the root's database");
        return NULL;
    }
    sqlite3_reset(*s);
    sqlite3_clear_bindings(*s);
    return *s;
}

int lode_sq_step(sqlite3_stmt *s, struct lode_err *err)
{
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        return 1;
    int r = rc == SQLITE_DONE
                ? 0
                : lode_sqlite_err(err, sqlite3_db_handle(s), "the root's database failed");
    sqlite3_reset(s);
    return r;
}

int lode_sq_run(struct lode_sq_conn *c, enum lode_sq_stmt which, struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, which, err);
    if (!s)
        return lode_sqlite_err(err, c->db, "cannot use the root's database");
    int r = lode_sq_step(s, err);
    sqlite3_reset(s);
    return r < 0 ? r : 0;
}

int lode_sq_bind_text(sqlite3_stmt *s, int at, const char *text, struct lode_err *err)
{
    if (sqlite3_bind_text64(s, at, text, strlen(text), SQLITE_STATIC, SQLITE_UTF8) != SQLITE_OK)
        return lode_sqlite_err(err, sqlite3_db_handle(s), "cannot use the root's database");
    return 0;
}

int lode_sq_number(struct lode_sq_conn *c, enum lode_sq_stmt which, int64_t fallback, int64_t *out,
                   struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, which, err);
    int r =
        s ? lode_sq_step(s, err) : lode_sqlite_err(err, c->db, "cannot use the root's database");
    if (r >= 0)
        *out = r == 1 && sqlite3_column_type(s, 0) != SQLITE_NULL ? sqlite3_column_int64(s, 0)
                                                                  : fallback;
    if (s)
        sqlite3_reset(s);
    return r < 0 ? r : 0;
}

int lode_sq_state(struct lode_sq_conn *c, uint64_t *revision, uint64_t *compacted,
                  struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_STATE, err);
    int r =
        s ? lode_sq_step(s, err) : lode_sqlite_err(err, c->db, "cannot use the root's database");
    if (r == 0)
        r = lode_err_set(err, LODE_CORRUPT, "the root's database has lost its state");
    if (r == 1) {
        *revision = (uint64_t)sqlite3_column_int64(s, 0);
        *compacted = (uint64_t)sqlite3_column_int64(s, 1);
    }
    if (s)
        sqlite3_reset(s);
    return r < 0 ? r : 0;
}
