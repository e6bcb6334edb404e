/* What the SQLite coord offers beyond <lode/coord_ops.h>, to those that share its database file:
 * the catalog's projection (same file, same transaction) and backup. Ask lode_coord_caps() for
 * LODE_COORD_LOCAL_FILE first: on any other coord these answer UNSUPPORTED.
 *
 * Tables of the coord begin with "lode_"; others must not, and must not write to them.
 */
#pragma once
#include <sqlite3.h>
#include "coord/coord.h"

/* Called inside the SQLite transaction of every coord transaction that changes something (also
 * those that end leases), after its changes and before it is final, on any thread, one call at a
 * time per handle. It may write its own tables through `db` (no BEGIN, COMMIT or ROLLBACK;
 * savepoints are fine) and must not call the coord. `events` are the changes, of one revision, with
 * full keys and values, borrowed for the call. A negative answer undoes this coord transaction
 * alone and is its error.
 *
 * Other processes write too, with their own hook or none: keep the revision of the last call in a
 * table of yours and catch up from range() or the log when the next one is not its successor. */
typedef int lode_coord_sqlite_hook(void *arg, sqlite3 *db, const struct lode_coord_event *events,
                                   size_t n, struct lode_err *err);

/* Sets the hook of this handle (NULL for none), best before its first transaction. When it
 * returns, the hook of before does not run and is not called again. Not from inside a hook. */
int lode_coord_sqlite_set_hook(struct lode_coord *coord, lode_coord_sqlite_hook *hook, void *arg,
                               struct lode_err *err) lode_must_use;

/* Runs `fn` inside a write transaction of its own, in the writers' queue, outside any coord
 * transaction: for making and rebuilding tables. What `fn` answers decides between commit and
 * rollback. No revision is used. */
typedef int lode_coord_sqlite_fn(void *arg, sqlite3 *db, struct lode_err *err);
int lode_coord_sqlite_write(struct lode_coord *coord, lode_coord_sqlite_fn *fn, void *arg,
                            struct lode_err *err) lode_must_use;

/* The database file; NULL when the coord has none. Borrowed until close. */
const char *lode_coord_sqlite_path(struct lode_coord *coord);

/* A new connection for reading (query_only), with the coord's VFS and settings, for one thread at a
 * time; close it with sqlite3_close_v2 before the coord. Inside BEGIN ... COMMIT it sees one state:
 * lode_coord_sqlite_revision() tells which. */
int lode_coord_sqlite_connect(struct lode_coord *coord, sqlite3 **out,
                              struct lode_err *err) lode_must_use;

/* The coord's revision as this connection (of this header or a hook's) sees it. */
int lode_coord_sqlite_revision(sqlite3 *db, uint64_t *out, struct lode_err *err) lode_must_use;

/* The keys of one prefix as this connection sees them, in order: for rebuilding a projection inside
 * lode_coord_sqlite_write(). A negative answer of `each` stops and is returned. */
typedef int lode_coord_sqlite_each_fn(void *arg, const struct lode_coord_kv *kv,
                                      struct lode_err *err);
int lode_coord_sqlite_each(sqlite3 *db, const char *prefix, lode_coord_sqlite_each_fn *each,
                           void *arg, struct lode_err *err) lode_must_use;

/* The code and message of a failed SQLite call on `db`. Returns the code: NO_SPACE, UNAVAILABLE
 * (busy), CORRUPT, ... */
int lode_sqlite_err(struct lode_err *err, sqlite3 *db, const char *what) lode_must_use;

/* Copies the whole database (projection included) as it is at one moment to the new file `to`,
 * while others write; durable on return. EXISTS when `to` is there. */
int lode_coord_sqlite_backup(struct lode_coord *coord, const char *to,
                             struct lode_err *err) lode_must_use;

/* Makes the new database `path` of a backup: its pages are checked (CORRUPT), leases are ended,
 * this machine owns it. EXISTS when `path` is there. */
int lode_coord_sqlite_recover(const char *backup, const char *path,
                              struct lode_err *err) lode_must_use;
