/* Watching a server: one event stream, on a client of its own (a stream holds its connection). See
 * catalog/remote.h.
 *
 * The stream's first event says that it stands and from where to go on. When the connection is
 * lost, the watch comes back with the id of the last event heard, so that nothing is told twice or
 * missed; an id that the server no longer remembers is COMPACTED. Invariant: `lock` guards
 * everything below it; callbacks come on the HTTP client's thread. */
#include <pthread.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "catalog/remote.h"
#include "io/sse.h"
#include "model/record.h"

#define EVENT_MAX (256u << 10)
#define QUEUE_MAX 1024 /* events that wait to be taken; then the stream is held back */
#define OPEN_MS 15000  /* for a stream to begin */
#define RETRY_MS 200
#define RETRY_MAX_MS 5000
#define ID_MAX 64

struct lode_catalog_watch {
    const struct lode_catalog_ops *ops;
    struct lode_remote *remote;
    struct lode_http *http;
    char *url;
    char headers_text[3][ID_MAX + 32];
    struct lode_http_call *call; /* the taker's alone */
    struct lode_http_ask ask;
    struct lode_sse sse; /* the HTTP thread's while a call runs */
    const char *headers[4];

    pthread_mutex_t lock;
    pthread_cond_t moved;
    struct lode_journal_entry queue[QUEUE_MAX];
    size_t first, n;
    bool open, over, paused, woken;
    int result; /* of the call when over */
    struct lode_err error;
    char last_id[ID_MAX];
};

/* ---- on the HTTP client's thread ---- */

static int take_entry(struct lode_catalog_watch *w, const struct lode_sse_event *event)
{
    _cleanup_json_ json_t *doc = NULL;
    struct lode_journal_entry entry;
    int r = lode_json_parse(event->data, event->data_len, "an event", &doc, NULL);
    r = r < 0 ? r : lode_journal_entry_from_json(doc, &entry, NULL);
    if (r < 0)
        return r;
    pthread_mutex_lock(&w->lock);
    bool room = w->n < QUEUE_MAX;
    if (room)
        w->queue[(w->first + w->n++) % QUEUE_MAX] = entry;
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
    if (!room)
        lode_journal_entry_release(&entry);
    return room ? 0
                : LODE_LIMIT; /* the stream ends here and is gone on with after what was taken */
}

static int on_event(void *arg, const struct lode_sse_event *event)
{
    struct lode_catalog_watch *w = arg;
    int r = strcmp(event->name, "open") == 0 ? 0 : take_entry(w, event);
    if (r < 0)
        return r;
    pthread_mutex_lock(&w->lock);
    if (event->id[0])
        snprintf(w->last_id, sizeof(w->last_id), "%s", event->id);
    w->open = true;
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
    return 0;
}

static int on_body(void *arg, const void *bytes, size_t n)
{
    struct lode_catalog_watch *w = arg;
    return lode_sse_feed(&w->sse, bytes, n);
}

static void on_end(void *arg, int result, const struct lode_http_reply *reply,
                   const struct lode_err *err)
{
    struct lode_catalog_watch *w = arg;
    pthread_mutex_lock(&w->lock);
    w->over = true;
    w->result = result;
    w->error = (struct lode_err){0};
    if (result < 0 && err)
        w->error = *err;
    else if (reply && reply->status >= 300)
        w->result = lode_remote_refusal(reply, &w->error);
    else
        w->result = lode_err_set(&w->error, LODE_UNAVAILABLE, "the server ended the event stream");
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
}

/* ---- the taker's side ---- */

static void end_call(struct lode_catalog_watch *w)
{
    if (!w->call)
        return;
    lode_http_cancel(w->call);
    lode_http_finish(w->call, NULL, NULL);
    w->call = NULL;
    lode_sse_release(&w->sse);
}

static int begin_call(struct lode_catalog_watch *w, struct lode_err *err)
{
    end_call(w);
    lode_sse_init(&w->sse, EVENT_MAX, on_event, w);
    w->open = w->over = false;
    snprintf(w->headers_text[0], sizeof(w->headers_text[0]), "Last-Event-ID: %s", w->last_id);
    snprintf(w->headers_text[1], sizeof(w->headers_text[1]), "Lode-Revision: %llu",
             (unsigned long long)atomic_load(&w->remote->seen));
    w->headers[0] = "Accept: text/event-stream";
    w->headers[1] = w->headers_text[1];
    w->headers[2] = w->last_id[0] ? w->headers_text[0] : NULL;
    w->headers[3] = NULL;
    w->ask = (struct lode_http_ask){
        .method = "GET", .url = w->url, .headers = w->headers, .on_body = on_body, .arg = w};
    return lode_http_start(w->http, &w->ask, on_end, &w->call, err);
}

static void wait_until(struct lode_catalog_watch *w, int64_t until)
{
    struct timespec at = {until / 1000, until % 1000 * 1000000};
    pthread_cond_timedwait(&w->moved, &w->lock, &at);
}

/* Waits until the stream stands, or failed. */
static int wait_open(struct lode_catalog_watch *w, int64_t until, struct lode_err *err)
{
    pthread_mutex_lock(&w->lock);
    while (!w->open && !w->over && !w->woken && lode_mono_ms() < until)
        wait_until(w, until);
    int r = w->open ? 0 : w->woken ? LODE_CANCELLED : w->over ? w->result : LODE_TIMEOUT;
    if (r < 0 && err) {
        if (w->over && !w->woken)
            *err = w->error;
        else
            lode_err_set(err, r,
                         r == LODE_CANCELLED ? "the watch was ended"
                                             : "the server did not begin to tell");
    }
    pthread_mutex_unlock(&w->lock);
    return r;
}

static int make_url(struct lode_catalog_watch *w, enum lode_watch_scope scope, const char *ns,
                    const char *name, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("GET");
    lode_buf_addf(&ask.path, "%s/v1/watch", w->remote->url);
    if (scope == LODE_WATCH_MODEL) {
        lode_remote_query(&ask, "ns", ns);
        lode_remote_query(&ask, "name", name);
    }
    int r = lode_buf_check(&ask.path, "a watch", err);
    w->url = r < 0 ? NULL : lode_buf_steal(&ask.path);
    return w->url ? 0 : r < 0 ? r : lode_err_nomem(err, "a watch");
}

static void init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

int lode_remote_watch(struct lode_catalog *self, enum lode_watch_scope scope, const char *ns,
                      const char *name, const char *from_event, struct lode_catalog_watch **out,
                      struct lode_err *err)
{
    struct lode_remote *remote = lode_remote_of(self);
    /* A header's value loses spaces at its ends on the way, so what is no id is found here. */
    if (from_event && (!*from_event || strspn(from_event, "0123456789:.") != strlen(from_event) ||
                       strlen(from_event) >= ID_MAX))
        return lode_err_set(err, LODE_INVALID, "%s is no event; events look like 1:4711.2",
                            lode_q(from_event));
    struct lode_catalog_watch *w = lode_zalloc(sizeof(*w));
    if (!w)
        return lode_err_nomem(err, "a watch");
    w->ops = remote->ops;
    w->remote = remote;
    pthread_mutex_init(&w->lock, NULL);
    init_cond(&w->moved);
    if (from_event)
        snprintf(w->last_id, sizeof(w->last_id), "%s", from_event);
    struct lode_http_options options = {.token = remote->token,
                                        .origin = remote->url,
                                        .ca_file = remote->cacert,
                                        .agent = "lode",
                                        .connections = 1};
    int r = make_url(w, scope, ns, name, err);
    r = r < 0 ? r : lode_http_new(&options, &w->http, err);
    r = r < 0 ? r : begin_call(w, err);
    r = r < 0 ? r : wait_open(w, lode_mono_ms() + OPEN_MS, err);
    if (r < 0) {
        lode_remote_watch_close(w);
        return r;
    }
    *out = w;
    return 0;
}

/* True with an entry. */
static bool take(struct lode_catalog_watch *w, struct lode_journal_entry *out)
{
    if (w->n == 0)
        return false;
    *out = w->queue[w->first];
    w->first = (w->first + 1) % QUEUE_MAX;
    w->n--;
    return true;
}

/* Comes back after a lost connection; what cannot be mended is answered. */
static int come_back(struct lode_catalog_watch *w, int64_t until, struct lode_err *err)
{
    struct lode_err why = {0};
    for (int64_t pause = RETRY_MS;; pause = pause * 2 < RETRY_MAX_MS ? pause * 2 : RETRY_MAX_MS) {
        int64_t now = lode_mono_ms();
        int r = begin_call(w, &why);
        r = r < 0 ? r : wait_open(w, now + OPEN_MS < until ? now + OPEN_MS : until, &why);
        if (r == 0)
            return 0;
        if (!lode_code_is_transient(r) && r != LODE_LIMIT && r != LODE_IO) {
            if (err)
                *err = why;
            return r;
        }
        pthread_mutex_lock(&w->lock);
        if (!w->woken && lode_mono_ms() < until)
            wait_until(w, lode_mono_ms() + pause < until ? lode_mono_ms() + pause : until);
        bool woken = w->woken;
        pthread_mutex_unlock(&w->lock);
        if (woken)
            return lode_err_set(err, LODE_CANCELLED, "the watch was ended");
        if (lode_mono_ms() >= until)
            return lode_err_set(err, LODE_TIMEOUT,
                                "nothing happened; the server cannot be reached: %s", why.text);
    }
}

int lode_remote_watch_next(struct lode_catalog_watch *w, int64_t timeout_ms,
                           struct lode_journal_entry *out, struct lode_err *err)
{
    int64_t until = timeout_ms < 0 ? INT64_MAX / 2 : lode_mono_ms() + timeout_ms;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (w->n == 0 && !w->over && !w->woken && lode_mono_ms() < until)
            wait_until(w, until);
        bool woken = w->woken, got = !woken && take(w, out), over = w->over;
        pthread_mutex_unlock(&w->lock);
        if (woken)
            return lode_err_set(err, LODE_CANCELLED, "the watch was ended");
        if (got)
            return 0;
        int r =
            over ? come_back(w, until, err) : lode_err_set(err, LODE_TIMEOUT, "nothing happened");
        if (r < 0)
            return r;
    }
}

void lode_remote_watch_wake(struct lode_catalog_watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->woken = true;
    pthread_cond_broadcast(&w->moved);
    pthread_mutex_unlock(&w->lock);
}

void lode_remote_watch_close(struct lode_catalog_watch *w)
{
    if (!w)
        return;
    end_call(w);
    lode_http_free(w->http);
    struct lode_journal_entry entry;
    while (take(w, &entry))
        lode_journal_entry_release(&entry);
    pthread_cond_destroy(&w->moved);
    pthread_mutex_destroy(&w->lock);
    lode_free(w->url);
    lode_free(w);
}
