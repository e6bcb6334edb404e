/* The conveniences over a store: get, put, walk, remove_tree; and what URLs mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "store/store.h"

static struct lode_store *open_url(const char *url)
{
    struct lode_store *store = NULL;
    struct lode_err err = {0};
    struct lode_store_config config = {.url = url, .create = true};
    if (lode_store_open(&config, &store, &err) < 0)
        fail_msg("%s", err.text);
    return store;
}

static void put(struct lode_store *store, const char *key, const char *text)
{
    struct lode_err err = {0};
    if (lode_store_put(store, key, text, strlen(text), false, &err) < 0)
        fail_msg("%s", err.text);
}

static void get_is_bounded(void **state)
{
    _cleanup_store_ struct lode_store *store = open_url("mem:");
    struct lode_err err = {0};
    put(store, "a/b", "hello");
    _cleanup_buf_ struct lode_buf out = LODE_BUF_INIT(8);
    assert_int_equal(lode_store_get(store, "a/b", &out, &err), 0);
    assert_string_equal(lode_buf_str(&out), "hello");
    assert_int_equal(lode_store_get(store, "a/b", &out, &err), LODE_LIMIT);
    assert_string_equal(lode_buf_str(&out), "hello");
    assert_int_equal(lode_store_get(store, "a", &out, &err), LODE_NOT_FOUND);
    assert_int_equal(lode_store_get(store, "c", &out, &err), LODE_NOT_FOUND);
}

static int append_key(void *arg, const char *key, const struct lode_store_stat *st,
                      struct lode_err *err)
{
    lode_buf_addf(arg, "%s:%llu ", key, (unsigned long long)st->size);
    return strcmp(key, "stop/here") == 0 ? lode_err_set(err, LODE_CANCELLED, "enough") : 0;
}

static void walks_in_order(void **state)
{
    _cleanup_store_ struct lode_store *store = open_url("mem:");
    _cleanup_buf_ struct lode_buf seen = LODE_BUF_INIT(4096);
    put(store, "a/x", "1");
    put(store, "a-b", "22");
    put(store, "a/d/y", "333");
    put(store, "z", "");
    assert_int_equal(lode_store_walk(store, "", append_key, &seen, NULL), 0);
    assert_string_equal(lode_buf_str(&seen), "a/d/y:3 a/x:1 a-b:2 z:0 ");
    lode_buf_clear(&seen);
    put(store, "stop/here", "");
    put(store, "stop/not", "");
    assert_int_equal(lode_store_walk(store, "stop", append_key, &seen, NULL), LODE_CANCELLED);
    assert_string_equal(lode_buf_str(&seen), "stop/here:0 ");
}

static void removes_trees(void **state)
{
    char base[] = "/tmp/lode-store-XXXXXX";
    assert_non_null(mkdtemp(base));
    struct lode_store *store = open_url(base);
    struct lode_store_write_opts opts = {.size = 100, .part_size = 10};
    struct lode_store_write *write;
    struct lode_err err = {0};
    uint64_t freed = 0;
    put(store, "_staging/a1/x", "four");
    put(store, "_staging/a1/d/y", "sixsix");
    put(store, "_staging/a2/z", "");
    assert_int_equal(lode_store_write_begin(store, "_staging/a1/big", &opts, &write, &err), 0);
    assert_int_equal(lode_store_write_part(write, 1, "0123456789", 10, &err), 0);
    lode_store_write_abort(write, true);
    if (lode_store_remove_tree(store, "_staging/a1", &freed, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(freed, 10);
    struct lode_store_unfinished_list list;
    assert_int_equal(lode_store_unfinished(store, "", &list, &err), 0);
    assert_int_equal(list.n, 0);
    struct lode_store_stat st;
    assert_int_equal(lode_store_stat(store, "_staging/a1", &st, NULL), LODE_NOT_FOUND);
    assert_int_equal(lode_store_stat(store, "_staging/a2/z", &st, NULL), 0);
    assert_int_equal(lode_store_remove_tree(store, "_staging/a1", NULL, &err), 0);
    assert_int_equal(lode_store_remove_tree(store, "_staging", NULL, &err), 0);
    lode_store_close(store);
    assert_int_equal(rmdir(base), 0);
}

static void urls(void **state)
{
    struct lode_store *store = NULL;
    struct lode_err err = {0};
    static const struct {
        const char *url;
        int code;
    } rows[] = {
        {"", LODE_INVALID},
        {"gopher:x", LODE_INVALID},
        {"file:relative", LODE_INVALID},
        {"file://host/x", LODE_INVALID},
        {"file:///tmp/%zz", LODE_INVALID},
        {"file:///tmp/a%00b", LODE_INVALID},
        {"/tmp/lode-store-surely-missing", LODE_NOT_FOUND},
        {"/dev/null", LODE_INVALID},
    };
    for (size_t i = 0; i < LODE_ARRAY_LEN(rows); i++) {
        struct lode_store_config config = {.url = rows[i].url};
        assert_int_equal(lode_store_open(&config, &store, &err), rows[i].code);
        assert_true(err.text[0]);
    }
    store = open_url("file:///t%6Dp");
    assert_string_equal(lode_store_url(store), "/tmp");
    lode_store_close(store);
    store = open_url("/tmp//");
    assert_string_equal(lode_store_url(store), "/tmp");
    lode_store_close(store);
}

static void plugins_that_cannot_load(void **state)
{
    struct lode_store *store = NULL;
    struct lode_err err = {0};
    struct lode_store_config config = {.url = "gopher:x"};
    setenv("LODE_PLUGINS", "/nowhere/x.so", 1);
    assert_int_equal(lode_store_open(&config, &store, &err), LODE_INVALID);
    assert_non_null(strstr(err.text, "/nowhere/x.so"));
    config.url = "mem:";
    assert_int_equal(lode_store_open(&config, &store, &err), 0);
    lode_store_close(store);
    unsetenv("LODE_PLUGINS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(get_is_bounded),
                                       cmocka_unit_test(walks_in_order),
                                       cmocka_unit_test(removes_trees), cmocka_unit_test(urls),
                                       cmocka_unit_test(plugins_that_cannot_load)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
