/* Changing small facts on a server, and jobs: see catalog/remote.h. `who` of an act is the server's
 * to say. */
#include <math.h>
#include <string.h>
#include "base/mem.h"
#include "catalog/remote.h"
#include "model/record.h"

#define JOB_WAIT_S "20"

static const char *why_of(const struct lode_act *act)
{
    return act ? act->why : NULL;
}

static int ask_entry(struct lode_catalog *self, struct lode_remote_ask *ask,
                     struct lode_journal_entry *out, struct lode_err *err)
{
    _cleanup_json_ json_t *doc = NULL;
    int r = lode_remote_ask(lode_remote_of(self), ask, &doc, err);
    return r < 0 ? r : lode_journal_entry_from_json(doc, out, err);
}

static int ask_version(struct lode_catalog *self, struct lode_remote_ask *ask,
                       struct lode_version *out, struct lode_err *err)
{
    _cleanup_json_ json_t *doc = NULL;
    int r = lode_remote_ask(lode_remote_of(self), ask, &doc, err);
    return r < 0 ? r : lode_version_from_json(doc, out, err);
}

int lode_remote_alias_set(struct lode_catalog *self, const char *ns, const char *name,
                          const char *alias, const char *version, const char *expect_from,
                          const struct lode_act *act, struct lode_journal_entry *entry,
                          struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("PUT");
    lode_remote_model_path(&ask, ns, name, "aliases", alias);
    lode_remote_text(&ask, "version", version);
    lode_remote_text(&ask, "expect_from", expect_from);
    lode_remote_text(&ask, "why", why_of(act));
    return ask_entry(self, &ask, entry, err);
}

int lode_remote_alias_remove(struct lode_catalog *self, const char *ns, const char *name,
                             const char *alias, const struct lode_act *act,
                             struct lode_journal_entry *entry, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("DELETE");
    lode_remote_model_path(&ask, ns, name, "aliases", alias);
    lode_remote_query(&ask, "why", why_of(act));
    return ask_entry(self, &ask, entry, err);
}

void lode_remote_notes(struct lode_remote_ask *ask, const struct lode_tag *tags, size_t n_tags,
                       const struct lode_metric *metrics, size_t n_metrics)
{
    json_t *t = json_object(), *m = json_object();
    for (size_t i = 0; i < n_metrics; i++)
        ask->infinite |= isinf(metrics[i].value) != 0;
    n_metrics = ask->infinite ? 0 : n_metrics;
    for (size_t i = 0; i < n_tags; i++)
        ask->failed |=
            json_object_set_new(t, tags[i].key,
                                tags[i].value ? json_string(tags[i].value) : json_null()) < 0;
    for (size_t i = 0; i < n_metrics; i++)
        ask->failed |= json_object_set_new(
                           m, metrics[i].key,
                           isnan(metrics[i].value) ? json_null() : json_real(metrics[i].value)) < 0;
    lode_remote_field(ask, "tags", t);
    lode_remote_field(ask, "metrics", m);
}

int lode_remote_annotate(struct lode_catalog *self, const struct lode_version *version,
                         const struct lode_tag *tags, size_t n_tags,
                         const struct lode_metric *metrics, size_t n_metrics,
                         const struct lode_act *act, struct lode_version *out, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("PATCH");
    lode_remote_model_path(&ask, version->ns, version->name, "versions", version->version);
    lode_remote_notes(&ask, tags, n_tags, metrics, n_metrics);
    lode_remote_text(&ask, "why", why_of(act));
    return ask_version(self, &ask, out, err);
}

int lode_remote_remove(struct lode_catalog *self, const struct lode_version *version,
                       const struct lode_act *act, struct lode_version *out, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("DELETE");
    lode_remote_model_path(&ask, version->ns, version->name, "versions", version->version);
    lode_remote_query(&ask, "why", why_of(act));
    return ask_version(self, &ask, out, err);
}

int lode_remote_restore(struct lode_catalog *self, const struct lode_version *version,
                        const struct lode_act *act, struct lode_version *out, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("POST");
    lode_remote_model_path(&ask, version->ns, version->name, "versions", version->version);
    lode_buf_adds(&ask.path, "/restore");
    lode_remote_text(&ask, "why", why_of(act));
    return ask_version(self, &ask, out, err);
}

/* A lease lives in a coord, which a client of a server does not have. */
int lode_remote_lease(struct lode_catalog *self, const struct lode_version *version,
                      const char *reader, struct lode_lease *lease, struct lode_err *err)
{
    return lode_err_set(
        err, LODE_UNSUPPORTED,
        "a reader through a server holds no lease; the grace period of rm protects it");
}

/* ---- jobs ---- */

static int start_job(struct lode_remote *self, const char *kind, const json_t *params, json_t **out,
                     struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("POST");
    lode_buf_adds(&ask.path, "/v1/jobs");
    lode_remote_text(&ask, "kind", kind);
    if (params)
        lode_remote_field(&ask, "params", json_deep_copy(params));
    return lode_remote_ask(self, &ask, out, err);
}

static int wait_job(struct lode_remote *self, const char *id, json_t **out, struct lode_err *err)
{
    _cleanup_ask_ struct lode_remote_ask ask = LODE_REMOTE_ASK("GET");
    lode_buf_adds(&ask.path, "/v1/jobs/");
    lode_http_add_escaped(&ask.path, id, strlen(id), false);
    lode_remote_query(&ask, "wait", JOB_WAIT_S);
    return lode_remote_ask(self, &ask, out, err);
}

static int job_failed(const json_t *job, struct lode_err *err)
{
    json_t *error;
    const char *code, *message;
    int r = lode_json_obj(job, "error", &error, err);
    r = r < 0 ? r : lode_json_str(error, "code", &code, err);
    r = r < 0 ? r : lode_json_str(error, "message", &message, err);
    return r < 0 ? r : lode_err_set(err, lode_code_of_name(code), "%s", message);
}

int lode_remote_job(struct lode_catalog *catalog, const char *kind, const json_t *params,
                    json_t **report, struct lode_err *err)
{
    struct lode_remote *self = lode_remote_of(catalog);
    json_t *job = NULL;
    const char *state = "running";
    int r = start_job(self, kind, params, &job, err);
    r = r < 0 ? r : lode_json_str(job, "state", &state, err);
    while (r == 0 && strcmp(state, "running") == 0) {
        json_t *next = NULL;
        const char *id;
        r = lode_json_str(job, "id", &id, err);
        r = r < 0 ? r : wait_job(self, id, &next, err);
        if (r < 0)
            break;
        json_decref(job);
        job = next;
        r = lode_json_str(job, "state", &state, err);
    }
    if (r == 0 && strcmp(state, "done") != 0)
        r = job_failed(job, err);
    if (r == 0)
        *report = json_incref(json_object_get(job, "report"));
    json_decref(job);
    return r;
}
