/* The JSON of versions, models and journal entries: there and back, exact text, and what is
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "model/record.h"

static const char version_text[] =
    "{\"ns\":\"_\",\"name\":\"rank\",\"version\":\"v1\",\"seq\":3,\"state\":\"committed\","
    "\"created\":\"2026-11-21T09:30:00.123Z\",\"deleted\":null,\"author\":\"ann@host\",\"why\":"
    "null,\"size\":1024,"
    "\"files\":2,\"format\":\"safetensors\",\"tensors\":4,\"parameters\":256,"
    "\"digest\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\",\"manifest_"
    "size\":700,"
    "\"parent\":\"rank@v0\",\"replication\":null,\"tags\":{\"team\":\"search\"},\"metrics\":{"
    "\"auc\":0.91000000000000003},"
    "\"aliases\":[\"canary\",\"prod\"],\"latest\":true,\"attempt\":1,\"directory\":\"rank/"
    "v1\",\"revision\":17}";

static const char model_text[] =
    "{\"ns\":\"search\",\"name\":\"rank\",\"versions\":2,\"latest\":\"v2\",\"latest_seq\":2,\"next_"
    "seq\":3,"
    "\"created\":\"2026-11-21T09:30:00.000Z\",\"updated\":\"2026-11-21T09:31:00.000Z\","
    "\"aliases\":{\"canary\":\"v2\",\"prod\":\"v1\"},\"revision\":9}";

static const char entry_text[] =
    "{\"ns\":\"_\",\"name\":\"rank\",\"number\":4,\"when\":\"2026-11-21T09:30:00.001Z\",\"change\":"
    "\"alias_set\","
    "\"who\":\"ann@host\",\"why\":\"better "
    "auc\",\"alias\":\"prod\",\"from\":\"v1\",\"to\":\"v2\",\"event\":\"1:77.3\"}";

static json_t *parse(const char *text)
{
    json_t *doc;
    struct lode_err err = {0};
    if (lode_json_parse(text, strlen(text), "test", &doc, &err) < 0)
        fail_msg("%s", err.text);
    return doc;
}

static void versions(void **state)
{
    _cleanup_json_ json_t *doc = parse(version_text);
    _cleanup_version_ struct lode_version v = {0}, copy = {0};
    assert_int_equal(lode_version_from_json(doc, &v, NULL), 0);
    _cleanup_free_ char *text = lode_version_json(&v);
    assert_string_equal(text, version_text);
    assert_int_equal(lode_version_copy(&v, &copy, NULL), 0);
    _cleanup_free_ char *again = lode_version_json(&copy);
    assert_string_equal(again, version_text);
}

static void others(void **state)
{
    _cleanup_json_ json_t *m = parse(model_text), *e = parse(entry_text);
    _cleanup_model_info_ struct lode_model_info info = {0};
    _cleanup_journal_entry_ struct lode_journal_entry entry = {0};
    assert_int_equal(lode_model_info_from_json(m, &info, NULL), 0);
    _cleanup_free_ char *text = lode_model_info_json(&info);
    assert_string_equal(text, model_text);
    assert_int_equal(lode_journal_entry_from_json(e, &entry, NULL), 0);
    _cleanup_free_ char *text2 = lode_journal_entry_json(&entry);
    assert_string_equal(text2, entry_text);
}

static void pages(void **state)
{
    char text[4096];
    snprintf(text, sizeof text, "{\"versions\":[%s,%s],\"next\":\"abc\",\"revision\":5}",
             version_text, version_text);
    _cleanup_json_ json_t *doc = parse(text);
    _cleanup_versions_ struct lode_versions p = {0};
    assert_int_equal(lode_versions_from_json(doc, &p, NULL), 0);
    assert_int_equal(p.n, 2);
    _cleanup_json_ json_t *back = lode_versions_to_json(&p);
    assert_true(json_equal(doc, back));
}

static void refuse(const char *key, json_t *value)
{
    _cleanup_json_ json_t *doc = parse(version_text);
    struct lode_version v = {.seq = 99};
    struct lode_err err = {0};
    assert_int_equal(json_object_set_new(doc, key, value), 0);
    if (lode_version_from_json(doc, &v, &err) == 0)
        fail_msg("a wrong %s passed", key);
    assert_int_equal(v.seq, 99);
    assert_true(strlen(err.text) > 0);
}

static void refused(void **state)
{
    refuse("seq", json_string("3"));
    refuse("seq", json_integer(-1));
    refuse("state", json_string("lost"));
    refuse("created", json_string("yesterday"));
    refuse("tags", json_pack("{s:i}", "a", 1));
    refuse("tags", json_pack("[s]", "a"));
    refuse("metrics", json_pack("{s:s}", "a", "1"));
    refuse("aliases", json_pack("[i]", 1));
    refuse("latest", json_integer(1));
    refuse("name", json_null());
}

static void lists(void **state)
{
    struct lode_tag *tags = NULL;
    struct lode_metric *metrics = NULL;
    size_t n = 0, m = 0;
    assert_int_equal(lode_tags_set(&tags, &n, "b", "1", NULL), 0);
    assert_int_equal(lode_tags_set(&tags, &n, "a", "2", NULL), 0);
    assert_int_equal(lode_tags_set(&tags, &n, "b", "3", NULL), 0);
    assert_int_equal(n, 2);
    assert_string_equal(tags[0].key, "a");
    assert_string_equal(tags[1].value, "3");
    assert_int_equal(lode_tags_set(&tags, &n, "", "1", NULL), LODE_INVALID);
    assert_int_equal(lode_tags_set(&tags, &n, "a\nb", "1", NULL), LODE_INVALID);
    assert_int_equal(lode_tags_set(&tags, &n, "a\xc2\x85", "1", NULL), LODE_INVALID);
    assert_int_equal(lode_tags_set(&tags, &n, "a", "\xff", NULL), LODE_INVALID);
    assert_true(lode_tags_remove(tags, &n, "a"));
    assert_false(lode_tags_remove(tags, &n, "a"));
    assert_int_equal(lode_metrics_set(&metrics, &m, "auc", NAN, NULL), LODE_INVALID);
    assert_int_equal(lode_metrics_set(&metrics, &m, "auc", INFINITY, NULL), LODE_INVALID);
    assert_int_equal(lode_metrics_set(&metrics, &m, "auc", 0.5, NULL), 0);
    for (unsigned i = 0; i < 63; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(lode_metrics_set(&metrics, &m, key, i, NULL), 0);
    }
    assert_int_equal(lode_metrics_set(&metrics, &m, "one more", 1, NULL), LODE_LIMIT);
    assert_int_equal(lode_metrics_set(&metrics, &m, "auc", 1, NULL), 0);
    lode_tags_free(tags, n);
    lode_metrics_free(metrics, m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(versions), cmocka_unit_test(others),
                                       cmocka_unit_test(pages), cmocka_unit_test(refused),
                                       cmocka_unit_test(lists)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
