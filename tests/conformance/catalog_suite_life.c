/* The life of a version: staged, committed, found by every kind of reference, deleted, restored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/mem.h"
#include "conformance/catalog_suite.h"

static void life(void **state)
{
    _cleanup_version_ struct lode_version v = {0}, w = {0};
    struct lode_attempt *a = cat_stage(cat(), "rank", "v1");
    assert_string_equal(lode_attempt_info(a)->version, "v1");
    assert_code(cat_try_resolve(cat(), "rank@v1", false, &v), LODE_NOT_FOUND);
    assert_code(cat_try_resolve(cat(), "rank", false, &v), LODE_NOT_FOUND);
    assert_code(cat_try_resolve(cat(), "rank@v1", true, &v), 0);
    assert_int_equal(v.state, LODE_STAGING);
    cat_write(a, "weights.bin", "v1");
    assert_code(cat_try_finish(a, &w), 0);
    OPS(cat())->attempt_close(a);
    assert_int_equal(w.state, LODE_COMMITTED);
    assert_true(w.seq == 1 && w.size == 2 && w.files == 1 && w.latest && w.created_ms > 0);
    assert_string_equal(w.format, "opaque");
    assert_non_null(w.author);
    assert_true(cat_is(cat(), "rank", "v1") && cat_is(cat(), "rank@1", "v1") &&
                cat_is(cat(), "rank@v1", "v1"));
    cat_push(cat(), "rank", "v2", NULL);
    assert_true(cat_is(cat(), "rank@latest", "v2") && cat_is(cat(), "rank@2", "v2") &&
                cat_is(cat(), "rank@1", "v1"));
}

static void bytes(void **state)
{
    _cleanup_version_ struct lode_version v = {0};
    _cleanup_manifest_ struct lode_manifest *m = NULL, *again = NULL;
    _cleanup_place_ struct lode_place p = {0};
    _cleanup_buf_ struct lode_buf text = LODE_BUF_INIT(100);
    cat_push(cat(), "search/rank", "v1", &v);
    assert_code(OPS(cat())->manifest(cat(), &v, &m, &cat_err), 0);
    assert_string_equal(m->version, "v1");
    assert_int_equal(m->n_files, 1);
    assert_code(OPS(cat())->manifest(cat(), &v, &again, &cat_err), 0);
    assert_code(OPS(cat())->place(cat(), &v, &p, &cat_err), 0);
    _cleanup_free_ char *key = lode_asprintf("%s%sweights.bin", p.prefix, *p.prefix ? "/" : "");
    assert_code(lode_store_get(p.store, key, &text, &cat_err), 0);
    assert_string_equal(lode_buf_str(&text), "v1");
}

static void names(void **state)
{
    _cleanup_version_ struct lode_version a = {0}, b = {0}, c = {0};
    cat_push(cat(), "rank", NULL, &a);
    cat_push(cat(), "rank", NULL, &b);
    cat_push(cat(), "rank", NULL, &c);
    assert_true(strlen(a.version) >= 16 && a.version[8] == 'T');
    assert_true(strcmp(a.version, b.version) != 0 && strcmp(b.version, c.version) != 0);
    assert_true(a.seq == 1 && b.seq == 2 && c.seq == 3);
    struct lode_attempt *x = NULL;
    assert_code(cat_try_stage(cat(), "rank", a.version, &x), LODE_EXISTS);
    assert_code(cat_try_stage(cat(), "rank", "7", &x), LODE_INVALID);
    assert_code(cat_try_stage(cat(), "rank", "latest", &x), LODE_INVALID);
    assert_code(cat_try_stage(cat(), "rank", "a/b", &x), LODE_INVALID);
}

/* A first part of a path is a namespace or a model, never both. */
static void first_part(void **state)
{
    struct lode_attempt *a = NULL;
    cat_push(cat(), "rank", "v1", NULL);
    assert_code(cat_try_stage(cat(), "rank/x", "v1", &a), LODE_EXISTS);
    cat_push(cat(), "search/rank", "v1", NULL);
    assert_code(cat_try_stage(cat(), "search", "v1", &a), LODE_EXISTS);
    cat_push(cat(), "search/other", "v1", NULL);
}

static void hint(const char *ref, const char *word)
{
    _cleanup_version_ struct lode_version v = {0};
    assert_code(cat_try_resolve(cat(), ref, false, &v), LODE_NOT_FOUND);
    if (!strstr(cat_err.text, word))
        fail_msg("'%s' does not mention '%s'", cat_err.text, word);
}

static void hints(void **state)
{
    cat_push(cat(), "rank", "v1", NULL);
    cat_push(cat(), "rank", "v2", NULL);
    hint("rank@3", "newest is 2");
    hint("rank@v3", "did you mean");
    hint("rnak", "did you mean rank");
    hint("nothing", "no model nothing");
}

static void deleted(void **state)
{
    _cleanup_version_ struct lode_version a = {0}, b = {0}, gone = {0}, back = {0}, old = {0};
    const struct lode_act act = {NULL, "too slow"};
    cat_push(cat(), "rank", "v1", &a);
    cat_push(cat(), "rank", "v2", &b);
    assert_code(OPS(cat())->remove(cat(), &b, &act, &gone, &cat_err), 0);
    assert_true(gone.state == LODE_DELETED && gone.deleted_ms > 0 && !gone.latest);
    hint("rank@v2", "deleted");
    assert_true(cat_is(cat(), "rank", "v1"));
    assert_code(cat_try_resolve(cat(), "rank@2", true, &old), 0);
    assert_int_equal(old.state, LODE_DELETED);
    struct lode_attempt *x = NULL;
    assert_code(cat_try_stage(cat(), "rank", "v2", &x), LODE_EXISTS);
    lode_version_release(&old);
    assert_code(OPS(cat())->remove(cat(), &b, NULL, &old, &cat_err), LODE_NOT_FOUND);
    assert_code(OPS(cat())->restore(cat(), &b, NULL, &back, &cat_err), 0);
    assert_true(back.state == LODE_COMMITTED && back.latest && back.seq == 2 &&
                back.deleted_ms == 0);
    assert_true(cat_is(cat(), "rank", "v2"));
    assert_code(OPS(cat())->restore(cat(), &b, NULL, &old, &cat_err), LODE_CONFLICT);
    cat_push(cat(), "rank", "v3", NULL);
    assert_true(cat_is(cat(), "rank@3", "v3"));
}

static void last_deleted(void **state)
{
    _cleanup_version_ struct lode_version a = {0}, gone = {0};
    struct lode_model_info m = {0};
    cat_push(cat(), "rank", "v1", &a);
    assert_code(OPS(cat())->remove(cat(), &a, NULL, &gone, &cat_err), 0);
    hint("rank", "no version");
    assert_code(OPS(cat())->model(cat(), "_", "rank", &m, &cat_err), 0);
    assert_true(m.versions == 0 && !m.latest && m.next_seq == 2);
    lode_model_info_release(&m);
}

static void held(void **state)
{
    _cleanup_version_ struct lode_version v = {0}, gone = {0};
    struct lode_journal_entry e = {0};
    cat_push(cat(), "rank", "v1", &v);
    assert_code(OPS(cat())->alias_set(cat(), "_", "rank", "prod", "v1", NULL, NULL, &e, &cat_err),
                0);
    lode_journal_entry_release(&e);
    assert_code(OPS(cat())->remove(cat(), &v, NULL, &gone, &cat_err), LODE_HELD);
    assert_non_null(strstr(cat_err.text, "prod"));
    assert_true(cat_is(cat(), "rank@prod", "v1"));
}

static void abandoned(void **state)
{
    _cleanup_version_ struct lode_version v = {0};
    struct lode_attempt *a = cat_stage(cat(), "rank", "v1");
    cat_write(a, "weights.bin", "half");
    assert_code(OPS(cat())->abandon(a, false, &cat_err), 0);
    OPS(cat())->attempt_close(a);
    cat_push(cat(), "rank", "v1", &v);
    assert_true(v.seq == 1);
}

static void resumed(void **state)
{
    _cleanup_version_ struct lode_version v = {0};
    struct lode_attempt *a = cat_stage(cat(), "rank", NULL);
    _cleanup_free_ char *version = lode_strdup(lode_attempt_info(a)->version);
    uint64_t number = lode_attempt_info(a)->attempt;
    cat_write(a, "weights.bin", version);
    assert_code(OPS(cat())->abandon(a, true, &cat_err), 0);
    OPS(cat())->attempt_close(a);
    const struct lode_stage st = {
        .ns = "_", .name = "rank", .resume_version = version, .resume_attempt = number};
    assert_code(OPS(cat())->stage(cat(), &st, NULL, &a, &cat_err), 0);
    assert_true(lode_attempt_info(a)->resumed);
    assert_string_equal(lode_attempt_info(a)->version, version);
    assert_code(cat_try_finish(a, &v), 0);
    OPS(cat())->attempt_close(a);
    struct lode_attempt *b = NULL;
    assert_code(OPS(cat())->stage(cat(), &st, NULL, &b, &cat_err), 0);
    assert_false(lode_attempt_info(b)->resumed);
    assert_string_not_equal(lode_attempt_info(b)->version, version);
    OPS(cat())->attempt_close(b);
}

static void revisions(void **state)
{
    uint64_t before, after, own;
    struct lode_catalog *other = cat_open();
    assert_code(OPS(other)->revision(other, true, &before, &cat_err), 0);
    cat_push(cat(), "rank", "v1", NULL);
    assert_code(OPS(cat())->revision(cat(), false, &own, &cat_err), 0);
    assert_code(OPS(other)->revision(other, true, &after, &cat_err), 0);
    assert_true(after > before && own > before && after >= own);
    cat_close(other);
}

const struct CMUnitTest *catalog_suite_life(size_t *n)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(life),         cmocka_unit_test(bytes),    cmocka_unit_test(names),
        cmocka_unit_test(first_part),   cmocka_unit_test(hints),    cmocka_unit_test(deleted),
        cmocka_unit_test(last_deleted), cmocka_unit_test(held),     cmocka_unit_test(abandoned),
        cmocka_unit_test(resumed),      cmocka_unit_test(revisions)};
    *n = sizeof tests / sizeof *tests;
    return tests;
}
