/* Reading over HTTP: ranges are cut into requests, of which a batch keeps several in flight over
 * kept-alive connections, straight into the caller's memory. A request is told as read when its
 * last byte has come: a server that finds damage while it sends breaks off, and then nothing of
 * that request counts.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "store/http.h"
#include "store/util.h"
#include "store/wrap.h"

#define REQUEST_MAX (8u << 20) /* bytes of one request */
#define IN_FLIGHT 32           /* requests of one batch */

struct request {
    struct request *next; /* in the batch's list */
    struct http_read *read;
    size_t i, from, len; /* the bytes of the caller's range */
    char *url;
    char range[64];
    const char *headers[2];
    struct lode_http_ask ask;
    /* NULL until its start has returned; guarded by the read's lock */
    struct lode_http_call *call;
    /* its callback is over but for freeing; guarded by the read's lock */
    bool ended;
    struct lode_err refused; /* what is wrong with the reply's head */
};

/* A request is started by read() or by the end of another, and reaped by the thread that waits:
 * a call cannot be finished from a callback. */
struct http_read {
    const struct lode_store_ops *ops;
    struct http_store *store;
    struct lode_relay relay;
    pthread_mutex_t lock; /* guards all below; not held over a call's start or finish */
    pthread_cond_t changed;
    size_t at_range, at_byte; /* what is asked for next */
    size_t in_flight;         /* requests started and not ended */
    struct request *live;     /* all that are not reaped */
    bool cancelled;
};

/* ---- one request ---- */

/* "bytes <first>-<last>/<size>" of exactly the range that was asked for. */
static bool range_fits(const char *text, uint64_t first, uint64_t len)
{
    uint64_t from, to, size;
    if (!text || strncmp(text, "bytes ", 6) != 0)
        return false;
    text += 6;
    const char *dash = strchr(text, '-'), *slash = dash ? strchr(dash, '/') : NULL;
    return slash && http_number(text, dash, &from) && http_number(dash + 1, slash, &to) &&
           http_number(slash + 1, slash + strlen(slash), &size) && from == first &&
           to == first + len - 1 && to < size;
}

static bool length_is(const struct lode_http_reply *reply, uint64_t len)
{
    const char *text = lode_http_header(reply, "content-length");
    uint64_t n;
    return text && http_number(text, text + strlen(text), &n) && n == len;
}

/* Refuses another range than was asked for before its first byte is taken. */
static int check_head(void *arg, const struct lode_http_reply *reply)
{
    struct request *request = arg;
    const struct lode_store_range *range = &request->read->relay.ranges[request->i];
    uint64_t first = range->offset + request->from;
    const char *why = NULL;
    if (reply->status >= 400)
        return 0;
    if (reply->status == 206 &&
        !range_fits(lode_http_header(reply, "content-range"), first, request->len) &&
        !LODE_PLANTED(store_http_range_unchecked))
        why = "not with the range that was asked for";
    else if (reply->status == 200 && first != 0)
        why = "it does not know ranges";
    else if (reply->status != 206 && reply->status != 200)
        why = "not with bytes";
    else if (!length_is(reply, request->len))
        why = "not with the length that was asked for";
    return why ? http_strange(request->read->store, range->key, reply, why, &request->refused) : 0;
}

/* What the end of a request means for its range. */
static int judge(struct request *request, int result, const struct lode_http_reply *reply,
                 const struct lode_err *err, struct lode_err *failure)
{
    const struct lode_store_range *range = &request->read->relay.ranges[request->i];
    struct http_store *store = request->read->store;
    if (request->refused.code) {
        *failure = request->refused;
        return failure->code;
    }
    if (result < 0) {
        *failure = *err;
        lode_err_prefix(failure, "cannot read %zu bytes at %" PRIu64 " of %s in %s", request->len,
                        range->offset + request->from, lode_q(range->key), store->base.url);
        return result;
    }
    if (reply->status >= 400)
        return http_refused(store, "read", range->key, reply, failure);
    if (reply->received == request->len)
        return 0;
    return lode_err_set(failure, LODE_UNAVAILABLE, "the reply for %s in %s ends early",
                        lode_q(range->key), store->base.url);
}

static void start_some(struct http_read *read);

/* On the client's thread. Its last word is `ended`: from then on the waiting thread may free
 * everything. */
static void request_done(void *arg, int result, const struct lode_http_reply *reply,
                         const struct lode_err *err)
{
    struct request *request = arg;
    struct http_read *read = request->read;
    struct lode_err failure = {0};
    if (judge(request, result, reply, err, &failure) < 0)
        lode_relay_fail(&read->relay, request->i, request->len, &failure);
    else
        lode_relay_ok(&read->relay, request->i, request->from, request->len);
    pthread_mutex_lock(&read->lock);
    read->in_flight--;
    pthread_mutex_unlock(&read->lock);
    start_some(read);
    pthread_mutex_lock(&read->lock);
    request->ended = true;
    pthread_cond_broadcast(&read->changed);
    pthread_mutex_unlock(&read->lock);
}

/* ---- the batch ---- */

static void request_free(struct request *request)
{
    lode_free(request->url);
    lode_free(request);
}

static struct request *request_new(struct http_read *read, size_t i, size_t from, size_t len,
                                   struct lode_err *err)
{
    const struct lode_store_range *range = &read->relay.ranges[i];
    struct request *request = lode_zalloc(sizeof *request);
    if (!request) {
        lode_err_nomem(err, "a request");
        return NULL;
    }
    *request = (struct request){.read = read, .i = i, .from = from, .len = len};
    request->url = http_url(read->store, range->key, "", err);
    if (!request->url) {
        lode_free(request);
        return NULL;
    }
    uint64_t first = range->offset + from;
    snprintf(request->range, sizeof request->range, "Range: bytes=%" PRIu64 "-%" PRIu64, first,
             first + len - 1);
    request->headers[0] = request->range;
    request->ask = (struct lode_http_ask){
        .method = "GET",
        .url = request->url,
        .headers = request->headers,
        .into = (char *)range->into + from,
        .into_len = len,
        .on_head = check_head,
        .arg = request,
    };
    return request;
}

/* Takes the next bytes to ask for. False when there are none, or enough is in flight. */
static bool take_next(struct http_read *read, size_t *i, size_t *from, size_t *len)
{
    pthread_mutex_lock(&read->lock);
    bool some = !read->cancelled && read->at_range < read->relay.n && read->in_flight < IN_FLIGHT;
    if (some) {
        const struct lode_store_range *range = &read->relay.ranges[read->at_range];
        *i = read->at_range;
        *from = read->at_byte;
        *len = lode_min(range->len - read->at_byte, (size_t)REQUEST_MAX);
        read->at_byte += *len;
        if (read->at_byte == range->len) {
            read->at_range++;
            read->at_byte = 0;
        }
        read->in_flight++;
    }
    pthread_mutex_unlock(&read->lock);
    return some;
}

static void link_request(struct http_read *read, struct request *request)
{
    pthread_mutex_lock(&read->lock);
    request->next = read->live;
    read->live = request;
    pthread_mutex_unlock(&read->lock);
}

/* Called with the lock held. */
static void unlink_request(struct http_read *read, struct request *request)
{
    struct request **at = &read->live;
    while (*at != request)
        at = &(*at)->next;
    *at = request->next;
}

/* The call is known: a cancel that came meanwhile did not reach it. */
static void started(struct http_read *read, struct request *request, struct lode_http_call *call)
{
    pthread_mutex_lock(&read->lock);
    request->call = call;
    if (read->cancelled && !request->ended)
        lode_http_cancel(call);
    pthread_cond_broadcast(&read->changed);
    pthread_mutex_unlock(&read->lock);
}

static void not_started(struct http_read *read, struct request *request, size_t i, size_t len,
                        const struct lode_err *failure)
{
    lode_relay_fail(&read->relay, i, len, failure);
    pthread_mutex_lock(&read->lock);
    read->in_flight--;
    if (request)
        unlink_request(read, request);
    pthread_cond_broadcast(&read->changed);
    pthread_mutex_unlock(&read->lock);
    if (request)
        request_free(request);
}

static void start_some(struct http_read *read)
{
    for (size_t i, from, len; take_next(read, &i, &from, &len);) {
        struct lode_err failure = {0};
        struct lode_http_call *call;
        struct request *request = request_new(read, i, from, len, &failure);
        if (request)
            link_request(read, request);
        if (request &&
            lode_http_start(read->store->http, &request->ask, request_done, &call, &failure) == 0)
            started(read, request, call);
        else
            not_started(read, request, i, len, &failure);
    }
}

/* Frees what has ended, waits for the rest. */
static void reap_all(struct http_read *read)
{
    pthread_mutex_lock(&read->lock);
    for (;;) {
        struct request *request = read->live;
        while (request && !(request->ended && request->call))
            request = request->next;
        bool more = read->live || read->in_flight > 0 ||
                    (!read->cancelled && read->at_range < read->relay.n);
        if (!request && !more)
            break;
        if (!request) {
            pthread_cond_wait(&read->changed, &read->lock);
            continue;
        }
        unlink_request(read, request);
        pthread_mutex_unlock(&read->lock);
        int r = lode_http_finish(request->call, NULL, NULL);
        (void)r; /* its callback has told it */
        request_free(request);
        pthread_mutex_lock(&read->lock);
    }
    pthread_mutex_unlock(&read->lock);
}

static void read_free(struct http_read *read)
{
    lode_relay_release(&read->relay);
    pthread_mutex_destroy(&read->lock);
    pthread_cond_destroy(&read->changed);
    lode_free(read);
}

int http_read(struct lode_store *store, const struct lode_store_range *ranges, size_t n,
              lode_store_read_done *done, void *arg, struct lode_store_read **out,
              struct lode_err *err)
{
    struct http_read *read = lode_zalloc(sizeof *read);
    if (!read)
        return lode_err_nomem(err, "a read");
    read->ops = lode_store_ops_of(store);
    read->store = http_of(store);
    int r = lode_relay_init(&read->relay, ranges, n, done, arg, err);
    if (r < 0) {
        lode_free(read);
        return r;
    }
    pthread_mutex_init(&read->lock, NULL);
    lode_cond_init(&read->changed);
    start_some(read);
    *out = (struct lode_store_read *)(void *)read;
    return 0;
}

int http_read_wait(struct lode_store_read *handle, struct lode_err *err)
{
    struct http_read *read = (struct http_read *)(void *)handle;
    reap_all(read);
    int r = lode_relay_result(&read->relay, err);
    read_free(read);
    return r;
}

void http_read_cancel(struct lode_store_read *handle)
{
    struct http_read *read = (struct http_read *)(void *)handle;
    pthread_mutex_lock(&read->lock);
    read->cancelled = true;
    for (struct request *request = read->live; request; request = request->next) {
        if (request->call && !request->ended)
            lode_http_cancel(request->call);
    }
    pthread_mutex_unlock(&read->lock);
    reap_all(read);
    read_free(read);
}
