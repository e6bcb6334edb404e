/* The tensor index as JSON: see format/index_json.h. */
#include "format/index_json.h"
#include <string.h>
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/size.h"

/* ---- writing ---- */

/* A key and its number; printf would be half of the time that a large index takes. */
static void add_number(struct lode_buf *out, const char *key, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    lode_buf_adds(out, key);
    lode_buf_add(out, digits + at, sizeof digits - at);
}

static void write_extents(const struct lode_tensor_index *self, size_t i, struct lode_buf *out)
{
    size_t n = lode_index_extents(self, i);
    lode_buf_adds(out, ",\"extents\":[");
    for (size_t k = 0; k < n; k++) {
        struct lode_extent x = lode_index_extent(self, i, k);
        lode_buf_addf(out,
                      "%s{\"codec\":\"%s\",\"file\":%u,\"offset\":%llu,\"stored_len\":%llu,\"raw_"
                      "len\":%llu,\"raw_skip\":%llu}",
                      k ? "," : "", x.codec, x.file, (unsigned long long)x.offset,
                      (unsigned long long)x.stored_len, (unsigned long long)x.raw_len,
                      (unsigned long long)x.raw_skip);
    }
    lode_buf_addc(out, ']');
}

void lode_index_json_tensor(const struct lode_tensor_index *self, size_t i, struct lode_buf *out)
{
    struct lode_tensor t = lode_index_get(self, i);
    lode_buf_adds(out, "{\"name\":");
    lode_json_quote(out, t.name, strlen(t.name));
    lode_buf_adds(out, ",\"dtype\":\"");
    lode_buf_adds(out, lode_dtype_name(t.dtype));
    lode_buf_adds(out, "\",\"shape\":[");
    for (unsigned k = 0; k < t.rank; k++)
        add_number(out, k ? "," : "", t.shape[k]);
    lode_buf_addc(out, ']');
    if (t.direct) {
        add_number(out, ",\"file\":", t.file);
        add_number(out, ",\"offset\":", t.offset);
    }
    add_number(out, ",\"len\":", t.len);
    if (t.fortran_order)
        lode_buf_adds(out, ",\"fortran_order\":true");
    if (!t.direct)
        write_extents(self, i, out);
    lode_buf_addc(out, '}');
}

void lode_index_write_json(const struct lode_tensor_index *self, struct lode_buf *out)
{
    lode_buf_addc(out, '[');
    for (size_t i = 0; i < lode_index_count(self) && !out->failed; i++) {
        if (i)
            lode_buf_addc(out, ',');
        lode_index_json_tensor(self, i, out);
    }
    lode_buf_addc(out, ']');
}

/* ---- reading ---- */

enum {
    F_NAME = 1,
    F_DTYPE = 2,
    F_SHAPE = 4,
    F_FILE = 8,
    F_OFFSET = 16,
    F_LEN = 32,
    F_ORDER = 64,
    F_EXTENTS = 128
};
enum { X_CODEC = 1, X_FILE = 2, X_OFFSET = 4, X_STORED = 8, X_RAW = 16, X_SKIP = 32, X_ALL = 63 };

struct reader {
    struct lode_jsontok *t;
    struct lode_json_tok tok; /* the last */
    const uint64_t *file_sizes;
    size_t n_files;
    struct lode_index_builder *into;
    struct lode_buf name, previous;
    struct lode_tensor tensor;
    uint64_t shape[LODE_TENSOR_RANK_MAX];
    struct lode_extent *extents;
    size_t n_extents, extents_room;
    char (*codecs)[32]; /* of the extents, side by side with them */
    size_t codecs_room;
};

static int next(struct reader *r, struct lode_err *err)
{
    int e = lode_jsontok_next(r->t, &r->tok, err);
    if (e == LODE_JSONTOK_TOK)
        return 0;
    return e < 0 ? e
                 : lode_err_set(err, LODE_INVALID, "%s ends within the tensor index", r->t->what);
}

static int expect(struct reader *r, enum lode_json_type type, const char *what,
                  struct lode_err *err)
{
    int e = next(r, err);
    if (e == 0 && r->tok.type != type)
        e = lode_jsontok_refuse(r->t, &r->tok, err, "the tensor index should have %s here", what);
    return e;
}

static int number(struct reader *r, uint64_t *out, struct lode_err *err)
{
    int e = expect(r, LODE_JSON_U64, "an integer of at least 0", err);
    if (e == 0)
        *out = r->tok.u64;
    return e;
}

static int file_number(struct reader *r, unsigned *out, struct lode_err *err)
{
    uint64_t v;
    int e = number(r, &v, err);
    if (e == 0 && v >= r->n_files)
        e = lode_jsontok_refuse(r->t, &r->tok, err, "the tensor index names file %llu of %zu",
                                (unsigned long long)v, r->n_files);
    if (e == 0)
        *out = (unsigned)v;
    return e;
}

static int within_file(struct reader *r, unsigned file, uint64_t offset, uint64_t len,
                       struct lode_err *err)
{
    uint64_t end;
    if (!r->file_sizes || (lode_add_u64(offset, len, &end) && end <= r->file_sizes[file]))
        return 0;
    return lode_jsontok_refuse(r->t, &r->tok, err, "tensor %s lies beyond the end of file %u",
                               lode_q(lode_buf_str(&r->name)), file);
}

static bool is(const struct lode_json_tok *tok, const char *word)
{
    return tok->len == strlen(word) && memcmp(tok->text, word, tok->len) == 0;
}

static unsigned field_of(const struct lode_json_tok *tok, const char *const *names)
{
    for (unsigned i = 0; names[i]; i++) {
        if (is(tok, names[i]))
            return 1u << i;
    }
    return 0;
}

/* After a key: its bit, once. */
static int field(struct reader *r, const char *const *names, unsigned *seen, unsigned *bit,
                 struct lode_err *err)
{
    *bit = field_of(&r->tok, names);
    if (!*bit || (*seen & *bit))
        return lode_jsontok_refuse(r->t, &r->tok, err,
                                   "the field %s of a tensor is unknown or comes twice",
                                   lode_qn(r->tok.text, r->tok.len));
    *seen |= *bit;
    return 0;
}

static int read_codec(struct reader *r, struct lode_err *err)
{
    int e = expect(r, LODE_JSON_STRING, "a codec's name", err);
    if (e < 0)
        return e;
    if (r->tok.len == 0 || r->tok.len >= sizeof *r->codecs || memchr(r->tok.text, 0, r->tok.len) ||
        !lode_name_ok(r->tok.text, r->tok.len))
        return lode_jsontok_refuse(r->t, &r->tok, err, "the codec's name %s is malformed",
                                   lode_qn(r->tok.text, r->tok.len));
    memcpy(r->codecs[r->n_extents], r->tok.text, r->tok.len);
    r->codecs[r->n_extents][r->tok.len] = 0;
    return 0;
}

static int read_extent_field(struct reader *r, unsigned bit, struct lode_extent *x,
                             struct lode_err *err)
{
    switch (bit) {
    case X_CODEC:
        return read_codec(r, err);
    case X_FILE:
        return file_number(r, &x->file, err);
    case X_OFFSET:
        return number(r, &x->offset, err);
    case X_STORED:
        return number(r, &x->stored_len, err);
    case X_RAW:
        return number(r, &x->raw_len, err);
    default:
        return number(r, &x->raw_skip, err);
    }
}

static int read_extent(struct reader *r, struct lode_err *err)
{
    static const char *const names[] = {"codec",   "file",     "offset", "stored_len",
                                        "raw_len", "raw_skip", NULL};
    struct lode_extent x = {0};
    unsigned seen = 0, bit;
    if (r->tok.type != LODE_JSON_OBJECT)
        return lode_jsontok_refuse(r->t, &r->tok, err, "an extent is no object");
    if (lode_grow((void **)&r->extents, &r->extents_room, r->n_extents + 1, sizeof *r->extents) <
            0 ||
        lode_grow((void **)&r->codecs, &r->codecs_room, r->n_extents + 1, sizeof *r->codecs) < 0)
        return lode_err_nomem(err, "the tensor index");
    int e;
    while ((e = next(r, err)) == 0 && r->tok.type == LODE_JSON_KEY) {
        e = field(r, names, &seen, &bit, err);
        if (e == 0)
            e = read_extent_field(r, bit, &x, err);
        if (e < 0)
            return e;
    }
    if (e == 0 && seen != X_ALL)
        e = lode_jsontok_refuse(r->t, &r->tok, err, "an extent lacks a field");
    if (e == 0)
        e = within_file(r, x.file, x.offset, x.stored_len, err);
    if (e == 0)
        r->extents[r->n_extents++] = x;
    return e;
}

static int read_extents(struct reader *r, struct lode_err *err)
{
    int e = expect(r, LODE_JSON_ARRAY, "an array", err);
    r->n_extents = 0;
    while (e == 0 && (e = next(r, err)) == 0 && r->tok.type != LODE_JSON_ARRAY_END) {
        if (r->n_extents >= LODE_TENSOR_EXTENTS_MAX)
            return lode_err_set(err, LODE_LIMIT, "more than %d extents in one version",
                                LODE_TENSOR_EXTENTS_MAX);
        e = read_extent(r, err);
    }
    return e;
}

static int read_shape(struct reader *r, struct lode_err *err)
{
    int e = expect(r, LODE_JSON_ARRAY, "an array", err);
    while (e == 0 && (e = next(r, err)) == 0 && r->tok.type != LODE_JSON_ARRAY_END) {
        if (r->tok.type != LODE_JSON_U64)
            return lode_jsontok_refuse(r->t, &r->tok, err,
                                       "a dimension is no integer of at least 0");
        if (r->tensor.rank == LODE_TENSOR_RANK_MAX)
            return lode_jsontok_refuse(r->t, &r->tok, err, "a tensor has more than %d dimensions",
                                       LODE_TENSOR_RANK_MAX);
        r->shape[r->tensor.rank++] = r->tok.u64;
    }
    return e;
}

static int read_name(struct reader *r, struct lode_err *err)
{
    int e = expect(r, LODE_JSON_STRING, "a name", err);
    if (e < 0)
        return e;
    lode_buf_clear(&r->name);
    lode_buf_add(&r->name, r->tok.text, r->tok.len);
    return lode_buf_check(&r->name, "a tensor's name", err);
}

static int read_dtype(struct reader *r, struct lode_err *err)
{
    int e = expect(r, LODE_JSON_STRING, "a type's name", err);
    int dtype = e < 0 ? -1 : lode_dtype_of_name(r->tok.text, r->tok.len);
    if (e == 0 && dtype < 0)
        e = lode_jsontok_refuse(r->t, &r->tok, err, "the dtype %s is not known",
                                lode_qn(r->tok.text, r->tok.len));
    r->tensor.dtype = (enum lode_dtype)lode_max(dtype, 0);
    return e;
}

static int read_order(struct reader *r, struct lode_err *err)
{
    int e = expect(r, LODE_JSON_TRUE, "true", err);
    r->tensor.fortran_order = e == 0;
    return e;
}

static int read_field(struct reader *r, unsigned bit, struct lode_err *err)
{
    switch (bit) {
    case F_NAME:
        return read_name(r, err);
    case F_DTYPE:
        return read_dtype(r, err);
    case F_SHAPE:
        return read_shape(r, err);
    case F_FILE:
        return file_number(r, &r->tensor.file, err);
    case F_OFFSET:
        return number(r, &r->tensor.offset, err);
    case F_LEN:
        return number(r, &r->tensor.len, err);
    case F_ORDER:
        return read_order(r, err);
    default:
        return read_extents(r, err);
    }
}

static int add(struct reader *r, bool direct, struct lode_err *err)
{
    const char *name = lode_buf_str(&r->name);
    if (lode_index_builder_count(r->into) && strcmp(lode_buf_str(&r->previous), name) >= 0)
        return lode_jsontok_refuse(r->t, &r->tok, err,
                                   "the tensors are not in the order of their names at %s",
                                   lode_q(name));
    lode_buf_clear(&r->previous);
    lode_buf_add(&r->previous, r->name.data, r->name.len);
    if (r->previous.failed)
        return lode_buf_check(&r->previous, "a tensor's name", err);
    if (!direct) {
        for (size_t i = 0; i < r->n_extents; i++)
            r->extents[i].codec = r->codecs[i];
        return lode_index_add_extents(r->into, name, r->name.len, &r->tensor, r->extents,
                                      r->n_extents, err);
    }
    int e = within_file(r, r->tensor.file, r->tensor.offset, r->tensor.len, err);
    return e < 0 ? e : lode_index_add(r->into, name, r->name.len, &r->tensor, err);
}

static int read_tensor(struct reader *r, struct lode_err *err)
{
    static const char *const names[] = {"name", "dtype",         "shape",   "file", "offset",
                                        "len",  "fortran_order", "extents", NULL};
    unsigned seen = 0, bit;
    int e;
    if (r->tok.type != LODE_JSON_OBJECT)
        return lode_jsontok_refuse(r->t, &r->tok, err, "a tensor is no object");
    r->tensor = (struct lode_tensor){.shape = r->shape};
    while ((e = next(r, err)) == 0 && r->tok.type == LODE_JSON_KEY) {
        e = field(r, names, &seen, &bit, err);
        if (e == 0)
            e = read_field(r, bit, err);
        if (e < 0)
            return e;
    }
    if (e < 0)
        return e;
    seen &= ~(unsigned)F_ORDER;
    unsigned always = F_NAME | F_DTYPE | F_SHAPE | F_LEN;
    if (seen != (always | F_FILE | F_OFFSET) && seen != (always | F_EXTENTS))
        return lode_jsontok_refuse(r->t, &r->tok, err,
                                   "a tensor lacks a field, or has both a place and extents");
    return add(r, !(seen & F_EXTENTS), err);
}

int lode_index_read_json(struct lode_jsontok *t, const struct lode_json_tok *tok,
                         const uint64_t *file_sizes, size_t n_files, struct lode_tensor_index **out,
                         struct lode_err *err)
{
    _cleanup_index_builder_ struct lode_index_builder *into = lode_index_builder_new();
    struct reader r = {.t = t,
                       .tok = *tok,
                       .file_sizes = file_sizes,
                       .n_files = n_files,
                       .into = into,
                       .name = LODE_BUF_INIT(LODE_TENSOR_NAME_MAX),
                       .previous = LODE_BUF_INIT(LODE_TENSOR_NAME_MAX)};
    int e = into ? 0 : lode_err_nomem(err, "the tensor index");
    if (e == 0 && tok->type != LODE_JSON_ARRAY)
        e = lode_jsontok_refuse(t, tok, err, "the tensor index is no array");
    while (e == 0 && (e = next(&r, err)) == 0 && r.tok.type != LODE_JSON_ARRAY_END)
        e = read_tensor(&r, err);
    if (e == 0)
        e = lode_index_builder_finish(into, NULL, 0, out, err);
    lode_buf_release(&r.name);
    lode_buf_release(&r.previous);
    lode_free(r.extents);
    lode_free(r.codecs);
    return e;
}
