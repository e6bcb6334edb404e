/* What the server offers, in one table: method, path, scope, body, query and operation.
 * docs/openapi/openapi.json describes the same operations; tests/server/test_routes.c holds the two
 * against each other. */
#include "server/rooms.h"
#include <string.h>

#define MODEL "/v1/models/{ns}/{name}"
#define VERSION MODEL "/versions/{rev}"
#define ATTEMPT "/v1/attempts/{id}"
#define LIST_QUERY "filter sort limit page deleted"
#define R LODE_SCOPE_READ
#define W LODE_SCOPE_WRITE
#define A LODE_SCOPE_ADMIN

static const struct srv_route routes[] = {
    /* what is asked most comes first */
    {"getVersion", "GET", VERSION, R, SRV_BODY_NONE, "any_state", srv_op_version_fast,
     srv_op_version},
    {"resolve", "GET", "/v1/resolve", R, SRV_BODY_NONE, "ref any_state", srv_op_resolve_fast,
     srv_op_resolve},
    {"getFile", "GET", VERSION "/files/{path}", R, SRV_BODY_NONE, NULL, NULL, srv_op_file},
    {"uploadPart", "PUT", ATTEMPT "/files/{path}", W, SRV_BODY_PART, "part part_size size mode",
     NULL, srv_op_part_put},
    {"completeFile", "POST", ATTEMPT "/files/{path}", W, SRV_BODY_NONE,
     "complete size if_absent mode", NULL, srv_op_complete},
    {"getParts", "GET", ATTEMPT "/files/{path}", W, SRV_BODY_NONE, "parts", NULL, srv_op_parts},
    {"dropParts", "DELETE", ATTEMPT "/files/{path}", W, SRV_BODY_NONE, "parts", NULL,
     srv_op_parts_drop},
    {"getUnfinished", "GET", ATTEMPT "/files", W, SRV_BODY_NONE, "unfinished", NULL,
     srv_op_unfinished},
    {"stageVersion", "POST", MODEL "/attempts", W, SRV_BODY_JSON, NULL, NULL, srv_op_stage},
    {"getAttempt", "GET", ATTEMPT, W, SRV_BODY_NONE, NULL, NULL, srv_op_attempt},
    {"finishVersion", "POST", ATTEMPT "/finish", W, SRV_BODY_JSON, NULL, NULL, srv_op_finish},
    {"abandonVersion", "DELETE", ATTEMPT, W, SRV_BODY_NONE, "keep", NULL, srv_op_abandon},
    {"listModels", "GET", "/v1/models", R, SRV_BODY_NONE, "ns " LIST_QUERY, NULL, srv_op_models},
    {"getModel", "GET", MODEL, R, SRV_BODY_NONE, NULL, NULL, srv_op_model},
    {"listVersions", "GET", MODEL "/versions", R, SRV_BODY_NONE, LIST_QUERY, NULL, srv_op_versions},
    {"listAllVersions", "GET", "/v1/versions", R, SRV_BODY_NONE, "ns " LIST_QUERY, NULL,
     srv_op_versions},
    {"annotateVersion", "PATCH", VERSION, W, SRV_BODY_JSON, NULL, NULL, srv_op_annotate},
    {"removeVersion", "DELETE", VERSION, W, SRV_BODY_NONE, "why", NULL, srv_op_remove},
    {"restoreVersion", "POST", VERSION "/restore", W, SRV_BODY_JSON, NULL, NULL, srv_op_restore},
    {"describeVersion", "GET", VERSION "/description", R, SRV_BODY_NONE, "tensors", NULL,
     srv_op_describe},
    {"getManifest", "GET", VERSION "/manifest", R, SRV_BODY_NONE, NULL, NULL, srv_op_manifest},
    {"listAliases", "GET", MODEL "/aliases", R, SRV_BODY_NONE, NULL, NULL, srv_op_aliases},
    {"getAliasAt", "GET", MODEL "/aliases/{alias}", R, SRV_BODY_NONE, "when", NULL,
     srv_op_alias_at},
    {"setAlias", "PUT", MODEL "/aliases/{alias}", W, SRV_BODY_JSON, NULL, NULL, srv_op_alias_set},
    {"removeAlias", "DELETE", MODEL "/aliases/{alias}", W, SRV_BODY_NONE, "why", NULL,
     srv_op_alias_remove},
    {"listModelJournal", "GET", MODEL "/journal", R, SRV_BODY_NONE, "alias limit page order", NULL,
     srv_op_journal},
    {"listJournal", "GET", "/v1/journal", R, SRV_BODY_NONE, "alias limit page order", NULL,
     srv_op_journal},
    {"diff", "GET", "/v1/diff", R, SRV_BODY_NONE, "from to", NULL, srv_op_diff},
    {"watch", "GET", "/v1/watch", R, SRV_BODY_NONE, "ns name", NULL, srv_op_watch},
    {"listJobs", "GET", "/v1/jobs", A, SRV_BODY_NONE, NULL, NULL, srv_op_jobs},
    {"startJob", "POST", "/v1/jobs", A, SRV_BODY_JSON, NULL, NULL, srv_op_job_start},
    {"getJob", "GET", "/v1/jobs/{id}", A, SRV_BODY_NONE, "wait", NULL, srv_op_job},
    {"cancelJob", "POST", "/v1/jobs/{id}/cancel", A, SRV_BODY_NONE, NULL, NULL, srv_op_job_cancel},
    {"listTokens", "GET", "/v1/tokens", A, SRV_BODY_NONE, NULL, NULL, srv_op_tokens},
    {"addToken", "POST", "/v1/tokens", A, SRV_BODY_JSON, NULL, NULL, srv_op_token_add},
    {"removeToken", "DELETE", "/v1/tokens/{id}", A, SRV_BODY_NONE, NULL, NULL, srv_op_token_remove},
    {"getRoot", "GET", "/v1/root", R, SRV_BODY_NONE, NULL, NULL, srv_op_root},
    {"getOpenapi", "GET", "/v1/openapi.json", 0, SRV_BODY_NONE, NULL, srv_op_openapi, NULL},
    {"getHealth", "GET", "/healthz", 0, SRV_BODY_NONE, NULL, srv_op_health, NULL},
    {"getReady", "GET", "/readyz", 0, SRV_BODY_NONE, NULL, srv_op_ready, NULL},
    {"getMetrics", "GET", "/metrics", R, SRV_BODY_NONE, NULL, srv_op_metrics, NULL},
};

const struct srv_route *srv_routes(size_t *n)
{
    *n = LODE_ARRAY_LEN(routes);
    return routes;
}

/* ---- finding one ---- */

static const char **slot_of(struct srv_request *request, const char *word, size_t len)
{
    static const struct {
        const char *word;
        size_t offset;
    } slots[] = {
        {"{ns}", offsetof(struct srv_request, ns)},
        {"{name}", offsetof(struct srv_request, name)},
        {"{rev}", offsetof(struct srv_request, rev)},
        {"{alias}", offsetof(struct srv_request, alias)},
        {"{id}", offsetof(struct srv_request, id)},
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(slots); i++)
        if (strlen(slots[i].word) == len && memcmp(slots[i].word, word, len) == 0)
            return (const char **)(void *)((char *)request + slots[i].offset);
    return NULL;
}

/* Walks the pattern along the parts; with `fill` sets the request's names. */
static bool match(const struct srv_route *route, struct srv_request *request, bool fill)
{
    const char *word = route->path + 1;
    for (size_t i = 0;; i++) {
        size_t len = strcspn(word, "/");
        if (i >= request->n_parts)
            return false;
        if (len == 6 && memcmp(word, "{path}", 6) == 0)
            return !fill || (request->path = srv_path_join(request, i)) != NULL;
        if (word[0] != '{' &&
            (len != request->part_len[i] || memcmp(word, request->parts[i], len) != 0))
            return false;
        if (word[0] == '{' && fill)
            *slot_of(request, word, len) = request->parts[i];
        if (!word[len])
            return i + 1 == request->n_parts;
        word += len + 1;
    }
}

/* HEAD is GET without its body: libmicrohttpd leaves that out. */
static bool same_method(const char *method, const char *route)
{
    return strcmp(method, route) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(route, "GET") == 0);
}

const struct srv_route *srv_route_find(const char *method, struct srv_request *request,
                                       struct lode_buf *allow)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(routes); i++) {
        if (!match(&routes[i], request, false))
            continue;
        if (same_method(method, routes[i].method))
            return match(&routes[i], request, true) ? &routes[i] : NULL;
        lode_buf_addf(allow, "%s%s%s", allow->len ? ", " : "", routes[i].method,
                      strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    return NULL;
}
