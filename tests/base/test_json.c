/* JSON documents: what is refused, and that getters name the field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "support/fault_sys.h"

static json_t *parse(const char *s)
{
    json_t *doc = NULL;
    struct lode_err err;
    if (lode_json_parse(s, strlen(s), "the reply", &doc, &err) < 0)
        fail_msg("%s", err.text);
    return doc;
}

static void refuses(void **state)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "{}x",
                                      "{} {}",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":01}",
                                      "[1,]",
                                      "\"\xff\"",
                                      "\"\\ud800\"",
                                      "{'a':1}",
                                      "nul",
                                      "\"a\\u0000b\"",
                                      "1e999",
                                      "99999999999999999999"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(bad); i++) {
        json_t *doc = NULL;
        struct lode_err err = {0};
        if (lode_json_parse(bad[i], strlen(bad[i]), "the reply", &doc, &err) != LODE_INVALID)
            fail_msg("was read: %s", bad[i]);
        assert_null(doc);
        assert_non_null(strstr(err.text, "the reply"));
    }
    json_t *none = NULL;
    assert_int_equal(lode_json_parse("{}\0{", 4, "the reply", &none, NULL), LODE_INVALID);
    assert_int_equal(lode_json_parse("{\0}", 3, "the reply", &none, NULL), LODE_INVALID);
    assert_int_equal(lode_json_parse("", 0, "the reply", &none, NULL), LODE_INVALID);
}

static int nested(size_t depth)
{
    char text[4096];
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    json_t *doc = NULL;
    int r = lode_json_parse(text, 2 * depth, "it", &doc, NULL);
    json_decref(doc);
    return r;
}

static void bounds_the_depth(void **state)
{
    assert_int_equal(nested(LODE_JSON_DEPTH_MAX), 0);
    assert_int_equal(nested(LODE_JSON_DEPTH_MAX + 2), LODE_INVALID);
    assert_int_equal(nested(2000), LODE_INVALID);
}

static void required_fields(void **state)
{
    _cleanup_json_ json_t *doc =
        parse("{\"s\":\"x\",\"i\":-3,\"u\":9,\"o\":{},\"a\":[],\"r\":1.0,\"n\":null}");
    struct lode_err err;
    const char *s;
    int64_t i;
    uint64_t u;
    json_t *v;
    assert_int_equal(lode_json_str(doc, "s", &s, &err), 0);
    assert_string_equal(s, "x");
    assert_int_equal(lode_json_i64(doc, "i", &i, &err), 0);
    assert_int_equal(i, -3);
    assert_int_equal(lode_json_u64(doc, "u", &u, &err), 0);
    assert_int_equal(u, 9);
    assert_int_equal(lode_json_obj(doc, "o", &v, &err), 0);
    assert_int_equal(lode_json_arr(doc, "a", &v, &err), 0);
    assert_int_equal(lode_json_u64(doc, "i", &u, &err), LODE_INVALID);
    assert_int_equal(lode_json_i64(doc, "r", &i, &err), LODE_INVALID);
    assert_int_equal(lode_json_obj(doc, "a", &v, &err), LODE_INVALID);
    assert_int_equal(lode_json_str(doc, "n", &s, &err), LODE_INVALID);
    assert_int_equal(lode_json_str(doc, "gone", &s, &err), LODE_INVALID);
    assert_string_equal(err.text, "field 'gone' is missing");
}

static void optional_fields(void **state)
{
    _cleanup_json_ json_t *doc = parse("{\"n\":null,\"b\":true,\"s\":5}");
    const char *s = "default";
    bool b = false;
    int64_t i = 7;
    assert_int_equal(lode_json_opt_str(doc, "gone", &s, NULL), 0);
    assert_int_equal(lode_json_opt_str(doc, "n", &s, NULL), 0);
    assert_string_equal(s, "default");
    assert_int_equal(lode_json_opt_i64(doc, "gone", &i, NULL), 0);
    assert_int_equal(i, 7);
    assert_int_equal(lode_json_opt_bool(doc, "b", &b, NULL), 0);
    assert_true(b);
    assert_int_equal(lode_json_opt_str(doc, "s", &s, NULL), LODE_INVALID);
    assert_int_equal(lode_json_opt_bool(doc, "s", &b, NULL), LODE_INVALID);
}

static void unknown_fields(void **state)
{
    static const char *const allowed[] = {"a", "b", NULL};
    _cleanup_json_ json_t *good = parse("{\"b\":1}"), *bad = parse("{\"a\":1,\"c\\n\":2}"),
                          *list = parse("[]");
    struct lode_err err;
    assert_int_equal(lode_json_only(good, allowed, "the request", &err), 0);
    assert_int_equal(lode_json_only(bad, allowed, "the request", &err), LODE_INVALID);
    assert_string_equal(err.text, "the request has an unknown field 'c\\x0a'");
    assert_int_equal(lode_json_only(list, allowed, "the request", &err), LODE_INVALID);
}

/* A text is whole or there is none, whichever allocation fails. */
static void text_without_memory(void **state)
{
    json_t *doc = json_object();
    char key[40], *whole, *text;
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "a key of some length, number %d", i);
        json_object_set_new(doc, key, json_string("value"));
    }
    whole = lode_json_text(doc, NULL);
    assert_non_null(whole);
    bool hit = true;
    for (uint64_t nth = 1; hit; nth++) {
        fault_install();
        fault_fail(FAULT_MALLOC, nth, ENOMEM, FAULT_ONCE);
        text = lode_json_text(doc, NULL);
        hit = fault_fired() > 0;
        fault_uninstall();
        if (hit)
            assert_null(text);
        else
            assert_string_equal(text, whole);
        lode_free(text);
    }
    lode_free(whole);
    json_decref(doc);
}

static void quoting_is_read_back(void **state)
{
    char raw[256];
    for (int i = 0; i < 127; i++)
        raw[i] = (char)(i + 1);
    memcpy(raw + 127, "\xc3\xa9\xf0\x9f\x98\x80", 7);
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(4096);
    lode_json_quote(&b, raw, strlen(raw));
    _cleanup_json_ json_t *doc = parse(lode_buf_str(&b));
    assert_string_equal(json_string_value(doc), raw);
    size_t len = 0;
    _cleanup_free_ char *text = lode_json_text(doc, &len);
    assert_int_equal(len, strlen(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses),
        cmocka_unit_test(bounds_the_depth),
        cmocka_unit_test(required_fields),
        cmocka_unit_test(optional_fields),
        cmocka_unit_test(unknown_fields),
        cmocka_unit_test(text_without_memory),
        cmocka_unit_test(quoting_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
