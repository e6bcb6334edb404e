/* Filters and sort keys of lists: text to a small tree, and the tree's meaning (docs/filter.md).
 *
 *     metrics.auc >= 0.9 AND (tags.team = 'search' OR name LIKE 'rank-%') AND NOT tags.`odd key` IN
 * ('a', 'b')
 *
 * Pure: no I/O. The meaning is fixed here, by lode_filter_match(); filter_sql.c says the same to
 * SQLite, and a test compares the two on random filters. A comparison with a missing field is
 * false, also `!=`; NOT negates a result. Texts compare by bytes. Numbers are doubles, compared
 * exactly with integers. LIKE knows % and _ (one code point), \ takes the next character as it is;
 * ILIKE folds A-Z.
 */
#pragma once
#include <lode/types.h>
#include "base/err.h"
#include "base/limits.h"

enum lode_field_kind {
    LODE_FIELD_NAME,
    LODE_FIELD_VERSION,
    LODE_FIELD_FORMAT,
    LODE_FIELD_STATE,
    LODE_FIELD_SEQ,
    LODE_FIELD_CREATED,
    LODE_FIELD_SIZE,
    LODE_FIELD_PARAMETERS,
    LODE_FIELD_TAG,
    LODE_FIELD_METRIC,
};

struct lode_field {
    enum lode_field_kind kind;
    char key[LODE_TAG_KEY_MAX + 1]; /* of a tag or metric */
};

bool lode_field_is_text(enum lode_field_kind kind);

enum lode_filter_op {
    LODE_FILTER_AND,
    LODE_FILTER_OR,
    LODE_FILTER_NOT,
    LODE_FILTER_EQ, /* from here on: comparisons */
    LODE_FILTER_NE,
    LODE_FILTER_LT,
    LODE_FILTER_LE,
    LODE_FILTER_GT,
    LODE_FILTER_GE,
    LODE_FILTER_IN,
    LODE_FILTER_LIKE,
    LODE_FILTER_ILIKE,
};

struct lode_filter_value {
    char *text;    /* owned; for text fields */
    size_t len;    /* bytes */
    double number; /* else; for `created` milliseconds since 1970 */
};

struct lode_filter_node {
    enum lode_filter_op op;
    struct lode_filter_node *a, *b;   /* AND, OR: both; NOT: a */
    struct lode_field field;          /* comparisons */
    struct lode_filter_value *values; /* one; IN: one or more */
    size_t n_values;
};

/* INVALID shows the place with a '^'; LIMIT above LODE_FILTER_MAX bytes or LODE_FILTER_TERMS_MAX
 * comparisons. */
int lode_filter_parse(const char *text, struct lode_filter_node **out,
                      struct lode_err *err) lode_must_use;
void lode_filter_free(struct lode_filter_node *node); /* NULL is safe */
static inline void lode_filter_freep(struct lode_filter_node **at)
{
    lode_filter_free(*at);
}
#define _cleanup_filter_ __attribute__((cleanup(lode_filter_freep)))

/* What a filter means. */
bool lode_filter_match(const struct lode_filter_node *node, const struct lode_version *v);

/* `text` (len bytes) is like `pattern`. */
bool lode_like(const char *pattern, size_t pattern_len, const char *text, size_t len, bool fold);

/* "created:desc", "metrics.auc", "tags.`odd key`:asc". */
struct lode_sort {
    struct lode_field field;
    bool descending;
};
int lode_sort_parse(const char *text, struct lode_sort *out, struct lode_err *err) lode_must_use;
