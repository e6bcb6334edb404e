/* Filters as SQL: see catalog/filter_sql.h. */
#include "catalog/filter_sql.h"
#include <string.h>
#include "base/mem.h"
#include "base/plant.h"
#include "coord/sqlite.h"

#define SQL_MAX (1u << 20) /* bytes of a statement */
#define TRIGRAM 3          /* characters that the trigram index needs */

/* ---- statements ---- */

void lode_sql_init(struct lode_sql *q)
{
    *q = (struct lode_sql){.text = LODE_BUF_INIT(SQL_MAX)};
}

void lode_sql_release(struct lode_sql *q)
{
    for (size_t i = 0; i < q->n; i++)
        lode_free(q->params[i].text);
    lode_free(q->params);
    lode_buf_release(&q->text);
    memset(q, 0, sizeof *q);
}

void lode_sql_add(struct lode_sql *q, const char *text)
{
    lode_buf_adds(&q->text, text);
}

static void add_param(struct lode_sql *q, struct lode_sql_param p)
{
    lode_sql_add(q, "?");
    if (lode_grow((void **)&q->params, &q->cap, q->n + 1, sizeof *q->params) < 0) {
        lode_free(p.text);
        q->failed = LODE_NO_MEMORY;
        return;
    }
    q->params[q->n++] = p;
}

void lode_sql_text(struct lode_sql *q, const char *text, size_t len)
{
    char *copy = lode_strndup(text, len);
    if (!copy)
        q->failed = LODE_NO_MEMORY;
    else
        add_param(q, (struct lode_sql_param){.text = copy, .len = len});
}

void lode_sql_number(struct lode_sql *q, double number)
{
    add_param(q, (struct lode_sql_param){.number = number});
}

void lode_sql_whole(struct lode_sql *q, int64_t number)
{
    add_param(q, (struct lode_sql_param){.integer = true, .whole = number});
}

static int bind(sqlite3_stmt *s, int at, const struct lode_sql_param *p)
{
    if (p->text)
        return sqlite3_bind_text(s, at, p->text, (int)p->len, SQLITE_TRANSIENT);
    return p->integer ? sqlite3_bind_int64(s, at, p->whole) : sqlite3_bind_double(s, at, p->number);
}

int lode_sql_prepare(const struct lode_sql *q, sqlite3 *db, sqlite3_stmt **out,
                     struct lode_err *err)
{
    sqlite3_stmt *s = NULL;
    int r = q->failed ? lode_err_nomem(err, "a query") : lode_buf_check(&q->text, "a query", err);
    if (r < 0)
        return r;
    int rc = sqlite3_prepare_v2(db, lode_buf_str(&q->text), (int)q->text.len + 1, &s, NULL);
    for (size_t i = 0; rc == SQLITE_OK && i < q->n; i++)
        rc = bind(s, (int)i + 1, &q->params[i]);
    if (rc != SQLITE_OK) {
        r = lode_sqlite_err(err, db, "cannot ask the projection");
        sqlite3_finalize(s);
        return r;
    }
    *out = s;
    return 0;
}

/* ---- LIKE ---- */

static void sql_like(sqlite3_context *c, int n, sqlite3_value **v)
{
    const char *pattern = (const char *)sqlite3_value_text(v[0]),
               *text = (const char *)sqlite3_value_text(v[1]);
    if (!pattern || !text)
        return;
    sqlite3_result_int(c,
                       lode_like(pattern, (size_t)sqlite3_value_bytes(v[0]), text,
                                 (size_t)sqlite3_value_bytes(v[1]), sqlite3_value_int(v[2]) != 0));
}

int lode_sql_register(sqlite3 *db, struct lode_err *err)
{
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    if (sqlite3_create_function_v2(db, "lode_like", 3, flags, NULL, sql_like, NULL, NULL, NULL) ==
        SQLITE_OK)
        return 0;
    return lode_sqlite_err(err, db, "cannot set up the projection");
}

/* The literal text that every match of a pattern begins with. */
static size_t literal_prefix(const struct lode_filter_value *w)
{
    return strcspn(w->text, "%_\\");
}

static size_t characters(const char *at, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)at[i] & 0xc0) != 0x80;
    return n;
}

/* The longest literal run inside a pattern (runs end at %, _ and \). */
static const char *longest_run(const struct lode_filter_value *w, size_t *len)
{
    const char *best = w->text;
    *len = 0;
    for (const char *at = w->text; *at;) {
        size_t n = strcspn(at, "%_\\");
        if (n > *len) {
            best = at;
            *len = n;
        }
        at += n;
        at += *at == '\\' && at[1] ? 2 : *at ? 1 : 0;
    }
    return best;
}

/* ---- comparisons ---- */

static const char *const columns[] = {"v.name", "v.version", "v.format", "v.state",
                                      "v.seq",  "v.created", "v.size",   "v.parameters"};
static const char *const signs[] = {" = ", " <> ", " < ", " <= ", " > ", " >= "};

const char *lode_sql_column(enum lode_field_kind kind)
{
    return kind < LODE_FIELD_TAG ? columns[kind] : NULL;
}

static void add_value(struct lode_sql *q, const struct lode_filter_value *w)
{
    if (w->text)
        lode_sql_text(q, w->text, w->len);
    else
        lode_sql_number(q, w->number);
}

/* column >= prefix AND column < the text behind all that begin with it. Its last byte is below 0xff
 * in valid UTF-8. */
static void add_prefix(struct lode_sql *q, const char *column, const char *prefix, size_t len)
{
    char bound[LODE_FILTER_MAX + 1];
    memcpy(bound, prefix, len);
    bound[len - 1] = (char)(bound[len - 1] + 1);
    lode_sql_add(q, column);
    lode_sql_add(q, " >= ");
    lode_sql_text(q, prefix, len);
    lode_sql_add(q, " AND ");
    lode_sql_add(q, column);
    lode_sql_add(q, " < ");
    lode_sql_text(q, bound, len);
}

static void add_like(struct lode_sql *q, const char *column, const struct lode_filter_node *n)
{
    const struct lode_filter_value *w = &n->values[0];
    size_t prefix = n->op == LODE_FILTER_LIKE ? literal_prefix(w) : 0;
    if (prefix) {
        add_prefix(q, column, w->text, prefix);
        lode_sql_add(q, " AND ");
    }
    lode_sql_add(q, "lode_like(");
    lode_sql_text(q, w->text, w->len);
    lode_sql_add(q, ", ");
    lode_sql_add(q, column);
    lode_sql_add(q, n->op == LODE_FILTER_ILIKE ? ", 1)" : ", 0)");
}

static void add_in(struct lode_sql *q, const char *column, const struct lode_filter_node *n)
{
    lode_sql_add(q, column);
    for (size_t i = 0; i < n->n_values; i++) {
        lode_sql_add(q, i ? ", " : " IN (");
        add_value(q, &n->values[i]);
    }
    lode_sql_add(q, ")");
}

static void add_comparison(struct lode_sql *q, const char *column, const struct lode_filter_node *n)
{
    lode_sql_add(q, "(");
    if (n->op == LODE_FILTER_IN) {
        add_in(q, column, n);
    } else if (n->op >= LODE_FILTER_LIKE) {
        add_like(q, column, n);
    } else {
        lode_sql_add(q, column);
        lode_sql_add(q, signs[n->op - LODE_FILTER_EQ]);
        add_value(q, &n->values[0]);
    }
    lode_sql_add(q, ")");
}

static bool same_field(const struct lode_field *a, const struct lode_field *b)
{
    return a && a->kind == b->kind && strcmp(a->key, b->key) == 0;
}

/* A tag or metric lives in a row of its own. */
static void add_fact(struct lode_sql *q, const struct lode_filter_node *n)
{
    bool tag = n->field.kind == LODE_FIELD_TAG;
    lode_sql_add(
        q, tag ? "EXISTS (SELECT 1 FROM catalog_tag t WHERE t.version = v.id AND t.key = "
               : "EXISTS (SELECT 1 FROM catalog_metric t WHERE t.version = v.id AND t.key = ");
    lode_sql_text(q, n->field.key, strlen(n->field.key));
    lode_sql_add(q, " AND ");
    add_comparison(q, "t.value", n);
    lode_sql_add(q, ")");
}

void lode_sql_where(struct lode_sql *q, const struct lode_filter_node *n,
                    const struct lode_field *joined)
{
    switch (n->op) {
    case LODE_FILTER_AND:
    case LODE_FILTER_OR:
        lode_sql_add(q, "(");
        lode_sql_where(q, n->a, joined);
        lode_sql_add(q, n->op == LODE_FILTER_AND ? " AND " : " OR ");
        lode_sql_where(q, n->b, joined);
        lode_sql_add(q, ")");
        return;
    case LODE_FILTER_NOT:
        lode_sql_add(q, LODE_PLANTED(catalog_not_of_missing) ? "(NOT " : "(");
        lode_sql_where(q, n->a, joined);
        lode_sql_add(q, LODE_PLANTED(catalog_not_of_missing) ? ")" : " IS NOT TRUE)");
        return;
    default:
        if (same_field(joined, &n->field))
            add_comparison(q, "s.value", n);
        else if (n->field.kind < LODE_FIELD_TAG)
            add_comparison(q, columns[n->field.kind], n);
        else
            add_fact(q, n);
    }
}

/* ---- drivers ---- */

static bool drive_fact(struct lode_sql *q, const struct lode_filter_node *n)
{
    if (n->op == LODE_FILTER_NE || n->op >= LODE_FILTER_LIKE)
        return false;
    lode_sql_add(q, n->field.kind == LODE_FIELD_TAG
                        ? "SELECT t.version AS id FROM catalog_tag t WHERE t.key = "
                        : "SELECT t.version AS id FROM catalog_metric t WHERE t.key = ");
    lode_sql_text(q, n->field.key, strlen(n->field.key));
    lode_sql_add(q, " AND ");
    add_comparison(q, "t.value", n);
    return true;
}

/* All models whose name holds the run, by trigrams (which fold case), and their versions. */
static bool drive_run(struct lode_sql *q, const struct lode_filter_node *n)
{
    size_t len;
    const char *run = longest_run(&n->values[0], &len);
    if (n->field.kind != LODE_FIELD_NAME || characters(run, len) < TRIGRAM)
        return false;
    _cleanup_buf_ struct lode_buf match = LODE_BUF_INIT(2 * LODE_FILTER_MAX + 3);
    lode_buf_addc(&match, '"');
    for (size_t i = 0; i < len; i++) {
        lode_buf_addc(&match, run[i]);
        if (run[i] == '"')
            lode_buf_addc(&match, '"');
    }
    lode_buf_addc(&match, '"');
    lode_sql_add(
        q,
        "SELECT v.id AS id FROM catalog_name f CROSS JOIN catalog_version v ON v.model = f.rowid "
        "WHERE f.catalog_name MATCH ");
    lode_sql_text(q, lode_buf_str(&match), match.len);
    return true;
}

static bool drive_like(struct lode_sql *q, const struct lode_filter_node *n)
{
    const struct lode_filter_value *w = &n->values[0];
    size_t prefix = n->op == LODE_FILTER_LIKE ? literal_prefix(w) : 0;
    if (prefix == 0 || n->field.kind > LODE_FIELD_VERSION)
        return drive_run(q, n);
    lode_sql_add(q, "SELECT v.id AS id FROM catalog_version v WHERE ");
    add_prefix(q, columns[n->field.kind], w->text, prefix);
    return true;
}

bool lode_sql_driver(struct lode_sql *q, const struct lode_filter_node *n)
{
    enum lode_field_kind kind = n->field.kind;
    if (n->op < LODE_FILTER_EQ)
        return false;
    if (kind >= LODE_FIELD_TAG)
        return drive_fact(q, n);
    if (n->op >= LODE_FILTER_LIKE)
        return drive_like(q, n);
    bool indexed = kind == LODE_FIELD_NAME || kind == LODE_FIELD_VERSION ||
                   kind == LODE_FIELD_SEQ || kind == LODE_FIELD_CREATED;
    if (!indexed || n->op == LODE_FILTER_NE)
        return false;
    lode_sql_add(q, "SELECT v.id AS id FROM catalog_version v WHERE ");
    add_comparison(q, columns[kind], n);
    return true;
}
