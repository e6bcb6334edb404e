/* Page tokens: see catalog/page_token.h. Little-endian inside. */
#include "catalog/page_token.h"
#include <math.h>
#include <string.h>
#include "base/buf.h"
#include "base/digest.h"
#include "base/limits.h"
#include "base/mem.h"

#define TOKEN_VERSION 1
#define FIXED (1 + 8 + 8 + 1 + 1 + 8) /* version, query, id, missing, kind, number */
#define SUM 8
#define TEXT_MAX LODE_TAG_VALUE_MAX

static void put64(uint8_t *at, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v |= (uint64_t)at[i] << (8 * i);
    return v;
}

static void sum_of(const uint8_t *bytes, size_t n, uint8_t out[SUM])
{
    struct lode_xxh128 d = lode_xxh128_of(bytes, n);
    memcpy(out, d.b, SUM);
}

char *lode_page_token(const struct lode_page_mark *m)
{
    size_t n = FIXED + m->len + SUM;
    _cleanup_free_ uint8_t *b = lode_zalloc(n);
    char *hex = lode_alloc(2 * n + 1);
    if (!b || !hex) {
        lode_free(hex);
        return NULL;
    }
    uint64_t number = (uint64_t)m->whole;
    if (m->kind == LODE_MARK_NUMBER)
        memcpy(&number, &m->number, sizeof number);
    b[0] = TOKEN_VERSION;
    put64(b + 1, m->query);
    put64(b + 9, (uint64_t)m->id);
    b[17] = m->missing;
    b[18] = (uint8_t)m->kind;
    put64(b + 19, number);
    if (m->len)
        memcpy(b + FIXED, m->text, m->len);
    sum_of(b, n - SUM, b + n - SUM);
    return lode_hex(b, n, hex);
}

static int refuse(struct lode_err *err)
{
    return lode_err_set(
        err, LODE_INVALID,
        "this is no page token of this query: pass `next` of the page before, with the same "
        "filter, sort and scope");
}

static int unpack(const uint8_t *b, size_t n, uint64_t query, struct lode_page_mark *out,
                  struct lode_err *err)
{
    uint8_t sum[SUM];
    sum_of(b, n - SUM, sum);
    if (b[0] != TOKEN_VERSION || memcmp(sum, b + n - SUM, SUM) != 0 || get64(b + 1) != query ||
        b[17] > 1 || b[18] > LODE_MARK_TEXT)
        return refuse(err);
    struct lode_page_mark m = {
        .query = query, .id = (int64_t)get64(b + 9), .missing = b[17], .len = n - FIXED - SUM};
    uint64_t number = get64(b + 19);
    m.kind = b[18];
    m.whole = (int64_t)number;
    memcpy(&m.number, &number, sizeof m.number);
    if (m.kind == LODE_MARK_NUMBER && !isfinite(m.number))
        return refuse(err);
    m.text = lode_strndup((const char *)b + FIXED, m.len);
    if (!m.text)
        return lode_err_nomem(err, "a page token");
    *out = m;
    return 0;
}

int lode_page_parse(const char *token, uint64_t query, struct lode_page_mark *out,
                    struct lode_err *err)
{
    size_t len = strlen(token), n = len / 2;
    if (len % 2 || n < FIXED + SUM || n > FIXED + SUM + TEXT_MAX)
        return refuse(err);
    _cleanup_free_ uint8_t *b = lode_alloc(n);
    if (!b)
        return lode_err_nomem(err, "a page token");
    return lode_unhex(token, len, b, n) ? unpack(b, n, query, out, err) : refuse(err);
}

void lode_page_mark_release(struct lode_page_mark *m)
{
    lode_free(m->text);
    m->text = NULL;
}
