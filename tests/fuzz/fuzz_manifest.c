/* Manifests: as whole files, and as a head that gets a right preamble and table (the first byte
 * says how many blocks), so that the fuzzer is not stopped by lengths. What is accepted is written
 * and read again to the same bytes. */
#include <string.h>
#include "fuzz/fuzz.h"
#include "model/manifest.h"

static void parse(const uint8_t *bytes, size_t len)
{
    struct lode_manifest *m = NULL, *again = NULL;
    struct lode_buf one = LODE_BUF_INIT(1 << 24), two = LODE_BUF_INIT(1 << 24);
    struct lode_err err;
    if (lode_manifest_parse(bytes, len, "rank@v1", &m, &err) == 0) {
        must(lode_manifest_write(m, &one, &err) == 0);
        must(lode_manifest_parse(one.data, one.len, "rank@v1", &again, &err) == 0);
        must(lode_manifest_write(again, &two, &err) == 0);
        must(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
    }
    lode_manifest_free(m);
    lode_manifest_free(again);
    lode_buf_release(&one);
    lode_buf_release(&two);
}

static void put(struct lode_buf *b, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        lode_buf_addc(b, (char)(v >> (8 * i)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(data, size);
    if (size < 2)
        return 0;
    static const char table[64 * 16];
    size_t blocks = data[0] % 64;
    struct lode_buf b = LODE_BUF_INIT(1 << 24);
    lode_buf_add(&b, "LODEMF\r\n", 8);
    put(&b, LODE_MANIFEST_SCHEMA, 4);
    put(&b, 0, 4);
    put(&b, size - 1, 8);
    put(&b, blocks * 16, 8);
    lode_buf_add(&b, data + 1, size - 1);
    lode_buf_add(&b, table, blocks * 16);
    parse((const uint8_t *)b.data, b.len);
    lode_buf_release(&b);
    return 0;
}
