/* The HTTP client's thread and its calls' lives: see io/http.h.
 *
 * Invariants
 *  1. The multi handle and every easy handle that it has are used by the client's thread alone.
 *  2. `over` is set last, under the lock; after that the thread does not touch the call.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "io/http_impl.h"

#define POLL_MS 1000             /* longest sleep of the thread; wake-ups end it */
#define CANCEL_POLL_NS 100000000 /* how often lode_http_do asks `cancelled` */
#define CONNECT_MS 10000
#define IDLE_MS 60000
#define CONNECTIONS 64
#define KEPT_MAX 256 /* kept-alive connections in all */

/* ---- the thread ---- */

/* The last that the thread has to do with a call. */
static void end_call(struct lode_http_call *call, CURLcode code)
{
    struct lode_http *http = call->http;
    if (call->added)
        curl_multi_remove_handle(http->multi, call->easy);
    lode_http_call_judge(call, code);
    if (call->done)
        call->done(call->ask.arg, call->result, &call->reply, call->result ? &call->err : NULL);
    pthread_mutex_lock(&http->lock);
    *call->at = call->next;
    if (call->next)
        call->next->at = call->at;
    call->over = true;
    pthread_cond_broadcast(&call->ended);
    pthread_mutex_unlock(&http->lock);
}

/* A call that wants something, its wishes taken; NULL when there is none. */
static struct lode_http_call *next_wish(struct lode_http *http, bool *cancel, bool *resume)
{
    struct lode_http_call *call = NULL;
    pthread_mutex_lock(&http->lock);
    if (http->changed) {
        call = http->calls;
        while (call && call->added && !call->want_cancel && !call->want_resume)
            call = call->next;
    }
    if (call) {
        *cancel = call->want_cancel;
        *resume = call->want_resume;
        call->want_cancel = call->want_resume = false;
    } else {
        http->changed = false;
    }
    pthread_mutex_unlock(&http->lock);
    return call;
}

static void add_call(struct lode_http *http, struct lode_http_call *call)
{
    CURLMcode code = curl_multi_add_handle(http->multi, call->easy);
    if (code == CURLM_OK)
        call->added = true;
    else
        end_call(call, code == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_FAILED_INIT);
}

static void grant_wishes(struct lode_http *http)
{
    struct lode_http_call *call;
    bool cancel, resume;
    while ((call = next_wish(http, &cancel, &resume))) {
        if (cancel) {
            call->own_code = lode_err_set(&call->own_err, LODE_CANCELLED, "stopped by the caller");
            end_call(call, CURLE_ABORTED_BY_CALLBACK);
        } else if (!call->added) {
            add_call(http, call);
        } else if (resume) {
            curl_easy_pause(call->easy, CURLPAUSE_CONT);
        }
    }
}

static void take_ended(struct lode_http *http)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(http->multi, &left))) {
        struct lode_http_call *call;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        end_call(call, code);
    }
}

static bool goes_on(struct lode_http *http)
{
    pthread_mutex_lock(&http->lock);
    bool on = !http->stopping;
    pthread_mutex_unlock(&http->lock);
    return on;
}

static void *run(void *arg)
{
    struct lode_http *http = arg;
    while (goes_on(http)) {
        int running;
        grant_wishes(http);
        CURLMcode code = curl_multi_perform(http->multi, &running);
        if (code != CURLM_OK)
            lode_log_warn("curl_multi_perform: %s", curl_multi_strerror(code));
        take_ended(http);
        curl_multi_poll(http->multi, NULL, 0, POLL_MS, NULL);
    }
    return NULL;
}

/* ---- the client ---- */

static CURLcode global_result;

static void init_curl(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int copy_text(const char *from, char **to, struct lode_err *err)
{
    *to = lode_strdup(from);
    return from && !*to ? lode_err_nomem(err, "an HTTP client") : 0;
}

static int copy_options(struct lode_http *http, const struct lode_http_options *o,
                        struct lode_err *err)
{
    if (o->ca_file && access(o->ca_file, R_OK) < 0) {
        int number = errno;
        return lode_err_set(err, LODE_INVALID, "the CA file %s cannot be read: %s", o->ca_file,
                            number == ENOENT ? "there is none" : "not allowed");
    }
    http->connect_ms = o->connect_ms ? o->connect_ms : CONNECT_MS;
    http->idle_ms = o->idle_ms ? o->idle_ms : IDLE_MS;
    int r = copy_text(o->token, &http->token, err);
    r = r ? r : copy_text(o->origin, &http->origin, err);
    r = r ? r : copy_text(o->ca_file, &http->ca_file, err);
    return r ? r : copy_text(o->agent, &http->agent, err);
}

static int start_thread(struct lode_http *http, const struct lode_http_options *o,
                        struct lode_err *err)
{
    http->multi = curl_multi_init();
    if (!http->multi)
        return lode_err_nomem(err, "an HTTP client");
    curl_multi_setopt(http->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                      (long)(o->connections ? o->connections : CONNECTIONS));
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_MAX);
    curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    int number = pthread_create(&http->thread, NULL, run, http);
    if (number == 0)
        return 0;
    curl_multi_cleanup(http->multi);
    http->multi = NULL;
    return lode_err_num(err, number, "cannot start the HTTP client's thread");
}

int lode_http_new(const struct lode_http_options *options, struct lode_http **out,
                  struct lode_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static const struct lode_http_options none;
    pthread_once(&once, init_curl);
    if (global_result != CURLE_OK)
        return lode_err_set(err, LODE_INTERNAL, "libcurl does not start: %s",
                            curl_easy_strerror(global_result));
    struct lode_http *http = lode_zalloc(sizeof *http);
    if (!http)
        return lode_err_nomem(err, "an HTTP client");
    pthread_mutex_init(&http->lock, NULL);
    int r = copy_options(http, options ? options : &none, err);
    if (r == 0)
        r = start_thread(http, options ? options : &none, err);
    if (r < 0) {
        lode_http_free(http);
        return r;
    }
    *out = http;
    return 0;
}

void lode_http_free(struct lode_http *http)
{
    if (!http)
        return;
    if (http->multi) {
        pthread_mutex_lock(&http->lock);
        assert(!http->calls);
        http->stopping = true;
        pthread_mutex_unlock(&http->lock);
        curl_multi_wakeup(http->multi);
        pthread_join(http->thread, NULL);
        curl_multi_cleanup(http->multi);
    }
    pthread_mutex_destroy(&http->lock);
    lode_free_secret(http->token);
    lode_free(http->origin);
    lode_free(http->ca_file);
    lode_free(http->agent);
    lode_free(http);
}

/* ---- calls ---- */

int lode_http_start(struct lode_http *http, const struct lode_http_ask *ask,
                    void (*done)(void *arg, int result, const struct lode_http_reply *reply,
                                 const struct lode_err *err),
                    struct lode_http_call **out, struct lode_err *err)
{
    struct lode_http_call *call;
    int r = lode_http_call_new(http, ask, &call, err);
    if (r < 0)
        return r;
    call->done = done;
    *out = call; /* before the first callback may look for it */
    pthread_mutex_lock(&http->lock);
    call->next = http->calls;
    call->at = &http->calls;
    if (call->next)
        call->next->at = &call->next;
    http->calls = call;
    http->changed = true;
    pthread_mutex_unlock(&http->lock);
    curl_multi_wakeup(http->multi);
    return 0;
}

static void wish(struct lode_http_call *call, bool *flag)
{
    struct lode_http *http = call->http;
    pthread_mutex_lock(&http->lock);
    *flag = true;
    http->changed = true;
    pthread_mutex_unlock(&http->lock);
    curl_multi_wakeup(http->multi);
}

void lode_http_cancel(struct lode_http_call *call)
{
    wish(call, &call->want_cancel);
}

void lode_http_resume(struct lode_http_call *call)
{
    wish(call, &call->want_resume);
}

/* Waits for the end; false when `ns` passed first (ns > 0). */
static bool wait_ended(struct lode_http_call *call, long ns)
{
    struct timespec until;
    bool timed_out = false;
    lode_sys->clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ns;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&call->http->lock);
    while (!call->over && !timed_out) {
        if (ns)
            timed_out =
                pthread_cond_timedwait(&call->ended, &call->http->lock, &until) == ETIMEDOUT;
        else
            pthread_cond_wait(&call->ended, &call->http->lock);
    }
    bool over = call->over;
    pthread_mutex_unlock(&call->http->lock);
    return over;
}

int lode_http_finish(struct lode_http_call *call, struct lode_http_reply *reply,
                     struct lode_err *err)
{
    wait_ended(call, 0);
    int r = call->result;
    if (r < 0 && err)
        *err = call->err;
    if (reply) {
        *reply = call->reply;
        call->reply = (struct lode_http_reply){0};
    }
    lode_http_call_free(call);
    return r;
}

int lode_http_do(struct lode_http *http, const struct lode_http_ask *ask,
                 struct lode_http_reply *reply, struct lode_err *err)
{
    struct lode_http_call *call;
    *reply = (struct lode_http_reply){0};
    int r = lode_http_start(http, ask, NULL, &call, err);
    if (r < 0)
        return r;
    while (ask->cancelled && !wait_ended(call, CANCEL_POLL_NS)) {
        if (!ask->cancelled(ask->arg))
            continue;
        lode_http_cancel(call);
        break;
    }
    return lode_http_finish(call, reply, err);
}
