/* Memory: every allocation of Lode goes through here, so that fault tests reach each one.
 *
 * Sizes that come from input are checked by the caller against a named limit first; the array forms
 * check the multiplication. All answer NULL on failure: report it with lode_err_nomem().
 */
#pragma once
#include <stddef.h>
#include <stdlib.h>
#include "base/attr.h"

void *lode_alloc(size_t size) lode_must_use;  /* uninitialised; size 0 answers a unique pointer */
void *lode_zalloc(size_t size) lode_must_use; /* zeroed */
void *lode_calloc(size_t n, size_t size) lode_must_use; /* zeroed, n * size checked */
void *lode_realloc(void *p, size_t size) lode_must_use; /* p stays valid on failure */
void *lode_realloc_array(void *p, size_t n, size_t size) lode_must_use;
char *lode_strdup(const char *s) lode_must_use; /* NULL for NULL */
char *lode_strndup(const char *s, size_t n) lode_must_use;
void *lode_memdup(const void *p, size_t n) lode_must_use;
char *lode_asprintf(const char *fmt, ...) lode_printf(1, 2) lode_must_use;
void lode_free(void *p); /* free(NULL) is safe */

/* Aligned memory (alignment a power of two), released by lode_free(). */
void *lode_alloc_aligned(size_t alignment, size_t size) lode_must_use;

/* Overwrites secrets in a way the compiler keeps, then frees. */
void lode_free_secret(char *s);

/* Ensures room for `want` elements in a growing array; doubles. Returns 0 or LODE_NO_MEMORY. */
int lode_grow(void **array, size_t *capacity, size_t want, size_t element) lode_must_use;

static inline void lode_freep(void *at)
{
    lode_free(*(void **)at);
}
#define _cleanup_free_ lode_cleanup(lode_freep)

/* Hands out what a variable owns and leaves NULL behind. */
#define lode_steal(var)                                                                            \
    ({                                                                                             \
        __typeof__(var) lode_stolen_ = (var);                                                      \
        (var) = NULL;                                                                              \
        lode_stolen_;                                                                              \
    })
