/* What stands in the coord: keys and records (docs/formats/records.md). Pure: bytes to structures
 * and back.
 *
 * Keys hold checked names only; a ns, name or version passed here has passed base/name.h. Records
 * are small JSON objects with "schema"; one of a higher schema is refused as LODE_SCHEMA, unknown
 * fields of ours are dropped by a rewrite, so a schema that adds any must raise the number.
 */
#pragma once
#include <lode/types.h>
#include "base/limits.h"
#include "coord/coord.h"
#include "model/record.h"

#define LODE_RECORD_SCHEMA 1

#define LODE_KEY_ROOT "root"
#define LODE_KEY_VERSIONS "version/"
#define LODE_KEY_MODELS "model/"
#define LODE_KEY_JOURNALS "journal/"
#define LODE_KEY_ATTEMPTS "attempt/"

/* Owned keys; NULL when out of memory. */
char *lode_key_model(const char *ns, const char *name);
char *lode_key_namespace(const char *ns);
char *lode_key_version(const char *ns, const char *name, const char *version);
char *lode_key_seq(const char *ns, const char *name, uint64_t seq);
char *lode_key_journal(const char *ns, const char *name, uint64_t number);
char *lode_key_claim(const char *ns, const char *name, const char *version);
char *lode_key_attempt(const char *ns, const char *name, const char *version, uint64_t attempt);
char *lode_key_attempts(const char *ns, const char *name,
                        const char *version); /* prefix of all of a version */
char *lode_key_leases(const char *ns, const char *name,
                      const char *version); /* prefix of all readers' */

/* Splits "<kind>/a/b/c" into its parts behind the kind, in place of a copy. */
struct lode_key_parts {
    char text[LODE_COORD_KEY_MAX + 1];
    char *part[4];
    unsigned n;
};
bool lode_key_split(const char *key, struct lode_key_parts *out);

/* ---- root ---- */

enum lode_root_state { LODE_ROOT_OPEN, LODE_ROOT_SEALED, LODE_ROOT_MOVED };
struct lode_root_record {
    char *id; /* 32 hex digits */
    uint64_t epoch;
    enum lode_root_state state;
    char *moved_to;    /* or NULL */
    char *store;       /* URL */
    uint64_t modified; /* revision of the record read; not kept */
};
int lode_root_record_read(const struct lode_coord_kv *kv, struct lode_root_record *out,
                          struct lode_err *err) lode_must_use;
char *lode_root_record_text(const struct lode_root_record *r);
const char *lode_root_state_name(enum lode_root_state state);
void lode_root_record_release(struct lode_root_record *r);

/* ---- model: the one record that every commit, alias move and delete compares and rewrites ---- */

struct lode_model_record {
    struct lode_model_info info;
    uint64_t next_entry;  /* number of the next journal entry, from 1 */
    int64_t last_when_ms; /* of the newest journal entry; 0 for none */
    uint64_t modified;    /* 0: the record does not exist */
};
int lode_model_record_read(const struct lode_coord_kv *kv, struct lode_model_record *out,
                           struct lode_err *err) lode_must_use;
/* With a random word, so that two writers never write the same bytes. NULL when out of memory. */
char *lode_model_record_text(const struct lode_model_record *m);
void lode_model_record_release(struct lode_model_record *m);

const char *lode_model_alias(const struct lode_model_record *m,
                             const char *alias); /* version name or NULL */
int lode_model_set_alias(struct lode_model_record *m, const char *alias, const char *version,
                         struct lode_err *err) lode_must_use;
void lode_model_drop_alias(struct lode_model_record *m, const char *alias);

/* ---- version ---- */

struct lode_version_record {
    struct lode_version v; /* aliases, latest and revision are not kept here */
    bool freed;            /* deleted, and gc has removed its bytes */
    uint64_t modified;     /* 0: the record does not exist */
};
int lode_version_record_read(const struct lode_coord_kv *kv, struct lode_version_record *out,
                             struct lode_err *err) lode_must_use;
char *lode_version_record_text(const struct lode_version_record *r);
void lode_version_record_release(struct lode_version_record *r);

/* ---- journal ---- */

int lode_journal_record_read(const struct lode_coord_kv *kv, struct lode_journal_entry *out,
                             struct lode_err *err) lode_must_use;
char *lode_journal_record_text(const struct lode_journal_entry *e);

/* ---- attempts: every directory that may hold bytes and is not a committed version's ---- */

enum lode_attempt_state {
    LODE_ATTEMPT_LIVE, /* being written; garbage once its claim is gone */
    LODE_ATTEMPT_KEPT, /* interrupted on purpose, to be resumed */
    LODE_ATTEMPT_ABANDONED,
    LODE_ATTEMPT_DELETED, /* the directory of a deleted version */
    LODE_ATTEMPT_TAKEN,   /* gc is removing it */
};
struct lode_attempt_record {
    enum lode_attempt_state state;
    char *directory;   /* where its bytes are written */
    char *trash;       /* where gc moves them, or NULL */
    char *digest;      /* of its manifest once publishing, or NULL */
    int64_t since_ms;  /* of this state */
    uint64_t size;     /* bytes, as far as known */
    uint64_t modified; /* 0: the record does not exist */
};
int lode_attempt_record_read(const struct lode_coord_kv *kv, struct lode_attempt_record *out,
                             struct lode_err *err) lode_must_use;
char *lode_attempt_record_text(const struct lode_attempt_record *r);
void lode_attempt_record_release(struct lode_attempt_record *r);

#define _cleanup_root_record_ __attribute__((cleanup(lode_root_record_release)))
#define _cleanup_model_record_ __attribute__((cleanup(lode_model_record_release)))
#define _cleanup_version_record_ __attribute__((cleanup(lode_version_record_release)))
#define _cleanup_attempt_record_ __attribute__((cleanup(lode_attempt_record_release)))
#define _cleanup_kv_ __attribute__((cleanup(lode_coord_kv_release)))
#define _cleanup_kvs_ __attribute__((cleanup(lode_coord_kvs_release)))

/* Levenshtein distance of two short names, for "did you mean"; large when they are long. */
unsigned lode_name_distance(const char *a, const char *b);
