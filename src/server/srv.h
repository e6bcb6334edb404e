/* The inside of the server: what every file of this room shares.
 *
 * Design
 *   A request travels   event thread -> (worker) -> event thread.
 * Event threads (libmicrohttpd's, with epoll) parse, admit and send; they never wait for a disk, a
 * lock that is held across I/O, or a peer. What may block runs on a worker while the connection is
 * suspended. One table of routes (routes.c) says what exists, which scope it needs and which
 * operation of the OpenAPI document it is.
 *
 * Invariants
 *  1. A path is split while it is raw and each part is decoded once; a part that decodes to '/',
 * NUL, or what is no UTF-8 is refused. Names go through base/name.h before anything uses them.
 *  2. No handler runs before Host, Origin, token, scope and name pattern have passed.
 *  3. Memory of a connection is bounded: its pool, one JSON body of at most LODE_HTTP_BODY_MAX or
 * one upload part paid from the budget, and two blocks of a download.
 *  4. Every suspended connection is resumed before the daemon is stopped.
 *  5. A secret (token text) is never logged nor echoed.
 */
#pragma once
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "catalog/catalog.h"
#include "coord/coord.h"
#include "model/ref.h"
#include "server/server.h"
#include "store/store.h"

struct srv_request;
struct srv_route;
struct lode_server;

/* ---- worker pool (pool.c) ---- */

struct srv_task {
    struct srv_task *next;
    void (*run)(struct srv_task *task); /* on a worker; may block */
};
struct srv_pool;
int srv_pool_start(unsigned threads, struct srv_pool **out, struct lode_err *err) lode_must_use;
bool srv_pool_add(struct srv_pool *pool, struct srv_task *task); /* false: it has stopped */
size_t srv_pool_waiting(struct srv_pool *pool);
void srv_pool_stop(struct srv_pool *pool); /* runs what is queued, then joins; NULL is safe */

/* ---- tokens in memory (auth.c) ---- */

struct srv_auth_table; /* immutable, counted */
struct srv_token_record;
struct srv_auth {
    pthread_mutex_t reloading; /* held from reading the tokens until they are in place */
    pthread_rwlock_t lock;
    struct srv_auth_table *table; /* guarded by lock */
    atomic_bool
        guarded; /* the root has had a token in this server's life: it is never open again */
};
struct srv_caller {
    struct srv_auth_table *table;          /* held; NULL for an open root */
    const struct srv_token_record *record; /* in table; NULL for an open root */
};
int srv_auth_init(struct srv_auth *auth, struct lode_err *err) lode_must_use;
void srv_auth_release(struct srv_auth *auth);
/* Reads the root's tokens anew. */
int srv_auth_reload(struct srv_auth *auth, struct lode_coord *coord,
                    struct lode_err *err) lode_must_use;
size_t srv_auth_count(struct srv_auth *auth);
/* Finds who shows `header` ("Bearer ..." or NULL). With `open` and no token in the root everybody
 * is admin. */
int srv_auth_check(struct srv_auth *auth, const char *header, bool open, struct srv_caller *out,
                   struct lode_err *err) lode_must_use;
int srv_caller_scope(const struct srv_caller *caller, enum lode_scope scope,
                     struct lode_err *err) lode_must_use;
bool srv_caller_may(const struct srv_caller *caller, const char *ns, const char *name);
bool srv_caller_limited(const struct srv_caller *caller);     /* to name patterns */
const char *srv_caller_name(const struct srv_caller *caller); /* NULL for an open root */
struct srv_caller srv_caller_ref(const struct srv_caller *caller);
void srv_caller_release(struct srv_caller *caller);

/* ---- Host and Origin (hosts.c) ---- */

struct srv_hosts {
    const char *const
        *names; /* allowed besides loopback's and the own; borrowed, NULL-ended or NULL */
    const char *const *origins; /* borrowed, NULL-ended or NULL */
    char own[256];              /* host that was asked to listen on */
    bool literals;              /* listening beyond loopback: any address literal will do */
};
int srv_hosts_check(const struct srv_hosts *hosts, const char *host, const char *origin,
                    struct lode_err *err) lode_must_use;

/* ---- following the root (follow.c) ---- */

struct srv_follow; /* one coord watch: revision, tokens, resolve cache */
int srv_follow_start(struct lode_server *server, struct srv_follow **out,
                     struct lode_err *err) lode_must_use;
void srv_follow_stop(struct srv_follow *follow);
uint64_t srv_follow_revision(struct srv_follow *follow);
bool srv_follow_alive(struct srv_follow *follow);
/* Waits until the root has reached `revision` as this server sees it; BEHIND after SRV_BEHIND_MS.
 */
int srv_follow_wait(struct srv_follow *follow, uint64_t revision,
                    struct lode_err *err) lode_must_use;

/* ---- answers to resolve, kept while nothing about their model changes (cache.c) ---- */

struct srv_cache;
int srv_cache_new(struct srv_cache **out, struct lode_err *err) lode_must_use;
void srv_cache_free(struct srv_cache *cache);
/* Calls `use` with the kept answer while nothing can free it; false without one. `use` must not
 * wait. */
typedef void srv_cache_use(void *arg, struct MHD_Response *response, size_t bytes);
bool srv_cache_give(struct srv_cache *cache, const char *ns, const char *name, const char *rev,
                    srv_cache_use *use, void *arg);
/* A stamp to take before the catalog is read; put, which owns the response, keeps nothing if the
 * model changed since. */
uint64_t srv_cache_stamp(struct srv_cache *cache);
void srv_cache_put(struct srv_cache *cache, uint64_t stamp, const char *ns, const char *name,
                   const char *rev, struct MHD_Response *response, size_t bytes);
void srv_cache_drop(struct srv_cache *cache, const char *ns, const char *name);
void srv_cache_drop_all(struct srv_cache *cache);

/* ---- the open connections and their deadlines (conn.c) ---- */

struct srv_conn;
struct srv_conns;
int srv_conns_start(unsigned header_s, unsigned idle_s, struct srv_conns **out,
                    struct lode_err *err) lode_must_use;
void srv_conns_stop(struct srv_conns *conns);
void srv_conns_notify(void *conns, struct MHD_Connection *mhd, void **slot,
                      enum MHD_ConnectionNotificationCode code);
void srv_conn_reading_body(struct srv_conn *conn, uint64_t bytes);
void srv_conn_answering(struct srv_conn *conn);
void srv_conn_idle(struct srv_conns *conns, struct srv_conn *conn);
unsigned srv_conns_count(struct srv_conns *conns);

/* ---- access log and metrics ---- */

struct srv_access;
int srv_access_open(const char *path, struct srv_access **out,
                    struct lode_err *err) lode_must_use; /* NULL path: NULL */
void srv_access_close(struct srv_access *log);
void srv_access_write(struct srv_access *log, const struct srv_request *request);

struct srv_metrics;
struct srv_metrics *srv_metrics_new(void);
void srv_metrics_free(struct srv_metrics *metrics);
void srv_metrics_request(struct srv_metrics *metrics, const struct srv_request *request);
void srv_metrics_text(struct lode_server *server, struct lode_buf *out);

/* ---- memory for upload parts (budget.c) ---- */

struct srv_budget {
    pthread_mutex_t lock;
    size_t free;                      /* bytes, guarded by lock */
    bool closed;                      /* everybody pays: the server stops */
    struct srv_request *first, *last; /* waiting, in order; guarded by lock */
};
/* True: paid. False: the request waits; its connection is resumed once it has been paid. Event
 * threads only. */
bool srv_budget_take(struct srv_budget *budget, struct srv_request *request, size_t bytes);
void srv_budget_give(struct srv_budget *budget, size_t bytes);
void srv_budget_flush(
    struct srv_budget *budget); /* resumes every waiter, unpaid: the server stops */

/* ---- requests ---- */

enum srv_body_kind { SRV_BODY_NONE, SRV_BODY_JSON, SRV_BODY_PART };

struct srv_route {
    const char *operation; /* OpenAPI operationId */
    const char *method;
    const char *path; /* "/v1/models/{ns}/{name}/aliases/{alias}"; a last "{path}" takes the rest */
    enum lode_scope scope; /* 0: anybody */
    enum srv_body_kind body;
    const char *query; /* names of the query parameters, divided by spaces; NULL: none */
    /* On an event thread, must not block: true when it has answered. NULL: none. */
    bool (*fast)(struct srv_request *request);
    /* On a worker. Answers with srv_reply_*, or a negative code that becomes the error answer.
     * NULL: fast always answers. */
    int (*run)(struct srv_request *request, struct lode_err *err);
};
const struct srv_route *srv_routes(size_t *n);
/* The route of a split path; *allow gets the methods of the path where only the method is wrong. */
const struct srv_route *srv_route_find(const char *method, struct srv_request *request,
                                       struct lode_buf *allow);

#define SRV_PARTS_MAX 48 /* parts of a request path */
#define SRV_QUERY_MAX 16 /* query parameters */
#define SRV_REPLY_HEADERS 12

struct srv_query_arg {
    char *key, *value; /* decoded once */
};

enum srv_reply_kind {
    SRV_REPLY_NONE,
    SRV_REPLY_TEXT,
    SRV_REPLY_FD,
    SRV_REPLY_STREAM,
    SRV_REPLY_SENT /* by a fast handler */
};

struct srv_reply {
    enum srv_reply_kind kind;
    int status;
    const char *type;               /* media type, static */
    struct lode_buf body;           /* TEXT */
    int fd;                         /* FD: owned */
    uint64_t offset, length;        /* FD, STREAM: bytes; UINT64_MAX: unknown */
    MHD_ContentReaderCallback read; /* STREAM */
    void *stream;
    MHD_ContentReaderFreeCallback stream_free;
    bool close;        /* the connection ends after it */
    uint64_t revision; /* Lode-Revision; 0: none */
    size_t n_headers;
    struct {
        const char *name; /* static */
        char *value;      /* owned */
    } headers[SRV_REPLY_HEADERS];
};

enum srv_request_state {
    SRV_REQUEST_HEAD,   /* just admitted */
    SRV_REQUEST_BUDGET, /* waits for memory before its body is read */
    SRV_REQUEST_BODY,
    SRV_REQUEST_RUNNING, /* on a worker */
    SRV_REQUEST_DONE,    /* the reply stands */
};

struct srv_request {
    struct srv_task task; /* first: a worker gets it */
    struct lode_server *server;
    struct MHD_Connection *mhd;
    struct srv_conn *conn;
    enum srv_request_state state;
    const struct srv_route *route;
    const char *method; /* MHD's, lives as long */
    char *url;          /* raw path for the log; owned */
    char *text;         /* decoded parts; owned */
    const char *parts[SRV_PARTS_MAX];
    size_t part_len[SRV_PARTS_MAX];
    size_t n_parts;
    struct srv_caller caller;
    const char *ns, *name, *rev, *alias, *id; /* of the path, checked */
    char *path;                               /* "{path}" joined with '/', owned */
    struct srv_query_arg query[SRV_QUERY_MAX];
    size_t n_query;
    uint64_t content_length; /* UINT64_MAX: unknown (chunked) */
    bool has_body, drain;
    bool doubtful;        /* nobody can say where the body ends: nothing after it is read */
    struct lode_buf body; /* JSON */
    char *part;           /* PART: content_length bytes, paid from the budget */
    size_t part_have;
    size_t paid; /* bytes to give back to the budget */
    struct srv_request *budget_next;
    uint64_t want_revision; /* Lode-Revision of the client, or 0 */
    uint64_t began_ns;
    uint64_t sent; /* bytes of the answer's body, as far as known */
    struct srv_reply reply;
};

/* request.c */
int srv_request_open(struct lode_server *server, struct MHD_Connection *mhd, const char *url,
                     const char *method, struct srv_request **out) lode_must_use;
/* Everything before the body: limits, Host, token, route, scope. Sets an error reply on refusal. */
void srv_request_admit(struct srv_request *request);
void srv_request_free(struct srv_request *request);
const char *srv_request_arg(const struct srv_request *request,
                            const char *key); /* NULL if absent */
int srv_request_arg_u64(const struct srv_request *request, const char *key, uint64_t max,
                        uint64_t *out, struct lode_err *err) lode_must_use;
int srv_request_arg_bool(const struct srv_request *request, const char *key, bool *out,
                         struct lode_err *err) lode_must_use;
int srv_request_arg_flag(const struct srv_request *request, const char *key, bool *out,
                         struct lode_err *err) lode_must_use;
const char *srv_request_header(const struct srv_request *request, const char *name);
/* The body as an object with no other fields than `allowed` (NULL-ended); an absent body is {}. */
int srv_request_json(struct srv_request *request, const char *const *allowed, json_t **out,
                     struct lode_err *err) lode_must_use;
/* The version that the path names: name, seq or alias. Hides what the caller's patterns do not
 * cover. */
int srv_request_version(struct srv_request *request, bool any_state, struct lode_version *out,
                        struct lode_err *err) lode_must_use;
int srv_request_ref(const struct srv_request *request, const char *rev, struct lode_ref *out,
                    struct lode_err *err) lode_must_use;
struct lode_act srv_request_act(const struct srv_request *request, const char *why);
/* `s` decoded in place once; false for a bad escape, NUL or invalid UTF-8. */
bool srv_percent_decode(char *s, size_t *len);
/* Splits a raw path and decodes each part once, as invariant 1 says. */
int srv_path_split(struct srv_request *request, const char *url,
                   struct lode_err *err) lode_must_use;
/* The parts from `first` on, divided by slashes; owned. NULL when out of memory or over
 * LODE_PATH_MAX. */
char *srv_path_join(const struct srv_request *request, size_t first);

/* reply.c: they consume nothing but what they say, and return 0 */
int srv_reply_json(struct srv_request *request, int status,
                   json_t *doc); /* consumes the reference; NULL: out of memory */
int srv_reply_text(struct srv_request *request, int status, const char *type, char *text,
                   size_t len); /* owns text */
int srv_reply_empty(struct srv_request *request, int status);
int srv_reply_error(struct srv_request *request, int status, int code,
                    const struct lode_err *err); /* status 0: the code's */
int srv_reply_fail(struct srv_request *request, int status, int code, const char *fmt, ...)
    lode_printf(4, 5);
void srv_reply_header(struct srv_request *request, const char *name, const char *fmt, ...)
    lode_printf(3, 4);
void srv_reply_release(struct srv_reply *reply);
/* Makes libmicrohttpd's answer and queues it. */
enum MHD_Result srv_reply_send(struct srv_request *request);

/* http.c */
int srv_http_start(struct lode_server *server, int listen_fd, const char *cert, const char *key,
                   struct lode_err *err) lode_must_use;
/* Suspends a request's connection and gives its task to a worker; false, with the connection
 * resumed, if there are none any more. Event threads only. */
bool srv_work(struct lode_server *server, struct MHD_Connection *mhd, struct srv_task *task);

struct srv_hub;
struct srv_attempts;
struct srv_jobs;
struct srv_checked;

struct lode_server {
    struct lode_serve_options options; /* strings borrowed from the caller */
    char url[300];
    struct lode *lode;
    struct lode_catalog *catalog; /* of lode */
    struct lode_coord *coord;
    struct lode_store *store;
    struct MHD_Daemon *daemon;
    struct srv_pool *pool;
    struct srv_auth auth;
    struct srv_hosts hosts;
    struct srv_follow *follow;
    struct srv_cache *cache;
    struct srv_conns *conns;
    struct srv_access *access;
    struct srv_metrics *metrics;
    struct srv_budget budget;
    struct srv_hub *hub;
    struct srv_attempts *attempts;
    struct srv_jobs *jobs;
    struct srv_checked *checked;
    bool open; /* loopback: without tokens everybody is admin */
    atomic_bool stopping;
    atomic_uint active; /* requests between their first byte and their completion */
    char root_id[64];
    uint64_t epoch;
};
