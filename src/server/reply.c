/* Answers: JSON, errors, files, streams. Handlers fill a struct srv_reply on any thread; the event
 * thread that owns the connection makes libmicrohttpd's answer of it. */
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "server/srv.h"
#include <string.h>

#define TYPE_JSON "application/json"
#define STREAM_BLOCK (128u << 10)

static void begin(struct srv_request *request, enum srv_reply_kind kind, int status,
                  const char *type)
{
    srv_reply_release(&request->reply);
    request->reply.kind = kind;
    request->reply.status = status;
    request->reply.type = type;
}

int srv_reply_text(struct srv_request *request, int status, const char *type, char *text,
                   size_t len)
{
    if (!text)
        return lode_err_nomem(NULL, "an answer");
    begin(request, SRV_REPLY_TEXT, status, type);
    request->reply.body = (struct lode_buf){.data = text, .len = len, .cap = len, .max = len};
    return 0;
}

int srv_reply_json(struct srv_request *request, int status, json_t *doc)
{
    size_t len = 0;
    char *text = doc ? lode_json_text(doc, &len) : NULL;
    json_decref(doc);
    return srv_reply_text(request, status, TYPE_JSON, text, len);
}

int srv_reply_empty(struct srv_request *request, int status)
{
    begin(request, SRV_REPLY_TEXT, status, NULL);
    return 0;
}

int srv_reply_error(struct srv_request *request, int status, int code, const struct lode_err *err)
{
    const char *text = err && err->text[0] ? err->text : lode_code_text(code);
    struct lode_buf body = LODE_BUF_INIT(16u << 10);
    lode_buf_adds(&body, "{\"error\":{\"code\":");
    lode_json_quote(&body, lode_code_name(code), strlen(lode_code_name(code)));
    lode_buf_adds(&body, ",\"message\":");
    lode_json_quote(&body, text, strlen(text));
    lode_buf_adds(&body, ",\"detail\":{}}}");
    size_t len = body.len;
    status = status ? status : lode_code_http(code);
    if (status >= 500 && status != 503)
        lode_log_warn("%s %s: %s", request->method, request->url, text);
    int r = srv_reply_text(request, status, TYPE_JSON, lode_buf_steal(&body), len);
    if (r < 0)
        srv_reply_empty(request, 500);
    if (code == LODE_UNAVAILABLE || code == LODE_BEHIND)
        srv_reply_header(request, "Retry-After", "1");
    return 0;
}

int srv_reply_fail(struct srv_request *request, int status, int code, const char *fmt, ...)
{
    struct lode_err err = {0};
    va_list args;
    va_start(args, fmt);
    lode_err_setv(&err, code, fmt, args);
    va_end(args);
    return srv_reply_error(request, status, code, &err);
}

void srv_reply_header(struct srv_request *request, const char *name, const char *fmt, ...)
{
    struct srv_reply *reply = &request->reply;
    char value[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(value, sizeof(value), fmt, args);
    va_end(args);
    char *copy = reply->n_headers < SRV_REPLY_HEADERS ? lode_strdup(value) : NULL;
    if (!copy)
        return;
    reply->headers[reply->n_headers].name = name;
    reply->headers[reply->n_headers++].value = copy;
}

void srv_reply_release(struct srv_reply *reply)
{
    for (size_t i = 0; i < reply->n_headers; i++)
        lode_free(reply->headers[i].value);
    lode_free(reply->body.data);
    if (reply->kind == SRV_REPLY_FD && reply->fd >= 0)
        lode_sys->close(reply->fd);
    if (reply->kind == SRV_REPLY_STREAM && reply->stream_free)
        reply->stream_free(reply->stream);
    *reply = (struct srv_reply){.fd = -1};
}

/* ---- to libmicrohttpd ---- */

static struct MHD_Response *text_response(struct srv_reply *reply)
{
    if (reply->body.len == 0)
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(
        reply->body.len, reply->body.data, lode_free);
    if (response)
        reply->body = (struct lode_buf){0};
    return response;
}

static struct MHD_Response *make_response(struct srv_request *request)
{
    struct srv_reply *reply = &request->reply;
    struct MHD_Response *response;
    switch (reply->kind) {
    case SRV_REPLY_FD:
        response = MHD_create_response_from_fd_at_offset64(reply->length, reply->fd, reply->offset);
        if (response)
            reply->fd = -1; /* the response's now */
        request->sent = reply->length;
        return response;
    case SRV_REPLY_STREAM:
        response = MHD_create_response_from_callback(reply->length, STREAM_BLOCK, reply->read,
                                                     reply->stream, reply->stream_free);
        if (response)
            reply->stream_free = NULL;
        request->sent = reply->length == UINT64_MAX ? 0 : reply->length;
        return response;
    default:
        request->sent = reply->body.len;
        return text_response(reply);
    }
}

static void add_headers(struct srv_request *request, struct MHD_Response *response)
{
    const struct srv_reply *reply = &request->reply;
    if (reply->type)
        MHD_add_response_header(response, "Content-Type", reply->type);
    for (size_t i = 0; i < reply->n_headers; i++)
        MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
    if (reply->revision) {
        char number[24];
        snprintf(number, sizeof(number), "%llu", (unsigned long long)reply->revision);
        MHD_add_response_header(response, "Lode-Revision", number);
    }
    const char *origin = srv_request_header(request, "Origin");
    if (origin && reply->status != 403) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
        MHD_add_response_header(response, "Access-Control-Expose-Headers",
                                "ETag, Lode-Revision, Repr-Digest");
        MHD_add_response_header(response, "Vary", "Origin");
    }
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (reply->close)
        MHD_add_response_header(response, "Connection", "close");
}

enum MHD_Result srv_reply_send(struct srv_request *request)
{
    struct MHD_Response *response = make_response(request);
    if (!response)
        return MHD_NO;
    add_headers(request, response);
    enum MHD_Result r = MHD_queue_response(request->mhd, (unsigned)request->reply.status, response);
    MHD_destroy_response(response);
    return r;
}
