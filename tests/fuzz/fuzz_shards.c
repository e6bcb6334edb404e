/* A *.safetensors.index.json over two fixed shards: any bytes either describe exactly these shards
 * or are refused. */
#include "fuzz/one_format.h"

static const char header[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}";

struct source {
    const uint8_t *data;
    size_t size;
    uint8_t shards[2][8 + sizeof header];
};

static int read_source(void *arg, unsigned number, uint64_t offset, void *into, size_t len,
                       struct lode_err *err)
{
    const struct source *s = arg;
    const uint8_t *from = number == 0 ? s->data : s->shards[number - 1];
    uint64_t size = number == 0 ? s->size : sizeof s->shards[0];
    must(offset <= size && len <= size - offset);
    memcpy(into, from + offset, len);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct source s = {.data = data, .size = size};
    struct lode_format_input in[] = {{.path = "d/m.safetensors.index.json", .size = size},
                                     {.path = "d/1.safetensors", .size = sizeof s.shards[0]},
                                     {.path = "d/2.safetensors", .size = sizeof s.shards[0]}};
    struct lode_tensor_index *ix = NULL;
    for (int i = 0; i < 2; i++) {
        s.shards[i][0] = sizeof header - 1;
        memcpy(s.shards[i] + 8, header, sizeof header - 1);
        s.shards[i][8 + 2] = (uint8_t)('a' + i);
    }
    if (lode_format_index_files(in, 3, read_source, &s, &ix, NULL) == 0)
        must(lode_index_count(ix) == 2);
    lode_index_unref(ix);
    return 0;
}
