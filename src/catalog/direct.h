/* The direct catalog's own house: what its files share. See catalog/catalog.h for what it does.
 *
 * Every change is one transaction of the coord, built in a `struct lode_change_set`, which compares
 * the root record first. When a comparison fails the change is worked out again from what is there
 * now (LODE_AGAIN), a bounded number of times. When the coord's answer was lost, the change's
 * witness (a key whose new bytes nobody else writes) tells whether it happened.
 *
 * Locks: `lock` guards root and seen, and is never held across a call of the coord or the store.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "catalog/catalog.h"
#include "catalog/records.h"

struct lode_manifest_cache;
struct lode_projection;

struct lode_direct {
    const struct lode_catalog_ops *ops;
    struct lode_coord *coord; /* borrowed */
    struct lode_store *store; /* borrowed */
    char *who;                /* user@host */
    int64_t ttl_ms;           /* of claims and readers' leases */
    struct lode_manifest_cache *manifests;
    struct lode_projection *projection;
    pthread_mutex_t lock;
    struct lode_root_record root;
    uint64_t seen;            /* highest revision seen */
    atomic_uint lost_answers; /* of the coord, in a row */
};

/* Not an error: somebody else changed it meanwhile, look again. */
#define LODE_AGAIN 1
#define LODE_TRIES 64 /* of one change against others */

/* ---- direct.c ---- */

void lode_direct_saw(struct lode_direct *self, uint64_t revision);
uint64_t lode_direct_seen(struct lode_direct *self);
const char *lode_direct_who(struct lode_direct *self, const struct lode_act *act);
int lode_direct_check_act(const struct lode_act *act, struct lode_err *err) lode_must_use;
/* A random, short pause that grows with `try`. */
void lode_direct_backoff(unsigned try);
/* UNAVAILABLE that says so, after LODE_TRIES. */
int lode_direct_gave_up(const char *name, struct lode_err *err) lode_must_use;
/* Names of a model, and of a version where not NULL, before they become keys. */
int lode_direct_check_names(const char *ns, const char *name, const char *version,
                            struct lode_err *err) lode_must_use;
/* "name" or "ns/name". */
#define LODE_MODEL_TEXT (2 * LODE_NAME_MAX + 2)
char *lode_model_text(const char *ns, const char *name, char out[LODE_MODEL_TEXT]);
#define lode_model_q(ns, name) lode_model_text((ns), (name), (char[LODE_MODEL_TEXT]){0})

/* ---- direct_root.c ---- */

/* Reads root record and store id; refuses what is no root, of another store or of a newer schema.
 */
int lode_direct_open_root(struct lode_direct *self, struct lode_err *err) lode_must_use;
/* Reads the root record again: READ_ONLY when it is sealed, MOVED when it lives elsewhere. */
int lode_direct_refresh_root(struct lode_direct *self, struct lode_err *err) lode_must_use;
int lode_direct_root(struct lode_catalog *self, struct lode_root_info *out, struct lode_err *err);

/* ---- direct_change.c: one transaction ---- */

struct lode_change_set {
    struct lode_direct *d;
    struct lode_coord_compare compares[LODE_COORD_OPS_MAX];
    struct lode_coord_op ops[LODE_COORD_OPS_MAX];
    void *owned[3 * LODE_COORD_OPS_MAX];
    size_t n_compares, n_ops, n_owned;
    size_t witness; /* which of `ops`; SIZE_MAX for none */
    int failed;     /* sticky: NO_MEMORY, LIMIT */
};
/* Begins with the comparison of the root record. */
void lode_change_begin(struct lode_change_set *c, struct lode_direct *d);
void lode_change_release(struct lode_change_set *c);
#define _cleanup_change_ __attribute__((cleanup(lode_change_release)))

/* All take ownership of key and text (NULL: a failed allocation, remembered). */
void lode_change_expect(struct lode_change_set *c, char *key, uint64_t modified); /* 0: absent */
void lode_change_put(struct lode_change_set *c, char *key, char *text, uint64_t lease);
void lode_change_delete(struct lode_change_set *c, char *key);
/* The last put is the witness. */
void lode_change_witness(struct lode_change_set *c);

/* 0 with the revision; LODE_AGAIN when a comparison failed; else what went wrong (READ_ONLY and
 * MOVED by the root). */
int lode_change_run(struct lode_change_set *c, uint64_t *revision,
                    struct lode_err *err) lode_must_use;

/* A model's record rewritten, and its journal: for every commit, alias move, delete and restore.
 * Numbers the entry, dates it (max(clock, the previous + 1 ms)) and adds it to the change. `e`
 * borrows its strings. */
int lode_change_journal(struct lode_change_set *c, struct lode_model_record *m,
                        struct lode_journal_entry *e, struct lode_err *err) lode_must_use;
void lode_change_model(struct lode_change_set *c,
                       struct lode_model_record *m); /* compare and rewrite */
void lode_change_version(struct lode_change_set *c,
                         const struct lode_version_record *v); /* compare and rewrite */

/* ---- direct_read.c ---- */

/* Records by name; an absent one is all zero but for its names (modified 0). */
int lode_direct_get_model(struct lode_direct *self, const char *ns, const char *name,
                          struct lode_model_record *out, struct lode_err *err) lode_must_use;
int lode_direct_get_version(struct lode_direct *self, const char *ns, const char *name,
                            const char *version, struct lode_version_record *out,
                            struct lode_err *err) lode_must_use;
/* Takes `key`. */
int lode_direct_get_attempt(struct lode_direct *self, char *key, struct lode_attempt_record *out,
                            struct lode_err *err) lode_must_use;
bool lode_direct_has(struct lode_direct *self, char *key, int *failed, struct lode_err *err);
/* Adds to the version what the model's record says of it: aliases, latest. */
int lode_direct_adorn(struct lode_version_record *v, const struct lode_model_record *m,
                      struct lode_err *err) lode_must_use;
/* What a record looks like to a user, with what the model record says of it. */
int lode_direct_show(struct lode_direct *self, const struct lode_version_record *v,
                     const struct lode_model_record *m, struct lode_version *out,
                     struct lode_err *err) lode_must_use;
int lode_direct_resolve(struct lode_catalog *self, const struct lode_ref *ref, bool any_state,
                        struct lode_version *out, struct lode_err *err);
int lode_direct_model(struct lode_catalog *self, const char *ns, const char *name,
                      struct lode_model_info *out, struct lode_err *err);
int lode_direct_manifest(struct lode_catalog *self, const struct lode_version *version,
                         struct lode_manifest **out, struct lode_err *err);
int lode_direct_place(struct lode_catalog *self, const struct lode_version *version,
                      struct lode_place *out, struct lode_err *err);

/* ---- direct_hint.c: what to say when something is not there ---- */

int lode_direct_no_model(struct lode_direct *self, const char *ns, const char *name,
                         struct lode_err *err);
int lode_direct_no_version(const struct lode_model_record *m, const struct lode_ref *ref,
                           struct lode_err *err);
int lode_direct_wrong_state(const struct lode_version *v, struct lode_err *err);

/* ---- direct_stage.c, direct_publish.c, direct_finish.c ---- */

struct lode_attempt {
    struct lode_attempt_base base;
    struct lode_direct *d;
    struct lode_place place;
    struct lode_version_record record; /* as we wrote it last; its `modified` is the fence */
    struct lode_attempt_record own;
    uint64_t claim_modified;
    struct lode_lease *lease;
    char *who, *why;
    char **aliases; /* to be set by the commit */
    size_t n_aliases;
    char *final; /* the directory of the committed version */
    bool done;   /* committed */
};

int lode_direct_stage(struct lode_catalog *self, const struct lode_stage *stage,
                      const struct lode_act *act, struct lode_attempt **out, struct lode_err *err);
int lode_direct_finish(struct lode_attempt *attempt, struct lode_manifest *manifest,
                       struct lode_version *out, struct lode_err *err);
int lode_direct_abandon(struct lode_attempt *attempt, bool keep, struct lode_err *err);
void lode_direct_attempt_close(struct lode_attempt *attempt);

/* Comparisons that fence: root, version record, claim. */
void lode_attempt_fence(struct lode_attempt *a, struct lode_change_set *c);
/* LOST_LEASE or EXISTS: what became of a version whose fence broke. 0 when it is committed by this
 * very attempt. */
int lode_attempt_lost(struct lode_attempt *a, struct lode_err *err) lode_must_use;

/* Renames the attempt's directory into place; an answer that was lost, and a directory that lies
 * there already, are told apart by the manifest in them. */
int lode_direct_publish(struct lode_attempt *a, struct lode_err *err) lode_must_use;
/* Every file with its size, and nothing else. */
int lode_direct_compare_files(struct lode_attempt *a, const struct lode_manifest *m,
                              struct lode_err *err) lode_must_use;
/* If what lies in `final` has the manifest `digest`, it goes back to `directory`. */
int lode_direct_roll_back(struct lode_direct *d, const char *final, const char *directory,
                          const char *digest, struct lode_err *err) lode_must_use;
/* The SHA-256 of the manifest in a directory as text; NOT_FOUND when there is none. */
int lode_direct_digest_at(struct lode_direct *d, const char *directory, char out[LODE_SHA256_HEX],
                          struct lode_err *err) lode_must_use;
/* "[ns/]name/version". NULL when out of memory. */
char *lode_direct_directory(const char *ns, const char *name, const char *version);
bool lode_direct_renames(const struct lode_direct *d);

/* ---- facts, aliases, removal, leases, watches, lists ---- */

int lode_direct_alias_set(struct lode_catalog *self, const char *ns, const char *name,
                          const char *alias, const char *version, const char *expect_from,
                          const struct lode_act *act, struct lode_journal_entry *entry,
                          struct lode_err *err);
int lode_direct_alias_remove(struct lode_catalog *self, const char *ns, const char *name,
                             const char *alias, const struct lode_act *act,
                             struct lode_journal_entry *entry, struct lode_err *err);
int lode_direct_annotate(struct lode_catalog *self, const struct lode_version *version,
                         const struct lode_tag *tags, size_t n_tags,
                         const struct lode_metric *metrics, size_t n_metrics,
                         const struct lode_act *act, struct lode_version *out,
                         struct lode_err *err);
int lode_direct_remove(struct lode_catalog *self, const struct lode_version *version,
                       const struct lode_act *act, struct lode_version *out, struct lode_err *err);
int lode_direct_restore(struct lode_catalog *self, const struct lode_version *version,
                        const struct lode_act *act, struct lode_version *out, struct lode_err *err);
int lode_direct_lease(struct lode_catalog *self, const struct lode_version *version,
                      const char *reader, struct lode_lease *lease, struct lode_err *err);
int lode_direct_watch(struct lode_catalog *self, enum lode_watch_scope scope, const char *ns,
                      const char *name, const char *from_event, struct lode_catalog_watch **out,
                      struct lode_err *err);
int lode_direct_watch_next(struct lode_catalog_watch *watch, int64_t timeout_ms,
                           struct lode_journal_entry *out, struct lode_err *err);
void lode_direct_watch_wake(struct lode_catalog_watch *watch);
void lode_direct_watch_close(struct lode_catalog_watch *watch);
int lode_direct_versions(struct lode_catalog *self, const struct lode_query *query,
                         struct lode_versions *out, struct lode_err *err);
int lode_direct_models(struct lode_catalog *self, const struct lode_query *query,
                       struct lode_models *out, struct lode_err *err);
int lode_direct_journal(struct lode_catalog *self, const struct lode_journal_query *query,
                        struct lode_journal *out, struct lode_err *err);
int lode_direct_alias_at(struct lode_catalog *self, const char *ns, const char *name,
                         const char *alias, int64_t when_ms, struct lode_journal_entry *out,
                         struct lode_err *err);
