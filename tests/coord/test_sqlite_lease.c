/* Leases of the SQLite coord and clocks: jumps of the wall clock, suspend, reboot, killed and
 * stopped holders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "support/coord_kit.h"
#include "support/world.h"

#define DAY_MS (24ll * 3600 * 1000)

static char *dir;
static char url[64];

static int setup(void **state)
{
    dir = kit_temp_dir();
    snprintf(url, sizeof url, "sqlite://%s/coord.db", dir);
    world_install();
    return 0;
}

static int teardown(void **state)
{
    world_uninstall();
    kit_remove_dir(dir);
    return 0;
}

static uint64_t grant(struct lode_coord *c, int64_t ttl_ms)
{
    uint64_t id = 0;
    assert_int_equal(lode_coord_lease_grant(c, ttl_ms, &id, NULL), 0);
    return id;
}

static void jumps_of_the_wall_clock_end_nothing(void **state)
{
    static const int64_t jumps[] = {10 * 365 * DAY_MS, -20 * 365 * DAY_MS, 3600000, -3600000};
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    uint64_t id = grant(c, 60000);
    kit_put_leased(c, "claim", "me", id);
    for (size_t i = 0; i < LODE_ARRAY_LEN(jumps); i++) {
        world_move_clock(CLOCK_REALTIME, jumps[i]);
        kit_put(c, "other", "x"); /* a writer ends what is over */
        assert_true(kit_has(c, "claim"));
        assert_int_equal(lode_coord_lease_keep(c, id, NULL), 0);
    }
}

/* CLOCK_BOOTTIME goes on in suspend, CLOCK_MONOTONIC does not. */
static void suspend_counts(void **state)
{
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    uint64_t id = grant(c, 60000), longer = grant(c, 10 * 60000);
    kit_put_leased(c, "claim", "me", id);
    kit_put_leased(c, "longer", "me", longer);
    world_move_clock(CLOCK_BOOTTIME, 59000);
    kit_put(c, "other", "x");
    assert_true(kit_has(c, "claim"));
    world_move_clock(CLOCK_BOOTTIME, 1000);
    kit_put(c, "other", "x");
    assert_false(kit_has(c, "claim"));
    assert_true(kit_has(c, "longer"));
    assert_int_equal(lode_coord_lease_keep(c, id, NULL), LODE_LOST_LEASE);
}

/* After a reboot the boot clock is young again, and no lease of before lives on. */
static void a_reboot_ends_all(void **state)
{
    world_boot("boot-1");
    struct lode_coord *c = kit_open(url, NULL);
    uint64_t id = grant(c, 10 * DAY_MS);
    kit_put_leased(c, "claim", "me", id);
    lode_coord_close(c);
    c = kit_open(url, NULL);
    kit_put(c, "other", "x");
    assert_true(kit_has(c, "claim")); /* a process that ends is not a reboot */
    lode_coord_close(c);
    world_boot("boot-2");
    world_move_clock(CLOCK_BOOTTIME, -lode_boot_ms() + 1000);
    c = kit_open(url, NULL);
    assert_int_equal(lode_coord_lease_keep(c, id, NULL), LODE_LOST_LEASE);
    assert_false(kit_has(c, "claim"));
    assert_true(kit_swap(c, "claim", 0, "mine now"));
    lode_coord_close(c);
}

/* The next writer finds the claim of a dead process gone, without waiting for anybody's poller. */
static void the_next_writer_ends_what_is_over(void **state)
{
    pid_t child = kit_fork();
    if (child == 0) {
        struct lode_coord *c = kit_open(url, NULL);
        kit_put_leased(c, "claim", "child", grant(c, 300));
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    usleep(320000);
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    assert_true(kit_has(c, "claim")); /* nobody has written since */
    assert_true(kit_swap(c, "claim", 0, "mine"));
}

/* A process that only watches ends it as well. */
static void a_watcher_ends_what_is_over(void **state)
{
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    struct lode_coord_watch *w;
    struct lode_coord_events e;
    assert_int_equal(lode_coord_watch(c, "claim", 1, &w, NULL), 0);
    pid_t child = kit_fork();
    if (child == 0) {
        struct lode_coord *mine = kit_open(url, NULL);
        kit_put_leased(mine, "claim", "child", grant(mine, 300));
        raise(SIGKILL);
    }
    int64_t before = lode_mono_ms();
    assert_int_equal(lode_coord_watch_next(w, 10000, &e, NULL), 0);
    assert_int_equal(e.items[0].kind, LODE_COORD_EVENT_PUT);
    lode_coord_events_release(&e);
    assert_int_equal(lode_coord_watch_next(w, 10000, &e, NULL), 0);
    assert_int_equal(e.items[0].kind, LODE_COORD_EVENT_DELETE);
    lode_coord_events_release(&e);
    assert_true(lode_mono_ms() - before >= 290);
    lode_coord_watch_close(w);
    waitpid(child, NULL, 0);
}

/* ---- the lease that keeps itself ---- */

static void its_own_clock_judges(void **state)
{
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    struct lode_lease *lease;
    struct lode_err err = {0};
    assert_int_equal(lode_lease_start(c, 60000, &lease, NULL), 0);
    assert_int_equal(lode_lease_check(lease, NULL), 0);
    world_move_clock(CLOCK_BOOTTIME, 60000); /* the keeper sleeps on: nobody told it anything */
    assert_int_equal(lode_lease_check(lease, &err), LODE_LOST_LEASE);
    assert_true(*err.text);
    world_move_clock(CLOCK_BOOTTIME, -60000);
    assert_int_equal(lode_lease_check(lease, NULL), LODE_LOST_LEASE); /* once lost, lost */
    lode_lease_stop(lease);
}

/* A process that is stopped for longer than its lease finds out before it writes anything. It is
 * stopped long before its first keep, for one that is stopped inside a commit holds up all others.
 */
static void a_stopped_process_knows(void **state)
{
    int go[2], answer[2];
    char byte;
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(answer), 0);
    lode_coord_close(kit_open(url, NULL));
    pid_t child = kit_fork();
    if (child == 0) {
        struct lode_coord *c = kit_open(url, NULL);
        struct lode_lease *lease;
        if (lode_lease_start(c, 1600, &lease, NULL) < 0)
            _exit(1);
        kit_put_leased(c, "claim", "child", lode_lease_id(lease));
        if (write(answer[1], "r", 1) != 1 || read(go[0], &byte, 1) != 1)
            _exit(2);
        struct lode_coord_op op = {LODE_COORD_PUT, "late", "x", 1, lode_lease_id(lease)};
        struct lode_coord_txn_result result;
        if (lode_lease_check(lease, NULL) != LODE_LOST_LEASE)
            _exit(3);
        if (lode_coord_txn(c, &(struct lode_coord_txn){.ops = &op, .n_ops = 1}, &result, NULL) !=
            LODE_LOST_LEASE)
            _exit(4);
        lode_lease_stop(lease);
        lode_coord_close(c);
        _exit(0);
    }
    assert_int_equal(read(answer[0], &byte, 1), 1);
    kill(child, SIGSTOP);
    _cleanup_coord_ struct lode_coord *c = kit_open(url, NULL);
    usleep(1700000);
    assert_true(kit_swap(c, "claim", 0, "another's")); /* the writer ends the lease first */
    assert_int_equal(write(go[1], "g", 1), 1);
    kill(child, SIGCONT);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_false(kit_has(c, "late"));
    _cleanup_free_ char *value = kit_get(c, "claim");
    assert_string_equal(value, "another's");
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(answer[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(jumps_of_the_wall_clock_end_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(suspend_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reboot_ends_all, setup, teardown),
        cmocka_unit_test_setup_teardown(the_next_writer_ends_what_is_over, setup, teardown),
        cmocka_unit_test_setup_teardown(a_watcher_ends_what_is_over, setup, teardown),
        cmocka_unit_test_setup_teardown(its_own_clock_judges, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_process_knows, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
