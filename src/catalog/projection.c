/* The projection: see catalog/projection.h.
 *
 * Two ways to keep it: `hosted` in a sqlite coord's own file, where the coord's hook applies each
 * transaction inside itself; or `own`, a database that is caught up before each query from the
 * coord's log of changes. A hosted one is caught up in the same way when somebody wrote without a
 * hook. History that is gone makes it be built anew.
 *
 * Locks: `lock` guards the pool of readers and, for an own database, its only writer.
 */
#include "catalog/projection.h"
#include <pthread.h>
#include <string.h>
#include "base/cache_dir.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sqlite_vfs.h"
#include "catalog/filter_sql.h"
#include "catalog/projection_schema.h"
#include "catalog/records.h"
#include "coord/sqlite.h"

#define WHAT "cannot use the projection"
#define READERS_MAX 16 /* connections kept for the next query */
#define PAGE 1000      /* records read at a time when it is built anew */

struct lode_projection {
    struct lode_coord *coord; /* borrowed */
    bool hosted;
    char *path; /* of an own database; NULL: in memory */
    struct lode_applier
        *hook; /* hosted: on the coord's writer, only touched inside its transactions */
    struct lode_applier *own; /* own database: its writer, guarded by `lock` */
    pthread_mutex_t lock;
    pthread_mutex_t catch_up; /* one thread catches up at a time */
    sqlite3 *readers[READERS_MAX];
    unsigned n_readers;
};

static int exec(sqlite3 *db, const char *sql, struct lode_err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
                                                                : lode_sqlite_err(err, db, WHAT);
}

/* ---- hosted: the coord's hook ---- */

static int hook_applier(struct lode_projection *self, sqlite3 *db, struct lode_err *err)
{
    if (self->hook && lode_applier_db(self->hook) == db)
        return 0;
    lode_applier_free(self->hook);
    self->hook = NULL;
    return lode_applier_new(db, &self->hook, err);
}

/* Applies only what follows directly on what is there: a gap is left to the catching up. So is what
 * goes wrong here: the truth must not wait for its image. */
static int hook(void *arg, sqlite3 *db, const struct lode_coord_event *events, size_t n,
                struct lode_err *err)
{
    struct lode_projection *self = arg;
    struct lode_err why = {0};
    uint64_t applied = 0;
    int r = hook_applier(self, db, err);
    if (r < 0)
        return r;
    if (n == 0 || lode_applier_revision(self->hook, &applied) < 0 ||
        events[0].revision != applied + 1)
        return 0;
    r = exec(db, "SAVEPOINT catalog", err);
    if (r < 0)
        return r;
    r = lode_applier_events(self->hook, events, n, &why);
    if (r < 0) {
        lode_log_warn("the projection of %s is behind: %s", lode_coord_url(self->coord), why.text);
        r = exec(db, "ROLLBACK TO catalog", err);
    }
    return r < 0 ? r : exec(db, "RELEASE catalog", err);
}

/* ---- writing ---- */

typedef int write_fn(struct lode_projection *self, struct lode_applier *a, void *arg,
                     struct lode_err *err);

struct hosted_write {
    struct lode_projection *self;
    write_fn *fn;
    void *arg;
};

static int hosted_write(void *arg, sqlite3 *db, struct lode_err *err)
{
    struct hosted_write *w = arg;
    int r = lode_projection_make_tables(db, err);
    r = r < 0 ? r : hook_applier(w->self, db, err);
    return r < 0 ? r : w->fn(w->self, w->self->hook, w->arg, err);
}

static int own_write(struct lode_projection *self, write_fn *fn, void *arg, struct lode_err *err)
{
    sqlite3 *db = lode_applier_db(self->own);
    pthread_mutex_lock(&self->lock);
    int r = exec(db, "BEGIN IMMEDIATE", err);
    if (r == 0) {
        r = lode_projection_make_tables(db, err);
        r = r < 0 ? r : fn(self, self->own, arg, err);
        r = r < 0 ? r : exec(db, "COMMIT", err);
        if (r < 0)
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    pthread_mutex_unlock(&self->lock);
    return r;
}

/* Runs `fn` in a write transaction on tables that are there. */
static int write_tables(struct lode_projection *self, write_fn *fn, void *arg, struct lode_err *err)
{
    struct hosted_write w = {self, fn, arg};
    if (self->hosted)
        return lode_coord_sqlite_write(self->coord, hosted_write, &w, err);
    return own_write(self, fn, arg, err);
}

/* ---- building anew ---- */

static const char *const kinds[] = {LODE_KEY_MODELS, LODE_KEY_VERSIONS, LODE_KEY_JOURNALS};

static int put_each(void *arg, const struct lode_coord_kv *kv, struct lode_err *err)
{
    return lode_applier_put(arg, kv, err);
}

/* Inside the transaction the coord stands still. */
static int build_hosted(struct lode_projection *self, struct lode_applier *a, struct lode_err *err)
{
    uint64_t revision;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < LODE_ARRAY_LEN(kinds); i++)
        r = lode_coord_sqlite_each(lode_applier_db(a), kinds[i], put_each, a, err);
    r = r < 0 ? r : lode_coord_sqlite_revision(lode_applier_db(a), &revision, err);
    return r < 0 ? r : lode_applier_set_revision(a, revision, err);
}

static int build_kind(struct lode_projection *self, struct lode_applier *a, const char *kind,
                      struct lode_err *err)
{
    _cleanup_free_ char *after = NULL;
    for (bool more = true; more;) {
        _cleanup_kvs_ struct lode_coord_kvs page = {0};
        int r = lode_coord_range(self->coord, kind, after, PAGE, &page, err);
        for (size_t i = 0; r == 0 && i < page.n; i++)
            r = lode_applier_put(a, &page.items[i], err);
        if (r < 0)
            return r;
        more = page.more && page.n > 0;
        lode_free(after);
        after = more ? lode_strdup(page.items[page.n - 1].key) : NULL;
        if (more && !after)
            return lode_err_nomem(err, "the projection");
    }
    return 0;
}

/* What changes meanwhile is applied by the events that follow the revision read first. */
static int build_own(struct lode_projection *self, struct lode_applier *a, struct lode_err *err)
{
    uint64_t revision;
    int r = lode_coord_revision(self->coord, &revision, err);
    for (unsigned i = 0; r == 0 && i < LODE_ARRAY_LEN(kinds); i++)
        r = build_kind(self, a, kinds[i], err);
    return r < 0 ? r : lode_applier_set_revision(a, revision, err);
}

static int build(struct lode_projection *self, struct lode_applier *a, void *arg,
                 struct lode_err *err)
{
    lode_log_info("building the projection of %s", lode_coord_url(self->coord));
    int r = exec(lode_applier_db(a),
                 "DELETE FROM catalog_version; DELETE FROM catalog_tag; DELETE FROM catalog_metric;"
                 " DELETE FROM catalog_journal; UPDATE catalog_model SET record = NULL, modified = "
                 "0, latest = NULL;"
                 " UPDATE catalog_meta SET value = 0 WHERE key = 'revision'",
                 err);
    if (r < 0)
        return r;
    return self->hosted ? build_hosted(self, a, err) : build_own(self, a, err);
}

int lode_projection_rebuild(struct lode_projection *self, struct lode_err *err)
{
    return write_tables(self, build, NULL, err);
}

/* ---- catching up ---- */

struct batch {
    const struct lode_coord_events *events;
    uint64_t from; /* must be what the tables show */
};

static int apply_batch(struct lode_projection *self, struct lode_applier *a, void *arg,
                       struct lode_err *err)
{
    const struct batch *b = arg;
    uint64_t applied;
    int r = lode_projection_read_revision(lode_applier_db(a), &applied, err);
    if (r < 0 || applied >= b->events->revision)
        return r;
    if (applied < b->from)
        return lode_err_set(err, LODE_INTERNAL, "the projection fell back");
    r = lode_applier_events(a, b->events->items, b->events->n, err);
    return r < 0 ? r : lode_applier_set_revision(a, b->events->revision, err);
}

/* Applies the coord's changes from `applied` + 1 until `target`. COMPACTED when they are gone. */
static int follow(struct lode_projection *self, uint64_t applied, uint64_t target,
                  struct lode_err *err)
{
    struct lode_coord_watch *w = NULL;
    int r = lode_coord_watch(self->coord, "", applied + 1, &w, err);
    while (r == 0 && applied < target) {
        struct lode_coord_events events = {0};
        struct batch b = {&events, applied};
        r = lode_coord_watch_next(w, 1000, &events, err);
        if (r == 0 && events.revision > applied) {
            r = write_tables(self, apply_batch, &b, err);
            applied = events.revision;
        }
        lode_coord_events_release(&events);
    }
    if (w)
        lode_coord_watch_close(w);
    return r;
}

static int read_applied(struct lode_projection *self, sqlite3 *db, uint64_t *out,
                        struct lode_err *err)
{
    if (!self->own)
        return lode_projection_read_revision(db, out, err);
    pthread_mutex_lock(&self->lock);
    int r = lode_projection_read_revision(lode_applier_db(self->own), out, err);
    pthread_mutex_unlock(&self->lock);
    return r;
}

static int catch_up(struct lode_projection *self, sqlite3 *db, struct lode_err *err)
{
    uint64_t applied, target;
    pthread_mutex_lock(&self->catch_up);
    int r = read_applied(self, db, &applied, err);
    r = r < 0 ? r : lode_coord_revision(self->coord, &target, err);
    if (r == 0 && applied == 0)
        r = LODE_COMPACTED;
    else if (r == 0 && applied < target)
        r = follow(self, applied, target, err);
    if (r == LODE_COMPACTED)
        r = lode_projection_rebuild(self, err);
    pthread_mutex_unlock(&self->catch_up);
    return r;
}

/* ---- opening ---- */

static int open_database(const char *path, sqlite3 **out, struct lode_err *err)
{
    int r = lode_sqlite_vfs_register(err);
    if (r < 0)
        return r;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(path ? path : ":memory:", out, flags, path ? LODE_SQLITE_VFS : NULL);
    if (rc == SQLITE_OK)
        return exec(*out,
                    path ? "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA "
                           "synchronous = NORMAL"
                         : "PRAGMA journal_mode = OFF",
                    err);
    r = lode_sqlite_err(err, *out, WHAT);
    sqlite3_close(*out);
    *out = NULL;
    return r;
}

/* A place for an own database: a file only where other processes can use it as well. */
static char *own_path(const struct lode_coord *coord, const char *root_id)
{
    if (!(lode_coord_caps(coord) & LODE_COORD_SHARED))
        return NULL;
    _cleanup_free_ char *dir = lode_cache_dir("projection", true);
    return dir ? lode_asprintf("%s/%s.db", dir, root_id) : NULL;
}

static int open_own(struct lode_projection *self, const char *root_id, struct lode_err *err)
{
    sqlite3 *db = NULL;
    self->path = own_path(self->coord, root_id);
    int r = open_database(self->path, &db, err);
    r = r < 0 ? r : lode_sql_register(db, err);
    r = r < 0 ? r : lode_applier_new(db, &self->own, err);
    if (r < 0 && db)
        sqlite3_close(db);
    return r;
}

int lode_projection_open(struct lode_coord *coord, const char *root_id,
                         struct lode_projection **out, struct lode_err *err)
{
    struct lode_projection *self = lode_zalloc(sizeof *self);
    if (!self)
        return lode_err_nomem(err, "the projection");
    self->coord = coord;
    self->hosted = lode_coord_caps(coord) & LODE_COORD_LOCAL_FILE;
    pthread_mutex_init(&self->lock, NULL);
    pthread_mutex_init(&self->catch_up, NULL);
    int r = self->hosted ? lode_coord_sqlite_set_hook(coord, hook, self, err)
                         : open_own(self, root_id, err);
    if (r < 0) {
        lode_projection_close(self);
        return r;
    }
    *out = self;
    return 0;
}

static int forget_hook(void *arg, sqlite3 *db, struct lode_err *err)
{
    struct lode_projection *self = arg;
    lode_applier_free(self->hook);
    self->hook = NULL;
    return 0;
}

void lode_projection_close(struct lode_projection *self)
{
    if (!self)
        return;
    for (unsigned i = 0; i < self->n_readers; i++)
        sqlite3_close_v2(self->readers[i]);
    if (self->hosted && lode_coord_sqlite_set_hook(self->coord, NULL, NULL, NULL) == 0 &&
        self->hook && lode_coord_sqlite_write(self->coord, forget_hook, self, NULL) < 0)
        lode_applier_free(self->hook);
    if (self->own) {
        sqlite3 *db = lode_applier_db(self->own);
        lode_applier_free(self->own);
        sqlite3_close_v2(db);
    }
    pthread_mutex_destroy(&self->lock);
    pthread_mutex_destroy(&self->catch_up);
    lode_free(self->path);
    lode_free(self);
}

/* ---- queries ---- */

static sqlite3 *take_reader(struct lode_projection *self)
{
    pthread_mutex_lock(&self->lock);
    sqlite3 *db = self->n_readers ? self->readers[--self->n_readers] : NULL;
    pthread_mutex_unlock(&self->lock);
    return db;
}

static int new_reader(struct lode_projection *self, sqlite3 **out, struct lode_err *err)
{
    sqlite3 *db = NULL;
    int r = self->hosted ? lode_coord_sqlite_connect(self->coord, &db, err)
                         : open_database(self->path, &db, err);
    r = r < 0 ? r : lode_sql_register(db, err);
    r = r < 0 ? r : exec(db, "PRAGMA cache_size = -8192", err);
    if (r < 0 && db)
        sqlite3_close_v2(db);
    if (r == 0)
        *out = db;
    return r;
}

/* Begins a transaction; true in *current if the tables show all that the coord has. */
static int begin_once(struct lode_projection *self, sqlite3 *db, uint64_t *revision, bool *current,
                      struct lode_err *err)
{
    uint64_t newest;
    int r = self->hosted ? 0 : lode_coord_revision(self->coord, &newest, err);
    r = r < 0 ? r : exec(db, "BEGIN", err);
    if (r < 0)
        return r;
    r = lode_projection_read_revision(db, revision, err);
    if (r == 0 && self->hosted)
        r = lode_coord_sqlite_revision(db, &newest, err);
    *current = r == 0 && *revision > 0 && *revision >= newest;
    if (!*current)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

static int begin(struct lode_projection *self, sqlite3 *db, uint64_t *revision,
                 struct lode_err *err)
{
    bool current = false;
    for (unsigned i = 0; i < 16; i++) {
        int r = begin_once(self, db, revision, &current, err);
        if (r < 0 || current)
            return r;
        bool memory = self->own && !self->path;
        if (memory)
            pthread_mutex_unlock(&self->lock);
        r = catch_up(self, memory ? NULL : db, err);
        if (memory)
            pthread_mutex_lock(&self->lock);
        if (r < 0)
            return r;
    }
    return lode_err_set(err, LODE_UNAVAILABLE,
                        "the projection cannot keep up with the coord; try again");
}

int lode_projection_begin(struct lode_projection *self, sqlite3 **out, uint64_t *revision,
                          struct lode_err *err)
{
    sqlite3 *db;
    int r = 0;
    if (self->own && !self->path) {
        pthread_mutex_lock(&self->lock);
        db = lode_applier_db(self->own);
        r = begin(self, db, revision, err);
        if (r < 0)
            pthread_mutex_unlock(&self->lock);
    } else {
        db = take_reader(self);
        r = db ? 0 : new_reader(self, &db, err);
        if (r < 0)
            return r;
        r = begin(self, db, revision, err);
        if (r < 0)
            sqlite3_close_v2(db);
    }
    if (r == 0)
        *out = db;
    return r;
}

void lode_projection_done(struct lode_projection *self, sqlite3 *db)
{
    sqlite3_progress_handler(db, 0, NULL, NULL);
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (self->own && !self->path) {
        pthread_mutex_unlock(&self->lock);
        return;
    }
    pthread_mutex_lock(&self->lock);
    bool kept = self->n_readers < READERS_MAX;
    if (kept)
        self->readers[self->n_readers++] = db;
    pthread_mutex_unlock(&self->lock);
    if (!kept)
        sqlite3_close_v2(db);
}
