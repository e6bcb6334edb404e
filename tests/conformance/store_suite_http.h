/* A small server that speaks docs/formats/http-store.md over any store, for the suite, and
 * misbehaves on demand. Reading and writing are allowed beneath one base, so that what is
 * written can be looked at. */
#pragma once
#include "store/store.h"

enum tiny_mischief {
    TINY_HONEST,
    TINY_OTHER_RANGE, /* 206 with a range one byte further on */
    TINY_WHOLE,       /* 200 with the whole object */
    TINY_SHORT,       /* breaks off in the middle of the body */
    TINY_BUSY,        /* every other request is 503 */
    TINY_HTML,        /* 404 with a page for people */
    TINY_LONGER,      /* one byte more than was asked for */
};

struct tiny_server;

/* Listens on 127.0.0.1 at a free port. `token` NULL: none is asked for. `store` is borrowed. */
struct tiny_server *tiny_server_start(struct lode_store *store, const char *token);
const char *tiny_server_url(const struct tiny_server *self); /* the base */
void tiny_server_misbehave(struct tiny_server *self, enum tiny_mischief mischief);
unsigned tiny_server_connections(const struct tiny_server *self); /* accepted so far */
unsigned tiny_server_requests(const struct tiny_server *self);    /* answered so far */
/* what is unfinished stays so */
void tiny_server_stop(struct tiny_server *self);
