/* Sharing the SQLite coord's file: a projection in the same transactions, backup of the live
 * database, recover. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/mem.h"
#include "coord/sqlite.h"
#include "support/coord_kit.h"

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

static void path_in(char out[128], const char *name)
{
    snprintf(out, 128, "%s/%s", dir, name);
}

/* ---- a projection: a table with the length of each value ---- */

static int make_table(void *arg, sqlite3 *db, struct lode_err *err)
{
    const char *sql =
        "CREATE TABLE IF NOT EXISTS lengths (key TEXT PRIMARY KEY, n INTEGER);"
        "CREATE TABLE IF NOT EXISTS seen (revision INTEGER); INSERT INTO seen VALUES (0)";
    return sqlite3_exec(db, sql, NULL, NULL, NULL) ? lode_sqlite_err(err, db, "make_table") : 0;
}

static int project(void *arg, sqlite3 *db, const struct lode_coord_event *events, size_t n,
                   struct lode_err *err)
{
    uint64_t revision;
    int r = lode_coord_sqlite_revision(db, &revision, err);
    assert_int_equal(r, 0);
    for (size_t i = 0; i < n; i++) {
        const struct lode_coord_event *e = &events[i];
        bool put = e->kind == LODE_COORD_EVENT_PUT;
        if (put && strcmp(e->kv.value, "refuse") == 0)
            return lode_err_set(err, LODE_HELD, "the hook refuses");
        assert_int_equal(e->revision, revision);
        char *sql = put ? sqlite3_mprintf("INSERT OR REPLACE INTO lengths VALUES (%Q, %d); UPDATE "
                                          "seen SET revision = %lld",
                                          e->kv.key, (int)e->kv.len, (long long)revision)
                        : sqlite3_mprintf(
                              "DELETE FROM lengths WHERE key = %Q; UPDATE seen SET revision = %lld",
                              e->kv.key, (long long)revision);
        int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
        sqlite3_free(sql);
        if (rc)
            return lode_sqlite_err(err, db, "project");
    }
    return 0;
}

static long number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    long n = (long)sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return n;
}

static struct lode_coord *open_projected(void)
{
    struct lode_coord *c = kit_open(url, NULL);
    assert_int_equal(lode_coord_sqlite_set_hook(c, project, NULL, NULL), 0);
    assert_int_equal(lode_coord_sqlite_write(c, make_table, NULL, NULL), 0);
    return c;
}

static void a_projection_shares_the_transaction(void **state)
{
    struct lode_coord *c = open_projected();
    struct lode_err err = {0};
    sqlite3 *db;
    uint64_t revision;
    assert_int_equal(lode_coord_sqlite_connect(c, &db, NULL), 0);
    kit_put(c, "a", "1234");
    uint64_t last = kit_put(c, "b", "12");
    assert_int_equal(number(db, "SELECT n FROM lengths WHERE key = 'a'"), 4);
    assert_int_equal(number(db, "SELECT revision FROM seen"), last);
    assert_int_equal(lode_coord_sqlite_revision(db, &revision, NULL), 0);
    assert_int_equal(revision, last);
    /* what the hook refuses did not happen at all */
    struct lode_coord_op ops[] = {{LODE_COORD_PUT, "a", "x", 1, 0},
                                  {LODE_COORD_PUT, "c", "refuse", 6, 0}};
    struct lode_coord_txn_result result;
    assert_int_equal(
        lode_coord_txn(c, &(struct lode_coord_txn){.ops = ops, .n_ops = 2}, &result, &err),
        LODE_HELD);
    assert_string_equal(err.text, "the hook refuses");
    assert_int_equal(kit_revision(c), last);
    assert_int_equal(number(db, "SELECT n FROM lengths WHERE key = 'a'"), 4);
    kit_delete(c, "a");
    assert_int_equal(number(db, "SELECT count(*) FROM lengths"), 1);
    uint64_t lease;
    assert_int_equal(lode_coord_lease_grant(c, 60000, &lease, NULL), 0);
    kit_put_leased(c, "leased", "1", lease);
    assert_int_equal(number(db, "SELECT count(*) FROM lengths"), 2);
    assert_int_equal(lode_coord_lease_revoke(c, lease, NULL), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM lengths"), 1);
    assert_int_equal(number(db, "SELECT revision FROM seen"), kit_revision(c));
    assert_int_not_equal(sqlite3_exec(db, "DELETE FROM lengths", NULL, NULL, NULL),
                         SQLITE_OK); /* for reading only */
    sqlite3_close_v2(db);
    lode_coord_close(c);
}

static int fail_after_work(void *arg, sqlite3 *db, struct lode_err *err)
{
    assert_int_equal(sqlite3_exec(db, "DELETE FROM lengths", NULL, NULL, NULL), SQLITE_OK);
    return lode_err_set(err, LODE_CANCELLED, "thought better of it");
}

static int count_kv(void *arg, const struct lode_coord_kv *kv, struct lode_err *err)
{
    (*(int *)arg)++;
    assert_int_equal(kv->len, strlen(kv->value));
    return 0;
}

static int rebuild(void *arg, sqlite3 *db, struct lode_err *err)
{
    return lode_coord_sqlite_each(db, "b/", count_kv, arg, err);
}

static void tables_are_made_and_rebuilt(void **state)
{
    struct lode_coord *c = open_projected();
    int n = 0;
    kit_put(c, "a", "1");
    kit_put(c, "b/1", "1");
    kit_put(c, "b/2", "1");
    kit_put(c, "c", "1");
    uint64_t before = kit_revision(c);
    assert_int_equal(lode_coord_sqlite_write(c, rebuild, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_int_equal(lode_coord_sqlite_write(c, fail_after_work, NULL, NULL), LODE_CANCELLED);
    assert_int_equal(kit_revision(c), before);
    sqlite3 *db;
    assert_int_equal(lode_coord_sqlite_connect(c, &db, NULL), 0);
    assert_int_equal(number(db, "SELECT count(*) FROM lengths"), 4);
    sqlite3_close_v2(db);
    assert_string_equal(lode_coord_sqlite_path(c), path);
    lode_coord_close(c);
    c = kit_open("mem:", NULL);
    assert_null(lode_coord_sqlite_path(c));
    assert_int_equal(lode_coord_sqlite_connect(c, &db, NULL), LODE_UNSUPPORTED);
    assert_int_equal(lode_coord_sqlite_set_hook(c, project, NULL, NULL), LODE_UNSUPPORTED);
    assert_int_equal(lode_coord_sqlite_write(c, rebuild, &n, NULL), LODE_UNSUPPORTED);
    assert_int_equal(lode_coord_sqlite_backup(c, "/tmp/none", NULL), LODE_UNSUPPORTED);
    lode_coord_close(c);
}

/* ---- backup ---- */

struct pairs {
    struct lode_coord *c;
    _Atomic bool stop;
    _Atomic long n;
};

/* Two keys that always agree. */
static void *write_pairs(void *arg)
{
    struct pairs *p = arg;
    char value[2000];
    memset(value, 'x', sizeof value);
    while (!p->stop) {
        snprintf(value, 32, "%ld", ++p->n);
        value[strlen(value)] = ' ';
        struct lode_coord_op ops[] = {{LODE_COORD_PUT, "left", value, sizeof value, 0},
                                      {LODE_COORD_PUT, "right", value, sizeof value, 0}};
        struct lode_coord_txn_result result;
        if (lode_coord_txn(p->c, &(struct lode_coord_txn){.ops = ops, .n_ops = 2}, &result, NULL) <
            0)
            return p;
    }
    return NULL;
}

static int count_files(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void expect_agreement(const char *database, uint64_t at_least)
{
    char where[160];
    snprintf(where, sizeof where, "sqlite://%s", database);
    struct lode_coord *c = kit_open(where, NULL);
    _cleanup_free_ char *left = kit_get(c, "left"), *right = kit_get(c, "right");
    assert_string_equal(left, right);
    assert_true(kit_revision(c) >= at_least);
    struct lode_coord_watch *w;
    struct lode_coord_events e;
    assert_int_equal(lode_coord_watch(c, "", kit_revision(c), &w, NULL), 0);
    assert_int_equal(lode_coord_watch_next(w, 1000, &e, NULL), 0);
    assert_int_equal(e.n, 2);
    lode_coord_events_release(&e);
    lode_coord_watch_close(w);
    kit_put(c, "left", "it can be written");
    lode_coord_close(c);
}

static void backs_up_while_others_write(void **state)
{
    struct pairs p = {.c = kit_open(url, NULL)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_pairs, &p), 0);
    for (int i = 0; i < 5; i++) {
        char to[128], back[128], name[32];
        snprintf(name, sizeof name, "backup%d", i);
        path_in(to, name);
        snprintf(name, sizeof name, "recovered%d", i);
        path_in(back, name);
        while (p.n < (i + 1) * 20)
            usleep(1000);
        uint64_t before = kit_revision(p.c);
        assert_int_equal(lode_coord_sqlite_backup(p.c, to, NULL), 0);
        assert_int_equal(lode_coord_sqlite_backup(p.c, to, NULL), LODE_EXISTS);
        assert_int_equal(lode_coord_sqlite_recover(to, back, NULL), 0);
        expect_agreement(back, before);
        assert_int_equal(lode_coord_sqlite_recover(to, back, NULL), LODE_EXISTS);
    }
    p.stop = true;
    void *failed;
    pthread_join(thread, &failed);
    assert_null(failed);
    lode_coord_close(p.c);
    assert_int_equal(count_files(),
                     2 + 5 +
                         2 * 5); /* each database with its queue, each backup alone: no leavings */
}

static void refuses_damaged_backups(void **state)
{
    struct lode_coord *c = kit_open(url, NULL);
    struct lode_err err = {0};
    char to[128], back[128], key[32];
    path_in(to, "backup");
    path_in(back, "recovered");
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "key/%d", i);
        kit_put(c, key, "a value that fills some pages, so that damage in the middle hits one");
    }
    assert_int_equal(lode_coord_sqlite_backup(c, to, NULL), 0);
    lode_coord_close(c);
    FILE *f = fopen(to, "r+");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    for (long at = 4096 * 3; at < size; at += 4096) {
        fseek(f, at, SEEK_SET);
        fputs("damage damage damage", f);
    }
    fclose(f);
    assert_int_equal(lode_coord_sqlite_recover(to, back, &err), LODE_CORRUPT);
    assert_true(*err.text);
    assert_int_not_equal(access(back, F_OK), 0);
    assert_int_equal(truncate(to, 5000), 0);
    assert_true(lode_coord_sqlite_recover(to, back, NULL) < 0);
    assert_int_not_equal(access(back, F_OK), 0);
    path_in(to, "none");
    assert_int_equal(lode_coord_sqlite_recover(to, back, NULL), LODE_NOT_FOUND);
}

static void recovering_ends_old_leases(void **state)
{
    struct lode_coord *c = kit_open(url, NULL);
    uint64_t lease;
    char to[128], back[128], where[160];
    path_in(to, "backup");
    path_in(back, "recovered");
    snprintf(where, sizeof where, "sqlite://%s", back);
    assert_int_equal(lode_coord_lease_grant(c, 3600000, &lease, NULL), 0);
    kit_put_leased(c, "claim", "x", lease);
    kit_put(c, "stays", "x");
    assert_int_equal(lode_coord_sqlite_backup(c, to, NULL), 0);
    lode_coord_close(c);
    assert_int_equal(lode_coord_sqlite_recover(to, back, NULL), 0);
    c = kit_open(where, NULL);
    assert_false(kit_has(c, "claim"));
    assert_true(kit_has(c, "stays"));
    assert_int_equal(lode_coord_lease_keep(c, lease, NULL), LODE_LOST_LEASE);
    lode_coord_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_projection_shares_the_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_are_made_and_rebuilt, setup, teardown),
        cmocka_unit_test_setup_teardown(backs_up_while_others_write, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_damaged_backups, setup, teardown),
        cmocka_unit_test_setup_teardown(recovering_ends_old_leases, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
