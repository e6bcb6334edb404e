/* What a `struct lode` is, for the verbs of this room and for the server, which runs them. */
#pragma once
#include <lode/lode.h>
#include "catalog/catalog.h"
#include "model/record.h"

struct lode {
    char *url; /* without secrets */
    char *dir; /* an embedded root's directory (coord.db and models/ in it), else NULL */
    struct lode_coord *coord;     /* owned; NULL with a remote catalog */
    struct lode_store *store;     /* owned; NULL with a remote catalog */
    struct lode_catalog *catalog; /* owned */
    bool read_only;
    bool fresh; /* every read begins with a linearizable one */
};

/* An embedded root's parts. */
#define LODE_ROOT_COORD "coord.db"
#define LODE_ROOT_STORE "models"

/* The operations of the handle's catalog. */
static inline const struct lode_catalog_ops *lode_handle_ops(const struct lode *lode)
{
    return lode_catalog_ops_of(lode->catalog);
}

/* To be called before a verb reads: with `fresh` asks for the newest revision first. */
int lode_handle_fresh(struct lode *lode, struct lode_err *err) lode_must_use;

/* READ_ONLY for a handle opened so. */
int lode_handle_writes(const struct lode *lode, struct lode_err *err) lode_must_use;

/* Parses and resolves a reference to one pinned, committed version. */
int lode_handle_resolve(struct lode *lode, const char *ref, struct lode_version *out,
                        struct lode_err *err) lode_must_use;

/* The same for "ref/path": *path is the file (owned). */
int lode_handle_resolve_file(struct lode *lode, const char *ref, struct lode_version *out,
                             char **path, struct lode_err *err) lode_must_use;

/* Who and why of a call, for the journal; `call` may be NULL. */
static inline struct lode_act lode_handle_act(const struct lode_call *call)
{
    return (struct lode_act){.who = call ? call->who : NULL, .why = call ? call->why : NULL};
}

/* The key of a file in a place: "prefix/path", owned; NULL when out of memory. */
char *lode_place_key(const struct lode_place *place, const char *path);

/* "3.2 GiB", "512 B": for messages. Returns out. */
#define LODE_SIZE_TEXT 32
char *lode_size_text(uint64_t bytes, char out[LODE_SIZE_TEXT]);

/* A JSON document as text that lode_string_free() frees; consumes `doc`, which may be NULL (out of
 * memory). */
int lode_json_hand_out(json_t *doc, char **out, struct lode_err *err) lode_must_use;

/* Runs a verb that must see everything where everything is to be seen: at the server. `params` is
 * borrowed; NULL: out of memory. */
int lode_handle_job(struct lode *lode, const char *kind, const json_t *params, char **json,
                    struct lode_err *err) lode_must_use;

/* Where a root is, after arguments, environment, configuration file and default were asked, in this
 * order. */
struct lode_where {       /* release with lode_where_release */
    char *url;            /* as it was named; NULL for a pair */
    char *dir;            /* an embedded root's directory, absolute, or NULL */
    char *store, *coord;  /* a directory's own, or the pair; both NULL for a server */
    char *token, *cacert; /* or NULL */
    bool is_default;      /* nobody named it: made when missing */
};
int lode_where_find(const struct lode_open_options *options, struct lode_where *out,
                    struct lode_err *err) lode_must_use;
void lode_where_release(struct lode_where *where);
#define _cleanup_where_ __attribute__((cleanup(lode_where_release)))
