/* A store outside the tree: `blobs:/path/to/file.db`, all objects in one SQLite file.
 *
 * It shows what a back end is: a table of functions (include/lode/store_ops.h has their
 * contracts), an instance whose first member is lode_store_base, and one exported function. Only
 * public headers are used. It offers what SQLite makes easy: conditional names (a primary key)
 * and unfinished writes (a table of parts); no directories, so no LODE_STORE_LIST and no
 * LODE_STORE_RENAME_DIR, and Lode falls back to protocols that do without.
 *
 * One connection, one lock: a store that is meant to be fast keeps many reads in flight instead.
 */
#include <lode/store_ops.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
#define PART_NUMBERS (1u << 20)
#define OBJECT_MAX (1ull << 30) /* SQLite's own bound for a blob */

struct blobs {
    struct lode_store_base base;
    sqlite3 *db;
    pthread_mutex_t lock;
};

struct blobs_read {
    const struct lode_store_ops *ops;
    struct lode_err first;
};

struct blobs_write {
    const struct lode_store_ops *ops;
    struct blobs *store;
    sqlite3_int64 id;
    char *key;
    size_t part_size;
};

static const struct lode_store_ops ops;

static const char schema[] =
    "PRAGMA synchronous = FULL;"
    "CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, data BLOB NOT NULL, made INTEGER "
    "NOT NULL);"
    "CREATE TABLE IF NOT EXISTS writes (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL,"
    "  part_size INTEGER NOT NULL, started INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS parts (id INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT "
    "NULL,"
    "  PRIMARY KEY (id, number));";

static struct blobs *blobs_of(struct lode_store *self)
{
    return (struct blobs *)(void *)self;
}

/* ---- SQLite, shortly ---- */

static int db_failed(struct blobs *self, const char *what, struct lode_err *err)
{
    int code = sqlite3_errcode(self->db);
    int told = code == SQLITE_FULL   ? LODE_NO_SPACE
               : code == SQLITE_BUSY ? LODE_UNAVAILABLE
                                     : LODE_IO;
    return lode_plugin_err(err, told, "cannot %s in %s: %s", what, self->base.url,
                           sqlite3_errmsg(self->db));
}

/* Runs a statement with up to four bound values, by a letter each: i integer, t text. Answers
 * what sqlite3_step did; the statement is the caller's when there is a row. */
static int run(struct blobs *self, sqlite3_stmt **out, const char *sql, const char *kinds, ...)
{
    sqlite3_stmt *statement = NULL;
    va_list args;
    if (sqlite3_prepare_v2(self->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return SQLITE_ERROR;
    va_start(args, kinds);
    for (int i = 0; kinds[i]; i++) {
        if (kinds[i] == 't')
            sqlite3_bind_text(statement, i + 1, va_arg(args, const char *), -1, SQLITE_STATIC);
        else
            sqlite3_bind_int64(statement, i + 1, va_arg(args, sqlite3_int64));
    }
    va_end(args);
    int r = sqlite3_step(statement);
    if (r == SQLITE_ROW && out)
        *out = statement;
    else
        sqlite3_finalize(statement);
    return r;
}

static char *copy_text(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = lode_store_alloc(n);
    if (copy)
        memcpy(copy, s, n);
    return copy;
}

static int unsupported(struct lode_store *self, const char *what, struct lode_err *err)
{
    return lode_plugin_err(err, LODE_UNSUPPORTED, "the store %s cannot %s",
                           blobs_of(self)->base.url, what);
}

static int may_write(struct blobs *self, const char *key, struct lode_err *err)
{
    if (!(self->base.caps & LODE_STORE_READ_ONLY))
        return 0;
    return lode_plugin_err(err, LODE_READ_ONLY, "cannot change %s: %s is opened read-only", key,
                           self->base.url);
}

/* ---- looking and reading ---- */

static int blobs_stat(struct lode_store *store, const char *key, struct lode_store_stat *out,
                      struct lode_err *err)
{
    struct blobs *self = blobs_of(store);
    sqlite3_stmt *row;
    pthread_mutex_lock(&self->lock);
    int r =
        run(self, &row, "SELECT length(data), made, rowid FROM objects WHERE key = ?", "t", key);
    int code = r == SQLITE_ROW    ? 0
               : r == SQLITE_DONE ? LODE_NOT_FOUND
                                  : db_failed(self, "look", err);
    if (r == SQLITE_ROW) {
        *out = (struct lode_store_stat){.kind = LODE_STORE_OBJECT,
                                        .size = (uint64_t)sqlite3_column_int64(row, 0)};
        out->mtime_ns = out->ctime_ns = sqlite3_column_int64(row, 1);
        out->inode = (uint64_t)sqlite3_column_int64(row, 2);
        sqlite3_finalize(row);
    }
    pthread_mutex_unlock(&self->lock);
    return code == LODE_NOT_FOUND
               ? lode_plugin_err(err, code, "%s is not in %s", key, self->base.url)
               : code;
}

/* With the lock held. */
static int read_range(struct blobs *self, const struct lode_store_range *range,
                      struct lode_err *err)
{
    sqlite3_stmt *row;
    sqlite3_blob *blob;
    int r = run(self, &row, "SELECT rowid FROM objects WHERE key = ?", "t", range->key);
    if (r == SQLITE_DONE)
        return lode_plugin_err(err, LODE_NOT_FOUND, "%s is not in %s", range->key, self->base.url);
    if (r != SQLITE_ROW)
        return db_failed(self, "read", err);
    sqlite3_int64 id = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    if (sqlite3_blob_open(self->db, "main", "objects", "data", id, 0, &blob) != SQLITE_OK)
        return db_failed(self, "read", err);
    uint64_t size = (uint64_t)sqlite3_blob_bytes(blob);
    int code = 0;
    if (range->offset > size || range->len > size - range->offset)
        code = lode_plugin_err(err, LODE_IO, "cannot read %zu bytes at %llu of %s: it has %llu",
                               range->len, (unsigned long long)range->offset, range->key,
                               (unsigned long long)size);
    else if (sqlite3_blob_read(blob, range->into, (int)range->len, (int)range->offset) != SQLITE_OK)
        code = db_failed(self, "read", err);
    sqlite3_blob_close(blob);
    return code;
}

/* All is done before this returns, which the contract allows. The lock is not held while the
 * caller is told. */
static int blobs_read(struct lode_store *store, const struct lode_store_range *ranges, size_t n,
                      lode_store_read_done *done, void *arg, struct lode_store_read **out,
                      struct lode_err *err)
{
    struct blobs *self = blobs_of(store);
    struct blobs_read *read = lode_store_alloc(sizeof *read);
    if (!read)
        return lode_plugin_err(err, LODE_NO_MEMORY, "out of memory for a read");
    *read = (struct blobs_read){.ops = &ops};
    for (size_t i = 0; i < n; i++) {
        struct lode_err failure = {0};
        pthread_mutex_lock(&self->lock);
        int r = read_range(self, &ranges[i], &failure);
        pthread_mutex_unlock(&self->lock);
        if (r < 0 && read->first.code == 0)
            read->first = failure;
        done(arg, &ranges[i], 0, ranges[i].len, r < 0 ? &failure : NULL);
    }
    *out = (struct lode_store_read *)(void *)read;
    return 0;
}

static int blobs_read_wait(struct lode_store_read *handle, struct lode_err *err)
{
    struct blobs_read *read = (struct blobs_read *)(void *)handle;
    int r = read->first.code;
    if (r < 0 && err)
        *err = read->first;
    lode_store_free(read);
    return r;
}

static void blobs_read_cancel(struct lode_store_read *handle)
{
    lode_store_free(handle);
}

/* ---- writing ---- */

static struct blobs_write *write_of(struct lode_store_write *write)
{
    return (struct blobs_write *)(void *)write;
}

static void write_free(struct blobs_write *write)
{
    lode_store_free(write->key);
    lode_store_free(write);
}

/* With the lock held. */
static int find_write(struct blobs_write *write, const char *resume, struct lode_err *err)
{
    sqlite3_stmt *row;
    char *end;
    write->id = strtoll(resume, &end, 10);
    int r = *end ? SQLITE_DONE
                 : run(write->store, &row, "SELECT part_size FROM writes WHERE id = ? AND key = ?",
                       "it", write->id, write->key);
    if (r != SQLITE_ROW)
        return lode_plugin_err(err, LODE_NOT_FOUND, "no unfinished write %s of %s", resume,
                               write->key);
    size_t part_size = (size_t)sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    if (part_size != write->part_size)
        return lode_plugin_err(err, LODE_INVALID,
                               "the unfinished write of %s has parts of %zu bytes", write->key,
                               part_size);
    return 0;
}

/* With the lock held. */
static int new_write(struct blobs_write *write, struct lode_err *err)
{
    struct blobs *self = write->store;
    sqlite3_int64 now = (sqlite3_int64)time(NULL) * 1000,
                  part_size = (sqlite3_int64)write->part_size;
    if (run(self, NULL, "INSERT INTO writes (key, part_size, started) VALUES (?, ?, ?)", "tii",
            write->key, part_size, now) != SQLITE_DONE)
        return db_failed(self, "begin a write", err);
    write->id = sqlite3_last_insert_rowid(self->db);
    return 0;
}

static int blobs_write_begin(struct lode_store *store, const char *key,
                             const struct lode_store_write_opts *opts,
                             struct lode_store_write **out, struct lode_err *err)
{
    struct blobs *self = blobs_of(store);
    int r = may_write(self, key, err);
    if (r < 0)
        return r;
    if (opts->size != UINT64_MAX && opts->size > OBJECT_MAX)
        return lode_plugin_err(err, LODE_LIMIT, "%s has %llu bytes; %s takes at most %llu", key,
                               (unsigned long long)opts->size, self->base.url, OBJECT_MAX);
    struct blobs_write *write = lode_store_alloc(sizeof *write);
    char *own = copy_text(key);
    if (!write || !own) {
        lode_store_free(write);
        lode_store_free(own);
        return lode_plugin_err(err, LODE_NO_MEMORY, "out of memory for a write");
    }
    *write =
        (struct blobs_write){.ops = &ops, .store = self, .key = own, .part_size = opts->part_size};
    pthread_mutex_lock(&self->lock);
    r = opts->resume ? find_write(write, opts->resume, err) : new_write(write, err);
    pthread_mutex_unlock(&self->lock);
    if (r < 0) {
        write_free(write);
        return r;
    }
    *out = (struct lode_store_write *)(void *)write;
    return 0;
}

/* With the lock held. All parts in order; n is their number. */
static int list_parts(struct blobs_write *write, struct lode_store_part **parts, size_t *n,
                      struct lode_err *err)
{
    sqlite3_stmt *row;
    sqlite3_int64 count = 0;
    if (run(write->store, &row, "SELECT count(*) FROM parts WHERE id = ?", "i", write->id) ==
        SQLITE_ROW) {
        count = sqlite3_column_int64(row, 0);
        sqlite3_finalize(row);
    }
    struct lode_store_part *list = lode_store_alloc(((size_t)count + 1) * sizeof *list);
    if (!list)
        return lode_plugin_err(err, LODE_NO_MEMORY, "out of memory for a list");
    *n = 0;
    int r =
        run(write->store, &row,
            "SELECT number, length(data) FROM parts WHERE id = ? ORDER BY number", "i", write->id);
    bool some = r == SQLITE_ROW;
    for (; r == SQLITE_ROW && *n < (size_t)count; r = sqlite3_step(row))
        list[(*n)++] = (struct lode_store_part){(uint32_t)sqlite3_column_int64(row, 0),
                                                (size_t)sqlite3_column_int64(row, 1)};
    if (some)
        sqlite3_finalize(row);
    *parts = list;
    return 0;
}

static int blobs_write_parts(struct lode_store_write *handle, struct lode_store_part **parts,
                             size_t *n, struct lode_err *err)
{
    struct blobs_write *write = write_of(handle);
    pthread_mutex_lock(&write->store->lock);
    int r = list_parts(write, parts, n, err);
    pthread_mutex_unlock(&write->store->lock);
    return r;
}

static int blobs_write_part(struct lode_store_write *handle, uint32_t number, const void *data,
                            size_t len, struct lode_err *err)
{
    struct blobs_write *write = write_of(handle);
    struct blobs *self = write->store;
    sqlite3_stmt *statement = NULL;
    if (len > write->part_size || number >= PART_NUMBERS)
        return lode_plugin_err(err, LODE_INVALID, "part %u of %s with %zu bytes does not fit",
                               number, write->key, len);
    if (len == 0)
        return 0;
    pthread_mutex_lock(&self->lock);
    int r = sqlite3_prepare_v2(self->db, "INSERT OR REPLACE INTO parts VALUES (?, ?, ?)", -1,
                               &statement, NULL);
    if (r == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, write->id);
        sqlite3_bind_int64(statement, 2, number);
        sqlite3_bind_blob64(statement, 3, data, len, SQLITE_STATIC);
        r = sqlite3_step(statement);
    }
    int code = r == SQLITE_DONE ? 0 : db_failed(self, "write a part", err);
    sqlite3_finalize(statement);
    pthread_mutex_unlock(&self->lock);
    return code;
}

static int check_parts(const struct blobs_write *write, const struct lode_store_part *parts,
                       size_t n, uint64_t size, struct lode_err *err)
{
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t want = size - at < write->part_size ? size - at : write->part_size;
        if (parts[i].number != i || parts[i].len != want || want == 0)
            return lode_plugin_err(err, LODE_INVALID,
                                   "cannot complete %s: part %zu is missing or does not fit",
                                   write->key, i);
        at += want;
    }
    return at == size
               ? 0
               : lode_plugin_err(err, LODE_INVALID,
                                 "cannot complete %s: %llu of %llu bytes are there", write->key,
                                 (unsigned long long)at, (unsigned long long)size);
}

/* Joins the parts inside the database: a zero blob of the size, then each part at its place. */
static int join_parts(struct blobs_write *write, sqlite3_int64 rowid, size_t n,
                      struct lode_err *err)
{
    struct blobs *self = write->store;
    sqlite3_blob *to;
    sqlite3_stmt *row = NULL;
    if (sqlite3_blob_open(self->db, "main", "objects", "data", rowid, 1, &to) != SQLITE_OK)
        return db_failed(self, "complete", err);
    int r = run(self, &row, "SELECT data FROM parts WHERE id = ? ORDER BY number", "i", write->id);
    int code = 0;
    for (size_t i = 0; code == 0 && i < n; i++, r = sqlite3_step(row)) {
        if (r != SQLITE_ROW ||
            sqlite3_blob_write(to, sqlite3_column_blob(row, 0), sqlite3_column_bytes(row, 0),
                               (int)(i * write->part_size)) != SQLITE_OK)
            code = db_failed(self, "complete", err);
    }
    sqlite3_finalize(row);
    sqlite3_blob_close(to);
    return code;
}

/* Inside one transaction: the name, which refuses a taken one, then the bytes. */
static int name_object(struct blobs_write *write, uint64_t size, size_t n, bool if_absent,
                       struct lode_err *err)
{
    struct blobs *self = write->store;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    sqlite3_int64 made = now.tv_sec * 1000000000ll + now.tv_nsec;
    int r = run(self, NULL,
                if_absent ? "INSERT INTO objects VALUES (?, zeroblob(?), ?)"
                          : "INSERT OR REPLACE INTO objects VALUES (?, zeroblob(?), ?)",
                "tii", write->key, (sqlite3_int64)size, made);
    if (r == SQLITE_CONSTRAINT)
        return lode_plugin_err(err, LODE_EXISTS, "%s is already there in %s", write->key,
                               self->base.url);
    if (r != SQLITE_DONE)
        return db_failed(self, "complete", err);
    return n ? join_parts(write, sqlite3_last_insert_rowid(self->db), n, err) : 0;
}

/* With the lock held. */
static void forget_write(struct blobs *self, sqlite3_int64 id)
{
    run(self, NULL, "DELETE FROM parts WHERE id = ?", "i", id);
    run(self, NULL, "DELETE FROM writes WHERE id = ?", "i", id);
}

static int complete_locked(struct blobs_write *write, uint64_t size, bool if_absent,
                           struct lode_err *err)
{
    struct blobs *self = write->store;
    struct lode_store_part *parts = NULL;
    size_t n = 0;
    int r = list_parts(write, &parts, &n, err);
    if (r == 0)
        r = check_parts(write, parts, n, size, err);
    lode_store_free(parts);
    if (r < 0) {
        forget_write(self, write->id);
        return r;
    }
    if (run(self, NULL, "BEGIN IMMEDIATE", "") != SQLITE_DONE)
        return db_failed(self, "complete", err);
    r = name_object(write, size, n, if_absent, err);
    if (r == 0)
        forget_write(self, write->id);
    if (r == 0 && run(self, NULL, "COMMIT", "") != SQLITE_DONE)
        r = db_failed(self, "complete", err);
    if (r < 0) {
        run(self, NULL, "ROLLBACK", "");
        forget_write(self, write->id);
    }
    return r;
}

static int blobs_write_complete(struct lode_store_write *handle, uint64_t size, bool if_absent,
                                struct lode_err *err)
{
    struct blobs_write *write = write_of(handle);
    pthread_mutex_lock(&write->store->lock);
    int r = complete_locked(write, size, if_absent, err);
    pthread_mutex_unlock(&write->store->lock);
    write_free(write);
    return r;
}

static void blobs_write_abort(struct lode_store_write *handle, bool keep)
{
    struct blobs_write *write = write_of(handle);
    pthread_mutex_lock(&write->store->lock);
    if (!keep)
        forget_write(write->store, write->id);
    pthread_mutex_unlock(&write->store->lock);
    write_free(write);
}

/* ---- unfinished ---- */

static bool beneath(const char *key, const char *dir)
{
    size_t n = strlen(dir);
    return n == 0 || (strncmp(key, dir, n) == 0 && (key[n] == 0 || key[n] == '/'));
}

static int add_item(struct lode_store_unfinished_list *list, sqlite3_stmt *row)
{
    struct lode_store_unfinished *more = lode_store_alloc((list->n + 1) * sizeof *more);
    char id[32];
    if (!more)
        return LODE_NO_MEMORY;
    if (list->n > 0)
        memcpy(more, list->items, list->n * sizeof *more);
    lode_store_free(list->items);
    list->items = more;
    snprintf(id, sizeof id, "%lld", (long long)sqlite3_column_int64(row, 0));
    more[list->n++] =
        (struct lode_store_unfinished){copy_text((const char *)sqlite3_column_text(row, 1)),
                                       copy_text(id), sqlite3_column_int64(row, 2)};
    return more[list->n - 1].key && more[list->n - 1].id ? 0 : LODE_NO_MEMORY;
}

static int blobs_unfinished(struct lode_store *store, const char *dir,
                            struct lode_store_unfinished_list *out, struct lode_err *err)
{
    struct blobs *self = blobs_of(store);
    struct lode_store_unfinished_list list = {0};
    sqlite3_stmt *row;
    int code = 0;
    pthread_mutex_lock(&self->lock);
    int r = run(self, &row, "SELECT id, key, started FROM writes ORDER BY id", "");
    bool some = r == SQLITE_ROW;
    for (; code == 0 && r == SQLITE_ROW; r = sqlite3_step(row)) {
        if (beneath((const char *)sqlite3_column_text(row, 1), dir))
            code = add_item(&list, row);
    }
    if (some)
        sqlite3_finalize(row);
    pthread_mutex_unlock(&self->lock);
    if (code < 0) {
        lode_store_unfinished_release(&list);
        return lode_plugin_err(err, code, "out of memory for a list");
    }
    *out = list;
    return 0;
}

static int blobs_discard(struct lode_store *store, const char *key, const char *id,
                         struct lode_err *err)
{
    struct blobs *self = blobs_of(store);
    struct blobs_write probe = {.store = self, .key = (char *)(uintptr_t)key};
    char *end;
    int r = may_write(self, key, err);
    if (r < 0)
        return r;
    probe.id = strtoll(id, &end, 10);
    pthread_mutex_lock(&self->lock);
    sqlite3_stmt *row;
    bool there = !*end && run(self, &row, "SELECT 1 FROM writes WHERE id = ? AND key = ?", "it",
                              probe.id, key) == SQLITE_ROW;
    if (there) {
        sqlite3_finalize(row);
        forget_write(self, probe.id);
    }
    pthread_mutex_unlock(&self->lock);
    return there ? 0
                 : lode_plugin_err(err, LODE_NOT_FOUND, "no unfinished write %s of %s", id, key);
}

/* ---- what it cannot ---- */

static int blobs_open_local(struct lode_store *self, const char *key, int *fd, struct lode_err *err)
{
    return unsupported(self, "open a local file", err);
}

static int blobs_list(struct lode_store *self, const char *dir, const char *after, size_t limit,
                      struct lode_store_page *out, struct lode_err *err)
{
    return unsupported(self, "list", err);
}

static int blobs_remove(struct lode_store *self, const char *key, struct lode_err *err)
{
    return unsupported(self, "remove", err);
}

static int blobs_rename_dir(struct lode_store *self, const char *from, const char *to,
                            struct lode_err *err)
{
    return unsupported(self, "rename", err);
}

static int blobs_copy(struct lode_store *self, const char *from, const char *to, bool if_absent,
                      struct lode_err *err)
{
    return unsupported(self, "copy", err);
}

static int blobs_placement(struct lode_store *self, const char *key,
                           struct lode_store_placement *out, struct lode_err *err)
{
    return unsupported(self, "say where bytes lie", err);
}

static int blobs_space(struct lode_store *self, struct lode_store_space *out, struct lode_err *err)
{
    return unsupported(self, "say how much space is left", err);
}

/* ---- open, close ---- */

static void blobs_close(struct lode_store *store)
{
    struct blobs *self = blobs_of(store);
    sqlite3_close(self->db);
    pthread_mutex_destroy(&self->lock);
    lode_store_free(self->base.url);
    lode_store_free(self);
}

static int blobs_open(const struct lode_store_config *config, struct lode_store **out,
                      struct lode_err *err)
{
    const char *path = config->url + strlen("blobs:");
    int flags = config->read_only
                    ? SQLITE_OPEN_READONLY
                    : SQLITE_OPEN_READWRITE | (config->create ? SQLITE_OPEN_CREATE : 0);
    struct blobs *self = lode_store_alloc(sizeof *self);
    char *url = copy_text(config->url);
    if (!self || !url) {
        lode_store_free(self);
        lode_store_free(url);
        return lode_plugin_err(err, LODE_NO_MEMORY, "out of memory for a store");
    }
    *self = (struct blobs){.base = {&ops, LODE_STORE_IF_ABSENT | LODE_STORE_RESUME, url}};
    pthread_mutex_init(&self->lock, NULL);
    if (config->read_only)
        self->base.caps |= LODE_STORE_READ_ONLY;
    int r = sqlite3_open_v2(path, &self->db, flags, NULL);
    sqlite3_busy_timeout(self->db, 5000);
    if (r == SQLITE_OK && !config->read_only)
        r = sqlite3_exec(self->db, schema, NULL, NULL, NULL);
    if (r != SQLITE_OK) {
        lode_plugin_err(err, r == SQLITE_CANTOPEN ? LODE_NOT_FOUND : LODE_IO, "cannot open %s: %s",
                        config->url, sqlite3_errmsg(self->db));
        int code = r == SQLITE_CANTOPEN ? LODE_NOT_FOUND : LODE_IO;
        blobs_close((struct lode_store *)(void *)self);
        return code;
    }
    *out = (struct lode_store *)(void *)self;
    return 0;
}

static const struct lode_store_ops ops = {
    .abi = LODE_STORE_ABI,
    .scheme = "blobs",
    .open = blobs_open,
    .close = blobs_close,
    .stat = blobs_stat,
    .read = blobs_read,
    .read_wait = blobs_read_wait,
    .read_cancel = blobs_read_cancel,
    .write_begin = blobs_write_begin,
    .write_parts = blobs_write_parts,
    .write_part = blobs_write_part,
    .write_complete = blobs_write_complete,
    .write_abort = blobs_write_abort,
    .unfinished = blobs_unfinished,
    .discard = blobs_discard,
    .open_local = blobs_open_local,
    .list = blobs_list,
    .remove = blobs_remove,
    .rename_dir = blobs_rename_dir,
    .copy = blobs_copy,
    .placement = blobs_placement,
    .space = blobs_space,
};

/* What Lode looks for. Another ABI than this was built for is refused. */
EXPORT const struct lode_store_ops *const *lode_plugin_store(uint32_t abi);
const struct lode_store_ops *const *lode_plugin_store(uint32_t abi)
{
    static const struct lode_store_ops *const table[] = {&ops, NULL};
    return abi == LODE_STORE_ABI ? table : NULL;
}
