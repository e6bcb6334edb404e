/* Bytes over HTTP: the files of a committed version (read) and of an upload attempt (write), as
 * docs/formats/http-store.md says; shared by the http_*.c files, private to them.
 *
 * Each instance has an HTTP client of its own. Nothing is listed, renamed, copied or removed: a
 * server hands out one base a version, and it alone sees the whole store. Nothing is repeated
 * here: that is the retry decorator's part.
 */
#pragma once
#include <lode/store_ops.h>
#include "base/buf.h"
#include "base/err.h"
#include "io/http.h"

#define HTTP_URL_MAX (16u << 10)

struct http_store {
    struct lode_store_base base; /* url without slashes at its end */
    struct lode_http *http;
};

static inline struct http_store *http_of(struct lode_store *self)
{
    return (struct http_store *)(void *)self;
}

/* "<base>/<escaped key><query>", owned. */
char *http_url(const struct http_store *self, const char *key, const char *query,
               struct lode_err *err);

/* Asks with an empty body or the given one and waits. A status of 400 and more is a failure with
 * the server's own code and message; the reply is released by the caller in any case. */
int http_ask(struct http_store *self, const char *method, const char *key, const char *query,
             const void *body, size_t len, struct lode_http_reply *reply, struct lode_err *err);

/* What a reply with a status of 400 and more says. `what` is "read", "write part 3 of" ... */
int http_refused(const struct http_store *self, const char *what, const char *key,
                 const struct lode_http_reply *reply, struct lode_err *err);

/* A reply that is none of those that the protocol knows. */
int http_strange(const struct http_store *self, const char *key,
                 const struct lode_http_reply *reply, const char *why, struct lode_err *err);

int http_read(struct lode_store *self, const struct lode_store_range *ranges, size_t n,
              lode_store_read_done *done, void *arg, struct lode_store_read **out,
              struct lode_err *err);
int http_read_wait(struct lode_store_read *read, struct lode_err *err);
void http_read_cancel(struct lode_store_read *read);
int http_write_begin(struct lode_store *self, const char *key,
                     const struct lode_store_write_opts *opts, struct lode_store_write **out,
                     struct lode_err *err);
int http_write_parts(struct lode_store_write *write, struct lode_store_part **parts, size_t *n,
                     struct lode_err *err);
int http_write_part(struct lode_store_write *write, uint32_t number, const void *data, size_t len,
                    struct lode_err *err);
int http_write_complete(struct lode_store_write *write, uint64_t size, bool if_absent,
                        struct lode_err *err);
void http_write_abort(struct lode_store_write *write, bool keep);
int http_unfinished(struct lode_store *self, const char *dir,
                    struct lode_store_unfinished_list *out, struct lode_err *err);
int http_discard(struct lode_store *self, const char *key, const char *id, struct lode_err *err);

/* Digits only, no sign, all of `s` up to `end`; false otherwise. */
bool http_number(const char *s, const char *end, uint64_t *out);
