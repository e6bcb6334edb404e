/* The filter's grammar and meaning; page tokens; names that are near. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "catalog/filter.h"
#include "catalog/page_token.h"
#include "catalog/records.h"

static struct lode_tag tags[] = {{(char *)(uintptr_t) "odd key", (char *)(uintptr_t) "it's"},
                                 {(char *)(uintptr_t) "team", (char *)(uintptr_t) "search"}};
static struct lode_metric metrics[] = {{(char *)(uintptr_t) "auc", 0.9},
                                       {(char *)(uintptr_t) "loss", -2.5}};
static const struct lode_version version = {.name = (char *)(uintptr_t) "rank-de",
                                            .version = (char *)(uintptr_t) "v1",
                                            .seq = 3,
                                            .state = LODE_COMMITTED,
                                            .created_ms = 1795253400000,
                                            .size = 1ull << 60 | 1,
                                            .format = (char *)(uintptr_t) "safetensors",
                                            .parameters = 7,
                                            .tags = tags,
                                            .n_tags = 2,
                                            .metrics = metrics,
                                            .n_metrics = 2};

static bool match(const char *text)
{
    _cleanup_filter_ struct lode_filter_node *f = NULL;
    struct lode_err err = {0};
    if (lode_filter_parse(text, &f, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return lode_filter_match(f, &version);
}

static void meaning(void **state)
{
    static const char *const yes[] = {"name = 'rank-de'",
                                      "name != 'x'",
                                      "name LIKE 'rank-%'",
                                      "name LIKE '%-d_'",
                                      "name ILIKE 'RANK%'",
                                      "seq = 3",
                                      "seq >= 3 and seq < 4",
                                      "NOT seq = 4",
                                      "seq IN (1, 2, 3)",
                                      "metrics.auc >= 0.9 AND tags.team = 'search'",
                                      "tags.`odd key` = 'it''s'",
                                      "metrics.loss < -2.4e0",
                                      "created < '2027-01-01'",
                                      "created = '2026-11-21T09:30:00Z'",
                                      "state = 'committed'",
                                      "NOT tags.none = 'x'",
                                      "NOT tags.none != 'x'",
                                      "NOT (metrics.none > 1 OR seq = 4)",
                                      "seq = 4 OR seq = 3 AND name = 'rank-de'",
                                      "(seq = 4 OR seq = 3) AND parameters = 7",
                                      "size > 1.15e18",
                                      "NOT size = 1152921504606846976",
                                      "format IN ('npy','safetensors')",
                                      "name > 'rank'",
                                      "NOT NOT seq = 3",
                                      "tags.team LIKE '%ear%'",
                                      "name LIKE 'rank\\-de'",
                                      "version LIKE '%%%1'",
                                      "name LIKE '%'",
                                      "seq=+3",
                                      "seq=.3e1"};
    static const char *const no[] = {
        "name LIKE 'RANK%'",        "tags.none != 'x'", "metrics.none IN (1)",
        "name LIKE 'rank'",         "name LIKE '_'",    "seq = 3 AND NOT seq = 3",
        "tags.team LIKE 'search_'", "name < 'rank'",    "size = 1152921504606846976",
        "name LIKE 'rank\\%'",      "version LIKE ''"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (!match(yes[i]))
            fail_msg("%s does not match", yes[i]);
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        if (match(no[i]))
            fail_msg("%s matches", no[i]);
    }
}

static void refused(void **state)
{
    static const struct {
        const char *text, *shows;
    } bad[] = {{"", "byte 1"},
               {"seq", "byte 4"},
               {"seq =", "^"},
               {"seq = 'x'", "seq = ^'x'"},
               {"name = 3", "name = ^3"},
               {"seq = 3 seq = 4", "seq = 3 ^seq"},
               {"(seq = 3", "^"},
               {"nme = 'x'", "^nme"},
               {"name = 'x", "not closed"},
               {"tags.`a = 'x'", "backtick"},
               {"tags. = 'x'", "key"},
               {"seq LIKE '3'", "only texts"},
               {"created = 'soon'", "a time"},
               {"state = 'gone'", "a state"},
               {"seq = 1e999", "double"},
               {"seq = 0x10", "a number"},
               {"seq IN ()", "a number"},
               {"seq IN (1,)", "a number"},
               {"seq NOT IN (1)", "NOT goes before"},
               {"AND seq = 1", "a field"},
               {"seq = 1 AND", "a field"},
               {"seq == 1", "a number"},
               {"name = \"x\"", "quotes"},
               {"name = 'a\xff'", "UTF-8"},
               {"NOT", "a field"},
               {"seq = nan", "a number"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lode_filter_node *f = NULL;
        struct lode_err err = {0};
        if (lode_filter_parse(bad[i].text, &f, &err) != LODE_INVALID || f)
            fail_msg("'%s' passed", bad[i].text);
        if (!strstr(err.text, bad[i].shows))
            fail_msg("'%s': '%s' does not show '%s'", bad[i].text, err.text, bad[i].shows);
    }
}

static int repeat(const char *head, const char *piece, unsigned n, const char *tail)
{
    _cleanup_buf_ struct lode_buf b = LODE_BUF_INIT(100000);
    _cleanup_filter_ struct lode_filter_node *f = NULL;
    lode_buf_adds(&b, head);
    for (unsigned i = 0; i < n; i++)
        lode_buf_adds(&b, piece);
    lode_buf_adds(&b, tail);
    return lode_filter_parse(lode_buf_str(&b), &f, NULL);
}

static void limits(void **state)
{
    assert_int_equal(repeat("seq = 1", " AND seq = 1", 63, ""), 0);
    assert_int_equal(repeat("seq = 1", " AND seq = 1", 64, ""), LODE_LIMIT);
    assert_int_equal(repeat("name = '", "x", 4000, "'"), 0);
    assert_int_equal(repeat("name = '", "x", 4096, "'"), LODE_LIMIT);
    assert_int_equal(repeat("", "(", 4000, ""), LODE_INVALID);
    assert_int_equal(repeat("", "NOT ", 1000, "seq = 1"), LODE_INVALID);
    assert_int_equal(repeat("", "NOT ", 60, "seq = 1"), 0);
}

static void likes(void **state)
{
    assert_true(lode_like("%a%b%", 5, "xxaxxbxx", 8, false));
    assert_false(lode_like("%a%b", 4, "xxaxxbxx", 8, false));
    assert_true(lode_like("_", 1, "\xc3\xa9", 2, false));
    assert_false(lode_like("__", 2, "\xc3\xa9", 2, false));
    assert_true(lode_like("%", 1, "", 0, false));
    assert_false(lode_like("_", 1, "", 0, false));
    char text[2001], pattern[] = "%a%a%a%a%a%a%a%a%a%a%b";
    memset(text, 'a', 2000);
    assert_false(lode_like(pattern, sizeof pattern - 1, text, 2000, false));
}

static void sorts(void **state)
{
    struct lode_sort s;
    assert_int_equal(lode_sort_parse("created:desc", &s, NULL), 0);
    assert_true(s.field.kind == LODE_FIELD_CREATED && s.descending);
    assert_int_equal(lode_sort_parse("metrics.`a:b`:asc", &s, NULL), 0);
    assert_true(s.field.kind == LODE_FIELD_METRIC && !s.descending &&
                strcmp(s.field.key, "a:b") == 0);
    assert_int_equal(lode_sort_parse("created:down", &s, NULL), LODE_INVALID);
    assert_int_equal(lode_sort_parse("nothing", &s, NULL), LODE_INVALID);
    assert_int_equal(lode_sort_parse("", &s, NULL), LODE_INVALID);
}

/* Every truncation and every changed character of a token is refused, and so is it with another
 * query. */
static void tokens(void **state)
{
    struct lode_page_mark m = {.query = 77,
                               .id = 5,
                               .kind = LODE_MARK_TEXT,
                               .text = (char *)(uintptr_t) "value",
                               .len = 5},
                          out;
    _cleanup_free_ char *t = lode_page_token(&m);
    assert_int_equal(lode_page_parse(t, 77, &out, NULL), 0);
    assert_true(out.id == 5 && out.len == 5 && memcmp(out.text, "value", 5) == 0);
    lode_page_mark_release(&out);
    assert_int_equal(lode_page_parse(t, 78, &out, NULL), LODE_INVALID);
    for (size_t i = 0; t[i]; i++) {
        char was = t[i];
        t[i] = was == '0' ? '1' : '0';
        assert_int_equal(lode_page_parse(t, 77, &out, NULL), LODE_INVALID);
        t[i] = 0;
        assert_int_equal(lode_page_parse(t, 77, &out, NULL), LODE_INVALID);
        t[i] = was;
    }
    assert_int_equal(lode_page_parse("no token", 77, &out, NULL), LODE_INVALID);
}

static void distances(void **state)
{
    assert_int_equal(lode_name_distance("rank", "rank"), 0);
    assert_int_equal(lode_name_distance("rnak", "rank"), 2);
    assert_int_equal(lode_name_distance("", "ab"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(meaning),  cmocka_unit_test(refused),
                                       cmocka_unit_test(limits),   cmocka_unit_test(likes),
                                       cmocka_unit_test(sorts),    cmocka_unit_test(tokens),
                                       cmocka_unit_test(distances)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
