/* The manifest's bytes: a golden file, every truncation and every flipped byte, files put in order
 * with their tensors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/sys.h"
#include "model/manifest.h"

#define GOLDEN "tests/model/golden/manifest-1"

static struct lode_manifest_file make_file(const char *path, uint64_t size, const char *format)
{
    struct lode_manifest_file f = {
        .path = lode_strdup(path), .size = size, .mode = 0644, .format = lode_strdup(format)};
    f.n_blocks = (size_t)(size / LODE_BLOCK_SIZE + (size % LODE_BLOCK_SIZE != 0));
    f.blocks = lode_calloc(f.n_blocks, sizeof *f.blocks);
    for (size_t i = 0; i < f.n_blocks; i++)
        memset(f.blocks[i].b, (int)i + 1, LODE_XXH128_LEN);
    memset(f.sha256.b, 0xab, sizeof f.sha256.b);
    f.crc32c = 0x01020304;
    return f;
}

/* Files out of order: b holds the tensors. */
static struct lode_manifest *make(void)
{
    struct lode_manifest *m = lode_zalloc(sizeof *m);
    m->ns = lode_strdup("search");
    m->name = lode_strdup("rank");
    m->version = lode_strdup("v1");
    m->created_ms = 1795253400123;
    m->block_size = LODE_BLOCK_SIZE;
    m->n_files = 3;
    m->files = lode_calloc(3, sizeof *m->files);
    m->files[0] = make_file("b.safetensors", 2 * LODE_BLOCK_SIZE + 1, "safetensors");
    m->files[1] = make_file("a/empty", 0, "opaque");
    m->files[2] = make_file("a.npy", 136, "npy");
    struct lode_index_builder *b = lode_index_builder_new();
    uint64_t shape[] = {2, 3};
    struct lode_tensor w = {
        .dtype = LODE_DTYPE_F32, .rank = 2, .shape = shape, .file = 0, .offset = 8, .len = 24};
    struct lode_tensor a = {
        .dtype = LODE_DTYPE_F32, .rank = 2, .shape = shape, .file = 2, .offset = 80, .len = 24};
    assert_int_equal(lode_index_add(b, "w", 1, &w, NULL), 0);
    assert_int_equal(lode_index_add(b, "a", 1, &a, NULL), 0);
    assert_int_equal(lode_index_builder_finish(b, NULL, 0, &m->tensors, NULL), 0);
    lode_index_builder_free(b);
    assert_int_equal(lode_manifest_sort(m, NULL), 0);
    return m;
}

static char *golden(size_t *len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/" GOLDEN, getenv("LODE_SOURCE") ? getenv("LODE_SOURCE") : ".");
    char *bytes = lode_read_file(AT_FDCWD, path, 1 << 20, len);
    if (!bytes)
        fail_msg("cannot read %s", path);
    return bytes;
}

static void same_bytes(void **state)
{
    _cleanup_manifest_ struct lode_manifest *m = make();
    _cleanup_buf_ struct lode_buf out = LODE_BUF_INIT(1 << 20);
    assert_int_equal(lode_manifest_write(m, &out, NULL), 0);
    size_t len;
    _cleanup_free_ char *want = golden(&len);
    assert_int_equal(out.len, len);
    assert_memory_equal(out.data, want, len);
}

static void read_golden(void **state)
{
    size_t len;
    struct lode_tensor t;
    _cleanup_free_ char *bytes = golden(&len);
    _cleanup_manifest_ struct lode_manifest *m = NULL;
    struct lode_err err = {0};
    if (lode_manifest_parse(bytes, len, "rank@v1", &m, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(m->version, "v1");
    assert_true(m->created_ms == 1795253400123);
    assert_string_equal(m->files[0].path, "a.npy");
    assert_int_equal(m->files[2].n_blocks, 3);
    assert_int_equal(m->files[2].blocks[2].b[0], 3);
    assert_int_equal(m->files[2].crc32c, 0x01020304);
    assert_true(lode_index_find(m->tensors, "w", NULL, &t));
    assert_int_equal(t.file, 2);
    assert_true(lode_index_find(m->tensors, "a", NULL, &t));
    assert_int_equal(t.file, 0);
    assert_ptr_equal(lode_manifest_find(m, "a/empty"), &m->files[1]);
    assert_null(lode_manifest_find(m, "a"));
    assert_true(lode_manifest_bytes(m) == 2 * LODE_BLOCK_SIZE + 1 + 136);
    _cleanup_free_ char *formats = lode_manifest_formats(m);
    assert_string_equal(formats, "npy+safetensors");
}

static int try_parse(const char *bytes, size_t len)
{
    _cleanup_manifest_ struct lode_manifest *m = NULL;
    return lode_manifest_parse(bytes, len, "x", &m, NULL);
}

static void truncated(void **state)
{
    size_t len;
    _cleanup_free_ char *bytes = golden(&len);
    for (size_t n = 0; n < len; n++)
        assert_int_equal(try_parse(bytes, n), LODE_CORRUPT);
}

/* A flipped bit may leave a manifest that means something else (its digest is for that), but never
 * breaks the reader. */
static void flipped(void **state)
{
    size_t len;
    _cleanup_free_ char *bytes = golden(&len);
    for (size_t i = 0; i < len * 8; i++) {
        bytes[i / 8] = (char)(bytes[i / 8] ^ (1 << i % 8));
        int r = try_parse(bytes, len);
        assert_true(r == 0 || r == LODE_CORRUPT || r == LODE_SCHEMA);
        if (i / 8 < 32)
            assert_true(r < 0);
        bytes[i / 8] = (char)(bytes[i / 8] ^ (1 << i % 8));
    }
    bytes[8] = 2;
    assert_int_equal(try_parse(bytes, len), LODE_SCHEMA);
}

/* A manifest around this head, with a table of `sums` block sums. */
static int parse_head(const char *head, size_t sums)
{
    size_t n = strlen(head), len = 32 + n + sums * 16;
    _cleanup_free_ char *b = lode_zalloc(len);
    memcpy(b, "LODEMF\r\n", 8);
    b[8] = 1;
    for (unsigned i = 0; i < 8; i++) {
        b[16 + i] = (char)((uint64_t)n >> (8 * i));
        b[24 + i] = (char)((uint64_t)(sums * 16) >> (8 * i));
    }
    memcpy(b + 32, head, n);
    return try_parse(b, len);
}

#define H(files, rest)                                                                             \
    "{\"schema\":1,\"ns\":\"_\",\"name\":\"n\",\"version\":\"v\",\"created\":\"2026-11-21T09:30:"  \
    "00Z\","                                                                                       \
    "\"block_size\":1048576,\"files\":[" files "]" rest "}"
#define SHA "abababababababababababababababababababababababababababababababab"
#define F(path, size)                                                                              \
    "{\"path\":\"" path "\",\"size\":" size ",\"mode\":\"0644\",\"sha256\":\"" SHA                 \
    "\",\"crc32c\":\"00000000\",\"format\":\"opaque\"}"

static void rules(void **state)
{
    assert_int_equal(parse_head(H(F("a", "5"), ""), 1), 0);
    assert_int_equal(parse_head(H(F("a", "5"), ",\"later\":{\"x\":[1]}"), 1), 0);
    assert_int_equal(parse_head(H(F("a", "5") "," F("b", "0"), ""), 1), 0);
    static const char *const bad[] = {
        H("", ""),
        H(F("b", "5") "," F("a", "5"), ""),
        H(F("a", "5") "," F("a", "5"), ""),
        H(F("a", "5") "," F("a/b", "5"), ""),
        H(F("a", "5") "," F("a.x", "5") "," F("a/b", "5"), ""),
        H(F("../a", "5"), ""),
        H(F("_lode/manifest", "5"), ""),
        H(F("a", "-5"), ""),
        H(F("a", "18446744073709551615"), ""),
        H(F("a", "\"5\""), ""),
        H(F("a", "5"), ",\"files\":[]"),
        H(F("a", "5"), ",\"tensors\":{}"),
        H(F("a", "5"), ",\"tensors\":[{\"name\":\"t\",\"dtype\":\"F32\",\"shape\":[2],\"file\":0,"
                       "\"offset\":0,\"len\":8}]"),
        H(F("a", "5"), ",\"tensors\":[{\"name\":\"t\",\"dtype\":\"U8\",\"shape\":[2],\"file\":1,"
                       "\"offset\":0,\"len\":2}]"),
        H("{\"path\":\"a\"}", ""),
        "{}",
        "[]",
        "{\"schema\":1}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (size_t sums = 0; sums < 4; sums++) {
            if (parse_head(bad[i], sums) != LODE_CORRUPT)
                fail_msg("head %zu with %zu sums passed", i, sums);
        }
    }
    assert_int_equal(parse_head(H(F("a", "5"), ""), 0), LODE_CORRUPT);
    assert_int_equal(parse_head(H(F("a", "5"), ""), 2), LODE_CORRUPT);
}

static void shared(void **state)
{
    struct lode_manifest *m = make();
    struct lode_manifest *other = lode_manifest_ref(m);
    lode_manifest_free(m);
    assert_string_equal(other->name, "rank");
    lode_manifest_free(other);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        _cleanup_manifest_ struct lode_manifest *m = make();
        _cleanup_buf_ struct lode_buf out = LODE_BUF_INIT(1 << 20);
        _cleanup_close_ int fd =
            lode_sys->openat(AT_FDCWD, argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
        return lode_manifest_write(m, &out, NULL) < 0 || lode_write_full(fd, out.data, out.len) < 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bytes), cmocka_unit_test(read_golden),
                                       cmocka_unit_test(truncated),  cmocka_unit_test(flipped),
                                       cmocka_unit_test(rules),      cmocka_unit_test(shared)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
