/* The posix store under every fault: each fallible call of each operation fails once; power is
 * cut after each. The oracle: an object or a directory is absent or whole, what was acknowledged
 * is there, nothing leaks. */
#include "conformance/store_suite_impl.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/sys.h"
#include "support/fault_walk.h"

#define PART 5000
#define SIZE 12345

/* In memory where that can be had: what is durable is the tracker's to say, not a disk's. */
static char base[64];

static void clear_base(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'; mkdir '%s'", base, base);
    assert_int_equal(system(command), 0);
}

static int open_base(struct lode_store **out, struct lode_err *err)
{
    struct lode_store_config config = {.url = base};
    return lode_store_open(&config, out, err);
}

static struct lode_store *opened(void)
{
    struct lode_store *store = NULL;
    OK(open_base(&store, err));
    return store;
}

/* Absent or whole; whole if it must be. */
static void absent_or_whole(struct lode_store *store, const char *key, size_t len, uint64_t seed,
                            bool must)
{
    struct lode_store_stat st;
    int r = lode_store_stat(store, key, &st, NULL);
    if (r == LODE_NOT_FOUND && !must)
        return;
    assert_int_equal(r, 0);
    suite_expect(store, key, len, seed);
}

/* What failed operations left can be found and removed. */
static void leaves_only_what_is_known(struct lode_store *store)
{
    struct lode_store_unfinished_list list;
    OK(lode_store_unfinished(store, "", &list, err));
    for (size_t i = 0; i < list.n; i++)
        OK(lode_store_discard(store, list.items[i].key, list.items[i].id, err));
    lode_store_unfinished_release(&list);
    char parts[64];
    snprintf(parts, sizeof parts, "%s/_staging/.parts", base);
    DIR *dir = opendir(parts);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        assert_true(entry->d_name[0] == '.');
    if (dir)
        closedir(dir);
}

/* Below the base every kind; memory, flushes and random numbers wherever they are asked for. */
static void walk(struct fault_scenario *s)
{
    s->below = base;
    fault_walk(s);
    s->below = NULL;
    s->kinds = 1u << FAULT_MALLOC | 1u << FAULT_RANDOM | 1u << FAULT_SYNC;
    fault_walk(s);
}

/* ---- write ---- */

static void empty_store(void *arg)
{
    clear_base();
}

static int write_parts(struct lode_store *store, struct lode_store_write *write,
                       struct lode_err *err)
{
    _cleanup_free_ char *bytes = lode_sys_real.malloc(SIZE);
    suite_fill(bytes, SIZE, 1, 0);
    int r = 0;
    for (uint32_t n = 3; r == 0 && n-- > 0;)
        r = lode_store_write_part(write, n, bytes + n * PART,
                                  lode_min((size_t)PART, (size_t)SIZE - n * PART), err);
    if (r < 0) {
        lode_store_write_abort(write, true);
        return r;
    }
    return lode_store_write_complete(write, SIZE, true, err);
}

static int run_write(void *arg, struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = NULL;
    struct lode_store_write_opts opts = {.size = SIZE, .part_size = PART, .mode = 0640};
    struct lode_store_write *write;
    int r = open_base(&store, err);
    if (r == 0)
        r = lode_store_write_begin(store, "ns/m/v1/weights", &opts, &write, err);
    return r < 0 ? r : write_parts(store, write, err);
}

static void check_write(void *arg, const struct fault_shot *shot, int result,
                        const struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = opened();
    absent_or_whole(store, "ns/m/v1/weights", SIZE, 1, result == 0);
    leaves_only_what_is_known(store);
}

static void writes(void **state)
{
    struct fault_scenario s = {"write", empty_store, run_write, check_write, .below = base};
    walk(&s);
}

static void writes_survive_power_cuts(void **state)
{
    struct fault_scenario s = {"write, then the power goes",
                               empty_store,
                               run_write,
                               check_write,
                               .below = base,
                               .power_cut = true,
                               .track = base};
    fault_walk(&s);
}

static int run_put(void *arg, struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = NULL;
    char bytes[100];
    int r = open_base(&store, err);
    suite_fill(bytes, sizeof bytes, 2, 0);
    if (r == 0)
        r = lode_store_put(store, "small/a", bytes, sizeof bytes, true, err);
    return r < 0 ? r : lode_store_put(store, "small/b/c", bytes, sizeof bytes, false, err);
}

static void check_put(void *arg, const struct fault_shot *shot, int result,
                      const struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = opened();
    absent_or_whole(store, "small/a", 100, 2, result == 0);
    absent_or_whole(store, "small/b/c", 100, 2, result == 0);
    leaves_only_what_is_known(store);
}

static void puts_survive_power_cuts(void **state)
{
    struct fault_scenario s = {"put",         empty_store,       run_put,      check_put,
                               .below = base, .power_cut = true, .track = base};
    fault_walk(&s);
}

/* ---- resume ---- */

static void interrupted_write(void *arg)
{
    clear_base();
    struct lode_store *store = opened();
    struct lode_store_write *write = suite_begin(store, "ns/m/v1/weights", SIZE, PART, NULL);
    assert_int_equal(suite_part(write, 1, PART, SIZE, 1), 0);
    lode_store_write_abort(write, true);
    lode_store_close(store);
}

static int run_resume(void *arg, struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = NULL;
    struct lode_store_unfinished_list list;
    struct lode_store_write *write;
    int r = open_base(&store, err);
    if (r == 0)
        r = lode_store_unfinished(store, "ns", &list, err);
    if (r < 0)
        return r;
    struct lode_store_write_opts opts = {
        .size = SIZE, .part_size = PART, .resume = list.n ? list.items[0].id : NULL};
    r = lode_store_write_begin(store, "ns/m/v1/weights", &opts, &write, err);
    lode_store_unfinished_release(&list);
    return r < 0 ? r : write_parts(store, write, err);
}

static void resumes(void **state)
{
    struct fault_scenario s = {"resume", interrupted_write, run_resume, check_write, .below = base};
    walk(&s);
}

/* ---- rename ---- */

static void staged(void *arg)
{
    clear_base();
    struct lode_store *store = opened();
    suite_put(store, "_staging/a1/weights", SIZE, 1);
    suite_put(store, "_staging/a1/_lode/manifest", 300, 2);
    lode_store_close(store);
}

static int run_rename(void *arg, struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = NULL;
    int r = open_base(&store, err);
    return r < 0 ? r : lode_store_rename_dir(store, "_staging/a1", "ns/m/v1", err);
}

static void check_rename(void *arg, const struct fault_shot *shot, int result,
                         const struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = opened();
    struct lode_store_stat st;
    bool there = lode_store_stat(store, "ns/m/v1", &st, NULL) == 0;
    bool here = lode_store_stat(store, "_staging/a1", &st, NULL) == 0;
    assert_true(there || (here && result < 0));
    if (there) {
        suite_expect(store, "ns/m/v1/weights", SIZE, 1);
        suite_expect(store, "ns/m/v1/_lode/manifest", 300, 2);
    }
    if (here) {
        suite_expect(store, "_staging/a1/weights", SIZE, 1);
        suite_expect(store, "_staging/a1/_lode/manifest", 300, 2);
    }
    assert_false(here && result == 0);
}

static void renames(void **state)
{
    struct fault_scenario s = {"rename_dir", staged, run_rename, check_rename, .below = base};
    walk(&s);
}

static void renames_survive_power_cuts(void **state)
{
    struct fault_scenario s = {"rename_dir, then the power goes",
                               staged,
                               run_rename,
                               check_rename,
                               .below = base,
                               .power_cut = true,
                               .track = base};
    fault_walk(&s);
}

/* Staged by another program, which flushed nothing: rename_dir must. */
static void staged_without_a_flush(void *arg)
{
    clear_base();
    fault_track(base);
    char path[128];
    int dir = lode_sys->openat(AT_FDCWD, base, O_RDONLY | O_DIRECTORY, 0);
    assert_int_equal(lode_sys->mkdirat(dir, "_staging", 0755), 0);
    assert_int_equal(lode_sys->mkdirat(dir, "_staging/a1", 0755), 0);
    assert_int_equal(lode_sys->mkdirat(dir, "_staging/a1/_lode", 0755), 0);
    static const struct {
        const char *name;
        size_t len;
        uint64_t seed;
    } files[] = {{"_staging/a1/weights", SIZE, 1}, {"_staging/a1/_lode/manifest", 300, 2}};
    for (size_t i = 0; i < LODE_ARRAY_LEN(files); i++) {
        _cleanup_free_ char *bytes = suite_bytes(files[i].len, files[i].seed);
        snprintf(path, sizeof path, "%s", files[i].name);
        int fd = lode_sys->openat(dir, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
        assert_true(fd >= 0);
        assert_int_equal(lode_pwrite_full(fd, bytes, files[i].len, 0), 0);
        lode_sys->close(fd);
    }
    lode_sys->close(dir);
}

static void rename_flushes_what_it_publishes(void **state)
{
    fault_install();
    staged_without_a_flush(NULL);
    OK(run_rename(NULL, err));
    fault_power_cut();
    fault_uninstall();
    check_rename(NULL, NULL, 0, NULL);
}

/* Named in the store's own way and renamed at once, with what is known to be flushed not flushed
 * again. */
static void a_whole_push_survives(void **state)
{
    fault_install();
    clear_base();
    fault_track(base);
    struct lode_store *store = opened();
    suite_put(store, "_staging/a1/weights", SIZE, 1);
    suite_put(store, "_staging/a1/_lode/manifest", 300, 2);
    suite_put(store, "_staging/a1/dropped", 10, 3);
    OK(lode_store_remove(store, "_staging/a1/dropped", err));
    fault_zero();
    OK(lode_store_rename_dir(store, "_staging/a1", "ns/m/v1", err));
    lode_store_close(store);
    fault_power_cut();
    fault_uninstall();
    check_rename(NULL, NULL, 0, NULL);
    store = opened();
    suite_expect_missing(store, "ns/m/v1/dropped");
    lode_store_close(store);
}

/* ---- looking ---- */

static void some_objects(void *arg)
{
    clear_base();
    struct lode_store *store = opened();
    suite_put(store, "d/a", SIZE, 1);
    suite_put(store, "d/b", 10, 2);
    suite_put(store, "d/c/x", 10, 3);
    lode_store_close(store);
}

static int run_looks(void *arg, struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = NULL;
    struct lode_store_page page = {0};
    struct lode_store_stat st;
    char have[SIZE], want[SIZE];
    int r = open_base(&store, err);
    if (r == 0)
        r = lode_store_stat(store, "d/a", &st, err);
    if (r == 0)
        r = lode_store_list(store, "d", NULL, 2, &page, err);
    if (r == 0)
        assert_true(page.n == 2 && !strcmp(page.entries[1].name, "b") && !strcmp(page.next, "b") &&
                    st.size == SIZE);
    lode_store_page_release(&page);
    if (r == 0)
        r = lode_store_pread(store, "d/a", have, SIZE, 0, err);
    suite_fill(want, SIZE, 1, 0);
    if (r == 0)
        assert_memory_equal(have, want, SIZE);
    return r;
}

static void check_objects(void *arg, const struct fault_shot *shot, int result,
                          const struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = opened();
    suite_expect(store, "d/a", SIZE, 1);
    suite_expect(store, "d/b", 10, 2);
}

static void looks(void **state)
{
    struct fault_scenario s = {"stat, list, read", some_objects, run_looks, check_objects,
                               .below = base};
    walk(&s);
}

/* A batch that goes through the engine. */
static int run_batch(void *arg, struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = NULL;
    char have[3][SIZE], want[SIZE];
    struct lode_store_range ranges[] = {
        {"d/a", 0, SIZE, have[0]}, {"d/b", 0, 10, have[1]}, {"d/a", 7, 100, have[2]}};
    struct lode_store_read *read = NULL;
    struct tally tally;
    int r = open_base(&store, err);
    if (r < 0)
        return r;
    fault_only_below(base);
    tally_init(&tally, ranges, 3);
    r = lode_store_read(store, ranges, 3, tally_done, &tally, &read, err);
    bool started = r == 0;
    if (started)
        r = lode_store_read_wait(read, err);
    suite_fill(want, SIZE, 1, 0);
    if (r == 0)
        assert_memory_equal(have[0], want, SIZE);
    tally_end(&tally, !started);
    return r;
}

static void batches(void **state)
{
    struct fault_scenario s = {
        "a batch of reads", some_objects,
        run_batch,          check_objects,
        .below = base,      .kinds = 1u << FAULT_OPEN | 1u << FAULT_READ | 1u << FAULT_STAT};
    fault_walk(&s);
}

/* ---- copy, remove ---- */

static int run_copy(void *arg, struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = NULL;
    int r = open_base(&store, err);
    return r < 0 ? r : lode_store_copy(store, "d/a", "e/copy", true, err);
}

static void check_copy(void *arg, const struct fault_shot *shot, int result,
                       const struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = opened();
    absent_or_whole(store, "e/copy", SIZE, 1, result == 0);
    suite_expect(store, "d/a", SIZE, 1);
    leaves_only_what_is_known(store);
}

static void copies(void **state)
{
    struct fault_scenario s = {"copy", some_objects, run_copy, check_copy, .below = base};
    walk(&s);
}

static int run_remove(void *arg, struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = NULL;
    int r = open_base(&store, err);
    return r < 0 ? r : lode_store_remove_tree(store, "d/c", NULL, err);
}

static void check_remove(void *arg, const struct fault_shot *shot, int result,
                         const struct lode_err *err)
{
    _cleanup_store_ struct lode_store *store = opened();
    absent_or_whole(store, "d/c/x", 10, 3, false);
    struct lode_store_stat st;
    if (result == 0)
        assert_int_equal(lode_store_stat(store, "d/c", &st, NULL), LODE_NOT_FOUND);
    check_objects(arg, shot, result, err);
}

static void removes(void **state)
{
    struct fault_scenario s = {"remove_tree", some_objects, run_remove, check_remove,
                               .below = base};
    walk(&s);
}

/* ---- failed flushes ---- */

static void a_failed_flush_of_bytes_drops_them(void **state)
{
    clear_base();
    fault_install();
    struct lode_store *store = opened();
    struct lode_store_write *write = suite_begin(store, "a", SIZE, PART, NULL);
    for (uint32_t n = 0; n < 3; n++)
        assert_int_equal(suite_part(write, n, PART, SIZE, 1), 0);
    fault_fail(FAULT_SYNC, 1, EIO, FAULT_ONCE);
    FAILS(LODE_IO, lode_store_write_complete(write, SIZE, true, err));
    fault_disarm();
    suite_expect_missing(store, "a");
    struct lode_store_unfinished_list list;
    OK(lode_store_unfinished(store, "", &list, err));
    assert_int_equal(list.n, 0); /* nothing to go on with: its bytes may be lost */
    suite_put(store, "a", SIZE, 1);
    suite_expect(store, "a", SIZE, 1);
    lode_store_close(store);
    fault_uninstall();
}

static void a_failed_flush_of_a_directory_poisons(void **state)
{
    clear_base();
    fault_install();
    struct lode_store *store = opened();
    suite_put(store, "d/before", 10, 1);
    fault_fail(FAULT_SYNC, 2, EIO, FAULT_ONCE); /* the first is the file's */
    FAILS(LODE_IO, lode_store_put(store, "d/a", "x", 1, true, err));
    assert_int_equal(fault_fired(), 1);
    fault_disarm();
    suite_expect_missing(store, "d/a");
    /* the flush would succeed now: not believed */
    FAILS(LODE_IO, lode_store_put(store, "d/b", "x", 1, true, err));
    FAILS(LODE_IO, lode_store_rename_dir(store, "d", "e", err));
    suite_expect(store, "d/before", 10, 1);
    lode_store_close(store);
    store = opened();
    suite_put(store, "d/b", 10, 2);
    lode_store_close(store);
    fault_uninstall();
}

/* The cost of durability: how many flushes an operation makes. */
static void flushes_no_more_than_needed(void **state)
{
    clear_base();
    fault_install();
    struct lode_store *store = opened();
    suite_put(store, "_staging/a0/x", 10, 1);
    fault_zero();
    suite_put(store, "_staging/a1/x", 10, 1); /* the file, its directory, the name of that */
    assert_int_equal(fault_count(FAULT_SYNC), 3);
    fault_zero();
    suite_put(store, "_staging/a1/y", 10, 1); /* the file, its directory */
    assert_int_equal(fault_count(FAULT_SYNC), 2);
    fault_zero();
    OK(lode_store_rename_dir(store, "_staging/a1", "v1", err)); /* both parents */
    assert_int_equal(fault_count(FAULT_SYNC), 2);
    lode_store_close(store);
    fault_uninstall();
}

int main(void)
{
    snprintf(base, sizeof base, "%s/lode-faults-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(base))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes),
        cmocka_unit_test(writes_survive_power_cuts),
        cmocka_unit_test(puts_survive_power_cuts),
        cmocka_unit_test(resumes),
        cmocka_unit_test(renames),
        cmocka_unit_test(renames_survive_power_cuts),
        cmocka_unit_test(rename_flushes_what_it_publishes),
        cmocka_unit_test(a_whole_push_survives),
        cmocka_unit_test(looks),
        cmocka_unit_test(batches),
        cmocka_unit_test(copies),
        cmocka_unit_test(removes),
        cmocka_unit_test(a_failed_flush_of_bytes_drops_them),
        cmocka_unit_test(a_failed_flush_of_a_directory_poisons),
        cmocka_unit_test(flushes_no_more_than_needed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    return system(command) == 0 ? failed : 1;
}
