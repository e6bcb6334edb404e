/* Sets of safetensors files with a *.safetensors.index.json: map and shards must agree in both
 * directions. */
#include <stdio.h>
#include "format/files.h"

#define ONE(name) "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}"
#define TWO(a, b)                                                                                  \
    "{\"" a "\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"                          \
    "\"" b "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}"

/* Shards with a, b and with c; the index last or first makes no difference. */
static int with_index(const char *index, struct lode_tensor_index **out, struct lode_err *err)
{
    struct set s = {0};
    set_add(&s, "m/model.safetensors.index.json", index, strlen(index));
    set_add_safetensors(&s, "m/model-00001-of-00002.safetensors", TWO("a", "b"), 3);
    set_add_safetensors(&s, "m/model-00002-of-00002.safetensors", ONE("c"), 2);
    int r = set_index(&s, out, err);
    for (size_t i = 0; i < s.n && r == 0; i++)
        assert_string_equal(s.inputs[i].format, "safetensors");
    set_release(&s);
    return r;
}

#define S1 "\"model-00001-of-00002.safetensors\""
#define S2 "\"model-00002-of-00002.safetensors\""

static void agreeing(void **state)
{
    static const char *const good[] = {
        "{\"metadata\":{\"total_size\":999999},\"weight_map\":{\"a\":" S1 ",\"b\":" S1 ",\"c\":" S2
        "}}",
        "{\"weight_map\":{\"c\":" S2 ",\"b\":" S1 ",\"a\":" S1
        "},\"metadata\":[{\"x\":[1,2]}],\"x\":null}",
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(good); i++) {
        _cleanup_index_ struct lode_tensor_index *ix = NULL;
        struct lode_tensor t;
        assert_int_equal(with_index(good[i], &ix, NULL), 0);
        assert_int_equal(lode_index_count(ix), 3);
        assert_true(lode_index_find(ix, "c", NULL, &t));
        assert_int_equal(t.file, 2);
    }
}

static void contradicting(void **state)
{
    static const struct {
        const char *index, *tells;
    } rows[] = {
        {"{\"weight_map\":{\"a\":" S1 ",\"c\":" S2 "}}",
         "'b' is in m/model-00001-of-00002.safetensors, but not in the weight map"},
        {"{\"weight_map\":{\"a\":" S1 ",\"b\":" S2 ",\"c\":" S2 "}}",
         "'b' should be in 'model-00002-of-00002.safetensors', but is not"},
        {"{\"weight_map\":{\"a\":" S1 ",\"b\":" S1 ",\"c\":" S2 ",\"d\":" S2 "}}",
         "'d' should be in"},
        {"{\"weight_map\":{\"a\":" S1 ",\"b\":" S1 ",\"c\":\"model-3.safetensors\"}}",
         "which is not there"},
        {"{\"weight_map\":{\"a\":" S1 ",\"a\":" S1 ",\"b\":" S1 ",\"c\":" S2 "}}", "comes twice"},
        {"{\"weight_map\":{\"a\":\"../m/model-00001-of-00002.safetensors\"}}", "index.json"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "index.json"},
        {"{\"weight_map\":{\"a\":\"\"}}", "index.json"},
        {"{\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\\u0000\"}}", "index.json"},
        {"{\"weight_map\":{\"a\\u0000\":" S1 "}}", "but is not"},
        {"{\"weight_map\":{\"a\":1}}", "strings to strings"},
        {"{\"weight_map\":{\"a\":null}}", "strings to strings"},
        {"{\"weight_map\":{\"a\":{}}}", "strings to strings"},
        {"{\"weight_map\":[]}", "weight_map is no object"},
        {"{\"weight_map\":{},\"weight_map\":{}}", "weight_map comes twice"},
        {"{\"metadata\":{}}", "no weight_map"},
        {"[]", "no object"},
        {"{\"weight_map\":{\"a\":" S1, "ends early"},
        {"", "empty"},
        {"{\"weight_map\":{\"a\":" S1 "}}x", "behind the end"},
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(rows); i++) {
        struct lode_tensor_index *ix = NULL;
        struct lode_err err = {0};
        assert_int_equal(with_index(rows[i].index, &ix, &err), LODE_INVALID);
        if (!strstr(err.text, rows[i].tells))
            fail_msg("'%s' does not tell '%s'", err.text, rows[i].tells);
    }
}

/* A name in two shards of a set is an error even though each file alone is fine. */
static void one_name_in_two_shards(void **state)
{
    static const char index[] = "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"1.safetensors\","
                                "\"c\":\"2.safetensors\"}}";
    struct set s = {0};
    struct lode_tensor_index *ix;
    struct lode_err err = {0};
    set_add(&s, "x.safetensors.index.json", index, sizeof index - 1);
    set_add_safetensors(&s, "1.safetensors", TWO("a", "b"), 3);
    set_add_safetensors(&s, "2.safetensors", TWO("c", "b"), 3);
    assert_int_equal(set_index(&s, &ix, &err), LODE_INVALID);
    assert_non_null(strstr(err.text, "'b'"));
    set_release(&s);
}

/* Two sets in one version, as diffusers has them, with a name in common: all of both are called by
 * their set. */
static void names_shared_by_sets(void **state)
{
    static const char index[] = "{\"weight_map\":{\"w\":\"1.safetensors\",\"x\":\"1.safetensors\","
                                "\"y\":\"2.safetensors\"}}";
    struct set s = {0};
    struct lode_tensor_index *ix;
    struct lode_tensor t;
    set_add(&s, "unet/m.safetensors.index.json", index, sizeof index - 1);
    set_add_safetensors(&s, "unet/1.safetensors", TWO("w", "x"), 3);
    set_add_safetensors(&s, "unet/2.safetensors", ONE("y"), 2);
    set_add_safetensors(&s, "vae/m.safetensors", ONE("w"), 2);
    set_add_safetensors(&s, "text/m.safetensors", ONE("other"), 2);
    assert_int_equal(set_index(&s, &ix, NULL), 0);
    static const char *const names[] = {"other", "unet/m.safetensors:w", "unet/m.safetensors:x",
                                        "unet/m.safetensors:y", "vae/m.safetensors:w"};
    assert_int_equal(lode_index_count(ix), LODE_ARRAY_LEN(names));
    for (size_t i = 0; i < LODE_ARRAY_LEN(names); i++)
        assert_string_equal(lode_index_get(ix, i).name, names[i]);
    assert_true(lode_index_find(ix, "unet/m.safetensors:y", NULL, &t));
    assert_int_equal(t.file, 2);
    lode_index_unref(ix);
    set_release(&s);
}

static void variants_and_lone_shards(void **state)
{
    static const char index[] = "{\"weight_map\":{\"w\":\"m.fp16.safetensors\"}}";
    struct set s = {0};
    struct lode_tensor_index *ix;
    set_add(&s, "m.safetensors.index.fp16.json", index, sizeof index - 1);
    set_add_safetensors(&s, "m.fp16.safetensors", ONE("w"), 2);
    set_add_safetensors(&s, "lone.safetensors", ONE("v"), 2); /* in no map: stands for itself */
    set_add(&s, "pytorch_model.bin.index.json", "{]", 2);     /* not ours */
    assert_int_equal(set_index(&s, &ix, NULL), 0);
    assert_int_equal(lode_index_count(ix), 2);
    assert_string_equal(s.inputs[3].format, "opaque");
    lode_index_unref(ix);
    set_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agreeing),
        cmocka_unit_test(contradicting),
        cmocka_unit_test(one_name_in_two_shards),
        cmocka_unit_test(names_shared_by_sets),
        cmocka_unit_test(variants_and_lone_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
