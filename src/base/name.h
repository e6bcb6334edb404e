/* Checked names: the only place where the rules of the design about names and paths stand
 * (invariant 6).
 *
 * A name (namespace, model, version, alias): [A-Za-z0-9][A-Za-z0-9._-]{0,127}.
 * A file's path inside a version: 1-32 parts of valid UTF-8 divided by '/', each 1-255 bytes, no
 * control characters, none "." or "..", the first not "_lode". All checks take (bytes, length), so
 * that a NUL inside is seen.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"

enum lode_name_kind { LODE_NAME_NAMESPACE, LODE_NAME_MODEL, LODE_NAME_VERSION, LODE_NAME_ALIAS };

/* INVALID with a message that quotes the name (escaped) and says the rule it breaks. Versions and
 * aliases are also refused if all digits (that means a seq), or "latest". */
int lode_name_check(enum lode_name_kind kind, const char *s, size_t len,
                    struct lode_err *err) lode_must_use;

/* The character rule alone, for those who only ask. */
bool lode_name_ok(const char *s, size_t len);

/* All digits: a seq. */
bool lode_name_is_seq(const char *s, size_t len);

/* A file path inside a version. */
int lode_path_check(const char *s, size_t len, struct lode_err *err) lode_must_use;

/* A store key: like a file path, but the first part may be "_lode" or "_staging", up to 40 parts.
 * "" is the base itself and only passes with allow_empty. */
int lode_key_check(const char *s, size_t len, bool allow_empty, struct lode_err *err) lode_must_use;

/* Length of the valid UTF-8 prefix; == len when all is valid (no overlong forms, surrogates, >
 * U+10FFFF). */
size_t lode_utf8_valid(const char *s, size_t len);

/* Writes `s` for a message: quotes, control and invalid bytes as \xNN, cut at about `room` with
 * "...". Returns out. */
char *lode_quote(const char *s, size_t len, char *out, size_t room);

/* A literal that quotes up to 100 bytes: lode_q("abc"). Valid in the full expression's block. */
#define lode_qn(s, n) lode_quote((s), (n), (char[160]){0}, 160)
#define lode_q(s) lode_quote((s), __builtin_strlen(s), (char[160]){0}, 160)

/* True if `s` is a path and not a reference by the design's rule: it starts with "/", "./", "../"
 * or "~", or is "." or "..". */
bool lode_looks_like_path(const char *s);
