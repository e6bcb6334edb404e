/* One safetensors header:
 * {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"__metadata__":{...}}.
 *
 * Tensors go into the index as they come, with their place in the file; the check at the end looks
 * at them in the order of their bytes, so that nothing is kept twice. Fields that the format does
 * not know are skipped, as the reference implementation does.
 */
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "base/size.h"
#include "format/safetensors.h"
#include "format/sort.h"

enum {
    H_START,    /* { of the document */
    H_NAME,     /* a tensor's name, or the end */
    H_ENTRY,    /* { of a tensor */
    H_FIELD,    /* a field's name, or the end of the tensor */
    H_VALUE,    /* a field's value */
    H_ARRAY,    /* inside shape or data_offsets */
    H_SKIP,     /* inside the value of an unknown field */
    H_METADATA, /* { or null behind __metadata__ */
    H_IN_METADATA,
    H_END,
};

enum { F_DTYPE = 1, F_SHAPE = 2, F_OFFSETS = 4, F_UNKNOWN = 8 };

void st_header_init(struct st_header *h, const struct lode_format_file *file,
                    struct lode_index_builder *into, uint64_t data)
{
    *h = (struct st_header){.file = file,
                            .into = into,
                            .data = data,
                            .first = lode_index_builder_count(into),
                            .state = H_START,
                            .name = LODE_BUF_INIT(LODE_TENSOR_NAME_MAX)};
}

void st_header_release(struct st_header *h)
{
    lode_buf_release(&h->name);
}

static const char *quoted_name(const struct st_header *h, char *out, size_t room)
{
    return lode_quote(lode_buf_str(&h->name), h->name.len, out, room);
}
#define TENSOR quoted_name(h, (char[160]){0}, 160)

static int add_tensor(struct st_header *h, const struct lode_jsontok *json,
                      const struct lode_json_tok *tok, struct lode_err *err)
{
    uint64_t from = h->offsets[0], to = h->offsets[1], offset;
    if (h->seen != (F_DTYPE | F_SHAPE | F_OFFSETS))
        return lode_jsontok_refuse(json, tok, err, "tensor %s lacks %s", TENSOR,
                                   !(h->seen & F_DTYPE)   ? "dtype"
                                   : !(h->seen & F_SHAPE) ? "shape"
                                                          : "data_offsets");
    if (to < from || !lode_add_u64(h->data, from, &offset) || to > h->file->size - h->data)
        return lode_jsontok_refuse(
            json, tok, err,
            "tensor %s: data_offsets [%llu, %llu] are not within the %llu bytes of data", TENSOR,
            (unsigned long long)from, (unsigned long long)to,
            (unsigned long long)(h->file->size - h->data));
    struct lode_tensor t = {.dtype = (enum lode_dtype)h->dtype,
                            .rank = h->rank,
                            .shape = h->shape,
                            .file = h->file->number,
                            .offset = offset,
                            .len = to - from};
    int e = lode_index_add(h->into, lode_buf_str(&h->name), h->name.len, &t, err);
    if (e < 0)
        lode_err_prefix(err, "%s, at byte %llu", json->what, (unsigned long long)tok->at);
    h->state = H_NAME;
    return e;
}

static int on_name(struct st_header *h, const struct lode_jsontok *json,
                   const struct lode_json_tok *tok, struct lode_err *err)
{
    static const char metadata[] = "__metadata__";
    if (tok->type == LODE_JSON_OBJECT_END) {
        h->state = H_END;
        return 0;
    }
    if (tok->len == sizeof metadata - 1 && memcmp(tok->text, metadata, tok->len) == 0) {
        if (h->metadata)
            return lode_jsontok_refuse(json, tok, err, "__metadata__ comes twice");
        h->metadata = true;
        h->state = H_METADATA;
        return 0;
    }
    lode_buf_clear(&h->name);
    lode_buf_add(&h->name, tok->text, tok->len);
    h->seen = 0;
    h->rank = 0;
    h->n_offsets = 0;
    h->state = H_ENTRY;
    return lode_buf_check(&h->name, "a tensor's name", err);
}

static bool is(const struct lode_json_tok *tok, const char *word)
{
    return tok->len == strlen(word) && memcmp(tok->text, word, tok->len) == 0;
}

static int on_field(struct st_header *h, const struct lode_jsontok *json,
                    const struct lode_json_tok *tok, struct lode_err *err)
{
    if (tok->type == LODE_JSON_OBJECT_END)
        return add_tensor(h, json, tok, err);
    h->field = is(tok, "dtype")          ? F_DTYPE
               : is(tok, "shape")        ? F_SHAPE
               : is(tok, "data_offsets") ? F_OFFSETS
                                         : F_UNKNOWN;
    if (h->seen & h->field)
        return lode_jsontok_refuse(json, tok, err, "tensor %s: the field %s comes twice", TENSOR,
                                   lode_qn(tok->text, tok->len));
    if (h->field != F_UNKNOWN)
        h->seen |= h->field;
    h->state = H_VALUE;
    return 0;
}

/* The types of the format; C128 and OPAQUE are ours alone. */
static int on_dtype(struct st_header *h, const struct lode_jsontok *json,
                    const struct lode_json_tok *tok, struct lode_err *err)
{
    if (tok->type != LODE_JSON_STRING)
        return lode_jsontok_refuse(json, tok, err, "tensor %s: dtype is no string", TENSOR);
    h->dtype = lode_dtype_of_name(tok->text, tok->len);
    if (h->dtype <= LODE_DTYPE_OPAQUE || h->dtype == LODE_DTYPE_C128)
        return lode_jsontok_refuse(json, tok, err, "tensor %s: the dtype %s is not known", TENSOR,
                                   lode_qn(tok->text, tok->len));
    h->state = H_FIELD;
    return 0;
}

static int on_value(struct st_header *h, const struct lode_jsontok *json,
                    const struct lode_json_tok *tok, struct lode_err *err)
{
    bool container = tok->type == LODE_JSON_OBJECT || tok->type == LODE_JSON_ARRAY;
    switch (h->field) {
    case F_DTYPE:
        return on_dtype(h, json, tok, err);
    case F_UNKNOWN:
        h->state = container ? H_SKIP : H_FIELD;
        return 0;
    default:
        if (tok->type != LODE_JSON_ARRAY)
            return lode_jsontok_refuse(json, tok, err, "tensor %s: %s is no array", TENSOR,
                                       h->field == F_SHAPE ? "shape" : "data_offsets");
        h->state = H_ARRAY;
        return 0;
    }
}

static int on_element(struct st_header *h, const struct lode_jsontok *json,
                      const struct lode_json_tok *tok, struct lode_err *err)
{
    const char *field = h->field == F_SHAPE ? "shape" : "data_offsets";
    if (tok->type == LODE_JSON_ARRAY_END) {
        h->state = H_FIELD;
        if (h->field == F_OFFSETS && h->n_offsets != 2)
            return lode_jsontok_refuse(json, tok, err, "tensor %s: data_offsets are not two",
                                       TENSOR);
        return 0;
    }
    if (tok->type != LODE_JSON_U64)
        return lode_jsontok_refuse(
            json, tok, err, "tensor %s: %s holds something that is no integer from 0 to 2^64-1",
            TENSOR, field);
    if (h->field == F_SHAPE) {
        if (h->rank == LODE_TENSOR_RANK_MAX)
            return lode_jsontok_refuse(json, tok, err, "tensor %s has more than %d dimensions",
                                       TENSOR, LODE_TENSOR_RANK_MAX);
        h->shape[h->rank++] = tok->u64;
    } else {
        if (h->n_offsets == 2)
            return lode_jsontok_refuse(json, tok, err, "tensor %s: data_offsets are not two",
                                       TENSOR);
        h->offsets[h->n_offsets++] = tok->u64;
    }
    return 0;
}

static int on_metadata(struct st_header *h, const struct lode_jsontok *json,
                       const struct lode_json_tok *tok, struct lode_err *err)
{
    bool inside = h->state == H_IN_METADATA;
    if (inside && tok->type == LODE_JSON_OBJECT_END)
        h->state = H_NAME;
    else if (!inside && tok->type == LODE_JSON_NULL)
        h->state = H_NAME;
    else if (!inside && tok->type == LODE_JSON_OBJECT)
        h->state = H_IN_METADATA;
    else if (!inside || (tok->type != LODE_JSON_KEY && tok->type != LODE_JSON_STRING))
        return lode_jsontok_refuse(json, tok, err, "__metadata__ does not map strings to strings");
    return 0;
}

int st_header_token(struct st_header *h, const struct lode_jsontok *json,
                    const struct lode_json_tok *tok, struct lode_err *err)
{
    switch (h->state) {
    case H_START:
        if (tok->type != LODE_JSON_OBJECT || tok->at != 0)
            return lode_jsontok_refuse(json, tok, err, "it does not begin with {");
        h->state = H_NAME;
        return 0;
    case H_NAME:
        return on_name(h, json, tok, err);
    case H_ENTRY:
        if (tok->type != LODE_JSON_OBJECT)
            return lode_jsontok_refuse(json, tok, err, "tensor %s is described by no object",
                                       TENSOR);
        h->state = H_FIELD;
        return 0;
    case H_FIELD:
        return on_field(h, json, tok, err);
    case H_VALUE:
        return on_value(h, json, tok, err);
    case H_ARRAY:
        return on_element(h, json, tok, err);
    case H_SKIP:
        if (tok->depth == 2) /* the mark that closes the value */
            h->state = H_FIELD;
        return 0;
    default:
        return on_metadata(h, json, tok, err);
    }
}

bool st_header_discards(const struct st_header *h)
{
    return h->state == H_IN_METADATA || h->state == H_SKIP ||
           (h->state == H_VALUE && h->field == F_UNKNOWN);
}

/* ---- the bytes as a whole ---- */

/* Empty tensors come before the one that begins where they lie. */
static int by_offset(const void *arg, uint32_t a, uint32_t b)
{
    struct lode_tensor x = lode_index_builder_get(arg, a), y = lode_index_builder_get(arg, b);
    if (x.offset != y.offset)
        return x.offset < y.offset ? -1 : 1;
    return x.len < y.len ? -1 : x.len > y.len;
}

static int refuse_gap(const struct st_header *h, const struct lode_tensor *t, uint64_t expected,
                      struct lode_err *err)
{
    return lode_err_set(
        err, LODE_INVALID,
        "%s: tensor %s begins at byte %llu of the data, but the one before it ends at %llu: %s",
        h->file->path, lode_q(t->name), (unsigned long long)(t->offset - h->data),
        (unsigned long long)(expected - h->data), t->offset < expected ? "they overlap" : "a hole");
}

int st_header_check(const struct st_header *h, struct lode_err *err)
{
    size_t n = lode_index_builder_count(h->into) - h->first;
    uint64_t expected = h->data;
    _cleanup_free_ uint32_t *order = lode_calloc(n, sizeof *order);
    if (!order)
        return lode_err_nomem(err, h->file->path);
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)(h->first + i);
    if (lode_sort_u32(order, n, by_offset, h->into) < 0)
        return lode_err_nomem(err, h->file->path);
    for (size_t i = 0; i < n; i++) {
        struct lode_tensor t = lode_index_builder_get(h->into, order[i]);
        bool off_by_one = LODE_PLANTED(overlap_off_by_one) && t.offset + 1 == expected;
        if (t.offset != expected && !off_by_one)
            return refuse_gap(h, &t, expected, err);
        expected = t.offset + t.len;
    }
    if (expected != h->file->size)
        return lode_err_set(err, LODE_INVALID,
                            "%s: its tensors end at byte %llu, but the file has %llu bytes: it was "
                            "cut short, or something "
                            "was added",
                            h->file->path, (unsigned long long)expected,
                            (unsigned long long)h->file->size);
    return 0;
}
