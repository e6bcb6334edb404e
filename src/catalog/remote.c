/* The catalog on a server: opening it and asking it. See catalog/remote.h. */
#include "catalog/remote.h"
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/name.h"
#include "catalog/manifest_cache.h"

#define TRIES 5                /* of one request that may be repeated */
#define PAUSE_MS 100           /* before the second try; doubles */
#define ANSWER_MAX (64u << 20) /* bytes of a JSON answer */

static void close_remote(struct lode_catalog *catalog)
{
    struct lode_remote *self = lode_remote_of(catalog);
    lode_http_free(self->http);
    lode_manifest_cache_free(self->manifests);
    lode_free_secret(self->token);
    lode_free(self->cacert);
    lode_free(self->url);
    lode_free(self);
}

void lode_remote_saw(struct lode_remote *self, uint64_t revision)
{
    uint64_t seen = atomic_load(&self->seen);
    while (revision > seen && !atomic_compare_exchange_weak(&self->seen, &seen, revision))
        ;
}

/* ---- asking ---- */

void lode_remote_ask_release(struct lode_remote_ask *ask)
{
    lode_buf_release(&ask->path);
    json_decref(ask->body);
}

void lode_remote_model_path(struct lode_remote_ask *ask, const char *ns, const char *name,
                            const char *what, const char *item)
{
    const char *const parts[] = {ns, name, what, item};
    lode_buf_adds(&ask->path, "/v1/models");
    for (size_t i = 0; i < LODE_ARRAY_LEN(parts) && parts[i]; i++) {
        lode_buf_addc(&ask->path, '/');
        lode_http_add_escaped(&ask->path, parts[i], strlen(parts[i]), false);
    }
}

void lode_remote_query(struct lode_remote_ask *ask, const char *key, const char *value)
{
    if (!value)
        return;
    lode_buf_addf(&ask->path, "%c%s=", ask->has_query ? '&' : '?', key);
    lode_http_add_escaped(&ask->path, value, strlen(value), false);
    ask->has_query = true;
}

void lode_remote_query_u64(struct lode_remote_ask *ask, const char *key, uint64_t value)
{
    char number[24];
    snprintf(number, sizeof(number), "%llu", (unsigned long long)value);
    lode_remote_query(ask, key, number);
}

void lode_remote_field(struct lode_remote_ask *ask, const char *key, json_t *value)
{
    if (!ask->body)
        ask->body = json_object();
    if (!ask->body || !value || json_object_set_new(ask->body, key, value) < 0)
        ask->failed = true;
}

void lode_remote_text(struct lode_remote_ask *ask, const char *key, const char *value)
{
    if (value)
        lode_remote_field(ask, key, json_string(value));
}

/* ---- answers ---- */

static bool read_refusal(const struct lode_http_reply *reply, int *code, struct lode_err *err)
{
    _cleanup_json_ json_t *doc = NULL;
    json_t *error = NULL;
    const char *name = NULL, *message = NULL;
    if (lode_json_parse(lode_buf_str(&reply->body), reply->body.len, "an answer", &doc, NULL) < 0 ||
        lode_json_obj(doc, "error", &error, NULL) < 0 ||
        lode_json_str(error, "code", &name, NULL) < 0 ||
        lode_json_str(error, "message", &message, NULL) < 0)
        return false;
    *code = lode_code_of_name(name);
    lode_err_set(err, *code, "%s", message);
    return true;
}

int lode_remote_refusal(const struct lode_http_reply *reply, struct lode_err *err)
{
    int code;
    if (read_refusal(reply, &code, err))
        return code;
    code = reply->status >= 400 ? lode_code_of_http(reply->status) : LODE_IO;
    return lode_err_set(err, code, "the server answered with status %d and no reason",
                        reply->status);
}

static void note_revision(struct lode_remote *self, const struct lode_http_reply *reply)
{
    const char *text = lode_http_header(reply, "lode-revision");
    uint64_t revision = 0;
    for (; text && *text >= '0' && *text <= '9' && revision < UINT64_MAX / 16; text++)
        revision = revision * 10 + (uint64_t)(*text - '0');
    lode_remote_saw(self, revision);
}

/* One try. *refused: the server said no, and did nothing. */
static int ask_once(struct lode_remote *self, const struct lode_http_ask *http,
                    struct lode_http_reply *reply, bool *refused, struct lode_err *err)
{
    *refused = false;
    int r = lode_http_do(self->http, http, reply, err);
    if (r < 0)
        return r;
    note_revision(self, reply);
    if (reply->status < 300)
        return 0;
    *refused = true;
    return lode_remote_refusal(reply, err);
}

/* A read may be repeated whatever happened; a write only if the server said that it did nothing. */
static bool worth_repeating(int r, bool refused, bool is_read)
{
    return lode_code_is_transient(r) && (is_read || (refused && r != LODE_TIMEOUT));
}

static int ask_http(struct lode_remote *self, struct lode_remote_ask *ask,
                    struct lode_http_ask *http, struct lode_http_reply *reply, struct lode_err *err)
{
    bool refused, is_read = strcmp(ask->method, "GET") == 0;
    _cleanup_free_ char *url = lode_asprintf("%s%s", self->url, lode_buf_str(&ask->path));
    _cleanup_free_ char *body = ask->body ? lode_json_text(ask->body, NULL) : NULL;
    char revision[48];
    if (ask->infinite)
        return lode_err_set(err, LODE_INVALID, "a metric has to be finite");
    const char *headers[] = {revision, body ? "Content-Type: application/json" : NULL, NULL};
    if (!url || ask->failed || ask->path.failed || (ask->body && !body))
        return lode_err_nomem(err, "a request");
    http->method = ask->method;
    http->url = url;
    http->headers = headers;
    http->body = body;
    http->body_len = body ? strlen(body) : 0;
    int r = 0;
    for (unsigned try = 0; try < TRIES; try++) {
        snprintf(revision, sizeof(revision), "Lode-Revision: %llu",
                 (unsigned long long)atomic_load(&self->seen));
        r = ask_once(self, http, reply, &refused, err);
        if (r >= 0 || try + 1 == TRIES || !worth_repeating(r, refused, is_read))
            break;
        lode_http_reply_release(reply);
        *reply = (struct lode_http_reply){0};
        lode_sleep_ms(PAUSE_MS << try);
    }
    return r;
}

int lode_remote_ask(struct lode_remote *self, struct lode_remote_ask *ask, json_t **out,
                    struct lode_err *err)
{
    _cleanup_http_reply_ struct lode_http_reply reply = {0};
    struct lode_http_ask http = {.max_body = ANSWER_MAX};
    int r = ask_http(self, ask, &http, &reply, err);
    if (r < 0 || !out)
        return r;
    return lode_json_parse(lode_buf_str(&reply.body), reply.body.len, "the server's answer", out,
                           err);
}

int lode_remote_ask_bytes(struct lode_remote *self, struct lode_remote_ask *ask,
                          struct lode_buf *into, struct lode_err *err)
{
    _cleanup_http_reply_ struct lode_http_reply reply = {0};
    struct lode_http_ask http = {.max_body = into->max};
    int r = ask_http(self, ask, &http, &reply, err);
    if (r < 0)
        return r;
    lode_buf_release(into);
    size_t max = into->max;
    *into = reply.body;
    into->max = max;
    reply.body = (struct lode_buf){0};
    return 0;
}

/* ---- the root ---- */

static int root_from_json(const json_t *doc, struct lode_root_info *out, struct lode_err *err)
{
    const char *id, *state, *moved = NULL, *store, *coord;
    uint64_t schema;
    int r = lode_json_str(doc, "id", &id, err);
    r = r < 0 ? r : lode_json_u64(doc, "epoch", &out->epoch, err);
    r = r < 0 ? r : lode_json_u64(doc, "schema", &schema, err);
    r = r < 0 ? r : lode_json_str(doc, "state", &state, err);
    r = r < 0 ? r : lode_json_opt_str(doc, "moved_to", &moved, err);
    r = r < 0 ? r : lode_json_str(doc, "store", &store, err);
    r = r < 0 ? r : lode_json_str(doc, "coord", &coord, err);
    r = r < 0 ? r : lode_json_u64(doc, "revision", &out->revision, err);
    if (r < 0)
        return r;
    out->schema = (uint32_t)schema;
    out->id = lode_strdup(id);
    out->state = lode_strdup(state);
    out->moved_to = lode_strdup(moved);
    out->store = lode_strdup(store);
    out->coord = lode_strdup(coord);
    return out->id && out->state && out->store && out->coord && (out->moved_to || !moved)
               ? 0
               : lode_err_nomem(err, "a root");
}

static int remote_root(struct lode_catalog *catalog, struct lode_root_info *out,
                       struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("GET");
    _cleanup_json_ json_t *doc = NULL;
    struct lode_root_info info = {0};
    lode_buf_adds(&ask.path, "/v1/root");
    int r = lode_remote_ask(lode_remote_of(catalog), &ask, &doc, err);
    r = r < 0 ? r : root_from_json(doc, &info, err);
    if (r < 0) {
        lode_root_info_release(&info);
        return r;
    }
    lode_remote_saw(lode_remote_of(catalog), info.revision);
    *out = info;
    return 0;
}

/* The server's root answer comes from its coord: a linearizable read. */
static int remote_revision(struct lode_catalog *catalog, bool fresh, uint64_t *out,
                           struct lode_err *err)
{
    struct lode_remote *self = lode_remote_of(catalog);
    if (fresh || atomic_load(&self->seen) == 0) {
        struct lode_root_info info;
        int r = remote_root(catalog, &info, err);
        if (r < 0)
            return r;
        lode_root_info_release(&info);
    }
    *out = atomic_load(&self->seen);
    return 0;
}

int lode_remote_place(struct lode_remote *self, const char *path, struct lode_place *out,
                      struct lode_err *err)
{
    _cleanup_free_ char *url = lode_asprintf("%s%s", self->url, path);
    char *prefix = lode_strdup("");
    const char *options[] = {NULL, NULL, NULL, NULL, NULL};
    size_t n = 0;
    if (self->token) {
        options[n++] = "token";
        options[n++] = self->token;
    }
    if (self->cacert) {
        options[n++] = "cacert";
        options[n++] = self->cacert;
    }
    struct lode_store_config config = {.url = url, .options = options};
    struct lode_store *store = NULL;
    int r = url && prefix ? lode_store_open(&config, &store, err) : lode_err_nomem(err, "a place");
    if (r < 0) {
        lode_free(prefix);
        return r;
    }
    *out = (struct lode_place){.store = store, .owned = true, .prefix = prefix};
    return 0;
}

/* ---- opening ---- */

static const struct lode_catalog_ops remote_ops = {
    .kind = "remote",
    .close = close_remote,
    .root = remote_root,
    .revision = remote_revision,
    .resolve = lode_remote_resolve,
    .model = lode_remote_model,
    .models = lode_remote_models,
    .versions = lode_remote_versions,
    .journal = lode_remote_journal,
    .alias_at = lode_remote_alias_at,
    .manifest = lode_remote_manifest,
    .place = lode_remote_version_place,
    .stage = lode_remote_stage,
    .finish = lode_remote_finish,
    .abandon = lode_remote_abandon,
    .attempt_close = lode_remote_attempt_close,
    .alias_set = lode_remote_alias_set,
    .alias_remove = lode_remote_alias_remove,
    .annotate = lode_remote_annotate,
    .remove = lode_remote_remove,
    .restore = lode_remote_restore,
    .lease = lode_remote_lease,
    .watch = lode_remote_watch,
    .watch_next = lode_remote_watch_next,
    .watch_wake = lode_remote_watch_wake,
    .watch_close = lode_remote_watch_close,
    .job = lode_remote_job,
};

static int check_url(const char *url, struct lode_err *err)
{
    const char *host = strncmp(url, "http://", 7) == 0    ? url + 7
                       : strncmp(url, "https://", 8) == 0 ? url + 8
                                                          : NULL;
    if (!host || !*host || strpbrk(host, "?#@ "))
        return lode_err_set(err, LODE_INVALID, "%s is no server's URL; write \"http://host:port\"",
                            lode_q(url));
    return 0;
}

/* Nothing is asked here: the first request finds out whether the server can be reached. */
int lode_catalog_remote(const struct lode_remote_config *config, struct lode_catalog **out,
                        struct lode_err *err)
{
    int r = check_url(config->url, err);
    if (r < 0)
        return r;
    struct lode_remote *self = lode_zalloc(sizeof(*self));
    size_t len = strlen(config->url);
    while (len && config->url[len - 1] == '/')
        len--;
    if (!self)
        return lode_err_nomem(err, "a catalog");
    self->ops = &remote_ops;
    self->url = lode_strndup(config->url, len);
    self->token = config->token && *config->token ? lode_strdup(config->token) : NULL;
    self->cacert = lode_strdup(config->cacert);
    struct lode_http_options options = {
        .token = self->token, .origin = self->url, .ca_file = self->cacert, .agent = "lode"};
    bool good = self->url && (self->token || !config->token || !*config->token) &&
                (self->cacert || !config->cacert);
    r = good ? lode_manifest_cache_new(&self->manifests, err) : lode_err_nomem(err, "a catalog");
    r = r < 0 ? r : lode_http_new(&options, &self->http, err);
    if (r < 0) {
        close_remote((struct lode_catalog *)self);
        return r;
    }
    *out = (struct lode_catalog *)self;
    return 0;
}
