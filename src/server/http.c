/* libmicrohttpd's side: the daemon, its callbacks, and a request's states.
 *
 *   HEAD --(no body)--> RUNNING on a worker, suspended --> DONE, answered
 *     `--> [BUDGET, suspended until a part's memory is paid] --> BODY --> RUNNING --> DONE
 * libmicrohttpd calls with an empty upload both before the body and after it, and once more after
 * each resume; the state tells which. A refusal is answered at once and ends the connection if a
 * body would follow, unless it is so short that reading it is cheaper. */
#include "base/log.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/sys.h"
#include "server/srv.h"
#include <string.h>

#define DRAIN_MAX (64u << 10) /* bytes of a refused body that are read all the same */
#define CONNECTION_MEMORY                                                                          \
    (72u << 10) /* bytes of a connection's pool: head, and body as it passes */

static size_t keep_escapes(void *arg, struct MHD_Connection *mhd, char *s)
{
    return strlen(s); /* decoded once, by us, after splitting */
}

/* ---- work ---- */

bool srv_work(struct lode_server *server, struct MHD_Connection *mhd, struct srv_task *task)
{
    MHD_suspend_connection(mhd); /* first: a worker may resume it before we are back here */
    if (srv_pool_add(server->pool, task))
        return true;
    MHD_resume_connection(mhd);
    return false;
}

static int handle(struct srv_request *request, struct lode_err *err)
{
    if (atomic_load(&request->server->stopping))
        return lode_err_set(err, LODE_UNAVAILABLE, "this server is stopping; ask another");
    int r = request->want_revision && !LODE_PLANTED(revision_ignored)
                ? srv_follow_wait(request->server->follow, request->want_revision, err)
                : 0;
    return r < 0 ? r : request->route->run(request, err);
}

static void run_request(struct srv_task *task)
{
    struct srv_request *request = lode_container_of(task, struct srv_request, task);
    struct lode_err err = {0};
    int r = handle(request, &err);
    if (r < 0)
        srv_reply_error(request, 0, r, &err);
    else if (request->reply.kind == SRV_REPLY_NONE)
        srv_reply_fail(request, 0, LODE_INTERNAL, "operation %s gave no answer",
                       request->route->operation);
    if (!request->reply.revision)
        request->reply.revision = srv_follow_revision(request->server->follow);
    request->state = SRV_REQUEST_DONE;
    MHD_resume_connection(request->mhd);
}

static enum MHD_Result dispatch(struct srv_request *request)
{
    srv_conn_answering(request->conn);
    if (request->reply.kind != SRV_REPLY_NONE)
        return srv_reply_send(request);
    if (request->route->fast && request->route->fast(request)) {
        request->state = SRV_REQUEST_DONE;
        return request->reply.kind == SRV_REPLY_SENT ? MHD_YES : srv_reply_send(request);
    }
    request->state = SRV_REQUEST_RUNNING;
    request->task.run = run_request;
    if (!srv_work(request->server, request->mhd, &request->task)) {
        srv_reply_fail(request, 0, LODE_UNAVAILABLE, "this server is stopping; ask another");
        request->state = SRV_REQUEST_DONE;
    }
    return MHD_YES;
}

/* ---- bodies ---- */

static enum MHD_Result begin_body(struct srv_request *request)
{
    if (request->reply.kind != SRV_REPLY_NONE) {
        request->drain = request->content_length <= DRAIN_MAX;
        if (!request->drain) {
            request->reply.close = true;
            return dispatch(request);
        }
    }
    uint64_t length =
        request->content_length == UINT64_MAX ? LODE_HTTP_BODY_MAX : request->content_length;
    srv_conn_reading_body(request->conn, length);
    request->state = SRV_REQUEST_BODY;
    if (request->drain || request->route->body != SRV_BODY_PART)
        return MHD_YES;
    if (!srv_budget_take(&request->server->budget, request, request->content_length))
        request->state = SRV_REQUEST_BUDGET;
    return MHD_YES;
}

/* Resumed by the budget: paid, or the server stops. */
static enum MHD_Result after_budget(struct srv_request *request)
{
    request->state = SRV_REQUEST_BODY;
    srv_conn_reading_body(request->conn, request->content_length);
    if (request->paid == request->content_length)
        return MHD_YES;
    srv_reply_fail(request, 0, LODE_UNAVAILABLE, "this server is stopping; ask another");
    request->reply.close = true;
    return dispatch(request);
}

static int take_part(struct srv_request *request, const char *data, size_t n)
{
    if (!request->part)
        request->part = lode_alloc(request->content_length);
    if (!request->part || n > request->content_length - request->part_have)
        return LODE_NO_MEMORY;
    memcpy(request->part + request->part_have, data, n);
    request->part_have += n;
    return 0;
}

static enum MHD_Result take_body(struct srv_request *request, const char *data, size_t *n)
{
    size_t len = *n;
    *n = 0;
    if (request->drain || request->reply.kind != SRV_REPLY_NONE)
        return MHD_YES;
    if (request->route->body == SRV_BODY_PART)
        return take_part(request, data, len) == 0 ? MHD_YES : MHD_NO;
    lode_buf_add(&request->body, data, len);
    if (!request->body.failed)
        return MHD_YES;
    srv_reply_fail(request, 0, request->body.failed, "the body is larger than %u bytes",
                   LODE_HTTP_BODY_MAX);
    request->reply.close = true;
    lode_buf_release(&request->body);
    return MHD_YES; /* the rest is read past, at the deadline of its connection at the latest */
}

/* ---- callbacks ---- */

static enum MHD_Result first_call(struct srv_request *request)
{
    srv_request_admit(request);
    if (request->doubtful) {
        request->reply.close = true;
        return dispatch(request);
    }
    if (request->has_body)
        return begin_body(request);
    request->state = SRV_REQUEST_BODY; /* an answer in this first call would end the connection */
    return MHD_YES;
}

static enum MHD_Result access_handler(void *arg, struct MHD_Connection *mhd, const char *url,
                                      const char *method, const char *version, const char *data,
                                      size_t *n, void **slot)
{
    struct srv_request *request = *slot;
    if (!request) {
        if (srv_request_open(arg, mhd, url, method, &request) < 0)
            return MHD_NO;
        *slot = request;
        return first_call(request);
    }
    if (*n)
        return take_body(request, data, n);
    switch (request->state) {
    case SRV_REQUEST_BUDGET:
        return after_budget(request);
    case SRV_REQUEST_DONE:
        return srv_reply_send(request);
    case SRV_REQUEST_HEAD:
    case SRV_REQUEST_BODY:
        return dispatch(request);
    case SRV_REQUEST_RUNNING:
        break;
    }
    return MHD_YES;
}

static void completed(void *arg, struct MHD_Connection *mhd, void **slot,
                      enum MHD_RequestTerminationCode how)
{
    struct srv_request *request = *slot;
    struct lode_server *server = arg;
    if (!request)
        return;
    srv_access_write(server->access, request);
    srv_metrics_request(server->metrics, request);
    srv_conn_idle(server->conns, request->conn);
    srv_request_free(request);
    *slot = NULL;
}

static void mhd_log(void *arg, const char *fmt, va_list args)
{
    char text[512];
    vsnprintf(text, sizeof(text), fmt, args);
    text[strcspn(text, "\r\n")] = '\0';
    lode_log_debug("http: %s", text);
}

/* ---- the daemon ---- */

int srv_http_start(struct lode_server *server, int listen_fd, const char *cert, const char *key,
                   struct lode_err *err)
{
    const struct lode_serve_options *o = &server->options;
    struct MHD_OptionItem more[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0,
         (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                     MHD_USE_ITC | (cert ? MHD_USE_TLS : 0);
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, access_handler, server, MHD_OPTION_EXTERNAL_LOGGER, mhd_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_THREAD_POOL_SIZE, o->threads,
        MHD_OPTION_CONNECTION_LIMIT, o->connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        o->connections_per_ip, MHD_OPTION_CONNECTION_TIMEOUT, o->idle_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)(16u << 10), MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, NULL, MHD_OPTION_NOTIFY_COMPLETED, completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, srv_conns_notify, server->conns, MHD_OPTION_STRICT_FOR_CLIENT,
        1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, cert ? more : &more[3],
        MHD_OPTION_END);
    if (!server->daemon)
        return lode_err_set(
            err, LODE_UNAVAILABLE, "cannot start the HTTP server%s",
            cert ? "; are the certificate and its key PEM files that belong together?" : "");
    return 0;
}
