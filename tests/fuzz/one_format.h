/* Drives one format's parser over bytes in memory, fed in pieces of a size that the input chooses,
 * and checks what every index promises. */
#pragma once
#include <string.h>
#include "base/attr.h"
#include "format/format.h"
#include "fuzz/fuzz.h"

/* Tensors lie in the file, in name order, and their sizes add up. */
static inline void check_index(const struct lode_tensor_index *ix, uint64_t size)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < lode_index_count(ix); i++) {
        struct lode_tensor t = lode_index_get(ix, i), found;
        uint64_t sum = 0, elements;
        must(i == 0 || strcmp(lode_index_get(ix, i - 1).name, t.name) < 0);
        must(lode_index_find(ix, t.name, NULL, &found) && found.offset == t.offset);
        must(lode_shape_elements(t.shape, t.rank, &elements));
        must(t.dtype == LODE_DTYPE_OPAQUE || elements * lode_dtype_bits(t.dtype) / 8 == t.len);
        for (size_t k = 0; k < lode_index_extents(ix, i); k++) {
            struct lode_extent x = lode_index_extent(ix, i, k);
            must(x.offset <= size && x.stored_len <= size - x.offset);
            sum += x.raw_len - x.raw_skip;
        }
        must(sum == t.len);
        bytes += t.len;
    }
    must(bytes == lode_index_bytes(ix));
}

static inline int drive_format(struct lode_format *parser, const uint8_t *data, size_t size,
                               size_t piece)
{
    struct lode_format_need need;
    struct lode_err err;
    int r;
    for (int steps = 0; (r = parser->ops->step(parser, &need, &err)) == LODE_FORMAT_NEED; steps++) {
        must(steps < 100000);
        must(need.file == 0 && need.length > 0 && need.offset <= size &&
             need.length <= size - need.offset);
        for (uint64_t done = 0; done < need.length;) {
            size_t n = (size_t)lode_min(need.length - done, (uint64_t)piece);
            r = parser->ops->feed(parser, data + need.offset + done, n, &err);
            if (r < 0)
                return r;
            done += n;
        }
    }
    return r;
}

static inline void fuzz_format(const struct lode_format_ops *ops, const char *path,
                               const uint8_t *data, size_t size)
{
    struct lode_format_file file = {.path = path, .size = size};
    struct lode_index_builder *b = lode_index_builder_new();
    struct lode_tensor_index *ix = NULL;
    struct lode_format *parser = NULL;
    size_t piece = size ? (size_t)1 + data[size - 1] % 16 * 61 : 1;
    must(b && ops->open(&file, 1, b, &parser, NULL) == 0);
    parser->ops = ops;
    int r = drive_format(parser, data, size, piece);
    ops->close(parser);
    if (r == LODE_FORMAT_DONE && lode_index_builder_finish(b, &path, 1, &ix, NULL) == 0)
        check_index(ix, size);
    lode_index_unref(ix);
    lode_index_builder_free(b);
}
