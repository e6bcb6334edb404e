/* Lists of versions and models, and the journal, on the projection. */
#include <string.h>
#include "base/digest.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "catalog/direct.h"
#include "catalog/list_query.h"
#include "catalog/projection.h"
#include "coord/sqlite.h"

/* ---- versions and models ---- */

struct collector {
    struct lode_direct *d;
    uint64_t revision;
    struct lode_versions versions;
    struct lode_models models;
    struct lode_model_record
        model; /* the last one read: rows of one model often follow each other */
};

static int grow(void **items, size_t n, size_t size, struct lode_err *err)
{
    if (n % 64)
        return 0;
    void *grown = lode_realloc_array(*items, n + 64, size);
    if (!grown)
        return lode_err_nomem(err, "a page");
    *items = grown;
    return 0;
}

/* A record as the coord would hand it out. */
static struct lode_coord_kv kv_of(sqlite3_stmt *s, int record, int modified, char *key)
{
    return (struct lode_coord_kv){.key = key,
                                  .value = (void *)(uintptr_t)sqlite3_column_text(s, record),
                                  .len = (size_t)sqlite3_column_bytes(s, record),
                                  .modified = (uint64_t)sqlite3_column_int64(s, modified)};
}

static int read_model(struct collector *c, sqlite3_stmt *s, struct lode_err *err)
{
    const char *ns = (const char *)sqlite3_column_text(s, LODE_ROW_NS);
    const char *name = (const char *)sqlite3_column_text(s, LODE_ROW_NAME);
    if (c->model.info.name && strcmp(c->model.info.name, name) == 0 &&
        strcmp(c->model.info.ns, ns) == 0)
        return 0;
    lode_model_record_release(&c->model);
    _cleanup_free_ char *key = lode_key_model(ns, name);
    if (!key)
        return lode_err_nomem(err, "a page");
    struct lode_coord_kv kv = kv_of(s, LODE_ROW_MODEL, LODE_ROW_MODEL_MODIFIED, key);
    if (!kv.value)
        return lode_err_set(err, LODE_CORRUPT, "the projection knows no record of %s",
                            lode_model_q(ns, name));
    return lode_model_record_read(&kv, &c->model, err);
}

static int version_row(void *arg, sqlite3_stmt *s, struct lode_err *err)
{
    struct collector *c = arg;
    _cleanup_version_record_ struct lode_version_record v = {0};
    int r = read_model(c, s, err);
    r = r < 0 ? r
              : grow((void **)&c->versions.items, c->versions.n, sizeof *c->versions.items, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *key =
        lode_key_version(c->model.info.ns, c->model.info.name,
                         (const char *)sqlite3_column_text(s, LODE_ROW_VERSION));
    if (!key)
        return lode_err_nomem(err, "a page");
    struct lode_coord_kv kv = kv_of(s, LODE_ROW_RECORD, LODE_ROW_MODIFIED, key);
    struct lode_version *out = &c->versions.items[c->versions.n];
    r = lode_version_record_read(&kv, &v, err);
    r = r < 0 ? r : lode_direct_adorn(&v, &c->model, err);
    if (r < 0)
        return r;
    *out = v.v;
    out->revision = c->revision;
    memset(&v, 0, sizeof v);
    c->versions.n++;
    return 0;
}

static int model_row(void *arg, sqlite3_stmt *s, struct lode_err *err)
{
    struct collector *c = arg;
    int r = read_model(c, s, err);
    r = r < 0 ? r : grow((void **)&c->models.items, c->models.n, sizeof *c->models.items, err);
    if (r < 0)
        return r;
    struct lode_model_info *out = &c->models.items[c->models.n++];
    *out = c->model.info;
    out->revision = c->revision;
    memset(&c->model, 0, sizeof c->model);
    return 0;
}

static int run_list(struct collector *c, const struct lode_query *q, bool models, char **next,
                    struct lode_err *err)
{
    struct lode_list l;
    sqlite3 *db;
    int r = lode_list_begin(&l, q, models, c->d->root.id, err);
    if (r < 0)
        return r;
    r = lode_projection_begin(c->d->projection, &db, &c->revision, err);
    if (r == 0) {
        r = lode_list_run(&l, db, models ? model_row : version_row, c, next, err);
        lode_projection_done(c->d->projection, db);
    }
    lode_list_release(&l);
    lode_model_record_release(&c->model);
    if (r == 0)
        lode_direct_saw(c->d, c->revision);
    return r;
}

int lode_direct_versions(struct lode_catalog *catalog, const struct lode_query *q,
                         struct lode_versions *out, struct lode_err *err)
{
    struct collector c = {.d = (struct lode_direct *)(void *)catalog};
    int r = run_list(&c, q, false, &c.versions.next, err);
    if (r < 0) {
        lode_versions_release(&c.versions);
        return r;
    }
    c.versions.revision = c.revision;
    *out = c.versions;
    return 0;
}

int lode_direct_models(struct lode_catalog *catalog, const struct lode_query *q,
                       struct lode_models *out, struct lode_err *err)
{
    struct collector c = {.d = (struct lode_direct *)(void *)catalog};
    int r = run_list(&c, q, true, &c.models.next, err);
    if (r < 0) {
        lode_models_release(&c.models);
        return r;
    }
    c.models.revision = c.revision;
    *out = c.models;
    return 0;
}

/* ---- the journal ---- */

struct journal_search {
    struct lode_direct *d;
    const struct lode_journal_query *q;
    struct lode_page_mark mark; /* id: number; whole: revision, of the last entry told */
    bool resumed;
    uint64_t digest;
    uint32_t limit;
};

static int begin_journal(struct journal_search *j, struct lode_err *err)
{
    const struct lode_journal_query *q = j->q;
    if (!q->ns != !q->name)
        return lode_err_set(err, LODE_INVALID, "a model is named together with its namespace");
    int r = q->ns ? lode_direct_check_names(q->ns, q->name, NULL, err) : 0;
    r = r < 0 || !q->alias ? r : lode_name_check(LODE_NAME_ALIAS, q->alias, strlen(q->alias), err);
    if (r < 0)
        return r;
    _cleanup_free_ char *text =
        lode_asprintf("journal %s %s/%s @%s %d", j->d->root.id, q->ns ? q->ns : "",
                      q->name ? q->name : "", q->alias ? q->alias : "", q->oldest_first);
    if (!text)
        return lode_err_nomem(err, "a query");
    struct lode_xxh128 d = lode_xxh128_of(text, strlen(text));
    memcpy(&j->digest, d.b, sizeof j->digest);
    j->limit = q->limit ? lode_min(q->limit, (uint32_t)LODE_PAGE_MAX) : LODE_PAGE_DEFAULT;
    r = q->page ? lode_page_parse(q->page, j->digest, &j->mark, err) : 0;
    j->resumed = r == 0 && q->page;
    return r;
}

/* Entries of one model in the order of their numbers; of all in that of the revisions, each of
 * which is one model's. */
static void build_journal(const struct journal_search *j, struct lode_sql *q)
{
    const struct lode_journal_query *query = j->q;
    const char *order = query->oldest_first ? " > " : " < ";
    lode_sql_add(q, "SELECT m.ns, m.name, j.number, j.revision FROM ");
    lode_sql_add(
        q,
        query->ns
            ? "catalog_model m CROSS JOIN catalog_journal j ON j.model = m.id WHERE m.ns = "
            : "catalog_journal j INDEXED BY catalog_journal_by_revision CROSS JOIN catalog_model m "
              "ON m.id = j.model WHERE 1");
    if (query->ns) {
        lode_sql_text(q, query->ns, strlen(query->ns));
        lode_sql_add(q, " AND m.name = ");
        lode_sql_text(q, query->name, strlen(query->name));
    }
    if (query->alias) {
        lode_sql_add(q, " AND j.alias = ");
        lode_sql_text(q, query->alias, strlen(query->alias));
    }
    if (j->resumed) {
        lode_sql_add(q, query->ns ? " AND j.number" : " AND (j.revision, j.number)");
        lode_sql_add(q, order);
        if (!query->ns) {
            lode_sql_add(q, "(");
            lode_sql_whole(q, j->mark.whole);
            lode_sql_add(q, ", ");
        }
        lode_sql_whole(q, j->mark.id);
        lode_sql_add(q, query->ns ? "" : ")");
    }
    bool down = !query->oldest_first;
    if (query->ns)
        lode_sql_add(q, down ? " ORDER BY j.number DESC" : " ORDER BY j.number");
    else
        lode_sql_add(q, down ? " ORDER BY j.revision DESC, j.number DESC"
                             : " ORDER BY j.revision, j.number");
    lode_sql_add(q, " LIMIT ");
    lode_sql_whole(q, (int64_t)j->limit + 1);
}

/* The entry itself is in the coord, for ever. */
static int read_entry(struct journal_search *j, sqlite3_stmt *s, struct lode_journal *p,
                      struct lode_err *err)
{
    _cleanup_free_ char *key = lode_key_journal((const char *)sqlite3_column_text(s, 0),
                                                (const char *)sqlite3_column_text(s, 1),
                                                (uint64_t)sqlite3_column_int64(s, 2));
    _cleanup_kv_ struct lode_coord_kv kv = {0};
    if (!key)
        return lode_err_nomem(err, "a page");
    int r = grow((void **)&p->items, p->n, sizeof *p->items, err);
    r = r < 0 ? r : lode_coord_get(j->d->coord, key, &kv, err);
    if (r == LODE_NOT_FOUND)
        return lode_err_set(err, LODE_CORRUPT, "the journal entry '%s' is gone", key);
    r = r < 0 ? r : lode_journal_record_read(&kv, &p->items[p->n], err);
    p->n += r == 0;
    return r;
}

static int remember_entry(struct journal_search *j, sqlite3_stmt *s)
{
    lode_page_mark_release(&j->mark);
    j->mark = (struct lode_page_mark){.query = j->digest,
                                      .id = sqlite3_column_int64(s, 2),
                                      .kind = LODE_MARK_WHOLE,
                                      .whole = sqlite3_column_int64(s, 3)};
    return 0;
}

static int run_journal(struct journal_search *j, sqlite3 *db, struct lode_journal *p,
                       struct lode_err *err)
{
    _cleanup_sql_ struct lode_sql q = {0};
    sqlite3_stmt *s = NULL;
    bool more = false;
    lode_sql_init(&q);
    build_journal(j, &q);
    int r = lode_sql_prepare(&q, db, &s, err);
    while (r == 0 && !more) {
        int rc = sqlite3_step(s);
        if (rc == SQLITE_DONE)
            break;
        if (rc != SQLITE_ROW)
            r = lode_sqlite_err(err, db, "cannot ask the projection");
        else if (p->n == j->limit)
            more = true;
        else
            r = read_entry(j, s, p, err);
        if (r == 0 && !more)
            r = remember_entry(j, s);
    }
    sqlite3_finalize(s);
    if (r == 0 && more)
        p->next = lode_page_token(&j->mark);
    return r == 0 && more && !p->next ? lode_err_nomem(err, "a page token") : r;
}

int lode_direct_journal(struct lode_catalog *catalog, const struct lode_journal_query *query,
                        struct lode_journal *out, struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    struct journal_search j = {.d = self, .q = query};
    struct lode_journal p = {0};
    sqlite3 *db;
    int r = begin_journal(&j, err);
    r = r < 0 ? r : lode_projection_begin(self->projection, &db, &p.revision, err);
    if (r == 0) {
        r = run_journal(&j, db, &p, err);
        lode_projection_done(self->projection, db);
        lode_direct_saw(self, p.revision);
    }
    lode_page_mark_release(&j.mark);
    if (r < 0) {
        lode_journal_release(&p);
        return r;
    }
    *out = p;
    return 0;
}

/* ---- an alias at a moment ---- */

/* Number and kind of the last entry of an alias up to a moment. */
static int last_move(sqlite3 *db, const char *ns, const char *name, const char *alias,
                     int64_t when_ms, uint64_t *number, bool *set, struct lode_err *err)
{
    _cleanup_sql_ struct lode_sql q = {0};
    sqlite3_stmt *s = NULL;
    lode_sql_init(&q);
    lode_sql_add(
        &q,
        "SELECT j.number, j.change FROM catalog_model m CROSS JOIN catalog_journal j INDEXED BY "
        "catalog_journal_by_alias ON j.model = m.id WHERE m.ns = ");
    lode_sql_text(&q, ns, strlen(ns));
    lode_sql_add(&q, " AND m.name = ");
    lode_sql_text(&q, name, strlen(name));
    lode_sql_add(&q, " AND j.alias = ");
    lode_sql_text(&q, alias, strlen(alias));
    lode_sql_add(&q, " AND j.time <= ");
    lode_sql_whole(&q, when_ms);
    lode_sql_add(&q, " ORDER BY j.number DESC LIMIT 1");
    int r = lode_sql_prepare(&q, db, &s, err);
    if (r < 0)
        return r;
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        *number = (uint64_t)sqlite3_column_int64(s, 0);
        *set = sqlite3_column_int(s, 1) == LODE_CHANGE_ALIAS_SET;
    }
    sqlite3_finalize(s);
    return rc == SQLITE_ROW || rc == SQLITE_DONE
               ? 0
               : lode_sqlite_err(err, db, "cannot ask the projection");
}

int lode_direct_alias_at(struct lode_catalog *catalog, const char *ns, const char *name,
                         const char *alias, int64_t when_ms, struct lode_journal_entry *out,
                         struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    _cleanup_kv_ struct lode_coord_kv kv = {0};
    uint64_t revision, number = 0;
    bool set = false;
    sqlite3 *db;
    int r = lode_direct_check_names(ns, name, NULL, err);
    r = r < 0 ? r : lode_name_check(LODE_NAME_ALIAS, alias, strlen(alias), err);
    r = r < 0 ? r : lode_projection_begin(self->projection, &db, &revision, err);
    if (r < 0)
        return r;
    r = last_move(db, ns, name, alias, when_ms, &number, &set, err);
    lode_projection_done(self->projection, db);
    if (r < 0)
        return r;
    if (!set)
        return lode_err_set(err, LODE_NOT_FOUND, "%s had no alias %s at that time",
                            lode_model_q(ns, name), lode_q(alias));
    _cleanup_free_ char *key = lode_key_journal(ns, name, number);
    r = key ? lode_coord_get(self->coord, key, &kv, err) : lode_err_nomem(err, "a key");
    return r < 0 ? r : lode_journal_record_read(&kv, out, err);
}
