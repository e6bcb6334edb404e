/* Filters as SQL on the projection's tables (catalog/projection_schema.h): the same meaning as
 * lode_filter_match().
 *
 * A comparison with a missing field is NULL in SQL, which AND and OR treat as false when all is
 * said; NOT is written `IS NOT TRUE`, so that the negation of a missing one is true.
 */
#pragma once
#include <sqlite3.h>
#include "base/buf.h"
#include "catalog/filter.h"

/* Text of a statement with its parameters, in order. Errors are sticky. */
struct lode_sql_param {
    char *text; /* owned; NULL: a number */
    size_t len;
    bool integer;
    int64_t whole;
    double number;
};
struct lode_sql {
    struct lode_buf text;
    struct lode_sql_param *params;
    size_t n, cap;
    int failed;
};
void lode_sql_init(struct lode_sql *q);
void lode_sql_release(struct lode_sql *q);
#define _cleanup_sql_ __attribute__((cleanup(lode_sql_release)))

void lode_sql_add(struct lode_sql *q, const char *text);
void lode_sql_text(struct lode_sql *q, const char *text, size_t len); /* adds "?" */
void lode_sql_number(struct lode_sql *q, double number);              /* adds "?" */
void lode_sql_whole(struct lode_sql *q, int64_t number);              /* adds "?" */

/* Prepares and binds. */
int lode_sql_prepare(const struct lode_sql *q, sqlite3 *db, sqlite3_stmt **out,
                     struct lode_err *err) lode_must_use;

/* The condition on a row `v` of catalog_version. Where `joined` is not NULL, a row `s` of
 * catalog_tag or catalog_metric holds that field's value. */
void lode_sql_where(struct lode_sql *q, const struct lode_filter_node *node,
                    const struct lode_field *joined);

/* If an index finds what the comparison may match: adds a SELECT of their ids, each once (column
 * `id`), and answers true. It may find more than match. */
bool lode_sql_driver(struct lode_sql *q, const struct lode_filter_node *node);

/* "v.created" for a plain field; NULL for tags and metrics. */
const char *lode_sql_column(enum lode_field_kind kind);

/* Makes the function lode_like(pattern, text, fold) known to a connection. */
int lode_sql_register(sqlite3 *db, struct lode_err *err) lode_must_use;
