/* Watches across processes: soon, at no cost while nothing happens, and whatever becomes of the
 * committer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "support/coord_kit.h"

#define EVENTS 200
#define WATCHES 1000

static char *dir;
static char url[64], path[64];

static int setup(void **state)
{
    dir = kit_temp_dir();
    snprintf(path, sizeof path, "%s/coord.db", dir);
    snprintf(url, sizeof url, "sqlite://%s", path);
    return 0;
}

static int teardown(void **state)
{
    kit_remove_dir(dir);
    return 0;
}

/* What the writer knows, in shared memory. */
static struct {
    _Atomic uint64_t acknowledged[EVENTS]; /* ns: the transaction's answer is there */
    _Atomic uint64_t overslept;            /* ns: the longest that the machine let it sleep on */
} * shared;

static void write_numbers(void)
{
    struct lode_coord *c = kit_open(url, NULL);
    char value[32];
    for (int i = 0; i < EVENTS; i++) {
        struct lode_coord_op op = {LODE_COORD_PUT, "number", value, 0, 0};
        struct lode_coord_txn_result result;
        snprintf(value, sizeof value, "%d", i);
        op.len = strlen(value);
        if (lode_coord_txn(c, &(struct lode_coord_txn){.ops = &op, .n_ops = 1}, &result, NULL) < 0)
            _exit(1);
        shared->acknowledged[i] = lode_mono_ns();
        usleep(3000);
        uint64_t over = lode_mono_ns() - shared->acknowledged[i] - 3000000;
        if (over > shared->overslept)
            shared->overslept = over;
    }
    lode_coord_close(c);
    _exit(0);
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* From the writer's answer to its event in another process, ms, the 99th of 100; less what a mere
 * sleep was late on this machine at this time. */
static double p99_ms(void)
{
    double late[EVENTS];
    int n = 0;
    struct lode_coord_watch *w;
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    assert_int_equal(lode_coord_watch(c, "number", kit_revision(c) + 1, &w, NULL), 0);
    memset((void *)shared, 0, sizeof *shared);
    pid_t child = kit_fork();
    if (child == 0)
        write_numbers();
    while (n < EVENTS) {
        struct lode_coord_events e;
        assert_int_equal(lode_coord_watch_next(w, 20000, &e, NULL), 0);
        assert_true(e.n > 0);
        uint64_t now = lode_mono_ns();
        for (size_t i = 0; i < e.n; i++, n++) {
            uint64_t then = shared->acknowledged[strtol(e.items[i].kv.value, NULL, 10)];
            late[n] = then && now > then ? (double)(now - then) / 1e6 : 0;
        }
        lode_coord_events_release(&e);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    lode_coord_watch_close(w);
    qsort(late, EVENTS, sizeof *late, by_number);
    double overslept = (double)shared->overslept / 1e6;
    fprintf(stderr,
            "answer to event in another process: median %.2f ms, p99 %.2f ms; a sleep was %.2f ms "
            "late\n",
            late[EVENTS / 2], late[EVENTS * 99 / 100], overslept);
    return late[EVENTS * 99 / 100] - overslept;
}

/* A machine that is busy with other tests gets more chances; a mechanism that is slow never makes
 * it. */
static void hears_within_50_ms(void **state)
{
    double best = 1e9;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    lode_coord_close(kit_open(url, NULL));
    for (int tries = 0; tries < 4 && best >= 50; tries++) {
        double ms = p99_ms();
        best = ms < best ? ms : best;
    }
    munmap((void *)shared, sizeof *shared);
    assert_true(best < 50);
}

/* A committer that dies before it can announce is heard all the same. */
static void hears_of_commits_that_nobody_announced(void **state)
{
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    struct lode_coord_watch *w;
    struct lode_coord_events e;
    uint64_t r = kit_put(c, "k", "1");
    assert_int_equal(lode_coord_watch(c, "k", r + 1, &w, NULL), 0);
    sqlite3 *db;
    char *sql = sqlite3_mprintf(
        "BEGIN IMMEDIATE; UPDATE lode_kv SET value = x'32', modified = %llu WHERE key = 'k';"
        "INSERT INTO lode_log VALUES (%llu << 20, 0, 'k', x'32', %llu, 0);"
        "UPDATE lode_state SET revision = %llu; COMMIT",
        r + 1, r + 1, r, r + 1);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    int64_t before = lode_mono_ms();
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_free(sql);
    assert_int_equal(lode_coord_watch_next(w, 10000, &e, NULL), 0);
    assert_int_equal(e.n, 1);
    assert_true(lode_mono_ms() - before < 1000);
    assert_string_equal(e.items[0].kv.value, "2");
    lode_coord_events_release(&e);
    lode_coord_watch_close(w);
    sqlite3_close(db);
}

static double cpu_ms(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

static void costs_nothing_while_nothing_happens(void **state)
{
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    struct lode_coord_watch *w;
    struct lode_coord_events e;
    kit_put(c, "k", "1");
    assert_int_equal(lode_coord_watch(c, "k", kit_revision(c) + 1, &w, NULL), 0);
    double before = cpu_ms();
    assert_int_equal(lode_coord_watch_next(w, 1500, &e, NULL), 0);
    double used = cpu_ms() - before;
    fprintf(stderr, "an idle watch of 1.5 s used %.1f ms of CPU\n", used);
    assert_int_equal(e.n, 0);
    assert_true(used < 45); /* 3 %; it is a tenth of that on a quiet machine */
    lode_coord_watch_close(w);
}

static void a_thousand_watches_hear(void **state)
{
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    static struct lode_coord_watch *w[WATCHES];
    uint64_t from = kit_revision(c) + 1;
    for (int i = 0; i < WATCHES; i++)
        assert_int_equal(lode_coord_watch(c, i % 2 ? "k" : "", from, &w[i], NULL), 0);
    kit_put(c, "k", "1");
    for (int i = 0; i < WATCHES; i++) {
        struct lode_coord_events e;
        assert_int_equal(lode_coord_watch_next(w[i], 5000, &e, NULL), 0);
        assert_int_equal(e.n, 1);
        lode_coord_events_release(&e);
        lode_coord_watch_close(w[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hears_within_50_ms, setup, teardown),
        cmocka_unit_test_setup_teardown(hears_of_commits_that_nobody_announced, setup, teardown),
        cmocka_unit_test_setup_teardown(costs_nothing_while_nothing_happens, setup, teardown),
        cmocka_unit_test_setup_teardown(a_thousand_watches_hear, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
