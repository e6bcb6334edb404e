/* The store suite: writing. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "conformance/store_suite_impl.h"

#define PART 1000
#define RACERS 8
#define ROUNDS 25

static void absent_until_complete(void **state)
{
    struct lode_store *store = STORE(state);
    struct lode_store_write *write = suite_begin(store, "m/v1/big", 2500, PART, NULL);
    assert_int_equal(suite_part(write, 0, PART, 2500, 1), 0);
    suite_expect_missing(store, "m/v1/big");
    assert_int_equal(suite_part(write, 1, PART, 2500, 1), 0);
    assert_int_equal(suite_part(write, 2, PART, 2500, 1), 0);
    suite_expect_missing(store, "m/v1/big");
    OK(lode_store_write_complete(write, 2500, true, err));
    suite_expect(store, "m/v1/big", 2500, 1);
}

static void dropped_leaves_nothing(void **state)
{
    struct lode_store *store = STORE(state);
    struct lode_store_write *write = suite_begin(store, "dropped", UINT64_MAX, PART, NULL);
    assert_int_equal(suite_part(write, 0, PART, PART, 1), 0);
    lode_store_write_abort(write, false);
    write = suite_begin(store, "dropped", 10, PART, NULL);
    lode_store_write_abort(write, false);
    suite_expect_missing(store, "dropped");
    NEEDS(state, LODE_STORE_RESUME);
    struct lode_store_unfinished_list list;
    OK(lode_store_unfinished(store, "", &list, err));
    assert_int_equal(list.n, 0);
    lode_store_unfinished_release(&list);
    NEEDS(state, LODE_STORE_LIST);
    struct lode_store_page page;
    OK(lode_store_list(store, "", NULL, 10, &page, err));
    for (size_t i = 0; i < page.n; i++)
        assert_string_equal(page.entries[i].name, "_staging");
    lode_store_page_release(&page);
}

static void empty_objects(void **state)
{
    struct lode_store *store = STORE(state);
    OK(lode_store_put(store, "a/empty", NULL, 0, true, err));
    suite_expect(store, "a/empty", 0, 0);
    FAILS(LODE_EXISTS, lode_store_put(store, "a/empty", NULL, 0, true, err));
    struct lode_store_write *write = suite_begin(store, "a/empty2", UINT64_MAX, PART, NULL);
    OK(lode_store_write_complete(write, 0, false, err));
    suite_expect(store, "a/empty2", 0, 0);
}

static void wrong_parts(void **state)
{
    struct lode_store *store = STORE(state);
    struct lode_store_write *write = suite_begin(store, "w", 2500, PART, NULL);
    assert_int_equal(suite_part(write, 0, PART, 2500, 1), 0);
    assert_int_equal(suite_part(write, 2, PART, 2500, 1), 0);
    FAILS(LODE_INVALID, lode_store_write_complete(write, 2500, true, err)); /* a hole */
    write = suite_begin(store, "w", 2500, PART, NULL);
    assert_int_equal(suite_part(write, 0, PART, 2500, 1), 0);
    assert_int_equal(suite_part(write, 1, PART, 1500, 1), 0);
    assert_int_equal(suite_part(write, 2, PART, 2500, 1), 0);
    /* a short one inside */
    FAILS(LODE_INVALID, lode_store_write_complete(write, 2500, true, err));
    write = suite_begin(store, "w", UINT64_MAX, PART, NULL);
    assert_int_equal(suite_part(write, 0, PART, 2500, 1), 0);
    assert_int_equal(suite_part(write, 1, PART, 2500, 1), 0);
    FAILS(LODE_INVALID, lode_store_write_complete(write, PART, true, err)); /* one too many */
    suite_expect_missing(store, "w");
    write = suite_begin(store, "w", UINT64_MAX, PART, NULL);
    char bytes[PART + 1] = {0};
    FAILS(LODE_INVALID, lode_store_write_part(write, 0, bytes, PART + 1, err));
    FAILS(LODE_INVALID, lode_store_write_part(write, UINT32_MAX, bytes, PART, err));
    lode_store_write_abort(write, false);
    struct lode_store_write_opts opts = {.size = 1, .part_size = 0};
    FAILS(LODE_INVALID, lode_store_write_begin(store, "w", &opts, &write, err));
}

static void parts_again(void **state)
{
    struct lode_store *store = STORE(state);
    struct lode_store_write *write = suite_begin(store, "again", 1500, PART, NULL);
    assert_int_equal(suite_part(write, 0, PART, 1500, 9), 0);
    assert_int_equal(suite_part(write, 1, PART, 1500, 1), 0);
    assert_int_equal(suite_part(write, 0, PART, 1500, 1), 0); /* the last one counts */
    OK(lode_store_write_complete(write, 1500, true, err));
    suite_expect(store, "again", 1500, 1);
}

struct many_parts {
    struct lode_store_write *write;
    size_t part_size, size;
    unsigned threads;
    _Atomic int failures;
};

static void write_every_nth(void *arg, unsigned i)
{
    struct many_parts *job = arg;
    uint32_t parts = (uint32_t)((job->size + job->part_size - 1) / job->part_size);
    for (uint32_t n = parts; n-- > 0;) {
        if (n % job->threads == i && suite_part(job->write, n, job->part_size, job->size, 3) < 0)
            atomic_fetch_add(&job->failures, 1);
    }
}

/* Backwards, from several threads. */
static void big_object_in_any_order(void **state)
{
    struct lode_store *store = STORE(state);
    struct many_parts job = {.part_size = 64 << 10, .size = (3 << 20) + 4321, .threads = 4};
    job.write = suite_begin(store, "big/one", job.size, job.part_size, NULL);
    suite_threads(job.threads, write_every_nth, &job);
    assert_int_equal(job.failures, 0);
    OK(lode_store_write_complete(job.write, job.size, true, err));
    suite_expect(store, "big/one", job.size, 3);
}

static void if_absent_and_replace(void **state)
{
    struct lode_store *store = STORE(state);
    suite_put(store, "k", 100, 1);
    FAILS(LODE_EXISTS, lode_store_put(store, "k", "x", 1, true, err));
    suite_expect(store, "k", 100, 1);
    OK(lode_store_put(store, "k", "", 0, false, err));
    suite_expect(store, "k", 0, 1);
    _cleanup_free_ char *bytes = suite_bytes(50, 2);
    OK(lode_store_put(store, "k", bytes, 50, false, err));
    suite_expect(store, "k", 50, 2);
}

struct race {
    struct lode_store *store;
    char key[64];
    int results[RACERS];
    pthread_barrier_t start;
};

static void race_put(void *arg, unsigned i)
{
    struct race *race = arg;
    _cleanup_free_ char *bytes = suite_bytes(200, i);
    pthread_barrier_wait(&race->start);
    race->results[i] = lode_store_put(race->store, race->key, bytes, 200, true, NULL);
}

static void one_of_many_wins(void **state)
{
    NEEDS(state, LODE_STORE_IF_ABSENT);
    struct race race = {.store = STORE(state)};
    pthread_barrier_init(&race.start, NULL, RACERS);
    for (int round = 0; round < ROUNDS; round++) {
        snprintf(race.key, sizeof race.key, "race/%d", round);
        suite_threads(RACERS, race_put, &race);
        int winner = -1;
        for (int i = 0; i < RACERS; i++) {
            if (race.results[i] == 0) {
                assert_int_equal(winner, -1);
                winner = i;
            } else {
                assert_int_equal(race.results[i], LODE_EXISTS);
            }
        }
        assert_int_not_equal(winner, -1);
        suite_expect(race.store, race.key, 200, (uint64_t)winner);
    }
    pthread_barrier_destroy(&race.start);
}

/* ---- resuming ---- */

static char *only_unfinished(struct lode_store *store, const char *dir, const char *key)
{
    struct lode_store_unfinished_list list;
    OK(lode_store_unfinished(store, dir, &list, err));
    assert_int_equal(list.n, 1);
    assert_string_equal(list.items[0].key, key);
    assert_true(list.items[0].started_ms > 0);
    char *id = lode_strdup(list.items[0].id);
    lode_store_unfinished_release(&list);
    return id;
}

static void interrupted(struct lode_store *store, const char *key)
{
    struct lode_store_write *write = suite_begin(store, key, 5500, PART, NULL);
    assert_int_equal(suite_part(write, 5, PART, 5500, 1), 0);
    assert_int_equal(suite_part(write, 0, PART, 5500, 1), 0);
    assert_int_equal(suite_part(write, 3, PART, 5500, 1), 0);
    lode_store_write_abort(write, true);
    suite_expect_missing(store, key);
}

static void resumed(void **state)
{
    NEEDS(state, LODE_STORE_RESUME);
    interrupted(STORE(state), "r/a");
    struct lode_store *store =
        SUITE(state)->maker->open(SUITE(state)->maker, SUITE(state)->place, false);
    _cleanup_free_ char *id = only_unfinished(store, "r", "r/a");
    struct lode_store_write *write = suite_begin(store, "r/a", 5500, PART, id);
    struct lode_store_part *parts;
    size_t n;
    OK(lode_store_write_parts(write, &parts, &n, err));
    assert_int_equal(n, 3);
    static const struct lode_store_part want[] = {{0, 1000}, {3, 1000}, {5, 500}};
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(parts[i].number, want[i].number);
        assert_int_equal(parts[i].len, want[i].len);
    }
    lode_store_free(parts);
    assert_int_equal(suite_part(write, 1, PART, 5500, 1), 0);
    assert_int_equal(suite_part(write, 2, PART, 5500, 1), 0);
    assert_int_equal(suite_part(write, 4, PART, 5500, 1), 0);
    OK(lode_store_write_complete(write, 5500, true, err));
    suite_expect(store, "r/a", 5500, 1);
    struct lode_store_unfinished_list list;
    OK(lode_store_unfinished(store, "", &list, err));
    assert_int_equal(list.n, 0);
    lode_store_unfinished_release(&list);
    lode_store_close(store);
}

static void resumed_wrongly(void **state)
{
    NEEDS(state, LODE_STORE_RESUME);
    struct lode_store *store = STORE(state);
    interrupted(store, "r/b");
    _cleanup_free_ char *id = only_unfinished(store, "", "r/b");
    struct lode_store_write *write;
    struct lode_store_write_opts opts = {.size = 5500, .part_size = PART + 1, .resume = id};
    FAILS(LODE_INVALID, lode_store_write_begin(store, "r/b", &opts, &write, err));
    opts.part_size = PART;
    opts.resume = "ffffffffffffffffffffffff";
    FAILS(LODE_NOT_FOUND, lode_store_write_begin(store, "r/none", &opts, &write, err));
    /* it is still there */
    lode_store_write_abort(suite_begin(store, "r/b", 5500, PART, id), true);
    lode_store_write_abort(suite_begin(store, "r/b", 5500, PART, id), false);
    FAILS(LODE_NOT_FOUND, lode_store_discard(store, "r/b", id, err));
}

static void discarded(void **state)
{
    NEEDS(state, LODE_STORE_RESUME);
    struct lode_store *store = STORE(state);
    interrupted(store, "d/a/x");
    interrupted(store, "d/b");
    _cleanup_free_ char *id = only_unfinished(store, "d/a", "d/a/x");
    OK(lode_store_discard(store, "d/a/x", id, err));
    FAILS(LODE_NOT_FOUND, lode_store_discard(store, "d/a/x", id, err));
    _cleanup_free_ char *other = only_unfinished(store, "d", "d/b");
    OK(lode_store_discard(store, "d/b", other, err));
    FAILS(LODE_NOT_FOUND, lode_store_discard(store, "d/b", "../../etc/passwd", err));
}

static void no_parts_of_a_new_write(void **state)
{
    struct lode_store_write *write = suite_begin(STORE(state), "n", 5500, PART, NULL);
    struct lode_store_part *parts;
    size_t n = 7;
    OK(lode_store_write_parts(write, &parts, &n, err));
    assert_int_equal(n, 0);
    lode_store_free(parts);
    lode_store_write_abort(write, false);
}

static void unicode_keys(void **state)
{
    struct lode_store *store = STORE(state);
    static const char *const keys[] = {"\xe6\xa8\xa1\xe5\x9e\x8b/\xf0\x9f\xa6\x99.bin", "a b/c%2Fd",
                                       "q?x=1&y#f", "-rf *", "~"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(keys); i++)
        suite_put(store, keys[i], 10 + i, i);
    for (size_t i = 0; i < LODE_ARRAY_LEN(keys); i++)
        suite_expect(store, keys[i], 10 + i, i);
    char longest[256];
    memset(longest, 'x', 255);
    longest[255] = 0;
    suite_put(store, longest, 5, 5);
    suite_expect(store, longest, 5, 5);
}

static void failures_name_the_key(void **state)
{
    struct lode_err err = {0};
    struct lode_store_stat st;
    assert_int_equal(lode_store_stat(STORE(state), "no/such/key", &st, &err), LODE_NOT_FOUND);
    assert_non_null(strstr(err.text, "no/such/key"));
    suite_put(STORE(state), "taken/key", 1, 1);
    assert_int_equal(lode_store_put(STORE(state), "taken/key", "x", 1, true, &err), LODE_EXISTS);
    assert_non_null(strstr(err.text, "taken/key"));
}

const struct CMUnitTest store_suite_write_tests[] = {
    cmocka_unit_test(absent_until_complete),
    cmocka_unit_test(dropped_leaves_nothing),
    cmocka_unit_test(empty_objects),
    cmocka_unit_test(wrong_parts),
    cmocka_unit_test(parts_again),
    cmocka_unit_test(big_object_in_any_order),
    cmocka_unit_test(if_absent_and_replace),
    cmocka_unit_test(one_of_many_wins),
    cmocka_unit_test(resumed),
    cmocka_unit_test(resumed_wrongly),
    cmocka_unit_test(discarded),
    cmocka_unit_test(no_parts_of_a_new_write),
    cmocka_unit_test(unicode_keys),
    cmocka_unit_test(failures_name_the_key),
};
const size_t store_suite_n_write_tests = LODE_ARRAY_LEN(store_suite_write_tests);
