/* The projection: the coord's versions, models and journals as SQLite tables, for lists, filters
 * and sorts.
 *
 * It follows the coord and can be thrown away at any time; the coord is the truth. On a sqlite
 * coord its tables lie in the same file and change in the same transaction (the coord's hook), so
 * that a list is never behind. Elsewhere it is a database of its own, in
 * $LODE_CACHE/projection/<root id>.db, or in memory for a coord that no other process shares; every
 * query first brings it up to the coord's newest revision.
 *
 * Invariants
 *  1. catalog_meta names the revision up to which everything is applied; what is applied twice
 * changes nothing.
 *  2. A query runs inside one SQLite transaction on a state that is at least as new as the coord
 * was when it began.
 *  3. A row's id is made from the revision that created the version, so that it is the same
 * wherever it is rebuilt: page tokens outlive the database.
 */
#pragma once
#include <sqlite3.h>
#include <lode/types.h>
#include "coord/coord.h"

struct lode_projection;

int lode_projection_open(struct lode_coord *coord, const char *root_id,
                         struct lode_projection **out, struct lode_err *err) lode_must_use;
void lode_projection_close(struct lode_projection *self); /* NULL is safe */

/* A connection for one query, up to date, inside a transaction; *revision is what it shows. `done`
 * gives it back. */
int lode_projection_begin(struct lode_projection *self, sqlite3 **db, uint64_t *revision,
                          struct lode_err *err) lode_must_use;
void lode_projection_done(struct lode_projection *self, sqlite3 *db);

/* Builds everything anew (doctor, recover). */
int lode_projection_rebuild(struct lode_projection *self, struct lode_err *err) lode_must_use;
