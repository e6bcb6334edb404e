/* The store suite's frame: see conformance/store_suite.h. The clauses are in
 * store_suite_{write,read,dir}.c. */
#include "conformance/store_suite_impl.h"
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"

/* ---- bytes ---- */

void suite_fill(void *into, size_t len, uint64_t seed, uint64_t offset)
{
    uint8_t *p = into;
    for (size_t i = 0; i < len; i++) {
        uint64_t z = (offset + i) / 8 + seed * 0x9e3779b97f4a7c15ull + 1;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        p[i] = (uint8_t)((z ^ (z >> 27)) >> (8 * ((offset + i) % 8)));
    }
}

char *suite_bytes(size_t len, uint64_t seed)
{
    char *bytes = lode_alloc(len);
    assert_non_null(bytes);
    suite_fill(bytes, len, seed, 0);
    return bytes;
}

int suite_put(struct lode_store *store, const char *key, size_t len, uint64_t seed)
{
    _cleanup_free_ char *bytes = suite_bytes(len, seed);
    OK(lode_store_put(store, key, bytes, len, true, err));
    return 0;
}

void suite_expect(struct lode_store *store, const char *key, size_t len, uint64_t seed)
{
    struct lode_store_stat st;
    OK(lode_store_stat(store, key, &st, err));
    assert_int_equal(st.kind, LODE_STORE_OBJECT);
    assert_int_equal(st.size, len);
    _cleanup_free_ char *want = suite_bytes(len, seed);
    _cleanup_free_ char *have = lode_zalloc(len);
    if (len > 0)
        OK(lode_store_pread(store, key, have, len, 0, err));
    assert_memory_equal(want, have, len);
}

void suite_expect_missing(struct lode_store *store, const char *key)
{
    struct lode_store_stat st;
    char byte;
    FAILS(LODE_NOT_FOUND, lode_store_stat(store, key, &st, err));
    FAILS(LODE_NOT_FOUND, lode_store_pread(store, key, &byte, 1, 0, err));
}

struct lode_store_write *suite_begin(struct lode_store *store, const char *key, uint64_t size,
                                     size_t part_size, const char *resume)
{
    struct lode_store_write_opts opts = {.size = size, .part_size = part_size, .resume = resume};
    struct lode_store_write *write = NULL;
    OK(lode_store_write_begin(store, key, &opts, &write, err));
    return write;
}

int suite_part(struct lode_store_write *write, uint32_t number, size_t part_size, uint64_t size,
               uint64_t seed)
{
    uint64_t offset = (uint64_t)number * part_size;
    size_t len = (size_t)lode_min((uint64_t)part_size, size - offset);
    _cleanup_free_ char *bytes = lode_alloc(len);
    suite_fill(bytes, len, seed, offset);
    return lode_store_write_part(write, number, bytes, len, NULL);
}

/* ---- tally ---- */

void tally_init(struct tally *tally, const struct lode_store_range *ranges, size_t n)
{
    *tally = (struct tally){.ranges = ranges, .n = n};
    pthread_mutex_init(&tally->lock, NULL);
    tally->seen = lode_calloc(n, sizeof *tally->seen);
    tally->failures = lode_calloc(n, sizeof *tally->failures);
    for (size_t i = 0; i < n; i++)
        tally->seen[i] = lode_zalloc(ranges[i].len);
}

static void tally_bytes(struct tally *tally, size_t i, size_t from, size_t len)
{
    if (len == 0 || from > tally->ranges[i].len || len > tally->ranges[i].len - from) {
        tally->errors++;
        return;
    }
    for (size_t k = from; k < from + len; k++)
        tally->errors += tally->seen[i][k]++ != 0;
}

void tally_done(void *arg, const struct lode_store_range *range, size_t from, size_t len,
                const struct lode_err *err)
{
    struct tally *tally = arg;
    pthread_mutex_lock(&tally->lock);
    size_t i = (size_t)(range - tally->ranges);
    if (i >= tally->n || tally->ended || tally->failures[i])
        tally->errors++;
    else if (err)
        tally->failures[i] = err->code < 0 && err->text[0] ? err->code : LODE_INTERNAL;
    else
        tally_bytes(tally, i, from, len);
    pthread_mutex_unlock(&tally->lock);
}

void tally_end(struct tally *tally, bool cancelled)
{
    pthread_mutex_lock(&tally->lock);
    tally->ended = true;
    pthread_mutex_unlock(&tally->lock);
    if (cancelled)
        lode_sleep_ms(3); /* room for a callback that should not come */
    pthread_mutex_lock(&tally->lock);
    size_t missing = 0;
    for (size_t i = 0; i < tally->n; i++) {
        for (size_t k = 0; !cancelled && !tally->failures[i] && k < tally->ranges[i].len; k++)
            missing += tally->seen[i][k] == 0;
        lode_free(tally->seen[i]);
    }
    unsigned errors = tally->errors;
    pthread_mutex_unlock(&tally->lock);
    lode_free(tally->seen);
    lode_free(tally->failures);
    pthread_mutex_destroy(&tally->lock);
    assert_int_equal(missing, 0);
    assert_int_equal(errors, 0);
}

/* ---- threads ---- */

struct thread {
    pthread_t id;
    void (*fn)(void *arg, unsigned i);
    void *arg;
    unsigned i;
};

static void *run_thread(void *arg)
{
    struct thread *thread = arg;
    thread->fn(thread->arg, thread->i);
    return NULL;
}

void suite_threads(unsigned n, void (*fn)(void *arg, unsigned i), void *arg)
{
    struct thread threads[32];
    assert_true(n <= 32);
    for (unsigned i = 0; i < n; i++) {
        threads[i] = (struct thread){.fn = fn, .arg = arg, .i = i};
        assert_int_equal(pthread_create(&threads[i].id, NULL, run_thread, &threads[i]), 0);
    }
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i].id, NULL);
}

/* ---- frame ---- */

static int set_up(void **state)
{
    struct suite *suite = lode_zalloc(sizeof *suite);
    suite->maker = *state;
    suite->place = suite->maker->place(suite->maker);
    suite->store = suite->maker->open(suite->maker, suite->place, false);
    *state = suite;
    return suite->store ? 0 : -1;
}

static int tear_down(void **state)
{
    struct suite *suite = *state;
    lode_store_close(suite->store);
    suite->maker->clear(suite->maker, suite->place);
    lode_free(suite);
    return 0;
}

static void add_tests(const struct CMUnitTest *from, size_t n, const struct store_maker *maker,
                      struct CMUnitTest *to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        to[i].name = lode_asprintf("%s: %s", maker->name, from[i].name);
        to[i].setup_func = set_up;
        to[i].teardown_func = tear_down;
        to[i].initial_state = (void *)(uintptr_t)maker;
    }
}

int store_suite_run(const struct store_maker *makers, size_t n)
{
    size_t each = store_suite_n_write_tests + store_suite_n_read_tests + store_suite_n_dir_tests;
    struct CMUnitTest *tests = lode_calloc(n * each, sizeof *tests);
    for (size_t i = 0; i < n; i++) {
        struct CMUnitTest *at = tests + i * each;
        add_tests(store_suite_write_tests, store_suite_n_write_tests, &makers[i], at);
        at += store_suite_n_write_tests;
        add_tests(store_suite_read_tests, store_suite_n_read_tests, &makers[i], at);
        at += store_suite_n_read_tests;
        add_tests(store_suite_dir_tests, store_suite_n_dir_tests, &makers[i], at);
    }
    int failed = _cmocka_run_group_tests("store", tests, n * each, NULL, NULL);
    for (size_t i = 0; i < n * each; i++)
        lode_free((void *)(uintptr_t)tests[i].name);
    lode_free(tests);
    return failed;
}
