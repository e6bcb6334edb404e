/* Checked calls: see coord/coord.h. The limits of <lode/coord_ops.h> are enforced here, once for
 * all back ends, so that what one root holds fits into any other. */
#include "coord/coord.h"
#include <string.h>
#include "base/limits.h"
#include "base/name.h"
#include "base/plant.h"

static int check_key(const char *key, struct lode_err *err)
{
    if (!key || !*key)
        return lode_err_set(err, LODE_INVALID, "a coord key is empty");
    size_t n = strlen(key);
    if (n > (size_t)LODE_COORD_KEY_MAX + LODE_PLANTED(coord_key_limit_off_by_one))
        return lode_err_set(err, LODE_LIMIT,
                            "the coord key %s has %zu bytes; at most %d are allowed", lode_q(key),
                            n, LODE_COORD_KEY_MAX);
    return 0;
}

static int check_prefix(const char *prefix, struct lode_err *err)
{
    if (!prefix)
        return lode_err_set(err, LODE_INVALID, "no prefix was given");
    return *prefix ? check_key(prefix, err) : 0;
}

static int check_op(const struct lode_coord_txn *txn, size_t at, struct lode_err *err)
{
    const struct lode_coord_op *op = &txn->ops[at];
    int r = check_key(op->key, err);
    if (r < 0)
        return r;
    if (op->kind != LODE_COORD_PUT && op->kind != LODE_COORD_DELETE)
        return lode_err_set(err, LODE_INVALID, "operation %zu of a transaction is of no known kind",
                            at);
    if (op->kind == LODE_COORD_PUT && op->len > LODE_COORD_VALUE_MAX)
        return lode_err_set(err, LODE_LIMIT,
                            "the value of %s has %zu bytes; at most %d are allowed",
                            lode_q(op->key), op->len, LODE_COORD_VALUE_MAX);
    if (op->kind == LODE_COORD_PUT && op->len && !op->value)
        return lode_err_set(err, LODE_INVALID, "the value of %s is missing", lode_q(op->key));
    for (size_t i = 0; i < at; i++) {
        if (strcmp(txn->ops[i].key, op->key) == 0)
            return lode_err_set(err, LODE_INVALID, "the key %s stands twice in one transaction",
                                lode_q(op->key));
    }
    return 0;
}

static int check_bytes(const struct lode_coord_txn *txn, struct lode_err *err)
{
    size_t bytes = 0; /* at most 128 x 60,512: cannot overflow */
    for (size_t i = 0; i < txn->n_compares; i++)
        bytes += strlen(txn->compares[i].key);
    for (size_t i = 0; i < txn->n_ops; i++)
        bytes +=
            strlen(txn->ops[i].key) + (txn->ops[i].kind == LODE_COORD_PUT ? txn->ops[i].len : 0);
    if (bytes > LODE_COORD_TXN_MAX)
        return lode_err_set(
            err, LODE_LIMIT,
            "a transaction has %zu bytes of keys and values; at most %u are allowed", bytes,
            LODE_COORD_TXN_MAX);
    return 0;
}

static int check_txn(const struct lode_coord_txn *txn, struct lode_err *err)
{
    int r = 0;
    if (txn->n_compares > LODE_COORD_OPS_MAX || txn->n_ops > LODE_COORD_OPS_MAX - txn->n_compares)
        return lode_err_set(
            err, LODE_LIMIT,
            "a transaction has %zu comparisons and %zu writes; at most %d together are allowed",
            txn->n_compares, txn->n_ops, LODE_COORD_OPS_MAX);
    if (txn->n_else_gets > LODE_COORD_OPS_MAX)
        return lode_err_set(err, LODE_LIMIT, "a transaction reads %zu keys; at most %d are allowed",
                            txn->n_else_gets, LODE_COORD_OPS_MAX);
    for (size_t i = 0; r == 0 && i < txn->n_compares; i++)
        r = check_key(txn->compares[i].key, err);
    for (size_t i = 0; r == 0 && i < txn->n_ops; i++)
        r = check_op(txn, i, err);
    for (size_t i = 0; r == 0 && i < txn->n_else_gets; i++)
        r = check_key(txn->else_gets[i], err);
    return r < 0 ? r : check_bytes(txn, err);
}

int lode_coord_revision(struct lode_coord *self, uint64_t *out, struct lode_err *err)
{
    return lode_coord_ops_of(self)->revision(self, out, err);
}

int lode_coord_get(struct lode_coord *self, const char *key, struct lode_coord_kv *out,
                   struct lode_err *err)
{
    int r = check_key(key, err);
    return r < 0 ? r : lode_coord_ops_of(self)->get(self, key, out, err);
}

int lode_coord_range(struct lode_coord *self, const char *prefix, const char *after, size_t limit,
                     struct lode_coord_kvs *out, struct lode_err *err)
{
    int r = check_prefix(prefix, err);
    if (r == 0 && after && *after)
        r = check_key(after, err);
    if (r == 0 && limit == 0)
        r = lode_err_set(err, LODE_INVALID, "a range of no keys was asked for");
    if (r < 0)
        return r;
    return lode_coord_ops_of(self)->range(self, prefix, after,
                                          lode_min(limit, (size_t)LODE_COORD_PAGE_MAX), out, err);
}

int lode_coord_txn(struct lode_coord *self, const struct lode_coord_txn *txn,
                   struct lode_coord_txn_result *out, struct lode_err *err)
{
    int r = check_txn(txn, err);
    return r < 0 ? r : lode_coord_ops_of(self)->txn(self, txn, out, err);
}

int lode_coord_watch(struct lode_coord *self, const char *prefix, uint64_t from,
                     struct lode_coord_watch **out, struct lode_err *err)
{
    int r = check_prefix(prefix, err);
    return r < 0 ? r : lode_coord_ops_of(self)->watch(self, prefix, from, out, err);
}

static const struct lode_coord_ops *watch_ops(struct lode_coord_watch *watch)
{
    return *(const struct lode_coord_ops *const *)(const void *)watch;
}

int lode_coord_watch_next(struct lode_coord_watch *watch, int64_t timeout_ms,
                          struct lode_coord_events *out, struct lode_err *err)
{
    return watch_ops(watch)->watch_next(watch, timeout_ms, out, err);
}

void lode_coord_watch_wake(struct lode_coord_watch *watch)
{
    watch_ops(watch)->watch_wake(watch);
}

void lode_coord_watch_close(struct lode_coord_watch *watch)
{
    if (watch)
        watch_ops(watch)->watch_close(watch);
}

int lode_coord_lease_grant(struct lode_coord *self, int64_t ttl_ms, uint64_t *lease,
                           struct lode_err *err)
{
    if (ttl_ms < 1 || ttl_ms > LODE_LEASE_TTL_MAX_MS)
        return lode_err_set(
            err, LODE_INVALID,
            "a lease of %lld ms was asked for: between 1 ms and %lld ms are possible",
            (long long)ttl_ms, (long long)LODE_LEASE_TTL_MAX_MS);
    return lode_coord_ops_of(self)->lease_grant(self, ttl_ms, lease, err);
}

int lode_coord_lease_keep(struct lode_coord *self, uint64_t lease, struct lode_err *err)
{
    return lode_coord_ops_of(self)->lease_keep(self, lease, err);
}

int lode_coord_lease_revoke(struct lode_coord *self, uint64_t lease, struct lode_err *err)
{
    return lode_coord_ops_of(self)->lease_revoke(self, lease, err);
}

int lode_coord_compact(struct lode_coord *self, struct lode_err *err)
{
    return lode_coord_ops_of(self)->compact(self, err);
}
