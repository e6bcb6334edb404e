/* A bounded growing buffer: see base/buf.h. */
#include "base/buf.h"
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/size.h"

void lode_buf_init(struct lode_buf *b, size_t max)
{
    *b = LODE_BUF_INIT(max);
}

void lode_buf_release(struct lode_buf *b)
{
    lode_free(b->data);
    *b = LODE_BUF_INIT(b->max);
}

void lode_buf_clear(struct lode_buf *b)
{
    b->len = 0;
    b->failed = 0;
    if (b->data)
        b->data[0] = 0;
}

void *lode_buf_reserve(struct lode_buf *b, size_t n)
{
    size_t need;
    if (b->failed)
        return NULL;
    if (!lode_add_size(b->len, n, &need) || need > b->max) {
        b->failed = LODE_LIMIT;
        return NULL;
    }
    if (need + 1 > b->cap) {
        size_t cap = lode_max(need + 1, lode_min(lode_max(b->cap * 2, (size_t)64), b->max + 1));
        char *data = lode_realloc(b->data, cap);
        if (!data) {
            b->failed = LODE_NO_MEMORY;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

void lode_buf_add(struct lode_buf *b, const void *p, size_t n)
{
    char *at = lode_buf_reserve(b, n);
    if (!at)
        return;
    if (n)
        memcpy(at, p, n);
    b->len += n;
    b->data[b->len] = 0;
}

void lode_buf_adds(struct lode_buf *b, const char *s)
{
    lode_buf_add(b, s, strlen(s));
}

void lode_buf_addc(struct lode_buf *b, char c)
{
    lode_buf_add(b, &c, 1);
}

void lode_buf_addv(struct lode_buf *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *at = n < 0 ? NULL : lode_buf_reserve(b, (size_t)n);
    if (at) {
        vsnprintf(at, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void lode_buf_addf(struct lode_buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    lode_buf_addv(b, fmt, args);
    va_end(args);
}

void lode_buf_drop_front(struct lode_buf *b, size_t n)
{
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = 0;
}

int lode_buf_check(const struct lode_buf *b, const char *what, struct lode_err *err)
{
    if (b->failed == LODE_LIMIT)
        return lode_err_set(err, LODE_LIMIT, "%s is over its limit of %zu bytes", what, b->max);
    return b->failed ? lode_err_nomem(err, what) : 0;
}

const char *lode_buf_str(const struct lode_buf *b)
{
    return b->data ? b->data : "";
}

char *lode_buf_steal(struct lode_buf *b)
{
    if (b->failed)
        return NULL;
    char *s = b->data ? b->data : lode_strndup("", 0);
    *b = LODE_BUF_INIT(b->max);
    return s;
}
