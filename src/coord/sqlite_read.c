/* Reading: see coord/sqlite_impl.h. A read takes a connection of the pool and sees the newest
 * commit: what another process has acknowledged before is in the WAL's index, which every new
 * snapshot is taken from. */
#include <string.h>
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "coord/sqlite_impl.h"

#define IDLE_MAX 32

int lode_sq_reader_take(struct lode_sq *self, struct lode_sq_conn **out, struct lode_err *err)
{
    pthread_mutex_lock(&self->pool_lock);
    struct lode_sq_conn *c = self->idle;
    if (c) {
        self->idle = c->next;
        self->n_idle--;
    }
    pthread_mutex_unlock(&self->pool_lock);
    if (!c) {
        int flags = self->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
        int r = lode_sq_conn_open(self->path, flags, SQ_READER, self->timeout_ms, &c, err);
        if (r < 0)
            return r;
    }
    *out = c;
    return 0;
}

void lode_sq_reader_give(struct lode_sq *self, struct lode_sq_conn *c, bool healthy)
{
    bool keep = false;
    if (healthy) {
        pthread_mutex_lock(&self->pool_lock);
        keep = self->n_idle < IDLE_MAX;
        if (keep) {
            c->next = self->idle;
            self->idle = c;
            self->n_idle++;
        }
        pthread_mutex_unlock(&self->pool_lock);
    }
    if (!keep)
        lode_sq_conn_close(c);
}

void lode_sq_readers_close(struct lode_sq *self)
{
    while (self->idle) {
        struct lode_sq_conn *c = self->idle;
        self->idle = c->next;
        lode_sq_conn_close(c);
    }
}

int lode_sq_kv_of(sqlite3_stmt *s, int at, const char *key, size_t key_len,
                  struct lode_coord_kv *out, struct lode_err *err)
{
    const void *value = sqlite3_column_blob(s, at);
    size_t len = (size_t)sqlite3_column_bytes(s, at);
    struct lode_coord_kv kv = {.created = (uint64_t)sqlite3_column_int64(s, at + 1),
                               .modified = (uint64_t)sqlite3_column_int64(s, at + 2),
                               .lease = (uint64_t)sqlite3_column_int64(s, at + 3)};
    if (len && !value)
        return lode_err_nomem(err, "a value of the coord");
    int r = lode_coord_kv_set(&kv, key, key_len, value ? value : "", len, err);
    if (r == 0)
        *out = kv;
    return r;
}

/* Only what a broken connection could cause costs it its place in the pool. */
static bool is_healthy(int r)
{
    return r >= 0 || r == LODE_NOT_FOUND || r == LODE_COMPACTED;
}

int lode_sq_revision(struct lode_coord *coord, uint64_t *out, struct lode_err *err)
{
    struct lode_sq *self = lode_sq_of(coord);
    struct lode_sq_conn *c;
    uint64_t revision, compacted;
    int r = lode_sq_reader_take(self, &c, err);
    if (r < 0)
        return r;
    r = lode_sq_state(c, &revision, &compacted, err);
    lode_sq_reader_give(self, c, is_healthy(r));
    if (r == 0)
        *out = revision;
    return r;
}

static int get_with(struct lode_sq_conn *c, const char *key, struct lode_coord_kv *out,
                    struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_GET, err);
    if (!s)
        return lode_sqlite_err(err, c->db, "cannot read a key");
    int r = lode_sq_bind_text(s, 1, key, err);
    if (LODE_PLANTED(coord_stale_read) && sqlite3_get_autocommit(c->db))
        r = lode_sq_run(c, SQ_BEGIN, err); /* a snapshot that nobody ends */
    if (r == 0)
        r = lode_sq_step(s, err);
    if (r == 0)
        r = lode_err_set(err, LODE_NOT_FOUND, "there is no key %s", lode_q(key));
    else if (r == 1)
        r = lode_sq_kv_of(s, 0, key, strlen(key), out, err);
    sqlite3_reset(s);
    return r;
}

int lode_sq_get(struct lode_coord *coord, const char *key, struct lode_coord_kv *out,
                struct lode_err *err)
{
    struct lode_sq *self = lode_sq_of(coord);
    struct lode_sq_conn *c;
    int r = lode_sq_reader_take(self, &c, err);
    if (r < 0)
        return r;
    r = get_with(c, key, out, err);
    lode_sq_reader_give(self, c, is_healthy(r));
    return r;
}

/* ---- ranges ---- */

struct range {
    const char *prefix, *after;
    size_t limit;
};

/* 1 when one more key was taken, 0 at the end. */
static int take_row(sqlite3_stmt *s, const struct range *q, struct lode_coord_kvs *out,
                    size_t *bytes, struct lode_err *err)
{
    const char *key = (const char *)sqlite3_column_text(s, 0);
    size_t n = (size_t)sqlite3_column_bytes(s, 0);
    if (!key)
        return lode_err_nomem(err, "a range of keys");
    if (strncmp(key, q->prefix, strlen(q->prefix)) != 0)
        return 0;
    if (q->after && strcmp(key, q->after) <= 0)
        return 1;
    if (out->n == q->limit || *bytes > LODE_COORD_PAGE_BYTES) {
        out->more = true;
        return 0;
    }
    int r = lode_sq_kv_of(s, 1, key, n, &out->items[out->n], err);
    if (r < 0)
        return r;
    *bytes += n + out->items[out->n++].len;
    return 1;
}

static int read_rows(struct lode_sq_conn *c, const struct range *q, struct lode_coord_kvs *out,
                     struct lode_err *err)
{
    size_t bytes = 0;
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_RANGE, err);
    if (!s)
        return lode_sqlite_err(err, c->db, "cannot read a range of keys");
    int r = lode_sq_bind_text(
        s, 1, q->after && strcmp(q->after, q->prefix) > 0 ? q->after : q->prefix, err);
    for (bool on = r == 0; on; on = r == 1) {
        r = lode_sq_step(s, err);
        if (r == 1)
            r = take_row(s, q, out, &bytes, err);
    }
    sqlite3_reset(s);
    return r;
}

static int range_with(struct lode_sq_conn *c, const struct range *q, struct lode_coord_kvs *out,
                      struct lode_err *err)
{
    uint64_t compacted;
    out->items = lode_calloc(q->limit, sizeof *out->items);
    if (!out->items)
        return lode_err_nomem(err, "a range of keys");
    int r = lode_sq_run(c, SQ_BEGIN, err);
    if (r < 0)
        return r;
    r = lode_sq_state(c, &out->revision, &compacted, err);
    if (r == 0)
        r = read_rows(c, q, out, err);
    int ended = lode_sq_run(c, SQ_COMMIT, r < 0 ? NULL : err);
    return r < 0 ? r : ended;
}

int lode_sq_range(struct lode_coord *coord, const char *prefix, const char *after, size_t limit,
                  struct lode_coord_kvs *out, struct lode_err *err)
{
    struct lode_sq *self = lode_sq_of(coord);
    struct range q = {.prefix = prefix, .after = after, .limit = limit};
    struct lode_coord_kvs found = {0};
    struct lode_sq_conn *c;
    int r = lode_sq_reader_take(self, &c, err);
    if (r < 0)
        return r;
    r = range_with(c, &q, &found, err);
    lode_sq_reader_give(self, c, is_healthy(r));
    if (r < 0)
        lode_coord_kvs_release(&found);
    else
        *out = found;
    return r;
}
