/* Changes applied to the projection's tables: see catalog/projection_schema.h.
 *
 * A record is applied whole: its row is replaced, its tags and metrics only when they differ from
 * what is there (a version is written three times on its way, but its facts seldom change).
 */
#include <string.h>
#include "base/digest.h"
#include "base/mem.h"
#include "catalog/projection_schema.h"
#include "catalog/records.h"
#include "coord/sqlite.h"

#define WHAT "cannot update the projection"
#define SLOT_BITS 6 /* versions created in one revision get ids of their own */

static const char tables[] =
    "DROP TABLE IF EXISTS catalog_meta;"
    "DROP TABLE IF EXISTS catalog_model;"
    "DROP TABLE IF EXISTS catalog_version;"
    "DROP TABLE IF EXISTS catalog_tag;"
    "DROP TABLE IF EXISTS catalog_metric;"
    "DROP TABLE IF EXISTS catalog_journal;"
    "DROP TABLE IF EXISTS catalog_name;"
    "CREATE TABLE catalog_meta(key TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;"
    "CREATE TABLE catalog_model(id INTEGER PRIMARY KEY, ns TEXT NOT NULL, name TEXT NOT NULL, "
    "record TEXT,"
    " modified INTEGER NOT NULL DEFAULT 0, latest TEXT);"
    "CREATE UNIQUE INDEX catalog_model_by_name ON catalog_model(ns, name);"
    "CREATE TABLE catalog_version(id INTEGER PRIMARY KEY, model INTEGER NOT NULL, name TEXT NOT "
    "NULL,"
    " version TEXT NOT NULL, seq INTEGER, created INTEGER NOT NULL, size INTEGER NOT NULL, format "
    "TEXT,"
    " parameters INTEGER NOT NULL, state TEXT NOT NULL, latest INTEGER NOT NULL DEFAULT 0, facts "
    "INTEGER NOT NULL,"
    " modified INTEGER NOT NULL, record TEXT NOT NULL);"
    "CREATE UNIQUE INDEX catalog_version_by_model ON catalog_version(model, version);"
    "CREATE INDEX catalog_version_by_model_seq ON catalog_version(model, seq);"
    "CREATE INDEX catalog_version_by_name ON catalog_version(name);"
    "CREATE INDEX catalog_version_by_version ON catalog_version(version);"
    "CREATE INDEX catalog_version_by_seq ON catalog_version(seq);"
    "CREATE INDEX catalog_version_by_created ON catalog_version(created);"
    "CREATE INDEX catalog_version_latest ON catalog_version(name) WHERE latest = 1;"
    "CREATE INDEX catalog_version_latest_of ON catalog_version(model) WHERE latest = 1;"
    "CREATE TABLE catalog_tag(version INTEGER, key TEXT, value TEXT, PRIMARY KEY(version, key)) "
    "WITHOUT ROWID;"
    "CREATE INDEX catalog_tag_by_value ON catalog_tag(key, value, version);"
    "CREATE TABLE catalog_metric(version INTEGER, key TEXT, value REAL, PRIMARY KEY(version, key)) "
    "WITHOUT ROWID;"
    "CREATE INDEX catalog_metric_by_value ON catalog_metric(key, value, version);"
    "CREATE TABLE catalog_journal(model INTEGER, number INTEGER, alias TEXT, change INTEGER, time "
    "INTEGER, revision INTEGER,"
    " PRIMARY KEY(model, number)) WITHOUT ROWID;"
    "CREATE INDEX catalog_journal_by_revision ON catalog_journal(revision, number);"
    "CREATE INDEX catalog_journal_by_alias ON catalog_journal(model, alias, number) WHERE alias IS "
    "NOT NULL;"
    "CREATE VIRTUAL TABLE catalog_name USING fts5(name, content = '', tokenize = 'trigram', detail "
    "= 'full');"
    "INSERT INTO catalog_meta VALUES ('schema', 1), ('revision', 0)";

enum {
    FIND_MODEL,
    ADD_MODEL,
    ADD_NAME,
    PUT_MODEL,
    CLEAR_LATEST,
    KEEP_LATEST,
    FIND_VERSION,
    TAKEN,
    ADD_VERSION,
    PUT_VERSION,
    DROP_VERSION,
    DROP_TAGS,
    DROP_METRICS,
    ADD_TAG,
    ADD_METRIC,
    ADD_JOURNAL,
    GET_REVISION,
    SET_REVISION,
    STATEMENTS
};

static const char *const texts[STATEMENTS] = {
    [FIND_MODEL] = "SELECT id, modified FROM catalog_model WHERE ns = ? AND name = ?",
    [ADD_MODEL] = "INSERT INTO catalog_model(ns, name) VALUES (?, ?)",
    [ADD_NAME] = "INSERT INTO catalog_name(rowid, name) VALUES (?, ?)",
    [PUT_MODEL] = "UPDATE catalog_model SET record = ?2, modified = ?3, latest = ?4 WHERE id = ?1",
    [CLEAR_LATEST] = "UPDATE catalog_version SET latest = 0 WHERE model = ?1 AND latest = 1 AND "
                     "version IS NOT ?2",
    [KEEP_LATEST] = "UPDATE catalog_version SET latest = 1 WHERE model = ?1 AND version = ?2 AND "
                    "latest = 0 AND ?2 ="
                    " (SELECT latest FROM catalog_model WHERE id = ?1)",
    [FIND_VERSION] =
        "SELECT id, modified, facts FROM catalog_version WHERE model = ? AND version = ?",
    [TAKEN] = "SELECT max(id) FROM catalog_version WHERE id >= ? AND id < ?",
    [ADD_VERSION] =
        "INSERT INTO catalog_version(id, model, name, version, seq, created, size, format, "
        "parameters, state,"
        " facts, modified, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    [PUT_VERSION] = "UPDATE catalog_version SET seq = ?5, created = ?6, size = ?7, format = ?8, "
                    "parameters = ?9, state = ?10,"
                    " facts = ?11, modified = ?12, record = ?13 WHERE id = ?1",
    [DROP_VERSION] = "DELETE FROM catalog_version WHERE id = ?",
    [DROP_TAGS] = "DELETE FROM catalog_tag WHERE version = ?",
    [DROP_METRICS] = "DELETE FROM catalog_metric WHERE version = ?",
    [ADD_TAG] = "INSERT INTO catalog_tag VALUES (?, ?, ?)",
    [ADD_METRIC] = "INSERT INTO catalog_metric VALUES (?, ?, ?)",
    [ADD_JOURNAL] = "INSERT OR IGNORE INTO catalog_journal VALUES (?, ?, ?, ?, ?, ?)",
    [GET_REVISION] = "SELECT value FROM catalog_meta WHERE key = 'revision' AND 1 = (SELECT value "
                     "FROM catalog_meta"
                     " WHERE key = 'schema')",
    [SET_REVISION] = "UPDATE catalog_meta SET value = ? WHERE key = 'revision' AND value < ?1",
};

struct lode_applier {
    sqlite3 *db;
    sqlite3_stmt *stmts[STATEMENTS];
};

/* ---- tables ---- */

static int exec(sqlite3 *db, const char *sql, struct lode_err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
                                                                : lode_sqlite_err(err, db, WHAT);
}

/* A value of catalog_meta; -1 when there is none. */
static int read_meta(sqlite3 *db, const char *key, int64_t *out, struct lode_err *err)
{
    sqlite3_stmt *s = NULL;
    *out = -1;
    int rc = sqlite3_prepare_v2(db, "SELECT value FROM catalog_meta WHERE key = ?", -1, &s, NULL);
    if (rc == SQLITE_ERROR)
        return 0; /* no such table */
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(s);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(s, 0);
    int r = rc == SQLITE_ROW || rc == SQLITE_DONE
                ? 0
                : lode_sqlite_err(err, db, "cannot read the projection");
    sqlite3_finalize(s);
    return r;
}

int lode_projection_read_revision(sqlite3 *db, uint64_t *out, struct lode_err *err)
{
    int64_t schema, revision = 0;
    int r = read_meta(db, "schema", &schema, err);
    if (r == 0 && schema == LODE_PROJECTION_SCHEMA)
        r = read_meta(db, "revision", &revision, err);
    if (r == 0)
        *out = revision > 0 ? (uint64_t)revision : 0;
    return r;
}

int lode_projection_make_tables(sqlite3 *db, struct lode_err *err)
{
    int64_t schema;
    int r = read_meta(db, "schema", &schema, err);
    return r < 0 || schema == LODE_PROJECTION_SCHEMA ? r : exec(db, tables, err);
}

/* ---- statements ---- */

int lode_applier_new(sqlite3 *db, struct lode_applier **out, struct lode_err *err)
{
    struct lode_applier *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "the projection");
    self->db = db;
    *out = self;
    return 0;
}

void lode_applier_free(struct lode_applier *self)
{
    if (!self)
        return;
    for (unsigned i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(self->stmts[i]);
    lode_free(self);
}

sqlite3 *lode_applier_db(const struct lode_applier *self)
{
    return self->db;
}

/* The statement, ready to be bound; NULL on failure. */
static sqlite3_stmt *ready(struct lode_applier *a, unsigned which)
{
    sqlite3_stmt **s = &a->stmts[which];
    if (!*s && sqlite3_prepare_v3(a->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL) !=
                   SQLITE_OK)
        return NULL;
    return *s;
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
    if (text)
        sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(s, at);
}

static int failed(struct lode_applier *a, struct lode_err *err)
{
    return lode_sqlite_err(err, a->db, WHAT);
}

/* Runs a statement that answers no row. */
static int run(struct lode_applier *a, sqlite3_stmt *s, struct lode_err *err)
{
    int rc = s ? sqlite3_step(s) : SQLITE_ERROR;
    int r = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : failed(a, err);
    if (s)
        sqlite3_reset(s);
    return r;
}

/* Up to three integers of the first row; *found tells if there is one. */
static int ask(struct lode_applier *a, sqlite3_stmt *s, int64_t *out, int n, bool *found,
               struct lode_err *err)
{
    int rc = s ? sqlite3_step(s) : SQLITE_ERROR;
    *found = rc == SQLITE_ROW;
    for (int i = 0; *found && i < n; i++)
        out[i] = sqlite3_column_int64(s, i);
    int r = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : failed(a, err);
    if (s)
        sqlite3_reset(s);
    return r;
}

int lode_applier_revision(struct lode_applier *a, uint64_t *out)
{
    int64_t value = 0;
    bool found;
    int r = ask(a, ready(a, GET_REVISION), &value, 1, &found, NULL);
    if (r < 0 || !found)
        return LODE_NOT_FOUND;
    *out = (uint64_t)value;
    return 0;
}

int lode_applier_set_revision(struct lode_applier *a, uint64_t revision, struct lode_err *err)
{
    sqlite3_stmt *s = ready(a, SET_REVISION);
    if (s)
        sqlite3_bind_int64(s, 1, (int64_t)revision);
    return run(a, s, err);
}

/* ---- models ---- */

static int add_model(struct lode_applier *a, const char *ns, const char *name, int64_t *id,
                     struct lode_err *err)
{
    sqlite3_stmt *s = ready(a, ADD_MODEL);
    if (s) {
        bind_text(s, 1, ns);
        bind_text(s, 2, name);
    }
    int r = run(a, s, err);
    if (r < 0)
        return r;
    *id = sqlite3_last_insert_rowid(a->db);
    s = ready(a, ADD_NAME);
    if (s) {
        sqlite3_bind_int64(s, 1, *id);
        bind_text(s, 2, name);
    }
    return run(a, s, err);
}

/* The model's id and the revision of its record; made if it is new. */
static int find_model(struct lode_applier *a, const char *ns, const char *name, int64_t out[2],
                      struct lode_err *err)
{
    bool found;
    sqlite3_stmt *s = ready(a, FIND_MODEL);
    if (s) {
        bind_text(s, 1, ns);
        bind_text(s, 2, name);
    }
    int r = ask(a, s, out, 2, &found, err);
    if (r < 0 || found)
        return r;
    out[1] = 0;
    return add_model(a, ns, name, &out[0], err);
}

static int mark_latest(struct lode_applier *a, unsigned which, int64_t model, const char *latest,
                       struct lode_err *err)
{
    sqlite3_stmt *s = ready(a, which);
    if (s) {
        sqlite3_bind_int64(s, 1, model);
        bind_text(s, 2, latest);
    }
    return run(a, s, err);
}

static int put_model(struct lode_applier *a, const struct lode_coord_kv *kv, struct lode_err *err)
{
    _cleanup_model_record_ struct lode_model_record m = {0};
    int64_t found[2];
    int r = lode_model_record_read(kv, &m, err);
    r = r < 0 ? r : find_model(a, m.info.ns, m.info.name, found, err);
    if (r < 0 || found[1] >= (int64_t)kv->modified)
        return r;
    sqlite3_stmt *s = ready(a, PUT_MODEL);
    if (s) {
        sqlite3_bind_int64(s, 1, found[0]);
        sqlite3_bind_text(s, 2, kv->value, (int)kv->len, SQLITE_STATIC);
        sqlite3_bind_int64(s, 3, (int64_t)kv->modified);
        bind_text(s, 4, m.info.latest);
    }
    r = run(a, s, err);
    r = r < 0 ? r : mark_latest(a, CLEAR_LATEST, found[0], m.info.latest, err);
    return r < 0 ? r : mark_latest(a, KEEP_LATEST, found[0], m.info.latest, err);
}

/* ---- versions ---- */

/* A number that changes when tags or metrics do. */
static int64_t facts_of(const struct lode_version *v)
{
    uint64_t sum = v->n_tags * 31 + v->n_metrics;
    for (size_t i = 0; i < v->n_tags; i++) {
        struct lode_xxh128 k = lode_xxh128_of(v->tags[i].key, strlen(v->tags[i].key) + 1);
        struct lode_xxh128 w = lode_xxh128_of(v->tags[i].value, strlen(v->tags[i].value) + 1);
        uint64_t x, y;
        memcpy(&x, k.b, sizeof x);
        memcpy(&y, w.b, sizeof y);
        sum = sum * 0x9e3779b97f4a7c15ull + x + 3 * y;
    }
    for (size_t i = 0; i < v->n_metrics; i++) {
        struct lode_xxh128 k = lode_xxh128_of(v->metrics[i].key, strlen(v->metrics[i].key) + 1);
        uint64_t x, y;
        memcpy(&x, k.b, sizeof x);
        memcpy(&y, &v->metrics[i].value, sizeof y);
        sum = sum * 0x9e3779b97f4a7c15ull + x + 5 * y;
    }
    return (int64_t)sum;
}

static int drop_facts(struct lode_applier *a, int64_t id, struct lode_err *err)
{
    int r = 0;
    for (unsigned which = DROP_TAGS; r == 0 && which <= DROP_METRICS; which++) {
        sqlite3_stmt *s = ready(a, which);
        if (s)
            sqlite3_bind_int64(s, 1, id);
        r = run(a, s, err);
    }
    return r;
}

static int add_facts(struct lode_applier *a, int64_t id, const struct lode_version *v,
                     struct lode_err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < v->n_tags; i++) {
        sqlite3_stmt *s = ready(a, ADD_TAG);
        if (s) {
            sqlite3_bind_int64(s, 1, id);
            bind_text(s, 2, v->tags[i].key);
            bind_text(s, 3, v->tags[i].value);
        }
        r = run(a, s, err);
    }
    for (size_t i = 0; r == 0 && i < v->n_metrics; i++) {
        sqlite3_stmt *s = ready(a, ADD_METRIC);
        if (s) {
            sqlite3_bind_int64(s, 1, id);
            bind_text(s, 2, v->metrics[i].key);
            sqlite3_bind_double(s, 3, v->metrics[i].value);
        }
        r = run(a, s, err);
    }
    return r;
}

/* An id that follows from the revision of its making. */
static int make_id(struct lode_applier *a, uint64_t created, int64_t *id, struct lode_err *err)
{
    int64_t first = (int64_t)(created << SLOT_BITS), last = first;
    bool found;
    sqlite3_stmt *s = ready(a, TAKEN);
    if (s) {
        sqlite3_bind_int64(s, 1, first);
        sqlite3_bind_int64(s, 2, first + (1 << SLOT_BITS));
    }
    int r = ask(a, s, &last, 1, &found, err);
    *id = last < first ? first : last + 1;
    return r;
}

static void bind_version(sqlite3_stmt *s, int64_t id, int64_t model, const struct lode_version *v,
                         const struct lode_coord_kv *kv, int64_t facts)
{
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_int64(s, 2, model);
    bind_text(s, 3, v->name);
    bind_text(s, 4, v->version);
    if (v->seq)
        sqlite3_bind_int64(s, 5, (int64_t)v->seq);
    else
        sqlite3_bind_null(s, 5);
    sqlite3_bind_int64(s, 6, v->created_ms);
    sqlite3_bind_int64(s, 7, (int64_t)v->size);
    bind_text(s, 8, v->format);
    sqlite3_bind_int64(s, 9, (int64_t)v->parameters);
    bind_text(s, 10, lode_state_name(v->state));
    sqlite3_bind_int64(s, 11, facts);
    sqlite3_bind_int64(s, 12, (int64_t)kv->modified);
    sqlite3_bind_text(s, 13, kv->value, (int)kv->len, SQLITE_STATIC);
}

struct row {
    int64_t id, modified, facts;
    bool found;
};

static int find_version(struct lode_applier *a, int64_t model, const char *version, struct row *out,
                        struct lode_err *err)
{
    int64_t values[3] = {0};
    sqlite3_stmt *s = ready(a, FIND_VERSION);
    if (s) {
        sqlite3_bind_int64(s, 1, model);
        bind_text(s, 2, version);
    }
    int r = ask(a, s, values, 3, &out->found, err);
    out->id = values[0];
    out->modified = values[1];
    out->facts = values[2];
    return r;
}

static int write_version(struct lode_applier *a, int64_t model, const struct lode_version *v,
                         const struct lode_coord_kv *kv, struct row *row, struct lode_err *err)
{
    int64_t facts = facts_of(v);
    int r = row->found ? 0 : make_id(a, kv->created, &row->id, err);
    if (r < 0)
        return r;
    sqlite3_stmt *s = ready(a, row->found ? PUT_VERSION : ADD_VERSION);
    if (s)
        bind_version(s, row->id, model, v, kv, facts);
    r = run(a, s, err);
    if (r < 0 || (row->found && row->facts == facts))
        return r;
    /* The model's record may have been applied before the version that it calls latest. */
    r = row->found ? drop_facts(a, row->id, err)
                   : mark_latest(a, KEEP_LATEST, model, v->version, err);
    return r < 0 ? r : add_facts(a, row->id, v, err);
}

static int put_version(struct lode_applier *a, const struct lode_coord_kv *kv, struct lode_err *err)
{
    _cleanup_version_record_ struct lode_version_record v = {0};
    struct row row = {0};
    int64_t model[2];
    int r = lode_version_record_read(kv, &v, err);
    r = r < 0 ? r : find_model(a, v.v.ns, v.v.name, model, err);
    r = r < 0 ? r : find_version(a, model[0], v.v.version, &row, err);
    if (r < 0 || (row.found && row.modified >= (int64_t)kv->modified))
        return r;
    return write_version(a, model[0], &v.v, kv, &row, err);
}

static int delete_version(struct lode_applier *a, const struct lode_key_parts *k,
                          struct lode_err *err)
{
    struct row row = {0};
    int64_t model[2];
    int r = find_model(a, k->part[0], k->part[1], model, err);
    r = r < 0 ? r : find_version(a, model[0], k->part[2], &row, err);
    if (r < 0 || !row.found)
        return r;
    r = drop_facts(a, row.id, err);
    sqlite3_stmt *s = ready(a, DROP_VERSION);
    if (s)
        sqlite3_bind_int64(s, 1, row.id);
    return r < 0 ? r : run(a, s, err);
}

/* ---- journal ---- */

static int put_journal(struct lode_applier *a, const struct lode_coord_kv *kv, struct lode_err *err)
{
    _cleanup_journal_entry_ struct lode_journal_entry e = {0};
    int64_t model[2];
    int r = lode_journal_record_read(kv, &e, err);
    r = r < 0 ? r : find_model(a, e.ns, e.name, model, err);
    if (r < 0)
        return r;
    sqlite3_stmt *s = ready(a, ADD_JOURNAL);
    if (s) {
        sqlite3_bind_int64(s, 1, model[0]);
        sqlite3_bind_int64(s, 2, (int64_t)e.number);
        bind_text(s, 3, e.alias);
        sqlite3_bind_int64(s, 4, (int)e.change);
        sqlite3_bind_int64(s, 5, e.when_ms);
        sqlite3_bind_int64(s, 6, (int64_t)kv->created);
    }
    return run(a, s, err);
}

/* ---- changes ---- */

static bool begins(const char *key, const char *kind)
{
    return strncmp(key, kind, strlen(kind)) == 0;
}

int lode_applier_put(struct lode_applier *a, const struct lode_coord_kv *kv, struct lode_err *err)
{
    if (begins(kv->key, LODE_KEY_VERSIONS))
        return put_version(a, kv, err);
    if (begins(kv->key, LODE_KEY_MODELS))
        return put_model(a, kv, err);
    return begins(kv->key, LODE_KEY_JOURNALS) ? put_journal(a, kv, err) : 0;
}

int lode_applier_delete(struct lode_applier *a, const char *key, struct lode_err *err)
{
    struct lode_key_parts parts;
    if (!begins(key, LODE_KEY_VERSIONS) || !lode_key_split(key, &parts) || parts.n != 3)
        return 0;
    return delete_version(a, &parts, err);
}

int lode_applier_events(struct lode_applier *a, const struct lode_coord_event *events, size_t n,
                        struct lode_err *err)
{
    int r = 0;
    uint64_t revision = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct lode_coord_event *e = &events[i];
        r = e->kind == LODE_COORD_EVENT_PUT ? lode_applier_put(a, &e->kv, err)
                                            : lode_applier_delete(a, e->kv.key, err);
        revision = e->revision;
    }
    return r < 0 || n == 0 ? r : lode_applier_set_revision(a, revision, err);
}
