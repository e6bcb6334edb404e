/* The suite's frame, and its basic part: keys, transactions, ranges, limits. See coord_suite.h. */
#include "conformance/coord_suite.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "support/coord_kit.h"

const struct coord_suite *coord_suite_current;
static const char *url;

int coord_suite_setup(void **state)
{
    url = coord_suite_current->fresh(coord_suite_current->arg);
    return url ? 0 : -1;
}

struct lode_coord *coord_suite_open_with(const char *const *options)
{
    return kit_open(url, options);
}

struct lode_coord *coord_suite_open(void)
{
    return coord_suite_open_with(NULL);
}

static int txn(struct lode_coord *c, const struct lode_coord_txn *t,
               struct lode_coord_txn_result *out)
{
    struct lode_err err = {0};
    int r = lode_coord_txn(c, t, out, &err);
    assert_int_equal(r, err.code);
    assert_true(r == 0 || *err.text);
    return r;
}

/* ---- keys ---- */

static void starts_empty(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    struct lode_coord_kv kv;
    struct lode_coord_kvs kvs;
    struct lode_err err = {0};
    assert_int_equal(lode_coord_get(c, "a", &kv, &err), LODE_NOT_FOUND);
    assert_non_null(strstr(err.text, "a"));
    assert_int_equal(lode_coord_range(c, "", NULL, 10, &kvs, NULL), 0);
    assert_int_equal(kvs.n, 0);
    assert_false(kvs.more);
    assert_int_equal(kvs.revision, kit_revision(c));
    lode_coord_kvs_release(&kvs);
}

static void keeps_bytes(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    struct lode_coord_op ops[] = {{LODE_COORD_PUT, "bytes", bytes, sizeof bytes, 0},
                                  {LODE_COORD_PUT, "empty", NULL, 0, 0},
                                  {LODE_COORD_PUT, "\x01 odd/\xff%2F\xc3\xa9", "x", 1, 0}};
    struct lode_coord_txn_result result;
    assert_int_equal(txn(c, &(struct lode_coord_txn){.ops = ops, .n_ops = 3}, &result), 0);
    struct lode_coord_kv kv;
    assert_int_equal(lode_coord_get(c, "bytes", &kv, NULL), 0);
    assert_int_equal(kv.len, sizeof bytes);
    assert_memory_equal(kv.value, bytes, sizeof bytes);
    assert_int_equal(((char *)kv.value)[kv.len], 0);
    assert_string_equal(kv.key, "bytes");
    assert_int_equal(kv.created, result.revision);
    assert_int_equal(kv.modified, result.revision);
    assert_int_equal(kv.lease, 0);
    lode_coord_kv_release(&kv);
    assert_int_equal(lode_coord_get(c, "empty", &kv, NULL), 0);
    assert_int_equal(kv.len, 0);
    assert_non_null(kv.value);
    lode_coord_kv_release(&kv);
    assert_true(kit_has(c, "\x01 odd/\xff%2F\xc3\xa9"));
    assert_false(kit_has(c, "\x01 odd/\xff%2f\xc3\xa9"));
}

static void counts_revisions(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    struct lode_coord_kv kv;
    uint64_t first = kit_put(c, "k", "1"), second = kit_put(c, "k", "2");
    assert_true(second > first);
    assert_int_equal(kit_revision(c), second);
    assert_int_equal(lode_coord_get(c, "k", &kv, NULL), 0);
    assert_int_equal(kv.created, first);
    assert_int_equal(kv.modified, second);
    lode_coord_kv_release(&kv);
    uint64_t gone = kit_delete(c, "k");
    assert_true(gone > second);
    assert_false(kit_has(c, "k"));
    uint64_t again = kit_put(c, "k", "3");
    assert_int_equal(lode_coord_get(c, "k", &kv, NULL), 0);
    assert_int_equal(kv.created, again);
    lode_coord_kv_release(&kv);
    kit_put(c, "other", "x");
    assert_int_equal(lode_coord_get(c, "k", &kv, NULL), 0);
    assert_int_equal(kv.modified, again);
    lode_coord_kv_release(&kv);
}

/* ---- transactions ---- */

static void compares_present_and_absent(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    assert_true(kit_swap(c, "k", 0, "1"));
    assert_false(kit_swap(c, "k", 0, "2"));
    uint64_t now = kit_revision(c);
    assert_false(kit_swap(c, "k", now + 1, "2"));
    assert_false(kit_swap(c, "absent", now, "2"));
    assert_int_equal(kit_revision(c), now);
    assert_true(kit_swap(c, "k", now, "2"));
    _cleanup_free_ char *value = kit_get(c, "k");
    assert_string_equal(value, "2");
}

static void one_failed_compare_stops_all(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    uint64_t a = kit_put(c, "a", "1");
    uint64_t b = kit_put(c, "b", "1");
    struct lode_coord_compare compares[] = {{"a", a}, {"b", b + 7}, {"none", 0}};
    struct lode_coord_op ops[] = {{LODE_COORD_PUT, "a", "2", 1, 0},
                                  {.kind = LODE_COORD_DELETE, .key = "b"}};
    const char *gets[] = {"b", "none", "a"};
    struct lode_coord_txn t = {compares, 3, ops, 2, gets, 3};
    struct lode_coord_txn_result result;
    assert_int_equal(txn(c, &t, &result), 0);
    assert_false(result.succeeded);
    assert_int_equal(result.revision, b);
    assert_int_equal(result.n_gets, 3);
    assert_string_equal(result.gets[0].key, "b");
    assert_int_equal(result.gets[0].modified, b);
    assert_null(result.gets[1].key);
    assert_string_equal(result.gets[2].value, "1");
    lode_coord_txn_result_release(&result);
    assert_int_equal(kit_revision(c), b);
    compares[1].modified = b;
    assert_int_equal(txn(c, &t, &result), 0);
    assert_true(result.succeeded);
    assert_int_equal(result.n_gets, 0);
    assert_true(result.revision > b);
    lode_coord_txn_result_release(&result);
    assert_false(kit_has(c, "b"));
}

static void what_changes_nothing_tells_nothing(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    uint64_t a = kit_put(c, "a", "1");
    struct lode_coord_compare compare = {"a", a};
    struct lode_coord_txn_result result;
    assert_int_equal(
        txn(c, &(struct lode_coord_txn){.compares = &compare, .n_compares = 1}, &result), 0);
    assert_true(result.succeeded);
    assert_true(result.revision >= a);
    assert_int_equal(txn(c, &(struct lode_coord_txn){0}, &result), 0);
    assert_true(result.succeeded);
    kit_delete(c, "absent");
    struct lode_coord_watch *w;
    struct lode_coord_events events;
    assert_int_equal(lode_coord_watch(c, "", a, &w, NULL), 0);
    kit_put(c, "a", "2");
    assert_int_equal(lode_coord_watch_next(w, 5000, &events, NULL), 0);
    assert_string_equal(events.items[0].kv.value, "1");
    if (events.n == 1) {
        lode_coord_events_release(&events);
        assert_int_equal(lode_coord_watch_next(w, 5000, &events, NULL), 0);
        assert_int_equal(events.n, 1);
    }
    assert_string_equal(events.items[events.n - 1].kv.value, "2");
    lode_coord_events_release(&events);
    lode_coord_watch_close(w);
}

/* ---- limits ---- */

static int put_len(struct lode_coord *c, size_t key_len, size_t value_len)
{
    char key[1024];
    _cleanup_free_ char *value = lode_zalloc(value_len + 1);
    memset(key, 'k', sizeof key);
    key[key_len] = 0;
    struct lode_coord_op op = {LODE_COORD_PUT, key, value, value_len, 0};
    struct lode_coord_txn_result result;
    int r = txn(c, &(struct lode_coord_txn){.ops = &op, .n_ops = 1}, &result);
    struct lode_coord_kv kv;
    if (r == 0) {
        assert_int_equal(lode_coord_get(c, key, &kv, NULL), 0);
        assert_int_equal(kv.len, value_len);
        lode_coord_kv_release(&kv);
    }
    return r;
}

static void limits_of_keys_and_values(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    struct lode_coord_kv kv;
    struct lode_coord_watch *w;
    assert_int_equal(put_len(c, LODE_COORD_KEY_MAX, LODE_COORD_VALUE_MAX), 0);
    uint64_t before = kit_revision(c);
    assert_int_equal(put_len(c, LODE_COORD_KEY_MAX + 1, 1), LODE_LIMIT);
    assert_int_equal(put_len(c, 1, LODE_COORD_VALUE_MAX + 1), LODE_LIMIT);
    assert_int_equal(put_len(c, 0, 1), LODE_INVALID);
    assert_int_equal(lode_coord_get(c, "", &kv, NULL), LODE_INVALID);
    char key[LODE_COORD_KEY_MAX + 2];
    memset(key, 'k', sizeof key);
    key[sizeof key - 1] = 0;
    assert_int_equal(lode_coord_get(c, key, &kv, NULL), LODE_LIMIT);
    assert_int_equal(lode_coord_watch(c, key, 1, &w, NULL), LODE_LIMIT);
    assert_int_equal(kit_revision(c), before);
}

/* A transaction of n writes and m compares of absent keys, each value `len` bytes. */
static int big_txn(struct lode_coord *c, size_t n, size_t m, size_t len)
{
    static char keys[LODE_COORD_OPS_MAX * 2][16];
    static char value[LODE_COORD_VALUE_MAX];
    struct lode_coord_op ops[LODE_COORD_OPS_MAX * 2] = {{0}};
    struct lode_coord_compare compares[LODE_COORD_OPS_MAX * 2] = {{0}};
    for (size_t i = 0; i < LODE_COORD_OPS_MAX * 2; i++) {
        snprintf(keys[i], sizeof keys[i], "k%zu", i);
        ops[i] = (struct lode_coord_op){LODE_COORD_PUT, keys[i], value, len, 0};
        compares[i].key = "never";
    }
    struct lode_coord_txn_result result;
    return txn(c, &(struct lode_coord_txn){compares, m, ops, n, NULL, 0}, &result);
}

static void limits_of_transactions(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    assert_int_equal(big_txn(c, LODE_COORD_OPS_MAX + 1, 0, 1), LODE_LIMIT);
    assert_int_equal(big_txn(c, LODE_COORD_OPS_MAX, 1, 1), LODE_LIMIT);
    assert_int_equal(big_txn(c, 9, 0, LODE_COORD_VALUE_MAX), LODE_LIMIT);
    assert_false(kit_has(c, "k0"));
    assert_int_equal(big_txn(c, LODE_COORD_OPS_MAX / 2, LODE_COORD_OPS_MAX / 2, 1), 0);
    assert_int_equal(big_txn(c, LODE_COORD_OPS_MAX, 0, 8000), 0);
    assert_int_equal(big_txn(c, 8, 0, LODE_COORD_VALUE_MAX), 0);
    assert_true(kit_has(c, "k63"));
    struct lode_coord_op twice[] = {{LODE_COORD_PUT, "x", "1", 1, 0},
                                    {.kind = LODE_COORD_DELETE, .key = "x"}};
    struct lode_coord_txn_result result;
    assert_int_equal(txn(c, &(struct lode_coord_txn){.ops = twice, .n_ops = 2}, &result),
                     LODE_INVALID);
    const char *gets[LODE_COORD_OPS_MAX + 1];
    for (size_t i = 0; i <= LODE_COORD_OPS_MAX; i++)
        gets[i] = "k";
    assert_int_equal(
        txn(c, &(struct lode_coord_txn){.else_gets = gets, .n_else_gets = LODE_COORD_OPS_MAX + 1},
            &result),
        LODE_LIMIT);
}

/* ---- ranges ---- */

static void ranges_are_sorted_and_exact(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    static const char *const keys[] = {"b/2",    "a",  "b/",  "b/10",  "b",
                                       "b/\xff", "b0", "c/1", "b/\x01"};
    static const char *const sorted[] = {"b/", "b/\x01", "b/10", "b/2", "b/\xff"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(keys); i++)
        kit_put(c, keys[i], keys[i]);
    struct lode_coord_kvs kvs;
    assert_int_equal(lode_coord_range(c, "b/", NULL, 100, &kvs, NULL), 0);
    assert_int_equal(kvs.n, LODE_ARRAY_LEN(sorted));
    assert_false(kvs.more);
    for (size_t i = 0; i < kvs.n; i++) {
        assert_string_equal(kvs.items[i].key, sorted[i]);
        assert_string_equal(kvs.items[i].value, sorted[i]);
    }
    lode_coord_kvs_release(&kvs);
    assert_int_equal(lode_coord_range(c, "", NULL, 100, &kvs, NULL), 0);
    assert_int_equal(kvs.n, LODE_ARRAY_LEN(keys));
    assert_string_equal(kvs.items[0].key, "a");
    lode_coord_kvs_release(&kvs);
    assert_int_equal(lode_coord_range(c, "b/", "a", 1, &kvs, NULL), 0);
    assert_string_equal(kvs.items[0].key, "b/");
    assert_true(kvs.more);
    lode_coord_kvs_release(&kvs);
    assert_int_equal(lode_coord_range(c, "b/", "b/\xff", 10, &kvs, NULL), 0);
    assert_int_equal(kvs.n, 0);
    lode_coord_kvs_release(&kvs);
    assert_int_equal(lode_coord_range(c, "b/", "b/1", 2, &kvs, NULL), 0);
    assert_string_equal(kvs.items[0].key, "b/10");
    lode_coord_kvs_release(&kvs);
    assert_int_equal(lode_coord_range(c, "b/", NULL, 0, &kvs, NULL), LODE_INVALID);
}

static void ranges_page(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    char key[32], last[32] = "";
    for (int i = 0; i < 250; i++) {
        snprintf(key, sizeof key, "p/%03d", i);
        kit_put(c, key, "v");
    }
    kit_put(c, "q", "v");
    int seen = 0;
    for (bool more = true; more;) {
        struct lode_coord_kvs kvs;
        assert_int_equal(lode_coord_range(c, "p/", *last ? last : NULL, 64, &kvs, NULL), 0);
        assert_true(kvs.n <= 64 && kvs.n > 0);
        for (size_t i = 0; i < kvs.n; i++, seen++) {
            snprintf(key, sizeof key, "p/%03d", seen);
            assert_string_equal(kvs.items[i].key, key);
        }
        snprintf(last, sizeof last, "%s", kvs.items[kvs.n - 1].key);
        more = kvs.more;
        lode_coord_kvs_release(&kvs);
    }
    assert_int_equal(seen, 250);
}

/* A page is bounded in bytes as well: it says `more`, and paging on finds all. */
static void ranges_of_large_values_are_cut(void **state)
{
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    _cleanup_free_ char *value = lode_zalloc(LODE_COORD_VALUE_MAX + 1);
    memset(value, 'v', LODE_COORD_VALUE_MAX);
    char key[32], last[32] = "";
    int n = (int)(LODE_COORD_PAGE_BYTES / LODE_COORD_VALUE_MAX) + 20, seen = 0, pages = 0;
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "p/%04d", i);
        kit_put(c, key, value);
    }
    for (bool more = true; more; pages++) {
        struct lode_coord_kvs kvs;
        assert_int_equal(lode_coord_range(c, "p/", *last ? last : NULL, 1000, &kvs, NULL), 0);
        seen += (int)kvs.n;
        more = kvs.more;
        assert_true(kvs.n > 0);
        snprintf(last, sizeof last, "%s", kvs.items[kvs.n - 1].key);
        lode_coord_kvs_release(&kvs);
    }
    assert_int_equal(seen, n);
    assert_true(pages >= 2);
}

static void opens_read_only(void **state)
{
    if (!coord_suite_current->read_only)
        skip();
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    kit_put(c, "a", "1");
    struct lode_coord *ro = NULL;
    struct lode_coord_config config = {.url = url, .read_only = true};
    assert_int_equal(lode_coord_open(&config, &ro, NULL), 0);
    assert_true(kit_has(ro, "a"));
    struct lode_coord_op op = {LODE_COORD_PUT, "a", "2", 1, 0};
    struct lode_coord_txn_result result;
    uint64_t lease;
    assert_int_equal(txn(ro, &(struct lode_coord_txn){.ops = &op, .n_ops = 1}, &result),
                     LODE_READ_ONLY);
    assert_int_equal(lode_coord_lease_grant(ro, 1000, &lease, NULL), LODE_READ_ONLY);
    struct lode_coord_watch *w;
    struct lode_coord_events events;
    assert_int_equal(lode_coord_watch(ro, "", kit_revision(ro) + 1, &w, NULL), 0);
    kit_put(c, "b", "1");
    assert_int_equal(lode_coord_watch_next(w, 5000, &events, NULL), 0);
    assert_int_equal(events.n, 1);
    lode_coord_events_release(&events);
    lode_coord_watch_close(w);
    lode_coord_close(ro);
}

const struct CMUnitTest *coord_suite_basic(size_t *n)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(starts_empty, coord_suite_setup),
        cmocka_unit_test_setup(keeps_bytes, coord_suite_setup),
        cmocka_unit_test_setup(counts_revisions, coord_suite_setup),
        cmocka_unit_test_setup(compares_present_and_absent, coord_suite_setup),
        cmocka_unit_test_setup(one_failed_compare_stops_all, coord_suite_setup),
        cmocka_unit_test_setup(what_changes_nothing_tells_nothing, coord_suite_setup),
        cmocka_unit_test_setup(limits_of_keys_and_values, coord_suite_setup),
        cmocka_unit_test_setup(limits_of_transactions, coord_suite_setup),
        cmocka_unit_test_setup(ranges_are_sorted_and_exact, coord_suite_setup),
        cmocka_unit_test_setup(ranges_page, coord_suite_setup),
        cmocka_unit_test_setup(ranges_of_large_values_are_cut, coord_suite_setup),
        cmocka_unit_test_setup(opens_read_only, coord_suite_setup),
    };
    *n = LODE_ARRAY_LEN(tests);
    return tests;
}

/* ---- the frame ---- */

int coord_suite_run(const struct coord_suite *suite)
{
    typedef const struct CMUnitTest *part_fn(size_t * n);
    static part_fn *const parts[] = {coord_suite_basic, coord_suite_watching, coord_suite_leasing,
                                     coord_suite_threads, coord_suite_processes};
    size_t n_parts = LODE_ARRAY_LEN(parts) - !suite->processes;
    struct CMUnitTest all[128];
    size_t n = 0;
    coord_suite_current = suite;
    for (size_t i = 0; i < n_parts; i++) {
        size_t more;
        const struct CMUnitTest *part = parts[i](&more);
        if (n + more > LODE_ARRAY_LEN(all))
            return 1;
        memcpy(all + n, part, more * sizeof *part);
        n += more;
    }
    int failed = _cmocka_run_group_tests(suite->name, all, n, NULL, NULL);
    if (suite->done)
        suite->done(suite->arg);
    return failed;
}
