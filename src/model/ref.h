/* References: how a user names a version.
 *
 *   [ns/]name[@version|@seq|@alias]          default @latest
 *   lode://host[:port]/[ns/]name[@rev][/path]
 *   models:/name/3, models:/name@alias       (MLflow's way)
 * and, where a file may be meant, a path after the revision: rank@prod/model.safetensors. A
 * reference is resolved once, to a pinned version, and never again in one call.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/limits.h"

#define LODE_DEFAULT_NS "_"

enum lode_rev_kind { LODE_REV_LATEST, LODE_REV_SEQ, LODE_REV_NAME /* a version or an alias */ };

struct lode_ref {
    char ns[LODE_NAME_MAX + 1]; /* LODE_DEFAULT_NS when not given */
    char name[LODE_NAME_MAX + 1];
    enum lode_rev_kind kind;
    char rev[LODE_NAME_MAX + 1]; /* for LODE_REV_NAME */
    uint64_t seq;                /* for LODE_REV_SEQ */
    char host[LODE_REF_MAX];     /* for lode://host, else "" */
};

/* INVALID tells what is wrong and shows the form. */
int lode_ref_parse(const char *s, struct lode_ref *out, struct lode_err *err) lode_must_use;

/* A model alone: "[ns/]name" without a revision (INVALID with one). */
int lode_ref_parse_model(const char *s, struct lode_ref *out, struct lode_err *err) lode_must_use;

/* A file of a version: "ref/path". With '@' the split is certain. Without it, "a/b/c" may be model
 * a with file b/c or ns a, model b with file c: `out` gets the first reading, `other` the second,
 * *n says how many there are (1 or 2); the catalog knows which exists (a first part is a namespace
 * or a model, never both). `path`s point into `s`. */
struct lode_file_ref {
    struct lode_ref ref;
    const char *path;
};
int lode_ref_parse_file(const char *s, struct lode_file_ref out[2], unsigned *n,
                        struct lode_err *err) lode_must_use;

/* "ns/name@rev", the default namespace left out. Returns out. */
#define LODE_REF_TEXT (3 * LODE_NAME_MAX + 24)
char *lode_ref_text(const struct lode_ref *ref, char out[LODE_REF_TEXT]);
