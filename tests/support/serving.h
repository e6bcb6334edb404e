/* A server in this process over a root of the test's own, and a small HTTP client that sends
 * exactly what it is told: also what no honest client would. */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include "server/server.h"

struct serving {
    struct lode *lode; /* the same root, opened beside the server */
    struct lode_server *server;
    char dir[512];
    char token[256]; /* admin; "" without */
    int port;
};

/* Starts it on a free port of loopback. `options` (may be NULL) overrides; with `with_token` the
 * root gets one. Aborts the test when it cannot be started. */
struct serving serving_start(const struct lode_serve_options *options, bool with_token);
void serving_stop(struct serving *s);

struct answer {
    int status; /* 0: the connection ended without an answer */
    char *head; /* status line and headers */
    char *body; /* NUL-terminated */
    size_t len;
};
void answer_release(struct answer *a);

/* One request on a connection of its own. `headers`: lines that end in \r\n, or NULL. The token is
 * sent unless headers have an Authorization of their own ("Authorization: \r\n": none). body NULL:
 * none; else with its Content-Length. */
struct answer serving_ask(const struct serving *s, const char *method, const char *path,
                          const char *headers, const void *body, size_t len);
/* The same with a JSON body (json text), checked for a status; the answer's document, or NULL if it
 * is none. */
json_t *serving_json(const struct serving *s, const char *method, const char *path,
                     const char *body, int status);
/* Raw bytes there, everything that comes back until the peer closes or `ms` pass. */
struct answer serving_raw(const struct serving *s, const char *bytes, size_t len, int ms);
int serving_connect(const struct serving *s);

/* A header's value, valid until the 8th next call; "" if there is none. */
const char *answer_header(const struct answer *a, const char *name);
/* The "code" of an error answer, "" if it is none. */
const char *answer_code(const struct answer *a);

/* Pushes one file with these bytes as name@version through the root beside the server. */
void serving_push(const struct serving *s, const char *model, const char *version, const char *path,
                  const void *bytes, size_t len);
