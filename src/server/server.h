/* `lode serve`: the library behind HTTP, and the tokens that open it.
 *
 * The server opens a root of its own (embedded, or any store and coord pair) and speaks REST over
 * it: docs/rest.md, docs/openapi/openapi.json. It runs in the calling process; nothing here is
 * exported from liblode.
 */
#pragma once
#include <lode/lode.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/attr.h"

#define LODE_SERVE_DEFAULT_LISTEN "127.0.0.1:7740"

struct lode_serve_options { /* zero: the defaults */
    const struct lode_open_options
        *root; /* what to serve; NULL: as lode_open(NULL). Not another server */
    const char
        *listen; /* "host:port", "[::1]:0"; port 0: any free one. NULL: LODE_SERVE_DEFAULT_LISTEN */
    const char *cert, *key; /* PEM files: speak TLS. Both or none */
    bool plain_http; /* listen beyond loopback without TLS: a proxy in front of it does that */
    const char *access_log;   /* file, appended to; "-" stderr, NULL none */
    const char *const *hosts; /* more names that the Host header may carry; NULL-ended or NULL */
    const char *const
        *origins;     /* web origins that may call it ("https://ui.example"); NULL-ended or NULL */
    unsigned threads; /* that handle events; 0: one a processor */
    unsigned workers; /* that may block on disks; 0: 32 */
    unsigned connections;        /* at once; 0: 8192 */
    unsigned connections_per_ip; /* at once; 0: 4096 */
    unsigned idle_s;             /* a connection without a request is closed; 0: 60 */
    unsigned header_s;           /* for a request's head to arrive; 0: 15 */
    void (*ready)(
        void *arg,
        const char *url); /* once requests are taken; NULL: none. "http://127.0.0.1:7740" */
    void *arg;
};

/* Serves until SIGTERM or SIGINT, then ends open event streams, lets running requests finish for a
 * moment and returns 0. Blocks the two signals in the calling thread while it runs. DENIED when
 * asked to listen beyond loopback while the root has no token, or without TLS or plain_http. */
int lode_serve(const struct lode_serve_options *options, struct lode_err *err) lode_must_use;

/* The same in pieces, for tests and embedding: runs in threads of its own; stop frees it. */
struct lode_server;
int lode_server_start(const struct lode_serve_options *options, struct lode_server **out,
                      struct lode_err *err) lode_must_use;
const char *lode_server_url(const struct lode_server *server);
void lode_server_stop(struct lode_server *server); /* NULL is safe */

/* ---- tokens: kept hashed in the root; whoever can write the root's files can make one ---- */

enum lode_scope {
    LODE_SCOPE_READ = 1,
    LODE_SCOPE_WRITE = 2,
    LODE_SCOPE_ADMIN = 4
}; /* each includes those before it */

struct lode_token_info {   /* lode_tokens_release */
    char *id;              /* 16 hex digits, also the middle of the secret text */
    char *name;            /* who, in journals; [A-Za-z0-9][A-Za-z0-9._-]{0,127} */
    enum lode_scope scope; /* the highest that it has */
    char **patterns; /* globs over "name" and "ns/name" that it is limited to; none: every model */
    size_t n_patterns;
    int64_t created_ms;
};
struct lode_tokens {
    struct lode_token_info *items; /* sorted by name */
    size_t n;
};

/* *secret is the token's text, shown once and never stored: lode_string_free. EXISTS for a name
 * that is taken; UNSUPPORTED where the root is a server's: tokens are made on its machine. */
int lode_token_add(struct lode *lode, const char *name, enum lode_scope scope,
                   const char *const *patterns, size_t n_patterns, char **secret,
                   struct lode_token_info *out, struct lode_err *err) lode_must_use;
int lode_token_ls(struct lode *lode, struct lode_tokens *out, struct lode_err *err) lode_must_use;
int lode_token_rm(struct lode *lode, const char *name_or_id,
                  struct lode_err *err) lode_must_use; /* NOT_FOUND */
void lode_token_info_release(struct lode_token_info *info);
void lode_tokens_release(struct lode_tokens *tokens);

/* "read", "write", "admin"; INVALID otherwise. */
int lode_scope_parse(const char *s, enum lode_scope *out, struct lode_err *err) lode_must_use;
const char *lode_scope_name(enum lode_scope scope);
