/* The sqlite coord with every fallible call failing in turn, SQLite's own included, and with the
 * power cut after it.
 *
 * Oracle: transactions are whole or not at all and in order; what was acknowledged is there, also
 * after the power cut; the database is sound and takes the next transaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "coord/coord.h"
#include "support/fault_walk.h"

#define TXNS 4

static char dir[64], url[96];
static int acked;          /* transactions that were acknowledged */
static bool lease_revoked; /* acknowledged */

static void prepare(void *arg)
{
    char cmd[96];
    snprintf(cmd, sizeof cmd, "rm -rf %s; mkdir %s", dir, dir);
    assert_int_equal(system(cmd), 0);
    acked = 0;
    lease_revoked = false;
}

/* Transaction n puts "item/n" and "count" = n, given that "count" is what n - 1 left. */
static int put_nth(struct lode_coord *c, int n, uint64_t *count_revision, struct lode_err *err)
{
    char key[32], value[16];
    snprintf(key, sizeof key, "item/%d", n);
    snprintf(value, sizeof value, "%d", n);
    struct lode_coord_compare compare = {.key = "count", .modified = *count_revision};
    struct lode_coord_op ops[] = {
        {.kind = LODE_COORD_PUT, .key = key, .value = value, .len = strlen(value)},
        {.kind = LODE_COORD_PUT, .key = "count", .value = value, .len = strlen(value)}};
    struct lode_coord_txn txn = {.compares = &compare, .n_compares = 1, .ops = ops, .n_ops = 2};
    struct lode_coord_txn_result result;
    int r = lode_coord_txn(c, &txn, &result, err);
    if (r < 0)
        return r;
    bool ok = result.succeeded;
    *count_revision = result.revision;
    lode_coord_txn_result_release(&result);
    return ok ? 0 : lode_err_set(err, LODE_CONFLICT, "count was changed by a stranger");
}

static int use_lease(struct lode_coord *c, struct lode_err *err)
{
    uint64_t lease;
    int r = lode_coord_lease_grant(c, 60000, &lease, err);
    if (r < 0)
        return r;
    struct lode_coord_op op = {
        .kind = LODE_COORD_PUT, .key = "claim", .value = "x", .len = 1, .lease = lease};
    struct lode_coord_txn txn = {.ops = &op, .n_ops = 1};
    struct lode_coord_txn_result result;
    r = lode_coord_txn(c, &txn, &result, err);
    if (r == 0)
        lode_coord_txn_result_release(&result);
    if (r == 0)
        r = lode_coord_lease_keep(c, lease, err);
    if (r == 0)
        r = lode_coord_lease_revoke(c, lease, err);
    lease_revoked = r == 0;
    return r;
}

static int use(struct lode_coord *c, struct lode_err *err)
{
    uint64_t count_revision = 0;
    struct lode_coord_kvs kvs;
    int r = 0;
    for (int n = 1; r == 0 && n <= TXNS; n++) {
        r = put_nth(c, n, &count_revision, err);
        acked += r == 0;
    }
    if (r == 0)
        r = use_lease(c, err);
    if (r == 0)
        r = lode_coord_range(c, "item/", NULL, 100, &kvs, err);
    if (r < 0)
        return r;
    bool all = kvs.n == TXNS;
    lode_coord_kvs_release(&kvs);
    return all ? lode_coord_compact(c, err)
               : lode_err_set(err, LODE_CORRUPT, "a range that is not whole");
}

static int run(void *arg, struct lode_err *err)
{
    struct lode_coord_config config = {.url = url, .create = true, .timeout_ms = 300};
    struct lode_coord *c;
    int r = lode_coord_open(&config, &c, err);
    if (r < 0)
        return r;
    r = use(c, err);
    lode_coord_close(c);
    return r;
}

/* How many transactions are there, each whole. */
static int count_txns(struct lode_coord *c, uint64_t *revision)
{
    struct lode_coord_kv count;
    struct lode_coord_kvs kvs;
    struct lode_err err = {0};
    int n = 0, r = lode_coord_get(c, "count", &count, &err);
    *revision = 0;
    if (r == 0) {
        n = (int)strtol(count.value, NULL, 10);
        *revision = count.modified;
        lode_coord_kv_release(&count);
    } else if (r != LODE_NOT_FOUND) {
        fail_msg("count: %s", err.text);
    }
    assert_int_equal(lode_coord_range(c, "item/", NULL, 100, &kvs, &err), 0);
    assert_int_equal(kvs.n, n);
    lode_coord_kvs_release(&kvs);
    return n;
}

static void check_sound(void)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open_v2(url + strlen("sqlite://"), &db, SQLITE_OPEN_READONLY, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
    sqlite3_finalize(st);
    sqlite3_close(db);
}

static void check(void *arg, const struct fault_shot *shot, int result,
                  const struct lode_err *run_err)
{
    struct lode_coord_config config = {.url = url, .create = true, .timeout_ms = 300};
    struct lode_coord *c;
    struct lode_coord_kv kv;
    struct lode_err err = {0};
    uint64_t revision;
    if (lode_coord_open(&config, &c, &err) < 0)
        fail_msg("the coord does not open any more: %s", err.text);
    int n = count_txns(c, &revision);
    assert_true(n == acked || (result < 0 && n == acked + 1));
    if (lease_revoked)
        assert_int_equal(lode_coord_get(c, "claim", &kv, NULL), LODE_NOT_FOUND);
    if (put_nth(c, n + 1, &revision, &err) < 0)
        fail_msg("no further transaction: %s", err.text);
    assert_int_equal(count_txns(c, &revision), n + 1);
    lode_coord_close(c);
    check_sound();
}

static void every_call_fails_once(void **state)
{
    const struct fault_scenario s = {.name = "coord",
                                     .prepare = prepare,
                                     .run = run,
                                     .check = check,
                                     .kinds = ~(1u << FAULT_SQLITE_MALLOC)};
    fault_walk(&s);
}

static void sqlite_without_memory(void **state)
{
    const struct fault_scenario s = {.name = "coord, SQLite's memory",
                                     .prepare = prepare,
                                     .run = run,
                                     .check = check,
                                     .kinds = 1u << FAULT_SQLITE_MALLOC};
    fault_walk(&s);
}

static void every_call_fails_and_power_goes(void **state)
{
    const struct fault_scenario s = {.name = "coord, power cut",
                                     .prepare = prepare,
                                     .run = run,
                                     .check = check,
                                     .power_cut = true,
                                     .track = dir,
                                     .kinds = 1u << FAULT_SYNC | 1u << FAULT_WRITE |
                                              1u << FAULT_OPEN | 1u << FAULT_TRUNCATE |
                                              1u << FAULT_UNLINK};
    fault_walk(&s);
}

/* ---- several threads, whose transactions share a commit ---- */

#define WRITERS 4
#define EACH 3

struct writer {
    struct lode_coord *coord;
    int number, acked, result;
    struct lode_err err;
};
static struct writer writers[WRITERS];

static void key_of(int writer, int n, const char *half, char out[32])
{
    snprintf(out, 32, "w%d/%d/%s", writer, n, half);
}

static void *write_pairs(void *arg)
{
    struct writer *w = arg;
    for (int n = 0; n < EACH; n++) {
        char a[32], b[32];
        key_of(w->number, n, "a", a);
        key_of(w->number, n, "b", b);
        struct lode_coord_op ops[] = {{.kind = LODE_COORD_PUT, .key = a, .value = "1", .len = 1},
                                      {.kind = LODE_COORD_PUT, .key = b, .value = "1", .len = 1}};
        struct lode_coord_txn txn = {.ops = ops, .n_ops = 2};
        struct lode_coord_txn_result result;
        w->result = lode_coord_txn(w->coord, &txn, &result, &w->err);
        if (w->result < 0)
            break;
        lode_coord_txn_result_release(&result);
        w->acked++;
    }
    return NULL;
}

static int run_writers(void *arg, struct lode_err *err)
{
    struct lode_coord_config config = {.url = url, .create = true, .timeout_ms = 300};
    struct lode_coord *c;
    pthread_t ids[WRITERS];
    memset(writers, 0, sizeof writers);
    int r = lode_coord_open(&config, &c, err);
    if (r < 0)
        return r;
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.coord = c, .number = i};
        pthread_create(&ids[i], NULL, write_pairs, &writers[i]);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(ids[i], NULL);
        if (r == 0 && writers[i].result < 0) {
            r = writers[i].result;
            *err = writers[i].err;
        }
    }
    lode_coord_close(c);
    return r;
}

static bool is_there(struct lode_coord *c, int writer, int n, const char *half)
{
    char key[32];
    struct lode_coord_kv kv;
    key_of(writer, n, half, key);
    int r = lode_coord_get(c, key, &kv, NULL);
    assert_true(r == 0 || r == LODE_NOT_FOUND);
    if (r == 0)
        lode_coord_kv_release(&kv);
    return r == 0;
}

static void check_writers(void *arg, const struct fault_shot *shot, int result,
                          const struct lode_err *run_err)
{
    struct lode_coord_config config = {.url = url, .create = true, .timeout_ms = 300};
    struct lode_coord *c;
    assert_int_equal(lode_coord_open(&config, &c, NULL), 0);
    for (int i = 0; i < WRITERS; i++) {
        for (int n = 0; n < EACH; n++) {
            bool a = is_there(c, i, n, "a"), b = is_there(c, i, n, "b");
            assert_int_equal(a, b);
            if (n < writers[i].acked)
                assert_true(a);
            if (n > writers[i].acked) /* only the one that failed may have happened */
                assert_false(a);
        }
    }
    lode_coord_close(c);
    check_sound();
}

static void threads_under_faults(void **state)
{
    const struct fault_scenario s = {.name = "coord, threads",
                                     .prepare = prepare,
                                     .run = run_writers,
                                     .check = check_writers,
                                     .power_cut = true,
                                     .track = dir,
                                     .kinds = 1u << FAULT_SYNC | 1u << FAULT_WRITE |
                                              1u << FAULT_LOCK | 1u << FAULT_MALLOC |
                                              1u << FAULT_OPEN};
    fault_walk(&s);
}

static int remove_dir(void **state)
{
    char cmd[96];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_fails_once), cmocka_unit_test(sqlite_without_memory),
        cmocka_unit_test(every_call_fails_and_power_goes), cmocka_unit_test(threads_under_faults)};
    snprintf(dir, sizeof dir, "/tmp/lode-fault-coord-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    snprintf(url, sizeof url, "sqlite://%s/coord.db", dir);
    fault_sqlite_malloc();
    return cmocka_run_group_tests(tests, NULL, remove_dir);
}
