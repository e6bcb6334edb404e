/* The projection's tables, and changes applied to them; private to projection*.c and filter_sql.c.
 *
 * catalog_model      id, ns, name, record (the coord's value), modified, latest (version)
 * catalog_version    id, model, name, version, seq, created, size, format, parameters, state,
 * latest, facts, modified, record catalog_tag        version, key, value catalog_metric version,
 * key, value catalog_journal    model, number, alias, change, time, revision: the entry itself is
 * read from the coord catalog_name       full text by trigrams: rowid is a model's id catalog_meta
 * schema, revision
 */
#pragma once
#include <sqlite3.h>
#include "coord/coord.h"

#define LODE_PROJECTION_SCHEMA 1

/* Statements prepared on one connection, for applying changes. */
struct lode_applier;
int lode_applier_new(sqlite3 *db, struct lode_applier **out, struct lode_err *err) lode_must_use;
void lode_applier_free(struct lode_applier *self); /* NULL is safe */
sqlite3 *lode_applier_db(const struct lode_applier *self);

/* Makes the tables where they are missing or of another schema (then empty, revision 0). Inside a
 * write transaction. */
int lode_projection_make_tables(sqlite3 *db, struct lode_err *err) lode_must_use;
/* The revision applied; 0 when there are no tables of this schema. */
int lode_projection_read_revision(sqlite3 *db, uint64_t *out, struct lode_err *err) lode_must_use;
/* The same by a prepared statement; negative where there are no tables. */
int lode_applier_revision(struct lode_applier *self, uint64_t *out) lode_must_use;
int lode_applier_set_revision(struct lode_applier *self, uint64_t revision,
                              struct lode_err *err) lode_must_use;

/* Keys of other kinds are ignored. Inside a write transaction. */
int lode_applier_put(struct lode_applier *self, const struct lode_coord_kv *kv,
                     struct lode_err *err) lode_must_use;
int lode_applier_delete(struct lode_applier *self, const char *key,
                        struct lode_err *err) lode_must_use;
int lode_applier_events(struct lode_applier *self, const struct lode_coord_event *events, size_t n,
                        struct lode_err *err) lode_must_use;
