/* The http store: the suite over a small server, and what a wrong server gets. */
#include "conformance/store_suite_impl.h"
#include <pthread.h> /* built under ThreadSanitizer, too */
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "conformance/store_suite_http.h"

#define SIZE 20000

/* ---- the suite ---- */

struct place {
    struct lode_store *behind;
    struct tiny_server *server;
};

static void *new_place(const struct store_maker *self)
{
    struct place *place = lode_zalloc(sizeof *place);
    struct lode_store_config config = {.url = "mem:", .create = true};
    OK(lode_store_open(&config, &place->behind, err));
    place->server = tiny_server_start(place->behind, "s3cret");
    return place;
}

static struct lode_store *open_http(const char *url, const char *token, bool read_only)
{
    const char *const options[] = {"token", token, NULL};
    struct lode_store_config config = {
        .url = url, .read_only = read_only, .options = token ? options : NULL};
    struct lode_store *store = NULL;
    OK(lode_store_open(&config, &store, err));
    return store;
}

static struct lode_store *open_place(const struct store_maker *self, void *at, bool read_only)
{
    struct place *place = at;
    return open_http(tiny_server_url(place->server), "s3cret", read_only);
}

static struct lode_store *open_retrying(const struct store_maker *self, void *at, bool read_only)
{
    static const struct lode_retry_policy policy = {.attempts = 4, .base_ms = 1, .max_ms = 5};
    struct lode_store *store = NULL;
    OK(lode_store_retry(open_place(self, at, read_only), &policy, &store, err));
    return store;
}

static void clear_place(const struct store_maker *self, void *at)
{
    struct place *place = at;
    tiny_server_stop(place->server);
    lode_store_close(place->behind);
    lode_free(place);
}

static const struct store_maker makers[] = {
    {"http", new_place, open_place, clear_place, NULL},
    {"http+retry", new_place, open_retrying, clear_place, NULL},
};

/* ---- servers that are not what they should be ---- */

static int set_up(void **state)
{
    struct place *place = new_place(NULL);
    suite_put(place->behind, "m/w", SIZE, 1);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    clear_place(NULL, *state);
    return 0;
}

static void wrong_replies_are_failures(void **state)
{
    struct place *place = *state;
    _cleanup_store_ struct lode_store *store =
        open_http(tiny_server_url(place->server), "s3cret", false);
    static const struct {
        enum tiny_mischief mischief;
        uint64_t at;
        size_t len;
        int code;
    } rows[] = {
        {TINY_OTHER_RANGE, 0, 100, LODE_IO},    {TINY_OTHER_RANGE, 50, 1, LODE_IO},
        {TINY_LONGER, 0, 100, LODE_IO},         {TINY_WHOLE, 0, 100, LODE_IO},
        {TINY_WHOLE, 100, SIZE - 100, LODE_IO}, {TINY_WHOLE, 0, SIZE, 0},
        {TINY_SHORT, 0, 100, LODE_UNAVAILABLE}, {TINY_SHORT, 7, SIZE - 7, LODE_UNAVAILABLE},
        {TINY_HTML, 0, 100, LODE_NOT_FOUND},    {TINY_HONEST, 0, SIZE, 0},
    };
    char have[SIZE];
    for (size_t i = 0; i < LODE_ARRAY_LEN(rows); i++) {
        tiny_server_misbehave(place->server, rows[i].mischief);
        struct lode_store_range range = {"m/w", rows[i].at, rows[i].len, have};
        struct lode_store_read *read;
        struct tally tally;
        struct lode_err told = {0};
        tally_init(&tally, &range, 1);
        OK(lode_store_read(store, &range, 1, tally_done, &tally, &read, err));
        int r = lode_store_read_wait(read, &told);
        if (r != rows[i].code)
            fail_msg("row %zu: %s: %s", i, lode_code_name(r), told.text);
        assert_int_equal(tally.failures[0], rows[i].code);
        if (r < 0)
            assert_non_null(strstr(told.text, "m/w"));
        tally_end(&tally, false);
    }
}

static void a_busy_server_is_asked_again(void **state)
{
    struct place *place = *state;
    static const struct lode_retry_policy policy = {.attempts = 20, .base_ms = 1, .max_ms = 2};
    _cleanup_store_ struct lode_store *store = NULL;
    OK(lode_store_retry(open_http(tiny_server_url(place->server), "s3cret", false), &policy, &store,
                        err));
    tiny_server_misbehave(place->server, TINY_BUSY);
    suite_expect(store, "m/w", SIZE, 1);
    struct lode_store_write *write = suite_begin(store, "m/x", SIZE, 1000, NULL);
    for (uint32_t n = 0; n < SIZE / 1000; n++)
        assert_int_equal(suite_part(write, n, 1000, SIZE, 2), 0);
    tiny_server_misbehave(place->server, TINY_HONEST); /* complete is not repeated */
    OK(lode_store_write_complete(write, SIZE, true, err));
    suite_expect(store, "m/x", SIZE, 2);
}

static void tokens(void **state)
{
    struct place *place = *state;
    struct lode_store_stat st;
    char byte;
    _cleanup_store_ struct lode_store *wrong =
        open_http(tiny_server_url(place->server), "wr0ng", false);
    _cleanup_store_ struct lode_store *none =
        open_http(tiny_server_url(place->server), NULL, false);
    struct lode_err told = {0};
    assert_int_equal(lode_store_stat(wrong, "m/w", &st, &told), LODE_UNAUTHENTICATED);
    assert_null(strstr(told.text, "wr0ng"));
    FAILS(LODE_UNAUTHENTICATED, lode_store_pread(none, "m/w", &byte, 1, 0, err));
    FAILS(LODE_UNAUTHENTICATED, lode_store_put(none, "m/x", "x", 1, true, err));
}

static void connections_are_kept(void **state)
{
    struct place *place = *state;
    _cleanup_store_ struct lode_store *store =
        open_http(tiny_server_url(place->server), "s3cret", false);
    for (int i = 0; i < 50; i++)
        suite_expect(store, "m/w", SIZE, 1);
    assert_in_range(tiny_server_connections(place->server), 1, 4);
}

static void big_ranges_go_in_several_requests(void **state)
{
    struct place *place = *state;
    size_t size = (20u << 20) + 5;
    suite_put(place->behind, "m/big", size, 3);
    _cleanup_store_ struct lode_store *store =
        open_http(tiny_server_url(place->server), "s3cret", false);
    suite_expect(store, "m/big", size, 3);
    assert_int_equal(tiny_server_requests(place->server), 4); /* HEAD, 8 MiB, 8 MiB, the rest */
}

static void a_server_that_is_gone(void **state)
{
    struct place *place = new_place(NULL);
    _cleanup_store_ struct lode_store *store =
        open_http(tiny_server_url(place->server), "s3cret", false);
    struct lode_store_stat st;
    char byte;
    clear_place(NULL, place);
    FAILS(LODE_UNAVAILABLE, lode_store_stat(store, "m/w", &st, err));
    FAILS(LODE_UNAVAILABLE, lode_store_pread(store, "m/w", &byte, 1, 0, err));
    FAILS(LODE_UNAVAILABLE, lode_store_put(store, "m/w", "x", 1, true, err));
}

static void urls_that_are_no_base(void **state)
{
    static const char *const urls[] = {
        "http:",           "http://", "http:///x", "http://user:pass@host/x", "http://host/x?y=1",
        "https://host/x#y"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(urls); i++) {
        struct lode_store_config config = {.url = urls[i]};
        struct lode_store *store;
        struct lode_err told = {0};
        assert_int_equal(lode_store_open(&config, &store, &told), LODE_INVALID);
        assert_null(strstr(told.text, "pass@"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wrong_replies_are_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_busy_server_is_asked_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(big_ranges_go_in_several_requests, set_up, tear_down),
        cmocka_unit_test(a_server_that_is_gone),
        cmocka_unit_test(urls_that_are_no_base),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + store_suite_run(makers, LODE_ARRAY_LEN(makers));
}
