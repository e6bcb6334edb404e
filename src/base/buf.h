/* A growing byte buffer with a maximum from birth.
 *
 * Appending sets a sticky error instead of failing each call: build freely, then ask once
 * (lode_buf_check). What was appended before the failure stays; `data` is always NUL-terminated.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct lode_buf {
    char *data; /* owned; never NULL for reading through lode_buf_str() */
    size_t len; /* bytes, the end mark apart */
    size_t cap; /* bytes allocated */
    size_t max; /* bytes allowed */
    int failed; /* 0, LODE_NO_MEMORY or LODE_LIMIT; sticky */
};

#define LODE_BUF_INIT(max_) ((struct lode_buf){.max = (max_)})

void lode_buf_init(struct lode_buf *b, size_t max);
void lode_buf_release(
    struct lode_buf *b);                 /* frees; the buffer may be used again with the same max */
void lode_buf_clear(struct lode_buf *b); /* empties, keeps memory, clears the sticky error */
void lode_buf_add(struct lode_buf *b, const void *p, size_t n);
void lode_buf_adds(struct lode_buf *b, const char *s);
void lode_buf_addc(struct lode_buf *b, char c);
void lode_buf_addf(struct lode_buf *b, const char *fmt, ...) lode_printf(2, 3);
void lode_buf_addv(struct lode_buf *b, const char *fmt, va_list args) lode_printf(2, 0);
void lode_buf_drop_front(struct lode_buf *b, size_t n); /* n <= len */

/* Room for n more bytes at the end (commit them by raising len); NULL and a sticky error without.
 */
void *lode_buf_reserve(struct lode_buf *b, size_t n);

/* 0, or the sticky error told on `what`. */
int lode_buf_check(const struct lode_buf *b, const char *what, struct lode_err *err) lode_must_use;

/* The text so far; "" when empty. Valid until the next change. */
const char *lode_buf_str(const struct lode_buf *b);

/* The text as owned memory (lode_free), the buffer left empty; NULL when a sticky error is set. */
char *lode_buf_steal(struct lode_buf *b);

#define _cleanup_buf_ lode_cleanup(lode_buf_release)
