/* The remote catalog's own house: what its files share. See catalog/catalog.h for what it does,
 * docs/rest.md for how.
 *
 * Every operation is one request; reads, and refusals that say that nothing was done, are repeated
 * a few times. The handle keeps the highest revision that any answer told and sends it along, so
 * that a server that is behind waits, or says so (invariant 5 of catalog.h). Bytes go through the
 * http store, at base URLs beneath the server's own.
 */
#pragma once
#include <stdatomic.h>
#include "catalog/catalog.h"
#include "io/http.h"

struct lode_remote {
    const struct lode_catalog_ops *ops;
    struct lode_http *http;
    char *url;             /* without a slash at the end */
    char *token, *cacert;  /* or NULL */
    _Atomic uint64_t seen; /* highest revision */
    struct lode_manifest_cache *manifests;
};

/* A request in the making. Errors of the texts are remembered and told by lode_remote_ask. */
struct lode_remote_ask {
    const char *method;
    struct lode_buf path; /* "/v1/..." */
    bool has_query;
    json_t *body;  /* owned; NULL: none */
    bool failed;   /* out of memory */
    bool infinite; /* a metric that JSON cannot say, and no catalog takes */
};
#define LODE_REMOTE_ASK(method_)                                                                   \
    {                                                                                              \
        .method = (method_), .path = LODE_BUF_INIT(64u << 10)                                      \
    }
void lode_remote_ask_release(struct lode_remote_ask *ask);
#define _cleanup_ask_ __attribute__((cleanup(lode_remote_ask_release)))

/* "/v1/models/<ns>/<name>" and, with `what`, "/<what>" and, with `item`, "/<item>". */
void lode_remote_model_path(struct lode_remote_ask *ask, const char *ns, const char *name,
                            const char *what, const char *item);
/* NULL: left out. */
void lode_remote_query(struct lode_remote_ask *ask, const char *key, const char *value);
void lode_remote_query_u64(struct lode_remote_ask *ask, const char *key, uint64_t value);
/* Adds a field to the body; `value` is consumed, NULL is out of memory. */
void lode_remote_field(struct lode_remote_ask *ask, const char *key, json_t *value);
void lode_remote_text(struct lode_remote_ask *ask, const char *key,
                      const char *value); /* NULL: left out */

/* Asks; *out is the answer's JSON (NULL: not wanted). An error answer becomes its code and message.
 */
int lode_remote_ask(struct lode_remote *self, struct lode_remote_ask *ask, json_t **out,
                    struct lode_err *err) lode_must_use;
/* The same for bytes: appended to `into`. */
int lode_remote_ask_bytes(struct lode_remote *self, struct lode_remote_ask *ask,
                          struct lode_buf *into, struct lode_err *err) lode_must_use;
/* The error that an answer of status 400 and more tells. */
int lode_remote_refusal(const struct lode_http_reply *reply, struct lode_err *err);
void lode_remote_saw(struct lode_remote *self, uint64_t revision);
/* Opens the http store at a path of the server. */
int lode_remote_place(struct lode_remote *self, const char *path, struct lode_place *out,
                      struct lode_err *err) lode_must_use;

static inline struct lode_remote *lode_remote_of(struct lode_catalog *catalog)
{
    return (struct lode_remote *)(void *)catalog;
}

/* remote_read.c, remote_write.c, remote_attempt.c, remote_watch.c */
int lode_remote_resolve(struct lode_catalog *self, const struct lode_ref *ref, bool any_state,
                        struct lode_version *out, struct lode_err *err);
int lode_remote_model(struct lode_catalog *self, const char *ns, const char *name,
                      struct lode_model_info *out, struct lode_err *err);
int lode_remote_models(struct lode_catalog *self, const struct lode_query *query,
                       struct lode_models *out, struct lode_err *err);
int lode_remote_versions(struct lode_catalog *self, const struct lode_query *query,
                         struct lode_versions *out, struct lode_err *err);
int lode_remote_journal(struct lode_catalog *self, const struct lode_journal_query *query,
                        struct lode_journal *out, struct lode_err *err);
int lode_remote_alias_at(struct lode_catalog *self, const char *ns, const char *name,
                         const char *alias, int64_t when_ms, struct lode_journal_entry *out,
                         struct lode_err *err);
int lode_remote_manifest(struct lode_catalog *self, const struct lode_version *version,
                         struct lode_manifest **out, struct lode_err *err);
int lode_remote_version_place(struct lode_catalog *self, const struct lode_version *version,
                              struct lode_place *out, struct lode_err *err);
int lode_remote_alias_set(struct lode_catalog *self, const char *ns, const char *name,
                          const char *alias, const char *version, const char *expect_from,
                          const struct lode_act *act, struct lode_journal_entry *entry,
                          struct lode_err *err);
int lode_remote_alias_remove(struct lode_catalog *self, const char *ns, const char *name,
                             const char *alias, const struct lode_act *act,
                             struct lode_journal_entry *entry, struct lode_err *err);
int lode_remote_annotate(struct lode_catalog *self, const struct lode_version *version,
                         const struct lode_tag *tags, size_t n_tags,
                         const struct lode_metric *metrics, size_t n_metrics,
                         const struct lode_act *act, struct lode_version *out,
                         struct lode_err *err);
int lode_remote_remove(struct lode_catalog *self, const struct lode_version *version,
                       const struct lode_act *act, struct lode_version *out, struct lode_err *err);
int lode_remote_restore(struct lode_catalog *self, const struct lode_version *version,
                        const struct lode_act *act, struct lode_version *out, struct lode_err *err);
int lode_remote_lease(struct lode_catalog *self, const struct lode_version *version,
                      const char *reader, struct lode_lease *lease, struct lode_err *err);
int lode_remote_job(struct lode_catalog *self, const char *kind, const json_t *params,
                    json_t **report, struct lode_err *err);
/* Tags and metrics as fields of a body; NULL and NaN become null. */
void lode_remote_notes(struct lode_remote_ask *ask, const struct lode_tag *tags, size_t n_tags,
                       const struct lode_metric *metrics, size_t n_metrics);
int lode_remote_stage(struct lode_catalog *self, const struct lode_stage *stage,
                      const struct lode_act *act, struct lode_attempt **out, struct lode_err *err);
int lode_remote_finish(struct lode_attempt *attempt, struct lode_manifest *manifest,
                       struct lode_version *out, struct lode_err *err);
int lode_remote_abandon(struct lode_attempt *attempt, bool keep, struct lode_err *err);
void lode_remote_attempt_close(struct lode_attempt *attempt);
int lode_remote_watch(struct lode_catalog *self, enum lode_watch_scope scope, const char *ns,
                      const char *name, const char *from_event, struct lode_catalog_watch **out,
                      struct lode_err *err);
int lode_remote_watch_next(struct lode_catalog_watch *watch, int64_t timeout_ms,
                           struct lode_journal_entry *out, struct lode_err *err);
void lode_remote_watch_wake(struct lode_catalog_watch *watch);
void lode_remote_watch_close(struct lode_catalog_watch *watch);
