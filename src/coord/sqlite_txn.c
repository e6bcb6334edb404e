/* One transaction, inside a group's: see coord/sqlite_impl.h. */
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "coord/sqlite_impl.h"

/* The events of one transaction as the hook sees them; their keys and values are the operations'
 * own. */
struct changes {
    struct lode_coord_event *items;
    size_t n;
    uint64_t revision;
};

static int log_change(struct lode_sq_conn *c, const struct lode_coord_event *e,
                      struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_LOG_ADD, err);
    bool put = e->kind == LODE_COORD_EVENT_PUT;
    if (!s ||
        sqlite3_bind_int64(s, 1, (sqlite3_int64)(e->revision << LODE_SQ_LOG_SHIFT | e->index)) ||
        sqlite3_bind_int(s, 2, (int)e->kind) ||
        sqlite3_bind_text64(s, 3, e->kv.key, strlen(e->kv.key), SQLITE_STATIC, SQLITE_UTF8) ||
        (put &&
         sqlite3_bind_blob64(s, 4, e->kv.value ? e->kv.value : "", e->kv.len, SQLITE_STATIC)) ||
        sqlite3_bind_int64(s, 5, (sqlite3_int64)e->kv.created) ||
        sqlite3_bind_int64(s, 6, (sqlite3_int64)e->kv.lease))
        return lode_sqlite_err(err, c->db, "cannot write the root's log");
    if (LODE_PLANTED(coord_lost_event) && e->revision % 7 == 0)
        return 0;
    int r = lode_sq_step(s, err);
    return r < 0 ? r : 0;
}

static int put(struct lode_sq_conn *c, const struct lode_coord_op *op, struct changes *changes,
               struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_PUT, err);
    if (!s || sqlite3_bind_text64(s, 1, op->key, strlen(op->key), SQLITE_STATIC, SQLITE_UTF8) ||
        sqlite3_bind_blob64(s, 2, op->len ? op->value : "", op->len, SQLITE_STATIC) ||
        sqlite3_bind_int64(s, 3, (sqlite3_int64)changes->revision) ||
        sqlite3_bind_int64(s, 4, (sqlite3_int64)op->lease))
        return lode_sqlite_err(err, c->db, "cannot write a key");
    int r = lode_sq_step(s, err);
    if (r < 0)
        return r;
    struct lode_coord_event *e = &changes->items[changes->n];
    *e = (struct lode_coord_event){.kind = LODE_COORD_EVENT_PUT,
                                   .revision = changes->revision,
                                   .index = (uint32_t)changes->n++,
                                   .kv = {(char *)op->key, (void *)(op->len ? op->value : ""),
                                          op->len, (uint64_t)sqlite3_column_int64(s, 0),
                                          changes->revision, op->lease}};
    r = lode_sq_step(s, err); /* the row was RETURNING's: the statement is done when this says so */
    return r < 0 ? r : log_change(c, e, err);
}

/* A delete of what is not there is no change. */
static int delete (struct lode_sq_conn *c, const struct lode_coord_op *op, struct changes *changes,
                   struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_DELETE, err);
    int r = s ? lode_sq_bind_text(s, 1, op->key, err)
              : lode_sqlite_err(err, c->db, "cannot delete a key");
    if (r == 0)
        r = lode_sq_step(s, err);
    if (r <= 0)
        return r;
    struct lode_coord_event *e = &changes->items[changes->n];
    *e = (struct lode_coord_event){.kind = LODE_COORD_EVENT_DELETE,
                                   .revision = changes->revision,
                                   .index = (uint32_t)changes->n++,
                                   .kv = {.key = (char *)op->key,
                                          .created = (uint64_t)sqlite3_column_int64(s, 0),
                                          .modified = changes->revision}};
    r = lode_sq_step(s, err);
    return r < 0 ? r : log_change(c, e, err);
}

static int one_op(struct lode_sq *self, struct lode_sq_conn *c, const struct lode_coord_op *op,
                  struct changes *changes, struct lode_err *err)
{
    if (op->kind == LODE_COORD_DELETE)
        return delete (c, op, changes, err);
    int r = op->lease ? lode_sq_lease_alive(self, c, op->lease, op->key, err) : 0;
    return r < 0 ? r : put(c, op, changes, err);
}

/* Under its lock, so that who takes the hook away knows that it runs no more. */
static int call_hook(struct lode_sq *self, struct lode_sq_conn *c, const struct changes *changes,
                     struct lode_err *err)
{
    pthread_mutex_lock(&self->hook_lock);
    int r = self->hook ? self->hook(self->hook_arg, c->db, changes->items, changes->n, err) : 0;
    pthread_mutex_unlock(&self->hook_lock);
    return r;
}

static int finish(struct lode_sq *self, struct lode_sq_conn *c, const struct changes *changes,
                  struct lode_err *err)
{
    if (changes->n == 0)
        return 0;
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_SET_REVISION, err);
    if (!s || sqlite3_bind_int64(s, 1, (sqlite3_int64)changes->revision))
        return lode_sqlite_err(err, c->db, "cannot raise the revision");
    int r = lode_sq_step(s, err);
    if (r == 0)
        r = lode_sq_trim(self, c, self->log_keep / 4, err);
    return r < 0 ? r : call_hook(self, c, changes, err);
}

int lode_sq_apply(struct lode_sq *self, struct lode_sq_conn *c, const struct lode_coord_op *ops,
                  size_t n, struct lode_err *err)
{
    uint64_t revision, compacted;
    int r = lode_sq_state(c, &revision, &compacted, err);
    if (r < 0)
        return r;
    if (n >> LODE_SQ_LOG_SHIFT)
        return lode_err_set(err, LODE_LIMIT, "%zu changes at one revision are too many", n);
    _cleanup_free_ struct lode_coord_event *items = lode_calloc(n, sizeof *items);
    if (!items)
        return lode_err_nomem(err, "a transaction");
    struct changes changes = {.items = items,
                              .revision = revision + !LODE_PLANTED(coord_revision_reused)};
    for (size_t i = 0; r == 0 && i < n; i++)
        r = one_op(self, c, &ops[i], &changes, err);
    return r < 0 ? r : finish(self, c, &changes, err);
}

int lode_sq_trim(struct lode_sq *self, struct lode_sq_conn *c, uint64_t slack, struct lode_err *err)
{
    uint64_t revision, compacted;
    int r = lode_sq_state(c, &revision, &compacted, err);
    if (r < 0 || revision - compacted <= self->log_keep + slack)
        return r;
    uint64_t until = revision - self->log_keep;
    sqlite3_stmt *trim = lode_sq_stmt(c, SQ_LOG_TRIM, err),
                 *set = lode_sq_stmt(c, SQ_SET_COMPACTED, err);
    if (!trim || !set ||
        sqlite3_bind_int64(trim, 1, (sqlite3_int64)((until + 1) << LODE_SQ_LOG_SHIFT)) ||
        sqlite3_bind_int64(set, 1, (sqlite3_int64)until))
        return lode_sqlite_err(err, c->db, "cannot trim the root's log");
    r = lode_sq_step(trim, err);
    return r < 0 ? r : lode_sq_step(set, err);
}

/* ---- a transaction of a caller ---- */

struct call {
    const struct lode_coord_txn *txn;
    struct lode_coord_txn_result result;
};

static int compare(struct lode_sq_conn *c, const struct lode_coord_compare *cmp, bool *holds,
                   struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_MODIFIED, err);
    int r = s ? lode_sq_bind_text(s, 1, cmp->key, err)
              : lode_sqlite_err(err, c->db, "cannot compare a key");
    if (r == 0)
        r = lode_sq_step(s, err);
    if (r >= 0)
        *holds = (r == 1 ? (uint64_t)sqlite3_column_int64(s, 0) : 0) == cmp->modified ||
                 LODE_PLANTED(coord_no_compare);
    if (s)
        sqlite3_reset(s);
    return r < 0 ? r : 0;
}

static int else_get(struct lode_sq_conn *c, const char *key, struct lode_coord_kv *out,
                    struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_GET, err);
    int r =
        s ? lode_sq_bind_text(s, 1, key, err) : lode_sqlite_err(err, c->db, "cannot read a key");
    if (r == 0)
        r = lode_sq_step(s, err);
    if (r == 1)
        r = lode_sq_kv_of(s, 0, key, strlen(key), out, err);
    if (s)
        sqlite3_reset(s);
    return r;
}

static int read_else(struct lode_sq_conn *c, const struct lode_coord_txn *txn,
                     struct lode_coord_txn_result *out, struct lode_err *err)
{
    int r = 0;
    if (!txn->n_else_gets)
        return 0;
    out->gets = lode_calloc(txn->n_else_gets, sizeof *out->gets);
    if (!out->gets)
        return lode_err_nomem(err, "the answer of a transaction");
    for (; r == 0 && out->n_gets < txn->n_else_gets; out->n_gets++)
        r = else_get(c, txn->else_gets[out->n_gets], &out->gets[out->n_gets], err);
    return r;
}

static int do_txn(struct lode_sq *self, struct lode_sq_conn *c, void *arg, struct lode_err *err)
{
    struct call *call = arg;
    const struct lode_coord_txn *txn = call->txn;
    uint64_t compacted;
    bool holds = true;
    int r = 0;
    lode_coord_txn_result_release(&call->result);
    for (size_t i = 0; r == 0 && holds && i < txn->n_compares; i++)
        r = compare(c, &txn->compares[i], &holds, err);
    if (r < 0)
        return r;
    call->result.succeeded = holds;
    r = holds ? lode_sq_apply(self, c, txn->ops, txn->n_ops, err)
              : read_else(c, txn, &call->result, err);
    return r < 0 ? r : lode_sq_state(c, &call->result.revision, &compacted, err);
}

int lode_sq_txn(struct lode_coord *coord, const struct lode_coord_txn *txn,
                struct lode_coord_txn_result *out, struct lode_err *err)
{
    struct call call = {.txn = txn};
    int r = lode_sq_submit(lode_sq_of(coord), do_txn, &call, err);
    if (r < 0)
        lode_coord_txn_result_release(&call.result);
    else
        *out = call.result;
    return r;
}
