/* npy: the three versions, what NumPy writes, and what must be refused or left alone. */
#include <stdio.h>
#include "format/files.h"

/* A whole file: version major, the dictionary, data_len bytes. */
static struct bytes npy_of(int major, const char *dict, size_t data_len)
{
    size_t n = strlen(dict), prelude = major == 1 ? 10 : 12;
    struct bytes b = {.len = prelude + n + data_len};
    b.at = calloc(1, b.len);
    memcpy(b.at, "\x93NUMPY", 6);
    b.at[6] = (uint8_t)major;
    b.at[8] = (uint8_t)n;
    b.at[9] = (uint8_t)(n >> 8);
    memcpy(b.at + prelude, dict, n);
    return b;
}

static int index_bytes(const char *path, struct bytes b, struct lode_tensor_index **ix,
                       const char **format, struct lode_err *err)
{
    struct set s = {0};
    set_add(&s, path, b.at, b.len);
    int r = set_index(&s, ix, err);
    if (format)
        *format = s.inputs[0].format;
    set_release(&s);
    return r;
}

static int index_dict(int major, const char *dict, size_t data_len, struct lode_tensor_index **ix,
                      const char **format, struct lode_err *err)
{
    struct bytes b = npy_of(major, dict, data_len);
    int r = index_bytes("dir/w.npy", b, ix, format, err);
    free(b.at);
    return r;
}

#define DICT(descr, order, shape)                                                                  \
    "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }"

static void versions(void **state)
{
    for (int major = 1; major <= 3; major++) {
        _cleanup_index_ struct lode_tensor_index *ix = NULL;
        static const char dict[] = DICT("'<f4'", "False", "(2, 3)") "      \n";
        const char *format;
        assert_int_equal(index_dict(major, dict, 24, &ix, &format, NULL), 0);
        assert_string_equal(format, "npy");
        assert_int_equal(lode_index_count(ix), 1);
        struct lode_tensor t = lode_index_get(ix, 0);
        assert_string_equal(t.name, "dir/w");
        assert_int_equal(t.dtype, LODE_DTYPE_F32);
        assert_int_equal(t.rank, 2);
        assert_int_equal(t.shape[1], 3);
        assert_int_equal(t.offset, (major == 1 ? 10 : 12) + sizeof dict - 1);
        assert_int_equal(t.len, 24);
    }
}

static void accepted(void **state)
{
    static const struct {
        const char *dict;
        size_t data;
        enum lode_dtype dtype;
        unsigned rank;
    } rows[] = {
        {DICT("'|b1'", "False", "()"), 1, LODE_DTYPE_BOOL, 0},
        {DICT("'|u1'", "True", "(5,)"), 5, LODE_DTYPE_U8, 1},
        {DICT("'<c16'", "True", "(1, 2)"), 32, LODE_DTYPE_C128, 2},
        {DICT("'<i8'", "False", "(0, 7)"), 0, LODE_DTYPE_I64, 2},
        {DICT("'<u2'", "False", "(3L, 1L)"), 6, LODE_DTYPE_U16, 2},
        {DICT("'>u1'", "False", "(3,)"), 3, LODE_DTYPE_U8, 1},
        {DICT("'=f8'", "False", "(1,)"), 8, LODE_DTYPE_F64, 1},
        {"{\"shape\":(4,2,),\"descr\":\"<f2\",\"fortran_order\":False}", 16, LODE_DTYPE_F16, 2},
        {"  {'shape' : ( 4 , ) , 'descr':'<i4','fortran_order' :True , } \n", 16, LODE_DTYPE_I32,
         1},
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(rows); i++) {
        _cleanup_index_ struct lode_tensor_index *ix = NULL;
        struct lode_err err = {0};
        if (index_dict(1, rows[i].dict, rows[i].data, &ix, NULL, &err) < 0)
            fail_msg("%s: %s", rows[i].dict, err.text);
        struct lode_tensor t = lode_index_get(ix, 0);
        assert_int_equal(t.dtype, rows[i].dtype);
        assert_int_equal(t.rank, rows[i].rank);
        assert_int_equal(t.len, rows[i].data);
        assert_int_equal(t.fortran_order, strstr(rows[i].dict, "True") != NULL);
    }
}

static const char *const malformed[] = {
    "",
    "{",
    "{}",
    "[]",
    "x",
    DICT("'<f4'", "False", "(2,)") "x",
    DICT("'<f4'", "False", "(2)"),
    DICT("'<f4'", "False", "2"),
    DICT("'<f4'", "False", "[2]"),
    DICT("'<f4'", "False", "(2,,)"),
    DICT("'<f4'", "False", "(,)"),
    DICT("'<f4'", "False", "(2"),
    DICT("'<f4'", "False", "(-2,)"),
    DICT("'<f4'", "False", "(2.0,)"),
    DICT("'<f4'", "False", "('2',)"),
    DICT("'<f4'", "False", "(None,)"),
    DICT("'<f4'", "False", "(2 3)"),
    DICT("'<f4'", "False", "((2,),)"),
    DICT("'<f4'", "False", "(18446744073709551616,)"),
    DICT("'<f4'", "False", "(4611686018427387906,)"),
    DICT("'<f4'", "False", "(4294967296, 4294967296)"),
    DICT("'<f4'", "False", "(9223372036854775809, 2)"),
    DICT("'<f4'", "False", "(1, 2, 2)"),
    DICT("'<f4'", "false", "(2,)"),
    DICT("'<f4'", "0", "(2,)"),
    DICT("'<f4'", "None", "(2,)"),
    DICT("'<f4'", "'False'", "(2,)"),
    DICT("<f4", "False", "(2,)"),
    DICT("'<f4", "False", "(2,)"),
    DICT("'<f\\x34'", "False", "(2,)"),
    DICT("4", "False", "(2,)"),
    DICT("None", "False", "(2,)"),
    "{'descr': '<f4', 'fortran_order': False}",
    "{'descr': '<f4', 'shape': (2,)}",
    "{'fortran_order': False, 'shape': (2,)}",
    "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
    "{'descr' '<f4', 'fortran_order': False, 'shape': (2,)}",
    "{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}",
    "{descr: '<f4', 'fortran_order': False, 'shape': (2,)}",
    "__import__('os').system('x')",
    "{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,)}",
    "{**{'descr': '<f4'}, 'fortran_order': False, 'shape': (2,)}",
};

static void every_malformed_header(void **state)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(malformed); i++) {
        struct lode_tensor_index *ix = NULL;
        struct lode_err err = {0};
        int r = index_dict(1, malformed[i], 8, &ix, NULL, &err);
        if (r != LODE_INVALID || !strstr(err.text, "dir/w.npy"))
            fail_msg("%s: %d %s", malformed[i], r, err.text);
    }
}

static void objects_are_refused(void **state)
{
    static const char *const descrs[] = {
        "'|O'", "'O'", "'<O8'", "'|O8'", "[('a', '|O')]", "[('a', '<f4'), ('b', '|O', (2,))]"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(descrs); i++) {
        struct lode_tensor_index *ix = NULL;
        struct lode_err err = {0};
        char dict[200];
        snprintf(dict, sizeof dict, "{'descr': %s, 'fortran_order': False, 'shape': (1,), }",
                 descrs[i]);
        assert_int_equal(index_dict(1, dict, 100, &ix, NULL, &err), LODE_INVALID);
        assert_non_null(strstr(err.text, "Python objects"));
    }
}

/* Arrays that are well-formed, but no tensors: the file is kept, and not looked into. */
static void kept_opaque(void **state)
{
    static const char *const dicts[] = {
        DICT("'>f4'", "False", "(2,)"),
        DICT("'<U4'", "False", "(2,)"),
        DICT("'|S8'", "False", "(1,)"),
        DICT("'<M8[ns]'", "False", "(1,)"),
        DICT("'<f16'", "False", "(1,)"),
        DICT("'|V8'", "False", "(1,)"),
        DICT("[('a', '<f4')]", "False", "(2,)"),
        DICT("'<f4'", "False", "(1,)"), /* 4 bytes follow the array */
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(dicts); i++) {
        _cleanup_index_ struct lode_tensor_index *ix = NULL;
        const char *format = NULL;
        assert_int_equal(index_dict(1, dicts[i], 8, &ix, &format, NULL), 0);
        assert_string_equal(format, "opaque");
        assert_int_equal(lode_index_count(ix), 0);
        assert_int_equal(lode_index_bytes(ix), 0);
    }
}

static void cut_at_every_byte(void **state)
{
    for (int major = 1; major <= 2; major++) {
        struct bytes b = npy_of(major, DICT("'<f4'", "False", "(2,)") "\n", 8);
        size_t whole = b.len;
        for (b.len = 0; b.len < whole; b.len++) {
            struct lode_tensor_index *ix = NULL;
            struct lode_err err = {0};
            assert_int_equal(index_bytes("dir/w.npy", b, &ix, NULL, &err), LODE_INVALID);
            assert_non_null(strstr(err.text, "dir/w.npy"));
        }
        free(b.at);
    }
}

static void lying_length(void **state)
{
    static const uint32_t lies[] = {0,          1,         0xff, 0xffff, LODE_NPY_HEADER_MAX + 1,
                                    0x7fffffff, 0xffffffff};
    struct bytes b = npy_of(2, DICT("'<f4'", "False", "(2,)"), 8);
    for (size_t i = 0; i < LODE_ARRAY_LEN(lies); i++) {
        struct lode_tensor_index *ix = NULL;
        for (int k = 0; k < 4; k++)
            b.at[8 + k] = (uint8_t)(lies[i] >> (8 * k));
        int r = index_bytes("dir/w.npy", b, &ix, NULL, NULL);
        assert_int_equal(r, lies[i] > LODE_NPY_HEADER_MAX ? LODE_LIMIT : LODE_INVALID);
    }
    for (int major = 0; major < 256; major++) {
        struct lode_tensor_index *ix = NULL;
        if (major >= 1 && major <= 3)
            continue;
        b.at[6] = (uint8_t)major;
        assert_int_equal(index_bytes("dir/w.npy", b, &ix, NULL, NULL), LODE_INVALID);
    }
    free(b.at);
}

/* Content alone: a good one is taken under its whole name, a bad one stays opaque. */
static void by_content(void **state)
{
    struct bytes b = npy_of(1, DICT("'<f4'", "False", "(2,)"), 8);
    _cleanup_index_ struct lode_tensor_index *ix = NULL, *none = NULL;
    const char *format = NULL;
    assert_int_equal(index_bytes("weights", b, &ix, &format, NULL), 0);
    assert_string_equal(format, "npy");
    assert_string_equal(lode_index_get(ix, 0).name, "weights");
    b.len--;
    assert_int_equal(index_bytes("weights", b, &none, &format, NULL), 0);
    assert_string_equal(format, "opaque");
    assert_int_equal(lode_index_count(none), 0);
    free(b.at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(accepted),
        cmocka_unit_test(every_malformed_header),
        cmocka_unit_test(objects_are_refused),
        cmocka_unit_test(kept_opaque),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(lying_length),
        cmocka_unit_test(by_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
