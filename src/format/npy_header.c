/* The header of an .npy: see format/npy_header.h.
 *
 *     \x93NUMPY major minor length {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
 * spaces \n
 *
 * A cursor walks over the literal; only what NumPy itself writes is understood: strings without
 * escapes, True, False, decimal integers and tuples of them. Each of the three keys must come once,
 * and nothing else.
 */
#include "format/npy_header.h"
#include <string.h>
#include "base/name.h"
#include "base/size.h"
#include "format/index.h"

struct cursor {
    const char *s;
    size_t len, at;
    const char *what;
    const char *descr; /* the type's text, once seen */
    size_t descr_len;
};

enum { K_DESCR = 1, K_ORDER = 2, K_SHAPE = 4, K_ALL = 7 };

bool npy_is_magic(const uint8_t *b, size_t n)
{
    return n >= 6 && memcmp(b, "\x93NUMPY", 6) == 0;
}

int npy_prelude(const uint8_t *b, size_t n, const char *what, size_t *total, struct lode_err *err)
{
    if (!npy_is_magic(b, n))
        return lode_err_set(err, LODE_INVALID, "%s does not begin as an npy file does", what);
    if (n < 10 || (b[6] != 1 && n < 12))
        return lode_err_set(err, LODE_INVALID, "%s ends within its npy header", what);
    if (b[6] < 1 || b[6] > 3 || b[7] != 0)
        return lode_err_set(err, LODE_INVALID,
                            "%s is of npy version %d.%d; 1.0, 2.0 and 3.0 are known", what, b[6],
                            b[7]);
    uint32_t len = (uint32_t)b[8] | (uint32_t)b[9] << 8;
    if (b[6] > 1)
        len |= (uint32_t)b[10] << 16 | (uint32_t)b[11] << 24;
    if (len > LODE_NPY_HEADER_MAX)
        return lode_err_set(err, LODE_LIMIT, "%s claims an npy header of %u bytes; the limit is %u",
                            what, len, LODE_NPY_HEADER_MAX);
    *total = (size_t)len + (b[6] == 1 ? 10 : 12);
    return 0;
}

/* ---- the literal ---- */

static int refuse(const struct cursor *c, struct lode_err *err, const char *why)
{
    return lode_err_set(err, LODE_INVALID,
                        "%s: its npy header is malformed at byte %zu of the dictionary: %s",
                        c->what, c->at, why);
}

static void blanks(struct cursor *c)
{
    while (c->at < c->len && strchr(" \t\n\r", c->s[c->at]) && c->s[c->at])
        c->at++;
}

static bool take(struct cursor *c, char mark)
{
    blanks(c);
    if (c->at >= c->len || c->s[c->at] != mark)
        return false;
    c->at++;
    return true;
}

static bool take_word(struct cursor *c, const char *word)
{
    size_t n = strlen(word);
    blanks(c);
    if (c->len - c->at < n || memcmp(c->s + c->at, word, n) != 0)
        return false;
    c->at += n;
    return true;
}

/* 'text' or "text" without escapes. */
static int take_text(struct cursor *c, const char **out, size_t *len, struct lode_err *err)
{
    blanks(c);
    char quote = c->at < c->len ? c->s[c->at] : 0;
    if (quote != '\'' && quote != '"')
        return refuse(c, err, "no string");
    size_t from = ++c->at;
    while (c->at < c->len && c->s[c->at] != quote) {
        if (c->s[c->at] == '\\' || c->s[c->at] == '\n')
            return refuse(c, err, "an escape in a string");
        c->at++;
    }
    if (c->at == c->len)
        return refuse(c, err, "a string without end");
    *out = c->s + from;
    *len = c->at++ - from;
    return 0;
}

/* Decimal, with the L of Python 2. */
static int take_number(struct cursor *c, uint64_t *out, struct lode_err *err)
{
    uint64_t v = 0;
    blanks(c);
    size_t from = c->at;
    for (; c->at < c->len && c->s[c->at] >= '0' && c->s[c->at] <= '9'; c->at++) {
        if (!lode_mul_u64(v, 10, &v) || !lode_add_u64(v, (uint64_t)(c->s[c->at] - '0'), &v))
            return refuse(c, err, "a dimension that 64 bits cannot hold");
    }
    if (c->at == from)
        return refuse(c, err, "no dimension");
    if (c->at < c->len && c->s[c->at] == 'L')
        c->at++;
    *out = v;
    return 0;
}

/* (), (3,), (3, 4): a single number needs its comma, or it is no tuple. */
static int take_shape(struct cursor *c, struct npy_header *h, struct lode_err *err)
{
    bool comma = true;
    h->rank = 0;
    if (!take(c, '('))
        return refuse(c, err, "the shape is no tuple");
    while (!take(c, ')')) {
        if (!comma)
            return refuse(c, err, "no comma in the shape");
        if (h->rank == LODE_TENSOR_RANK_MAX)
            return lode_err_set(err, LODE_LIMIT, "%s has more than %d dimensions", c->what,
                                LODE_TENSOR_RANK_MAX);
        int e = take_number(c, &h->shape[h->rank++], err);
        if (e < 0)
            return e;
        comma = take(c, ',');
    }
    return h->rank == 1 && !comma ? refuse(c, err, "the shape is no tuple") : 0;
}

/* ---- types ---- */

struct numpy_type {
    const char *code;
    enum lode_dtype dtype;
};

static const struct numpy_type types[] = {
    {"b1", LODE_DTYPE_BOOL}, {"i1", LODE_DTYPE_I8},    {"i2", LODE_DTYPE_I16},
    {"i4", LODE_DTYPE_I32},  {"i8", LODE_DTYPE_I64},   {"u1", LODE_DTYPE_U8},
    {"u2", LODE_DTYPE_U16},  {"u4", LODE_DTYPE_U32},   {"u8", LODE_DTYPE_U64},
    {"f2", LODE_DTYPE_F16},  {"f4", LODE_DTYPE_F32},   {"f8", LODE_DTYPE_F64},
    {"c8", LODE_DTYPE_C64},  {"c16", LODE_DTYPE_C128},
};

static int refuse_objects(const char *what, struct lode_err *err)
{
    return lode_err_set(err, LODE_INVALID,
                        "%s is an array of Python objects: reading it would run a pickle, so it is "
                        "refused; save it with "
                        "a plain type, or store it under a name that does not end in .npy or .npz",
                        what);
}

/* '<f4': byte order, kind, bytes. OPAQUE for what no tensor can be, which is told once all else is
 * checked. */
static enum lode_dtype type_of(const char *descr, size_t len)
{
    char order = len ? descr[0] : 0;
    bool ordered = order == '<' || order == '>' || order == '|' || order == '=';
    for (size_t i = 0; i < LODE_ARRAY_LEN(types); i++) {
        if (strlen(types[i].code) != len - ordered ||
            memcmp(types[i].code, descr + ordered, len - ordered) != 0)
            continue;
        bool foreign = order == '>' && lode_dtype_bits(types[i].dtype) > 8;
        return foreign ? LODE_DTYPE_OPAQUE : types[i].dtype;
    }
    return LODE_DTYPE_OPAQUE;
}

static bool is_object(const char *descr, size_t len)
{
    return len && (descr[0] == 'O' || (len > 1 && strchr("<>|=", descr[0]) && descr[1] == 'O'));
}

static int take_descr(struct cursor *c, struct npy_header *h, struct lode_err *err)
{
    blanks(c);
    if (c->at < c->len && (c->s[c->at] == '[' || c->s[c->at] == '(')) {
        if (memmem(c->s, c->len, "|O", 2))
            return refuse_objects(c->what, err);
        return lode_err_set(err, LODE_UNSUPPORTED, "%s is an array of records, not of numbers",
                            c->what);
    }
    int e = take_text(c, &c->descr, &c->descr_len, err);
    if (e == 0 && is_object(c->descr, c->descr_len))
        e = refuse_objects(c->what, err);
    if (e == 0)
        h->dtype = type_of(c->descr, c->descr_len);
    return e;
}

static int take_order(struct cursor *c, struct npy_header *h, struct lode_err *err)
{
    h->fortran_order = take_word(c, "True");
    if (!h->fortran_order && !take_word(c, "False"))
        return refuse(c, err, "fortran_order is neither True nor False");
    return 0;
}

/* ---- the dictionary ---- */

static int take_member(struct cursor *c, struct npy_header *h, unsigned *seen, struct lode_err *err)
{
    const char *key;
    size_t len;
    unsigned bit;
    int e = take_text(c, &key, &len, err);
    if (e < 0)
        return e;
    if (len == 5 && memcmp(key, "descr", 5) == 0)
        bit = K_DESCR;
    else if (len == 13 && memcmp(key, "fortran_order", 13) == 0)
        bit = K_ORDER;
    else if (len == 5 && memcmp(key, "shape", 5) == 0)
        bit = K_SHAPE;
    else
        return refuse(c, err, "an unknown key");
    if (*seen & bit)
        return refuse(c, err, "a key that comes twice");
    *seen |= bit;
    if (!take(c, ':'))
        return refuse(c, err, "no colon");
    return bit == K_DESCR   ? take_descr(c, h, err)
           : bit == K_ORDER ? take_order(c, h, err)
                            : take_shape(c, h, err);
}

static int take_dictionary(struct cursor *c, struct npy_header *h, struct lode_err *err)
{
    unsigned seen = 0;
    bool comma = true;
    if (!take(c, '{'))
        return refuse(c, err, "no dictionary");
    while (!take(c, '}')) {
        if (!comma)
            return refuse(c, err, "no comma between the keys");
        int e = take_member(c, h, &seen, err);
        if (e < 0)
            return e;
        comma = take(c, ',');
    }
    if (seen != K_ALL)
        return refuse(c, err, "descr, fortran_order or shape is missing");
    blanks(c);
    return c->at < c->len ? refuse(c, err, "something behind it") : 0;
}

int npy_parse(const uint8_t *b, size_t total, const char *what, struct npy_header *out,
              struct lode_err *err)
{
    size_t prelude = b[6] == 1 ? 10 : 12;
    struct cursor c = {.s = (const char *)b + prelude, .len = total - prelude, .what = what};
    struct npy_header h = {.total = total};
    uint64_t elements;
    int e = take_dictionary(&c, &h, err);
    if (e < 0)
        return e;
    if (h.dtype == LODE_DTYPE_OPAQUE)
        return lode_err_set(err, LODE_UNSUPPORTED,
                            "%s: the NumPy type %s is no plain little-endian number", what,
                            lode_qn(c.descr, c.descr_len));
    if (!lode_shape_elements(h.shape, h.rank, &elements) ||
        !lode_mul_u64(elements, lode_dtype_bits(h.dtype) / 8, &h.len))
        return lode_err_set(err, LODE_INVALID,
                            "%s: its shape has more bytes than 64 bits can count", what);
    *out = h;
    return 0;
}
