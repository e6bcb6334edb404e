/* Errors of Lode: a number to decide by and a message to read.
 *
 * Every function that can fail returns 0 or one of these negative numbers, and explains itself in a
 * `struct lode_err`: what failed, on what (model, version, file, block, host), why, and what to do.
 * The numbers are part of the ABI and of the REST API (as lower-case names): never reused, never
 * changed.
 */
#pragma once
#include <stddef.h>
#include <lode/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, number, HTTP status, meaning) */
#define LODE_ERRORS(X)                                                                             \
    X(INVALID, -1, 400, "the request itself is wrong")                                             \
    X(NOT_FOUND, -2, 404, "no such thing")                                                         \
    X(EXISTS, -3, 409, "the name is taken")                                                        \
    X(CONFLICT, -4, 409, "somebody else changed it first")                                         \
    X(DENIED, -5, 403, "not allowed")                                                              \
    X(CORRUPT, -6, 500, "bytes do not match their digest or their format")                         \
    X(UNAVAILABLE, -7, 503, "cannot be reached or is busy; worth a retry")                         \
    X(TIMEOUT, -8, 504, "took longer than its deadline")                                           \
    X(NO_SPACE, -9, 507, "no room left")                                                           \
    X(LIMIT, -10, 413, "over a named limit")                                                       \
    X(IO, -11, 500, "the device or the network failed")                                            \
    X(NO_MEMORY, -12, 500, "out of memory")                                                        \
    X(CANCELLED, -13, 499, "stopped by the caller")                                                \
    X(UNSUPPORTED, -14, 501, "this back end or file cannot do that")                               \
    X(COMPACTED, -15, 410, "history that old is gone: list again")                                 \
    X(LOST_LEASE, -16, 409, "the lease was lost; nothing more may be written under it")            \
    X(MOVED, -17, 410, "the root lives elsewhere now")                                             \
    X(CHANGED, -18, 409, "the source changed while it was read")                                   \
    X(UNAUTHENTICATED, -19, 401, "a valid token is needed")                                        \
    X(BEHIND, -20, 503, "the server has not seen that revision yet")                               \
    X(HELD, -21, 409, "something still refers to it")                                              \
    X(READ_ONLY, -22, 403, "opened or mounted read-only")                                          \
    X(SCHEMA, -23, 409, "written by another schema of Lode")                                       \
    X(INTERNAL, -24, 500, "a defect in Lode; please report it")                                    \
    X(PRECONDITION, -25, 412, "a condition of the request does not hold")

enum lode_code {
    LODE_OK = 0,
#define LODE_ERR_ENUM(name, number, http, text) LODE_##name = number,
    LODE_ERRORS(LODE_ERR_ENUM)
#undef LODE_ERR_ENUM
};

#define LODE_ERR_TEXT_MAX 1024 /* bytes of a message, its end mark included */

struct lode_err {
    int code;                     /* enum lode_code; 0 when nothing failed */
    int sys;                      /* errno at the failure, or 0 */
    char text[LODE_ERR_TEXT_MAX]; /* one line, UTF-8, no secrets */
};

/* "not_found" for LODE_NOT_FOUND, "ok" for 0; "internal" for a number that is none of ours. Never
 * NULL. */
LODE_API const char *lode_code_name(int code);

/* The general meaning of a code, for when no message is at hand. Never NULL. */
LODE_API const char *lode_code_text(int code);

#ifdef __cplusplus
}
#endif
