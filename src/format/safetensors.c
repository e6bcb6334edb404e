/* safetensors: u64 little-endian N, N bytes of JSON, tensor data without holes; and sets of such
 * files with a
 * *.safetensors.index.json.
 *
 * The files are read one after the other: eight bytes, then the header as it streams in. The
 * indexes of sets come last, when all tensors are known. Memory: the tensor index itself, one name,
 * and 4 bytes a tensor while the order is checked.
 */
#include "format/formats.h"
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/plant.h"
#include "format/safetensors.h"

enum phase { P_LENGTH, P_HEADER, P_INDEX };

struct safetensors {
    struct lode_format base;
    const struct lode_format_file *files; /* borrowed */
    size_t n;
    struct lode_index_builder *into; /* borrowed */
    size_t at;                       /* the file at work */
    bool indexes;                    /* the second round: only *.index.json */
    enum phase phase;
    uint8_t length[8];
    size_t length_have;
    uint64_t fed, wanted; /* bytes of the JSON at work */
    bool open;            /* json and header (or shards) are live */
    struct lode_jsontok json;
    char *what;
    struct st_header header;
    struct st_shards shards;
};

static bool ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n > m && strcmp(s + n - m, suffix) == 0;
}

/* model.safetensors.index.json, and with a variant before .json as diffusers writes it */
static bool is_index(const char *path)
{
    return ends(path, ".json") && strstr(path, ".safetensors.index.");
}

static uint64_t le64(const uint8_t *b)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | b[i];
    return v;
}

static enum lode_format_match st_match(const struct lode_format_file *f)
{
    if (ends(f->path, ".safetensors") || is_index(f->path))
        return LODE_FORMAT_BY_NAME;
    if (f->head_len < 10 || f->head[8] != '{')
        return LODE_FORMAT_NO;
    uint64_t n = le64(f->head);
    bool plausible = n >= 2 && n <= LODE_HEADER_MAX && n <= f->size - 8 &&
                     (f->head[9] == '"' || f->head[9] == '}');
    return plausible ? LODE_FORMAT_BY_CONTENT : LODE_FORMAT_NO;
}

static int st_open(const struct lode_format_file *files, size_t n, struct lode_index_builder *into,
                   struct lode_format **out, struct lode_err *err)
{
    struct safetensors *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "the safetensors parser");
    self->files = files;
    self->n = n;
    self->into = into;
    *out = &self->base;
    return 0;
}

static void shut(struct safetensors *self)
{
    if (!self->open)
        return;
    self->open = false;
    lode_jsontok_release(&self->json);
    if (self->phase == P_HEADER)
        st_header_release(&self->header);
    else
        st_shards_release(&self->shards);
    lode_free(self->what);
    self->what = NULL;
}

static void st_close(struct lode_format *base)
{
    struct safetensors *self = lode_container_of(base, struct safetensors, base);
    shut(self);
    lode_free(self);
}

static int start_json(struct safetensors *self, const char *kind, uint64_t wanted,
                      struct lode_err *err)
{
    self->what = lode_asprintf("%s: its %s", self->files[self->at].path, kind);
    if (!self->what)
        return lode_err_nomem(err, "the safetensors parser");
    lode_jsontok_init(&self->json, self->what, LODE_TENSOR_NAME_MAX);
    self->fed = 0;
    self->wanted = wanted;
    return 0;
}

static int start_header(struct safetensors *self, struct lode_err *err)
{
    const struct lode_format_file *f = &self->files[self->at];
    uint64_t n = le64(self->length);
    if (n > LODE_HEADER_MAX && !LODE_PLANTED(header_limit_ignored))
        return lode_err_set(err, LODE_INVALID,
                            "%s: its first 8 bytes claim a header of %llu bytes; the limit is %u",
                            f->path, (unsigned long long)n, LODE_HEADER_MAX);
    if (n > f->size - 8)
        return lode_err_set(err, LODE_INVALID,
                            "%s: its first 8 bytes claim a header of %llu bytes, but the file ends "
                            "after %llu: it was cut "
                            "short, or is no safetensors file",
                            f->path, (unsigned long long)n, (unsigned long long)f->size);
    if (n < 2)
        return lode_err_set(err, LODE_INVALID, "%s: a header of %llu bytes holds no JSON object",
                            f->path, (unsigned long long)n);
    int e = start_json(self, "header", n, err);
    if (e < 0)
        return e;
    st_header_init(&self->header, f, self->into, n + 8);
    self->phase = P_HEADER;
    self->open = true;
    return 0;
}

static int start_index(struct safetensors *self, struct lode_err *err)
{
    const struct lode_format_file *f = &self->files[self->at];
    if (f->size > LODE_HEADER_MAX)
        return lode_err_set(err, LODE_LIMIT, "%s has %llu bytes; the limit of such a file is %u",
                            f->path, (unsigned long long)f->size, LODE_HEADER_MAX);
    if (f->size == 0)
        return lode_err_set(err, LODE_INVALID, "%s is empty", f->path);
    int e = st_shards_init(&self->shards, f, self->files, self->n, self->into, err);
    if (e < 0)
        return e;
    e = start_json(self, "JSON", f->size, err);
    if (e < 0) {
        st_shards_release(&self->shards);
        return e;
    }
    self->phase = P_INDEX;
    self->open = true;
    return 0;
}

/* Tokens of what was fed, until more is wanted or the document is over. */
static int pump(struct safetensors *self, struct lode_err *err)
{
    struct lode_json_tok tok;
    bool header = self->phase == P_HEADER;
    for (;;) {
        self->json.discard =
            header ? st_header_discards(&self->header) : st_shards_discards(&self->shards);
        int r = lode_jsontok_next(&self->json, &tok, err);
        if (r == LODE_JSONTOK_TOK)
            r = header ? st_header_token(&self->header, &self->json, &tok, err)
                       : st_shards_token(&self->shards, &self->json, &tok, err);
        else if (r >= 0)
            return 0;
        if (r < 0)
            return r;
    }
}

/* The JSON at work is complete. */
static int finish_json(struct safetensors *self, struct lode_err *err)
{
    lode_jsontok_end(&self->json);
    int e = pump(self, err);
    if (e == 0)
        e = self->phase == P_HEADER ? st_header_check(&self->header, err)
                                    : st_shards_check(&self->shards, err);
    shut(self);
    self->phase = P_LENGTH;
    self->length_have = 0;
    self->at++;
    return e;
}

/* The next file of this round, or the first of the second; false when all are done. */
static bool next_file(struct safetensors *self)
{
    for (;;) {
        while (self->at < self->n && is_index(self->files[self->at].path) != self->indexes)
            self->at++;
        if (self->at < self->n)
            return true;
        if (self->indexes)
            return false;
        self->indexes = true;
        self->at = 0;
    }
}

static int st_step(struct lode_format *base, struct lode_format_need *need, struct lode_err *err)
{
    struct safetensors *self = lode_container_of(base, struct safetensors, base);
    int e = 0;
    if (self->open && self->fed == self->wanted)
        e = finish_json(self, err);
    if (e < 0)
        return e;
    if (!self->open && !next_file(self))
        return LODE_FORMAT_DONE;
    const struct lode_format_file *f = &self->files[self->at];
    if (!self->open && self->indexes)
        e = start_index(self, err);
    else if (!self->open && f->size < 8)
        e = lode_err_set(err, LODE_INVALID, "%s has %llu bytes: too short for a safetensors file",
                         f->path, (unsigned long long)f->size);
    else if (!self->open && self->length_have == 8)
        e = start_header(self, err);
    if (e < 0)
        return e;
    if (!self->open)
        *need = (struct lode_format_need){f->number, self->length_have, 8 - self->length_have};
    else
        *need = (struct lode_format_need){f->number, self->fed + (self->phase == P_HEADER ? 8 : 0),
                                          self->wanted - self->fed};
    return LODE_FORMAT_NEED;
}

static int st_feed(struct lode_format *base, const void *bytes, size_t len, struct lode_err *err)
{
    struct safetensors *self = lode_container_of(base, struct safetensors, base);
    if (!self->open) {
        len = lode_min(len, sizeof self->length - self->length_have);
        memcpy(self->length + self->length_have, bytes, len);
        self->length_have += len;
        return 0;
    }
    len = (size_t)lode_min((uint64_t)len, self->wanted - self->fed);
    lode_jsontok_feed(&self->json, bytes, len);
    self->fed += len;
    return pump(self, err);
}

const struct lode_format_ops lode_format_safetensors = {
    .abi = LODE_FORMAT_ABI,
    .flags = LODE_FORMAT_SETS,
    .name = "safetensors",
    .match = st_match,
    .open = st_open,
    .step = st_step,
    .feed = st_feed,
    .close = st_close,
};
