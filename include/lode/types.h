/* What Lode tells about models and versions. The same things have the same keys in the JSON of the
 * command line, of REST and of Python: docs/formats/json.md.
 *
 * Structures that own memory are released by the function named after them. All strings are UTF-8.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <lode/api.h>
#include <lode/err.h>

#ifdef __cplusplus
extern "C" {
#endif

enum lode_state { LODE_STAGING, LODE_PUBLISHING, LODE_COMMITTED, LODE_DELETED };

struct lode_tag {
    char *key;
    char *value;
};

struct lode_metric {
    char *key;
    double value; /* finite */
};

/* A version: immutable bytes with a name, and the facts about them. */
struct lode_version {
    char *ns;      /* namespace; "_" is the default one and is not shown */
    char *name;    /* the model's */
    char *version; /* "20261121T093000Z" or the user's */
    uint64_t seq;  /* 1, 2, 3 by commit order; 0 until committed */
    enum lode_state state;
    int64_t created_ms; /* of the commit (of the first attempt until then), milliseconds since 1970
                           UTC */
    int64_t deleted_ms; /* 0 unless deleted */
    char *author;       /* user@host, or the token's name at a server */
    char *why;          /* the message, or NULL */
    uint64_t size;      /* bytes of all files */
    uint64_t files;
    char *format; /* "safetensors", "npy+safetensors", "opaque" ...: sorted, joined by '+' */
    uint64_t tensors;
    uint64_t parameters;    /* elements of all tensors */
    char *digest;           /* SHA-256 of the manifest, 64 hex digits; NULL until publishing */
    uint64_t manifest_size; /* bytes */
    char *parent;           /* lineage: "ns/name@version" or NULL */
    char *replication;      /* the policy promised, or NULL */
    struct lode_tag *tags;  /* sorted by key */
    size_t n_tags;
    struct lode_metric *metrics; /* sorted by key */
    size_t n_metrics;
    char **aliases; /* that point here now, sorted */
    size_t n_aliases;
    bool latest;       /* the committed version of highest seq */
    uint64_t attempt;  /* which attempt wrote it */
    char *directory;   /* store key of its directory, "rank/20261121T093000Z" */
    uint64_t revision; /* of the root, when this was read */
};

struct lode_alias {
    char *alias;
    char *version;
};

struct lode_model_info {
    char *ns;
    char *name;
    uint64_t versions; /* committed ones */
    char *latest;      /* version name, or NULL */
    uint64_t latest_seq;
    uint64_t next_seq;
    int64_t created_ms, updated_ms;
    struct lode_alias *aliases; /* sorted by alias */
    size_t n_aliases;
    uint64_t revision;
};

enum lode_change {
    LODE_CHANGE_COMMIT,
    LODE_CHANGE_ALIAS_SET,
    LODE_CHANGE_ALIAS_REMOVE,
    LODE_CHANGE_DELETE,
    LODE_CHANGE_RESTORE
};

/* One entry of a model's journal: never changed, never compacted. */
struct lode_journal_entry {
    char *ns;
    char *name;
    uint64_t number; /* 1, 2, 3 a model */
    int64_t when_ms; /* rises strictly within a model */
    enum lode_change change;
    char *who;
    char *why;   /* or NULL */
    char *alias; /* for alias moves, else NULL */
    char *from;  /* the version an alias pointed to before, or NULL */
    char *to; /* the version committed, pointed to, deleted or restored; NULL for a removed alias */
    char *event; /* "<root epoch>:<revision>.<index>" where told by a watch, else NULL */
};

struct lode_versions { /* a page */
    struct lode_version *items;
    size_t n;
    char *next; /* opaque page token, or NULL at the end */
    uint64_t revision;
};
struct lode_models {
    struct lode_model_info *items;
    size_t n;
    char *next;
    uint64_t revision;
};
struct lode_journal {
    struct lode_journal_entry *items;
    size_t n;
    char *next;
    uint64_t revision;
};

LODE_API void lode_version_release(struct lode_version *v);
LODE_API void lode_model_info_release(struct lode_model_info *m);
LODE_API void lode_journal_entry_release(struct lode_journal_entry *e);
LODE_API void lode_versions_release(struct lode_versions *p);
LODE_API void lode_models_release(struct lode_models *p);
LODE_API void lode_journal_release(struct lode_journal *p);

/* "staging", "publishing", "committed", "deleted"; "commit", "alias_set", "alias_remove", "delete",
 * "restore". */
LODE_API const char *lode_state_name(enum lode_state state);
LODE_API const char *lode_change_name(enum lode_change change);

/* The JSON of docs/formats/json.md, compact; owned by the caller (lode_string_free). NULL when out
 * of memory. */
LODE_API char *lode_version_json(const struct lode_version *v);
LODE_API char *lode_model_info_json(const struct lode_model_info *m);
LODE_API char *lode_journal_entry_json(const struct lode_journal_entry *e);

/* Frees any string that Lode handed out. NULL is safe. */
LODE_API void lode_string_free(char *s);

#ifdef __cplusplus
}
#endif
