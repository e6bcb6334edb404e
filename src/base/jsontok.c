/* A streaming JSON tokenizer: see base/jsontok.h.
 *
 * Two machines: `state` says what may come next between tokens, `lex` says inside which token a
 * chunk ended. Strings without escapes that lie in one chunk are handed out in place; others are
 * gathered in `text`.
 *
 * Invariants: a token never begins before the one before it was complete; `depth` <=
 * LODE_JSON_DEPTH_MAX <= 64, so that one word holds which containers are objects; after an error
 * nothing is read.
 */
#include "base/jsontok.h"
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/limits.h"

_Static_assert(LODE_JSON_DEPTH_MAX <= 64, "the container bits are one word");

enum {                 /* state: what may come next */
       S_VALUE,        /* a value */
       S_VALUE_OR_END, /* a value or ], behind [ */
       S_KEY_OR_END,   /* a key or }, behind { */
       S_KEY,          /* a key, behind a comma */
       S_COLON,
       S_COMMA_OR_END,
       S_NOTHING, /* white space only */
};

enum { L_NONE, L_STRING, L_ESCAPE, L_HEX, L_NUMBER, L_LITERAL };

void lode_jsontok_init(struct lode_jsontok *t, const char *what, size_t text_max)
{
    *t = (struct lode_jsontok){.what = what,
                               .text = LODE_BUF_INIT(text_max),
                               .number = LODE_BUF_INIT(LODE_JSONTOK_NUMBER_MAX)};
}

void lode_jsontok_release(struct lode_jsontok *t)
{
    lode_buf_release(&t->text);
    lode_buf_release(&t->number);
}

void lode_jsontok_feed(struct lode_jsontok *t, const void *bytes, size_t len)
{
    t->base += t->len;
    t->in = bytes;
    t->len = len;
    t->pos = 0;
}

void lode_jsontok_end(struct lode_jsontok *t)
{
    t->ended = true;
}

uint64_t lode_jsontok_offset(const struct lode_jsontok *t)
{
    return t->base + t->pos;
}

static int bad(struct lode_jsontok *t, struct lode_err *err, const char *why)
{
    t->failed = LODE_INVALID;
    return lode_err_set(err, LODE_INVALID, "%s is not valid JSON: %s at byte %llu", t->what, why,
                        (unsigned long long)lode_jsontok_offset(t));
}

int lode_jsontok_refuse(const struct lode_jsontok *t, const struct lode_json_tok *tok,
                        struct lode_err *err, const char *fmt, ...)
{
    char text[LODE_ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return lode_err_set(err, LODE_INVALID, "%s, at byte %llu: %s", t->what,
                        (unsigned long long)tok->at, text);
}

/* ---- containers and what follows a value ---- */

static bool in_object(const struct lode_jsontok *t)
{
    return t->depth > 0 && (t->objects >> (t->depth - 1) & 1);
}

static void value_done(struct lode_jsontok *t)
{
    t->state = t->depth ? S_COMMA_OR_END : S_NOTHING;
}

static int token(struct lode_jsontok *t, struct lode_json_tok *tok, enum lode_json_type type)
{
    *tok = (struct lode_json_tok){.type = type, .depth = t->depth, .at = t->start};
    return LODE_JSONTOK_TOK;
}

static int open_container(struct lode_jsontok *t, bool object, struct lode_json_tok *tok,
                          struct lode_err *err)
{
    if (t->depth >= LODE_JSON_DEPTH_MAX) {
        t->failed = LODE_LIMIT;
        return lode_err_set(err, LODE_LIMIT, "%s is nested deeper than %d levels at byte %llu",
                            t->what, LODE_JSON_DEPTH_MAX, (unsigned long long)t->start);
    }
    token(t, tok, object ? LODE_JSON_OBJECT : LODE_JSON_ARRAY);
    uint64_t bit = 1ull << t->depth++;
    t->objects = object ? t->objects | bit : t->objects & ~bit;
    t->state = object ? S_KEY_OR_END : S_VALUE_OR_END;
    return LODE_JSONTOK_TOK;
}

static int close_container(struct lode_jsontok *t, bool object, struct lode_json_tok *tok,
                           struct lode_err *err)
{
    bool may = object ? t->state == S_KEY_OR_END : t->state == S_VALUE_OR_END;
    if (t->depth == 0 || in_object(t) != object || !(may || t->state == S_COMMA_OR_END))
        return bad(t, err, "a closing mark out of place");
    t->depth--;
    value_done(t);
    return token(t, tok, object ? LODE_JSON_OBJECT_END : LODE_JSON_ARRAY_END);
}

/* ---- strings ---- */

static int text_failed(struct lode_jsontok *t, struct lode_err *err)
{
    t->failed = t->text.failed;
    if (t->failed == LODE_NO_MEMORY)
        return lode_err_nomem(err, t->what);
    return lode_err_set(err, LODE_LIMIT, "%s: the text at byte %llu is longer than %zu bytes",
                        t->what, (unsigned long long)t->start, t->text.max);
}

static int keep(struct lode_jsontok *t, const void *bytes, size_t len, struct lode_err *err)
{
    if (t->discard)
        return 0;
    lode_buf_add(&t->text, bytes, len);
    t->kept = true;
    return t->text.failed ? text_failed(t, err) : 0;
}

static int string_done(struct lode_jsontok *t, size_t from, size_t to, struct lode_json_tok *tok,
                       struct lode_err *err)
{
    if (t->utf_need)
        return bad(t, err, "invalid UTF-8");
    if (t->high)
        return bad(t, err, "half a surrogate pair");
    const char *text = (const char *)t->in + from;
    size_t len = to - from;
    if (t->kept) {
        int e = keep(t, text, len, err);
        if (e < 0)
            return e;
        text = lode_buf_str(&t->text);
        len = t->text.len;
    } else if (!t->discard && len > t->text.max) {
        t->text.failed = LODE_LIMIT;
        return text_failed(t, err);
    }
    t->lex = L_NONE;
    token(t, tok, t->is_key ? LODE_JSON_KEY : LODE_JSON_STRING);
    tok->text = t->discard ? NULL : text;
    tok->len = t->discard ? 0 : len;
    if (t->is_key)
        t->state = S_COLON;
    else
        value_done(t);
    return LODE_JSONTOK_TOK;
}

/* The first byte of a character of several: how many follow and what the next may be (no overlong
 * forms, no surrogates, nothing above U+10FFFF). */
static bool utf_lead(struct lode_jsontok *t, uint8_t c)
{
    t->utf_lo = 0x80;
    t->utf_hi = 0xbf;
    if (c >= 0xc2 && c <= 0xdf) {
        t->utf_need = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
        t->utf_need = 2;
        t->utf_lo = c == 0xe0 ? 0xa0 : 0x80;
        t->utf_hi = c == 0xed ? 0x9f : 0xbf;
    } else if (c >= 0xf0 && c <= 0xf4) {
        t->utf_need = 3;
        t->utf_lo = c == 0xf0 ? 0x90 : 0x80;
        t->utf_hi = c == 0xf4 ? 0x8f : 0xbf;
    } else {
        return false;
    }
    return true;
}

static bool utf_next(struct lode_jsontok *t, uint8_t c)
{
    if (!t->utf_need)
        return utf_lead(t, c);
    if (c < t->utf_lo || c > t->utf_hi)
        return false;
    t->utf_lo = 0x80;
    t->utf_hi = 0xbf;
    t->utf_need--;
    return true;
}

static bool plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* From `pos` to the closing quote, an escape, or the chunk's end. */
static int lex_string(struct lode_jsontok *t, struct lode_json_tok *tok, struct lode_err *err)
{
    size_t from = t->pos;
    for (;; t->pos++) {
        if (!t->utf_need && !t->high) {
            while (t->pos < t->len && plain(t->in[t->pos]))
                t->pos++;
        }
        if (t->pos == t->len)
            return keep(t, t->in + from, t->pos - from, err);
        uint8_t c = t->in[t->pos];
        if (c >= 0x80 || t->utf_need) {
            if (!utf_next(t, c))
                return bad(t, err, "invalid UTF-8");
        } else if (c == '"') {
            return string_done(t, from, t->pos++, tok, err);
        } else if (c == '\\') {
            t->lex = L_ESCAPE;
            return keep(t, t->in + from, t->pos++ - from, err);
        } else if (c < 0x20) {
            return bad(t, err, "a control character in a string");
        }
        if (t->high)
            return bad(t, err, "half a surrogate pair");
    }
}

static int lex_escape(struct lode_jsontok *t, struct lode_err *err)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint8_t c = t->in[t->pos];
    const char *at = c ? strchr(from, c) : NULL;
    if (c == 'u') {
        t->lex = L_HEX;
        t->hex = 0;
        t->code = 0;
    } else if (t->high) {
        return bad(t, err, "half a surrogate pair");
    } else if (!at) {
        return bad(t, err, "an unknown escape");
    } else {
        t->lex = L_STRING;
        int e = keep(t, &to[at - from], 1, err);
        if (e < 0)
            return e;
    }
    t->pos++;
    return 0;
}

static int keep_code(struct lode_jsontok *t, uint32_t c, struct lode_err *err)
{
    uint8_t out[4];
    size_t n;
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        n = 1;
    } else if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        n = 2;
    } else if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        n = 3;
    } else {
        out[0] = (uint8_t)(0xf0 | c >> 18);
        n = 4;
    }
    for (size_t i = 1; i < n; i++)
        out[i] = (uint8_t)(0x80 | (c >> (6 * (n - 1 - i)) & 0x3f));
    return keep(t, out, n, err);
}

/* \uXXXX complete: a character, or half of one. */
static int unicode_done(struct lode_jsontok *t, struct lode_err *err)
{
    uint32_t c = t->code;
    bool low = c >= 0xdc00 && c <= 0xdfff;
    if ((t->high != 0) != low)
        return bad(t, err, "half a surrogate pair");
    t->lex = L_STRING;
    if (c >= 0xd800 && c <= 0xdbff) {
        t->high = c;
        return 0;
    }
    if (low)
        c = 0x10000 + ((t->high - 0xd800) << 10) + (c - 0xdc00);
    t->high = 0;
    return keep_code(t, c, err);
}

static int lex_hex(struct lode_jsontok *t, struct lode_err *err)
{
    uint8_t c = t->in[t->pos];
    uint8_t low = c | 0x20;
    if (c >= '0' && c <= '9')
        t->code = t->code << 4 | (uint32_t)(c - '0');
    else if (low >= 'a' && low <= 'f')
        t->code = t->code << 4 | (uint32_t)(low - 'a' + 10);
    else
        return bad(t, err, "\\u without four hexadecimal digits");
    t->pos++;
    return ++t->hex == 4 ? unicode_done(t, err) : 0;
}

static void start_string(struct lode_jsontok *t, bool is_key)
{
    t->lex = L_STRING;
    t->is_key = is_key;
    t->kept = false;
    t->utf_need = 0;
    t->high = 0;
    lode_buf_clear(&t->text);
    t->pos++;
}

/* ---- numbers and words ---- */

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? */
static bool number_ok(const char *s, bool *integer)
{
    s += *s == '-';
    if (*s == '0')
        s++;
    else if (*s >= '1' && *s <= '9')
        s += strspn(s, "0123456789");
    else
        return false;
    *integer = *s == 0;
    if (*s == '.') {
        size_t n = strspn(++s, "0123456789");
        if (n == 0)
            return false;
        s += n;
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '+' || *s == '-';
        size_t n = strspn(s, "0123456789");
        if (n == 0)
            return false;
        s += n;
    }
    return *s == 0;
}

/* One locale for the process's life: a number's point is a point. */
static double to_double(const char *s)
{
    static locale_t c_locale;
    locale_t have = __atomic_load_n(&c_locale, __ATOMIC_ACQUIRE);
    if (!have) {
        locale_t made = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        if (!made)
            return strtod(s, NULL);
        if (__atomic_compare_exchange_n(&c_locale, &have, made, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            have = made;
        else
            freelocale(made);
    }
    return strtod_l(s, NULL, have);
}

static bool to_integer(const char *s, struct lode_json_tok *tok)
{
    errno = 0;
    if (*s == '-') {
        tok->i64 = strtoll(s, NULL, 10);
        tok->type = LODE_JSON_I64;
    } else {
        tok->u64 = strtoull(s, NULL, 10);
        tok->type = LODE_JSON_U64;
    }
    return errno == 0;
}

static int number_done(struct lode_jsontok *t, struct lode_json_tok *tok, struct lode_err *err)
{
    const char *s = lode_buf_str(&t->number);
    bool integer = false;
    if (!number_ok(s, &integer))
        return bad(t, err, "a malformed number");
    t->lex = L_NONE;
    value_done(t);
    token(t, tok, LODE_JSON_DOUBLE);
    if (!integer || !to_integer(s, tok)) {
        tok->type = LODE_JSON_DOUBLE;
        tok->number = to_double(s);
    } else {
        tok->number = tok->type == LODE_JSON_U64 ? (double)tok->u64 : (double)tok->i64;
    }
    return LODE_JSONTOK_TOK;
}

static bool number_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* Nearly all numbers are short whole ones that lie in the chunk with what follows them: no detour
 * through text. False, and nothing moved, for all others. */
static bool short_number(struct lode_jsontok *t, struct lode_json_tok *tok)
{
    uint64_t v = 0;
    size_t at = t->pos;
    while (at < t->len && at < t->pos + 19 && t->in[at] >= '0' && t->in[at] <= '9')
        v = v * 10 + (uint64_t)(t->in[at++] - '0');
    if (at == t->pos || at == t->len || number_char(t->in[at]) ||
        (t->in[t->pos] == '0' && at > t->pos + 1))
        return false;
    t->pos = at;
    value_done(t);
    token(t, tok, LODE_JSON_U64);
    tok->u64 = v;
    tok->number = (double)v;
    return true;
}

static int lex_number(struct lode_jsontok *t, struct lode_json_tok *tok, struct lode_err *err)
{
    size_t from = t->pos;
    while (t->pos < t->len && number_char(t->in[t->pos]))
        t->pos++;
    lode_buf_add(&t->number, t->in + from, t->pos - from);
    if (t->number.failed) {
        t->failed = t->number.failed;
        return lode_err_set(err, t->failed, "%s: the number at byte %llu is longer than %d bytes",
                            t->what, (unsigned long long)t->start, LODE_JSONTOK_NUMBER_MAX);
    }
    return t->pos < t->len ? number_done(t, tok, err) : 0;
}

static int lex_literal(struct lode_jsontok *t, struct lode_json_tok *tok, struct lode_err *err)
{
    while (t->pos < t->len && t->literal[t->word]) {
        if (t->in[t->pos] != (uint8_t)t->literal[t->word])
            return bad(t, err, "an unknown word");
        t->pos++;
        t->word++;
    }
    if (t->literal[t->word])
        return 0;
    t->lex = L_NONE;
    value_done(t);
    return token(t, tok,
                 *t->literal == 't'   ? LODE_JSON_TRUE
                 : *t->literal == 'f' ? LODE_JSON_FALSE
                                      : LODE_JSON_NULL);
}

static void start_literal(struct lode_jsontok *t, const char *word)
{
    t->lex = L_LITERAL;
    t->literal = word;
    t->word = 0;
}

/* ---- between tokens ---- */

static int start_value(struct lode_jsontok *t, uint8_t c, struct lode_json_tok *tok,
                       struct lode_err *err)
{
    switch (c) {
    case '{':
    case '[':
        t->pos++;
        return open_container(t, c == '{', tok, err);
    case '"':
        start_string(t, false);
        return 0;
    case 't':
        start_literal(t, "true");
        return 0;
    case 'f':
        start_literal(t, "false");
        return 0;
    case 'n':
        start_literal(t, "null");
        return 0;
    default:
        if (c != '-' && (c < '0' || c > '9'))
            return bad(t, err, "no value");
        if (short_number(t, tok))
            return LODE_JSONTOK_TOK;
        t->lex = L_NUMBER;
        lode_buf_clear(&t->number);
        return 0;
    }
}

/* One mark or the first byte of a token. 0: go on. */
static int between(struct lode_jsontok *t, struct lode_json_tok *tok, struct lode_err *err)
{
    uint8_t c = t->in[t->pos];
    t->start = lode_jsontok_offset(t);
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        t->pos++;
        return 0;
    }
    if (t->state == S_NOTHING)
        return bad(t, err, "something behind the end");
    if (c == '}' || c == ']') {
        int r = close_container(t, c == '}', tok, err);
        t->pos += r > 0;
        return r;
    }
    switch (t->state) {
    case S_KEY:
    case S_KEY_OR_END:
        if (c != '"')
            return bad(t, err, "no key");
        start_string(t, true);
        return 0;
    case S_COLON:
        if (c != ':')
            return bad(t, err, "no colon behind a key");
        t->state = S_VALUE;
        break;
    case S_COMMA_OR_END:
        if (c != ',')
            return bad(t, err, "neither a comma nor the end of the container");
        t->state = in_object(t) ? S_KEY : S_VALUE;
        break;
    default:
        return start_value(t, c, tok, err);
    }
    t->pos++;
    return 0;
}

static int lex(struct lode_jsontok *t, struct lode_json_tok *tok, struct lode_err *err)
{
    switch (t->lex) {
    case L_STRING:
        return lex_string(t, tok, err);
    case L_ESCAPE:
        return lex_escape(t, err);
    case L_HEX:
        return lex_hex(t, err);
    case L_NUMBER:
        return lex_number(t, tok, err);
    case L_LITERAL:
        return lex_literal(t, tok, err);
    default:
        return between(t, tok, err);
    }
}

static int at_end(struct lode_jsontok *t, struct lode_json_tok *tok, struct lode_err *err)
{
    if (!t->ended)
        return LODE_JSONTOK_MORE;
    if (t->lex == L_NUMBER)
        return number_done(t, tok, err);
    if (t->lex == L_NONE && t->state == S_NOTHING)
        return LODE_JSONTOK_DONE;
    return bad(t, err, "it ends early");
}

int lode_jsontok_next(struct lode_jsontok *t, struct lode_json_tok *tok, struct lode_err *err)
{
    if (t->failed)
        return lode_err_set(err, t->failed, "%s could not be read further", t->what);
    while (t->pos < t->len) {
        int r = lex(t, tok, err);
        if (r != 0)
            return r;
    }
    return at_end(t, tok, err);
}

int lode_jsontok_skip(struct lode_jsontok *t, const struct lode_json_tok *tok, struct lode_err *err)
{
    struct lode_json_tok next = *tok;
    bool had = t->discard;
    int r = LODE_JSONTOK_TOK;
    t->discard = true;
    if (tok->type == LODE_JSON_KEY)
        r = lode_jsontok_next(t, &next, err);
    unsigned depth = next.depth;
    if (r == LODE_JSONTOK_TOK && (next.type == LODE_JSON_OBJECT || next.type == LODE_JSON_ARRAY)) {
        do {
            r = lode_jsontok_next(t, &next, err);
        } while (r == LODE_JSONTOK_TOK && next.depth > depth);
    }
    t->discard = had;
    return r < 0 ? r : 0;
}
