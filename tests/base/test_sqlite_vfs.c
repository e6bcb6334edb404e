/* The SQLite VFS: databases work in WAL and rollback mode, exclude each other among connections,
 * processes and the stock VFS, and every sync passes lode_sys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/sqlite_vfs.h"
#include "base/sys.h"

static char dir[] = "/tmp/lode-vfs-XXXXXX";
static char db_path[64];
static struct lode_sys sys;
static atomic_int syncs;
static bool fail_sync;

static int counted_fdatasync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    if (fail_sync) {
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

static int counted_fsync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    return fsync(fd);
}

static int clean(void **state)
{
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -f %s/*", dir);
    assert_int_equal(system(cmd), 0);
    fail_sync = false;
    syncs = 0;
    return 0;
}

static sqlite3 *open_with(const char *vfs, const char *mode)
{
    sqlite3 *db;
    char pragma[64];
    assert_int_equal(sqlite3_open_v2(db_path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs),
                     SQLITE_OK);
    sqlite3_busy_timeout(db, 20000);
    snprintf(pragma, sizeof pragma, "PRAGMA journal_mode=%s", mode);
    assert_int_equal(sqlite3_exec(db, pragma, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA synchronous=FULL", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int n = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return n;
}

static void check_mode(const char *mode)
{
    sqlite3 *a = open_with(LODE_SQLITE_VFS, mode);
    assert_int_equal(run(a, "CREATE TABLE t(x)"), SQLITE_OK);
    int before = syncs;
    assert_int_equal(run(a, "INSERT INTO t VALUES(1)"), SQLITE_OK);
    assert_true(syncs > before);
    sqlite3 *b = open_with(LODE_SQLITE_VFS, mode);
    assert_int_equal(number(b, "SELECT count(*) FROM t"), 1);
    sqlite3_busy_timeout(b, 0);
    assert_int_equal(run(a, "BEGIN IMMEDIATE; INSERT INTO t VALUES(2)"), SQLITE_OK);
    assert_int_equal(run(b, "BEGIN IMMEDIATE"), SQLITE_BUSY);
    assert_int_equal(number(b, "SELECT count(*) FROM t"), 1);
    assert_int_equal(run(a, "COMMIT"), SQLITE_OK);
    assert_int_equal(number(b, "SELECT count(*) FROM t"), 2);
    assert_int_equal(run(b, "INSERT INTO t VALUES(3)"), SQLITE_OK);
    assert_int_equal(sqlite3_close(a), SQLITE_OK);
    assert_int_equal(number(b, "SELECT count(*) FROM t"), 3);
    assert_int_equal(sqlite3_close(b), SQLITE_OK);
    char beside[80];
    snprintf(beside, sizeof beside, "%s-shm", db_path);
    assert_int_not_equal(access(beside, F_OK), 0);
}

static void wal(void **state)
{
    check_mode("WAL");
}

static void rollback(void **state)
{
    check_mode("DELETE");
}

/* More than one shared memory region (each holds about 4,000 frames), and a reader that maps them
 * later. */
static void big_wal(void **state)
{
    sqlite3 *a = open_with(LODE_SQLITE_VFS, "WAL");
    assert_int_equal(
        run(a, "PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x);"
               "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<12000)"
               "INSERT INTO t SELECT zeroblob(3000) FROM c"),
        SQLITE_OK);
    sqlite3 *b = open_with(LODE_SQLITE_VFS, "WAL");
    assert_int_equal(number(b, "SELECT count(*) FROM t"), 12000);
    assert_int_equal(run(a, "PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
    assert_int_equal(number(b, "SELECT count(*) FROM t WHERE length(x)=3000"), 12000);
    sqlite3_close(a);
    sqlite3_close(b);
}

/* The stock VFS, in the same and in another process, respects our locks, and we its. */
static void beside_stock(void **state)
{
    sqlite3 *ours = open_with(LODE_SQLITE_VFS, "WAL");
    assert_int_equal(run(ours, "CREATE TABLE t(x)"), SQLITE_OK);
    pid_t pid = fork();
    if (pid == 0) {
        sqlite3 *stock;
        if (sqlite3_open_v2(db_path, &stock, SQLITE_OPEN_READWRITE, "unix"))
            _exit(2);
        sqlite3_busy_timeout(stock, 20000);
        for (int i = 0; i < 200; i++) {
            if (run(stock, "INSERT INTO t VALUES('stock')"))
                _exit(3);
        }
        sqlite3_close(stock);
        _exit(0);
    }
    for (int i = 0; i < 200; i++)
        assert_int_equal(run(ours, "INSERT INTO t VALUES('ours')"), SQLITE_OK);
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(number(ours, "SELECT count(*) FROM t"), 400);
    sqlite3 *stock = open_with("unix", "WAL");
    sqlite3_busy_timeout(stock, 0);
    assert_int_equal(run(ours, "BEGIN IMMEDIATE"), SQLITE_OK);
    assert_int_equal(run(stock, "BEGIN IMMEDIATE"), SQLITE_BUSY);
    assert_int_equal(run(ours, "COMMIT"), SQLITE_OK);
    assert_int_equal(run(stock, "BEGIN IMMEDIATE"), SQLITE_OK);
    sqlite3_busy_timeout(ours, 0);
    assert_int_equal(run(ours, "BEGIN IMMEDIATE"), SQLITE_BUSY);
    assert_int_equal(run(stock, "COMMIT"), SQLITE_OK);
    sqlite3_close(stock);
    assert_string_equal("ok", number(ours, "SELECT count(*) FROM pragma_integrity_check WHERE "
                                           "integrity_check='ok'") == 1
                                  ? "ok"
                                  : "damaged");
    sqlite3_close(ours);
}

/* Closing another descriptor of the database must not let a second writer in (the POSIX lock trap).
 */
static void stray_close(void **state)
{
    sqlite3 *a = open_with(LODE_SQLITE_VFS, "DELETE");
    assert_int_equal(run(a, "CREATE TABLE t(x); BEGIN IMMEDIATE"), SQLITE_OK);
    close(open(db_path, O_RDONLY));
    pid_t pid = fork();
    if (pid == 0) {
        sqlite3 *b;
        int rc = sqlite3_open_v2(db_path, &b, SQLITE_OPEN_READWRITE, LODE_SQLITE_VFS);
        _exit(rc == SQLITE_OK && run(b, "BEGIN IMMEDIATE") == SQLITE_BUSY ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    sqlite3_close(a);
}

static void many_processes(void **state)
{
    sqlite3 *a = open_with(LODE_SQLITE_VFS, "WAL");
    assert_int_equal(run(a, "CREATE TABLE t(n); INSERT INTO t VALUES(0)"), SQLITE_OK);
    sqlite3_close(a);
    for (int p = 0; p < 4; p++) {
        if (fork() == 0) {
            sqlite3 *db = open_with(LODE_SQLITE_VFS, "WAL");
            int bad = 0;
            for (int i = 0; i < 100; i++)
                bad += run(db, "UPDATE t SET n=n+1") != SQLITE_OK;
            sqlite3_close(db);
            _exit(bad != 0);
        }
    }
    for (int p = 0; p < 4; p++) {
        int status;
        wait(&status);
        assert_int_equal(status, 0);
    }
    a = open_with(LODE_SQLITE_VFS, "WAL");
    assert_int_equal(number(a, "SELECT n FROM t"), 400);
    sqlite3_close(a);
}

/* A commit whose sync failed is no commit, and nothing more passes on that handle. */
static void failed_sync_poisons(void **state)
{
    sqlite3 *a = open_with(LODE_SQLITE_VFS, "WAL");
    assert_int_equal(run(a, "CREATE TABLE t(x)"), SQLITE_OK);
    fail_sync = true;
    assert_int_equal(run(a, "INSERT INTO t VALUES(1)"), SQLITE_IOERR);
    assert_int_equal(sqlite3_extended_errcode(a), SQLITE_IOERR_FSYNC);
    fail_sync = false;
    assert_int_equal(run(a, "INSERT INTO t VALUES(2)"), SQLITE_IOERR);
    sqlite3_close(a);
    a = open_with(LODE_SQLITE_VFS, "WAL");
    assert_int_equal(run(a, "INSERT INTO t VALUES(3)"), SQLITE_OK);
    assert_int_equal(number(a, "SELECT count(*) FROM t WHERE x=3"), 1);
    sqlite3_close(a);
}

static int setup(void **state)
{
    if (!mkdtemp(dir))
        return -1;
    snprintf(db_path, sizeof db_path, "%s/lode.db", dir);
    sys = lode_sys_real;
    sys.fdatasync = counted_fdatasync;
    sys.fsync = counted_fsync;
    lode_sys = &sys;
    return lode_sqlite_vfs_register(NULL);
}

static int teardown(void **state)
{
    clean(state);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(wal, clean),
        cmocka_unit_test_setup(rollback, clean),
        cmocka_unit_test_setup(big_wal, clean),
        cmocka_unit_test_setup(beside_stock, clean),
        cmocka_unit_test_setup(stray_close, clean),
        cmocka_unit_test_setup(many_processes, clean),
        cmocka_unit_test_setup(failed_sync_poisons, clean),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
