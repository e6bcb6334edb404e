/* The catalog: which versions there are, and the transactions that change it.
 *
 * Two implementations behind one table, proven by one suite: `direct` (on a coord and a store of
 * its own) and `remote` (on a server, by REST). The verbs of src/registry are written against this
 * interface only, so that a client of a server is the same code with another catalog and another
 * store.
 *
 * Invariants (see also the design of records in docs/formats/records.md)
 *  1. A version is visible as committed only after one fenced transaction that rewrote the model
 * record; it never changes afterwards.
 *  2. Of several writers of one version name one commits; the others get EXISTS and lose nothing.
 *  3. Every writing transaction compares the root record (epoch, state), so that a sealed or moved
 * root takes nothing.
 *  4. A process whose claim was lost commits nothing: transactions compare the attempt, the own
 * clock is asked first.
 *  5. Reads through one handle never go back: it remembers the highest revision seen.
 *
 * All functions may be called from any thread. Out-structures are written on success only and
 * released by the caller.
 */
#pragma once
#include <lode/types.h>
#include "base/attr.h"
#include "base/err.h"
#include "base/json.h"
#include "coord/coord.h"
#include "model/manifest.h"
#include "model/ref.h"
#include "store/store.h"

struct lode_catalog;       /* first member: const struct lode_catalog_ops *ops */
struct lode_attempt;       /* first member: struct lode_attempt_base */
struct lode_catalog_watch; /* first member: const struct lode_catalog_ops *ops */

/* Who does it and why: for the journal. A server passes its token's name; the remote catalog
 * ignores `who`. */
struct lode_act {
    const char *who; /* NULL: user@host of this process */
    const char *why; /* the user's message, or NULL; at most LODE_WHY_MAX bytes */
};

struct lode_root_info { /* release with lode_root_info_release */
    char *id;           /* random, 32 hex digits; also in the store's _lode/root */
    uint64_t epoch;
    uint32_t schema;
    char *state;    /* "open", "sealed", "moved" */
    char *moved_to; /* URL or NULL */
    char *store;    /* URLs, without secrets */
    char *coord;
    uint64_t revision;
};

/* Lists. `ns` and `name` NULL: all. */
struct lode_query {
    const char *ns;
    const char *name;
    const char *filter; /* the filter grammar of docs/filter.md, or NULL */
    const char *sort;   /* "created:desc", "metrics.auc:desc", ... or NULL: seq:desc within a model,
                           name across */
    uint32_t limit;     /* 0: LODE_PAGE_DEFAULT */
    const char *page;   /* a token from the page before, or NULL */
    bool deleted;       /* show deleted and uncommitted ones too */
    int64_t deadline_ms; /* for a filter that finds no index; 0: the default (2 s). TIMEOUT offers a
                            cheaper filter */
};

struct lode_journal_query {
    const char *ns, *name; /* NULL: every model, newest first */
    const char *alias;     /* moves of this alias only, or NULL */
    uint32_t limit;
    const char *page;
    bool oldest_first;
};

/* What push wants to write. Strings are borrowed during the call. */
struct lode_stage {
    const char *ns, *name;
    const char *version;     /* the user's, EXISTS when taken; NULL: generated from the clock */
    const char *parent;      /* "ns/name@version", must be committed; or NULL */
    const char *replication; /* policy text, or NULL */
    const struct lode_tag *tags;
    size_t n_tags;
    const struct lode_metric *metrics;
    size_t n_metrics;
    const char *const *aliases; /* to be set by the commit */
    size_t n_aliases;
    uint64_t size;              /* planned bytes, for the free space check of a server */
    const char *resume_version; /* go on with this attempt if it is still staging, unclaimed and
                                   this one; */
    uint64_t resume_attempt;    /* else a fresh one. NULL: none */
};

/* Where the bytes of a version or of an attempt are. */
struct lode_place { /* release with lode_place_release */
    struct lode_store *store;
    bool owned;   /* closed by release */
    char *prefix; /* key of the directory, "" or without a closing '/'; a file is prefix/path */
};

struct lode_attempt_info { /* borrowed from the attempt */
    const char *ns, *name, *version;
    uint64_t attempt;
    const struct lode_place *place; /* to write beneath */
    bool resumed;
    bool hashes; /* the catalog's side hashes what passes through and writes the manifest itself */
};

struct lode_attempt_base { /* what every implementation's attempt begins with */
    const struct lode_catalog_ops *ops;
    struct lode_attempt_info info;
};

enum lode_watch_scope { LODE_WATCH_ALL, LODE_WATCH_MODEL };

struct lode_catalog_ops {
    const char *kind; /* "direct" or "remote" */

    void (*close)(struct lode_catalog *self);
    int (*root)(struct lode_catalog *self, struct lode_root_info *out, struct lode_err *err);

    /* Newest revision known to this handle; with fresh, one linearizable read first. */
    int (*revision)(struct lode_catalog *self, bool fresh, uint64_t *out, struct lode_err *err);

    /* ---- reading ---- */

    /* Pins a reference to a committed version (deleted ones: NOT_FOUND that says so). NOT_FOUND
     * tells what exists instead: "no version 3 of rank; newest is 2; did you mean ...". A seq or
     * version name finds deleted, staging and publishing versions too when any_state. */
    int (*resolve)(struct lode_catalog *self, const struct lode_ref *ref, bool any_state,
                   struct lode_version *out, struct lode_err *err);
    int (*model)(struct lode_catalog *self, const char *ns, const char *name,
                 struct lode_model_info *out, struct lode_err *err);
    int (*models)(struct lode_catalog *self, const struct lode_query *query,
                  struct lode_models *out, struct lode_err *err);
    int (*versions)(struct lode_catalog *self, const struct lode_query *query,
                    struct lode_versions *out, struct lode_err *err);
    int (*journal)(struct lode_catalog *self, const struct lode_journal_query *query,
                   struct lode_journal *out, struct lode_err *err);

    /* Which version an alias pointed to at a moment: the journal entry that put it there. NOT_FOUND
     * if none. */
    int (*alias_at)(struct lode_catalog *self, const char *ns, const char *name, const char *alias,
                    int64_t when_ms, struct lode_journal_entry *out, struct lode_err *err);

    /* The manifest of a committed version, checked against the digest in its record. Cached by
     * digest. */
    int (*manifest)(struct lode_catalog *self, const struct lode_version *version,
                    struct lode_manifest **out, struct lode_err *err);
    int (*place)(struct lode_catalog *self, const struct lode_version *version,
                 struct lode_place *out, struct lode_err *err);

    /* ---- writing a version: stage, write files into the place, then finish or abandon ---- */
    int (*stage)(struct lode_catalog *self, const struct lode_stage *stage,
                 const struct lode_act *act, struct lode_attempt **out, struct lode_err *err);

    /* Manifest, `publishing`, rename into place, compare, `committed` with seq, latest, aliases and
     * journal. Durable on return. Consumes nothing: attempt_close follows. EXISTS when another
     * attempt won. */
    int (*finish)(struct lode_attempt *attempt, struct lode_manifest *manifest,
                  struct lode_version *out, struct lode_err *err);

    /* Says that the attempt is given up, so that gc may clean it; with keep it stays resumable. */
    int (*abandon)(struct lode_attempt *attempt, bool keep, struct lode_err *err);
    void (*attempt_close)(struct lode_attempt *attempt);

    /* ---- small facts ---- */

    /* version: a name, resolved by the caller. With expect_from not NULL: CONFLICT unless the alias
     * points there now
     * ("" : unless it does not exist). *entry is the journal entry made; an alias that already
     * points there makes none (number 0). */
    int (*alias_set)(struct lode_catalog *self, const char *ns, const char *name, const char *alias,
                     const char *version, const char *expect_from, const struct lode_act *act,
                     struct lode_journal_entry *entry, struct lode_err *err);
    int (*alias_remove)(struct lode_catalog *self, const char *ns, const char *name,
                        const char *alias, const struct lode_act *act,
                        struct lode_journal_entry *entry, struct lode_err *err);

    /* Sets and removes tags and metrics of a version in one transaction; a NULL value removes the
     * tag, a NaN the metric. */
    int (*annotate)(struct lode_catalog *self, const struct lode_version *version,
                    const struct lode_tag *tags, size_t n_tags, const struct lode_metric *metrics,
                    size_t n_metrics, const struct lode_act *act, struct lode_version *out,
                    struct lode_err *err);

    /* HELD while an alias or a lease refers to it. `latest` moves to the highest committed seq that
     * is left. */
    int (*remove)(struct lode_catalog *self, const struct lode_version *version,
                  const struct lode_act *act, struct lode_version *out, struct lode_err *err);
    int (*restore)(struct lode_catalog *self, const struct lode_version *version,
                   const struct lode_act *act, struct lode_version *out, struct lode_err *err);

    /* A reader's lease on a committed version; rm and gc see it. */
    int (*lease)(struct lode_catalog *self, const struct lode_version *version, const char *reader,
                 struct lode_lease *lease, struct lode_err *err);

    /* ---- changes as they happen ---- */

    /* from_event: "<epoch>:<revision>.<index>" of the last one seen, or NULL for from now on.
     * COMPACTED when it is too old or of another epoch: list, then go on from the list's revision,
     * replaying the journal. */
    int (*watch)(struct lode_catalog *self, enum lode_watch_scope scope, const char *ns,
                 const char *name, const char *from_event, struct lode_catalog_watch **out,
                 struct lode_err *err);
    /* Waits up to timeout_ms (< 0: for ever). TIMEOUT with nothing to tell; CANCELLED after
     * watch_wake. */
    int (*watch_next)(struct lode_catalog_watch *watch, int64_t timeout_ms,
                      struct lode_journal_entry *out, struct lode_err *err);
    void (*watch_wake)(struct lode_catalog_watch *watch);
    void (*watch_close)(struct lode_catalog_watch *watch);

    /* Runs a verb that must see everything (gc, verify_all, doctor, backup ...) at the server and
     * answers its report. NULL in direct: the registry runs it here. */
    int (*job)(struct lode_catalog *self, const char *kind, const json_t *params, json_t **report,
               struct lode_err *err);
};

static inline const struct lode_catalog_ops *lode_catalog_ops_of(const void *self)
{
    return *(const struct lode_catalog_ops *const *)self;
}

/* Direct: owns neither store nor coord; both outlive it. The root must have been made by
 * lode_catalog_init. */
int lode_catalog_direct(struct lode_coord *coord, struct lode_store *store,
                        struct lode_catalog **out, struct lode_err *err) lode_must_use;

/* Makes a new root: the root record in the coord, its id in the store's `_lode/root`. EXISTS when
 * either has one (two roots at one place), with what is there. */
int lode_catalog_init(struct lode_coord *coord, struct lode_store *store,
                      struct lode_err *err) lode_must_use;

struct lode_remote_config {
    const char *url;    /* "http://host:port" */
    const char *token;  /* or NULL */
    const char *cacert; /* PEM file, or NULL */
};
int lode_catalog_remote(const struct lode_remote_config *config, struct lode_catalog **out,
                        struct lode_err *err) lode_must_use;

void lode_catalog_close(struct lode_catalog *self); /* NULL is safe */
void lode_root_info_release(struct lode_root_info *info);
void lode_place_release(struct lode_place *place);

LODE_DEFINE_CLEANUP(struct lode_catalog *, lode_catalog_closep, lode_catalog_close)
#define _cleanup_catalog_ lode_cleanup(lode_catalog_closep)
static inline void lode_attempt_closep(struct lode_attempt **at)
{
    if (*at)
        lode_catalog_ops_of(*at)->attempt_close(*at);
}
#define _cleanup_attempt_ __attribute__((cleanup(lode_attempt_closep)))
#define _cleanup_place_ __attribute__((cleanup(lode_place_release)))

/* An attempt's facts. */
const struct lode_attempt_info *lode_attempt_info(const struct lode_attempt *attempt);
