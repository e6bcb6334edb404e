/* The JSON tokenizer: what RFC 8259 allows and refuses, exact numbers, and that the way the bytes
 * are cut into chunks never shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <string.h>
#include "base/attr.h"
#include "base/buf.h"
#include "base/jsontok.h"
#include "base/limits.h"

struct text {
    const char *s;
    size_t len;
};
#define T(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

/* All tokens as text, one a line: what two readings must agree on. `step` bytes are fed at a time.
 */
static int tokens(const char *s, size_t len, size_t step, struct lode_buf *out,
                  struct lode_err *err)
{
    struct lode_jsontok t;
    struct lode_json_tok tok;
    size_t fed = 0;
    int r;
    lode_jsontok_init(&t, "the text", 64);
    while ((r = lode_jsontok_next(&t, &tok, err)) > 0) {
        if (r == LODE_JSONTOK_MORE && fed == len) {
            lode_jsontok_end(&t);
        } else if (r == LODE_JSONTOK_MORE) {
            size_t n = lode_min(step, len - fed);
            char *chunk =
                malloc(n); /* exact size, and gone afterwards: nothing may look behind or back */
            memcpy(chunk, s + fed, n);
            lode_jsontok_feed(&t, chunk, n);
            fed += n;
            while ((r = lode_jsontok_next(&t, &tok, err)) == LODE_JSONTOK_TOK) {
                lode_buf_addf(out, "%d %u %llu %llu %lld %.17g ", tok.type, tok.depth,
                              (unsigned long long)tok.at, (unsigned long long)tok.u64,
                              (long long)tok.i64, tok.number);
                lode_buf_add(out, tok.text, tok.len);
                lode_buf_addc(out, '\n');
            }
            free(chunk);
            if (r < 0)
                break;
        } else {
            lode_buf_addf(out, "%d %u %llu %llu %lld %.17g \n", tok.type, tok.depth,
                          (unsigned long long)tok.at, (unsigned long long)tok.u64,
                          (long long)tok.i64, tok.number);
        }
    }
    lode_jsontok_release(&t);
    return r;
}

static int reading(const char *s, size_t len)
{
    _cleanup_buf_ struct lode_buf whole = LODE_BUF_INIT(1 << 20);
    struct lode_err err = {0};
    int r = tokens(s, len, len ? len : 1, &whole, &err);
    assert_true(r == 0 || err.text[0]);
    for (size_t step = 1; step < 5 && step < len; step++) {
        _cleanup_buf_ struct lode_buf cut = LODE_BUF_INIT(1 << 20);
        assert_int_equal(tokens(s, len, step, &cut, NULL), r);
        assert_string_equal(lode_buf_str(&cut), lode_buf_str(&whole));
    }
    return r;
}

static void accepted(void **state)
{
    static const struct text good[] = {
        T("null"),
        T(" true "),
        T("\tfalse\r\n"),
        T("0"),
        T("-0"),
        T("[]"),
        T("{}"),
        T("[1,2]"),
        T("[[],{}]"),
        T("{\"a\":1,\"b\":[true,false,null]}"),
        T("\"\""),
        T("\"\\u0000\""),
        T("\"\\ud83d\\ude00\""),
        T("\"\xf0\x9f\x98\x80\""),
        T("\"\xc3\xa9\""),
        T("\"\x7f\""),
        T("1e5"),
        T("1E+5"),
        T("-1.5e-3"),
        T("0.0"),
        T("18446744073709551615"),
        T("18446744073709551616"),
        T("-9223372036854775808"),
        T("1e999"),
        T("{\"a\":1,\"a\":2}"),
        T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
        T("\"\xef\xbf\xbf\""),
        T("[ 1 , { \"x\" : [ ] } ]"),
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(good); i++)
        assert_int_equal(reading(good[i].s, good[i].len), 0);
}

static const struct text bad[] = {
    T(""),
    T(" "),
    T("nul"),
    T("nulll"),
    T("True"),
    T("+1"),
    T("01"),
    T("-"),
    T("1."),
    T(".5"),
    T("1e"),
    T("1e+"),
    T("0x1"),
    T("1 2"),
    T("[1,]"),
    T("[,1]"),
    T("[1 2]"),
    T("[1"),
    T("]"),
    T("{"),
    T("{\"a\"}"),
    T("{\"a\":}"),
    T("{\"a\":1,}"),
    T("{a:1}"),
    T("{1:1}"),
    T("{\"a\":1 \"b\":2}"),
    T("{\"a\"::1}"),
    T("[}"),
    T("{]"),
    T("{\"a\":1]"),
    T("\""),
    T("\"a"),
    T("\"\n\""),
    T("\"\x1f\""),
    T("\"\\x\""),
    T("\"\\u12g4\""),
    T("\"\\u123\""),
    T("\"\\ud800\""),
    T("\"\\udc00\""),
    T("\"\\ud800x\""),
    T("\"\\ud800\\n\""),
    T("\"\\ud800\\ud800\""),
    T("\"\x80\""),
    T("\"\xc0\xaf\""),
    T("\"\xed\xa0\x80\""),
    T("\"\xf4\x90\x80\x80\""),
    T("\"\xc3\""),
    T("\"\xe2\x82\""),
    T("\"\xf5\x80\x80\x80\""),
    T("\"\xc3\\n\""),
    T("\"a\0b\""),
    T("\0"),
    T("[1]\0"),
    T("\xef\xbb\xbf[]"),
    T("'a'"),
    T("NaN"),
    T("Infinity"),
    T("[1]]"),
    T("{}{}"),
    T("/**/1"),
    T("--1"),
    T("1-"),
    T("1e5.5"),
    T("[\"a\":1]"),
    T("\"\\\""),
    T("tru e"),
    T("[1,\v2]"),
    T("\"\\ud800\\\""),
    T("-a"),
    T("[-]"),
};

static void refused(void **state)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(bad); i++)
        assert_int_equal(reading(bad[i].s, bad[i].len), LODE_INVALID);
}

static struct lode_json_tok only(const char *s)
{
    struct lode_jsontok t;
    struct lode_json_tok tok;
    lode_jsontok_init(&t, "the text", 64);
    lode_jsontok_feed(&t, s, strlen(s));
    lode_jsontok_end(&t);
    assert_int_equal(lode_jsontok_next(&t, &tok, NULL), LODE_JSONTOK_TOK);
    lode_jsontok_release(&t);
    return tok;
}

static void numbers(void **state)
{
    assert_true(only("18446744073709551615").u64 == UINT64_MAX);
    assert_int_equal(only("18446744073709551615").type, LODE_JSON_U64);
    assert_int_equal(only("18446744073709551616").type, LODE_JSON_DOUBLE);
    assert_true(only("-9223372036854775808").i64 == INT64_MIN);
    assert_int_equal(only("-9223372036854775809").type, LODE_JSON_DOUBLE);
    assert_int_equal(only("-0").type, LODE_JSON_I64);
    assert_int_equal(only("1.0").type, LODE_JSON_DOUBLE);
    assert_int_equal(only("1e2").type, LODE_JSON_DOUBLE);
    assert_true(only("0.1").number == 0.1);
    assert_true(only("9007199254740993").u64 == 9007199254740993u);
    assert_true(only("2.2250738585072014e-308").number == 2.2250738585072014e-308);
    char longest[LODE_JSONTOK_NUMBER_MAX + 2];
    memset(longest, '1', sizeof longest);
    struct lode_buf out = LODE_BUF_INIT(4096);
    assert_int_equal(tokens(longest, LODE_JSONTOK_NUMBER_MAX, 7, &out, NULL), 0);
    assert_int_equal(tokens(longest, LODE_JSONTOK_NUMBER_MAX + 1, 7, &out, NULL), LODE_LIMIT);
    lode_buf_release(&out);
}

static void depth(void **state)
{
    char deep[2 * LODE_JSON_DEPTH_MAX + 2];
    memset(deep, '[', LODE_JSON_DEPTH_MAX);
    memset(deep + LODE_JSON_DEPTH_MAX, ']', LODE_JSON_DEPTH_MAX);
    assert_int_equal(reading(deep, 2 * LODE_JSON_DEPTH_MAX), 0);
    memset(deep, '[', LODE_JSON_DEPTH_MAX + 1);
    assert_int_equal(reading(deep, LODE_JSON_DEPTH_MAX + 1), LODE_LIMIT);
    /* objects and arrays by turns: the word of bits tells them apart */
    assert_int_equal(reading("[{\"a\":[{\"b\":[{}]}]}]", 20), 0);
    assert_int_equal(reading("[{\"a\":[{\"b\":[{]}]}]}", 20), LODE_INVALID);
}

static void text_limit(void **state)
{
    char s[70];
    memset(s, 'x', sizeof s);
    s[0] = s[65] = '"';
    assert_int_equal(reading(s, 66), 0); /* 64 bytes, the limit that tokens() sets */
    s[65] = 'x';
    s[66] = '"';
    assert_int_equal(reading(s, 67), LODE_LIMIT);
}

static void discarded_text_has_no_limit(void **state)
{
    struct lode_jsontok t;
    struct lode_json_tok tok;
    size_t len = 1 << 20;
    char *s = malloc(len);
    memset(s, 'x', len);
    s[0] = s[len - 1] = '"';
    lode_jsontok_init(&t, "the text", 8);
    t.discard = true;
    for (size_t at = 0; at < len; at += 4096) {
        lode_jsontok_feed(&t, s + at, 4096);
        if (at + 4096 < len)
            assert_int_equal(lode_jsontok_next(&t, &tok, NULL), LODE_JSONTOK_MORE);
    }
    assert_int_equal(lode_jsontok_next(&t, &tok, NULL), LODE_JSONTOK_TOK);
    assert_null(tok.text);
    assert_true(t.text.cap <= 64);
    lode_jsontok_release(&t);
    free(s);
}

static void skipping(void **state)
{
    static const char s[] =
        "{\"a\":{\"x\":[1,{\"y\":\"long text of more than eight\"}]},\"b\":2,\"c\":[3],\"d\":4}";
    struct lode_jsontok t;
    struct lode_json_tok tok;
    lode_jsontok_init(&t, "the text", 8);
    lode_jsontok_feed(&t, s, sizeof s - 1);
    lode_jsontok_end(&t);
    assert_int_equal(lode_jsontok_next(&t, &tok, NULL), 1);
    for (const char *key = "abcd"; *key; key++) {
        assert_int_equal(lode_jsontok_next(&t, &tok, NULL), 1);
        assert_int_equal(tok.type, LODE_JSON_KEY);
        assert_int_equal(tok.len, 1);
        assert_int_equal(tok.text[0], *key);
        assert_int_equal(lode_jsontok_skip(&t, &tok, NULL), 0);
    }
    assert_int_equal(lode_jsontok_next(&t, &tok, NULL), 1);
    assert_int_equal(tok.type, LODE_JSON_OBJECT_END);
    assert_int_equal(lode_jsontok_next(&t, &tok, NULL), LODE_JSONTOK_DONE);
    lode_jsontok_release(&t);
}

static void says_where(void **state)
{
    struct lode_buf out = LODE_BUF_INIT(4096);
    struct lode_err err = {0};
    assert_int_equal(tokens("[1, 2, x]", 9, 3, &out, &err), LODE_INVALID);
    assert_non_null(strstr(err.text, "byte 7"));
    assert_non_null(strstr(err.text, "the text"));
    lode_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),   cmocka_unit_test(refused),
        cmocka_unit_test(numbers),    cmocka_unit_test(depth),
        cmocka_unit_test(text_limit), cmocka_unit_test(discarded_text_has_no_limit),
        cmocka_unit_test(skipping),   cmocka_unit_test(says_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
