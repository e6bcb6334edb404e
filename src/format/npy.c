/* npy: one array a file. The tensor is called as the file is, without ".npy". */
#include "format/formats.h"
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"
#include "format/index.h"
#include "format/npy_header.h"

struct npy {
    struct lode_format base;
    const struct lode_format_file *file; /* borrowed */
    struct lode_index_builder *into;     /* borrowed */
    struct lode_buf bytes;               /* prelude and header so far */
    size_t total;                        /* of both; 0 until the prelude is there */
    bool done;
};

static bool named_npy(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".npy") == 0;
}

static enum lode_format_match npy_match(const struct lode_format_file *f)
{
    if (named_npy(f->path))
        return LODE_FORMAT_BY_NAME;
    return npy_is_magic(f->head, f->head_len) ? LODE_FORMAT_BY_CONTENT : LODE_FORMAT_NO;
}

static int npy_open(const struct lode_format_file *files, size_t n, struct lode_index_builder *into,
                    struct lode_format **out, struct lode_err *err)
{
    struct npy *self = n == 1 ? lode_zalloc(sizeof *self) : NULL;
    if (!self)
        return lode_err_nomem(err, "the npy parser");
    self->file = files;
    self->into = into;
    self->bytes = LODE_BUF_INIT(LODE_NPY_HEADER_MAX + NPY_PRELUDE_MAX);
    *out = &self->base;
    return 0;
}

static void npy_close(struct lode_format *base)
{
    struct npy *self = lode_container_of(base, struct npy, base);
    lode_buf_release(&self->bytes);
    lode_free(self);
}

static int add(struct npy *self, struct lode_err *err)
{
    const struct lode_format_file *f = self->file;
    struct npy_header h;
    int e = npy_parse((const uint8_t *)self->bytes.data, self->total, f->path, &h, err);
    if (e < 0)
        return e;
    uint64_t rest = f->size - h.total;
    if (h.len > rest)
        return lode_err_set(
            err, LODE_INVALID,
            "%s: its array takes %llu bytes, but the file has only %llu: it was cut short", f->path,
            (unsigned long long)h.len, (unsigned long long)rest);
    if (h.len < rest)
        return lode_err_set(
            err, LODE_UNSUPPORTED,
            "%s: %llu bytes follow its array; only files with one array are indexed", f->path,
            (unsigned long long)(rest - h.len));
    struct lode_tensor t = {.dtype = h.dtype,
                            .rank = h.rank,
                            .shape = h.shape,
                            .file = f->number,
                            .offset = h.total,
                            .len = h.len,
                            .fortran_order = h.fortran_order};
    e = lode_index_add(self->into, f->path, strlen(f->path) - (named_npy(f->path) ? 4 : 0), &t,
                       err);
    if (e < 0)
        lode_err_prefix(err, "%s", f->path);
    return e;
}

static int npy_step(struct lode_format *base, struct lode_format_need *need, struct lode_err *err)
{
    struct npy *self = lode_container_of(base, struct npy, base);
    const struct lode_format_file *f = self->file;
    uint64_t prelude = lode_min(f->size, (uint64_t)NPY_PRELUDE_MAX);
    int e = 0;
    if (self->done)
        return LODE_FORMAT_DONE;
    if (f->size == 0)
        return lode_err_set(err, LODE_INVALID, "%s is empty: no npy file", f->path);
    if (!self->total && self->bytes.len >= prelude)
        e = npy_prelude((const uint8_t *)self->bytes.data, self->bytes.len, f->path, &self->total,
                        err);
    if (e == 0 && self->total > f->size)
        e = lode_err_set(err, LODE_INVALID,
                         "%s: its npy header takes %zu bytes, but the file has only %llu", f->path,
                         self->total, (unsigned long long)f->size);
    if (e < 0)
        return e;
    uint64_t want = self->total ? self->total : prelude;
    if (self->bytes.len < want) {
        *need = (struct lode_format_need){f->number, self->bytes.len, want - self->bytes.len};
        return LODE_FORMAT_NEED;
    }
    self->done = true;
    e = add(self, err);
    return e < 0 ? e : LODE_FORMAT_DONE;
}

static int npy_feed(struct lode_format *base, const void *bytes, size_t len, struct lode_err *err)
{
    struct npy *self = lode_container_of(base, struct npy, base);
    lode_buf_add(&self->bytes, bytes, len);
    return lode_buf_check(&self->bytes, self->file->path, err);
}

const struct lode_format_ops lode_format_npy = {
    .abi = LODE_FORMAT_ABI,
    .name = "npy",
    .match = npy_match,
    .open = npy_open,
    .step = npy_step,
    .feed = npy_feed,
    .close = npy_close,
};
