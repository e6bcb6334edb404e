/* References: every way to write one, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "model/ref.h"

static void check(const char *s, const char *text, const char *host)
{
    struct lode_ref ref;
    struct lode_err err = {0};
    char out[LODE_REF_TEXT];
    if (lode_ref_parse(s, &ref, &err) < 0)
        fail_msg("%s: %s", s, err.text);
    assert_string_equal(lode_ref_text(&ref, out), text);
    assert_string_equal(ref.host, host);
}

static void forms(void **state)
{
    check("rank", "rank@latest", "");
    check("rank@latest", "rank@latest", "");
    check("rank@3", "rank@3", "");
    check("rank@prod", "rank@prod", "");
    check("search/rank@20261121T093000Z", "search/rank@20261121T093000Z", "");
    check("_/rank", "rank@latest", "");
    check("lode://host:8080/search/rank@prod", "search/rank@prod", "host:8080");
    check("lode://h/rank", "rank@latest", "h");
    check("models:/rank/3", "rank@3", "");
    check("models:/rank@prod", "rank@prod", "");
    check("7@1", "7@1", "");
    check("rank@007", "rank@7", "");
}

static void refused(void **state)
{
    static const char *const bad[] = {"",
                                      "@",
                                      "rank@",
                                      "@prod",
                                      "a/b/c",
                                      "/rank",
                                      "./rank",
                                      "~/x",
                                      "..",
                                      "rank@a@b",
                                      "rank@0",
                                      "rank@99999999999999999999",
                                      "a%2Fb",
                                      "rank@pro d",
                                      "lode://",
                                      "lode:///rank",
                                      "lode://h ost/rank",
                                      "models:/rank",
                                      "models:/",
                                      "-x",
                                      "ns/",
                                      "/n",
                                      "rank@../x",
                                      "rank\n",
                                      "_staging/x",
                                      "_lode/rank"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lode_ref ref = {.seq = 77};
        struct lode_err err = {0};
        if (lode_ref_parse(bad[i], &ref, &err) != LODE_INVALID)
            fail_msg("'%s' passed", bad[i]);
        assert_true(err.text[0] && ref.seq == 77);
    }
    char longest[LODE_REF_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    struct lode_ref ref;
    assert_int_equal(lode_ref_parse(longest, &ref, NULL), LODE_INVALID);
}

static void models(void **state)
{
    struct lode_ref ref;
    assert_int_equal(lode_ref_parse_model("search/rank", &ref, NULL), 0);
    assert_string_equal(ref.ns, "search");
    assert_int_equal(lode_ref_parse_model("rank@3", &ref, NULL), LODE_INVALID);
    assert_int_equal(lode_ref_parse_model("models:/rank/3", &ref, NULL), LODE_INVALID);
}

static void file(const char *s, unsigned readings, const char *first, const char *path,
                 const char *second, const char *second_path)
{
    struct lode_file_ref out[2];
    unsigned n = 0;
    char text[LODE_REF_TEXT];
    struct lode_err err = {0};
    if (lode_ref_parse_file(s, out, &n, &err) < 0)
        fail_msg("%s: %s", s, err.text);
    assert_int_equal(n, readings);
    assert_string_equal(lode_ref_text(&out[0].ref, text), first);
    assert_string_equal(out[0].path, path);
    if (readings == 2) {
        assert_string_equal(lode_ref_text(&out[1].ref, text), second);
        assert_string_equal(out[1].path, second_path);
    }
}

static void files(void **state)
{
    file("rank@prod/model.safetensors", 1, "rank@prod", "model.safetensors", NULL, NULL);
    file("ns/rank@3/a/b@c.bin", 1, "ns/rank@3", "a/b@c.bin", NULL, NULL);
    file("a/b/c", 2, "a@latest", "b/c", "a/b@latest", "c");
    file("rank/x.npy", 1, "rank@latest", "x.npy", NULL, NULL);
    file("rank/dir/f@2", 2, "rank@latest", "dir/f@2", "rank/dir@latest", "f@2");
    file("lode://h/rank@1/f", 1, "rank@1", "f", NULL, NULL);
    static const char *const bad[] = {
        "", "rank", "rank@1", "rank@1/", "rank/..", "rank@1/../x", "rank@1/_lode/manifest", "/a/b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lode_file_ref out[2];
        unsigned n;
        if (lode_ref_parse_file(bad[i], out, &n, NULL) != LODE_INVALID)
            fail_msg("'%s' passed", bad[i]);
    }
}

static void long_host(void **state)
{
    char s[LODE_REF_MAX + 64] = "lode://";
    memset(s + 7, 'h', sizeof s - 8 - 7);
    memcpy(s + sizeof s - 8, "/r@1/f", 7);
    struct lode_file_ref out[2];
    unsigned n;
    assert_int_equal(lode_ref_parse_file(s, out, &n, NULL), LODE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(refused),
                                       cmocka_unit_test(models), cmocka_unit_test(files),
                                       cmocka_unit_test(long_host)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
