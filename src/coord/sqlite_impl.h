/* The inside of the SQLite coord, shared by its files:
 *
 *   sqlite.c          the ops table, opening and closing a handle, the public extras
 *   sqlite_place.c    where it may lie: file system, machine
 *   sqlite_schema.c   tables, their version, upgrades
 *   sqlite_conn.c     connections and their kept statements
 *   sqlite_read.c     get, range, revision; the pool of readers
 *   sqlite_group.c    the writers: transactions of many threads share one sync
 *   sqlite_txn.c      one transaction inside it
 *   sqlite_lease.c    leases and what ends with them
 *   sqlite_watch.c    the poller and the watches
 *   sqlite_backup.c   copies of a live database
 *
 * Invariants
 *  1. A revision is used once: it is written in the SQLite transaction that makes its changes.
 *  2. `lode_log` holds every change of the revisions (compacted, revision].
 *  3. An answer is given after the SQLite commit that holds it, and so after its sync.
 *  4. A connection is used by one thread at a time; the writer's by the leader of the group only.
 *  5. After a failed commit the writer's connection is closed, and opened again for the next group:
 * what the page cache lost is not synced by trying again.
 */
#pragma once
#include <pthread.h>
#include <sqlite3.h>
#include "coord/coord.h"
#include "coord/impl.h"
#include "coord/sqlite.h"
#include "coord/turn.h"

#define LODE_SQ_SCHEMA 2
#define LODE_SQ_APPLICATION 0x4c6f6465 /* "Lode" */
#define LODE_SQ_LOG_SHIFT 20           /* id of a log row: revision << 20 | index */

/* Statements that a connection keeps. */
enum lode_sq_stmt {
    SQ_BEGIN,
    SQ_BEGIN_WRITE,
    SQ_COMMIT,
    SQ_ROLLBACK,
    SQ_SAVE,
    SQ_RELEASE,
    SQ_UNDO,
    SQ_STATE,
    SQ_SET_REVISION,
    SQ_SET_COMPACTED,
    SQ_SCHEMA,
    SQ_DATA_VERSION,
    SQ_GET,
    SQ_RANGE,
    SQ_MODIFIED,
    SQ_PUT,
    SQ_DELETE,
    SQ_LOG_ADD,
    SQ_LOG_READ,
    SQ_LOG_TRIM,
    SQ_LEASE_ADD,
    SQ_LEASE_KEEP,
    SQ_LEASE_ALIVE,
    SQ_LEASE_DROP,
    SQ_LEASE_ENDED,
    SQ_LEASE_KEYS,
    SQ_LEASE_NEXT,
    SQ_LEASE_FOREIGN,
    SQ_N_STMTS
};

struct lode_sq_conn {
    sqlite3 *db;
    sqlite3_stmt *stmts[SQ_N_STMTS]; /* prepared at first use */
    struct lode_sq_conn *next;       /* in the pool */
};

struct lode_sq_machine {
    char machine[64]; /* /etc/machine-id; "" where there is none */
    char boot[64];    /* the kernel's boot id */
};

struct lode_sq_job;

struct lode_sq {
    struct lode_coord_base base;
    char *path; /* owned */
    bool read_only;
    int64_t timeout_ms;
    uint64_t log_keep; /* revisions */
    struct lode_sq_machine here;
    pthread_mutex_t hook_lock; /* the next two, and held while the hook runs */
    lode_coord_sqlite_hook *hook;
    void *hook_arg;

    pthread_mutex_t pool_lock; /* the next three */
    struct lode_sq_conn *idle;
    unsigned n_idle;
    struct lode_turn *turn; /* set once; its turns are the leader's, its news everybody's */

    pthread_mutex_t group_lock;        /* jobs and `leading` */
    struct lode_sq_job *first, **last; /* that wait for a leader, in order */
    bool leading;
    struct lode_sq_conn *writer; /* of the leader */
    int wal_pages,
        wal_moved; /* of the leader: in the WAL after its last commit; at its last checkpoint */

    pthread_mutex_t watch_lock; /* the rest */
    pthread_cond_t changed;
    uint64_t seen; /* a revision that is committed */
    unsigned n_watches;
    bool polling, stop;
    pthread_t poller;
};

static inline struct lode_sq *lode_sq_of(struct lode_coord *self)
{
    return (struct lode_sq *)(void *)self;
}

/* ---- sqlite_place.c ---- */
int lode_sq_check_file_system(const char *path, struct lode_err *err) lode_must_use;
int lode_sq_read_machine(struct lode_sq_machine *out, struct lode_err *err) lode_must_use;
/* DENIED when `last` is another machine's; the message tells how to take over. */
int lode_sq_check_machine(const struct lode_sq_machine *last, const struct lode_sq_machine *here,
                          const char *path, struct lode_err *err) lode_must_use;

/* ---- sqlite_conn.c ---- */
enum lode_sq_role { SQ_READER, SQ_WRITER };
int lode_sq_conn_open(const char *path, int sqlite_flags, enum lode_sq_role role,
                      int64_t timeout_ms, struct lode_sq_conn **out,
                      struct lode_err *err) lode_must_use;
/* How long it waits for the locks of others from now on. */
void lode_sq_conn_patience(struct lode_sq_conn *c, int64_t timeout_ms);
void lode_sq_conn_close(struct lode_sq_conn *c); /* NULL is safe */
/* The kept statement, reset and without bindings; NULL and an error. */
sqlite3_stmt *lode_sq_stmt(struct lode_sq_conn *c, enum lode_sq_stmt which, struct lode_err *err);
/* Runs a statement that answers no rows. */
int lode_sq_run(struct lode_sq_conn *c, enum lode_sq_stmt which,
                struct lode_err *err) lode_must_use;
/* One step: 1 for a row, 0 at the end (the statement is reset), negative on failure (reset too). */
int lode_sq_step(sqlite3_stmt *s, struct lode_err *err) lode_must_use;
int lode_sq_exec(sqlite3 *db, const char *sql, const char *what,
                 struct lode_err *err) lode_must_use;
int lode_sq_bind_text(sqlite3_stmt *s, int at, const char *text,
                      struct lode_err *err) lode_must_use;
/* The first column of a statement's one row; `fallback` without a row or for NULL. */
int lode_sq_number(struct lode_sq_conn *c, enum lode_sq_stmt which, int64_t fallback, int64_t *out,
                   struct lode_err *err) lode_must_use;
int lode_sq_state(struct lode_sq_conn *c, uint64_t *revision, uint64_t *compacted,
                  struct lode_err *err) lode_must_use;

/* ---- sqlite_schema.c ---- */
/* Makes, checks or upgrades the tables through `c`, a connection that may write unless read_only.
 */
int lode_sq_prepare(struct lode_sq *self, struct lode_sq_conn *c,
                    const struct lode_coord_config *config, struct lode_err *err) lode_must_use;

/* ---- sqlite_read.c ---- */
int lode_sq_reader_take(struct lode_sq *self, struct lode_sq_conn **out,
                        struct lode_err *err) lode_must_use;
void lode_sq_reader_give(struct lode_sq *self, struct lode_sq_conn *c, bool healthy);
void lode_sq_readers_close(struct lode_sq *self);
/* Fills a kv from columns value, created, modified, lease, starting at `at`. */
int lode_sq_kv_of(sqlite3_stmt *s, int at, const char *key, size_t key_len,
                  struct lode_coord_kv *out, struct lode_err *err) lode_must_use;
int lode_sq_revision(struct lode_coord *coord, uint64_t *out, struct lode_err *err) lode_must_use;
int lode_sq_get(struct lode_coord *coord, const char *key, struct lode_coord_kv *out,
                struct lode_err *err) lode_must_use;
int lode_sq_range(struct lode_coord *coord, const char *prefix, const char *after, size_t limit,
                  struct lode_coord_kvs *out, struct lode_err *err) lode_must_use;

/* ---- sqlite_group.c ---- */
/* Runs on the writer's connection, inside a savepoint of the group's transaction; a negative answer
 * undoes it. */
typedef int lode_sq_job_fn(struct lode_sq *self, struct lode_sq_conn *c, void *arg,
                           struct lode_err *err);
/* Has `fn` run as one member of a group and waits until that is durable. TIMEOUT when its turn does
 * not come in time, UNAVAILABLE when the commit failed in a way that leaves open whether it
 * happened. */
int lode_sq_submit(struct lode_sq *self, lode_sq_job_fn *fn, void *arg,
                   struct lode_err *err) lode_must_use;
/* The queue and its news, opened at first use; borrowed. */
int lode_sq_turn(struct lode_sq *self, struct lode_turn **out, struct lode_err *err) lode_must_use;
int lode_sq_refuse_read_only(struct lode_sq *self, struct lode_err *err) lode_must_use;

/* ---- sqlite_txn.c ---- */
int lode_sq_txn(struct lode_coord *coord, const struct lode_coord_txn *txn,
                struct lode_coord_txn_result *out, struct lode_err *err) lode_must_use;
/* Does the operations at the next revision, inside the savepoint of the caller, and calls the hook.
 */
int lode_sq_apply(struct lode_sq *self, struct lode_sq_conn *c, const struct lode_coord_op *ops,
                  size_t n, struct lode_err *err) lode_must_use;
int lode_sq_trim(struct lode_sq *self, struct lode_sq_conn *c, uint64_t slack,
                 struct lode_err *err) lode_must_use;

/* ---- sqlite_lease.c ---- */
int lode_sq_lease_grant(struct lode_coord *coord, int64_t ttl_ms, uint64_t *lease,
                        struct lode_err *err) lode_must_use;
int lode_sq_lease_keep(struct lode_coord *coord, uint64_t lease,
                       struct lode_err *err) lode_must_use;
int lode_sq_lease_revoke(struct lode_coord *coord, uint64_t lease,
                         struct lode_err *err) lode_must_use;
/* Ends the leases whose time is over, at the head of each group; each in a savepoint of its own. */
int lode_sq_end_leases(struct lode_sq *self, struct lode_sq_conn *c,
                       struct lode_err *err) lode_must_use;
/* CLOCK_BOOTTIME of the next end; INT64_MAX when there is no lease. */
int lode_sq_next_end(struct lode_sq *self, struct lode_sq_conn *c, int64_t *out,
                     struct lode_err *err) lode_must_use;
int lode_sq_lease_alive(struct lode_sq *self, struct lode_sq_conn *c, uint64_t lease,
                        const char *key, struct lode_err *err) lode_must_use;

/* ---- sqlite_watch.c ---- */
/* Tells the watches of this process that a revision is committed. */
void lode_sq_publish(struct lode_sq *self, uint64_t revision);
int lode_sq_poller_start(struct lode_sq *self, struct lode_err *err) lode_must_use;
void lode_sq_poller_stop(struct lode_sq *self);
int lode_sq_watch(struct lode_coord *coord, const char *prefix, uint64_t from,
                  struct lode_coord_watch **out, struct lode_err *err) lode_must_use;
int lode_sq_watch_next(struct lode_coord_watch *watch, int64_t timeout_ms,
                       struct lode_coord_events *out, struct lode_err *err) lode_must_use;
void lode_sq_watch_wake(struct lode_coord_watch *watch);
void lode_sq_watch_close(struct lode_coord_watch *watch);

/* ---- sqlite_backup.c ---- */
/* Copies the database of an open connection to the new file `to`; durable on return. With `replace`
 * an old file goes. */
int lode_sq_copy(sqlite3 *from, const char *to, bool replace, struct lode_err *err) lode_must_use;
