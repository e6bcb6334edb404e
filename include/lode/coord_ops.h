/* Small facts that change: the interface that every coordination back end implements.
 *
 * A coord is an ordered map from keys to values with one revision that every transaction raises. It
 * gives linearizable reads and transactions, watches that tell every change once and in order, and
 * leases that keys hang on.
 *
 * Invariants
 *  1. A transaction happens whole or not at all; its revision is greater than every one before.
 *  2. What get() or txn() answered is durable as the back end's contract states.
 *  3. A watch from revision r delivers every change with revision >= r once, in order of revision;
 * or COMPACTED.
 *  4. A key bound to a lease is gone, by a transaction of its own, after the lease ended; never
 * before its time by the clock of the process that keeps it. Wall clocks are not involved.
 *  5. Values are the caller's business: bytes.
 *
 * Every function may be called from any thread and may block for the back end's time-out; `err` may
 * be NULL. Limits are the same everywhere: key 512 bytes, value 60,000, 64 operations and 512 KiB a
 * transaction; LIMIT above.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <lode/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LODE_COORD_ABI 1

enum lode_coord_cap {
    LODE_COORD_SHARED = 1 << 0, /* other machines can use it at the same time */
    LODE_COORD_LOCAL_FILE =
        1 << 1, /* lives in a local SQLite database: the catalog's projection shares its file */
};

struct lode_coord;       /* first member: struct lode_coord_base */
struct lode_coord_watch; /* first member: const struct lode_coord_ops *ops */

struct lode_coord_config {
    const char
        *url; /* "sqlite:///srv/root/coord.db", "mem:name", "etcd://h1:2379,h2:2379/prefix" */
    bool create;
    bool read_only;
    const char *const *options; /* "key", "value", ..., NULL; NULL for none */
    int64_t timeout_ms;         /* of one operation; 0 for the default (5 s) */
};

struct lode_coord_kv { /* release with lode_coord_kv_release */
    char *key;
    void *value;       /* NUL-terminated for convenience; the NUL is not counted */
    size_t len;        /* bytes */
    uint64_t created;  /* revision of the transaction that made the key */
    uint64_t modified; /* revision of the last transaction that wrote it */
    uint64_t lease;    /* 0: none */
};

struct lode_coord_kvs {          /* release with lode_coord_kvs_release */
    struct lode_coord_kv *items; /* sorted by key, bytewise */
    size_t n;
    bool more;         /* the limit cut it: go on from the last key */
    uint64_t revision; /* read before the keys: what happened since may or may not show. Events from
                          revision + 1, applied where newer than `modified`, make it exact */
};

struct lode_coord_compare {
    const char *key;
    uint64_t modified; /* the key's last revision must be this; 0: the key must be absent */
};

enum lode_coord_op_kind { LODE_COORD_PUT, LODE_COORD_DELETE };

struct lode_coord_op {
    enum lode_coord_op_kind kind;
    const char *key; /* no key twice in one transaction */
    const void *value;
    size_t len;
    uint64_t lease; /* for PUT: 0, or a lease that must be alive (LOST_LEASE otherwise) */
};

struct lode_coord_txn {
    const struct lode_coord_compare *compares;
    size_t n_compares;
    const struct lode_coord_op *ops; /* done if all compares hold */
    size_t n_ops;
    const char *const *else_gets; /* keys to read, at the same revision, if one does not */
    size_t n_else_gets;
};

struct lode_coord_txn_result { /* release with lode_coord_txn_result_release */
    bool succeeded;
    uint64_t revision; /* of this transaction if it succeeded, else of what was read */
    struct lode_coord_kv
        *gets; /* one for each else_get, in order, when not succeeded; key NULL: absent */
    size_t n_gets;
};

enum lode_coord_event_kind { LODE_COORD_EVENT_PUT, LODE_COORD_EVENT_DELETE };

struct lode_coord_event {
    enum lode_coord_event_kind kind;
    uint64_t revision;
    uint32_t index; /* position among the changes of its transaction, from 0; changes beneath other
                       prefixes count */
    struct lode_coord_kv kv; /* for DELETE: the key; no value */
};

struct lode_coord_events {          /* release with lode_coord_events_release */
    struct lode_coord_event *items; /* whole transactions, in order */
    size_t n;
    uint64_t revision; /* everything up to here has been told */
};

struct lode_coord_ops {
    uint32_t abi;       /* LODE_COORD_ABI */
    const char *scheme; /* "sqlite", "mem", "etcd", "zk", "log" */

    int (*open)(const struct lode_coord_config *config, struct lode_coord **out,
                struct lode_err *err);
    void (*close)(
        struct lode_coord *self); /* after its watches were closed and its calls have returned */

    /* The newest revision, linearizable: not older than any transaction acknowledged before the
     * call. */
    int (*revision)(struct lode_coord *self, uint64_t *out, struct lode_err *err);

    /* NOT_FOUND when absent. Linearizable. */
    int (*get)(struct lode_coord *self, const char *key, struct lode_coord_kv *out,
               struct lode_err *err);

    /* Keys that begin with `prefix` and are greater than `after` (NULL: from the start), at most
     * `limit`; fewer, with `more` set, where they are large. */
    int (*range)(struct lode_coord *self, const char *prefix, const char *after, size_t limit,
                 struct lode_coord_kvs *out, struct lode_err *err);

    /* A comparison that fails is not an error: it is result.succeeded == false. UNAVAILABLE or
     * TIMEOUT may mean that it happened and the answer was lost: the caller finds out by reading.
     * To delete an absent key is no change and tells no event; a transaction that changes nothing
     * may leave the revision as it is. */
    int (*txn)(struct lode_coord *self, const struct lode_coord_txn *txn,
               struct lode_coord_txn_result *out, struct lode_err *err);

    /* Follows a prefix from a revision on (included). COMPACTED, here or from next, when history
     * that old is gone. */
    int (*watch)(struct lode_coord *self, const char *prefix, uint64_t from,
                 struct lode_coord_watch **out, struct lode_err *err);

    /* Waits up to timeout_ms (< 0: for ever) for events. n == 0 on time-out, `revision` all the
     * same says how far it is known that nothing was missed. CANCELLED after watch_wake. */
    int (*watch_next)(struct lode_coord_watch *watch, int64_t timeout_ms,
                      struct lode_coord_events *out, struct lode_err *err);

    /* Makes a next() that waits in another thread return CANCELLED soon, and every later one at
     * once. */
    void (*watch_wake)(struct lode_coord_watch *watch);
    void (*watch_close)(struct lode_coord_watch *watch);

    /* A lease that ends ttl_ms after the last keep. */
    int (*lease_grant)(struct lode_coord *self, int64_t ttl_ms, uint64_t *lease,
                       struct lode_err *err);
    int (*lease_keep)(struct lode_coord *self, uint64_t lease,
                      struct lode_err *err); /* LOST_LEASE when it ended */
    int (*lease_revoke)(struct lode_coord *self, uint64_t lease,
                        struct lode_err *err); /* its keys go now; gone is success */

    /* Drops log/ history beyond the limit and ended leases now, instead of when convenient. */
    int (*compact)(struct lode_coord *self, struct lode_err *err);
};

struct lode_coord_base {
    const struct lode_coord_ops *ops;
    uint32_t caps;
    char *url; /* without secrets */
};

typedef const struct lode_coord_ops *const *lode_plugin_coord_fn(uint32_t abi);

/* Memory that a coord hands out, and that a back end must allocate with. */
LODE_API void *lode_coord_alloc(size_t n);
LODE_API void lode_coord_free(void *p);
LODE_API void lode_coord_kv_release(struct lode_coord_kv *kv);
LODE_API void lode_coord_kvs_release(struct lode_coord_kvs *kvs);
LODE_API void lode_coord_txn_result_release(struct lode_coord_txn_result *result);
LODE_API void lode_coord_events_release(struct lode_coord_events *events);

#ifdef __cplusplus
}
#endif
