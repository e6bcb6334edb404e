/* JSON documents small enough for a tree (records, REST bodies), over jansson.
 *
 * Parsing refuses duplicate keys, more than LODE_JSON_DEPTH_MAX levels and trailing bytes. Getters
 * tell the field by name when it is missing or of the wrong type (INVALID). Large headers are read
 * with base/jsontok.h instead, never as a tree. jansson allocates through lode_alloc, so that fault
 * tests reach it.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

static inline void lode_json_decrefp(json_t **at)
{
    json_decref(*at);
}
#define _cleanup_json_ __attribute__((cleanup(lode_json_decrefp)))

/* `what` names the document in messages. */
int lode_json_parse(const char *s, size_t len, const char *what, json_t **out,
                    struct lode_err *err) lode_must_use;

/* Compact, keys in insertion order; owned text (lode_free), NULL when out of memory. */
char *lode_json_text(const json_t *doc, size_t *len);

/* The same for people: a line a field, indented. */
char *lode_json_pretty(const json_t *doc);

/* Required fields. Strings are borrowed from the document. */
int lode_json_str(const json_t *obj, const char *key, const char **out,
                  struct lode_err *err) lode_must_use;
int lode_json_i64(const json_t *obj, const char *key, int64_t *out,
                  struct lode_err *err) lode_must_use;
int lode_json_u64(const json_t *obj, const char *key, uint64_t *out,
                  struct lode_err *err) lode_must_use;
int lode_json_obj(const json_t *obj, const char *key, json_t **out,
                  struct lode_err *err) lode_must_use; /* borrowed */
int lode_json_arr(const json_t *obj, const char *key, json_t **out,
                  struct lode_err *err) lode_must_use; /* borrowed */

/* Optional fields: the default when absent or null; still INVALID on a wrong type. */
int lode_json_opt_str(const json_t *obj, const char *key, const char **out,
                      struct lode_err *err) lode_must_use;
int lode_json_opt_i64(const json_t *obj, const char *key, int64_t *out,
                      struct lode_err *err) lode_must_use;
int lode_json_opt_u64(const json_t *obj, const char *key, uint64_t *out,
                      struct lode_err *err) lode_must_use;
int lode_json_opt_bool(const json_t *obj, const char *key, bool *out,
                       struct lode_err *err) lode_must_use;

/* Refuses fields that are not in the NULL-ended list (additionalProperties: false). */
int lode_json_only(const json_t *obj, const char *const *allowed, const char *what,
                   struct lode_err *err) lode_must_use;

/* Appends `s` as a JSON string with its quotes. */
void lode_json_quote(struct lode_buf *b, const char *s, size_t len);
