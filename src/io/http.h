/* The HTTP client: requests over kept-alive connections, many at once, streaming both ways with
 * bounded memory.
 *
 * A client owns one background thread that runs all its transfers (libcurl multi). lode_http_do()
 * waits for one request; lode_http_start() returns at once. Callbacks come on the client's thread
 * and must not block: one that cannot take or give bytes now answers LODE_HTTP_PAUSE and is called
 * again after lode_http_resume().
 *
 * What the network did is the code that is returned; what the server said is the reply's status. A
 * request that got a reply is 0, whatever the status. Nothing is retried here but what libcurl
 * itself does with a kept connection that the server had closed, before any byte of a reply;
 * redirects are replies like any other; proxies are taken from the environment (https_proxy,
 * no_proxy).
 *
 * Bodies of replies with a status of 400 and more always go to reply->body (cut at
 * LODE_HTTP_ERROR_MAX), never to `into` or `on_body`.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

struct lode_http;
struct lode_http_call;

#define LODE_HTTP_PAUSE 1

/* All may be zero. Strings are copied. */
struct lode_http_options {
    const char *token;    /* bearer token; sent to `origin` alone, never logged, wiped at the end */
    const char *origin;   /* "https://host:port" */
    const char *ca_file;  /* PEM file of the authorities to trust instead of the system's */
    const char *agent;    /* User-Agent */
    long connect_ms;      /* to connect; 0: 10 s */
    long idle_ms;         /* without a byte moved, pauses apart; 0: 60 s; rounded up to seconds */
    unsigned connections; /* at once to one host; 0: 64. Long-lived streams count: give them a
                             client of their own */
};

struct lode_http_reply {
    int status;           /* 200 ...; 0 while none has come */
    struct lode_buf head; /* "name\0value\0" pairs, names in lower case: lode_http_header() */
    struct lode_buf body; /* unless it went elsewhere */
    uint64_t received;    /* bytes of the body that went to `into` or `on_body` */
};

/* What is asked. All is borrowed until the call is over. */
struct lode_http_ask {
    const char *method;         /* "GET", "HEAD", "PUT", "POST", "DELETE", ... */
    const char *url;            /* http or https */
    const char *const *headers; /* "Name: value", NULL-ended; NULL: none */
    bool expect_continue;       /* ask the server before sending the body */

    /* The request's body, at most one of: */
    const void *body; /* memory of body_len bytes */
    int body_fd;      /* with body_is_file: body_len bytes of this file from body_offset */
    bool body_is_file;
    uint64_t body_offset;
    int (*body_next)(void *arg, void *buf, size_t room,
                     size_t *n); /* 0 with n > 0 bytes, 0 with n == 0 at the end,
       LODE_HTTP_PAUSE, or a negative code that ends the call */
    uint64_t body_len;           /* bytes; LODE_HTTP_UNKNOWN with body_next: sent in chunks */

    /* Where the reply's body goes: */
    void *into; /* memory of into_len bytes; a longer body is LIMIT */
    size_t into_len;
    int (*on_body)(void *arg, const void *p,
                   size_t n); /* takes all n bytes and answers 0, or takes none and answers
                LODE_HTTP_PAUSE or a negative code. With `into`: told of bytes that have
                arrived there; must not pause */
    size_t max_body; /* else reply->body, at most this; 0: LODE_HTTP_BODY_MAX; longer is LIMIT */

    int (*on_head)(
        void *arg,
        const struct lode_http_reply *reply); /* all headers are there; negative ends the call */
    int (*cancelled)(
        void *arg); /* lode_http_do only: asked several times a second; non-zero cancels */
    void *arg;      /* of all callbacks */
    long total_ms;  /* for the whole call; 0: none */
};
#define LODE_HTTP_UNKNOWN UINT64_MAX

/* NO_MEMORY; INVALID for a CA file that cannot be read. */
int lode_http_new(const struct lode_http_options *options, struct lode_http **out,
                  struct lode_err *err) lode_must_use;

/* All calls are over. NULL is fine. */
void lode_http_free(struct lode_http *http);

/* Asks and waits. 0 when a reply has come whole (look at reply->status; release the reply in any
 * case). UNAVAILABLE: no connection, or it broke (worth a retry if the request may be repeated);
 * TIMEOUT; CANCELLED; DENIED: the certificate is not trusted; LIMIT: larger than allowed; INVALID:
 * the URL; a callback's own code. Thread-safe, not from callbacks. */
int lode_http_do(struct lode_http *http, const struct lode_http_ask *ask,
                 struct lode_http_reply *reply, struct lode_err *err) lode_must_use;

/* Starts; `done` (may be NULL) is called once on the client's thread, with the code and message
 * that lode_http_finish() will give. The call must be finished. Thread-safe, also from callbacks.
 */
int lode_http_start(struct lode_http *http, const struct lode_http_ask *ask,
                    void (*done)(void *arg, int result, const struct lode_http_reply *reply,
                                 const struct lode_err *err),
                    struct lode_http_call **out, struct lode_err *err) lode_must_use;

/* Ends a call early: CANCELLED, unless it is over already. Does not wait. Thread-safe, also from
 * callbacks. */
void lode_http_cancel(struct lode_http_call *call);

/* Goes on after LODE_HTTP_PAUSE. Harmless otherwise. Thread-safe, also from callbacks. */
void lode_http_resume(struct lode_http_call *call);

/* Waits for the end, frees the call and answers like lode_http_do(). `reply` may be NULL. No
 * callback comes after it. Not from callbacks. */
int lode_http_finish(struct lode_http_call *call, struct lode_http_reply *reply,
                     struct lode_err *err);

/* The value of a header (name in lower case), the first of that name; NULL if there is none. */
const char *lode_http_header(const struct lode_http_reply *reply, const char *name);

void lode_http_reply_release(struct lode_http_reply *reply);
#define _cleanup_http_reply_ lode_cleanup(lode_http_reply_release)

/* Appends `s` percent-encoded: all but unreserved characters, and '/' where it is kept. */
void lode_http_add_escaped(struct lode_buf *b, const char *s, size_t len, bool keep_slash);

LODE_DEFINE_CLEANUP(struct lode_http *, lode_http_freep, lode_http_free)
#define _cleanup_http_ lode_cleanup(lode_http_freep)
