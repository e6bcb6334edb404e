/* A list's query on the projection: which rows, in which order, from where on. Private to
 * list_query.c, direct_list.c.
 *
 * The plan has two shapes. If an index finds at most LODE_DRIVEN_MAX candidates for one of the
 * filter's top-level conditions, those are fetched, checked and sorted. Else the rows are walked in
 * the order of the sort's index and checked one by one, which is quick when matches are frequent;
 * when they are rare the deadline ends it.
 *
 * Entries without the sort field come last, in the order of their making, whichever way the sort
 * goes.
 */
#pragma once
#include <sqlite3.h>
#include "catalog/catalog.h"
#include "catalog/filter_sql.h"
#include "catalog/page_token.h"

#define LODE_DRIVEN_MAX 3000
#define LODE_LIST_DEADLINE_MS 2000

struct lode_list {
    const struct lode_query *q;
    bool models;                     /* one row a model: its latest version */
    struct lode_filter_node *filter; /* or NULL */
    struct lode_sort sort;
    struct lode_page_mark mark;
    bool resumed;    /* `mark` says where to go on */
    uint64_t digest; /* of the query */
    uint32_t limit;
    int64_t model;    /* id of q->name's model; 0: all; -1: there is none */
    int64_t deadline; /* by lode_mono_ms() */
};

/* Checks and parses the query: INVALID, LIMIT. `root` goes into the digest. */
int lode_list_begin(struct lode_list *l, const struct lode_query *q, bool models, const char *root,
                    struct lode_err *err) lode_must_use;
void lode_list_release(struct lode_list *l);

/* Called for each row: version record, its revision, version name, model's ns, name, record (NULL
 * if it has none) and revision are the columns LODE_ROW_... of `s`. */
typedef int lode_list_row(void *arg, sqlite3_stmt *s, struct lode_err *err);
enum {
    LODE_ROW_ID,
    LODE_ROW_VALUE,
    LODE_ROW_RECORD,
    LODE_ROW_MODIFIED,
    LODE_ROW_VERSION,
    LODE_ROW_NS,
    LODE_ROW_NAME,
    LODE_ROW_MODEL,
    LODE_ROW_MODEL_MODIFIED
};

/* Runs it: at most l->limit rows; *next is the token of the page behind (owned), or NULL. TIMEOUT
 * offers a cheaper filter. */
int lode_list_run(struct lode_list *l, sqlite3 *db, lode_list_row *row, void *arg, char **next,
                  struct lode_err *err) lode_must_use;
