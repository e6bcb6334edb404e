/* Page tokens: where the next page begins, bound to the query that made them.
 *
 * A token is hexadecimal text around: version, digest of the query, the last entry's sort value and
 * id, digest of the whole. It names values, not positions, so that pages stay right while entries
 * come and go. It grants nothing: forging one merely begins a page elsewhere.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/attr.h"
#include "base/err.h"

struct lode_page_mark {
    uint64_t query; /* digest of what was asked */
    int64_t id;     /* of the last entry told */
    bool missing;   /* among those without the sort field, which come last */
    enum { LODE_MARK_WHOLE, LODE_MARK_NUMBER, LODE_MARK_TEXT } kind;
    int64_t whole;
    double number;
    char *text; /* owned */
    size_t len;
};

char *lode_page_token(const struct lode_page_mark *mark); /* NULL when out of memory */
/* INVALID for what is no token, or one of another query. */
int lode_page_parse(const char *token, uint64_t query, struct lode_page_mark *out,
                    struct lode_err *err) lode_must_use;
void lode_page_mark_release(struct lode_page_mark *mark);
