/* Aliases and their journal, tags, metrics, lineage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "conformance/catalog_suite.h"

static int move(const char *alias, const char *version, const char *expect,
                struct lode_journal_entry *e)
{
    const struct lode_act act = {"ann@host", "because"};
    lode_journal_entry_release(e);
    return OPS(cat())->alias_set(cat(), "_", "rank", alias, version, expect, &act, e, &cat_err);
}

static void aliases(void **state)
{
    _cleanup_journal_entry_ struct lode_journal_entry e = {0};
    cat_push(cat(), "rank", "v1", NULL);
    cat_push(cat(), "rank", "v2", NULL);
    assert_code(move("prod", "v1", NULL, &e), 0);
    assert_true(e.number == 3 && !e.from && strcmp(e.to, "v1") == 0 &&
                strcmp(e.alias, "prod") == 0);
    assert_string_equal(e.why, "because");
    assert_code(move("prod", "v2", "v1", &e), 0);
    assert_true(e.number == 4 && strcmp(e.from, "v1") == 0);
    assert_true(cat_is(cat(), "rank@prod", "v2"));
    assert_code(move("prod", "v2", NULL, &e), 0);
    assert_true(e.number == 0);
    assert_code(move("prod", "v1", "v1", &e), LODE_CONFLICT);
    assert_code(move("new", "v1", "v1", &e), LODE_CONFLICT);
    assert_code(move("new", "v1", "", &e), 0);
    assert_code(move("new", "v2", "", &e), LODE_CONFLICT);
    assert_code(move("v1", "v2", NULL, &e), LODE_EXISTS);
    assert_code(move("v1", "v1", NULL, &e), LODE_INVALID);
    assert_code(move("7", "v1", NULL, &e), LODE_INVALID);
    assert_code(move("latest", "v1", NULL, &e), LODE_INVALID);
    assert_code(move("x", "v9", NULL, &e), LODE_NOT_FOUND);
    struct lode_attempt *a = NULL;
    assert_code(cat_try_stage(cat(), "rank", "prod", &a), LODE_EXISTS);
    assert_code(OPS(cat())->alias_remove(cat(), "_", "rank", "prod", NULL, &e, &cat_err), 0);
    assert_true(strcmp(e.from, "v2") == 0 && !e.to);
    lode_journal_entry_release(&e);
    assert_code(OPS(cat())->alias_remove(cat(), "_", "rank", "prod", NULL, &e, &cat_err),
                LODE_NOT_FOUND);
    _cleanup_version_ struct lode_version v = cat_resolve(cat(), "rank@v1");
    assert_true(v.n_aliases == 1 && strcmp(v.aliases[0], "new") == 0);
}

static void with_commit(void **state)
{
    _cleanup_version_ struct lode_version v = {0};
    static const char *const two[] = {"prod", "canary"}, *const taken[] = {"v1"},
                             *const same[] = {"a", "a"};
    struct lode_stage st = {
        .ns = "_", .name = "rank", .version = "v1", .aliases = two, .n_aliases = 2};
    assert_code(cat_try_push(cat(), &st, &v), 0);
    assert_true(cat_is(cat(), "rank@prod", "v1") && cat_is(cat(), "rank@canary", "v1"));
    assert_true(v.n_aliases == 2 && strcmp(v.aliases[0], "canary") == 0);
    st.version = "v2";
    st.aliases = taken;
    st.n_aliases = 1;
    assert_code(cat_try_push(cat(), &st, NULL), LODE_EXISTS);
    st.version = "v3";
    st.aliases = same;
    st.n_aliases = 2;
    assert_code(cat_try_push(cat(), &st, NULL), LODE_INVALID);
}

/* Every change, numbered without a gap, each later than the one before, whatever the clock does. */
static void journal(void **state)
{
    _cleanup_journal_entry_ struct lode_journal_entry e = {0};
    _cleanup_journal_ struct lode_journal up = {0}, down = {0}, one = {0};
    static const enum lode_change want[] = {LODE_CHANGE_COMMIT, LODE_CHANGE_COMMIT,
                                            LODE_CHANGE_ALIAS_SET, LODE_CHANGE_ALIAS_SET,
                                            LODE_CHANGE_ALIAS_REMOVE};
    cat_push(cat(), "rank", "v1", NULL);
    cat_push(cat(), "rank", "v2", NULL);
    assert_code(move("prod", "v1", NULL, &e), 0);
    assert_code(move("prod", "v2", NULL, &e), 0);
    lode_journal_entry_release(&e);
    assert_code(OPS(cat())->alias_remove(cat(), "_", "rank", "prod", NULL, &e, &cat_err), 0);
    struct lode_journal_query q = {.ns = "_", .name = "rank", .oldest_first = true};
    assert_code(OPS(cat())->journal(cat(), &q, &up, &cat_err), 0);
    assert_int_equal(up.n, 5);
    for (size_t i = 0; i < up.n; i++) {
        assert_true(up.items[i].number == i + 1 && up.items[i].change == want[i] &&
                    up.items[i].who);
        assert_true(i == 0 || up.items[i].when_ms > up.items[i - 1].when_ms);
    }
    q.oldest_first = false;
    q.limit = 2;
    assert_code(OPS(cat())->journal(cat(), &q, &down, &cat_err), 0);
    assert_true(down.n == 2 && down.items[0].number == 5 && down.next);
    q.page = down.next;
    assert_code(OPS(cat())->journal(cat(), &q, &one, &cat_err), 0);
    assert_true(one.n == 2 && one.items[0].number == 3);
    lode_journal_release(&one);
    q = (struct lode_journal_query){.ns = "_", .name = "rank", .alias = "prod"};
    assert_code(OPS(cat())->journal(cat(), &q, &one, &cat_err), 0);
    assert_true(one.n == 3 && one.items[2].number == 3);
    lode_journal_release(&one);
    q = (struct lode_journal_query){0};
    cat_push(cat(), "zero/other", "x", NULL);
    assert_code(OPS(cat())->journal(cat(), &q, &one, &cat_err), 0);
    assert_true(one.n == 6 && strcmp(one.items[0].name, "other") == 0 && one.items[1].number == 5);
}

static void at_a_moment(void **state)
{
    _cleanup_journal_entry_ struct lode_journal_entry e = {0};
    int64_t when[3];
    cat_push(cat(), "rank", "v1", NULL);
    cat_push(cat(), "rank", "v2", NULL);
    assert_code(move("prod", "v1", NULL, &e), 0);
    when[0] = e.when_ms;
    assert_code(move("prod", "v2", NULL, &e), 0);
    when[1] = e.when_ms;
    lode_journal_entry_release(&e);
    assert_code(OPS(cat())->alias_remove(cat(), "_", "rank", "prod", NULL, &e, &cat_err), 0);
    when[2] = e.when_ms;
    lode_journal_entry_release(&e);
    assert_code(OPS(cat())->alias_at(cat(), "_", "rank", "prod", when[0], &e, &cat_err), 0);
    assert_string_equal(e.to, "v1");
    lode_journal_entry_release(&e);
    assert_code(OPS(cat())->alias_at(cat(), "_", "rank", "prod", when[2] - 1, &e, &cat_err), 0);
    assert_string_equal(e.to, "v2");
    lode_journal_entry_release(&e);
    assert_true(when[1] > when[0]);
    assert_code(OPS(cat())->alias_at(cat(), "_", "rank", "prod", when[0] - 1, &e, &cat_err),
                LODE_NOT_FOUND);
    assert_code(OPS(cat())->alias_at(cat(), "_", "rank", "prod", when[2], &e, &cat_err),
                LODE_NOT_FOUND);
}

static void annotated(void **state)
{
    _cleanup_version_ struct lode_version v = {0}, w = {0}, x = {0};
    const struct lode_tag set[] = {TAG("team", "search"), TAG("stage", "new")},
                          drop[] = {TAG("stage", NULL), TAG("none", NULL)};
    const struct lode_metric good[] = {METRIC("auc", 0.9), METRIC("loss", -1.5)},
                             gone[] = {METRIC("loss", NAN)};
    const struct lode_metric bad[] = {METRIC("auc", INFINITY)};
    cat_push(cat(), "rank", "v1", &v);
    assert_code(OPS(cat())->annotate(cat(), &v, set, 2, good, 2, NULL, &w, &cat_err), 0);
    assert_true(w.n_tags == 2 && w.n_metrics == 2 && strcmp(w.tags[0].key, "stage") == 0);
    assert_code(OPS(cat())->annotate(cat(), &v, drop, 2, gone, 1, NULL, &x, &cat_err), 0);
    assert_true(x.n_tags == 1 && x.n_metrics == 1 && x.metrics[0].value == 0.9);
    lode_version_release(&x);
    assert_code(OPS(cat())->annotate(cat(), &v, NULL, 0, bad, 1, NULL, &x, &cat_err), LODE_INVALID);
    _cleanup_version_ struct lode_version now = cat_resolve(cat(), "rank@v1");
    assert_true(now.n_tags == 1 && strcmp(now.digest, v.digest) == 0 && now.seq == 1);
}

static void lineage(void **state)
{
    _cleanup_version_ struct lode_version v = {0};
    struct lode_stage st = {.ns = "_", .name = "rank", .version = "v2", .parent = "search/base@1"};
    assert_code(cat_try_push(cat(), &st, NULL), LODE_NOT_FOUND);
    cat_push(cat(), "search/base", "b1", NULL);
    assert_code(cat_try_push(cat(), &st, &v), 0);
    assert_string_equal(v.parent, "search/base@b1");
}

static void too_much(void **state)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    _cleanup_version_ struct lode_version v = {0}, w = {0};
    const struct lode_tag big = TAG("k", text);
    const struct lode_act act = {NULL, text};
    cat_push(cat(), "rank", "v1", &v);
    assert_code(OPS(cat())->annotate(cat(), &v, &big, 1, NULL, 0, NULL, &w, &cat_err), LODE_LIMIT);
    text[4000] = 0;
    for (int i = 0; i < 20; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        const struct lode_tag one = {key, text};
        int r = OPS(cat())->annotate(cat(), &v, &one, 1, NULL, 0, NULL, &w, &cat_err);
        lode_version_release(&w);
        if (i < 13)
            assert_code(r, 0);
        if (i == 19)
            assert_code(r, LODE_LIMIT);
    }
    struct lode_journal_entry e = {0};
    assert_code(OPS(cat())->alias_set(cat(), "_", "rank", "prod", "v1", NULL, &act, &e, &cat_err),
                LODE_LIMIT);
}

const struct CMUnitTest *catalog_suite_facts(size_t *n)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(aliases),     cmocka_unit_test(with_commit), cmocka_unit_test(journal),
        cmocka_unit_test(at_a_moment), cmocka_unit_test(annotated),   cmocka_unit_test(lineage),
        cmocka_unit_test(too_much)};
    *n = sizeof tests / sizeof *tests;
    return tests;
}
