/* Reading from a server: see catalog/remote.h. */
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "catalog/manifest_cache.h"
#include "catalog/remote.h"
#include "model/record.h"

static const char *rev_text(const struct lode_ref *ref, char number[24])
{
    if (ref->kind == LODE_REV_LATEST)
        return "latest";
    if (ref->kind == LODE_REV_NAME)
        return ref->rev;
    snprintf(number, 24, "%llu", (unsigned long long)ref->seq);
    return number;
}

int lode_remote_resolve(struct lode_catalog *self, const struct lode_ref *ref, bool any_state,
                        struct lode_version *out, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("GET");
    _cleanup_json_ json_t *doc = NULL;
    char number[24];
    lode_remote_model_path(&ask, ref->ns, ref->name, "versions", rev_text(ref, number));
    lode_remote_query(&ask, "any_state", any_state ? "true" : NULL);
    int r = lode_remote_ask(lode_remote_of(self), &ask, &doc, err);
    return r < 0 ? r : lode_version_from_json(doc, out, err);
}

int lode_remote_model(struct lode_catalog *self, const char *ns, const char *name,
                      struct lode_model_info *out, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("GET");
    _cleanup_json_ json_t *doc = NULL;
    lode_remote_model_path(&ask, ns, name, NULL, NULL);
    int r = lode_remote_ask(lode_remote_of(self), &ask, &doc, err);
    return r < 0 ? r : lode_model_info_from_json(doc, out, err);
}

/* ---- lists ---- */

static void add_query(struct lode_remote_ask *ask, const struct lode_query *query)
{
    lode_remote_query(ask, "filter", query->filter);
    lode_remote_query(ask, "sort", query->sort);
    if (query->limit)
        lode_remote_query_u64(ask, "limit", query->limit);
    lode_remote_query(ask, "page", query->page);
    lode_remote_query(ask, "deleted", query->deleted ? "true" : NULL);
}

int lode_remote_models(struct lode_catalog *self, const struct lode_query *query,
                       struct lode_models *out, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("GET");
    _cleanup_json_ json_t *doc = NULL;
    lode_buf_adds(&ask.path, "/v1/models");
    lode_remote_query(&ask, "ns", query->ns);
    add_query(&ask, query);
    int r = lode_remote_ask(lode_remote_of(self), &ask, &doc, err);
    return r < 0 ? r : lode_models_from_json(doc, out, err);
}

int lode_remote_versions(struct lode_catalog *self, const struct lode_query *query,
                         struct lode_versions *out, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("GET");
    _cleanup_json_ json_t *doc = NULL;
    if (query->name) {
        lode_remote_model_path(&ask, query->ns ? query->ns : LODE_DEFAULT_NS, query->name,
                               "versions", NULL);
    } else {
        lode_buf_adds(&ask.path, "/v1/versions");
        lode_remote_query(&ask, "ns", query->ns);
    }
    add_query(&ask, query);
    int r = lode_remote_ask(lode_remote_of(self), &ask, &doc, err);
    return r < 0 ? r : lode_versions_from_json(doc, out, err);
}

int lode_remote_journal(struct lode_catalog *self, const struct lode_journal_query *query,
                        struct lode_journal *out, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("GET");
    _cleanup_json_ json_t *doc = NULL;
    if (query->name)
        lode_remote_model_path(&ask, query->ns ? query->ns : LODE_DEFAULT_NS, query->name,
                               "journal", NULL);
    else
        lode_buf_adds(&ask.path, "/v1/journal");
    lode_remote_query(&ask, "alias", query->alias);
    if (query->limit)
        lode_remote_query_u64(&ask, "limit", query->limit);
    lode_remote_query(&ask, "page", query->page);
    lode_remote_query(&ask, "order", query->oldest_first ? "asc" : NULL);
    int r = lode_remote_ask(lode_remote_of(self), &ask, &doc, err);
    return r < 0 ? r : lode_journal_from_json(doc, out, err);
}

int lode_remote_alias_at(struct lode_catalog *self, const char *ns, const char *name,
                         const char *alias, int64_t when_ms, struct lode_journal_entry *out,
                         struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("GET");
    _cleanup_json_ json_t *doc = NULL;
    char when[LODE_TIME_TEXT];
    lode_remote_model_path(&ask, ns, name, "aliases", alias);
    lode_remote_query(&ask, "when", lode_time_rfc3339(when_ms, when));
    int r = lode_remote_ask(lode_remote_of(self), &ask, &doc, err);
    return r < 0 ? r : lode_journal_entry_from_json(doc, out, err);
}

/* ---- bytes ---- */

static int fetch_manifest(void *arg, const struct lode_version *v, struct lode_buf *into,
                          struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("GET");
    lode_remote_model_path(&ask, v->ns, v->name, "versions", v->version);
    lode_buf_adds(&ask.path, "/manifest");
    return lode_remote_ask_bytes(arg, &ask, into, err);
}

int lode_remote_manifest(struct lode_catalog *self, const struct lode_version *version,
                         struct lode_manifest **out, struct lode_err *err)
{
    return lode_manifest_cache_fetch(lode_remote_of(self)->manifests, fetch_manifest, self, version,
                                     out, err);
}

int lode_remote_version_place(struct lode_catalog *self, const struct lode_version *v,
                              struct lode_place *out, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("GET");
    lode_remote_model_path(&ask, v->ns, v->name, "versions", v->version);
    lode_buf_adds(&ask.path, "/files");
    int r = lode_buf_check(&ask.path, "a path", err);
    return r < 0 ? r : lode_remote_place(lode_remote_of(self), lode_buf_str(&ask.path), out, err);
}
