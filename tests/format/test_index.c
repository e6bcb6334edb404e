/* The tensor index: building, order, lookup, names that come twice, extents, limits, and the way to
 * JSON and back. */
#include <stdio.h>
#include "format/files.h"
#include "format/index_json.h"

static const uint64_t two_by_three[] = {2, 3};

static struct lode_tensor f32(unsigned file, uint64_t offset)
{
    return (struct lode_tensor){.dtype = LODE_DTYPE_F32,
                                .rank = 2,
                                .shape = two_by_three,
                                .file = file,
                                .offset = offset,
                                .len = 24};
}

static int add(struct lode_index_builder *b, const char *name, unsigned file, uint64_t offset)
{
    struct lode_tensor t = f32(file, offset);
    return lode_index_add(b, name, strlen(name), &t, NULL);
}

static void order_and_lookup(void **state)
{
    _cleanup_index_builder_ struct lode_index_builder *b = lode_index_builder_new();
    _cleanup_index_ struct lode_tensor_index *ix = NULL;
    uint32_t x = 1;
    char name[32];
    bool have[5000] = {0};
    size_t n = 0;
    for (int i = 0; i < 20000; i++) {
        x = x * 1664525 + 1013904223;
        unsigned k = (x >> 8) % LODE_ARRAY_LEN(have);
        snprintf(name, sizeof name, "layer.%u.weight", k);
        if (!have[k])
            assert_int_equal(add(b, name, 0, k), 0);
        n += !have[k];
        have[k] = true;
    }
    assert_int_equal(lode_index_builder_finish(b, NULL, 0, &ix, NULL), 0);
    assert_int_equal(lode_index_count(ix), n);
    assert_int_equal(lode_index_parameters(ix), n * 6);
    for (size_t i = 1; i < n; i++)
        assert_true(strcmp(lode_index_get(ix, i - 1).name, lode_index_get(ix, i).name) < 0);
    for (unsigned k = 0; k < LODE_ARRAY_LEN(have); k++) {
        struct lode_tensor t = {0};
        snprintf(name, sizeof name, "layer.%u.weight", k);
        assert_int_equal(lode_index_find(ix, name, NULL, &t), have[k]);
        if (have[k])
            assert_int_equal(t.offset, k);
        if (have[k])
            assert_int_equal(t.shape[1], 3);
    }
    assert_false(lode_index_find(ix, "", NULL, NULL));
    assert_false(lode_index_find(ix, "zzz", NULL, NULL));
    assert_true(lode_index_footprint(ix) <
                n * (32 + sizeof "layer.4999.weight") + 4096); /* shapes are shared */
    struct lode_tensor_index *again = lode_index_ref(ix);
    lode_index_unref(again);
    assert_int_equal(lode_index_count(ix), n);
}

static void names_twice(void **state)
{
    static const char *const paths[] = {"a.safetensors", "b.safetensors", "c.safetensors"};
    _cleanup_index_builder_ struct lode_index_builder *b = lode_index_builder_new();
    struct lode_tensor_index *ix = NULL;
    struct lode_err err = {0};
    assert_int_equal(add(b, "w", 0, 0), 0);
    assert_int_equal(add(b, "w", 0, 24), 0);
    assert_int_equal(lode_index_builder_finish(b, paths, 3, &ix, &err), LODE_INVALID);
    assert_non_null(strstr(err.text, "a.safetensors"));
    assert_null(ix);
    lode_index_builder_rewind(b, 0);
    assert_int_equal(add(b, "w", 0, 0), 0);
    assert_int_equal(add(b, "w", 1, 0), 0);
    assert_int_equal(add(b, "x", 1, 24), 0);
    assert_int_equal(add(b, "x", 2, 24), 0);
    assert_int_equal(add(b, "a.safetensors:x", 0, 99), 0); /* not in the way: it becomes a:a:x */
    assert_int_equal(lode_index_builder_finish(b, NULL, 0, &ix, &err), LODE_INVALID);
    assert_int_equal(lode_index_builder_finish(b, paths, 3, &ix, &err), 0);
    static const char *const names[] = {"a.safetensors:a.safetensors:x", "a.safetensors:w",
                                        "b.safetensors:w", "b.safetensors:x", "c.safetensors:x"};
    assert_int_equal(lode_index_count(ix), LODE_ARRAY_LEN(names));
    for (size_t i = 0; i < LODE_ARRAY_LEN(names); i++)
        assert_string_equal(lode_index_get(ix, i).name, names[i]);
    lode_index_unref(ix);
}

static void check_names(struct lode_index_builder *b, const char *const *paths, size_t n_paths,
                        const char *const *names, size_t n)
{
    struct lode_tensor_index *ix = NULL;
    struct lode_err err = {0};
    if (lode_index_builder_finish(b, paths, n_paths, &ix, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(lode_index_count(ix), n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(lode_index_get(ix, i).name, names[i]);
    lode_index_unref(ix);
}

/* A longer name that somebody has already: then that one takes a longer name too. */
static void longer_name_taken(void **state)
{
    static const char *const paths[] = {"a", "b", "c"};
    static const char *const names[] = {"a:w", "b:w", "c:b:w"};
    _cleanup_index_builder_ struct lode_index_builder *b = lode_index_builder_new();
    assert_int_equal(add(b, "w", 0, 0), 0);
    assert_int_equal(add(b, "w", 1, 0), 0);
    assert_int_equal(add(b, "b:w", 2, 0), 0);
    check_names(b, paths, 3, names, 3);
}

/* Files that were only taken for what they look like leave the names to the others; two such share
 * the burden. */
static void yielding(void **state)
{
    static const char *const paths[] = {"a", "b", "c", "d"};
    static const char *const names[] = {"b:w", "c:w", "c:x", "w", "x", "y"};
    _cleanup_index_builder_ struct lode_index_builder *b = lode_index_builder_new();
    assert_int_equal(lode_index_builder_yield(b, 1, NULL), 0);
    assert_int_equal(lode_index_builder_yield(b, 2, NULL), 0);
    assert_int_equal(lode_index_builder_yield(b, LODE_VERSION_FILES_MAX, NULL), LODE_INVALID);
    assert_int_equal(add(b, "w", 1, 0), 0);
    assert_int_equal(add(b, "w", 0, 0), 0);
    assert_int_equal(add(b, "w", 2, 0), 0);
    assert_int_equal(add(b, "x", 2, 24), 0);
    assert_int_equal(add(b, "x", 0, 24), 0);
    assert_int_equal(add(b, "y", 3, 0), 0);
    check_names(b, paths, 4, names, 6);
}

static void rewinding(void **state)
{
    _cleanup_index_builder_ struct lode_index_builder *b = lode_index_builder_new();
    struct lode_tensor_index *ix;
    assert_int_equal(add(b, "keep", 0, 0), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(add(b, "gone", 0, 24), 0);
        lode_index_builder_rewind(b, 1);
    }
    assert_int_equal(add(b, "too", 0, 24), 0);
    assert_int_equal(lode_index_builder_finish(b, NULL, 0, &ix, NULL), 0);
    assert_int_equal(lode_index_count(ix), 2);
    assert_int_equal(lode_index_parameters(ix), 12);
    assert_int_equal(lode_index_bytes(ix), 48);
    lode_index_unref(ix);
}

static void refused_tensors(void **state)
{
    static const uint64_t huge[] = {1ull << 33, 1ull << 33};
    _cleanup_index_builder_ struct lode_index_builder *b = lode_index_builder_new();
    struct lode_tensor t = f32(0, 0);
    t.len = 23;
    assert_int_equal(lode_index_add(b, "t", 1, &t, NULL), LODE_INVALID);
    t = f32(0, UINT64_MAX - 23);
    assert_int_equal(lode_index_add(b, "t", 1, &t, NULL), LODE_INVALID);
    t = f32(LODE_VERSION_FILES_MAX, 0);
    assert_int_equal(lode_index_add(b, "t", 1, &t, NULL), LODE_INVALID);
    t = f32(0, 0);
    t.shape = huge;
    assert_int_equal(lode_index_add(b, "t", 1, &t, NULL), LODE_INVALID);
    t.dtype = LODE_DTYPE_OPAQUE;
    assert_int_equal(lode_index_add(b, "t", 1, &t, NULL), LODE_INVALID);
    t = f32(0, 0);
    t.dtype = (enum lode_dtype)LODE_DTYPE_COUNT;
    assert_int_equal(lode_index_add(b, "t", 1, &t, NULL), LODE_INVALID);
    t = f32(0, 0);
    t.rank = LODE_TENSOR_RANK_MAX + 1;
    assert_int_equal(lode_index_add(b, "t", 1, &t, NULL), LODE_LIMIT);
    assert_int_equal(add(b, "", 0, 0), LODE_INVALID);
    assert_int_equal(add(b, "\xff", 0, 0), LODE_INVALID);
    t = f32(0, 0);
    assert_int_equal(lode_index_add(b, "a\0b", 3, &t, NULL), LODE_INVALID);
    assert_int_equal(lode_index_builder_count(b), 0);
}

static void refused_extents(void **state)
{
    _cleanup_index_builder_ struct lode_index_builder *b = lode_index_builder_new();
    struct lode_tensor t = f32(0, 0);
    static const struct lode_extent bad[] = {
        {"raw", 0, 0, 24, 25, 1},
        {"raw", 0, 0, 25, 25, 0},
        {"deflate", 0, 0, 9, 24, 25},
        {"deflate", 0, UINT64_MAX, 9, 24, 0},
        {"a codec whose name is longer than 31", 0, 0, 24, 24, 0},
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(bad); i++)
        assert_true(lode_index_add_extents(b, "t", 1, &t, &bad[i], 1, NULL) < 0);
    assert_int_equal(lode_index_add_extents(b, "t", 1, &t, bad, 0, NULL), LODE_INVALID);
    assert_int_equal(lode_index_builder_count(b), 0);
}

static struct lode_tensor_index *mixed(void)
{
    _cleanup_index_builder_ struct lode_index_builder *b = lode_index_builder_new();
    struct lode_tensor_index *ix = NULL;
    struct lode_tensor t = f32(0, 8), scalar = {.dtype = LODE_DTYPE_BF16, .len = 2, .file = 2};
    struct lode_tensor opaque = {.dtype = LODE_DTYPE_OPAQUE, .len = 77, .file = 1};
    const struct lode_extent x[] = {{"deflate", 1, 40, 9, 20, 4}, {"raw", 2, 50, 10, 10, 2}};
    t.fortran_order = true;
    assert_int_equal(lode_index_add_extents(b, "x", 1, &t, x, 2, NULL), 0);
    assert_int_equal(lode_index_add(b, "\"\\\n\xc3\xa9", 5, &t, NULL), 0);
    assert_int_equal(lode_index_add(b, "scalar", 6, &scalar, NULL), 0);
    assert_int_equal(lode_index_add(b, "opaque", 6, &opaque, NULL), 0);
    assert_int_equal(lode_index_builder_finish(b, NULL, 0, &ix, NULL), 0);
    return ix;
}

static int read_back(const char *s, size_t len, struct lode_tensor_index **out,
                     struct lode_err *err)
{
    static const uint64_t sizes[] = {100, 100, 100};
    struct lode_jsontok t;
    struct lode_json_tok tok;
    lode_jsontok_init(&t, "the manifest", LODE_TENSOR_NAME_MAX);
    lode_jsontok_feed(&t, s, len);
    lode_jsontok_end(&t);
    int r = lode_jsontok_next(&t, &tok, err);
    if (r > 0)
        r = lode_index_read_json(&t, &tok, sizes, 3, out, err);
    lode_jsontok_release(&t);
    return r;
}

static void json_and_back(void **state)
{
    _cleanup_index_ struct lode_tensor_index *ix = mixed(), *back = NULL;
    _cleanup_buf_ struct lode_buf once = LODE_BUF_INIT(4096), twice = LODE_BUF_INIT(4096);
    lode_index_write_json(ix, &once);
    assert_int_equal(lode_buf_check(&once, "json", NULL), 0);
    struct lode_err err = {0};
    if (read_back(once.data, once.len, &back, &err) < 0)
        fail_msg("%s", err.text);
    lode_index_write_json(back, &twice);
    assert_string_equal(once.data, twice.data);
    assert_int_equal(lode_index_parameters(back), lode_index_parameters(ix));
    size_t at;
    assert_true(lode_index_find(back, "x", &at, NULL));
    assert_int_equal(lode_index_extents(back, at), 2);
    struct lode_extent x = lode_index_extent(back, at, 1);
    assert_string_equal(x.codec, "raw");
    assert_int_equal(x.raw_skip, 2);
    assert_true(lode_index_get(back, at).fortran_order);
    assert_false(lode_index_get(back, at).direct);
}

#define T(name, rest) "{\"name\":\"" name "\",\"dtype\":\"U8\",\"shape\":[4]," rest "}"
#define PLACE "\"file\":0,\"offset\":8,\"len\":4"
#define EXTENT(rest) "[" T("a", "\"len\":4,\"extents\":[{" rest "}]") "]"

static void json_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[",
        "[1]",
        "[null]",
        "[{}]",
        "[" T("a", PLACE),
        "[" T("a", PLACE) ",]",
        "[" T("a", PLACE ",\"x\":1") "]",
        "[" T("a", PLACE ",\"len\":4") "]",
        "[" T("a", "\"file\":0,\"len\":4") "]",
        "[" T("a", "\"offset\":0,\"len\":4") "]",
        "[" T("a", "\"file\":0,\"offset\":8") "]",
        "[" T("a", "\"file\":3,\"offset\":8,\"len\":4") "]",
        "[" T("a", "\"file\":-1,\"offset\":8,\"len\":4") "]",
        "[" T("a", "\"file\":0,\"offset\":97,\"len\":4") "]",
        "[" T("a", "\"file\":0,\"offset\":18446744073709551615,\"len\":4") "]",
        "[" T("a", "\"file\":0,\"offset\":8,\"len\":5") "]",
        "[" T("a", "\"file\":0,\"offset\":8.0,\"len\":4") "]",
        "[" T("b", PLACE) "," T("a", PLACE) "]",
        "[" T("a", PLACE) "," T("a", PLACE) "]",
        "[" T("", PLACE) "]",
        "[" T("a\\u0000", PLACE) "]",
        "[" T("a", PLACE ",\"fortran_order\":false") "]",
        "[" T("a", PLACE ",\"fortran_order\":1") "]",
        "[" T("a", PLACE ",\"extents\":[]") "]",
        "[" T("a", "\"len\":4,\"extents\":[]") "]",
        EXTENT(""),
        EXTENT("\"codec\":\"raw\",\"file\":0,\"offset\":0,\"stored_len\":4,\"raw_len\":4"),
        EXTENT("\"codec\":\"raw\",\"file\":0,\"offset\":0,\"stored_len\":4,\"raw_len\":5,\"raw_"
               "skip\":1"),
        EXTENT("\"codec\":\"raw\",\"file\":0,\"offset\":97,\"stored_len\":4,\"raw_len\":4,\"raw_"
               "skip\":0"),
        EXTENT("\"codec\":\"raw\",\"file\":9,\"offset\":0,\"stored_len\":4,\"raw_len\":4,\"raw_"
               "skip\":0"),
        EXTENT(
            "\"codec\":\"\",\"file\":0,\"offset\":0,\"stored_len\":4,\"raw_len\":4,\"raw_skip\":0"),
        EXTENT("\"codec\":\"a/"
               "b\",\"file\":0,\"offset\":0,\"stored_len\":4,\"raw_len\":4,\"raw_skip\":0"),
        EXTENT("\"codec\":\"0123456789012345678901234567890123456789\",\"file\":0,\"offset\":0,"
               "\"stored_len\":4,\"raw_len\":4,\"raw_skip\":0"),
        "[{\"name\":1,\"dtype\":\"U8\",\"shape\":[4]," PLACE "}]",
        "[{\"name\":\"a\",\"dtype\":\"U9\",\"shape\":[4]," PLACE "}]",
        "[{\"name\":\"a\",\"dtype\":\"U8\",\"shape\":4," PLACE "}]",
        "[{\"name\":\"a\",\"dtype\":\"U8\",\"shape\":[-4]," PLACE "}]",
        "[{\"name\":\"a\",\"dtype\":\"U8\",\"shape\":[4611686018427387905,4]," PLACE "}]",
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(bad); i++) {
        struct lode_tensor_index *ix = NULL;
        struct lode_err err = {0};
        if (read_back(bad[i], strlen(bad[i]), &ix, &err) != LODE_INVALID || !err.text[0])
            fail_msg("%s: %d %s", bad[i], err.code, err.text);
    }
    _cleanup_index_ struct lode_tensor_index *ix = NULL;
    assert_int_equal(read_back("[" T("a", PLACE) "," T("b", PLACE) "]",
                               strlen("[" T("a", PLACE) "," T("b", PLACE) "]"), &ix, NULL),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_and_lookup),  cmocka_unit_test(names_twice),
        cmocka_unit_test(longer_name_taken), cmocka_unit_test(yielding),
        cmocka_unit_test(rewinding),         cmocka_unit_test(refused_tensors),
        cmocka_unit_test(refused_extents),   cmocka_unit_test(json_and_back),
        cmocka_unit_test(json_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
