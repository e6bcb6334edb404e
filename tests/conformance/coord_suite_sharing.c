/* The suite's part on several users: threads, handles, processes. See coord_suite.h. */
#include "conformance/coord_suite.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "support/coord_kit.h"

#define THREADS 6
#define STEPS 40

static void handles_see_each_other(void **state)
{
    _cleanup_coord_ struct lode_coord *a = coord_suite_open();
    _cleanup_coord_ struct lode_coord *b = coord_suite_open();
    struct lode_coord_watch *w;
    struct lode_coord_events e;
    assert_int_equal(lode_coord_watch(b, "k", kit_revision(b) + 1, &w, NULL), 0);
    uint64_t r = kit_put(a, "k", "1");
    assert_true(kit_has(b, "k"));
    assert_int_equal(kit_revision(b), r);
    assert_int_equal(lode_coord_watch_next(w, 5000, &e, NULL), 0);
    assert_int_equal(e.n, 1);
    lode_coord_events_release(&e);
    lode_coord_watch_close(w);
    assert_true(kit_swap(b, "k", r, "2"));
    assert_false(kit_swap(a, "k", r, "3"));
}

static void *increment(void *c)
{
    for (int i = 0; i < STEPS; i++)
        kit_increment(c, "counter");
    return NULL;
}

static void expect_counter(struct lode_coord *c, long n)
{
    _cleanup_free_ char *value = kit_get(c, "counter");
    assert_non_null(value);
    assert_int_equal(strtol(value, NULL, 10), n);
    assert_int_equal(kit_revision(c), n); /* no revision was used for a comparison that failed */
}

static void threads_lose_no_update(void **state)
{
    _cleanup_coord_ struct lode_coord *a = coord_suite_open();
    _cleanup_coord_ struct lode_coord *b = coord_suite_open();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, increment, i % 2 ? a : b), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    expect_counter(a, THREADS * STEPS);
}

/* Children leave by _exit: they are no cmocka runs of their own. */
static void processes_lose_no_update(void **state)
{
    lode_coord_close(
        coord_suite_open()); /* made before they race for it; see the next test for the race */
    pid_t children[THREADS];
    for (int i = 0; i < THREADS; i++) {
        children[i] = kit_fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            struct lode_coord *c = coord_suite_open();
            increment(c);
            lode_coord_close(c);
            _exit(0);
        }
    }
    for (int i = 0; i < THREADS; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    expect_counter(c, THREADS * STEPS);
}

static void processes_race_to_create(void **state)
{
    pid_t children[THREADS];
    for (int i = 0; i < THREADS; i++) {
        children[i] = kit_fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            struct lode_coord *c = coord_suite_open();
            bool won = kit_swap(c, "root", 0, "me");
            lode_coord_close(c);
            _exit(won ? 1 : 0);
        }
    }
    int winners = 0;
    for (int i = 0; i < THREADS; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        winners += WEXITSTATUS(status);
    }
    assert_int_equal(winners, 1);
}

static void watches_across_processes(void **state)
{
    lode_coord_close(coord_suite_open());
    pid_t child = kit_fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct lode_coord *c = coord_suite_open();
        for (int i = 0; i < STEPS; i++)
            kit_increment(c, "counter");
        lode_coord_close(c);
        _exit(0);
    }
    _cleanup_coord_ struct lode_coord *c = coord_suite_open();
    struct lode_coord_watch *w;
    assert_int_equal(lode_coord_watch(c, "", 1, &w, NULL), 0);
    long n = 0;
    while (n < STEPS) {
        struct lode_coord_events e;
        assert_int_equal(lode_coord_watch_next(w, 20000, &e, NULL), 0);
        assert_true(e.n > 0);
        for (size_t i = 0; i < e.n; i++)
            assert_int_equal(strtol(e.items[i].kv.value, NULL, 10), ++n);
        lode_coord_events_release(&e);
    }
    lode_coord_watch_close(w);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

const struct CMUnitTest *coord_suite_threads(size_t *n)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(handles_see_each_other, coord_suite_setup),
        cmocka_unit_test_setup(threads_lose_no_update, coord_suite_setup),
    };
    *n = LODE_ARRAY_LEN(tests);
    return tests;
}

const struct CMUnitTest *coord_suite_processes(size_t *n)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(processes_race_to_create, coord_suite_setup),
        cmocka_unit_test_setup(processes_lose_no_update, coord_suite_setup),
        cmocka_unit_test_setup(watches_across_processes, coord_suite_setup),
    };
    *n = LODE_ARRAY_LEN(tests);
    return tests;
}
