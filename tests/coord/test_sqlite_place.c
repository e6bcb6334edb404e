/* Where the SQLite coord may lie: local file systems of one machine; what it does with databases of
 * other schemas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/attr.h"
#include "base/mem.h"
#include "base/sys.h"
#include "support/coord_kit.h"
#include "support/world.h"

static char *dir;
static char url[64], path[64];

static int setup(void **state)
{
    dir = kit_temp_dir();
    snprintf(path, sizeof path, "%s/coord.db", dir);
    snprintf(url, sizeof url, "sqlite://%s", path);
    world_install();
    return 0;
}

static int teardown(void **state)
{
    world_uninstall();
    kit_remove_dir(dir);
    return 0;
}

static int try_open(bool create, bool read_only, const char *const *options, struct lode_err *err)
{
    struct lode_coord *c = NULL;
    struct lode_coord_config config = {
        .url = url, .create = create, .read_only = read_only, .options = options};
    int r = lode_coord_open(&config, &c, err);
    lode_coord_close(c);
    return r;
}

static void sql(const char *text)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static bool exists(const char *suffix)
{
    char name[128];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return access(name, F_OK) == 0;
}

/* ---- file systems ---- */

static void refuses_file_systems_of_several_machines(void **state)
{
    static const struct {
        uint32_t magic;
        const char *name;
    } bad[] = {{0x6969, "NFS"},      {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"},
               {0x65735546, "FUSE"}, {0x01021997, "9p"},   {0x0bd00bd0, "Lustre"},
               {0x47504653, "GPFS"}, {0x00c36400, "Ceph"}};
    for (size_t i = 0; i < LODE_ARRAY_LEN(bad); i++) {
        struct lode_err err = {0};
        world_file_system(bad[i].magic);
        assert_int_equal(try_open(true, false, NULL, &err), LODE_UNSUPPORTED);
        assert_non_null(strstr(err.text, bad[i].name));
        assert_non_null(strstr(err.text, "lode serve")); /* the way out */
        assert_non_null(strstr(err.text, dir));
        assert_false(exists(""));
    }
    static const uint32_t good[] = {0xef53 /* ext4 */,      0x58465342 /* xfs */,
                                    0x9123683e /* btrfs */, 0x2fc12fc1 /* zfs */,
                                    0x01021994 /* tmpfs */, 0x794c7630 /* overlay */};
    for (size_t i = 0; i < LODE_ARRAY_LEN(good); i++) {
        world_file_system(good[i]);
        assert_int_equal(try_open(true, false, NULL, NULL), 0);
    }
    world_file_system(0x6969); /* it was moved there later */
    assert_int_equal(try_open(false, true, NULL, NULL), LODE_UNSUPPORTED);
}

/* ---- machines ---- */

static void refuses_another_machines_database(void **state)
{
    static const char *const take_over[] = {"take_over", "1", NULL};
    struct lode_err err = {0};
    world_machine("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    world_boot("boot-a");
    lode_coord_close(kit_open(url, NULL));
    world_boot("boot-a2"); /* rebooted: the same machine */
    assert_int_equal(try_open(false, false, NULL, NULL), 0);
    world_machine("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    assert_int_equal(try_open(false, false, NULL, NULL),
                     0); /* another container, the same running kernel */
    world_machine("cccccccccccccccccccccccccccccccc");
    world_boot("boot-c");
    assert_int_equal(try_open(false, false, NULL, &err), LODE_DENIED);
    assert_non_null(strstr(err.text, "lode doctor --take-over"));
    assert_non_null(strstr(err.text, path));
    assert_int_equal(try_open(false, true, NULL, NULL), LODE_DENIED);
    assert_int_equal(try_open(true, false, NULL, NULL), LODE_DENIED);
    assert_int_equal(try_open(false, false, take_over, NULL), 0);
    assert_int_equal(try_open(false, false, NULL, NULL), 0);
    world_machine("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    world_boot("boot-a2");
    assert_int_equal(try_open(false, false, NULL, NULL), LODE_DENIED); /* the old one is out now */
}

static void a_machine_without_an_id_is_let_in(void **state)
{
    world_machine("");
    world_boot("boot-1");
    lode_coord_close(kit_open(url, NULL));
    world_boot("boot-2");
    assert_int_equal(try_open(false, false, NULL, NULL), 0);
    world_boot("");
    assert_int_equal(try_open(false, false, NULL, NULL),
                     LODE_UNSUPPORTED); /* leases need a boot id */
}

/* ---- opening ---- */

static void says_what_is_not_there(void **state)
{
    struct lode_err err = {0};
    assert_int_equal(try_open(false, false, NULL, &err), LODE_NOT_FOUND);
    assert_non_null(strstr(err.text, "lode init"));
    assert_false(exists(""));
    assert_int_equal(try_open(true, true, NULL, NULL), LODE_NOT_FOUND);
    snprintf(url, sizeof url, "sqlite://%s/none/coord.db", dir);
    assert_int_equal(try_open(true, false, NULL, &err), LODE_NOT_FOUND);
    assert_non_null(strstr(err.text, "none"));
    snprintf(url, sizeof url, "sqlite://");
    assert_int_equal(try_open(true, false, NULL, NULL), LODE_INVALID);
    snprintf(url, sizeof url, "nosuch://x");
    assert_int_equal(try_open(true, false, NULL, NULL), LODE_UNSUPPORTED);
    snprintf(url, sizeof url, "%s", path);
    assert_int_equal(try_open(true, false, NULL, NULL), LODE_INVALID);
}

static void refuses_what_is_not_ours(void **state)
{
    struct lode_err err = {0};
    sql("CREATE TABLE t (x); INSERT INTO t VALUES (1)");
    assert_int_equal(try_open(true, false, NULL, &err), LODE_INVALID);
    assert_non_null(strstr(err.text, path));
    sql("SELECT x FROM t");
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(try_open(false, false, NULL, NULL),
                     LODE_NOT_FOUND); /* empty: as after a crash in init */
    assert_int_equal(try_open(true, false, NULL, NULL), 0);
    char wal[96];
    snprintf(wal, sizeof wal, "%s-wal", path);
    unlink(wal);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 5000; i++)
        fputs("no database at all ", f);
    fclose(f);
    assert_int_equal(try_open(false, false, NULL, &err), LODE_CORRUPT);
    assert_true(*err.text);
}

/* ---- schemas ---- */

static void refuses_a_newer_schema(void **state)
{
    struct lode_err err = {0};
    lode_coord_close(kit_open(url, NULL));
    sql("PRAGMA user_version = 99");
    assert_int_equal(try_open(false, false, NULL, &err), LODE_SCHEMA);
    assert_non_null(strstr(err.text, "99"));
    assert_int_equal(try_open(true, true, NULL, NULL), LODE_SCHEMA);
}

static void notices_an_upgrade_beneath_it(void **state)
{
    struct lode_coord *c = kit_open(url, NULL);
    struct lode_coord_op op = {LODE_COORD_PUT, "k", "v", 1, 0};
    struct lode_coord_txn_result result;
    kit_put(c, "k", "v");
    sql("PRAGMA user_version = 99");
    assert_int_equal(
        lode_coord_txn(c, &(struct lode_coord_txn){.ops = &op, .n_ops = 1}, &result, NULL),
        LODE_SCHEMA);
    lode_coord_close(c);
}

static void copy_golden(void)
{
    char from[512];
    char buf[65536];
    const char *source = getenv("LODE_SOURCE");
    snprintf(from, sizeof from, "%s/tests/coord/golden/coord-schema1.db", source ? source : ".");
    FILE *in = fopen(from, "rb"), *out = fopen(path, "wb");
    assert_non_null(in);
    assert_non_null(out);
    for (size_t n; (n = fread(buf, 1, sizeof buf, in)) > 0;)
        assert_int_equal(fwrite(buf, 1, n, out), n);
    fclose(in);
    fclose(out);
}

static void upgrades_an_older_schema_after_a_copy(void **state)
{
    struct lode_err err = {0};
    copy_golden();
    world_machine("11111111111111111111111111111111");
    assert_int_equal(try_open(false, true, NULL, &err), LODE_SCHEMA); /* it may not write */
    assert_false(exists(".bak-1"));
    struct lode_coord *c = kit_open(url, NULL);
    assert_true(exists(".bak-1"));
    assert_true(kit_revision(c) >= 5);
    _cleanup_free_ char *value = kit_get(c, "model/_/rank");
    assert_string_equal(value, "model/_/rank");
    struct lode_coord_watch *w;
    struct lode_coord_events e;
    assert_int_equal(lode_coord_watch(c, "version/", 1, &w, NULL), 0);
    assert_int_equal(lode_coord_watch_next(w, 1000, &e, NULL), 0);
    assert_int_equal(e.n, 2);
    assert_int_equal(e.items[1].kind, LODE_COORD_EVENT_DELETE);
    lode_coord_events_release(&e);
    lode_coord_watch_close(w);
    kit_put(c, "new", "x");
    assert_false(kit_has(c, "claim/rank")); /* its lease was of an older boot */
    lode_coord_close(c);
    assert_int_equal(try_open(false, false, NULL, NULL), 0);
    /* The copy is the old database, whole. */
    char bak[80];
    snprintf(bak, sizeof bak, "%s.bak-1", path);
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open_v2(bak, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(
            db, "SELECT count(*), (SELECT user_version FROM pragma_user_version) FROM lode_kv", -1,
            &s, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(s, 0), 3);
    assert_int_equal(sqlite3_column_int(s, 1), 1);
    sqlite3_finalize(s);
    sqlite3_close(db);
}

/* An upgraded database and a new one have the same tables. */
static char *schema_of(const char *file)
{
    char *text = lode_strdup("");
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name",
                           -1, &s, NULL),
        SQLITE_OK);
    while (sqlite3_step(s) == SQLITE_ROW) {
        char *more = lode_asprintf("%s%s;\n", text, (const char *)sqlite3_column_text(s, 0));
        lode_free(text);
        text = more;
    }
    sqlite3_finalize(s);
    sqlite3_close(db);
    return text;
}

static void an_upgrade_makes_what_a_new_one_has(void **state)
{
    char fresh[96], fresh_url[128];
    copy_golden();
    world_machine("11111111111111111111111111111111");
    lode_coord_close(kit_open(url, NULL));
    snprintf(fresh, sizeof fresh, "%s/fresh.db", dir);
    snprintf(fresh_url, sizeof fresh_url, "sqlite:%s", fresh);
    lode_coord_close(kit_open(fresh_url, NULL));
    _cleanup_free_ char *upgraded = schema_of(path), *made = schema_of(fresh);
    assert_string_equal(upgraded, made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(refuses_file_systems_of_several_machines, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_another_machines_database, setup, teardown),
        cmocka_unit_test_setup_teardown(a_machine_without_an_id_is_let_in, setup, teardown),
        cmocka_unit_test_setup_teardown(says_what_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_is_not_ours, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_newer_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(notices_an_upgrade_beneath_it, setup, teardown),
        cmocka_unit_test_setup_teardown(upgrades_an_older_schema_after_a_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(an_upgrade_makes_what_a_new_one_has, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
