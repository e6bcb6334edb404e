/* Watching: journal entries as they are written.
 *
 * A watch is the coord's watch of the journal's keys. Every change of a model adds exactly one
 * entry a change, in the same transaction, and entries are never rewritten: so each is told once,
 * in order. An event's id names the root's epoch, the revision and the place inside the
 * transaction; resuming begins at that revision and skips what was seen.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "catalog/direct.h"

struct lode_catalog_watch {
    const struct lode_catalog_ops *ops;
    struct lode_direct *d;
    struct lode_coord_watch *coord;
    uint64_t epoch;
    uint64_t seen_revision; /* events up to (seen_revision, seen_index) were told before */
    uint32_t seen_index;
    bool resumed;
    struct lode_coord_events events; /* the batch that is being told */
    size_t next;
};

struct event_id {
    uint64_t epoch, revision;
    uint32_t index;
};

static bool take_number(const char **s, char end, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    const char *at = *s;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (n > (max - (uint64_t)(*at - '0')) / 10)
            return false;
        n = n * 10 + (uint64_t)(*at - '0');
    }
    if (at == *s || *at != end)
        return false;
    *s = end ? at + 1 : at;
    *out = n;
    return true;
}

static int parse_event(const char *text, struct event_id *out, struct lode_err *err)
{
    const char *at = text;
    uint64_t index;
    if (!take_number(&at, ':', INT64_MAX, &out->epoch) ||
        !take_number(&at, '.', INT64_MAX, &out->revision) ||
        !take_number(&at, 0, UINT32_MAX, &index))
        return lode_err_set(err, LODE_INVALID, "%s is no event; events look like 1:4711.2",
                            lode_q(text));
    out->index = (uint32_t)index;
    return 0;
}

static int compacted(const char *why, struct lode_err *err)
{
    return lode_err_set(err, LODE_COMPACTED,
                        "cannot go on from that event: %s; list again and replay the journal", why);
}

/* From which revision on to watch, and what of it to skip. */
static int start_of(struct lode_catalog_watch *w, const char *from_event, uint64_t *from,
                    struct lode_err *err)
{
    struct event_id id = {0};
    uint64_t now;
    int r = lode_coord_revision(w->d->coord, &now, err);
    if (r < 0)
        return r;
    *from = now + 1;
    if (!from_event)
        return 0;
    r = parse_event(from_event, &id, err);
    if (r < 0)
        return r;
    if (id.epoch != w->epoch)
        return compacted("it is of another epoch of this root", err);
    if (id.revision > now)
        return compacted("the root has not come that far", err);
    w->resumed = true;
    w->seen_revision = id.revision;
    w->seen_index = id.index;
    *from = lode_max(id.revision, 1u);
    return 0;
}

static char *prefix_of(enum lode_watch_scope scope, const char *ns, const char *name)
{
    return scope == LODE_WATCH_ALL ? lode_strdup(LODE_KEY_JOURNALS)
                                   : lode_asprintf(LODE_KEY_JOURNALS "%s/%s/", ns, name);
}

static int begin(struct lode_catalog_watch *w, enum lode_watch_scope scope, const char *ns,
                 const char *name, const char *from_event, struct lode_err *err)
{
    uint64_t from;
    _cleanup_free_ char *prefix = prefix_of(scope, ns, name);
    if (!prefix)
        return lode_err_nomem(err, "a watch");
    int r = start_of(w, from_event, &from, err);
    return r < 0 ? r : lode_coord_watch(w->d->coord, prefix, from, &w->coord, err);
}

int lode_direct_watch(struct lode_catalog *catalog, enum lode_watch_scope scope, const char *ns,
                      const char *name, const char *from_event, struct lode_catalog_watch **out,
                      struct lode_err *err)
{
    struct lode_direct *self = (struct lode_direct *)(void *)catalog;
    int r = scope == LODE_WATCH_ALL ? 0 : lode_direct_check_names(ns, name, NULL, err);
    if (r < 0)
        return r;
    struct lode_catalog_watch *w = lode_zalloc(sizeof *w);
    if (!w)
        return lode_err_nomem(err, "a watch");
    w->ops = self->ops;
    w->d = self;
    pthread_mutex_lock(&self->lock);
    w->epoch = self->root.epoch;
    pthread_mutex_unlock(&self->lock);
    r = begin(w, scope, ns, name, from_event, err);
    if (r < 0) {
        lode_free(w);
        return r;
    }
    *out = w;
    return 0;
}

static bool told_before(const struct lode_catalog_watch *w, const struct lode_coord_event *e)
{
    if (!w->resumed || e->revision > w->seen_revision || LODE_PLANTED(catalog_watch_repeats))
        return false;
    return e->revision < w->seen_revision || e->index <= w->seen_index;
}

static int tell(struct lode_catalog_watch *w, const struct lode_coord_event *e,
                struct lode_journal_entry *out, struct lode_err *err)
{
    char *event =
        lode_asprintf("%" PRIu64 ":%" PRIu64 ".%" PRIu32, w->epoch, e->revision, e->index);
    if (!event)
        return lode_err_nomem(err, "an event");
    int r = lode_journal_record_read(&e->kv, out, err);
    if (r < 0) {
        lode_free(event);
        return r;
    }
    out->event = event;
    lode_direct_saw(w->d, e->revision);
    return 0;
}

/* The next untold event of the batch, or NULL. */
static const struct lode_coord_event *next_event(struct lode_catalog_watch *w)
{
    while (w->next < w->events.n) {
        const struct lode_coord_event *e = &w->events.items[w->next++];
        if (e->kind == LODE_COORD_EVENT_PUT && !told_before(w, e))
            return e;
    }
    return NULL;
}

int lode_direct_watch_next(struct lode_catalog_watch *w, int64_t timeout_ms,
                           struct lode_journal_entry *out, struct lode_err *err)
{
    int64_t deadline = timeout_ms < 0 ? INT64_MAX : lode_mono_ms() + timeout_ms;
    for (;;) {
        const struct lode_coord_event *e = next_event(w);
        if (e)
            return tell(w, e, out, err);
        lode_coord_events_release(&w->events);
        w->events = (struct lode_coord_events){0};
        w->next = 0;
        int64_t left = timeout_ms < 0 ? -1 : deadline - lode_mono_ms();
        int r = lode_coord_watch_next(w->coord, timeout_ms < 0 ? -1 : lode_max(left, (int64_t)0),
                                      &w->events, err);
        if (r < 0)
            return r;
        if (w->events.n == 0 && timeout_ms >= 0 && lode_mono_ms() >= deadline)
            return lode_err_set(err, LODE_TIMEOUT, "nothing changed within %lld ms",
                                (long long)timeout_ms);
    }
}

void lode_direct_watch_wake(struct lode_catalog_watch *w)
{
    lode_coord_watch_wake(w->coord);
}

void lode_direct_watch_close(struct lode_catalog_watch *w)
{
    if (!w)
        return;
    lode_coord_watch_close(w->coord);
    lode_coord_events_release(&w->events);
    lode_free(w);
}
