/* Memory: see base/mem.h. */
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/size.h"
#include "base/sys.h"

void *lode_alloc(size_t size)
{
    return lode_sys->malloc(size ? size : 1);
}

void *lode_zalloc(size_t size)
{
    void *p = lode_alloc(size);
    if (p)
        memset(p, 0, size);
    return p;
}

void *lode_calloc(size_t n, size_t size)
{
    size_t total;
    return lode_mul_size(n, size, &total) ? lode_zalloc(total) : NULL;
}

void *lode_realloc(void *p, size_t size)
{
    return lode_sys->realloc(p, size ? size : 1);
}

void *lode_realloc_array(void *p, size_t n, size_t size)
{
    size_t total;
    return lode_mul_size(n, size, &total) ? lode_realloc(p, total) : NULL;
}

void *lode_memdup(const void *p, size_t n)
{
    void *copy = lode_alloc(n);
    if (copy && n)
        memcpy(copy, p, n);
    return copy;
}

char *lode_strndup(const char *s, size_t n)
{
    char *copy = lode_alloc(n + 1);
    if (!copy)
        return NULL;
    memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

char *lode_strdup(const char *s)
{
    return s ? lode_strndup(s, strlen(s)) : NULL;
}

char *lode_asprintf(const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *text = n < 0 ? NULL : lode_alloc((size_t)n + 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}

void lode_free(void *p)
{
    if (p)
        lode_sys->free(p);
}

void *lode_alloc_aligned(size_t alignment, size_t size)
{
    /* aligned_alloc wants a multiple of the alignment. */
    size_t whole;
    if (!lode_add_size(size ? size : 1, alignment - 1, &whole))
        return NULL;
    return lode_sys->memalign(alignment, whole & ~(alignment - 1));
}

void lode_free_secret(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    lode_free(s);
}

int lode_grow(void **array, size_t *capacity, size_t want, size_t element)
{
    if (want <= *capacity)
        return 0;
    size_t next = lode_max(lode_max(*capacity * 2, want), (size_t)8);
    void *p = lode_realloc_array(*array, next, element);
    if (!p)
        return LODE_NO_MEMORY;
    *array = p;
    *capacity = next;
    return 0;
}
