/* Small changes: aliases, tags, metrics, rm, restore, tokens. `who` in the journal is the token's
 * name. A change drops the model's kept answers before it is acknowledged, so that its author reads
 * it at once (cache.c). */
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/name.h"
#include "model/record.h"
#include "server/notes.h"
#include "server/rooms.h"
#include "server/token.h"

#define OPS(request) lode_catalog_ops_of((request)->server->catalog)

static int read_why(const char *why, struct lode_err *err)
{
    return why && strlen(why) > LODE_WHY_MAX
               ? lode_err_set(err, LODE_LIMIT, "the message has more than %d bytes", LODE_WHY_MAX)
               : 0;
}

static void changed(struct srv_request *request)
{
    srv_cache_drop(request->server->cache, request->ns, request->name);
}

/* The newest revision, so that the client can ask to see its own change elsewhere. */
static void tell_revision(struct srv_request *request)
{
    uint64_t revision;
    if (OPS(request)->revision(request->server->catalog, false, &revision, NULL) == 0)
        request->reply.revision = revision;
}

static int reply_entry(struct srv_request *request, const struct lode_journal_entry *entry)
{
    int r = srv_reply_json(request, 200, lode_journal_entry_to_json(entry));
    tell_revision(request);
    return r;
}

static int reply_version(struct srv_request *request, const struct lode_version *v)
{
    int r = srv_reply_json(request, 200, lode_version_to_json(v));
    request->reply.revision = v->revision;
    if (!v->revision)
        tell_revision(request);
    return r;
}

/* ---- aliases ---- */

static int alias_set(struct srv_request *request, const char *version, const char *expect,
                     const char *why, struct lode_err *err)
{
    struct srv_request to = {
        .server = request->server, .ns = request->ns, .name = request->name, .rev = version};
    _cleanup_version_ struct lode_version v = {0};
    _cleanup_journal_entry_ struct lode_journal_entry entry = {0};
    struct lode_act act = srv_request_act(request, why);
    int r = lode_name_ok(version, strlen(version))
                ? srv_request_version(&to, false, &v, err)
                : lode_err_set(err, LODE_INVALID, "%s is no version", lode_q(version));
    r = r < 0 ? r
              : OPS(request)->alias_set(request->server->catalog, request->ns, request->name,
                                        request->alias, v.version, expect, &act, &entry, err);
    changed(request);
    return r < 0 ? r : reply_entry(request, &entry);
}

int srv_op_alias_set(struct srv_request *request, struct lode_err *err)
{
    static const char *const allowed[] = {"version", "expect_from", "why", NULL};
    _cleanup_json_ json_t *body = NULL;
    const char *version = NULL, *expect = NULL, *why = NULL;
    int r = srv_request_json(request, allowed, &body, err);
    r = r < 0 ? r : lode_json_str(body, "version", &version, err);
    r = r < 0 ? r : lode_json_opt_str(body, "expect_from", &expect, err);
    r = r < 0 ? r : lode_json_opt_str(body, "why", &why, err);
    r = r < 0 ? r : read_why(why, err);
    return r < 0 ? r : alias_set(request, version, expect, why, err);
}

int srv_op_alias_remove(struct srv_request *request, struct lode_err *err)
{
    const char *why = srv_request_arg(request, "why");
    struct lode_act act = srv_request_act(request, why);
    _cleanup_journal_entry_ struct lode_journal_entry entry = {0};
    int r = read_why(why, err);
    r = r < 0 ? r
              : OPS(request)->alias_remove(request->server->catalog, request->ns, request->name,
                                           request->alias, &act, &entry, err);
    changed(request);
    return r < 0 ? r : reply_entry(request, &entry);
}

/* ---- tags and metrics ---- */

int srv_op_annotate(struct srv_request *request, struct lode_err *err)
{
    static const char *const allowed[] = {"tags", "metrics", "why", NULL};
    _cleanup_json_ json_t *body = NULL;
    _cleanup_version_ struct lode_version v = {0}, after = {0};
    _cleanup_srv_notes_ struct srv_notes notes = {0};
    const char *why = NULL;
    int r = srv_request_json(request, allowed, &body, err);
    r = r < 0 ? r : lode_json_opt_str(body, "why", &why, err);
    r = r < 0 ? r : read_why(why, err);
    r = r < 0 ? r : srv_notes_read(body, &notes, err);
    r = r < 0 ? r : srv_request_version(request, false, &v, err);
    if (r < 0)
        return r;
    struct lode_act act = srv_request_act(request, why);
    r = OPS(request)->annotate(request->server->catalog, &v, notes.tags, notes.n_tags,
                               notes.metrics, notes.n_metrics, &act, &after, err);
    changed(request);
    return r < 0 ? r : reply_version(request, &after);
}

/* ---- rm and restore ---- */

int srv_op_remove(struct srv_request *request, struct lode_err *err)
{
    const char *why = srv_request_arg(request, "why");
    struct lode_act act = srv_request_act(request, why);
    _cleanup_version_ struct lode_version v = {0}, after = {0};
    int r = read_why(why, err);
    r = r < 0 ? r : srv_request_version(request, false, &v, err);
    r = r < 0 ? r : OPS(request)->remove(request->server->catalog, &v, &act, &after, err);
    changed(request);
    return r < 0 ? r : reply_version(request, &after);
}

int srv_op_restore(struct srv_request *request, struct lode_err *err)
{
    static const char *const allowed[] = {"why", NULL};
    _cleanup_json_ json_t *body = NULL;
    _cleanup_version_ struct lode_version v = {0}, after = {0};
    const char *why = NULL;
    int r = srv_request_json(request, allowed, &body, err);
    r = r < 0 ? r : lode_json_opt_str(body, "why", &why, err);
    r = r < 0 ? r : read_why(why, err);
    r = r < 0 ? r : srv_request_version(request, true, &v, err);
    struct lode_act act = srv_request_act(request, why);
    r = r < 0 ? r : OPS(request)->restore(request->server->catalog, &v, &act, &after, err);
    changed(request);
    return r < 0 ? r : reply_version(request, &after);
}

/* ---- tokens ---- */

static json_t *token_json(const struct lode_token_info *t)
{
    json_t *patterns = json_array();
    char time[LODE_TIME_TEXT];
    for (size_t i = 0; i < t->n_patterns; i++)
        json_array_append_new(patterns, json_string(t->patterns[i]));
    return json_pack("{s:s, s:s, s:s, s:o, s:s}", "id", t->id, "name", t->name, "scope",
                     lode_scope_name(t->scope), "models", patterns, "created",
                     lode_time_rfc3339(t->created_ms, time));
}

int srv_op_tokens(struct srv_request *request, struct lode_err *err)
{
    struct lode_tokens all;
    int r = srv_token_coord_ls(request->server->coord, &all, err);
    if (r < 0)
        return r;
    json_t *list = json_array();
    for (size_t i = 0; i < all.n; i++)
        json_array_append_new(list, token_json(&all.items[i]));
    lode_tokens_release(&all);
    return srv_reply_json(request, 200, json_pack("{s:o}", "tokens", list));
}

static int read_patterns(const json_t *list, const char *out[SRV_TOKEN_PATTERNS_MAX], size_t *n,
                         struct lode_err *err)
{
    *n = 0;
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list) || json_array_size(list) > SRV_TOKEN_PATTERNS_MAX)
        return lode_err_set(err, LODE_INVALID, "models has to be an array of at most %d patterns",
                            SRV_TOKEN_PATTERNS_MAX);
    for (; *n < json_array_size(list); (*n)++) {
        out[*n] = json_string_value(json_array_get(list, *n));
        if (!out[*n])
            return lode_err_set(err, LODE_INVALID, "models has to be an array of texts");
    }
    return 0;
}

int srv_op_token_add(struct srv_request *request, struct lode_err *err)
{
    static const char *const allowed[] = {"name", "scope", "models", NULL};
    _cleanup_json_ json_t *body = NULL;
    const char *name = NULL, *scope_text = NULL, *patterns[SRV_TOKEN_PATTERNS_MAX];
    enum lode_scope scope = LODE_SCOPE_READ;
    size_t n = 0;
    char *secret = NULL;
    struct lode_token_info info = {0};
    int r = srv_request_json(request, allowed, &body, err);
    r = r < 0 ? r : lode_json_str(body, "name", &name, err);
    r = r < 0 ? r : lode_json_str(body, "scope", &scope_text, err);
    r = r < 0 ? r : lode_scope_parse(scope_text, &scope, err);
    r = r < 0 ? r : read_patterns(json_object_get(body, "models"), patterns, &n, err);
    r = r < 0 ? r
              : srv_token_coord_add(request->server->coord, name, scope, patterns, n, &secret,
                                    &info, err);
    if (r < 0)
        return r;
    if (srv_auth_reload(&request->server->auth, request->server->coord, NULL) < 0)
        lode_log_debug("the new token is known when the watch tells of it");
    json_t *doc = token_json(&info);
    json_object_set_new(doc, "token", json_string(secret));
    lode_free_secret(secret);
    lode_token_info_release(&info);
    r = srv_reply_json(request, 201, doc);
    srv_reply_header(request, "Cache-Control", "no-store");
    return r;
}

/* Nobody shuts himself out by mistake; and a server always keeps somebody who can make the next
 * token. */
static int check_own(const struct srv_request *request, struct lode_err *err)
{
    const struct srv_token_record *own = request->caller.record;
    if (!own ||
        (strcmp(own->info.id, request->id) != 0 && strcmp(own->info.name, request->id) != 0))
        return 0;
    return lode_err_set(
        err, LODE_HELD,
        "%s is the token that asks; remove it with another, or with lode token rm on the server's "
        "machine",
        own->info.name);
}

int srv_op_token_remove(struct srv_request *request, struct lode_err *err)
{
    int r = check_own(request, err);
    r = r < 0 ? r : srv_token_coord_rm(request->server->coord, request->id, err);
    if (r < 0)
        return r;
    if (srv_auth_reload(&request->server->auth, request->server->coord, NULL) < 0)
        lode_log_debug("the token ends when the watch tells of it");
    return srv_reply_empty(request, 204);
}
