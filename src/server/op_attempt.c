/* Uploads over REST: stage a version, send its files, finish or abandon. The bytes' side (?part,
 * ?complete, ?parts, ?unfinished) is the protocol of docs/formats/http-store.md. */
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "model/record.h"
#include "server/notes.h"
#include "server/upload.h"

#define OPS(request) lode_catalog_ops_of((request)->server->catalog)
#define ALIASES_MAX 64 /* that one commit may be asked to set; the catalog has the last word */

static void upload_unrefp(struct srv_upload **at)
{
    if (*at)
        srv_upload_unref(*at);
}
#define _cleanup_upload_ __attribute__((cleanup(upload_unrefp)))

/* ---- stage ---- */

static int read_aliases(const json_t *list, const char *out[ALIASES_MAX], size_t *n,
                        struct lode_err *err)
{
    *n = 0;
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list) || json_array_size(list) > ALIASES_MAX)
        return lode_err_set(err, LODE_INVALID, "aliases has to be an array of at most %d names",
                            ALIASES_MAX);
    for (; *n < json_array_size(list); (*n)++) {
        out[*n] = json_string_value(json_array_get(list, *n));
        int r = out[*n] ? lode_name_check(LODE_NAME_ALIAS, out[*n], strlen(out[*n]), err)
                        : lode_err_set(err, LODE_INVALID, "aliases has to be an array of names");
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_resume(const json_t *body, struct lode_stage *out, struct lode_err *err)
{
    static const char *const allowed[] = {"version", "attempt", NULL};
    const json_t *resume = json_object_get(body, "resume");
    if (!resume || json_is_null(resume))
        return 0;
    int r = json_is_object(resume) ? lode_json_only(resume, allowed, "resume", err)
                                   : lode_err_set(err, LODE_INVALID, "resume has to be an object");
    r = r < 0 ? r : lode_json_str(resume, "version", &out->resume_version, err);
    return r < 0 ? r : lode_json_u64(resume, "attempt", &out->resume_attempt, err);
}

static int read_facts(const json_t *body, struct lode_stage *out, const char **why,
                      struct lode_err *err)
{
    int r = lode_json_opt_str(body, "version", &out->version, err);
    r = r < 0 ? r : lode_json_opt_str(body, "parent", &out->parent, err);
    r = r < 0 ? r : lode_json_opt_str(body, "replication", &out->replication, err);
    r = r < 0 ? r : lode_json_opt_u64(body, "size", &out->size, err);
    r = r < 0 ? r : lode_json_opt_str(body, "why", why, err);
    r = r < 0 ? r : read_resume(body, out, err);
    if (r == 0 && out->version)
        r = lode_name_check(LODE_NAME_VERSION, out->version, strlen(out->version), err);
    if (r == 0 && *why && strlen(*why) > LODE_WHY_MAX)
        r = lode_err_set(err, LODE_LIMIT, "the message has more than %d bytes", LODE_WHY_MAX);
    return r;
}

/* A client that sees the sizes of its files knows what it will send; a disk that cannot take it
 * says so first. */
static int check_room(struct srv_request *request, const struct lode_stage *stage,
                      struct lode_err *err)
{
    struct lode_store *store = request->server->store;
    struct lode_store_space space;
    if (!(lode_store_caps(store) & LODE_STORE_SPACE) || lode_store_space(store, &space, NULL) < 0 ||
        stage->size <= space.free)
        return 0;
    return lode_err_set(err, LODE_NO_SPACE, "the push needs %llu bytes, the server has %llu free",
                        (unsigned long long)stage->size, (unsigned long long)space.free);
}

static int stage(struct srv_request *request, const struct lode_stage *stage, const char *why,
                 struct srv_upload **out, struct lode_err *err)
{
    if (stage->resume_version)
        *out = srv_upload_take_over(request, stage->resume_version, stage->resume_attempt);
    if (*out)
        return 0;
    struct lode_act act = srv_request_act(request, why);
    struct lode_attempt *attempt;
    int r = check_room(request, stage, err);
    r = r < 0 ? r : OPS(request)->stage(request->server->catalog, stage, &act, &attempt, err);
    if (r < 0)
        return r;
    r = srv_upload_add(request->server, attempt, out, err);
    if (r < 0) {
        if (lode_catalog_ops_of(attempt)->abandon(attempt, false, NULL) < 0)
            lode_err_prefix(err, "the attempt stays until gc");
        lode_catalog_ops_of(attempt)->attempt_close(attempt);
    }
    return r;
}

static const char *const state_names[] = {"open", "finishing", "done", "closed"};

static json_t *upload_json(struct srv_upload *u)
{
    char url[64];
    snprintf(url, sizeof(url), "/v1/attempts/%s/files", u->id);
    pthread_mutex_lock(&u->lock);
    json_t *doc = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:b, s:s, s:I, s:s}", "id", u->id, "ns", u->ns, "name", u->name,
        "version", u->version, "attempt", (json_int_t)u->number, "resumed", u->resumed, "files_url",
        url, "part_size", (json_int_t)SRV_UPLOAD_PART, "state", state_names[u->state]);
    pthread_mutex_unlock(&u->lock);
    return doc;
}

int srv_op_stage(struct srv_request *request, struct lode_err *err)
{
    static const char *const allowed[] = {"version", "parent", "replication", "tags", "metrics",
                                          "aliases", "size",   "resume",      "why",  NULL};
    _cleanup_json_ json_t *body = NULL;
    _cleanup_srv_notes_ struct srv_notes notes = {0};
    _cleanup_upload_ struct srv_upload *u = NULL;
    const char *aliases[ALIASES_MAX], *why = NULL;
    struct lode_stage wanted = {.ns = request->ns, .name = request->name, .aliases = aliases};
    int r = srv_request_json(request, allowed, &body, err);
    r = r < 0 ? r : read_facts(body, &wanted, &why, err);
    r = r < 0 ? r : read_aliases(json_object_get(body, "aliases"), aliases, &wanted.n_aliases, err);
    r = r < 0 ? r : srv_notes_read(body, &notes, err);
    srv_notes_drop_removals(&notes);
    wanted.tags = notes.tags;
    wanted.n_tags = notes.n_tags;
    wanted.metrics = notes.metrics;
    wanted.n_metrics = notes.n_metrics;
    r = r < 0 ? r : stage(request, &wanted, why, &u, err);
    if (r < 0)
        return r;
    r = srv_reply_json(request, 201, upload_json(u));
    srv_reply_header(request, "Location", "/v1/attempts/%s", u->id);
    return r;
}

/* ---- the attempt ---- */

int srv_op_attempt(struct srv_request *request, struct lode_err *err)
{
    _cleanup_upload_ struct srv_upload *u = NULL;
    int r = srv_upload_find(request, &u, err);
    return r < 0 ? r : srv_reply_json(request, 200, upload_json(u));
}

/* A finish whose reply was lost: the same answer again. */
static bool answer_again(struct srv_request *request, struct srv_upload *u)
{
    pthread_mutex_lock(&u->lock);
    char *answer = u->state == SRV_UPLOAD_DONE ? lode_strdup(u->answer) : NULL;
    uint64_t revision = u->revision;
    pthread_mutex_unlock(&u->lock);
    if (!answer || srv_reply_text(request, 200, "application/json", answer, strlen(answer)) < 0)
        return false;
    request->reply.revision = revision;
    return true;
}

int srv_op_finish(struct srv_request *request, struct lode_err *err)
{
    static const char *const allowed[] = {"content", NULL};
    _cleanup_json_ json_t *body = NULL;
    _cleanup_upload_ struct srv_upload *u = NULL;
    _cleanup_version_ struct lode_version v = {0};
    const char *content = NULL;
    int r = srv_request_json(request, allowed, &body, err);
    r = r < 0 ? r : lode_json_opt_str(body, "content", &content, err);
    r = r < 0 ? r : srv_upload_find(request, &u, err);
    if (r < 0 || answer_again(request, u))
        return r;
    r = srv_upload_finish(u, content, &v, err);
    srv_cache_drop(request->server->cache, u->ns, u->name);
    if (r < 0)
        return r;
    r = srv_reply_json(request, 200, lode_version_to_json(&v));
    request->reply.revision = v.revision;
    return r;
}

int srv_op_abandon(struct srv_request *request, struct lode_err *err)
{
    _cleanup_upload_ struct srv_upload *u = NULL;
    bool keep = false;
    int r = srv_request_arg_bool(request, "keep", &keep, err);
    r = r < 0 ? r : srv_upload_find(request, &u, err);
    r = r < 0 ? r : srv_upload_close(u, keep, err);
    return r < 0 ? r : srv_reply_empty(request, 204);
}

/* ---- bytes ---- */

static int read_mode(struct srv_request *request, uint32_t *out, struct lode_err *err)
{
    const char *s = srv_request_arg(request, "mode");
    uint32_t mode = 0;
    size_t len = s ? strlen(s) : 0;
    if (s && (len == 0 || len > 4 || strspn(s, "01234567") != len))
        return lode_err_set(err, LODE_INVALID, "mode has to be octal permission bits");
    for (; s && *s; s++)
        mode = mode * 8 + (uint32_t)(*s - '0');
    if (mode > 0777)
        return lode_err_set(err, LODE_INVALID, "mode has to be octal permission bits, at most 777");
    *out = mode;
    return 0;
}

int srv_op_part_put(struct srv_request *request, struct lode_err *err)
{
    struct lode_store_write_opts opts = {.size = UINT64_MAX};
    uint64_t number = UINT64_MAX, part_size = 0;
    _cleanup_upload_ struct srv_upload *u = NULL;
    int r = srv_request_arg_u64(request, "part", UINT32_MAX - 1, &number, err);
    r = r < 0 ? r : srv_request_arg_u64(request, "part_size", SIZE_MAX, &part_size, err);
    r = r < 0 ? r : srv_request_arg_u64(request, "size", INT64_MAX, &opts.size, err);
    r = r < 0 ? r : read_mode(request, &opts.mode, err);
    if (r < 0)
        return r;
    if (number == UINT64_MAX || part_size == 0 || request->part_have == 0 ||
        request->part_have > part_size)
        return lode_err_set(err, LODE_INVALID,
                            "a part needs ?part=, ?part_size= and a body of 1 to part_size bytes");
    opts.part_size = part_size;
    r = srv_upload_find(request, &u, err);
    r = r < 0 ? r
              : srv_upload_part(u, request->path, (uint32_t)number, &opts, request->part,
                                request->part_have, err);
    return r < 0 ? r : srv_reply_empty(request, 204);
}

int srv_op_complete(struct srv_request *request, struct lode_err *err)
{
    uint64_t size = UINT64_MAX, if_absent = 0;
    bool asks = false;
    uint32_t mode = 0;
    _cleanup_upload_ struct srv_upload *u = NULL;
    int r = srv_request_arg_u64(request, "size", INT64_MAX, &size, err);
    r = r < 0 ? r : srv_request_arg_u64(request, "if_absent", 1, &if_absent, err);
    r = r < 0 ? r : srv_request_arg_flag(request, "complete", &asks, err);
    r = r < 0 ? r : read_mode(request, &mode, err);
    if (r == 0 && (!asks || size == UINT64_MAX))
        r = lode_err_set(err, LODE_INVALID, "say ?complete&size=");
    r = r < 0 ? r : srv_upload_find(request, &u, err);
    r = r < 0 ? r : srv_upload_complete(u, request->path, size, mode, if_absent == 1, err);
    return r < 0 ? r : srv_reply_json(request, 200, json_pack("{s:I}", "size", (json_int_t)size));
}

/* libmicrohttpd asks nobody for the body of an answer to HEAD, but wants somebody to ask. */
static ssize_t no_body(void *arg, uint64_t at, char *out, size_t room)
{
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* HEAD: is the object there, for a client that goes on with an upload. The bytes themselves are not
 * handed out. */
static int head_object(struct srv_request *request, struct srv_upload *u, struct lode_err *err)
{
    uint64_t size;
    int r = srv_upload_stat(u, request->path, &size, err);
    if (r < 0)
        return r;
    request->reply.kind = SRV_REPLY_STREAM;
    request->reply.status = 200;
    request->reply.length = size;
    request->reply.read = no_body;
    srv_reply_header(request, "Accept-Ranges", "bytes");
    return 0;
}

int srv_op_parts(struct srv_request *request, struct lode_err *err)
{
    _cleanup_upload_ struct srv_upload *u = NULL;
    json_t *doc;
    bool asks = false;
    int r = srv_request_arg_flag(request, "parts", &asks, err);
    r = r < 0 ? r : srv_upload_find(request, &u, err);
    if (r == 0 && !asks && strcmp(request->method, "HEAD") == 0)
        return head_object(request, u, err);
    if (r == 0 && !asks)
        r = lode_err_set(err, LODE_DENIED,
                         "an upload's bytes are not read back; say ?parts for what was received");
    r = r < 0 ? r : srv_upload_parts(u, request->path, &doc, err);
    return r < 0 ? r : srv_reply_json(request, 200, doc);
}

int srv_op_parts_drop(struct srv_request *request, struct lode_err *err)
{
    _cleanup_upload_ struct srv_upload *u = NULL;
    bool asks = false;
    int r = srv_request_arg_flag(request, "parts", &asks, err);
    if (r == 0 && !asks)
        r = lode_err_set(err, LODE_DENIED,
                         "objects are not removed; say ?parts to drop an unfinished one");
    r = r < 0 ? r : srv_upload_find(request, &u, err);
    r = r < 0 ? r : srv_upload_drop(u, request->path, err);
    return r < 0 ? r : srv_reply_empty(request, 204);
}

int srv_op_unfinished(struct srv_request *request, struct lode_err *err)
{
    _cleanup_upload_ struct srv_upload *u = NULL;
    json_t *doc;
    bool asks = false;
    int r = srv_request_arg_flag(request, "unfinished", &asks, err);
    if (r == 0 && !asks)
        r = lode_err_set(
            err, LODE_INVALID,
            "an upload's files are not listed; say ?unfinished for those that are begun");
    r = r < 0 ? r : srv_upload_find(request, &u, err);
    r = r < 0 ? r : srv_upload_unfinished(u, &doc, err);
    return r < 0 ? r : srv_reply_json(request, 200, doc);
}
