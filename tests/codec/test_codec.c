/* Codecs: what is decoded is exactly as long as it should be, or CORRUPT; plug-ins' codecs join the
 * table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>
#include "base/attr.h"
#include "codec/codec.h"

static size_t pack(const void *data, size_t len, void *out, size_t room)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data,
                  .avail_in = (unsigned)len,
                  .next_out = out,
                  .avail_out = (unsigned)room};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static void deflate_exact(void **state)
{
    const struct lode_codec_ops *c = lode_codec_find("deflate");
    uint8_t raw[1000], packed[2000], out[1001];
    for (size_t len = 0; len <= sizeof raw; len = len * 2 + 1) {
        for (size_t i = 0; i < len; i++)
            raw[i] = (uint8_t)(i * i >> 3);
        size_t n = pack(raw, len, packed, sizeof packed);
        memset(out, 0xaa, sizeof out);
        assert_int_equal(c->decode(packed, n, out, len, NULL), 0);
        assert_memory_equal(out, raw, len);
        assert_int_equal(out[len], 0xaa);
        struct lode_err err = {0};
        assert_int_equal(c->decode(packed, n, out, len + 1, &err), LODE_CORRUPT);
        assert_true(err.text[0]);
        if (len)
            assert_int_equal(c->decode(packed, n, out, len - 1, NULL), LODE_CORRUPT);
        packed[n] = 0;
        assert_int_equal(c->decode(packed, n + 1, out, len, NULL),
                         LODE_CORRUPT); /* something behind */
        for (size_t cut = 0; cut < n; cut++)
            assert_int_equal(c->decode(packed, cut, out, len, NULL), LODE_CORRUPT);
    }
    assert_int_equal(c->decode("\xff\xff\xff", 3, out, 10, NULL), LODE_CORRUPT);
    size_t stored;
    assert_int_equal(c->encode(raw, 10, out, sizeof out, &stored, NULL), LODE_UNSUPPORTED);
}

static void raw_exact(void **state)
{
    const struct lode_codec_ops *c = lode_codec_find("raw");
    char out[8];
    size_t n = 0;
    assert_int_equal(c->bound(7), 7);
    assert_int_equal(c->encode("1234567", 7, out, sizeof out, &n, NULL), 0);
    assert_int_equal(n, 7);
    assert_int_equal(c->encode("1234567", 7, out, 6, &n, NULL), LODE_INVALID);
    assert_int_equal(c->decode("1234567", 7, out, 7, NULL), 0);
    assert_memory_equal(out, "1234567", 7);
    assert_int_equal(c->decode("1234567", 7, out, 8, NULL), LODE_CORRUPT);
    assert_int_equal(c->decode(NULL, 0, NULL, 0, NULL), 0);
}

static void plugged_in(void **state)
{
    static struct lode_codec_ops mine;
    assert_null(lode_codec_find("mine"));
    mine = *lode_codec_find("raw");
    assert_int_equal(lode_codec_register(&mine, NULL), LODE_EXISTS);
    mine.name = "mine";
    mine.abi++;
    assert_int_equal(lode_codec_register(&mine, NULL), LODE_INVALID);
    mine.abi--;
    mine.name = "a name that is longer than allowed";
    assert_int_equal(lode_codec_register(&mine, NULL), LODE_INVALID);
    mine.name = "mine";
    assert_int_equal(lode_codec_register(&mine, NULL), 0);
    assert_ptr_equal(lode_codec_find("mine"), &mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(deflate_exact), cmocka_unit_test(raw_exact),
                                       cmocka_unit_test(plugged_in)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
