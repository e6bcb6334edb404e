/* Globs, at their edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/glob.h"

struct glob_case {
    const char *pattern, *text;
    bool as_path, as_name;
};

static const struct glob_case cases[] = {
    {"a", "a", 1, 1},
    {"a", "b", 0, 0},
    {"", "", 1, 1},
    {"*", "", 1, 1},
    {"*", "abc", 1, 1},
    {"*", "a/b", 0, 1},
    {"**", "a/b/c", 1, 1},
    {"**/x", "x", 1, 0},
    {"**/x", "a/x", 1, 1},
    {"**/x", "a/b/x", 1, 1},
    {"**/x", "a/bx", 0, 0},
    {"a/**", "a/b/c", 1, 1},
    {"a/**/z", "a/z", 1, 0},
    {"a/**/z", "a/b/c/z", 1, 1},
    {"a/*/z", "a/b/c/z", 0, 1},
    {"*.json", "a.json", 1, 1},
    {"*.json", "d/a.json", 0, 1},
    {"**.json", "d/a.json", 1, 1},
    {"a?c", "abc", 1, 1},
    {"a?c", "a/c", 0, 1},
    {"[a-c]x", "bx", 1, 1},
    {"[!a-c]x", "bx", 0, 0},
    {"[!a-c]x", "dx", 1, 1},
    {"[]]", "]", 1, 1},
    {"[a-]", "-", 1, 1},
    {"[abc", "[abc", 1, 1},
    {"[/]", "/", 0, 1},
    {"\\*", "*", 1, 1},
    {"\\*", "a", 0, 0},
    {"*a*b*c", "xxaxxbxxc", 1, 1},
    {"*a*b*c", "xxaxxcxxb", 0, 0},
    {"**/a*/**/b", "x/ab/c/d/b", 1, 1},
    {"layer.*.weight", "layer.0.attn.weight", 1, 1},
};

static void table(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct glob_case *c = &cases[i];
        if (lode_glob_match(c->pattern, c->text, true) != c->as_path ||
            lode_glob_match(c->pattern, c->text, false) != c->as_name)
            fail_msg("'%s' and '%s'", c->pattern, c->text);
    }
}

/* What makes a naive matcher run for years. */
static void hostile(void **state)
{
    char text[4001], pattern[400];
    memset(text, 'a', 4000);
    text[4000] = 0;
    for (size_t i = 0; i < 398; i += 2)
        memcpy(pattern + i, "*a", 2);
    memcpy(pattern + 396, "*b", 3);
    assert_false(lode_glob_match(pattern, text, true));
    assert_false(lode_glob_match(pattern, text, false));
}

static void any(void **state)
{
    const char *const patterns[] = {"a*", "*z"};
    assert_true(lode_glob_any(patterns, 2, "bz", true, false));
    assert_false(lode_glob_any(patterns, 2, "b", true, true));
    assert_true(lode_glob_any(NULL, 0, "b", true, true));
    assert_false(lode_glob_any(NULL, 0, "b", true, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(hostile),
                                       cmocka_unit_test(any)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
