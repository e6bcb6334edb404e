/* The fault tools themselves: if they forget to fail or to forget, every fault test above them is
 * blind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/sqlite_vfs.h"
#include "support/fault_walk.h"

static char top[64], dir[80], path[128];

static int setup(void **state)
{
    snprintf(top, sizeof top, "/tmp/lode-faults-XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/d", top);
    assert_int_equal(mkdir(dir, 0755), 0);
    return 0;
}

static int teardown(void **state)
{
    char cmd[128];
    fault_uninstall();
    snprintf(cmd, sizeof cmd, "rm -rf %s", top);
    return system(cmd);
}

static const char *at(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int make(const char *name, const char *text, bool sync)
{
    int fd = lode_sys->openat(AT_FDCWD, at(name), O_RDWR | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(lode_write_full(fd, text, strlen(text)), 0);
    if (sync)
        assert_int_equal(lode_sys->fdatasync(fd), 0);
    return fd;
}

static void make_closed(const char *name, const char *text, bool sync)
{
    lode_sys->close(make(name, text, sync));
}

static void sync_dir(const char *name)
{
    int fd = open(at(name), O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    assert_int_equal(lode_sys->fsync(fd), 0);
    close(fd);
}

/* The text of a file, "(none)" where there is none. */
static const char *text_of(const char *name)
{
    static char text[256];
    FILE *f = fopen(at(name), "r");
    if (!f)
        return "(none)";
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

static void nth_call(void **state)
{
    fault_install();
    int fd = make("f", "", false);
    fault_fail(FAULT_WRITE, 2, ENOSPC, FAULT_ONCE);
    assert_int_equal(lode_sys->pwrite(fd, "a", 1, 0), 1);
    assert_int_equal(lode_sys->pwrite(fd, "b", 1, 1), -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(lode_sys->pwrite(fd, "c", 1, 1), 1);
    assert_int_equal(fault_fired(), 1);
    fault_fail(FAULT_WRITE, 1, EIO, FAULT_STICKY);
    for (int i = 0; i < 3; i++)
        assert_int_equal(lode_sys->write(fd, "d", 1), -1);
    fault_disarm();
    assert_int_equal(fault_fired(), 3);
    assert_string_equal(text_of("f"), "ac");
    assert_int_equal(fault_count(FAULT_WRITE), 6);
    lode_sys->close(fd);
}

static void short_and_interrupted(void **state)
{
    char buf[8] = {0};
    fault_install();
    int fd = make("f", "", false);
    fault_fail(FAULT_WRITE, 1, FAULT_SHORT, FAULT_STICKY);
    assert_int_equal(lode_sys->pwrite(fd, "abcdefgh", 8, 0), 4);
    assert_int_equal(lode_pwrite_full(fd, "abcdefgh", 8, 0), 0);
    fault_fail(FAULT_READ, 1, FAULT_SHORT, FAULT_STICKY);
    assert_int_equal(lode_pread_full(fd, buf, 8, 0), 0);
    assert_memory_equal(buf, "abcdefgh", 8);
    fault_fail(FAULT_READ, 1, EINTR, FAULT_ONCE);
    assert_int_equal(lode_pread_full(fd, buf, 8, 0), 0);
    assert_int_equal(fault_fired(), 1);
    assert_int_equal(lode_sys->ring_result(false, fd, 4), 4);
    fault_fail(FAULT_WRITE, 1, EIO, FAULT_ONCE);
    assert_int_equal(lode_sys->ring_result(true, fd, 4), -EIO);
    lode_sys->close(fd);
}

static void memory(void **state)
{
    fault_install();
    fault_fail(FAULT_MALLOC, 2, ENOMEM, FAULT_ONCE);
    void *a = lode_alloc(1), *b = lode_zalloc(1), *c = lode_alloc_aligned(64, 64);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    lode_free(a);
    lode_free(c);
}

static void after_and_below(void **state)
{
    fault_install();
    make_closed("a", "1", true);
    char to[128];
    snprintf(to, sizeof to, "%s/b", dir);
    fault_fail(FAULT_RENAME, 1, EIO, FAULT_AFTER);
    assert_int_equal(lode_sys->renameat2(AT_FDCWD, at("a"), AT_FDCWD, to, 0), -1);
    assert_string_equal(text_of("b"), "1");
    fault_fail(FAULT_OPEN, 1, EMFILE, FAULT_STICKY);
    fault_only_below(dir);
    assert_int_equal(lode_sys->openat(AT_FDCWD, at("b"), O_RDONLY, 0), -1);
    int fd = lode_sys->openat(AT_FDCWD, "/dev/null", O_RDONLY, 0);
    assert_true(fd >= 0);
    lode_sys->close(fd);
}

static void order_is_recorded(void **state)
{
    fault_install();
    fault_record(true);
    make_closed("a", "1", true);
    sync_dir(".");
    size_t n;
    const struct fault_event *e = fault_events(&n);
    assert_int_equal(n, 3);
    assert_int_equal(e[0].kind, FAULT_WRITE);
    assert_int_equal(e[1].kind, FAULT_SYNC);
    assert_int_equal(e[2].kind, FAULT_SYNC);
    assert_string_equal(e[1].path, at("a"));
    assert_string_equal(e[2].path, dir);
}

static void slow_sync(void **state)
{
    struct timespec a, b;
    fault_install();
    fault_slow_sync(20);
    clock_gettime(CLOCK_MONOTONIC, &a);
    make_closed("a", "1", true);
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true((b.tv_sec - a.tv_sec) * 1000000000ll + b.tv_nsec - a.tv_nsec >= 20000000);
}

static void cut_forgets_the_unsynced(void **state)
{
    make_closed("old", "old", false);
    fault_install();
    fault_track(dir);
    make_closed("both", "both", true);
    make_closed("data-only", "x", true);
    make_closed("name-only", "x", false);
    sync_dir(".");
    make_closed("late", "x", true);       /* synced, but its name is not */
    int fd = make("both", "BOTH", false); /* truncated and rewritten, not synced */
    close(fd);
    assert_int_equal(unlink(at("old")), 0);
    fault_power_cut();
    assert_string_equal(text_of("old"), "old");
    assert_string_equal(text_of("both"), "both");
    assert_string_equal(text_of("data-only"), "x");
    assert_string_equal(text_of("name-only"), "");
    assert_string_equal(text_of("late"), "(none)");
    unlink(at("old"));
    sync_dir(".");
    fault_power_cut();
    assert_string_equal(text_of("old"), "(none)");
}

static void cut_undoes_names(void **state)
{
    char to[128];
    assert_int_equal(mkdir(at("s"), 0755), 0);
    assert_int_equal(mkdir(at("t"), 0755), 0);
    make_closed("s/f", "f", false);
    fault_install();
    fault_track(dir);
    snprintf(to, sizeof to, "%s/t/g", dir);
    assert_int_equal(rename(at("s/f"), to), 0);
    fault_power_cut();
    assert_string_equal(text_of("s/f"), "f");
    assert_string_equal(text_of("t/g"), "(none)");
    assert_int_equal(rename(at("s/f"), to), 0);
    sync_dir("t");
    fault_power_cut(); /* each directory for itself: the old name is back, the new one stays */
    assert_string_equal(text_of("s/f"), "f");
    assert_string_equal(text_of("t/g"), "f");
    unlink(at("s/f"));
    sync_dir("s");
    assert_int_equal(mkdir(at("u"), 0755), 0);
    snprintf(to, sizeof to, "%s/u/h", dir);
    assert_int_equal(link(at("t/g"), to), 0);
    sync_dir("u");
    fault_power_cut(); /* u itself was never synced into its parent */
    assert_string_equal(text_of("u/h"), "(none)");
    assert_string_equal(text_of("t/g"), "f");
    assert_string_equal(text_of("s/f"), "(none)");
}

static void cut_keeps_a_directory_once(void **state)
{
    char to[128];
    assert_int_equal(mkdir(at("s"), 0755), 0);
    assert_int_equal(mkdir(at("s/d"), 0755), 0);
    assert_int_equal(mkdir(at("t"), 0755), 0);
    make_closed("s/d/f", "f", false);
    fault_install();
    fault_track(dir);
    snprintf(to, sizeof to, "%s/t/d", dir);
    assert_int_equal(rename(at("s/d"), to), 0);
    sync_dir("t");
    fault_power_cut();
    assert_string_equal(text_of("t/d/f"), "f");
    assert_string_equal(text_of("s/d/f"), "(none)");
    snprintf(to, sizeof to, "%s/s/d", dir);
    assert_int_equal(rename(at("t/d"), to), 0);
    fault_power_cut();
    assert_string_equal(text_of("t/d/f"), "f");
}

static void write_database(const char *synchronous, int rows)
{
    sqlite3 *db;
    char sql[160];
    assert_int_equal(lode_sqlite_vfs_register(NULL), 0);
    assert_int_equal(
        sqlite3_open_v2(at("db"), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, LODE_SQLITE_VFS),
        0);
    snprintf(sql, sizeof sql,
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=%s; CREATE TABLE IF NOT EXISTS t(x)",
             synchronous);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), 0);
    for (int i = 0; i < rows; i++)
        assert_int_equal(sqlite3_exec(db, "INSERT INTO t VALUES(1)", NULL, NULL, NULL), 0);
    fault_power_cut();
    sqlite3_close(db); /* its files are gone: nothing of it reaches the new ones */
}

static int count_rows(void)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open_v2(at("db"), &db, SQLITE_OPEN_READWRITE, LODE_SQLITE_VFS), 0);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &st, NULL), 0);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int n = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

static void cut_and_databases(void **state)
{
    fault_install();
    fault_track(dir);
    write_database("FULL", 10);
    assert_int_equal(count_rows(), 10);
    fault_power_cut();
    int durable = count_rows();
    assert_int_equal(durable, 10);
    fault_track(dir);
    write_database("OFF", 10);
    assert_true(count_rows() < 20);
}

/* A small copier, with and without mistakes, for the walk. */
static enum { SOUND, LEAKS, SILENT, CRASHES } mistake;

static void prepare(void *arg)
{
    make_closed("in", "12345678", false);
    unlink(at("out"));
}

static int copy(void *arg, struct lode_err *err)
{
    size_t n;
    int r = 0;
    char *text = lode_read_file(AT_FDCWD, at("in"), 100, &n);
    if (!text && mistake != CRASHES)
        return lode_err_sys(err, "cannot read in");
    if (text[0] != '1')
        abort();
    int fd = lode_sys->openat(AT_FDCWD, at("out"), O_WRONLY | O_CREAT, 0644);
    if (fd < 0)
        r = lode_err_sys(err, "cannot make out");
    if (fd >= 0 && lode_write_full(fd, text, n) < 0 && mistake != SILENT)
        r = lode_err_sys(err, "cannot write out");
    if (fd >= 0 && (r == 0 || mistake != LEAKS))
        lode_sys->close(fd);
    lode_free(text);
    return r;
}

static void check(void *arg, const struct fault_shot *shot, int result, const struct lode_err *err)
{
    if (result == 0)
        assert_string_equal(text_of("out"), "12345678");
}

static const struct fault_scenario copying = {
    .name = "copying", .prepare = prepare, .run = copy, .check = check};

static void walk_passes_sound_code(void **state)
{
    mistake = SOUND;
    fault_walk(&copying);
}

static void walk_finds_mistakes(void **state)
{
    for (mistake = LEAKS; mistake <= CRASHES; mistake++) {
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            setenv("CMOCKA_TEST_ABORT", "1", 1);
            setenv("LODE_TEST_LONG", "1", 1);
            assert_non_null(freopen("/dev/null", "w", stderr));
            fault_walk(&copying); /* aborts by its assertion */
            _exit(0);
        }
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(nth_call),
        T(short_and_interrupted),
        T(memory),
        T(after_and_below),
        T(order_is_recorded),
        T(slow_sync),
        T(cut_forgets_the_unsynced),
        T(cut_undoes_names),
        T(cut_keeps_a_directory_once),
        T(cut_and_databases),
        T(walk_passes_sound_code),
        T(walk_finds_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
