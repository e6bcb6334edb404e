/* The driver: which format takes which file, plug-ins' formats, what stays opaque, and errors of
 * the reader. */
#include "format/files.h"

#define ONE "{\"w\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}"

static void mixed_directory(void **state)
{
    struct set s = {0};
    struct lode_tensor_index *ix;
    set_add(&s, "config.json", "{\"a\":1}", 7);
    set_add_safetensors(&s, "model.safetensors", ONE, 2);
    set_add_safetensors(&s, "model.pkl", ONE, 2); /* a pickle by name is never looked into */
    set_add_safetensors(&s, "renamed", ONE, 2); /* by content: its names give way to the first's */
    set_add_safetensors(&s, "broken", ONE, 3);  /* looks like it, but is not */
    set_add(&s, "empty", "", 0);
    set_add(&s, "model.pt", "\x80\x02}q\x00.", 6);
    set_add(&s, "tokenizer/vocab.txt", "a\nb\n", 4);
    assert_int_equal(set_index(&s, &ix, NULL), 0);
    static const char *const formats[] = {"opaque", "safetensors", "opaque", "safetensors",
                                          "opaque", "opaque",      "opaque", "opaque"};
    for (size_t i = 0; i < s.n; i++)
        assert_string_equal(s.inputs[i].format, formats[i]);
    assert_int_equal(lode_index_count(ix), 2);
    assert_string_equal(lode_index_get(ix, 0).name, "renamed:w");
    assert_string_equal(lode_index_get(ix, 1).name, "w"); /* of the file that says what it is */
    lode_index_unref(ix);
    set_release(&s);
}

static void nothing(void **state)
{
    struct lode_tensor_index *ix;
    assert_int_equal(lode_format_index_files(NULL, 0, set_read, NULL, &ix, NULL), 0);
    assert_int_equal(lode_index_count(ix), 0);
    lode_index_unref(ix);
}

static int calls_left;

static int failing_read(void *arg, unsigned number, uint64_t offset, void *into, size_t len,
                        struct lode_err *err)
{
    if (calls_left-- == 0)
        return lode_err_set(err, LODE_IO, "the disk is gone");
    return set_read(arg, number, offset, into, len, err);
}

static void reader_fails(void **state)
{
    struct set s = {0};
    set_add_safetensors(&s, "a.safetensors", ONE, 2);
    set_add_safetensors(&s, "by content", ONE, 2);
    for (int fail_at = 0;; fail_at++) {
        struct lode_tensor_index *ix = NULL;
        struct lode_err err = {0};
        calls_left = fail_at;
        int r = lode_format_index_files(s.inputs, s.n, failing_read, &s, &ix, &err);
        if (r == 0) {
            assert_true(fail_at >= 4);
            lode_index_unref(ix);
            break;
        }
        assert_int_equal(r, LODE_IO); /* never mistaken for a malformed file */
        assert_string_equal(err.text, "the disk is gone");
    }
    set_release(&s);
}

/* A plug-in's format: one byte a tensor, "N" in front. */
struct toy {
    struct lode_format base;
    const struct lode_format_file *file;
    struct lode_index_builder *into;
    int state;
    uint8_t n;
};

static enum lode_format_match toy_match(const struct lode_format_file *f)
{
    return strstr(f->path, ".toy") ? LODE_FORMAT_BY_NAME : LODE_FORMAT_NO;
}

static int toy_open(const struct lode_format_file *files, size_t n, struct lode_index_builder *into,
                    struct lode_format **out, struct lode_err *err)
{
    struct toy *t = calloc(1, sizeof *t);
    t->file = files;
    t->into = into;
    *out = &t->base;
    return 0;
}

static int toy_step(struct lode_format *base, struct lode_format_need *need, struct lode_err *err)
{
    struct toy *t = (struct toy *)base;
    if (t->state == 0) {
        /* a liar asks for more than there is */
        *need = (struct lode_format_need){t->file->number, 0,
                                          strstr(t->file->path, "liar") ? t->file->size + 1 : 1};
        return LODE_FORMAT_NEED;
    }
    for (uint8_t i = 0; i < t->n; i++) {
        char name[2] = {(char)('a' + i), 0};
        struct lode_tensor tensor = {
            .dtype = LODE_DTYPE_U8, .len = 1, .offset = 1u + i, .file = t->file->number};
        int e = lode_index_add(t->into, name, 1, &tensor, err);
        if (e < 0)
            return e;
    }
    return LODE_FORMAT_DONE;
}

static int toy_feed(struct lode_format *base, const void *bytes, size_t len, struct lode_err *err)
{
    struct toy *t = (struct toy *)base;
    t->n = *(const uint8_t *)bytes;
    t->state = 1;
    return 0;
}

static void toy_close(struct lode_format *base)
{
    free(base);
}

static const struct lode_format_ops toy = {.abi = LODE_FORMAT_ABI,
                                           .name = "toy",
                                           .match = toy_match,
                                           .open = toy_open,
                                           .step = toy_step,
                                           .feed = toy_feed,
                                           .close = toy_close};

static void plugged_in(void **state)
{
    struct lode_format_ops wrong = toy;
    wrong.abi = LODE_FORMAT_ABI + 1;
    assert_int_equal(lode_format_register(&wrong, NULL), LODE_INVALID);
    wrong = toy;
    wrong.feed = NULL;
    assert_int_equal(lode_format_register(&wrong, NULL), LODE_INVALID);
    wrong = toy;
    wrong.name = "npy";
    assert_int_equal(lode_format_register(&wrong, NULL), LODE_EXISTS);
    assert_int_equal(lode_format_register(&toy, NULL), 0);

    struct set s = {0};
    struct lode_tensor_index *ix = NULL;
    set_add(&s, "x.toy", "\3abc", 4);
    assert_int_equal(set_index(&s, &ix, NULL), 0);
    assert_string_equal(s.inputs[0].format, "toy");
    assert_int_equal(lode_index_count(ix), 3);
    lode_index_unref(ix);
    set_add(&s, "liar.toy", "\3abc", 4);
    assert_int_equal(set_index(&s, &ix, NULL), LODE_INTERNAL);
    set_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixed_directory),
        cmocka_unit_test(nothing),
        cmocka_unit_test(reader_fails),
        cmocka_unit_test(plugged_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
