/* Making errors: see <lode/err.h> for what they are.
 *
 * `err` may be NULL everywhere. The setters return the code, so that a failure reads
 *     return lode_err_set(err, LODE_EXISTS, "version %s of %s is already there", v, m);
 */
#pragma once
#include <lode/err.h>
#include <stdarg.h>
#include "base/attr.h"

/* Replaces what `err` holds. Returns `code`. */
int lode_err_set(struct lode_err *err, int code, const char *fmt, ...) lode_printf(3, 4);
int lode_err_setv(struct lode_err *err, int code, const char *fmt, va_list args) lode_printf(3, 0);

/* The same with the reason from errno ("...: No space left on device"); the code follows errno:
 * ENOENT NOT_FOUND, EEXIST EXISTS, ENOSPC/EDQUOT NO_SPACE, EACCES/EPERM DENIED, EROFS READ_ONLY,
 * ENOMEM NO_MEMORY, EMFILE/ENFILE LIMIT, ETIMEDOUT TIMEOUT, ECANCELED CANCELLED, else IO. */
int lode_err_sys(struct lode_err *err, const char *fmt, ...) lode_printf(2, 3);

/* The same for an errno-like number that is not in errno (io_uring results, negative or positive).
 */
int lode_err_num(struct lode_err *err, int number, const char *fmt, ...) lode_printf(3, 4);

/* Puts context in front of what `err` says: "cannot push rank: " + text. Returns the code it holds;
 * for a NULL err, which cannot tell, INTERNAL: a failure stays a failure, but where the code
 * matters hand on your own. */
int lode_err_prefix(struct lode_err *err, const char *fmt, ...) lode_printf(2, 3);

/* Out of memory for `what`. Returns LODE_NO_MEMORY. */
int lode_err_nomem(struct lode_err *err, const char *what);

void lode_err_clear(struct lode_err *err);

/* The code for an errno. */
int lode_code_of_errno(int number);

/* HTTP status of a code, and back: the code that a status stands for when a reply carries no better
 * word. */
int lode_code_http(int code);
int lode_code_of_http(int status);

/* The code of a name as lode_code_name() gives it; LODE_INTERNAL if unknown. */
int lode_code_of_name(const char *name);

/* True where the same request may succeed later or elsewhere: UNAVAILABLE, TIMEOUT, BEHIND. */
int lode_code_is_transient(int code);
