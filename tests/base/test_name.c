/* Names and paths: the rule of the design, at its edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/name.h"

static int name(const char *s)
{
    return lode_name_check(LODE_NAME_VERSION, s, strlen(s), NULL);
}

static void names(void **state)
{
    assert_int_equal(name("v1"), 0);
    assert_int_equal(name("20261121T093000Z-2"), 0);
    assert_int_equal(name("7"), LODE_INVALID);
    assert_int_equal(name("latest"), LODE_INVALID);
    assert_int_equal(name(""), LODE_INVALID);
    assert_int_equal(name(".x"), LODE_INVALID);
    assert_int_equal(name("a/b"), LODE_INVALID);
    assert_int_equal(name("a%2Fb"), LODE_INVALID);
    assert_int_equal(lode_name_check(LODE_NAME_MODEL, "a\0b", 3, NULL), LODE_INVALID);
    assert_int_equal(lode_name_check(LODE_NAME_MODEL, "7", 1, NULL), 0);
    char longest[129];
    memset(longest, 'a', sizeof longest);
    assert_int_equal(lode_name_check(LODE_NAME_MODEL, longest, 128, NULL), 0);
    assert_int_equal(lode_name_check(LODE_NAME_MODEL, longest, 129, NULL), LODE_INVALID);
}

static int path(const char *s)
{
    return lode_path_check(s, strlen(s), NULL);
}

static void paths(void **state)
{
    assert_int_equal(path("a/b/c.safetensors"), 0);
    assert_int_equal(path("\xc3\xa9/x"), 0);
    assert_int_equal(path("a/_lode"), 0);
    static const char *const bad[] = {
        "",      "/a",      "a/",   "a//b", ".",        "..",           "a/../b",   "a/./b",
        "_lode", "_lode/x", "a\nb", "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xc2\x85", "a\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(path(bad[i]), LODE_INVALID);
}

static void quoting(void **state)
{
    char out[32];
    assert_string_equal(lode_quote("a\nb", 3, out, sizeof out), "'a\\x0ab'");
    assert_string_equal(lode_quote("0123456789012345678901234567890", 31, out, sizeof out),
                        "'0123456789012345678...'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(paths),
                                       cmocka_unit_test(quoting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
