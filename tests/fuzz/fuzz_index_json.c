/* The tensor index as it stands in a manifest: what is accepted is written back and read again to
 * the same text. */
#include "base/limits.h"
#include "format/index_json.h"
#include "fuzz/one_format.h"

static int read_index(const void *data, size_t size, struct lode_tensor_index **out)
{
    static const uint64_t sizes[] = {1000, 1u << 20, UINT64_MAX};
    struct lode_jsontok t;
    struct lode_json_tok tok;
    struct lode_err err;
    lode_jsontok_init(&t, "the manifest", LODE_TENSOR_NAME_MAX);
    lode_jsontok_feed(&t, data, size);
    lode_jsontok_end(&t);
    int r = lode_jsontok_next(&t, &tok, &err);
    if (r == LODE_JSONTOK_TOK)
        r = lode_index_read_json(&t, &tok, sizes, 3, out, &err);
    lode_jsontok_release(&t);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lode_tensor_index *ix = NULL, *again = NULL;
    struct lode_buf one = LODE_BUF_INIT(1 << 24), two = LODE_BUF_INIT(1 << 24);
    if (read_index(data, size, &ix) == 0 && ix) {
        lode_index_write_json(ix, &one);
        must(!one.failed && read_index(one.data, one.len, &again) == 0);
        lode_index_write_json(again, &two);
        must(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    }
    lode_buf_release(&one);
    lode_buf_release(&two);
    lode_index_unref(ix);
    lode_index_unref(again);
    return 0;
}
