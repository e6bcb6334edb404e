/* A request's way from the wire to its handler: limits, Host and Origin, path, route, token, scope,
 * names, query. What is refused here never reaches a handler (invariant 2 of srv.h). */
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "server/srv.h"
#include <stdlib.h>
#include <string.h>

#define PART_MAX (32u << 20) /* bytes of one upload part */

int srv_request_open(struct lode_server *server, struct MHD_Connection *mhd, const char *url,
                     const char *method, struct srv_request **out)
{
    struct srv_request *request = lode_zalloc(sizeof(*request));
    char *copy = lode_strdup(url);
    if (!request || !copy) {
        lode_free(request);
        lode_free(copy);
        return LODE_NO_MEMORY;
    }
    request->server = server;
    request->mhd = mhd;
    request->url = copy;
    request->method = method;
    request->began_ns = lode_mono_ns();
    request->reply.fd = -1;
    lode_buf_init(&request->body, LODE_HTTP_BODY_MAX);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    request->conn = info ? info->socket_context : NULL;
    atomic_fetch_add(&server->active, 1);
    *out = request;
    return 0;
}

void srv_request_free(struct srv_request *request)
{
    srv_reply_release(&request->reply);
    lode_buf_release(&request->body);
    lode_free(request->part);
    srv_budget_give(&request->server->budget, request->paid);
    for (size_t i = 0; i < request->n_query; i++) {
        lode_free(request->query[i].key);
        lode_free(request->query[i].value);
    }
    srv_caller_release(&request->caller);
    lode_free(request->path);
    lode_free(request->text);
    lode_free(request->url);
    atomic_fetch_sub(&request->server->active, 1);
    lode_free(request);
}

const char *srv_request_header(const struct srv_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

/* ---- the query ---- */

static bool query_allowed(const char *allowed, const char *key, size_t len)
{
    while (allowed && *allowed) {
        size_t word = strcspn(allowed, " ");
        if (word == len && memcmp(allowed, key, len) == 0)
            return true;
        allowed += word + (allowed[word] == ' ');
    }
    return false;
}

struct query_walk {
    struct srv_request *request;
    struct lode_err *err;
    int r;
};

static int query_add(struct srv_request *request, const char *key, size_t key_len,
                     const char *value, size_t value_len, struct lode_err *err)
{
    if (request->n_query == SRV_QUERY_MAX)
        return lode_err_set(err, LODE_LIMIT, "more than %d query parameters", SRV_QUERY_MAX);
    struct srv_query_arg *arg = &request->query[request->n_query];
    arg->key = lode_strndup(key, key_len);
    arg->value = lode_strndup(value ? value : "", value ? value_len : 0);
    request->n_query++;
    if (!arg->key || !arg->value)
        return lode_err_nomem(err, "a query");
    if (!srv_percent_decode(arg->key, &key_len) || !srv_percent_decode(arg->value, &value_len))
        return lode_err_set(err, LODE_INVALID,
                            "the query holds a bad percent-encoding, a NUL or what is no UTF-8");
    if (!query_allowed(request->route->query, arg->key, key_len))
        return lode_err_set(err, LODE_INVALID, "there is no query parameter %s here%s%s",
                            lode_qn(arg->key, key_len), request->route->query ? "; there are " : "",
                            request->route->query ? request->route->query : "");
    for (size_t i = 0; i + 1 < request->n_query; i++)
        if (strcmp(request->query[i].key, arg->key) == 0)
            return lode_err_set(err, LODE_INVALID, "the query parameter %s stands there twice",
                                arg->key);
    return 0;
}

static enum MHD_Result query_each(void *arg, enum MHD_ValueKind kind, const char *key,
                                  size_t key_len, const char *value, size_t value_len)
{
    struct query_walk *walk = arg;
    walk->r = query_add(walk->request, key, key_len, value, value_len, walk->err);
    return walk->r == 0 ? MHD_YES : MHD_NO;
}

static int query_read(struct srv_request *request, struct lode_err *err)
{
    struct query_walk walk = {request, err, 0};
    MHD_get_connection_values_n(request->mhd, MHD_GET_ARGUMENT_KIND, query_each, &walk);
    return walk.r;
}

const char *srv_request_arg(const struct srv_request *request, const char *key)
{
    for (size_t i = 0; i < request->n_query; i++)
        if (strcmp(request->query[i].key, key) == 0)
            return request->query[i].value;
    return NULL;
}

static bool number_parse(const char *s, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    if (!*s || strlen(s) > 20)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || __builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
            return false;
    }
    *out = n;
    return n <= max;
}

int srv_request_arg_u64(const struct srv_request *request, const char *key, uint64_t max,
                        uint64_t *out, struct lode_err *err)
{
    const char *s = srv_request_arg(request, key);
    if (!s || number_parse(s, max, out))
        return 0;
    return lode_err_set(err, LODE_INVALID,
                        "the query parameter %s has to be a whole number from 0 to %llu", key,
                        (unsigned long long)max);
}

int srv_request_arg_bool(const struct srv_request *request, const char *key, bool *out,
                         struct lode_err *err)
{
    const char *s = srv_request_arg(request, key);
    if (!s)
        return 0;
    bool yes = strcmp(s, "true") == 0;
    if (!yes && strcmp(s, "false") != 0)
        return lode_err_set(err, LODE_INVALID, "the query parameter %s has to be true or false",
                            key);
    *out = yes;
    return 0;
}

/* A parameter that only has to be there: "?parts". */
int srv_request_arg_flag(const struct srv_request *request, const char *key, bool *out,
                         struct lode_err *err)
{
    const char *s = srv_request_arg(request, key);
    if (s && *s)
        return lode_err_set(err, LODE_INVALID, "the query parameter %s takes no value", key);
    *out = s != NULL;
    return 0;
}

/* ---- admission ---- */

/* Where the body begins and ends has to be beyond doubt, or a proxy in front could see other
 * requests than we do. */
static int admit_length(struct srv_request *request, struct lode_err *err)
{
    const char *length = srv_request_header(request, "Content-Length");
    const char *coding = srv_request_header(request, "Transfer-Encoding");
    if (length && coding)
        return lode_err_set(
            err, LODE_INVALID,
            "a request with both Content-Length and Transfer-Encoding is not taken");
    if (length && !number_parse(length, INT64_MAX, &request->content_length))
        return lode_err_set(err, LODE_INVALID, "the Content-Length is no number");
    if (coding)
        request->content_length = UINT64_MAX;
    request->has_body = request->content_length > 0;
    request->doubtful = false;
    return 0;
}

static int admit_head(struct srv_request *request, struct lode_err *err)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (info && info->header_size > LODE_HTTP_HEADER_MAX)
        return srv_reply_fail(request, 431, LODE_LIMIT,
                              "the head of the request is larger than %u bytes",
                              LODE_HTTP_HEADER_MAX);
    if (srv_hosts_check(&request->server->hosts, srv_request_header(request, "Host"),
                        srv_request_header(request, "Origin"), err) < 0)
        return err->code;
    const char *revision = srv_request_header(request, "Lode-Revision");
    if (revision && !number_parse(revision, INT64_MAX, &request->want_revision))
        return lode_err_set(err, LODE_INVALID, "the Lode-Revision is no number");
    return 0;
}

static int admit_route(struct srv_request *request, struct lode_err *err)
{
    int r = srv_path_split(request, request->url, err);
    if (r < 0)
        return r;
    struct lode_buf allow = LODE_BUF_INIT(256);
    request->route = srv_route_find(request->method, request, &allow);
    if (!request->route && allow.len && strcmp(request->method, "OPTIONS") == 0) {
        srv_reply_empty(request,
                        204); /* also what a browser asks before it calls from another origin */
        srv_reply_header(request, "Allow", "%s", lode_buf_str(&allow));
        srv_reply_header(request, "Access-Control-Allow-Methods", "%s", lode_buf_str(&allow));
        srv_reply_header(
            request, "Access-Control-Allow-Headers",
            "Authorization, Content-Type, Lode-Revision, If-Match, If-None-Match, Range");
    } else if (!request->route && allow.len) {
        srv_reply_fail(request, 405, LODE_UNSUPPORTED, "%s is not possible here; %s is",
                       request->method, lode_buf_str(&allow));
        srv_reply_header(request, "Allow", "%s", lode_buf_str(&allow));
    } else if (!request->route) {
        r = lode_err_set(err, LODE_NOT_FOUND,
                         "there is nothing at this path; /v1/openapi.json describes what there is");
    }
    lode_buf_release(&allow);
    return r;
}

static int admit_name(struct srv_request *request, enum lode_name_kind kind, const char *s,
                      struct lode_err *err)
{
    if (!s || (kind == LODE_NAME_NAMESPACE && strcmp(s, LODE_DEFAULT_NS) == 0))
        return 0;
    /* A revision may be a version, a number, an alias or latest. */
    if (kind == LODE_NAME_VERSION && lode_name_ok(s, strlen(s)))
        return 0;
    return lode_name_check(kind, s, strlen(s), err);
}

static int admit_names(struct srv_request *request, struct lode_err *err)
{
    int r = admit_name(request, LODE_NAME_NAMESPACE, request->ns, err);
    r = r < 0 ? r : admit_name(request, LODE_NAME_MODEL, request->name, err);
    r = r < 0 ? r : admit_name(request, LODE_NAME_VERSION, request->rev, err);
    r = r < 0 ? r : admit_name(request, LODE_NAME_ALIAS, request->alias, err);
    if (r == 0 && request->path)
        r = lode_path_check(request->path, strlen(request->path), err);
    return r;
}

static int admit_caller(struct srv_request *request, struct lode_err *err)
{
    if (!request->route->scope)
        return 0;
    struct lode_server *server = request->server;
    int r = srv_auth_check(&server->auth, srv_request_header(request, "Authorization"),
                           server->open, &request->caller, err);
    if (r < 0)
        return r;
    r = srv_caller_scope(&request->caller, request->route->scope, err);
    if (r == 0 && request->name && !srv_caller_may(&request->caller, request->ns, request->name))
        r = lode_err_set(err, LODE_DENIED, "token %s may not use this model",
                         srv_caller_name(&request->caller));
    if (r == 0 && request->route->scope == LODE_SCOPE_ADMIN && srv_caller_limited(&request->caller))
        r = lode_err_set(err, LODE_DENIED,
                         "token %s is limited to some models; this concerns the whole root",
                         srv_caller_name(&request->caller));
    return r;
}

static int admit_body(struct srv_request *request, struct lode_err *err)
{
    uint64_t length = request->content_length;
    if (!request->has_body)
        return 0;
    switch (request->route->body) {
    case SRV_BODY_NONE:
        return lode_err_set(err, LODE_INVALID, "%s takes no body here", request->method);
    case SRV_BODY_PART:
        if (length == UINT64_MAX)
            return srv_reply_fail(request, 411, LODE_INVALID, "a part needs a Content-Length");
        return length <= PART_MAX
                   ? 0
                   : lode_err_set(err, LODE_LIMIT, "a part has at most %u bytes", PART_MAX);
    case SRV_BODY_JSON:
        break;
    }
    const char *type = srv_request_header(request, "Content-Type");
    if (!type || strncasecmp(type, "application/json", 16) != 0 ||
        (type[16] && !strchr("; \t", type[16])))
        return srv_reply_fail(request, 415, LODE_INVALID, "the body has to be application/json");
    if (length != UINT64_MAX && length > LODE_HTTP_BODY_MAX && !LODE_PLANTED(body_unlimited))
        return lode_err_set(err, LODE_LIMIT, "the body is larger than %u bytes",
                            LODE_HTTP_BODY_MAX);
    return 0;
}

void srv_request_admit(struct srv_request *request)
{
    static int (*const steps[])(struct srv_request *, struct lode_err *) = {
        admit_length, admit_head, admit_route, admit_caller, query_read, admit_names, admit_body,
    };
    struct lode_err err = {0};
    request->doubtful = true;
    for (size_t i = 0; i < LODE_ARRAY_LEN(steps) && request->reply.kind == SRV_REPLY_NONE; i++) {
        if (steps[i](request, &err) < 0) {
            srv_reply_error(request, 0, err.code, &err);
            if (err.code == LODE_UNAUTHENTICATED)
                srv_reply_header(request, "WWW-Authenticate", "Bearer realm=\"lode\"");
        }
    }
    if (atomic_load(&request->server->stopping) && request->reply.kind == SRV_REPLY_NONE)
        srv_reply_fail(request, 0, LODE_UNAVAILABLE, "this server is stopping; ask another");
}

/* ---- what handlers ask ---- */

int srv_request_json(struct srv_request *request, const char *const *allowed, json_t **out,
                     struct lode_err *err)
{
    if (request->body.len == 0) {
        *out = json_object();
        return *out ? 0 : lode_err_nomem(err, "a body");
    }
    json_t *doc = NULL;
    int r = lode_json_parse(lode_buf_str(&request->body), request->body.len, "the body", &doc, err);
    if (r == 0 && !json_is_object(doc))
        r = lode_err_set(err, LODE_INVALID, "the body has to be an object");
    r = r < 0 ? r : lode_json_only(doc, allowed, "the body", err);
    if (r < 0) {
        json_decref(doc);
        return r == LODE_CORRUPT ? lode_err_set(err, LODE_INVALID, "the body is no JSON") : r;
    }
    *out = doc;
    return 0;
}

int srv_request_ref(const struct srv_request *request, const char *rev, struct lode_ref *out,
                    struct lode_err *err)
{
    struct lode_ref ref = {.kind = LODE_REV_NAME};
    snprintf(ref.ns, sizeof(ref.ns), "%s", request->ns);
    snprintf(ref.name, sizeof(ref.name), "%s", request->name);
    snprintf(ref.rev, sizeof(ref.rev), "%s", rev);
    if (strcmp(rev, "latest") == 0) {
        ref.kind = LODE_REV_LATEST;
    } else if (lode_name_is_seq(rev, strlen(rev))) {
        ref.kind = LODE_REV_SEQ;
        if (!number_parse(rev, INT64_MAX, &ref.seq))
            return lode_err_set(err, LODE_NOT_FOUND, "no version %s of %s: no number goes that far",
                                rev, ref.name);
    }
    *out = ref;
    return 0;
}

int srv_request_version(struct srv_request *request, bool any_state, struct lode_version *out,
                        struct lode_err *err)
{
    struct lode_ref ref;
    int r = srv_request_ref(request, request->rev, &ref, err);
    struct lode_catalog *catalog = request->server->catalog;
    return r < 0 ? r : lode_catalog_ops_of(catalog)->resolve(catalog, &ref, any_state, out, err);
}

struct lode_act srv_request_act(const struct srv_request *request, const char *why)
{
    return (struct lode_act){.who = srv_caller_name(&request->caller), .why = why};
}
