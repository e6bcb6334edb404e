/* Changes as they happen, to any number of event streams (text/event-stream) from one watch of the
 * catalog.
 *
 *   catalog watch -> thread -> ring of rendered events -> each stream copies from the ring in its
 * event thread
 *
 * An event is rendered once. A stream that has told everything is suspended; the thread resumes it
 * when the ring moves, or every HEARTBEAT_MS with a comment, so that dead peers are noticed. A
 * stream that falls behind the ring is closed: its client comes back with Last-Event-ID and is
 * brought up to date from the catalog's own history (backlog).
 *
 * Invariants
 *  1. A stream tells every event of its models once, in order, or ends.
 *  2. A suspended watcher is marked so under the lock, and resumed once by whoever clears the mark.
 */
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "model/record.h"
#include "server/rooms.h"

#define RING 16384
#define HEARTBEAT_MS 15000
#define BACKLOG_MAX (8u << 20)
#define EVENT_MAX (64u << 10)
#define EVENT_ID 64

struct place { /* of an event: "<epoch>:<revision>.<index>" */
    uint64_t revision, index;
};

struct event {
    char *text;
    size_t len;
    char ns[LODE_NAME_MAX + 1], name[LODE_NAME_MAX + 1];
    struct place place;
};

struct watcher {
    struct watcher *prev, *next;
    struct srv_hub *hub;
    struct MHD_Connection *mhd;
    struct srv_caller caller;     /* held */
    char ns[LODE_NAME_MAX + 1];   /* "": all */
    char name[LODE_NAME_MAX + 1]; /* "": all */
    struct lode_buf backlog;      /* to be told before the ring */
    size_t told;                  /* bytes of the backlog, or of the event at `at` */
    uint64_t at;                  /* number of the next event */
    struct place after;           /* events up to here were in the backlog */
    bool suspended, beat;         /* guarded by the hub's lock */
};

struct srv_hub {
    struct lode_server *server;
    pthread_mutex_t lock;
    struct event ring[RING]; /* guarded by lock, all below too */
    uint64_t first, next;    /* numbers of the oldest event kept and of the one to come */
    struct watcher *watchers;
    size_t n;
    bool closed;
    char last_id[EVENT_ID]; /* of the newest event, for Last-Event-ID of who has heard none yet */
    struct lode_catalog_watch *watch;
    atomic_bool stopping;
    pthread_t thread;
    bool started;
};

static bool place_parse(const char *id, struct place *out)
{
    const char *p = id ? strchr(id, ':') : NULL;
    *out = (struct place){0};
    if (!p)
        return false;
    for (p++; *p >= '0' && *p <= '9'; p++)
        out->revision = out->revision * 10 + (uint64_t)(*p - '0');
    if (*p != '.')
        return false;
    for (p++; *p >= '0' && *p <= '9'; p++)
        out->index = out->index * 10 + (uint64_t)(*p - '0');
    return *p == '\0';
}

static bool is_after(struct place a, struct place b)
{
    return a.revision > b.revision || (a.revision == b.revision && a.index > b.index);
}

static void render(const struct lode_journal_entry *e, struct lode_buf *out)
{
    _cleanup_json_ json_t *doc = lode_journal_entry_to_json(e);
    _cleanup_free_ char *text = doc ? lode_json_text(doc, NULL) : NULL;
    if (text)
        lode_buf_addf(out, "id: %s\nevent: %s\ndata: %s\n\n", e->event ? e->event : "",
                      lode_change_name(e->change), text);
    else
        out->failed = LODE_NO_MEMORY;
}

/* ---- the ring ---- */

static void wake_all(struct srv_hub *self)
{
    for (struct watcher *w = self->watchers; w; w = w->next) {
        if (w->suspended) {
            w->suspended = false;
            MHD_resume_connection(w->mhd);
        }
    }
}

static void publish(struct srv_hub *self, const struct lode_journal_entry *e)
{
    struct lode_buf text = LODE_BUF_INIT(EVENT_MAX);
    render(e, &text);
    if (text.failed) {
        lode_log_warn("an event of %s could not be told; its streams are ended", e->name);
        lode_buf_release(&text);
        return;
    }
    pthread_mutex_lock(&self->lock);
    struct event *slot = &self->ring[self->next % RING];
    if (self->next - self->first == RING)
        self->first++;
    lode_free(slot->text);
    *slot = (struct event){.len = text.len};
    slot->text = lode_buf_steal(&text);
    snprintf(slot->ns, sizeof(slot->ns), "%s", e->ns);
    snprintf(slot->name, sizeof(slot->name), "%s", e->name);
    place_parse(e->event, &slot->place);
    snprintf(self->last_id, sizeof(self->last_id), "%s", e->event ? e->event : "");
    self->next++;
    wake_all(self);
    pthread_mutex_unlock(&self->lock);
}

void srv_hub_end_streams(struct srv_hub *self)
{
    pthread_mutex_lock(&self->lock);
    self->first = ++self->next; /* nobody's next event is kept any more */
    wake_all(self);
    pthread_mutex_unlock(&self->lock);
}

static void heartbeat(struct srv_hub *self)
{
    pthread_mutex_lock(&self->lock);
    for (struct watcher *w = self->watchers; w; w = w->next)
        w->beat = true;
    wake_all(self);
    pthread_mutex_unlock(&self->lock);
}

/* ---- following the catalog ---- */

static int open_watch(struct srv_hub *self, const char *from, struct lode_err *err)
{
    struct lode_catalog *catalog = self->server->catalog;
    struct lode_catalog_watch *watch;
    int r =
        lode_catalog_ops_of(catalog)->watch(catalog, LODE_WATCH_ALL, NULL, NULL, from, &watch, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&self->lock);
    self->watch = watch;
    pthread_mutex_unlock(&self->lock);
    return 0;
}

static void close_watch(struct srv_hub *self)
{
    pthread_mutex_lock(&self->lock);
    struct lode_catalog_watch *watch = lode_steal(self->watch);
    pthread_mutex_unlock(&self->lock);
    if (watch)
        lode_catalog_ops_of(watch)->watch_close(watch);
}

static int next_event(struct srv_hub *self, struct lode_err *err)
{
    struct lode_journal_entry entry;
    int r = lode_catalog_ops_of(self->watch)->watch_next(self->watch, 1000, &entry, err);
    if (r < 0)
        return r == LODE_TIMEOUT ? 0 : r;
    if (!LODE_PLANTED(sse_drop) || entry.number % 7 != 0)
        publish(self, &entry);
    lode_journal_entry_release(&entry);
    return 0;
}

static void recover(struct srv_hub *self, int code, const char *why)
{
    close_watch(self);
    lode_log_warn("the event streams lost their root and look again: %s", why);
    if (code == LODE_COMPACTED)
        srv_hub_end_streams(self);
    struct lode_err err = {0};
    const char *from = code == LODE_COMPACTED || !self->last_id[0] ? NULL : self->last_id;
    while (!atomic_load(&self->stopping) && open_watch(self, from, &err) < 0)
        lode_sleep_ms(250);
    if (!from)
        srv_hub_end_streams(self);
}

static void *follow(void *arg)
{
    struct srv_hub *self = arg;
    int64_t beat = lode_mono_ms() + HEARTBEAT_MS;
    struct lode_err err = {0};
    while (!atomic_load(&self->stopping)) {
        int r = next_event(self, &err);
        if (r < 0 && !atomic_load(&self->stopping))
            recover(self, r, err.text);
        if (lode_mono_ms() >= beat) {
            heartbeat(self);
            beat = lode_mono_ms() + HEARTBEAT_MS;
        }
    }
    return NULL;
}

int srv_hub_start(struct lode_server *server, struct srv_hub **out, struct lode_err *err)
{
    struct srv_hub *self = lode_zalloc(sizeof(*self));
    if (!self)
        return lode_err_nomem(err, "the event streams");
    self->server = server;
    pthread_mutex_init(&self->lock, NULL);
    *out = self;
    int r = open_watch(self, NULL, err);
    if (r < 0)
        return r;
    r = pthread_create(&self->thread, NULL, follow, self);
    self->started = r == 0;
    return r == 0 ? 0 : lode_err_num(err, r, "cannot start the event streams");
}

void srv_hub_close(struct srv_hub *self)
{
    pthread_mutex_lock(&self->lock);
    self->closed = true;
    wake_all(self);
    pthread_mutex_unlock(&self->lock);
}

void srv_hub_stop(struct srv_hub *self)
{
    if (!self)
        return;
    atomic_store(&self->stopping, true);
    pthread_mutex_lock(&self->lock);
    if (self->watch)
        lode_catalog_ops_of(self->watch)->watch_wake(self->watch);
    pthread_mutex_unlock(&self->lock);
    if (self->started)
        pthread_join(self->thread, NULL);
    close_watch(self);
    for (size_t i = 0; i < RING; i++)
        lode_free(self->ring[i].text);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}

uint64_t srv_hub_watchers(struct srv_hub *self)
{
    pthread_mutex_lock(&self->lock);
    uint64_t n = self->n;
    pthread_mutex_unlock(&self->lock);
    return n;
}

uint64_t srv_hub_events(struct srv_hub *self)
{
    pthread_mutex_lock(&self->lock);
    uint64_t n = self->next;
    pthread_mutex_unlock(&self->lock);
    return n;
}

/* ---- one stream ---- */

static bool wanted(const struct watcher *w, const char *ns, const char *name)
{
    return (!w->ns[0] || strcmp(w->ns, ns) == 0) && (!w->name[0] || strcmp(w->name, name) == 0) &&
           srv_caller_may(&w->caller, ns, name);
}

static bool concerns(const struct watcher *w, const struct event *e)
{
    return (is_after(e->place, w->after) || !w->after.revision) && wanted(w, e->ns, e->name);
}

static size_t copy_some(struct watcher *w, const char *text, size_t len, char *out, size_t room)
{
    size_t n = lode_min(len - w->told, room);
    memcpy(out, text + w->told, n);
    w->told += n;
    return n;
}

static size_t tell_backlog(struct watcher *w, char *out, size_t room)
{
    size_t n = copy_some(w, w->backlog.data, w->backlog.len, out, room);
    if (w->told == w->backlog.len) {
        lode_buf_release(&w->backlog);
        w->told = 0;
    }
    return n;
}

/* As many events of the ring as fit; a part of one is gone on with next time. */
static size_t tell_ring(struct srv_hub *self, struct watcher *w, char *out, size_t room)
{
    size_t n = 0;
    while (w->at < self->next && n < room) {
        const struct event *e = &self->ring[w->at % RING];
        if (w->told || concerns(w, e)) {
            n += copy_some(w, e->text, e->len, out + n, room - n);
            if (w->told < e->len)
                break;
        }
        w->told = 0;
        w->at++;
    }
    return n;
}

static ssize_t tell(struct srv_hub *self, struct watcher *w, char *out, size_t room)
{
    static const char beat[] = ": alive\n\n";
    if (self->closed || w->at < self->first)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (w->backlog.len)
        return (ssize_t)tell_backlog(w, out, room);
    size_t n = tell_ring(self, w, out, room);
    if (n == 0 && w->beat && w->told == 0 && room >= sizeof(beat)) {
        memcpy(out, beat, sizeof(beat) - 1);
        n = sizeof(beat) - 1;
    }
    w->beat = false;
    if (n == 0) {
        w->suspended = true;
        MHD_suspend_connection(w->mhd);
    }
    return (ssize_t)n;
}

static ssize_t read_stream(void *arg, uint64_t at, char *out, size_t room)
{
    struct watcher *w = arg;
    pthread_mutex_lock(&w->hub->lock);
    ssize_t n = tell(w->hub, w, out, room);
    pthread_mutex_unlock(&w->hub->lock);
    return n;
}

static void free_stream(void *arg)
{
    struct watcher *w = arg;
    struct srv_hub *self = w->hub;
    pthread_mutex_lock(&self->lock);
    if (w->prev)
        w->prev->next = w->next;
    else
        self->watchers = w->next;
    if (w->next)
        w->next->prev = w->prev;
    self->n--;
    pthread_mutex_unlock(&self->lock);
    lode_buf_release(&w->backlog);
    srv_caller_release(&w->caller);
    lode_free(w);
}

static struct watcher *join_hub(struct srv_hub *self, struct srv_request *request)
{
    struct watcher *w = lode_zalloc(sizeof(*w));
    if (!w)
        return NULL;
    const char *ns = srv_request_arg(request, "ns"), *name = srv_request_arg(request, "name");
    w->hub = self;
    w->mhd = request->mhd;
    w->caller = srv_caller_ref(&request->caller);
    snprintf(w->ns, sizeof(w->ns), "%s", ns ? ns : name ? LODE_DEFAULT_NS : "");
    snprintf(w->name, sizeof(w->name), "%s", name ? name : "");
    lode_buf_init(&w->backlog, BACKLOG_MAX);
    pthread_mutex_lock(&self->lock);
    w->at = self->next;
    w->next = self->watchers;
    if (self->watchers)
        self->watchers->prev = w;
    self->watchers = w;
    self->n++;
    pthread_mutex_unlock(&self->lock);
    return w;
}

/* ---- coming back ---- */

static int add_history(struct watcher *w, struct lode_catalog_watch *watch, struct lode_err *err)
{
    for (;;) {
        struct lode_journal_entry entry;
        int r = lode_catalog_ops_of(watch)->watch_next(watch, 10, &entry, err);
        if (r == LODE_TIMEOUT)
            return 0;
        if (r < 0)
            return r;
        if (wanted(w, entry.ns, entry.name))
            render(&entry, &w->backlog);
        place_parse(entry.event, &w->after);
        lode_journal_entry_release(&entry);
        if (w->backlog.failed)
            return lode_err_set(err, LODE_COMPACTED,
                                "more has happened since than a stream tells: list again");
    }
}

/* What happened since `from`, out of the catalog's history. The stream joined the ring before, so
 * nothing falls between; what is in both is told once, by `after`. */
static int bring_up_to_date(struct watcher *w, struct srv_request *request, const char *from,
                            struct lode_err *err)
{
    struct lode_catalog *catalog = request->server->catalog;
    struct lode_catalog_watch *watch;
    struct place place;
    if (!place_parse(from, &place))
        return lode_err_set(err, LODE_INVALID, "%s is no event id; it looks like \"1:42.0\"",
                            lode_q(from));
    int r = lode_catalog_ops_of(catalog)->watch(
        catalog, w->name[0] ? LODE_WATCH_MODEL : LODE_WATCH_ALL, w->ns, w->name, from, &watch, err);
    if (r < 0)
        return r;
    r = add_history(w, watch, err);
    lode_catalog_ops_of(watch)->watch_close(watch);
    return r;
}

static int check_filter(struct srv_request *request, struct lode_err *err)
{
    const char *ns = srv_request_arg(request, "ns"), *name = srv_request_arg(request, "name");
    int r = 0;
    if (ns && strcmp(ns, LODE_DEFAULT_NS) != 0)
        r = lode_name_check(LODE_NAME_NAMESPACE, ns, strlen(ns), err);
    if (r == 0 && name)
        r = lode_name_check(LODE_NAME_MODEL, name, strlen(name), err);
    if (r == 0 && name && !srv_caller_may(&request->caller, ns ? ns : LODE_DEFAULT_NS, name))
        r = lode_err_set(err, LODE_DENIED, "token %s may not use this model",
                         srv_caller_name(&request->caller));
    return r;
}

/* The first words: that the stream stands, how long to wait before coming back, and from where, if
 * nothing happens meanwhile. Who comes back already has a place to go on from. */
static int greet(struct watcher *w, const struct lode_server *server, bool back, uint64_t revision,
                 struct lode_err *err)
{
    lode_buf_adds(&w->backlog, "retry: 1000\n");
    if (!back)
        lode_buf_addf(&w->backlog, "id: %llu:%llu.%u\n", (unsigned long long)server->epoch,
                      (unsigned long long)revision, UINT32_MAX);
    lode_buf_addf(&w->backlog, "event: open\ndata: {\"revision\":%llu}\n\n",
                  (unsigned long long)revision);
    return lode_buf_check(&w->backlog, "an event stream", err);
}

int srv_op_watch(struct srv_request *request, struct lode_err *err)
{
    struct lode_server *server = request->server;
    const char *from = srv_request_header(request, "Last-Event-ID");
    uint64_t revision; /* read before the stream begins: what came between is told when its client
                          comes back */
    int r = check_filter(request, err);
    r = r < 0 ? r : lode_coord_revision(server->coord, &revision, err);
    if (r < 0)
        return r;
    struct watcher *w = join_hub(server->hub, request);
    if (!w)
        return lode_err_nomem(err, "an event stream");
    bool back = from && *from;
    r = greet(w, server, back, revision, err);
    if (r == 0 && back)
        r = bring_up_to_date(w, request, from, err);
    if (r < 0) {
        free_stream(w);
        return r;
    }
    request->reply.kind = SRV_REPLY_STREAM;
    request->reply.status = 200;
    request->reply.type = "text/event-stream";
    request->reply.length = MHD_SIZE_UNKNOWN;
    request->reply.read = read_stream;
    request->reply.stream = w;
    request->reply.stream_free = free_stream;
    srv_reply_header(request, "Cache-Control", "no-store");
    return 0;
}
