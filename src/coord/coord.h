/* Calling a coord: checked wrappers over <lode/coord_ops.h> (read that first: it has the
 * contracts), the table of back ends, and a lease that keeps itself.
 *
 * Every wrapper checks the limits (keys, values, operations, bytes) before the back end sees the
 * call.
 */
#pragma once
#include <lode/coord_ops.h>
#include "base/attr.h"
#include "base/err.h"

int lode_coord_open(const struct lode_coord_config *config, struct lode_coord **out,
                    struct lode_err *err) lode_must_use;
void lode_coord_close(struct lode_coord *self);               /* NULL is safe */
const struct lode_coord_ops *const *lode_coord_builtin(void); /* NULL-ended */

static inline const struct lode_coord_ops *lode_coord_ops_of(const struct lode_coord *self)
{
    return ((const struct lode_coord_base *)(const void *)self)->ops;
}
static inline uint32_t lode_coord_caps(const struct lode_coord *self)
{
    return ((const struct lode_coord_base *)(const void *)self)->caps;
}
static inline const char *lode_coord_url(const struct lode_coord *self)
{
    return ((const struct lode_coord_base *)(const void *)self)->url;
}

int lode_coord_revision(struct lode_coord *self, uint64_t *out, struct lode_err *err) lode_must_use;
int lode_coord_get(struct lode_coord *self, const char *key, struct lode_coord_kv *out,
                   struct lode_err *err) lode_must_use;
int lode_coord_range(struct lode_coord *self, const char *prefix, const char *after, size_t limit,
                     struct lode_coord_kvs *out, struct lode_err *err) lode_must_use;
int lode_coord_txn(struct lode_coord *self, const struct lode_coord_txn *txn,
                   struct lode_coord_txn_result *out, struct lode_err *err) lode_must_use;
int lode_coord_watch(struct lode_coord *self, const char *prefix, uint64_t from,
                     struct lode_coord_watch **out, struct lode_err *err) lode_must_use;
int lode_coord_watch_next(struct lode_coord_watch *watch, int64_t timeout_ms,
                          struct lode_coord_events *out, struct lode_err *err) lode_must_use;
void lode_coord_watch_wake(struct lode_coord_watch *watch);
void lode_coord_watch_close(struct lode_coord_watch *watch); /* NULL is safe */
int lode_coord_lease_grant(struct lode_coord *self, int64_t ttl_ms, uint64_t *lease,
                           struct lode_err *err) lode_must_use;
int lode_coord_lease_keep(struct lode_coord *self, uint64_t lease,
                          struct lode_err *err) lode_must_use;
int lode_coord_lease_revoke(struct lode_coord *self, uint64_t lease,
                            struct lode_err *err) lode_must_use;
int lode_coord_compact(struct lode_coord *self, struct lode_err *err) lode_must_use;

LODE_DEFINE_CLEANUP(struct lode_coord *, lode_coord_closep, lode_coord_close)
#define _cleanup_coord_ lode_cleanup(lode_coord_closep)

/* A lease kept by a thread of its own, and judged by this process's own CLOCK_BOOTTIME: a client
 * that is cut off, or was stopped, hears nothing from the coord, so its own clock tells it
 * (invariant 7 of the design). */
struct lode_lease;
int lode_lease_start(struct lode_coord *coord, int64_t ttl_ms, struct lode_lease **out,
                     struct lode_err *err) lode_must_use;
uint64_t lode_lease_id(const struct lode_lease *lease);
/* 0 while the lease certainly lives, else LOST_LEASE. Ask right before every write that it covers.
 */
int lode_lease_check(struct lode_lease *lease, struct lode_err *err) lode_must_use;
void lode_lease_stop(struct lode_lease *lease); /* revokes if it can; NULL is safe */
LODE_DEFINE_CLEANUP(struct lode_lease *, lode_lease_stopp, lode_lease_stop)
#define _cleanup_lease_ lode_cleanup(lode_lease_stopp)
