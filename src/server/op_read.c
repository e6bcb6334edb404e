/* Reading: root, models, versions, references, journal. What a token's patterns do not cover is
 * left out of lists. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "model/record.h"
#include "registry/handle.h"
#include "server/rooms.h"

#define DESCRIBE_MAX 100000 /* files, or tensors, of one description */

static struct lode_catalog *catalog_of(const struct srv_request *request)
{
    return request->server->catalog;
}
#define OPS(request) lode_catalog_ops_of(catalog_of(request))

/* ---- root ---- */

int srv_op_root(struct srv_request *request, struct lode_err *err)
{
    struct lode_root_info root;
    int r = OPS(request)->root(catalog_of(request), &root, err);
    if (r < 0)
        return r;
    json_t *doc =
        json_pack("{s:s, s:I, s:i, s:s, s:s?, s:s, s:s, s:I, s:s}", "id", root.id, "epoch",
                  (json_int_t)root.epoch, "schema", (int)root.schema, "state", root.state,
                  "moved_to", root.moved_to, "store", root.store, "coord", root.coord, "revision",
                  (json_int_t)root.revision, "server", lode_version_string());
    request->reply.revision = root.revision;
    uint64_t revision = root.revision;
    lode_root_info_release(&root);
    r = srv_reply_json(request, 200, doc);
    request->reply.revision = revision;
    return r;
}

/* ---- lists ---- */

static int read_query(struct srv_request *request, struct lode_query *out, struct lode_err *err)
{
    uint64_t limit = 0;
    int r = srv_request_arg_u64(request, "limit", LODE_PAGE_MAX, &limit, err);
    r = r < 0 ? r : srv_request_arg_bool(request, "deleted", &out->deleted, err);
    const char *ns = srv_request_arg(request, "ns");
    if (r == 0 && ns && strcmp(ns, LODE_DEFAULT_NS) != 0)
        r = lode_name_check(LODE_NAME_NAMESPACE, ns, strlen(ns), err);
    out->limit = (uint32_t)limit;
    out->ns = request->ns ? request->ns : ns;
    out->name = request->name;
    out->filter = srv_request_arg(request, "filter");
    out->sort = srv_request_arg(request, "sort");
    out->page = srv_request_arg(request, "page");
    return r;
}

static int reply_at(struct srv_request *request, json_t *doc, uint64_t revision)
{
    int r = srv_reply_json(request, 200, doc);
    request->reply.revision = revision;
    return r;
}

int srv_op_models(struct srv_request *request, struct lode_err *err)
{
    struct lode_query query = {0};
    _cleanup_models_ struct lode_models page = {0};
    int r = read_query(request, &query, err);
    r = r < 0 ? r : OPS(request)->models(catalog_of(request), &query, &page, err);
    if (r < 0)
        return r;
    size_t kept = 0;
    for (size_t i = 0; i < page.n; i++) {
        struct lode_model_info item = page.items[i];
        if (srv_caller_may(&request->caller, item.ns, item.name))
            page.items[kept++] = item;
        else
            lode_model_info_release(&item);
    }
    page.n = kept;
    return reply_at(request, lode_models_to_json(&page), page.revision);
}

int srv_op_versions(struct srv_request *request, struct lode_err *err)
{
    struct lode_query query = {0};
    _cleanup_versions_ struct lode_versions page = {0};
    int r = read_query(request, &query, err);
    r = r < 0 ? r : OPS(request)->versions(catalog_of(request), &query, &page, err);
    if (r < 0)
        return r;
    size_t kept = 0;
    for (size_t i = 0; i < page.n; i++) {
        struct lode_version item = page.items[i];
        if (srv_caller_may(&request->caller, item.ns, item.name))
            page.items[kept++] = item;
        else
            lode_version_release(&item);
    }
    page.n = kept;
    return reply_at(request, lode_versions_to_json(&page), page.revision);
}

static int read_order(struct srv_request *request, bool *oldest_first, struct lode_err *err)
{
    const char *order = srv_request_arg(request, "order");
    *oldest_first = order && strcmp(order, "asc") == 0;
    if (!order || *oldest_first || strcmp(order, "desc") == 0)
        return 0;
    return lode_err_set(err, LODE_INVALID, "the query parameter order has to be asc or desc");
}

int srv_op_journal(struct srv_request *request, struct lode_err *err)
{
    struct lode_journal_query query = {.ns = request->ns,
                                       .name = request->name,
                                       .alias = srv_request_arg(request, "alias"),
                                       .page = srv_request_arg(request, "page")};
    _cleanup_journal_ struct lode_journal page = {0};
    uint64_t limit = 0;
    int r = srv_request_arg_u64(request, "limit", LODE_PAGE_MAX, &limit, err);
    r = r < 0 ? r : read_order(request, &query.oldest_first, err);
    if (r == 0 && query.alias)
        r = lode_name_check(LODE_NAME_ALIAS, query.alias, strlen(query.alias), err);
    query.limit = (uint32_t)limit;
    r = r < 0 ? r : OPS(request)->journal(catalog_of(request), &query, &page, err);
    if (r < 0)
        return r;
    size_t kept = 0;
    for (size_t i = 0; i < page.n; i++) {
        struct lode_journal_entry item = page.items[i];
        if (srv_caller_may(&request->caller, item.ns, item.name))
            page.items[kept++] = item;
        else
            lode_journal_entry_release(&item);
    }
    page.n = kept;
    return reply_at(request, lode_journal_to_json(&page), page.revision);
}

/* ---- one model ---- */

int srv_op_model(struct srv_request *request, struct lode_err *err)
{
    _cleanup_model_info_ struct lode_model_info info = {0};
    int r = OPS(request)->model(catalog_of(request), request->ns, request->name, &info, err);
    return r < 0 ? r : reply_at(request, lode_model_info_to_json(&info), info.revision);
}

int srv_op_aliases(struct srv_request *request, struct lode_err *err)
{
    _cleanup_model_info_ struct lode_model_info info = {0};
    int r = OPS(request)->model(catalog_of(request), request->ns, request->name, &info, err);
    if (r < 0)
        return r;
    json_t *aliases = json_object();
    for (size_t i = 0; i < info.n_aliases; i++)
        json_object_set_new(aliases, info.aliases[i].alias, json_string(info.aliases[i].version));
    return reply_at(
        request, json_pack("{s:o, s:I}", "aliases", aliases, "revision", (json_int_t)info.revision),
        info.revision);
}

static int read_when(struct srv_request *request, int64_t *out, struct lode_err *err)
{
    const char *when = srv_request_arg(request, "when");
    if (when)
        return lode_time_parse(when, out, err);
    *out = lode_now_ms();
    return 0;
}

int srv_op_alias_at(struct srv_request *request, struct lode_err *err)
{
    _cleanup_journal_entry_ struct lode_journal_entry entry = {0};
    int64_t when;
    int r = read_when(request, &when, err);
    r = r < 0 ? r
              : OPS(request)->alias_at(catalog_of(request), request->ns, request->name,
                                       request->alias, when, &entry, err);
    return r < 0 ? r : srv_reply_json(request, 200, lode_journal_entry_to_json(&entry));
}

/* ---- one version: the hot path ---- */

struct queueing {
    struct srv_request *request;
    enum MHD_Result result;
};

static void queue_kept(void *arg, struct MHD_Response *response, size_t bytes)
{
    struct queueing *q = arg;
    q->result = MHD_queue_response(q->request->mhd, MHD_HTTP_OK, response);
    q->request->sent = bytes;
}

static bool answer_kept(struct srv_request *request, const char *ns, const char *name,
                        const char *rev)
{
    struct lode_server *server = request->server;
    struct queueing q = {request, MHD_NO};
    if (!srv_follow_alive(server->follow) ||
        request->want_revision > srv_follow_revision(server->follow) ||
        srv_request_header(request, "Origin"))
        return false;
    if (!srv_cache_give(server->cache, ns, name, rev, queue_kept, &q) || q.result != MHD_YES)
        return false;
    request->reply.kind = SRV_REPLY_SENT;
    request->reply.status = MHD_HTTP_OK;
    return true;
}

/* Keeps an answer for those who ask next. */
static void keep(struct srv_request *request, uint64_t stamp, const char *rev,
                 const struct lode_version *v, const char *text, size_t len)
{
    struct lode_server *server = request->server;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return;
    char revision[24];
    snprintf(revision, sizeof(revision), "%llu", (unsigned long long)v->revision);
    MHD_add_response_header(response, "Content-Type", "application/json");
    MHD_add_response_header(response, "Lode-Revision", revision);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (srv_follow_alive(server->follow))
        srv_cache_put(server->cache, stamp, v->ns, v->name, rev, response, len);
    else
        MHD_destroy_response(response);
}

static const char *rev_text(const struct lode_ref *ref, char number[24])
{
    if (ref->kind == LODE_REV_LATEST)
        return "latest";
    if (ref->kind == LODE_REV_NAME)
        return ref->rev;
    snprintf(number, 24, "%llu", (unsigned long long)ref->seq);
    return number;
}

static int answer_version(struct srv_request *request, const struct lode_ref *ref,
                          struct lode_err *err)
{
    bool any_state = false;
    int r = srv_request_arg_bool(request, "any_state", &any_state, err);
    uint64_t stamp = srv_cache_stamp(request->server->cache);
    _cleanup_version_ struct lode_version v = {0};
    r = r < 0 ? r : OPS(request)->resolve(catalog_of(request), ref, any_state, &v, err);
    if (r < 0)
        return r;
    json_t *doc = lode_version_to_json(&v);
    size_t len = 0;
    if (LODE_PLANTED(renamed_field) && doc)
        json_object_set_new(doc, "sequence", json_integer((json_int_t)v.seq));
    char *text = doc ? lode_json_text(doc, &len) : NULL;
    json_decref(doc);
    char number[24];
    if (text && !any_state)
        keep(request, stamp, rev_text(ref, number), &v, text, len);
    r = srv_reply_text(request, 200, "application/json", text, len);
    request->reply.revision = v.revision;
    return r;
}

bool srv_op_version_fast(struct srv_request *request)
{
    return request->n_query == 0 && answer_kept(request, request->ns, request->name, request->rev);
}

int srv_op_version(struct srv_request *request, struct lode_err *err)
{
    struct lode_ref ref;
    int r = srv_request_ref(request, request->rev, &ref, err);
    return r < 0 ? r : answer_version(request, &ref, err);
}

static int read_ref(struct srv_request *request, struct lode_ref *out, struct lode_err *err)
{
    const char *text = srv_request_arg(request, "ref");
    if (!text)
        return lode_err_set(err, LODE_INVALID, "say which: ?ref=name@alias");
    int r = lode_ref_parse(text, out, err);
    if (r < 0)
        return r;
    if (out->host[0])
        return lode_err_set(err, LODE_INVALID, "a reference to another host is not resolved here");
    if (!srv_caller_may(&request->caller, out->ns, out->name))
        return lode_err_set(err, LODE_DENIED, "token %s may not use this model",
                            srv_caller_name(&request->caller));
    return 0;
}

bool srv_op_resolve_fast(struct srv_request *request)
{
    struct lode_ref ref;
    char number[24];
    return request->n_query == 1 && read_ref(request, &ref, NULL) == 0 &&
           answer_kept(request, ref.ns, ref.name, rev_text(&ref, number));
}

int srv_op_resolve(struct srv_request *request, struct lode_err *err)
{
    struct lode_ref ref;
    int r = read_ref(request, &ref, err);
    return r < 0 ? r : answer_version(request, &ref, err);
}

/* ---- reports that a verb makes ---- */

static int hand_text(struct srv_request *request, char *json)
{
    return srv_reply_text(request, 200, "application/json", json, strlen(json));
}

/* The whole description is made in memory, so it is only made of what is small enough. */
static int check_describable(struct srv_request *request, const struct lode_ref *ref, bool tensors,
                             struct lode_err *err)
{
    _cleanup_version_ struct lode_version v = {0};
    int r = OPS(request)->resolve(catalog_of(request), ref, false, &v, err);
    if (r == 0 && (v.files > DESCRIBE_MAX || (tensors && v.tensors > DESCRIBE_MAX)))
        r = lode_err_set(err, LODE_LIMIT,
                         "%s has more than %d files or tensors to describe; read its manifest",
                         v.version, DESCRIBE_MAX);
    return r;
}

int srv_op_describe(struct srv_request *request, struct lode_err *err)
{
    struct lode_ref ref;
    bool tensors = false;
    char *json;
    char text[LODE_REF_TEXT];
    int r = srv_request_ref(request, request->rev, &ref, err);
    r = r < 0 ? r : srv_request_arg_bool(request, "tensors", &tensors, err);
    r = r < 0 ? r : check_describable(request, &ref, tensors, err);
    r = r < 0
            ? r
            : lode_describe(request->server->lode, lode_ref_text(&ref, text), tensors, &json, err);
    return r < 0 ? r : hand_text(request, json);
}

static int check_side(struct srv_request *request, const char *key, const char **out,
                      struct lode_err *err)
{
    struct lode_ref ref;
    *out = srv_request_arg(request, key);
    if (!*out)
        return lode_err_set(err, LODE_INVALID, "say which two: ?from=name@1&to=name@2");
    int r = lode_ref_parse(*out, &ref, err);
    if (r == 0 && !srv_caller_may(&request->caller, ref.ns, ref.name))
        r = lode_err_set(err, LODE_DENIED, "token %s may not use this model",
                         srv_caller_name(&request->caller));
    return r;
}

int srv_op_diff(struct srv_request *request, struct lode_err *err)
{
    const char *from, *to;
    char *json;
    int r = check_side(request, "from", &from, err);
    r = r < 0 ? r : check_side(request, "to", &to, err);
    r = r < 0 ? r : lode_diff(request->server->lode, from, to, &json, err);
    return r < 0 ? r : hand_text(request, json);
}
