/* Digests: published vectors, and one pass over any pieces gives what each digest gives alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "base/digest.h"
#include "base/limits.h"
#include "base/mem.h"

static void sha256_vectors(void **state)
{
    static const char *const rows[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(rows); i++) {
        struct lode_sha256 d;
        char text[LODE_SHA256_HEX];
        assert_int_equal(lode_sha256_of(rows[i][0], strlen(rows[i][0]), &d, NULL), 0);
        assert_string_equal(lode_sha256_text(&d, text), rows[i][1]);
    }
}

static void crc32c_vectors(void **state)
{
    assert_int_equal(lode_crc32c(0, "123456789", 9), 0xe3069283u);
    uint8_t zeros[32] = {0};
    assert_int_equal(lode_crc32c(0, zeros, sizeof zeros), 0x8a9136aau); /* RFC 3720, B.4 */
    assert_int_equal(lode_crc32c(lode_crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
    assert_int_equal(lode_crc32c(0, "", 0), 0);
}

static void xxh128_vectors(void **state)
{
    char text[2 * LODE_XXH128_LEN + 1];
    struct lode_xxh128 empty = lode_xxh128_of("", 0);
    assert_string_equal(lode_hex(empty.b, sizeof empty.b, text),
                        "99aa06d3014798d86001c324468d497f");
}

static void check_pieces(const uint8_t *data, size_t size, size_t piece)
{
    struct lode_hasher *h;
    struct lode_file_digest d;
    struct lode_sha256 whole;
    assert_int_equal(lode_hasher_new(&h, NULL), 0);
    for (size_t at = 0; at < size; at += piece)
        assert_int_equal(lode_hasher_update(h, data + at, lode_min(piece, size - at), NULL), 0);
    assert_int_equal(lode_hasher_final(h, &d, NULL), 0);
    lode_hasher_free(h);
    assert_int_equal(lode_sha256_of(data, size, &whole, NULL), 0);
    assert_memory_equal(d.sha256.b, whole.b, sizeof whole.b);
    assert_int_equal(d.crc32c, lode_crc32c(0, data, size));
    assert_int_equal(d.size, size);
    assert_int_equal(d.n_blocks, (size + LODE_BLOCK_SIZE - 1) / LODE_BLOCK_SIZE);
    for (size_t i = 0; i < d.n_blocks; i++) {
        size_t from = i * LODE_BLOCK_SIZE;
        struct lode_xxh128 block =
            lode_xxh128_of(data + from, lode_min(size - from, (size_t)LODE_BLOCK_SIZE));
        assert_memory_equal(d.blocks[i].b, block.b, sizeof block.b);
    }
    lode_file_digest_release(&d);
}

static void one_pass_equals_each_alone(void **state)
{
    static const size_t sizes[] = {0,
                                   1,
                                   LODE_BLOCK_SIZE - 1,
                                   LODE_BLOCK_SIZE,
                                   LODE_BLOCK_SIZE + 1,
                                   2 * LODE_BLOCK_SIZE,
                                   2 * LODE_BLOCK_SIZE + 77777};
    static const size_t pieces[] = {4096,
                                    65537,
                                    LODE_BLOCK_SIZE - 1,
                                    LODE_BLOCK_SIZE,
                                    LODE_BLOCK_SIZE + 1,
                                    3 * LODE_BLOCK_SIZE};
    uint8_t *data = malloc(3 * LODE_BLOCK_SIZE);
    assert_non_null(data);
    for (size_t i = 0; i < 3 * LODE_BLOCK_SIZE; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t i = 0; i < LODE_ARRAY_LEN(sizes); i++) {
        for (size_t k = 0; k < LODE_ARRAY_LEN(pieces); k++)
            check_pieces(data, sizes[i], pieces[k]);
    }
    free(data);
}

static void digests_are_read_strictly(void **state)
{
    struct lode_sha256 d;
    char text[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015AD";
    assert_true(lode_sha256_parse(text, &d));
    text[10] = 'g';
    assert_false(lode_sha256_parse(text, &d));
    text[10] = '/';
    assert_false(lode_sha256_parse(text, &d));
    assert_false(lode_sha256_parse("", &d));
    assert_false(lode_sha256_parse("../../../../etc/passwd", &d));
    assert_true(lode_digest_equal("abc", "abc", 3));
    assert_false(lode_digest_equal("abc", "abd", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_vectors),
        cmocka_unit_test(crc32c_vectors),
        cmocka_unit_test(xxh128_vectors),
        cmocka_unit_test(one_pass_equals_each_alone),
        cmocka_unit_test(digests_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
