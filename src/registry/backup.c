/* backup and recover: the facts of an embedded root: see <lode/lode.h>.
 *
 * The bytes of models are files and are backed up as such; what is small and changes lies in one
 * SQLite database, which is copied as it is at one moment while others write. Recovering puts a
 * copy in its place: the database that was there is moved aside, never deleted. What the store has
 * and the backup does not know is told as foreign, what the backup knows and the store lost is told
 * as missing: nothing is touched.
 */
#include <errno.h>
#include <string.h>
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/sys.h"
#include "coord/sqlite.h"
#include "model/record.h"
#include "registry/dirs.h"
#include "registry/foreign.h"

int lode_backup(struct lode *lode, const char *path, char **json, struct lode_err *err)
{
    _cleanup_free_ char *full = NULL;
    struct stat st;
    if (!lode->coord || !(lode_coord_caps(lode->coord) & LODE_COORD_LOCAL_FILE))
        return lode_err_set(
            err, LODE_UNSUPPORTED,
            "%s is no embedded root: back it up on the machine that keeps its facts", lode->url);
    int r = lode_dir_absolute(path, &full, err);
    if (r == 0)
        r = lode_coord_sqlite_backup(lode->coord, full, err);
    if (r < 0)
        return r;
    if (lode_sys->fstatat(AT_FDCWD, full, &st, 0) < 0)
        return lode_err_sys(err, "cannot look at %s", lode_q(full));
    return lode_json_hand_out(
        json_pack("{s:s, s:I}", "path", full, "bytes", (json_int_t)st.st_size), json, err);
}

/* The three files that make a database in WAL mode. */
static const char *const suffixes[] = {"", "-wal", "-shm"};

static int move_one(const char *from, const char *to, const char *suffix, struct lode_err *err)
{
    _cleanup_free_ char *a = lode_asprintf("%s%s", from, suffix),
                        *b = lode_asprintf("%s%s", to, suffix);
    if (!a || !b)
        return lode_err_nomem(err, "a path");
    if (lode_sys->renameat2(AT_FDCWD, a, AT_FDCWD, b, 0) < 0 && errno != ENOENT)
        return lode_err_sys(err, "cannot move %s aside", lode_q(a));
    return 0;
}

/* Renames all database files from one name to another, or none; those that are not there are passed
 * over. */
static int move_database(const char *from, const char *to, struct lode_err *err)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(suffixes); i++) {
        int r = move_one(from, to, suffixes[i], err);
        if (r == 0)
            continue;
        while (i-- > 0) {
            if (move_one(to, from, suffixes[i], NULL) < 0)
                lode_err_prefix(err, "a part of the database lies at %s now", lode_q(to));
        }
        return r;
    }
    return 0;
}

/* A version of the backup whose manifest the store lacks. */
static int check_version(struct lode *lode, const struct lode_version *v, json_t *missing,
                         struct lode_err *err)
{
    _cleanup_place_ struct lode_place place = {0};
    struct lode_store_stat st;
    int r = lode_handle_ops(lode)->place(lode->catalog, v, &place, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *key = lode_place_key(&place, LODE_MANIFEST_KEY);
    if (!key)
        return lode_err_nomem(err, "a key");
    if (lode_store_stat(place.store, key, &st, NULL) == 0)
        return 0;
    json_t *item =
        json_pack("{s:s, s:s, s:s}", "ns", v->ns, "name", v->name, "version", v->version);
    return item && json_array_append_new(missing, item) == 0 ? 0 : lode_err_nomem(err, "a report");
}

static int find_missing(struct lode *lode, json_t *missing, uint64_t *versions,
                        struct lode_err *err)
{
    _cleanup_free_ char *next = NULL;
    for (;;) {
        _cleanup_versions_ struct lode_versions page = {0};
        struct lode_query query = {.limit = LODE_PAGE_MAX, .page = next};
        int r = lode_handle_ops(lode)->versions(lode->catalog, &query, &page, err);
        for (size_t i = 0; r == 0 && i < page.n; i++, (*versions)++)
            r = check_version(lode, &page.items[i], missing, err);
        if (r < 0 || !page.next)
            return r;
        lode_free(next);
        if (!(next = lode_strdup(page.next)))
            return lode_err_nomem(err, "a page");
    }
}

/* Opening compares the root's id with the store's: a backup of another root is refused here. */
static int report(const struct lode_open_options *options, const char *path, const char *aside,
                  char **json, struct lode_err *err)
{
    struct lode_open_options o = options ? *options : (struct lode_open_options){0};
    struct lode *lode = NULL;
    uint64_t versions = 0;
    _cleanup_json_ json_t *missing = json_array(), *foreign = json_array();
    o.create = false;
    int r = missing && foreign ? lode_open(&o, &lode, err) : lode_err_nomem(err, "a report");
    if (r == 0)
        r = find_missing(lode, missing, &versions, err);
    if (r == 0)
        r = lode_foreign_find(lode, foreign, err);
    lode_close(lode);
    if (r < 0)
        return r;
    json_t *before = aside ? json_string(aside) : json_null();
    return lode_json_hand_out(json_pack("{s:s, s:o, s:I, s:O, s:O}", "path", path, "before", before,
                                        "versions", (json_int_t)versions, "missing", missing,
                                        "foreign", foreign),
                              json, err);
}

/* As it was: the new database goes, the one before comes back. Returns the failure that led here.
 */
static int put_back(const char *path, const char *aside, int failed, struct lode_err *err)
{
    for (size_t i = 0; i < LODE_ARRAY_LEN(suffixes); i++) {
        _cleanup_free_ char *left = lode_asprintf("%s%s", path, suffixes[i]);
        if (left)
            lode_sys->unlinkat(AT_FDCWD, left, 0);
    }
    if (move_database(aside, path, NULL) < 0)
        lode_err_prefix(err, "the database before is kept as %s", lode_q(aside));
    return failed;
}

static int recover_to(const char *backup, const char *path, const struct lode_open_options *options,
                      char **json, struct lode_err *err)
{
    struct stat st;
    char stamp[LODE_TIME_TEXT];
    bool there = lode_sys->fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
    _cleanup_free_ char *aside =
        lode_asprintf("%s.before-%s", path, lode_time_version(lode_now_ms(), stamp));
    if (!aside)
        return lode_err_nomem(err, "a path");
    /* Also when the database itself is gone: what is left of its log must never meet the new one.
     */
    int r = move_database(path, aside, err);
    if (r < 0)
        return r;
    r = lode_coord_sqlite_recover(backup, path, err);
    if (r == 0)
        r = report(options, path, there ? aside : NULL, json, err);
    if (r < 0)
        r = put_back(path, aside, r, err);
    return r;
}

int lode_recover(const char *backup, const struct lode_open_options *options, char **json,
                 struct lode_err *err)
{
    _cleanup_where_ struct lode_where where = {0};
    _cleanup_free_ char *full = NULL;
    struct stat st;
    int r = lode_where_find(options, &where, err);
    if (r == 0 && !where.dir)
        r = lode_err_set(err, LODE_UNSUPPORTED,
                         "only an embedded root can be recovered: name its directory with --url");
    if (r == 0)
        r = lode_dir_absolute(backup, &full, err);
    if (r == 0 && lode_sys->fstatat(AT_FDCWD, full, &st, 0) < 0)
        r = lode_err_sys(err, "cannot read the backup %s", lode_q(full));
    if (r == 0)
        r = lode_dir_make(where.dir, 0777, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *path = lode_asprintf("%s/" LODE_ROOT_COORD, where.dir);
    return path ? recover_to(full, path, options, json, err) : lode_err_nomem(err, "a path");
}
