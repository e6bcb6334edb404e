/* The store suite: reading and looking. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"
#include "conformance/store_suite_impl.h"
#include "support/fault_sys.h"

#define MANY 150
#define BIG ((1u << 20) + 77)

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 33;
}

/* Ranges of every size at every place, some overlapping, each with memory of its own. */
static struct lode_store_range *many_ranges(const char *key, size_t size, size_t n, uint64_t seed)
{
    struct lode_store_range *ranges = lode_calloc(n, sizeof *ranges);
    for (size_t i = 0; i < n; i++) {
        size_t len = 1 + next(&seed) % (i % 10 == 0 ? 100000 : 3000);
        ranges[i] =
            (struct lode_store_range){key, next(&seed) % (size - len + 1), len, lode_zalloc(len)};
    }
    return ranges;
}

static bool range_holds(const struct lode_store_range *range, uint64_t seed)
{
    _cleanup_free_ char *want = lode_alloc(range->len);
    suite_fill(want, range->len, seed, range->offset);
    return memcmp(want, range->into, range->len) == 0;
}

static void ranges_free(struct lode_store_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        lode_free(ranges[i].into);
    lode_free(ranges);
}

static void many_ranges_in_one_batch(void **state)
{
    suite_put(STORE(state), "m/big", BIG, 4);
    for (uint64_t round = 0; round < 3; round++) {
        struct lode_store_range *ranges = many_ranges("m/big", BIG, MANY, round);
        struct lode_store_read *read;
        struct tally tally;
        tally_init(&tally, ranges, MANY);
        OK(lode_store_read(STORE(state), ranges, MANY, tally_done, &tally, &read, err));
        OK(lode_store_read_wait(read, err));
        for (size_t i = 0; i < MANY; i++)
            assert_true(range_holds(&ranges[i], 4));
        tally_end(&tally, false);
        ranges_free(ranges, MANY);
    }
}

static void an_empty_batch(void **state)
{
    struct lode_store_read *read;
    struct tally tally;
    tally_init(&tally, NULL, 0);
    OK(lode_store_read(STORE(state), NULL, 0, tally_done, &tally, &read, err));
    OK(lode_store_read_wait(read, err));
    OK(lode_store_read(STORE(state), NULL, 0, tally_done, &tally, &read, err));
    lode_store_read_cancel(read);
    tally_end(&tally, true);
}

/* Each range succeeds or fails for itself. */
static void errors_come_per_range(void **state)
{
    struct lode_store *store = STORE(state);
    suite_put(store, "good", 5000, 1);
    suite_put(store, "d/short", 10, 2);
    char room[6][5000];
    struct lode_store_range ranges[] = {
        {"good", 0, 5000, room[0]}, {"missing", 0, 100, room[1]}, {"good", 4990, 20, room[2]},
        {"d/short", 5, 5, room[3]}, {"d", 0, 1, room[4]},         {"good", 1ull << 40, 1, room[5]},
    };
    size_t n = LODE_ARRAY_LEN(ranges);
    struct tally tally;
    struct lode_store_read *read;
    struct lode_err told = {0};
    tally_init(&tally, ranges, n);
    OK(lode_store_read(store, ranges, n, tally_done, &tally, &read, err));
    int r = lode_store_read_wait(read, &told);
    assert_true(r < 0 && told.code == r && told.text[0]);
    assert_int_equal(tally.failures[0], 0);
    assert_int_equal(tally.failures[1], LODE_NOT_FOUND);
    assert_int_equal(tally.failures[2], LODE_IO);
    assert_int_equal(tally.failures[3], 0);
    assert_int_equal(tally.failures[4], LODE_NOT_FOUND);
    assert_int_equal(tally.failures[5], LODE_IO);
    assert_true(range_holds(&ranges[0], 1));
    assert_true(range_holds(&ranges[3], 2));
    tally_end(&tally, false);
}

static void cancelled(void **state)
{
    suite_put(STORE(state), "m/big", BIG, 4);
    for (uint64_t round = 0; round < 20; round++) {
        struct lode_store_range *ranges = many_ranges("m/big", BIG, MANY, round);
        struct lode_store_read *read;
        struct tally tally;
        tally_init(&tally, ranges, MANY);
        OK(lode_store_read(STORE(state), ranges, MANY, tally_done, &tally, &read, err));
        lode_store_read_cancel(read);
        tally.ended = true;
        ranges_free(ranges, MANY); /* a sanitizer sees who still writes there */
        tally.n = 0;
        for (size_t i = 0; i < MANY; i++)
            lode_free(tally.seen[i]);
        tally_end(&tally, true);
    }
    struct lode_store_stat st;
    OK(lode_store_stat(STORE(state), "m/big", &st, err));
}

static void not_ranges(void **state)
{
    suite_put(STORE(state), "a", 100, 1);
    char byte;
    FAILS(LODE_INVALID, lode_store_pread(STORE(state), "a", &byte, 0, 0, err));
    FAILS(LODE_INVALID, lode_store_pread(STORE(state), "a", &byte, 1, UINT64_MAX, err));
    FAILS(LODE_IO, lode_store_pread(STORE(state), "a", &byte, 1, 100, err));
}

struct readers {
    struct lode_store *store;
    _Atomic int failures;
    _Atomic bool stop;
};

static void read_at_random(void *arg, unsigned i)
{
    struct readers *job = arg;
    uint64_t seed = i;
    for (int round = 0; round < 60; round++) {
        char key[32], room[4000];
        uint64_t which = next(&seed) % 4;
        size_t len = 1 + next(&seed) % sizeof room;
        struct lode_store_range range = {key, next(&seed) % (20000 - len), len, room};
        snprintf(key, sizeof key, "c/%d", (int)which);
        if (lode_store_pread(job->store, key, room, len, range.offset, NULL) < 0 ||
            !range_holds(&range, which))
            atomic_fetch_add(&job->failures, 1);
    }
}

static void concurrent_readers(void **state)
{
    struct readers job = {.store = STORE(state)};
    for (int i = 0; i < 4; i++) {
        char key[32];
        snprintf(key, sizeof key, "c/%d", i);
        suite_put(job.store, key, 20000, (uint64_t)i);
    }
    suite_threads(8, read_at_random, &job);
    assert_int_equal(job.failures, 0);
}

/* A range read while the object is replaced holds one of the two, never a mixture (a range that
 * a decorator cuts may: objects that are read by ranges are not replaced). */
static void replace_or_read(void *arg, unsigned i)
{
    struct readers *job = arg;
    _cleanup_free_ char *bytes = lode_alloc(5000);
    for (int round = 0; i == 0 && round < 40; round++) {
        suite_fill(bytes, 5000, (uint64_t)round, 0);
        if (lode_store_put(job->store, "swap", bytes, 5000, false, NULL) < 0)
            atomic_fetch_add(&job->failures, 1);
    }
    if (i == 0)
        atomic_store(&job->stop, true);
    while (i > 0 && !atomic_load(&job->stop)) {
        struct lode_store_range range = {"swap", 0, 5000, bytes};
        bool some = false;
        if (lode_store_pread(job->store, "swap", bytes, 5000, 0, NULL) == 0) {
            for (uint64_t seed = 0; !some && seed < 40; seed++)
                some = range_holds(&range, seed);
        }
        if (!some)
            atomic_fetch_add(&job->failures, 1);
    }
}

static void replaced_while_read(void **state)
{
    struct readers job = {.store = STORE(state)};
    suite_put(job.store, "swap", 5000, 0);
    suite_threads(3, replace_or_read, &job);
    assert_int_equal(job.failures, 0);
}

static void looks(void **state)
{
    struct lode_store *store = STORE(state);
    struct lode_store_stat st, again;
    suite_put(store, "d/o", 123, 1);
    OK(lode_store_stat(store, "d/o", &st, err));
    assert_int_equal(st.kind, LODE_STORE_OBJECT);
    assert_int_equal(st.size, 123);
    OK(lode_store_stat(store, "d/o", &again, err));
    assert_int_equal(st.inode, again.inode);
    assert_int_equal(st.ctime_ns, again.ctime_ns);
    FAILS(LODE_NOT_FOUND, lode_store_stat(store, "d/o/under", &st, err));
    FAILS(LODE_NOT_FOUND, lode_store_stat(store, "d/p", &st, err));
    NEEDS(state, LODE_STORE_LIST);
    OK(lode_store_stat(store, "d", &st, err));
    assert_int_equal(st.kind, LODE_STORE_DIR);
    OK(lode_store_stat(store, "", &st, err));
    assert_int_equal(st.kind, LODE_STORE_DIR);
}

static void replacing_shows(void **state)
{
    struct lode_store_stat before, after;
    suite_put(STORE(state), "o", 10, 1);
    OK(lode_store_stat(STORE(state), "o", &before, err));
    if (before.inode == 0)
        return;
    OK(lode_store_put(STORE(state), "o", "0123456789", 10, false, err));
    OK(lode_store_stat(STORE(state), "o", &after, err));
    assert_true(before.inode != after.inode || before.ctime_ns != after.ctime_ns);
}

static void read_only(void **state)
{
    struct suite *suite = SUITE(state);
    suite_put(suite->store, "d/a", 10, 1);
    struct lode_store *store = suite->maker->open(suite->maker, suite->place, true);
    if (!store)
        return;
    struct lode_store_write *write;
    struct lode_store_write_opts opts = {.size = 1, .part_size = 1};
    assert_true(lode_store_caps(store) & LODE_STORE_READ_ONLY);
    suite_expect(store, "d/a", 10, 1);
    FAILS(LODE_READ_ONLY, lode_store_write_begin(store, "d/b", &opts, &write, err));
    FAILS(LODE_READ_ONLY, lode_store_put(store, "d/a", "x", 1, false, err));
    if (lode_store_caps(store) & LODE_STORE_LIST) {
        FAILS(LODE_READ_ONLY, lode_store_remove(store, "d/a", err));
        FAILS(LODE_READ_ONLY, lode_store_rename_dir(store, "d", "e", err));
        FAILS(LODE_READ_ONLY, lode_store_copy(store, "d/a", "d/b", true, err));
    }
    if (lode_store_caps(store) & LODE_STORE_RESUME)
        FAILS(LODE_READ_ONLY, lode_store_discard(store, "d/a", "ffffffffffffffffffffffff", err));
    suite_expect(store, "d/a", 10, 1);
    lode_store_close(store);
}

static void opened_locally(void **state)
{
    int fd = -1;
    suite_put(STORE(state), "d/a", 5000, 1);
    if (!(lode_store_caps(STORE(state)) & LODE_STORE_OPEN_LOCAL)) {
        FAILS(LODE_UNSUPPORTED, lode_store_open_local(STORE(state), "d/a", &fd, err));
        return;
    }
    OK(lode_store_open_local(STORE(state), "d/a", &fd, err));
    char have[5000];
    struct lode_store_range range = {"d/a", 0, sizeof have, have};
    assert_int_equal(lode_pread_full(fd, have, sizeof have, 0), 0);
    assert_true(range_holds(&range, 1));
    assert_int_equal(lode_sys->write(fd, "x", 1), -1);
    lode_sys->close(fd);
    FAILS(LODE_NOT_FOUND, lode_store_open_local(STORE(state), "d/b", &fd, err));
    FAILS(LODE_NOT_FOUND, lode_store_open_local(STORE(state), "d", &fd, err));
}

static void tells_space(void **state)
{
    struct lode_store_space space = {0};
    if (!(lode_store_caps(STORE(state)) & LODE_STORE_SPACE)) {
        FAILS(LODE_UNSUPPORTED, lode_store_space(STORE(state), &space, err));
        return;
    }
    OK(lode_store_space(STORE(state), &space, err));
    assert_true(space.total > 0 && space.free <= space.total);
    struct lode_store_write_opts opts = {.size = 1ull << 60, .part_size = 1 << 20};
    struct lode_store_write *write;
    FAILS(LODE_NO_SPACE, lode_store_write_begin(STORE(state), "huge", &opts, &write, err));
}

/* Nothing stays open: descriptors are counted around a life of a store with all it can do wrong. */
static void leaks_no_descriptors(void **state)
{
    struct suite *suite = SUITE(state);
    int before = fault_open_fds();
    for (int i = 0; i < 3; i++) {
        struct lode_store *store = suite->maker->open(suite->maker, suite->place, false);
        struct lode_store_stat st;
        struct lode_store_write *write = suite_begin(store, "f/x", UINT64_MAX, 10, NULL);
        char byte;
        lode_store_write_abort(write, false);
        OK(lode_store_put(store, "f/a", "x", 1, false, err));
        FAILS(LODE_EXISTS, lode_store_put(store, "f/a", "x", 1, true, err));
        FAILS(LODE_NOT_FOUND, lode_store_pread(store, "f/b", &byte, 1, 0, err));
        OK(lode_store_pread(store, "f/a", &byte, 1, 0, err));
        FAILS(LODE_NOT_FOUND, lode_store_stat(store, "f/c", &st, err));
        lode_store_close(store);
    }
    for (int i = 0; i < 200 && fault_open_fds() > before; i++)
        lode_sleep_ms(10); /* a server in this process may still close its ends */
    assert_in_range(fault_open_fds(), 0, before);
}

const struct CMUnitTest store_suite_read_tests[] = {
    cmocka_unit_test(many_ranges_in_one_batch),
    cmocka_unit_test(an_empty_batch),
    cmocka_unit_test(errors_come_per_range),
    cmocka_unit_test(cancelled),
    cmocka_unit_test(not_ranges),
    cmocka_unit_test(concurrent_readers),
    cmocka_unit_test(replaced_while_read),
    cmocka_unit_test(looks),
    cmocka_unit_test(replacing_shows),
    cmocka_unit_test(read_only),
    cmocka_unit_test(opened_locally),
    cmocka_unit_test(tells_space),
    cmocka_unit_test(leaks_no_descriptors),
};
const size_t store_suite_n_read_tests = LODE_ARRAY_LEN(store_suite_read_tests);
