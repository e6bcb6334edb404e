/* The suite's small server: see conformance/store_suite_http.h. */
#include "conformance/store_suite_http.h"
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"

#define BODY_MAX (32u << 20)
#define PREFIX "/base path/" /* decoded; the escape in it must survive the client */

struct upload {
    struct upload *next;
    char *key;
    size_t part_size;
    struct lode_store_write *write;
};

struct tiny_server {
    struct MHD_Daemon *daemon;
    struct lode_store *store;
    const char *token;
    char url[128];
    _Atomic enum tiny_mischief mischief;
    _Atomic unsigned connections, requests, busy;
    pthread_mutex_t lock; /* guards uploads */
    struct upload *uploads;
};

struct request {
    struct lode_buf body;
    bool begun;
};

struct call {
    struct tiny_server *server;
    struct MHD_Connection *connection;
    const char *method;
    const char *key;
    struct lode_buf *body;
};

/* ---- replies ---- */

static enum MHD_Result reply(struct call *call, unsigned status, const void *body, size_t len,
                             const char *range)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    if (range)
        MHD_add_response_header(response, "Content-Range", range);
    MHD_add_response_header(response, "ETag", "\"1\"");
    enum MHD_Result r = MHD_queue_response(call->connection, status, response);
    MHD_destroy_response(response);
    return r;
}

static enum MHD_Result fails(struct call *call, int code, const char *message)
{
    _cleanup_buf_ struct lode_buf text = LODE_BUF_INIT(8192);
    lode_buf_addf(&text, "{\"error\":{\"code\":\"%s\",\"message\":", lode_code_name(code));
    lode_json_quote(&text, message, strlen(message));
    lode_buf_adds(&text, ",\"detail\":{}}}");
    return reply(call, (unsigned)lode_code_http(code), text.data, text.len, NULL);
}

static enum MHD_Result done(struct call *call, int r, const struct lode_err *err, const char *json)
{
    if (r < 0)
        return fails(call, r, err->text);
    return reply(call, json ? 200 : 204, json ? json : "", json ? strlen(json) : 0, NULL);
}

static bool has_arg(struct call *call, const char *name)
{
    const char *value;
    size_t len;
    return MHD_lookup_connection_value_n(call->connection, MHD_GET_ARGUMENT_KIND, name,
                                         strlen(name), &value, &len) == MHD_YES;
}

static uint64_t number_arg(struct call *call, const char *name, uint64_t fallback)
{
    const char *text = MHD_lookup_connection_value(call->connection, MHD_GET_ARGUMENT_KIND, name);
    return text ? strtoull(text, NULL, 10) : fallback;
}

/* ---- reading ---- */

/* Breaks off in the middle. */
static ssize_t half_of_it(void *arg, uint64_t at, char *into, size_t room)
{
    if (at >= 1)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    *into = 'x';
    return 1;
}

static enum MHD_Result send_short(struct call *call, uint64_t len, const char *range)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(len, 1024, half_of_it, NULL, NULL);
    MHD_add_response_header(response, "Content-Range", range);
    enum MHD_Result r = MHD_queue_response(call->connection, 206, response);
    MHD_destroy_response(response);
    return r;
}

static enum MHD_Result send_range(struct call *call, uint64_t first, uint64_t len, uint64_t size)
{
    enum tiny_mischief mischief = call->server->mischief;
    struct lode_err err = {0};
    char range[96];
    if (mischief == TINY_OTHER_RANGE && first + len < size)
        first++;
    if (mischief == TINY_LONGER && first + len < size)
        len++;
    _cleanup_free_ char *bytes = lode_alloc(len);
    int r = lode_store_pread(call->server->store, call->key, bytes, len, first, &err);
    if (r < 0)
        return fails(call, r, err.text);
    snprintf(range, sizeof range, "bytes %llu-%llu/%llu", (unsigned long long)first,
             (unsigned long long)(first + len - 1), (unsigned long long)size);
    return mischief == TINY_SHORT ? send_short(call, len, range)
                                  : reply(call, 206, bytes, len, range);
}

static enum MHD_Result send_whole(struct call *call, uint64_t size)
{
    struct lode_err err = {0};
    _cleanup_free_ char *bytes = lode_alloc(size);
    int r = size ? lode_store_pread(call->server->store, call->key, bytes, size, 0, &err) : 0;
    return r < 0 ? fails(call, r, err.text) : reply(call, 200, bytes, size, NULL);
}

static enum MHD_Result get_object(struct call *call)
{
    struct lode_store_stat st;
    struct lode_err err = {0};
    unsigned long long first, last;
    int r = lode_store_stat(call->server->store, call->key, &st, &err);
    if (r < 0 || st.kind != LODE_STORE_OBJECT)
        return fails(call, LODE_NOT_FOUND, "no such object");
    const char *range = MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Range");
    if (!range || strncmp(range, "bytes=", 6) != 0 || call->server->mischief == TINY_WHOLE)
        return send_whole(call, st.size);
    char *end;
    first = strtoull(range + 6, &end, 10);
    last = strtoull(end + 1, NULL, 10);
    if (first > last || last >= st.size)
        return fails(call, LODE_IO, "the range ends beyond the object");
    return send_range(call, first, last - first + 1, st.size);
}

/* ---- writing ---- */

static struct upload **find_upload(struct tiny_server *self, const char *key)
{
    struct upload **at = &self->uploads;
    while (*at && strcmp((*at)->key, key) != 0)
        at = &(*at)->next;
    return at;
}

static char *unfinished_id(struct tiny_server *self, const char *key)
{
    struct lode_store_unfinished_list list = {0};
    char *id = NULL;
    if (lode_store_unfinished(self->store, "", &list, NULL) < 0)
        return NULL;
    for (size_t i = 0; i < list.n && !id; i++)
        id = strcmp(list.items[i].key, key) == 0 ? lode_strdup(list.items[i].id) : NULL;
    lode_store_unfinished_release(&list);
    return id;
}

/* The key's unfinished write: held, or left by a server before this one, or with `make` a new
 * one. */
static int get_upload(struct call *call, size_t part_size, bool make, struct upload **out,
                      struct lode_err *err)
{
    struct upload **at = find_upload(call->server, call->key);
    *out = *at;
    if (*at && (part_size == 0 || (*at)->part_size == part_size))
        return 0;
    if (*at)
        return lode_err_set(err, LODE_INVALID, "begun with another part size");
    _cleanup_free_ char *id = unfinished_id(call->server, call->key);
    if (!id && !make)
        return lode_err_set(err, LODE_NOT_FOUND, "nothing is unfinished");
    /* The suite uses one part size; a real server asks its store. */
    struct lode_store_write_opts opts = {.size = number_arg(call, "size", UINT64_MAX),
                                         .part_size = part_size ? part_size : 1000,
                                         .resume = id};
    struct lode_store_write *write;
    int r = lode_store_write_begin(call->server->store, call->key, &opts, &write, err);
    if (r < 0)
        return r;
    *out = lode_zalloc(sizeof **out);
    **out = (struct upload){*at, lode_strdup(call->key), opts.part_size, write};
    *at = *out;
    return 0;
}

static struct lode_store_write *take_upload(struct tiny_server *self, const char *key)
{
    struct upload **at = find_upload(self, key), *upload = *at;
    struct lode_store_write *write = upload->write;
    *at = upload->next;
    lode_free(upload->key);
    lode_free(upload);
    return write;
}

static enum MHD_Result put_part(struct call *call)
{
    struct lode_err err = {0};
    struct upload *upload;
    pthread_mutex_lock(&call->server->lock);
    int r = get_upload(call, number_arg(call, "part_size", 0), true, &upload, &err);
    if (r == 0)
        r = lode_store_write_part(upload->write, (uint32_t)number_arg(call, "part", 0),
                                  lode_buf_str(call->body), call->body->len, &err);
    pthread_mutex_unlock(&call->server->lock);
    return done(call, r, &err, NULL);
}

static enum MHD_Result complete(struct call *call)
{
    struct lode_err err = {0};
    struct upload *upload;
    char json[64];
    uint64_t size = number_arg(call, "size", 0);
    pthread_mutex_lock(&call->server->lock);
    int r = get_upload(call, 0, size == 0, &upload, &err);
    if (r == 0)
        r = lode_store_write_complete(take_upload(call->server, call->key), size,
                                      number_arg(call, "if_absent", 0), &err);
    pthread_mutex_unlock(&call->server->lock);
    snprintf(json, sizeof json, "{\"size\":%llu}", (unsigned long long)size);
    return done(call, r, &err, json);
}

static enum MHD_Result list_parts(struct call *call)
{
    _cleanup_buf_ struct lode_buf text = LODE_BUF_INIT(1 << 20);
    struct lode_err err = {0};
    struct upload *upload;
    struct lode_store_part *parts = NULL;
    size_t n = 0;
    pthread_mutex_lock(&call->server->lock);
    int r = get_upload(call, 0, false, &upload, &err);
    if (r == 0)
        r = lode_store_write_parts(upload->write, &parts, &n, &err);
    if (r == 0)
        lode_buf_addf(&text, "{\"part_size\":%zu,\"started_ms\":1,\"parts\":[", upload->part_size);
    pthread_mutex_unlock(&call->server->lock);
    for (size_t i = 0; i < n; i++)
        lode_buf_addf(&text, "%s{\"number\":%u,\"size\":%zu}", i ? "," : "", parts[i].number,
                      parts[i].len);
    lode_store_free(parts);
    lode_buf_adds(&text, "]}");
    return done(call, r, &err, lode_buf_str(&text));
}

static enum MHD_Result drop_parts(struct call *call)
{
    struct lode_err err = {0};
    struct upload *upload;
    pthread_mutex_lock(&call->server->lock);
    int r = get_upload(call, 0, false, &upload, &err);
    if (r == 0)
        lode_store_write_abort(take_upload(call->server, call->key), false);
    pthread_mutex_unlock(&call->server->lock);
    return done(call, r, &err, NULL);
}

/* Gives all writes back to the store, so that its list knows them. */
static void park(struct tiny_server *self)
{
    while (self->uploads)
        lode_store_write_abort(take_upload(self, self->uploads->key), true);
}

static enum MHD_Result list_unfinished(struct call *call)
{
    _cleanup_buf_ struct lode_buf text = LODE_BUF_INIT(1 << 20);
    struct lode_store_unfinished_list list = {0};
    struct lode_err err = {0};
    pthread_mutex_lock(&call->server->lock);
    park(call->server);
    int r = lode_store_unfinished(call->server->store, "", &list, &err);
    pthread_mutex_unlock(&call->server->lock);
    lode_buf_adds(&text, "{\"unfinished\":[");
    for (size_t i = 0; i < list.n; i++) {
        lode_buf_adds(&text, i ? ",{\"key\":" : "{\"key\":");
        lode_json_quote(&text, list.items[i].key, strlen(list.items[i].key));
        lode_buf_addf(&text, ",\"started_ms\":%lld}", (long long)list.items[i].started_ms);
    }
    lode_buf_adds(&text, "]}");
    lode_store_unfinished_release(&list);
    return done(call, r, &err, lode_buf_str(&text));
}

/* ---- the frame ---- */

static enum MHD_Result route(struct call *call)
{
    const char *m = call->method;
    if (strcmp(m, "GET") == 0 && has_arg(call, "unfinished"))
        return list_unfinished(call);
    if (strcmp(m, "GET") == 0 && has_arg(call, "parts"))
        return list_parts(call);
    if (strcmp(m, "GET") == 0 || strcmp(m, "HEAD") == 0)
        return get_object(call);
    if (strcmp(m, "PUT") == 0)
        return put_part(call);
    if (strcmp(m, "POST") == 0 && has_arg(call, "complete"))
        return complete(call);
    if (strcmp(m, "DELETE") == 0 && has_arg(call, "parts"))
        return drop_parts(call);
    return fails(call, LODE_INVALID, "what is that?");
}

static bool may(struct call *call)
{
    char want[256];
    const char *have =
        MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Authorization");
    if (!call->server->token)
        return true;
    snprintf(want, sizeof want, "Bearer %s", call->server->token);
    return have && strcmp(have, want) == 0;
}

/* Decodes the raw path once; false for one that is not beneath the base. */
static bool decode(const char *raw, char *out, size_t room)
{
    size_t n = 0;
    for (; *raw && n + 1 < room; raw++) {
        uint8_t c = (uint8_t)*raw;
        if (c == '%') {
            if (!lode_unhex(raw + 1, 2, &c, 1))
                return false;
            raw += 2;
        }
        out[n++] = (char)c;
    }
    out[n] = 0;
    return strncmp(out, PREFIX, strlen(PREFIX) - 1) == 0;
}

static enum MHD_Result answer(struct call *call, const char *raw)
{
    static const char page[] = "<html>not here</html>";
    char path[8192];
    atomic_fetch_add(&call->server->requests, 1);
    if (call->server->mischief == TINY_HTML)
        return reply(call, 404, page, strlen(page), NULL);
    if (call->server->mischief == TINY_BUSY && atomic_fetch_add(&call->server->busy, 1) % 2 == 0)
        return fails(call, LODE_UNAVAILABLE, "busy");
    if (!may(call))
        return fails(call, LODE_UNAUTHENTICATED, "who are you?");
    if (!decode(raw, path, sizeof path))
        return fails(call, LODE_NOT_FOUND, "another base");
    call->key = path + strlen(PREFIX) - (path[strlen(PREFIX) - 1] ? 0 : 1);
    return route(call);
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *len, void **state)
{
    struct request *request = *state;
    if (!request) {
        request = lode_zalloc(sizeof *request);
        request->body = LODE_BUF_INIT(BODY_MAX);
        *state = request;
        return MHD_YES;
    }
    if (*len > 0) {
        lode_buf_add(&request->body, data, *len);
        *len = 0;
        return MHD_YES;
    }
    struct call call = {arg, connection, method, NULL, &request->body};
    return answer(&call, url);
}

static void over(void *arg, struct MHD_Connection *connection, void **state,
                 enum MHD_RequestTerminationCode why)
{
    struct request *request = *state;
    if (!request)
        return;
    lode_buf_release(&request->body);
    lode_free(request);
}

static void connected(void *arg, struct MHD_Connection *connection, void **state,
                      enum MHD_ConnectionNotificationCode what)
{
    struct tiny_server *self = arg;
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        atomic_fetch_add(&self->connections, 1);
}

static size_t as_it_is(void *arg, struct MHD_Connection *connection, char *s)
{
    return strlen(s);
}

struct tiny_server *tiny_server_start(struct lode_store *store, const char *token)
{
    struct tiny_server *self = lode_zalloc(sizeof *self);
    self->store = store;
    self->token = token;
    pthread_mutex_init(&self->lock, NULL);
    self->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_AUTO, 0, NULL,
        NULL, handle, self, MHD_OPTION_NOTIFY_COMPLETED, over, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        connected, self, MHD_OPTION_UNESCAPE_CALLBACK, as_it_is, NULL, MHD_OPTION_END);
    if (!self->daemon)
        abort();
    unsigned port = MHD_get_daemon_info(self->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    snprintf(self->url, sizeof self->url, "http://127.0.0.1:%u/base%%20path/", port);
    return self;
}

const char *tiny_server_url(const struct tiny_server *self)
{
    return self->url;
}

void tiny_server_misbehave(struct tiny_server *self, enum tiny_mischief mischief)
{
    atomic_store(&self->mischief, mischief);
}

unsigned tiny_server_connections(const struct tiny_server *self)
{
    return atomic_load(&self->connections);
}

unsigned tiny_server_requests(const struct tiny_server *self)
{
    return atomic_load(&self->requests);
}

void tiny_server_stop(struct tiny_server *self)
{
    MHD_stop_daemon(self->daemon);
    park(self);
    pthread_mutex_destroy(&self->lock);
    lode_free(self);
}
