/* The JSON of versions, models and journal entries (<lode/types.h>): how they stand in the coord,
 * and how they are shown to users, which is the same keys wherever both have them.
 * docs/formats/json.md and docs/formats/records.md.
 */
#pragma once
#include <lode/types.h>
#include "base/json.h"

/* As users see it (CLI, REST, Python). A new reference; NULL when out of memory. */
json_t *lode_version_to_json(const struct lode_version *v);
json_t *lode_model_info_to_json(const struct lode_model_info *m);
json_t *lode_journal_entry_to_json(const struct lode_journal_entry *e);
json_t *lode_versions_to_json(
    const struct lode_versions *p); /* {"versions": [...], "next": ..., "revision": n} */
json_t *lode_models_to_json(const struct lode_models *p);   /* {"models": ...} */
json_t *lode_journal_to_json(const struct lode_journal *p); /* {"entries": ...} */

/* And back, as a client of a server reads it. Unknown fields are ignored (a newer server), wrong
 * types INVALID. */
int lode_version_from_json(const json_t *doc, struct lode_version *out,
                           struct lode_err *err) lode_must_use;
int lode_model_info_from_json(const json_t *doc, struct lode_model_info *out,
                              struct lode_err *err) lode_must_use;
int lode_journal_entry_from_json(const json_t *doc, struct lode_journal_entry *out,
                                 struct lode_err *err) lode_must_use;
int lode_versions_from_json(const json_t *doc, struct lode_versions *out,
                            struct lode_err *err) lode_must_use;
int lode_models_from_json(const json_t *doc, struct lode_models *out,
                          struct lode_err *err) lode_must_use;
int lode_journal_from_json(const json_t *doc, struct lode_journal *out,
                           struct lode_err *err) lode_must_use;

int lode_version_copy(const struct lode_version *v, struct lode_version *out,
                      struct lode_err *err) lode_must_use;
int lode_state_of_name(const char *name, enum lode_state *out, struct lode_err *err) lode_must_use;
int lode_change_of_name(const char *name, enum lode_change *out,
                        struct lode_err *err) lode_must_use;

/* Tags and metrics as lists to set: kept sorted; adding a key again replaces it. Checks key (1-128
 * bytes of valid UTF-8 without control characters), value and count against base/limits.h; a metric
 * must be finite. */
int lode_tags_set(struct lode_tag **tags, size_t *n, const char *key, const char *value,
                  struct lode_err *err) lode_must_use;
int lode_metrics_set(struct lode_metric **metrics, size_t *n, const char *key, double value,
                     struct lode_err *err) lode_must_use;
bool lode_tags_remove(struct lode_tag *tags, size_t *n, const char *key);
bool lode_metrics_remove(struct lode_metric *metrics, size_t *n, const char *key);
void lode_tags_free(struct lode_tag *tags, size_t n);
void lode_metrics_free(struct lode_metric *metrics, size_t n);

#define _cleanup_version_ __attribute__((cleanup(lode_version_release)))
#define _cleanup_versions_ __attribute__((cleanup(lode_versions_release)))
#define _cleanup_model_info_ __attribute__((cleanup(lode_model_info_release)))
#define _cleanup_models_ __attribute__((cleanup(lode_models_release)))
#define _cleanup_journal_ __attribute__((cleanup(lode_journal_release)))
#define _cleanup_journal_entry_ __attribute__((cleanup(lode_journal_entry_release)))
