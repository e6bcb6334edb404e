/* The store suite: keys and directories. */
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "conformance/store_suite_impl.h"

#define RACERS 8

static const char *const bad_keys[] = {"/a",     "a/",    "a//b", ".",    "..",   "../a",
                                       "a/../b", "a/./b", "a/..", "a\nb", "\xff", "\xc0\xaf"};

static void bad_keys_are_refused(void **state)
{
    struct lode_store *store = STORE(state);
    struct lode_store_write_opts opts = {.size = 1, .part_size = 1};
    struct lode_store_write *write;
    struct lode_store_page page;
    struct lode_store_stat st;
    char byte;
    int fd;
    suite_put(store, "a/b", 5, 1);
    for (size_t i = 0; i < LODE_ARRAY_LEN(bad_keys); i++) {
        const char *key = bad_keys[i];
        FAILS(LODE_INVALID, lode_store_stat(store, key, &st, err));
        FAILS(LODE_INVALID, lode_store_pread(store, key, &byte, 1, 0, err));
        FAILS(LODE_INVALID, lode_store_write_begin(store, key, &opts, &write, err));
        FAILS(LODE_INVALID, lode_store_list(store, key, NULL, 10, &page, err));
        FAILS(LODE_INVALID, lode_store_remove(store, key, err));
        FAILS(LODE_INVALID, lode_store_rename_dir(store, key, "x", err));
        FAILS(LODE_INVALID, lode_store_rename_dir(store, "a", key, err));
        FAILS(LODE_INVALID, lode_store_copy(store, key, "x", true, err));
        FAILS(LODE_INVALID, lode_store_copy(store, "a/b", key, true, err));
        FAILS(LODE_INVALID, lode_store_open_local(store, key, &fd, err));
        FAILS(LODE_INVALID, lode_store_discard(store, key, "0", err));
    }
    FAILS(LODE_INVALID, lode_store_write_begin(store, "", &opts, &write, err));
    FAILS(LODE_INVALID, lode_store_remove(store, "", err));
    suite_expect(store, "a/b", 5, 1);
}

static void what_it_lacks_is_unsupported(void **state)
{
    struct lode_store *store = STORE(state);
    struct lode_store_placement placement;
    if (!(lode_store_caps(store) & LODE_STORE_PLACEMENT))
        FAILS(LODE_UNSUPPORTED, lode_store_placement(store, "a", &placement, err));
    if (lode_store_caps(store) & LODE_STORE_LIST)
        return;
    struct lode_store_page page;
    FAILS(LODE_UNSUPPORTED, lode_store_list(store, "", NULL, 10, &page, err));
    FAILS(LODE_UNSUPPORTED, lode_store_remove(store, "a", err));
    FAILS(LODE_UNSUPPORTED, lode_store_rename_dir(store, "a", "b", err));
    FAILS(LODE_UNSUPPORTED, lode_store_copy(store, "a", "b", true, err));
}

/* All names of a directory in pages of `limit`, each with a mark of its kind. */
static void list_all(struct lode_store *store, const char *dir, size_t limit, struct lode_buf *out)
{
    char *after = NULL;
    do {
        struct lode_store_page page;
        OK(lode_store_list(store, dir, after, limit, &page, err));
        assert_true(page.n <= limit);
        for (size_t i = 0; i < page.n; i++)
            lode_buf_addf(out, "%s%s ", page.entries[i].name,
                          page.entries[i].stat.kind == LODE_STORE_DIR ? "/" : "");
        lode_free(after);
        after = lode_strdup(page.next);
        lode_store_page_release(&page);
    } while (after);
}

static void lists_in_pages(void **state)
{
    NEEDS(state, LODE_STORE_LIST);
    struct lode_store *store = STORE(state);
    static const char *const keys[] = {"l/b",   "l/a/x/y", "l/a-b", "l/a.b", "l/\xc3\xa9", "l/B",
                                       "l/c/1", "l/c/2",   "lx",    "l/10",  "l/9"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(keys); i++)
        suite_put(store, keys[i], i, i);
    for (size_t limit = 1; limit < 12; limit++) {
        _cleanup_buf_ struct lode_buf names = LODE_BUF_INIT(4096);
        list_all(store, "l", limit, &names);
        assert_string_equal(lode_buf_str(&names), "10 9 B a/ a-b a.b b c/ \xc3\xa9 ");
    }
    struct lode_store_page page;
    OK(lode_store_list(store, "l", "a", 2, &page, err));
    assert_int_equal(page.n, 2);
    assert_string_equal(page.entries[0].name, "a-b");
    assert_int_equal(page.entries[0].stat.size, 2);
    lode_store_page_release(&page);
    OK(lode_store_list(store, "l", "zzz", 2, &page, err));
    assert_int_equal(page.n, 1); /* the accented one sorts after all ASCII */
    assert_null(page.next);
    lode_store_page_release(&page);
    FAILS(LODE_NOT_FOUND, lode_store_list(store, "nothing", NULL, 10, &page, err));
    FAILS(LODE_NOT_FOUND, lode_store_list(store, "l/b", NULL, 10, &page, err));
    FAILS(LODE_INVALID, lode_store_list(store, "l", NULL, 0, &page, err));
}

static void unfinished_is_not_listed(void **state)
{
    NEEDS(state, LODE_STORE_LIST);
    struct lode_store *store = STORE(state);
    suite_put(store, "_staging/a1/x", 1, 1);
    struct lode_store_write *write = suite_begin(store, "_staging/a1/y", 100, 10, NULL);
    struct lode_store_write *other = suite_begin(store, "z", UINT64_MAX, 10, NULL);
    assert_int_equal(suite_part(write, 0, 10, 100, 1), 0);
    _cleanup_buf_ struct lode_buf names = LODE_BUF_INIT(4096);
    list_all(store, "", 10, &names);
    list_all(store, "_staging", 10, &names);
    list_all(store, "_staging/a1", 10, &names);
    assert_string_equal(lode_buf_str(&names), "_staging/ a1/ x ");
    lode_store_write_abort(write, false);
    lode_store_write_abort(other, false);
}

static void removes(void **state)
{
    NEEDS(state, LODE_STORE_LIST);
    struct lode_store *store = STORE(state);
    suite_put(store, "d/e/a", 1, 1);
    suite_put(store, "d/e/b", 1, 1);
    FAILS(LODE_EXISTS, lode_store_remove(store, "d", err));
    FAILS(LODE_EXISTS, lode_store_remove(store, "d/e", err));
    OK(lode_store_remove(store, "d/e/a", err));
    suite_expect_missing(store, "d/e/a");
    FAILS(LODE_NOT_FOUND, lode_store_remove(store, "d/e/a", err));
    FAILS(LODE_EXISTS, lode_store_remove(store, "d/e", err));
    suite_expect(store, "d/e/b", 1, 1);
    OK(lode_store_remove(store, "d/e/b", err));
    OK(lode_store_remove(store, "d/e", err));
    OK(lode_store_remove(store, "d", err));
    FAILS(LODE_NOT_FOUND, lode_store_remove(store, "d", err));
    suite_put(store, "d/e/a", 7, 7); /* a name can be used again */
    suite_expect(store, "d/e/a", 7, 7);
}

static void renames_directories(void **state)
{
    NEEDS(state, LODE_STORE_RENAME_DIR);
    struct lode_store *store = STORE(state);
    suite_put(store, "_staging/a1/model", 3000, 1);
    suite_put(store, "_staging/a1/_lode/manifest", 200, 2);
    suite_put(store, "_staging/a10/other", 5, 5);
    OK(lode_store_rename_dir(store, "_staging/a1", "ns/rank/v1", err));
    suite_expect(store, "ns/rank/v1/model", 3000, 1);
    suite_expect(store, "ns/rank/v1/_lode/manifest", 200, 2);
    suite_expect(store, "_staging/a10/other", 5, 5);
    suite_expect_missing(store, "_staging/a1");
    suite_expect_missing(store, "_staging/a1/model");
    FAILS(LODE_NOT_FOUND, lode_store_rename_dir(store, "_staging/a1", "ns/rank/v2", err));
    FAILS(LODE_NOT_FOUND, lode_store_rename_dir(store, "ns/rank/v1/model", "ns/rank/v2", err));
    FAILS(LODE_INVALID, lode_store_rename_dir(store, "ns/rank/v1", "ns/rank/v1/deeper", err));
    suite_expect(store, "ns/rank/v1/model", 3000, 1);
}

/* Not a full directory, not an empty one, not an object, not itself. */
static void rename_never_replaces(void **state)
{
    NEEDS(state, LODE_STORE_RENAME_DIR);
    struct lode_store *store = STORE(state);
    suite_put(store, "from/a", 10, 1);
    suite_put(store, "full/b", 20, 2);
    suite_put(store, "object", 30, 3);
    suite_put(store, "empty/gone", 1, 1);
    OK(lode_store_remove(store, "empty/gone", err));
    static const char *const taken[] = {"full", "empty", "object", "from"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(taken); i++)
        FAILS(LODE_EXISTS, lode_store_rename_dir(store, "from", taken[i], err));
    suite_expect(store, "from/a", 10, 1);
    suite_expect(store, "full/b", 20, 2);
    suite_expect(store, "object", 30, 3);
}

struct rename_race {
    struct lode_store *store;
    int results[RACERS];
    pthread_barrier_t start;
    int round;
};

static void race_rename(void *arg, unsigned i)
{
    struct rename_race *race = arg;
    char from[64], to[64];
    snprintf(from, sizeof from, "_staging/r%d-%u", race->round, i);
    snprintf(to, sizeof to, "pub/v%d", race->round);
    pthread_barrier_wait(&race->start);
    race->results[i] = lode_store_rename_dir(race->store, from, to, NULL);
}

static void one_rename_wins(void **state)
{
    NEEDS(state, LODE_STORE_RENAME_DIR);
    struct rename_race race = {.store = STORE(state)};
    pthread_barrier_init(&race.start, NULL, RACERS);
    for (race.round = 0; race.round < 6; race.round++) {
        char key[64];
        for (int i = 0; i < RACERS; i++) {
            snprintf(key, sizeof key, "_staging/r%d-%d/who", race.round, i);
            suite_put(race.store, key, 50, (uint64_t)i);
        }
        suite_threads(RACERS, race_rename, &race);
        int winners = 0;
        for (int i = 0; i < RACERS; i++) {
            bool won = race.results[i] == 0;
            winners += won;
            assert_true(won || race.results[i] == LODE_EXISTS);
            snprintf(key, sizeof key, won ? "pub/v%d/who" : "_staging/r%d-%d/who", race.round, i);
            suite_expect(race.store, key, 50, (uint64_t)i); /* nobody loses anything */
        }
        assert_int_equal(winners, 1);
    }
    pthread_barrier_destroy(&race.start);
}

static void objects_and_directories_share_names(void **state)
{
    NEEDS(state, LODE_STORE_LIST);
    struct lode_store *store = STORE(state);
    suite_put(store, "o", 10, 1);
    suite_put(store, "d/x", 10, 2);
    FAILS(LODE_EXISTS, lode_store_put(store, "o/under", "x", 1, true, err));
    FAILS(LODE_EXISTS, lode_store_put(store, "d", "x", 1, false, err));
    FAILS(LODE_EXISTS, lode_store_put(store, "d", "x", 1, true, err));
    suite_expect(store, "o", 10, 1);
    suite_expect(store, "d/x", 10, 2);
}

static void copies(void **state)
{
    NEEDS(state, LODE_STORE_LIST);
    struct lode_store *store = STORE(state);
    suite_put(store, "c/a", 200000, 1);
    suite_put(store, "c/b", 10, 2);
    suite_put(store, "c/empty", 0, 0);
    OK(lode_store_copy(store, "c/a", "e/f/copy", true, err));
    suite_expect(store, "e/f/copy", 200000, 1);
    FAILS(LODE_EXISTS, lode_store_copy(store, "c/b", "e/f/copy", true, err));
    suite_expect(store, "e/f/copy", 200000, 1);
    OK(lode_store_copy(store, "c/b", "e/f/copy", false, err));
    suite_expect(store, "e/f/copy", 10, 2);
    OK(lode_store_copy(store, "c/empty", "e/none", true, err));
    suite_expect(store, "e/none", 0, 0);
    suite_expect(store, "c/a", 200000, 1);
    FAILS(LODE_NOT_FOUND, lode_store_copy(store, "c/missing", "e/x", true, err));
    FAILS(LODE_NOT_FOUND, lode_store_copy(store, "c", "e/x", true, err));
}

const struct CMUnitTest store_suite_dir_tests[] = {
    cmocka_unit_test(bad_keys_are_refused),
    cmocka_unit_test(what_it_lacks_is_unsupported),
    cmocka_unit_test(lists_in_pages),
    cmocka_unit_test(unfinished_is_not_listed),
    cmocka_unit_test(removes),
    cmocka_unit_test(renames_directories),
    cmocka_unit_test(rename_never_replaces),
    cmocka_unit_test(one_rename_wins),
    cmocka_unit_test(objects_and_directories_share_names),
    cmocka_unit_test(copies),
};
const size_t store_suite_n_dir_tests = LODE_ARRAY_LEN(store_suite_dir_tests);
