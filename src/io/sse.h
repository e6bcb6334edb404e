/* Server-sent events: a pure parser of the `text/event-stream` format. Feed bytes as they come;
 * each whole event is handed out. Comments (": ping") and `retry` are passed over; lines may end
 * with \n, \r or both. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"

struct lode_sse_event {
    const char *id;   /* the last id seen; "" if none. Borrowed for the callback, like the others */
    const char *name; /* the event field; "" if none: a plain message */
    const char *data; /* lines joined by \n */
    size_t data_len;
};

/* All private but `event` and `arg`. */
struct lode_sse {
    int (*event)(void *arg,
                 const struct lode_sse_event *event); /* negative ends the feeding with that code */
    void *arg;
    struct lode_buf line, id, name, data;
    bool has_data; /* the event has a data line, perhaps an empty one */
    bool after_cr; /* the last byte was \r: a \n now belongs to it */
    bool begun;    /* the byte order mark may stand at the start alone */
};

/* `max` is the most bytes of one event. */
void lode_sse_init(struct lode_sse *s, size_t max,
                   int (*event)(void *arg, const struct lode_sse_event *event), void *arg);

/* 0; LIMIT for an event over the maximum; NO_MEMORY; the callback's code. After an error only
 * release. */
int lode_sse_feed(struct lode_sse *s, const void *p, size_t n) lode_must_use;

void lode_sse_release(struct lode_sse *s);
