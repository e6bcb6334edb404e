/* safetensors: what the format allows comes out as it went in, and every way to be malformed that
 * we could think of is refused with a message that names the file. */
#include <stdio.h>
#include "format/files.h"

static struct lode_tensor_index *good(const char *header, size_t data_len)
{
    struct set s = {0};
    struct lode_tensor_index *ix;
    struct lode_err err = {0};
    set_add_safetensors(&s, "m.safetensors", header, data_len);
    int r = set_index(&s, &ix, &err);
    if (r < 0)
        fail_msg("%s: %s", header, err.text);
    assert_string_equal(s.inputs[0].format, "safetensors");
    assert_true(s.read <= 8 + strlen(header) + LODE_FORMAT_HEAD); /* never the data */
    set_release(&s);
    return ix;
}

static int refused_bytes(const void *bytes, size_t len, const char *why)
{
    struct set s = {0};
    struct lode_tensor_index *ix = NULL;
    struct lode_err err = {0};
    set_add(&s, "dir/m.safetensors", bytes, len);
    int r = set_index(&s, &ix, &err);
    if (r >= 0)
        fail_msg("accepted: %s", why);
    assert_null(ix);
    assert_int_equal(err.code, r);
    if (!strstr(err.text, "dir/m.safetensors"))
        fail_msg("the message does not name the file: %s", err.text);
    set_release(&s);
    return r;
}

static void refused(const char *header, size_t data_len)
{
    struct bytes b = safetensors_of(header, strlen(header), data_len);
    assert_int_equal(refused_bytes(b.at, b.len, header), LODE_INVALID);
    free(b.at);
}

static void two_tensors(void **state)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"\\u0000\":\"\"},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[4,28]},"
        "\"b\":{\"shape\":[],\"data_offsets\":[0,4],\"dtype\":\"I32\",\"more\":[{\"x\":[1]},2]}}   "
        "\n";
    _cleanup_index_ struct lode_tensor_index *ix = good(header, 28);
    struct lode_tensor t;
    size_t at;
    assert_int_equal(lode_index_count(ix), 2);
    assert_true(lode_index_find(ix, "w", &at, &t));
    assert_int_equal(at, 1);
    assert_int_equal(t.dtype, LODE_DTYPE_F32);
    assert_int_equal(t.rank, 2);
    assert_int_equal(t.shape[0], 2);
    assert_int_equal(t.shape[1], 3);
    assert_int_equal(t.offset, 8 + sizeof header - 1 + 4);
    assert_int_equal(t.len, 24);
    assert_true(t.direct);
    assert_false(t.fortran_order);
    assert_true(lode_index_find(ix, "b", NULL, &t));
    assert_int_equal(t.rank, 0);
    assert_int_equal(t.len, 4);
    assert_int_equal(lode_index_parameters(ix), 7);
    assert_int_equal(lode_index_bytes(ix), 28);
    assert_false(lode_index_find(ix, "__metadata__", NULL, NULL));
}

static void no_tensors(void **state)
{
    static const char *const headers[] = {"{}", "{\"__metadata__\":{}}", "{\"__metadata__\":null}",
                                          "{ }      "};
    for (size_t i = 0; i < LODE_ARRAY_LEN(headers); i++) {
        _cleanup_index_ struct lode_tensor_index *ix = good(headers[i], 0);
        assert_int_equal(lode_index_count(ix), 0);
        assert_int_equal(lode_index_parameters(ix), 0);
    }
}

/* Every type of the format, with 8 elements; the sub-byte ones are packed. */
static void every_dtype(void **state)
{
    for (int dtype = LODE_DTYPE_OPAQUE + 1; dtype < LODE_DTYPE_COUNT; dtype++) {
        if (dtype == LODE_DTYPE_C128)
            continue;
        char header[160];
        unsigned bytes = lode_dtype_bits((enum lode_dtype)dtype);
        const char *name = lode_dtype_name((enum lode_dtype)dtype);
        snprintf(header, sizeof header,
                 "{\"t\":{\"dtype\":\"%s\",\"shape\":[4,2],\"data_offsets\":[0,%u]}}", name, bytes);
        _cleanup_index_ struct lode_tensor_index *ix = good(header, bytes);
        assert_int_equal(lode_index_get(ix, 0).dtype, dtype);
        snprintf(header, sizeof header,
                 "{\"t\":{\"dtype\":\"%s\",\"shape\":[4,2],\"data_offsets\":[0,%u]}}", name,
                 bytes + 1);
        refused(header, bytes + 1);
        snprintf(header, sizeof header,
                 "{\"t\":{\"dtype\":\"%s\",\"shape\":[4,2],\"data_offsets\":[0,%u]}}", name,
                 bytes - 1);
        refused(header, bytes - 1);
    }
    refused("{\"t\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2); /* 12 bits */
    refused("{\"t\":{\"dtype\":\"F6_E2M3\",\"shape\":[2],\"data_offsets\":[0,2]}}",
            2); /* 12 bits */
}

static void empty_tensors(void **state)
{
    _cleanup_index_ struct lode_tensor_index *ix =
        good("{\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]},\"a\":{\"dtype\":"
             "\"U8\",\"shape\":[2],"
             "\"data_offsets\":[0,2]},\"m\":{\"dtype\":\"F64\",\"shape\":[3,0,5],\"data_offsets\":["
             "0,0]},"
             "\"e\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}",
             3);
    assert_int_equal(lode_index_count(ix), 4);
    assert_int_equal(lode_index_parameters(ix), 3);
}

#define ENTRY(fields) "{\"t\":{" fields "}}"
#define OFFSETS(text) ENTRY("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" text)
#define SHAPE(text) ENTRY("\"dtype\":\"U8\",\"shape\":" text ",\"data_offsets\":[0,4]")
#define TWO(a, b)                                                                                  \
    "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" a                                   \
    "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" b "}}"

/* Each with 8 bytes of data if it holds two tensors, else 4. */
static const char *const malformed[] = {
    /* the document */
    "[]",
    "{",
    "null",
    "\"{}\"",
    " {}",
    "{}x",
    "{}{}",
    "{]",
    "{\"t\"}",
    "{\"t\":}",
    "{\"t\":1}",
    "{\"t\":[]}",
    "{\"t\":null}",
    "{\"t\":{}}",
    "{'t':{}}",
    /* fields */
    ENTRY("\"shape\":[4],\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":\"U8\",\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":\"U8\",\"shape\":[4]"),
    ENTRY("\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":\"U8\",\"shape\":[4],\"shape\":[4],\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":null,\"shape\":[4],\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":\"\",\"shape\":[4],\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":\"u8\",\"shape\":[4],\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":\"U8\\u0000\",\"shape\":[4],\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":\"F128\",\"shape\":[4],\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":\"OPAQUE\",\"shape\":[4],\"data_offsets\":[0,4]"),
    ENTRY("\"dtype\":\"C128\",\"shape\":[0],\"data_offsets\":[0,0]"),
    /* shapes */
    SHAPE("4"),
    SHAPE("null"),
    SHAPE("{}"),
    SHAPE("[-4]"),
    SHAPE("[4.0]"),
    SHAPE("[4e0]"),
    SHAPE("[\"4\"]"),
    SHAPE("[[4]]"),
    SHAPE("[null]"),
    SHAPE("[true]"),
    SHAPE("[3]"),
    SHAPE("[5]"),
    SHAPE("[]"),
    SHAPE("[0]"),
    SHAPE("[4,0]"),
    SHAPE("[2,3]"),
    SHAPE("[18446744073709551615]"),
    SHAPE("[18446744073709551616]"),
    SHAPE("[-18446744073709551612]"),
    SHAPE("[-0]"),
    SHAPE("[9223372036854775808,2]"),
    SHAPE("[4294967296,4294967296]"),
    SHAPE("[4294967296,4294967297]"),
    SHAPE("[65536,65536,65536,65536]"),
    SHAPE("[6148914691236517206,3]"),
    SHAPE("[4611686018427387905,4]"),
    SHAPE("[1e99]"),
    SHAPE("[18446744073709551615,18446744073709551615,4]"),
    ENTRY("\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]"),
    ENTRY("\"dtype\":\"F64\",\"shape\":[2305843009213693953],\"data_offsets\":[0,8]"),
    ENTRY("\"dtype\":\"F4\",\"shape\":[4611686018427387906],\"data_offsets\":[0,1]"),
    ENTRY("\"dtype\":\"F32\",\"shape\":[1073741825,1073741824,4],\"data_offsets\":[0,4]"),
    /* offsets */
    OFFSETS("[0]"),
    OFFSETS("[]"),
    OFFSETS("[0,4,4]"),
    OFFSETS("0"),
    OFFSETS("{}"),
    OFFSETS("null"),
    OFFSETS("[0,\"4\"]"),
    OFFSETS("[0.0,4]"),
    OFFSETS("[0,4.0]"),
    OFFSETS("[-1,3]"),
    OFFSETS("[-0,4]"),
    OFFSETS("[4,0]"),
    OFFSETS("[1,5]"),
    OFFSETS("[0,5]"),
    OFFSETS("[0,3]"),
    OFFSETS("[1,4]"),
    OFFSETS("[0,18446744073709551615]"),
    OFFSETS("[18446744073709551615,3]"),
    OFFSETS("[18446744073709551612,18446744073709551616]"),
    OFFSETS("[18446744073709551611,18446744073709551615]"),
    OFFSETS("[9223372036854775808,9223372036854775812]"),
    OFFSETS("[0,4294967300]"),
    OFFSETS("[4294967296,4294967300]"),
    OFFSETS("[[0],[4]]"),
    /* two tensors: overlaps, holes, order, the end */
    TWO("[0,4]", "[0,4]"),
    TWO("[0,4]", "[3,7]"),
    TWO("[0,4]", "[5,9]"),
    TWO("[1,5]", "[5,9]"),
    TWO("[4,8]", "[4,8]"),
    TWO("[0,4]", "[4,7]"),
    TWO("[0,4]", "[4,9]"),
    TWO("[4,8]", "[1,5]"),
    TWO("[0,5]", "[4,8]"),
    TWO("[2,6]", "[0,4]"),
    /* names */
    "{\"\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
    "{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
    "{\"\xff\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
    "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"t\":{\"dtype\":\"U8\","
    "\"shape\":[4],\"data_offsets\":[4,8]}}",
    "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"\\u0074\":{\"dtype\":\"U8\","
    "\"shape\":[4],\"data_offsets\":[4,8]}}",
    "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"t\":{\"dtype\":\"U8\","
    "\"shape\":[4],\"data_offsets\":[0,4]}}",
    /* metadata */
    "{\"__metadata__\":1}",
    "{\"__metadata__\":[]}",
    "{\"__metadata__\":{\"a\":1}}",
    "{\"__metadata__\":{\"a\":null}}",
    "{\"__metadata__\":{\"a\":{}}}",
    "{\"__metadata__\":{},\"__metadata__\":{}}",
    "{\"__metadata__\":\"x\"}",
    "{\"__metadata__\":{\"a\":[\"b\"]}}",
};

static void every_malformed_header(void **state)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(malformed); i++) {
        bool two = strstr(malformed[i], "\"b\":{\"dtype") || strstr(malformed[i], "[4,8]");
        bool tensors = strstr(malformed[i], "dtype") || strstr(malformed[i], "shape");
        refused(malformed[i], two ? 8 : tensors ? 4 : 0);
    }
    assert_true(LODE_ARRAY_LEN(malformed) >= 100);
}

/* Products that come out right modulo 2^64: only a checked multiplication sees them. */
static void overflowing_shapes(void **state)
{
    static const struct {
        const char *header;
        size_t data;
    } rows[] = {
        {SHAPE("[4611686018427387905,4]"), 4},
        {SHAPE("[4,4611686018427387905]"), 4},
        {SHAPE("[2,9223372036854775810]"), 4},
        {SHAPE("[4294967296,4294967296,7]"), 0},
        {ENTRY("\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]"), 0},
        {ENTRY("\"dtype\":\"U8\",\"shape\":[65536,65536,65536,65536],\"data_offsets\":[0,0]"), 0},
        {ENTRY("\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]"), 0},
        {ENTRY("\"dtype\":\"F64\",\"shape\":[2305843009213693953],\"data_offsets\":[0,8]"), 8},
        {ENTRY("\"dtype\":\"F64\",\"shape\":[288230376151711745],\"data_offsets\":[0,8]"), 8},
        {ENTRY("\"dtype\":\"F16\",\"shape\":[9223372036854775809],\"data_offsets\":[0,2]"), 2},
        {ENTRY("\"dtype\":\"F16\",\"shape\":[1152921504606846977],\"data_offsets\":[0,2]"), 2},
        {ENTRY("\"dtype\":\"F4\",\"shape\":[4611686018427387906],\"data_offsets\":[0,1]"), 1},
        {ENTRY("\"dtype\":\"F6_E2M3\",\"shape\":[3074457345618258604],\"data_offsets\":[0,1]"), 1},
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(rows); i++)
        refused(rows[i].header, rows[i].data);
}

/* Names that only differ in how they are escaped, one more byte of data, one less: the message
 * tells what is wrong. */
static void messages_tell_why(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *tells;
    } rows[] = {
        {OFFSETS("[0,4]"), 5, "cut short"},
        {OFFSETS("[0,4]"), 3, "not within the 3 bytes of data"},
        {TWO("[0,4]", "[3,7]"), 7, "they overlap"},
        {TWO("[0,4]", "[5,9]"), 9, "a hole"},
        {SHAPE("[4294967296,4294967297]"), 4, "64 bits"},
        {SHAPE("[5]"), 4, "5 elements of U8 take 5 bytes, but it has 4"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"t\":{\"dtype\":\"U8\","
         "\"shape\":[4],\"data_offsets\":[4,8]}}",
         8, "comes twice"},
        {"{\"t\":{\"dtype\":\"X8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "'X8'"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]", 4, "ends early"},
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(rows); i++) {
        struct set s = {0};
        struct lode_tensor_index *ix;
        struct lode_err err = {0};
        set_add_safetensors(&s, "m.safetensors", rows[i].header, rows[i].data);
        assert_int_equal(set_index(&s, &ix, &err), LODE_INVALID);
        if (!strstr(err.text, rows[i].tells))
            fail_msg("'%s' does not tell '%s'", err.text, rows[i].tells);
        set_release(&s);
    }
}

static const char small[] = TWO("[0,4]", "[4,8]");

static void cut_at_every_byte(void **state)
{
    struct bytes b = safetensors_of(small, sizeof small - 1, 8);
    for (size_t len = 0; len < b.len; len++)
        refused_bytes(b.at, len, "a file cut short");
    free(b.at);
}

/* The length in front: every bit flipped, and telling values. */
static void lying_length(void **state)
{
    struct bytes b = safetensors_of(small, sizeof small - 1, 8);
    for (unsigned bit = 0; bit < 64; bit++) {
        b.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        refused_bytes(b.at, b.len, "a flipped bit in the length");
        b.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    static const uint64_t lies[] = {0,
                                    1,
                                    sizeof small - 2,
                                    sizeof small,
                                    sizeof small + 7,
                                    LODE_HEADER_MAX,
                                    LODE_HEADER_MAX + 1,
                                    UINT32_MAX,
                                    INT64_MAX,
                                    UINT64_MAX,
                                    UINT64_MAX - 7};
    for (size_t i = 0; i < LODE_ARRAY_LEN(lies); i++) {
        for (int k = 0; k < 8; k++)
            b.at[k] = (uint8_t)(lies[i] >> (8 * k));
        refused_bytes(b.at, b.len, "a lying length");
    }
    free(b.at);
}

/* A file that is large enough for its claim (nothing is behind it, but nobody may read so far). */
static int never_read(void *arg, unsigned number, uint64_t offset, void *into, size_t len,
                      struct lode_err *err)
{
    assert_true(offset + len <= LODE_FORMAT_HEAD);
    memset(into, 0, len);
    if (offset == 0)
        memcpy(into, "\x01\xe1\xf5\x05\0\0\0\0{\"", lode_min(len, (size_t)10)); /* 100,000,001 */
    return 0;
}

static void gigantic_header(void **state)
{
    struct lode_format_input in = {.path = "m.safetensors", .size = 1ull << 40};
    struct lode_tensor_index *ix;
    struct lode_err err = {0};
    assert_int_equal(lode_format_index_files(&in, 1, never_read, NULL, &ix, &err), LODE_INVALID);
    assert_non_null(strstr(err.text, "the limit is 100000000"));
}

/* One wrong byte anywhere in the header: an error or an index that still agrees with the file. */
static void every_byte_changed(void **state)
{
    static const char marks[] = "\0\"\\{}[],:09-aF\xff ";
    struct bytes b = safetensors_of(small, sizeof small - 1, 8);
    for (size_t at = 8; at < b.len - 8; at++) {
        for (size_t k = 0; k < sizeof marks - 1; k++) {
            uint8_t was = b.at[at];
            struct set s = {0};
            struct lode_tensor_index *ix;
            b.at[at] = (uint8_t)marks[k];
            set_add(&s, "m.safetensors", b.at, b.len);
            if (set_index(&s, &ix, NULL) == 0) {
                assert_int_equal(lode_index_bytes(ix), 8);
                lode_index_unref(ix);
            }
            b.at[at] = was;
            set_release(&s);
        }
    }
    free(b.at);
}

static void deep_and_long(void **state)
{
    size_t n = LODE_TENSOR_NAME_MAX + 1;
    char *header = malloc(2 * n + 100);
    memset(header, 'x', n + 2);
    memcpy(header, "{\"", 2);
    memcpy(header + 2 + n, "\":{}}", 6);
    struct bytes b = safetensors_of(header, strlen(header), 0);
    assert_int_equal(refused_bytes(b.at, b.len, "a long name"), LODE_LIMIT);
    free(b.at);
    memcpy(header, "{\"t\":", 5);
    memset(header + 5, '[', 100);
    b = safetensors_of(header, 105, 0);
    refused_bytes(b.at, b.len, "deep nesting");
    free(b.at);
    free(header);
    char shape[400] = "{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,1],\"shape\":[1";
    for (int i = 0; i < LODE_TENSOR_RANK_MAX - 1; i++)
        strcat(shape, ",1");
    size_t open = strlen(shape);
    strcat(shape, "]}}");
    _cleanup_index_ struct lode_tensor_index *ix = good(shape, 1);
    assert_int_equal(lode_index_get(ix, 0).rank, LODE_TENSOR_RANK_MAX);
    strcpy(shape + open, ",1]}}");
    refused(shape, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_tensors),       cmocka_unit_test(no_tensors),
        cmocka_unit_test(every_dtype),       cmocka_unit_test(empty_tensors),
        cmocka_unit_test(messages_tell_why), cmocka_unit_test(every_malformed_header),
        cmocka_unit_test(cut_at_every_byte), cmocka_unit_test(lying_length),
        cmocka_unit_test(gigantic_header),   cmocka_unit_test(every_byte_changed),
        cmocka_unit_test(deep_and_long),     cmocka_unit_test(overflowing_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
