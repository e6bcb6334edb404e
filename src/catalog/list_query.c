/* Lists on the projection: see catalog/list_query.h. */
#include "catalog/list_query.h"
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "coord/sqlite.h"

#define WHAT "cannot ask the projection"
#define STEPS_BETWEEN_LOOKS 4000 /* of SQLite's virtual machine, at the clock */

/* ---- the question ---- */

static void add_text(struct lode_buf *b, const char *text)
{
    lode_buf_adds(b, text ? text : "");
    lode_buf_addc(b, 0);
}

/* What a page token is bound to. */
static int digest_of(struct lode_list *l, const char *root, struct lode_err *err)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(4 * LODE_FILTER_MAX);
    const struct lode_query *q = l->q;
    lode_buf_addc(&b, (char)((l->models ? 1 : 0) + (q->deleted ? 2 : 0) + (q->ns ? 4 : 0) +
                             (q->name ? 8 : 0)));
    add_text(&b, root);
    add_text(&b, q->ns);
    add_text(&b, q->name);
    add_text(&b, q->filter);
    add_text(&b, q->sort);
    int r = lode_buf_check(&b, "a query", err);
    if (r < 0)
        return r;
    struct lode_xxh128 d = lode_xxh128_of(b.data, b.len);
    memcpy(&l->digest, d.b, sizeof l->digest);
    return 0;
}

static int parse_sort(struct lode_list *l, struct lode_err *err)
{
    if (l->q->sort)
        return lode_sort_parse(l->q->sort, &l->sort, err);
    bool within = l->q->name && !l->models;
    l->sort = (struct lode_sort){.field = {.kind = within ? LODE_FIELD_SEQ : LODE_FIELD_NAME},
                                 .descending = within};
    return 0;
}

static int check_scope(const struct lode_query *q, struct lode_err *err)
{
    if (!q->ns && q->name)
        return lode_err_set(err, LODE_INVALID, "a model is named together with its namespace");
    int r = q->ns && strcmp(q->ns, LODE_DEFAULT_NS) != 0
                ? lode_name_check(LODE_NAME_NAMESPACE, q->ns, strlen(q->ns), err)
                : 0;
    return r < 0 || !q->name ? r : lode_name_check(LODE_NAME_MODEL, q->name, strlen(q->name), err);
}

int lode_list_begin(struct lode_list *l, const struct lode_query *q, bool models, const char *root,
                    struct lode_err *err)
{
    *l = (struct lode_list){.q = q, .models = models};
    l->limit = q->limit ? lode_min(q->limit, (uint32_t)LODE_PAGE_MAX) : LODE_PAGE_DEFAULT;
    l->deadline = lode_mono_ms() + (q->deadline_ms > 0 ? q->deadline_ms : LODE_LIST_DEADLINE_MS);
    int r = check_scope(q, err);
    r = r < 0 || !q->filter ? r : lode_filter_parse(q->filter, &l->filter, err);
    r = r < 0 ? r : parse_sort(l, err);
    r = r < 0 ? r : digest_of(l, root, err);
    if (r == 0 && q->page) {
        r = lode_page_parse(q->page, l->digest, &l->mark, err);
        l->resumed = r == 0;
    }
    if (r < 0)
        lode_list_release(l);
    return r;
}

void lode_list_release(struct lode_list *l)
{
    lode_filter_free(l->filter);
    lode_page_mark_release(&l->mark);
    l->filter = NULL;
}

/* ---- running ---- */

static int past_deadline(void *arg)
{
    return lode_mono_ms() > ((const struct lode_list *)arg)->deadline;
}

static int tell_failure(const struct lode_list *l, sqlite3 *db, struct lode_err *err)
{
    if ((sqlite3_errcode(db) & 0xff) != SQLITE_INTERRUPT)
        return lode_sqlite_err(err, db, WHAT);
    return lode_err_set(err, LODE_TIMEOUT,
                        "the query took longer than its deadline, for no index fits it; cheaper "
                        "are: one model (ns and name), "
                        "name = '...', name LIKE 'start%%' or three characters or more, tags.x = "
                        "'...', metrics.x in a range "
                        "with --sort metrics.x, and sorting by name, seq or created");
}

/* The id of the model asked for. */
static int find_model(struct lode_list *l, sqlite3 *db, struct lode_err *err)
{
    _cleanup_sql_ struct lode_sql q = {0};
    sqlite3_stmt *s = NULL;
    if (!l->q->name)
        return 0;
    lode_sql_init(&q);
    lode_sql_add(&q, "SELECT id FROM catalog_model WHERE ns = ");
    lode_sql_text(&q, l->q->ns, strlen(l->q->ns));
    lode_sql_add(&q, " AND name = ");
    lode_sql_text(&q, l->q->name, strlen(l->q->name));
    int r = lode_sql_prepare(&q, db, &s, err);
    if (r < 0)
        return r;
    int rc = sqlite3_step(s);
    l->model = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
    sqlite3_finalize(s);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : lode_sqlite_err(err, db, WHAT);
}

/* ---- choosing what drives ---- */

#define CONDITIONS_MAX 64
struct conditions {
    const struct lode_filter_node *items[CONDITIONS_MAX];
    unsigned n;
};

/* The comparisons that every match must satisfy. */
static void collect(const struct lode_filter_node *n, struct conditions *c)
{
    while (n && n->op == LODE_FILTER_AND) {
        collect(n->b, c);
        n = n->a;
    }
    if (n && n->op >= LODE_FILTER_EQ && c->n < CONDITIONS_MAX)
        c->items[c->n++] = n;
}

static void add_copy(struct lode_sql *to, const struct lode_sql *from)
{
    const char *text = lode_buf_str(&from->text);
    for (size_t i = 0; i < from->n; i++) {
        const char *mark = strchr(text, '?');
        lode_buf_add(&to->text, text, (size_t)(mark - text));
        const struct lode_sql_param *p = &from->params[i];
        if (p->text)
            lode_sql_text(to, p->text, p->len);
        else if (p->integer)
            lode_sql_whole(to, p->whole);
        else
            lode_sql_number(to, p->number);
        text = mark + 1;
    }
    lode_sql_add(to, text);
    to->failed = to->failed ? to->failed : from->failed;
}

/* How many rows a driver finds, up to `most` + 1. */
static int count(struct lode_list *l, sqlite3 *db, const struct lode_sql *driver, int64_t most,
                 int64_t *out, struct lode_err *err)
{
    _cleanup_sql_ struct lode_sql q = {0};
    sqlite3_stmt *s = NULL;
    lode_sql_init(&q);
    lode_sql_add(&q, "SELECT count(*) FROM (");
    add_copy(&q, driver);
    lode_sql_add(&q, " LIMIT ");
    lode_sql_whole(&q, most + 1);
    lode_sql_add(&q, ")");
    int r = lode_sql_prepare(&q, db, &s, err);
    if (r < 0)
        return r;
    if (sqlite3_step(s) == SQLITE_ROW)
        *out = sqlite3_column_int64(s, 0);
    else
        r = tell_failure(l, db, err);
    sqlite3_finalize(s);
    return r;
}

/* A range of the sort field: walking in the sort's order begins and ends with it. */
static bool in_order(const struct lode_list *l, const struct lode_filter_node *n)
{
    const struct lode_field *f = &l->sort.field;
    if (n->field.kind != f->kind || strcmp(n->field.key, f->key) != 0 || n->op == LODE_FILTER_NE)
        return false;
    if (n->op == LODE_FILTER_LIKE)
        return strcspn(n->values[0].text, "%_\\") > 0;
    return n->op != LODE_FILTER_ILIKE;
}

/* The condition whose index finds the fewest candidates, if that is few enough; its SELECT in
 * *best. */
static int choose_driver(struct lode_list *l, sqlite3 *db, struct lode_sql *best, bool *driven,
                         struct lode_err *err)
{
    struct conditions c = {.n = 0};
    int64_t most = LODE_DRIVEN_MAX;
    *driven = false;
    if (l->model)
        return 0;
    collect(l->filter, &c);
    for (unsigned i = 0; i < c.n; i++) {
        struct lode_sql q;
        int64_t found = most + 1;
        if (in_order(l, c.items[i]))
            continue;
        lode_sql_init(&q);
        int r = lode_sql_driver(&q, c.items[i]) ? count(l, db, &q, most, &found, err) : 0;
        if (r == 0 && found <= most) {
            lode_sql_release(best);
            *best = q;
            *driven = true;
            most = found - 1;
            continue;
        }
        lode_sql_release(&q);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- the statement ---- */

struct shape {
    bool fact;         /* the sort is a tag or metric: joined as `s` */
    bool missing;      /* the rows without the sort field */
    const char *value; /* SQL of the sort's value */
    const struct lode_sql *driver;
};

/* The index whose order is the sort's. */
static const char *ordered_by(const struct lode_list *l)
{
    if (l->model)
        return l->sort.field.kind == LODE_FIELD_SEQ ? " INDEXED BY catalog_version_by_model_seq"
                                                    : "";
    if (l->models && l->sort.field.kind == LODE_FIELD_NAME)
        return " INDEXED BY catalog_version_latest";
    switch (l->sort.field.kind) {
    case LODE_FIELD_NAME:
        return " INDEXED BY catalog_version_by_name";
    case LODE_FIELD_VERSION:
        return " INDEXED BY catalog_version_by_version";
    case LODE_FIELD_SEQ:
        return " INDEXED BY catalog_version_by_seq";
    case LODE_FIELD_CREATED:
        return " INDEXED BY catalog_version_by_created";
    default:
        return "";
    }
}

static void add_tables(struct lode_list *l, const struct shape *sh, struct lode_sql *q)
{
    const char *facts = l->sort.field.kind == LODE_FIELD_TAG ? "catalog_tag" : "catalog_metric";
    lode_sql_add(q, " FROM ");
    if (sh->driver) {
        lode_sql_add(q, "(");
        add_copy(q, sh->driver);
        lode_sql_add(q, ") d CROSS JOIN catalog_version v ON v.id = d.id");
    }
    if (sh->fact && !sh->missing) {
        lode_sql_add(q, sh->driver ? " CROSS JOIN " : "");
        lode_sql_add(q, facts);
        lode_sql_add(q, sh->driver ? " s ON s.version = v.id" : " s INDEXED BY ");
        if (!sh->driver) {
            lode_sql_add(q, facts);
            lode_sql_add(q, "_by_value CROSS JOIN catalog_version v ON v.id = s.version");
        }
    } else if (!sh->driver) {
        lode_sql_add(q, "catalog_version v");
        lode_sql_add(q, sh->missing ? "" : ordered_by(l));
    }
    lode_sql_add(q, " CROSS JOIN catalog_model m ON m.id = v.model WHERE ");
}

static void add_scope(struct lode_list *l, struct lode_sql *q)
{
    lode_sql_add(q, l->models ? "v.latest = 1" : l->q->deleted ? "1" : "v.state = 'committed'");
    if (l->model) {
        lode_sql_add(q, " AND v.model = ");
        lode_sql_whole(q, l->model);
    } else if (l->q->ns) {
        lode_sql_add(q, " AND m.ns = ");
        lode_sql_text(q, l->q->ns, strlen(l->q->ns));
    }
}

/* Rows that have the sort field, or those that have not. */
static void add_presence(struct lode_list *l, const struct shape *sh, struct lode_sql *q)
{
    if (!sh->fact) {
        lode_sql_add(q, " AND ");
        lode_sql_add(q, sh->value);
        lode_sql_add(q, sh->missing ? " IS NULL" : " IS NOT NULL");
        return;
    }
    if (sh->missing) {
        lode_sql_add(q, " AND NOT EXISTS (SELECT 1 FROM ");
        lode_sql_add(q, l->sort.field.kind == LODE_FIELD_TAG ? "catalog_tag" : "catalog_metric");
        lode_sql_add(q, " x WHERE x.version = v.id AND x.key = ");
    } else {
        lode_sql_add(q, " AND s.key = ");
    }
    lode_sql_text(q, l->sort.field.key, strlen(l->sort.field.key));
    lode_sql_add(q, sh->missing ? ")" : "");
}

static const char *id_of(const struct shape *sh)
{
    return sh->fact && !sh->missing ? "s.version" : "v.id";
}

/* Behind the last entry of the page before. */
static void add_start(struct lode_list *l, const struct shape *sh, struct lode_sql *q)
{
    const struct lode_page_mark *m = &l->mark;
    if (!l->resumed || m->missing != sh->missing)
        return;
    int64_t id = LODE_PLANTED(catalog_page_repeats) ? m->id - (l->sort.descending ? -1 : 1) : m->id;
    lode_sql_add(q, sh->missing ? " AND " : " AND (");
    if (!sh->missing) {
        lode_sql_add(q, sh->value);
        lode_sql_add(q, ", ");
    }
    lode_sql_add(q, id_of(sh));
    lode_sql_add(q, sh->missing ? " > " : l->sort.descending ? ") < (" : ") > (");
    if (!sh->missing) {
        if (m->kind == LODE_MARK_TEXT)
            lode_sql_text(q, m->text, m->len);
        else if (m->kind == LODE_MARK_NUMBER)
            lode_sql_number(q, m->number);
        else
            lode_sql_whole(q, m->whole);
        lode_sql_add(q, ", ");
    }
    lode_sql_whole(q, id);
    lode_sql_add(q, sh->missing ? "" : ")");
}

static void add_order(struct lode_list *l, const struct shape *sh, struct lode_sql *q)
{
    const char *way = l->sort.descending && !sh->missing ? " DESC" : "";
    lode_sql_add(q, " ORDER BY ");
    if (!sh->missing) {
        lode_sql_add(q, sh->value);
        lode_sql_add(q, way);
        lode_sql_add(q, ", ");
    }
    lode_sql_add(q, id_of(sh));
    lode_sql_add(q, way);
}

static void build(struct lode_list *l, const struct shape *sh, uint32_t limit, struct lode_sql *q)
{
    lode_sql_add(q, "SELECT v.id, ");
    lode_sql_add(q, sh->missing ? "NULL" : sh->value);
    lode_sql_add(q, ", v.record, v.modified, v.version, m.ns, m.name, m.record, m.modified");
    add_tables(l, sh, q);
    add_scope(l, q);
    add_presence(l, sh, q);
    if (l->filter) {
        lode_sql_add(q, " AND ");
        lode_sql_where(q, l->filter, sh->fact && !sh->missing ? &l->sort.field : NULL);
    }
    add_start(l, sh, q);
    add_order(l, sh, q);
    lode_sql_add(q, " LIMIT ");
    lode_sql_whole(q, (int64_t)limit + 1);
}

/* ---- pages ---- */

static int remember(struct lode_list *l, sqlite3_stmt *s, bool missing, struct lode_err *err)
{
    struct lode_page_mark m = {
        .query = l->digest, .id = sqlite3_column_int64(s, LODE_ROW_ID), .missing = missing};
    switch (sqlite3_column_type(s, LODE_ROW_VALUE)) {
    case SQLITE_TEXT:
        m.kind = LODE_MARK_TEXT;
        m.len = (size_t)sqlite3_column_bytes(s, LODE_ROW_VALUE);
        m.text = lode_strndup((const char *)sqlite3_column_text(s, LODE_ROW_VALUE), m.len);
        if (!m.text)
            return lode_err_nomem(err, "a page token");
        break;
    case SQLITE_FLOAT:
        m.kind = LODE_MARK_NUMBER;
        m.number = sqlite3_column_double(s, LODE_ROW_VALUE);
        break;
    default:
        m.kind = LODE_MARK_WHOLE;
        m.whole = sqlite3_column_int64(s, LODE_ROW_VALUE);
    }
    lode_page_mark_release(&l->mark);
    l->mark = m;
    return 0;
}

struct progress {
    lode_list_row *row;
    void *arg;
    uint32_t told;
    bool more;
};

/* One part of the list: the rows with the sort field, or those without. */
static int run_part(struct lode_list *l, sqlite3 *db, const struct lode_sql *driver, bool missing,
                    struct progress *p, struct lode_err *err)
{
    _cleanup_sql_ struct lode_sql q = {0};
    sqlite3_stmt *s = NULL;
    struct shape sh = {
        .fact = l->sort.field.kind >= LODE_FIELD_TAG, .missing = missing, .driver = driver};
    sh.value = sh.fact ? "s.value" : lode_sql_column(l->sort.field.kind);
    lode_sql_init(&q);
    build(l, &sh, l->limit - p->told, &q);
    int r = lode_sql_prepare(&q, db, &s, err);
    while (r == 0) {
        int rc = sqlite3_step(s);
        if (rc == SQLITE_DONE)
            break;
        if (rc != SQLITE_ROW)
            r = tell_failure(l, db, err);
        else if (p->told == l->limit) {
            p->more = true;
            break;
        } else {
            r = p->row(p->arg, s, err);
            r = r < 0 ? r : remember(l, s, missing, err);
            p->told++;
        }
    }
    sqlite3_finalize(s);
    return r;
}

/* Can an entry without the sort field be in the list at all? */
static bool may_miss(const struct lode_list *l)
{
    struct conditions c = {.n = 0};
    enum lode_field_kind kind = l->sort.field.kind;
    if (kind < LODE_FIELD_TAG)
        return l->q->deleted && !l->models && (kind == LODE_FIELD_SEQ || kind == LODE_FIELD_FORMAT);
    collect(l->filter, &c);
    for (unsigned i = 0; i < c.n; i++) {
        if (c.items[i]->field.kind == kind && strcmp(c.items[i]->field.key, l->sort.field.key) == 0)
            return false;
    }
    return true;
}

static int run_parts(struct lode_list *l, sqlite3 *db, struct progress *p, struct lode_err *err)
{
    _cleanup_sql_ struct lode_sql driver = {0};
    bool driven, started_missing = l->resumed && l->mark.missing;
    lode_sql_init(&driver);
    int r = choose_driver(l, db, &driver, &driven, err);
    const struct lode_sql *by = driven ? &driver : NULL;
    if (r == 0 && !started_missing)
        r = run_part(l, db, by, false, p, err);
    if (r == 0 && !p->more && may_miss(l)) {
        l->resumed = started_missing;
        r = run_part(l, db, by, true, p, err);
    }
    return r;
}

int lode_list_run(struct lode_list *l, sqlite3 *db, lode_list_row *row, void *arg, char **next,
                  struct lode_err *err)
{
    struct progress p = {row, arg, 0, false};
    sqlite3_progress_handler(db, STEPS_BETWEEN_LOOKS, past_deadline, l);
    int r = find_model(l, db, err);
    if (r == 0 && l->model >= 0)
        r = run_parts(l, db, &p, err);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    *next = NULL;
    if (r == 0 && p.more) {
        *next = lode_page_token(&l->mark);
        r = *next ? 0 : lode_err_nomem(err, "a page token");
    }
    return r;
}
