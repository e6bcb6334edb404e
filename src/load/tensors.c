/* Tensors one at a time: see load/tensors.h. */
#include "load/tensors.h"
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "codec/codec.h"

static int decode_extent(struct lode_bytes *bytes, const struct lode_extent *e, uint8_t *into,
                         size_t len, struct lode_err *err)
{
    const struct lode_codec_ops *codec = lode_codec_find(e->codec);
    if (!codec)
        return lode_err_set(err, LODE_UNSUPPORTED, "codec %s is not known here", lode_q(e->codec));
    _cleanup_free_ uint8_t *stored = lode_alloc((size_t)e->stored_len);
    _cleanup_free_ uint8_t *raw = e->raw_skip ? lode_alloc((size_t)e->raw_len) : NULL;
    if (!stored || (e->raw_skip && !raw))
        return lode_err_nomem(err, "a compressed tensor");
    int r = lode_bytes_read(bytes, e->file, e->offset, stored, (size_t)e->stored_len, err);
    if (r == 0)
        r = codec->decode(stored, (size_t)e->stored_len, raw ? raw : into, (size_t)e->raw_len, err);
    if (r == 0 && raw)
        memcpy(into, raw + e->raw_skip, len);
    return r;
}

int lode_tensor_decode(struct lode_bytes *bytes, size_t i, void *into, struct lode_err *err)
{
    const struct lode_tensor_index *index = bytes->manifest->tensors;
    struct lode_tensor t = lode_index_get(index, i);
    uint8_t *to = into;
    int r = 0;
    for (size_t k = 0; r == 0 && k < lode_index_extents(index, i); k++) {
        struct lode_extent e = lode_index_extent(index, i, k);
        size_t len = (size_t)(e.raw_len - e.raw_skip);
        if (strcmp(e.codec, "raw") == 0)
            r = lode_bytes_read(bytes, e.file, e.offset + e.raw_skip, to, len, err);
        else
            r = decode_extent(bytes, &e, to, len, err);
        to += len;
    }
    return r < 0 ? lode_err_prefix(err, "tensor %s", lode_q(t.name)) : 0;
}

struct lode_tensor_reader {
    struct lode_bytes bytes;
    size_t decoded; /* which tensor `room` holds; SIZE_MAX: none */
    uint8_t *room;
};

int lode_tensor_reader_new(struct lode_store *store, const char *prefix,
                           const struct lode_manifest *manifest, struct lode_tensor_reader **out,
                           struct lode_err *err)
{
    struct lode_tensor_reader *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "a reader");
    self->decoded = SIZE_MAX;
    self->bytes =
        (struct lode_bytes){.manifest = manifest, .verify = true, .store = store, .prefix = prefix};
    int r = lode_bytes_init(&self->bytes, err);
    if (r < 0)
        lode_tensor_reader_free(self);
    else
        *out = self;
    return r;
}

int lode_tensor_read(struct lode_tensor_reader *self, size_t i, uint64_t at, void *into, size_t len,
                     struct lode_err *err)
{
    struct lode_tensor t = lode_index_get(self->bytes.manifest->tensors, i);
    if (t.direct)
        return lode_bytes_read(&self->bytes, t.file, t.offset + at, into, len, err);
    if (self->decoded != i) {
        self->decoded = SIZE_MAX;
        lode_free(self->room);
        if (!(self->room = lode_alloc((size_t)t.len)))
            return lode_err_nomem(err, "a tensor");
        int r = lode_tensor_decode(&self->bytes, i, self->room, err);
        if (r < 0)
            return r;
        self->decoded = i;
    }
    memcpy(into, self->room + at, len);
    return 0;
}

void lode_tensor_reader_free(struct lode_tensor_reader *self)
{
    if (!self)
        return;
    lode_bytes_release(&self->bytes);
    lode_free(self->room);
    lode_free(self);
}
