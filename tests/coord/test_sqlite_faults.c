/* The SQLite coord when the system beneath it fails: each call, at each of its uses; power cuts; a
 * full disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "coord/sqlite.h"
#include "support/coord_kit.h"
#include "support/fault_walk.h"

struct world {
    char *dir;
    char url[96], path[96];
    int acknowledged; /* writes that were answered 0 */
    int open_ended;   /* 1 when the last was answered UNAVAILABLE or TIMEOUT */
    bool lease_held;
};

static void name_world(struct world *w)
{
    snprintf(w->path, sizeof w->path, "%s/coord.db", w->dir);
    snprintf(w->url, sizeof w->url, "sqlite://%s", w->path);
}

static void empty_dir(struct world *w)
{
    static const char *const names[] = {"coord.db",       "coord.db-wal", "coord.db-shm",
                                        "coord.db-queue", "copy",         "coord.db.bak-1"};
    for (size_t i = 0; i < LODE_ARRAY_LEN(names); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", w->dir, names[i]);
        unlink(path);
    }
    w->acknowledged = w->open_ended = 0;
}

static void prepare_new(void *arg)
{
    empty_dir(arg);
}

static void prepare_used(void *arg)
{
    struct world *w = arg;
    empty_dir(w);
    struct lode_coord *c = kit_open(w->url, NULL);
    kit_put(c, "n", "0");
    kit_put(c, "m", "0");
    lode_coord_close(c);
}

static struct lode_coord *open_now(struct world *w, int *r, struct lode_err *err)
{
    struct lode_coord *c = NULL;
    struct lode_coord_config config = {.url = w->url, .create = true, .timeout_ms = 3000};
    *r = lode_coord_open(&config, &c, err);
    return c;
}

/* Both keys, always equal; counts what was promised. */
static int write_pair(struct world *w, struct lode_coord *c, int n, struct lode_err *err)
{
    char value[16];
    snprintf(value, sizeof value, "%d", n);
    struct lode_coord_op ops[] = {{LODE_COORD_PUT, "n", value, strlen(value), 0},
                                  {LODE_COORD_PUT, "m", value, strlen(value), 0}};
    struct lode_coord_txn_result result;
    int r = lode_coord_txn(c, &(struct lode_coord_txn){.ops = ops, .n_ops = 2}, &result, err);
    if (r == 0)
        w->acknowledged = n;
    w->open_ended = r == LODE_UNAVAILABLE || r == LODE_TIMEOUT;
    return r;
}

static int run_writes(void *arg, struct lode_err *err)
{
    struct world *w = arg;
    struct lode_coord_kv kv = {0};
    struct lode_coord_kvs kvs = {0};
    int r;
    struct lode_coord *c = open_now(w, &r, err);
    for (int n = 1; r == 0 && n <= 3; n++)
        r = write_pair(w, c, n, err);
    if (r == 0)
        r = lode_coord_get(c, "n", &kv, err);
    if (r == 0)
        r = lode_coord_range(c, "", NULL, 10, &kvs, err);
    lode_coord_kv_release(&kv);
    lode_coord_kvs_release(&kvs);
    lode_coord_close(c);
    return r;
}

static int value_of(struct lode_coord *c, const char *key)
{
    _cleanup_free_ char *value = kit_get(c, key);
    return value ? (int)strtol(value, NULL, 10) : 0;
}

/* What was promised is there; what was refused is not; nothing is half done; and it can be written
 * again. */
static void check_writes(void *arg, const struct fault_shot *shot, int result,
                         const struct lode_err *err)
{
    struct world *w = arg;
    struct lode_coord *c = kit_open(w->url, NULL);
    int n = value_of(c, "n");
    assert_int_equal(n, value_of(c, "m"));
    assert_true(n == w->acknowledged || (w->open_ended && n == w->acknowledged + 1));
    assert_true(result < 0 || n == 3);
    struct lode_coord_watch *watch;
    struct lode_coord_events e;
    if (n) {
        assert_int_equal(lode_coord_watch(c, "n", kit_revision(c), &watch, NULL), 0);
        assert_int_equal(lode_coord_watch_next(watch, 1000, &e, NULL), 0);
        assert_int_equal(e.n, 1);
        assert_int_equal(strtol(e.items[0].kv.value, NULL, 10), n);
        lode_coord_events_release(&e);
        lode_coord_watch_close(watch);
    }
    uint64_t before = kit_revision(c);
    assert_true(kit_put(c, "n", "9") > before);
    lode_coord_close(c);
}

static struct world *new_world(void)
{
    static struct world w;
    w = (struct world){.dir = kit_temp_dir()};
    name_world(&w);
    return &w;
}

static void each_call_fails_on_a_new_database(void **state)
{
    struct world *w = new_world();
    struct fault_scenario s = {.name = "coord-new",
                               .prepare = prepare_new,
                               .run = run_writes,
                               .check = check_writes,
                               .arg = w};
    fault_walk(&s);
    kit_remove_dir(w->dir);
}

static void each_call_fails_on_a_used_database(void **state)
{
    struct world *w = new_world();
    struct fault_scenario s = {.name = "coord-used",
                               .prepare = prepare_used,
                               .run = run_writes,
                               .check = check_writes,
                               .arg = w};
    fault_walk(&s);
    kit_remove_dir(w->dir);
}

static void sqlite_runs_out_of_memory(void **state)
{
    struct world *w = new_world();
    struct fault_scenario s = {.name = "coord-sqlite-memory",
                               .prepare = prepare_used,
                               .run = run_writes,
                               .check = check_writes,
                               .arg = w,
                               .kinds = 1u << FAULT_SQLITE_MALLOC};
    fault_walk(&s);
    kit_remove_dir(w->dir);
}

static void power_is_cut(void **state)
{
    struct world *w = new_world();
    struct fault_scenario s = {.name = "coord-power",
                               .prepare = prepare_used,
                               .run = run_writes,
                               .check = check_writes,
                               .arg = w,
                               .kinds = 1u << FAULT_SYNC | 1u << FAULT_WRITE,
                               .power_cut = true,
                               .track = w->dir};
    fault_walk(&s);
    kit_remove_dir(w->dir);
}

/* ---- backup ---- */

static int run_backup(void *arg, struct lode_err *err)
{
    struct world *w = arg;
    char to[128];
    int r;
    struct lode_coord *c = open_now(w, &r, err);
    snprintf(to, sizeof to, "%s/copy", w->dir);
    if (r == 0)
        r = lode_coord_sqlite_backup(c, to, err);
    lode_coord_close(c);
    return r;
}

static void check_backup(void *arg, const struct fault_shot *shot, int result,
                         const struct lode_err *err)
{
    struct world *w = arg;
    char to[128];
    snprintf(to, sizeof to, "%s/copy", w->dir);
    if (result < 0 && access(to, F_OK) != 0)
        return;
    /* It has its name: it is whole, even where the last sync of the directory failed. */
    char url[160];
    snprintf(url, sizeof url, "sqlite://%s", to);
    struct lode_coord *c = kit_open(url, NULL);
    assert_true(kit_has(c, "n"));
    lode_coord_close(c);
}

static void each_call_of_a_backup_fails(void **state)
{
    struct world *w = new_world();
    struct fault_scenario s = {.name = "coord-backup",
                               .prepare = prepare_used,
                               .run = run_backup,
                               .check = check_backup,
                               .arg = w};
    fault_walk(&s);
    kit_remove_dir(w->dir);
}

/* ---- acknowledged, then the power goes ---- */

static void what_was_acknowledged_survives_a_power_cut(void **state)
{
    struct world *w = new_world();
    fault_install();
    fault_track(w->dir);
    for (int round = 0; round < 5; round++) {
        char value[16];
        snprintf(value, sizeof value, "%d", round);
        struct lode_coord *c = kit_open(w->url, NULL);
        if (round)
            assert_int_equal(value_of(c, "k"), round - 1);
        kit_put(c, "k", value);
        fault_power_cut(); /* at this very moment, the handle still open */
        lode_coord_close(c);
        fault_power_cut();
    }
    fault_uninstall();
    kit_remove_dir(w->dir);
}

/* ---- a full disk ---- */

static void a_full_disk_is_said_and_survived(void **state)
{
    struct world *w = new_world();
    struct lode_err err = {0};
    fault_install();
    struct lode_coord *c = kit_open(w->url, NULL);
    assert_int_equal(write_pair(w, c, 1, NULL), 0);
    fault_fail(FAULT_WRITE, 1, ENOSPC, FAULT_STICKY);
    assert_int_equal(write_pair(w, c, 2, &err), LODE_NO_SPACE);
    assert_true(*err.text);
    assert_int_equal(value_of(c, "n"), 1); /* reading goes on */
    fault_disarm();
    assert_int_equal(write_pair(w, c, 3, NULL), 0);
    assert_int_equal(value_of(c, "m"), 3);
    lode_coord_close(c);
    fault_uninstall();
    kit_remove_dir(w->dir);
}

/* After a sync that failed the answer is open; the next write takes a new connection and is good
 * again. */
static void a_failed_sync_is_not_forgotten(void **state)
{
    struct world *w = new_world();
    struct lode_err err = {0};
    fault_install();
    struct lode_coord *c = kit_open(w->url, NULL);
    assert_int_equal(write_pair(w, c, 1, NULL), 0);
    fault_fail(FAULT_SYNC, 1, EIO, FAULT_ONCE);
    assert_int_equal(write_pair(w, c, 2, &err), LODE_UNAVAILABLE);
    assert_non_null(strstr(err.text, "may or may not"));
    fault_disarm();
    uint64_t before = fault_count(FAULT_SYNC);
    assert_int_equal(write_pair(w, c, 3, NULL), 0);
    assert_true(fault_count(FAULT_SYNC) > before);
    assert_int_equal(value_of(c, "n"), 3);
    lode_coord_close(c);
    fault_uninstall();
    kit_remove_dir(w->dir);
}

int main(void)
{
    fault_sqlite_malloc();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_fails_on_a_new_database),
        cmocka_unit_test(each_call_fails_on_a_used_database),
        cmocka_unit_test(sqlite_runs_out_of_memory),
        cmocka_unit_test(power_is_cut),
        cmocka_unit_test(each_call_of_a_backup_fails),
        cmocka_unit_test(what_was_acknowledged_survives_a_power_cut),
        cmocka_unit_test(a_full_disk_is_said_and_survived),
        cmocka_unit_test(a_failed_sync_is_not_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
