/* What the HTTP client's files share: http.c runs the transfers, http_call.c is one transfer. */
#pragma once
#include <curl/curl.h>
#include <pthread.h>
#include "io/http.h"

/* Calls are in one list of the client from start to end; what others want of a call is a flag that
 * the client's thread looks at. */
struct lode_http {
    CURLM *multi; /* the thread's own, wake-ups apart */
    pthread_t thread;
    pthread_mutex_t lock;
    struct lode_http_call *calls;           /* all that are not over; guarded by lock */
    bool changed;                           /* some call wants something; guarded by lock */
    bool stopping;                          /* guarded by lock */
    char *token, *origin, *ca_file, *agent; /* owned */
    long connect_ms, idle_ms;
};

struct lode_http_call {
    struct lode_http *http;
    struct lode_http_call *next, **at; /* in http->calls; guarded by http->lock */
    bool added;                        /* the multi has it; the thread's own */
    bool want_cancel, want_resume;     /* guarded by http->lock */
    bool over;                         /* guarded by http->lock */
    pthread_cond_t ended;              /* with http->lock */

    struct lode_http_ask ask;
    void (*done)(void *arg, int result, const struct lode_http_reply *reply,
                 const struct lode_err *err);
    CURL *easy;                 /* owned */
    struct curl_slist *headers; /* owned */
    char curl_text[CURL_ERROR_SIZE];
    uint64_t sent; /* bytes of the body given to curl */
    struct lode_http_reply reply;
    bool head_told; /* on_head has been called */
    int own_code;   /* why one of our callbacks ended the call; 0 if none did */
    struct lode_err own_err;
    int result; /* set before `over` */
    struct lode_err err;
};

/* Makes the transfer ready; nothing is sent yet. */
int lode_http_call_new(struct lode_http *http, const struct lode_http_ask *ask,
                       struct lode_http_call **out, struct lode_err *err) lode_must_use;

/* Judges how the transfer ended: sets result and err. On the client's thread, the transfer is out
 * of the multi. */
void lode_http_call_judge(struct lode_http_call *call, CURLcode code);

void lode_http_call_free(struct lode_http_call *call);
