/* Copies of a live database: see coord/sqlite.h.
 *
 * SQLite's online backup, from inside one read transaction: the copy is one moment of the database,
 * and writers go on. It grows under a temporary name and gets its own by a rename that replaces
 * nothing, so a file of that name is always whole.
 */
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/name.h"
#include "base/sqlite_vfs.h"
#include "base/sys.h"
#include "coord/sqlite_impl.h"

#define STEP_PAGES 1024
#define PATIENCE_MS 10000 /* with the locks of a file that nobody else should use */

static int copy_pages(sqlite3 *from, sqlite3 *to, struct lode_err *err)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
    if (!b)
        return lode_sqlite_err(err, to, "cannot start to copy the root's database");
    int rc;
    do {
        rc = sqlite3_backup_step(b, STEP_PAGES);
    } while (rc == SQLITE_OK);
    int finished = sqlite3_backup_finish(b);
    if (rc == SQLITE_DONE && finished == SQLITE_OK)
        return 0;
    return lode_sqlite_err(err, to, "cannot copy the root's database");
}

static int copy_to_temp(sqlite3 *from, const char *temp, struct lode_err *err)
{
    struct lode_sq_conn *to;
    int r = lode_sq_conn_open(temp, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, SQ_WRITER,
                              PATIENCE_MS, &to, err);
    if (r < 0)
        return r;
    bool own = sqlite3_get_autocommit(from);
    r = own ? lode_sq_exec(from, "BEGIN; SELECT count(*) FROM sqlite_schema",
                           "cannot read the root's database", err)
            : 0;
    if (r == 0)
        r = copy_pages(from, to->db, err);
    if (own)
        sqlite3_exec(from, "COMMIT", NULL, NULL, NULL);
    /* One plain file: the copy of a WAL database says that it is one, and a first opener would make
     * a -wal. */
    if (r == 0)
        r = lode_sq_exec(to->db, "PRAGMA journal_mode = DELETE",
                         "cannot finish a copy of the root's database", err);
    lode_sq_conn_close(to);
    return r;
}

static int sync_path(const char *path, int flags, struct lode_err *err)
{
    _cleanup_close_ int fd = lode_sys->openat(AT_FDCWD, path, O_RDONLY | flags, 0);
    return fd < 0 || lode_sys->fsync(fd) < 0 ? lode_err_sys(err, "cannot flush %s", lode_q(path))
                                             : 0;
}

static int name_copy(const char *temp, const char *to, bool replace, struct lode_err *err)
{
    const char *slash = strrchr(to, '/');
    _cleanup_free_ char *dir =
        slash ? lode_strndup(to, slash == to ? 1 : (size_t)(slash - to)) : lode_strdup(".");
    if (!dir)
        return lode_err_nomem(err, "a path");
    int r = sync_path(temp, 0, err);
    if (r < 0)
        return r;
    if (lode_sys->renameat2(AT_FDCWD, temp, AT_FDCWD, to, replace ? 0 : RENAME_NOREPLACE) < 0)
        return lode_err_sys(err, "cannot name the copy %s", lode_q(to));
    return sync_path(dir, O_DIRECTORY, err);
}

int lode_sq_copy(sqlite3 *from, const char *to, bool replace, struct lode_err *err)
{
    struct stat st;
    if (!replace && lode_sys->fstatat(AT_FDCWD, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return lode_err_set(err, LODE_EXISTS, "%s is already there", lode_q(to));
    uint64_t random = 0;
    if (lode_sys->getrandom(&random, sizeof random) != sizeof random)
        return lode_err_sys(err, "cannot get random bytes");
    _cleanup_free_ char *temp = lode_asprintf("%s.%016llx.tmp", to, (unsigned long long)random);
    if (!temp)
        return lode_err_nomem(err, "a path");
    /* Made here, for SQLite would not say why it cannot. */
    int fd = lode_sys->openat(AT_FDCWD, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return lode_err_sys(err, "cannot write the copy %s", lode_q(to));
    lode_sys->close(fd);
    int r = copy_to_temp(from, temp, err);
    if (r == 0)
        r = name_copy(temp, to, replace, err);
    if (r < 0)
        lode_sys->unlinkat(AT_FDCWD, temp, 0);
    return r;
}

int lode_coord_sqlite_backup(struct lode_coord *coord, const char *to, struct lode_err *err)
{
    sqlite3 *db = NULL;
    int r = lode_coord_sqlite_connect(coord, &db, err);
    if (r < 0)
        return r;
    r = lode_sq_copy(db, to, false, err);
    sqlite3_close_v2(db);
    return r;
}

/* ---- recover ---- */

static int check_whole(sqlite3 *db, const char *path, struct lode_err *err)
{
    sqlite3_stmt *s = NULL;
    int r = 0;
    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_ROW)
        r = lode_sqlite_err(err, db, "cannot check the backup");
    else if (strcmp((const char *)sqlite3_column_text(s, 0), "ok") != 0)
        r = lode_err_set(err, LODE_CORRUPT, "the backup %s is damaged: %s", lode_q(path),
                         (const char *)sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    return r;
}

static int end_all_leases(void *arg, sqlite3 *db, struct lode_err *err)
{
    return lode_sq_exec(db, "UPDATE lode_lease SET end_ms = 0", "cannot end the leases of a backup",
                        err);
}

static int recover_from(struct lode_sq_conn *from, const char *backup, const char *path,
                        struct lode_err *err)
{
    int r = check_whole(from->db, backup, err);
    if (r == 0)
        r = lode_sq_copy(from->db, path, false, err);
    if (r < 0)
        return r;
    /* Opening it takes it over; who held its leases then holds nothing here. */
    static const char *const options[] = {"take_over", "1", NULL};
    _cleanup_free_ char *url = lode_asprintf("sqlite://%s", path);
    struct lode_coord *coord = NULL;
    struct lode_coord_config config = {.url = url, .options = options};
    r = url ? lode_coord_open(&config, &coord, err) : lode_err_nomem(err, "a path");
    if (r == 0)
        r = lode_coord_sqlite_write(coord, end_all_leases, NULL, err);
    if (r == 0)
        r = lode_coord_compact(coord, err); /* any write ends what is over */
    lode_coord_close(coord);
    return r;
}

int lode_coord_sqlite_recover(const char *backup, const char *path, struct lode_err *err)
{
    struct lode_sq_conn *from;
    int r = lode_sq_check_file_system(path, err);
    if (r == 0)
        r = lode_sq_conn_open(backup, SQLITE_OPEN_READONLY, SQ_READER, PATIENCE_MS, &from, err);
    if (r < 0)
        return r;
    r = recover_from(from, backup, path, err);
    lode_sq_conn_close(from);
    return r;
}
