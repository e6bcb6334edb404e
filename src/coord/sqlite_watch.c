/* Watches: see coord/sqlite_impl.h.
 *
 * One poller thread a handle learns that something was committed: from the news that every
 * committer announces to all processes, and all the same by asking PRAGMA data_version (0.7 us)
 * forty times a second, for a committer may be killed between its commit and its announcement. It
 * wakes the watches, and each reads the log from where it stands: nothing is queued, so nothing can
 * be lost or grow. The poller also has leases ended that nobody else ends.
 */
#include <string.h>
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/plant.h"
#include "coord/sqlite_impl.h"

#define NAP_MS 25        /* with watches open */
#define LONG_NAP_MS 1000 /* without */

struct sq_watch {
    const struct lode_coord_ops *ops;
    struct lode_sq *coord;
    char *prefix;  /* owned */
    uint64_t next; /* the revision to tell next; of the one thread in next() */
    bool woken;    /* under watch_lock */
};

/* ---- the poller ---- */

void lode_sq_publish(struct lode_sq *self, uint64_t revision)
{
    pthread_mutex_lock(&self->watch_lock);
    if (revision > self->seen) {
        self->seen = revision;
        pthread_cond_broadcast(&self->changed);
    }
    pthread_mutex_unlock(&self->watch_lock);
}

struct poll {
    struct lode_sq_conn *c;
    int64_t data_version;
    int64_t next_end_ms; /* of a lease, CLOCK_BOOTTIME */
};

/* Looks for news; a failing connection is replaced at the next round. */
static int poll_once(struct lode_sq *self, struct poll *p)
{
    int64_t version;
    uint64_t revision, compacted;
    int r = p->c ? 0 : lode_sq_reader_take(self, &p->c, NULL);
    if (r < 0)
        return r;
    r = lode_sq_number(p->c, SQ_DATA_VERSION, 0, &version, NULL);
    if (r == 0 && version == p->data_version)
        return 0;
    if (r == 0)
        r = lode_sq_state(p->c, &revision, &compacted, NULL);
    if (r == 0)
        r = lode_sq_next_end(self, p->c, &p->next_end_ms, NULL);
    if (r < 0) {
        lode_sq_reader_give(self, lode_steal(p->c), false);
        p->data_version = -1;
        return r;
    }
    p->data_version = version;
    lode_sq_publish(self, revision);
    return 0;
}

/* The head of every group ends leases: an empty job is enough. */
static int do_nothing(struct lode_sq *self, struct lode_sq_conn *c, void *arg, struct lode_err *err)
{
    return 0;
}

static void end_due_leases(struct lode_sq *self, struct poll *p)
{
    if (p->next_end_ms > lode_boot_ms() || self->read_only)
        return;
    int r lode_unused =
        lode_sq_submit(self, do_nothing, NULL, NULL); /* not now: then at the next round */
    p->data_version = -1; /* our own commit too is news to this connection, but be sure */
}

static int64_t nap_ms(const struct poll *p, bool watched)
{
    int64_t nap = watched ? NAP_MS : LONG_NAP_MS;
    if (p->next_end_ms == INT64_MAX)
        return nap;
    return lode_min(nap, lode_max(p->next_end_ms - lode_boot_ms(), (int64_t)5));
}

static void *poller(void *arg)
{
    struct lode_sq *self = arg;
    struct poll p = {.data_version = -1, .next_end_ms = INT64_MAX};
    struct lode_turn *turn = NULL;
    int r lode_unused =
        self->read_only ? 0 : lode_sq_turn(self, &turn, NULL); /* without it: by looking alone */
    pthread_mutex_lock(&self->watch_lock);
    while (!self->stop) {
        bool watched = self->n_watches > 0;
        pthread_mutex_unlock(&self->watch_lock);
        uint32_t news = turn ? lode_turn_news(turn) : 0;
        bool well = poll_once(self, &p) == 0;
        if (well)
            end_due_leases(self, &p);
        if (watched && turn && well)
            lode_turn_wait_news(turn, news, nap_ms(&p, true));
        pthread_mutex_lock(&self->watch_lock);
        if (!self->stop && !(watched && turn && well))
            lode_coord_cond_wait(&self->changed, &self->watch_lock, nap_ms(&p, watched));
    }
    pthread_mutex_unlock(&self->watch_lock);
    if (p.c)
        lode_sq_reader_give(self, p.c, true);
    return NULL;
}

int lode_sq_poller_start(struct lode_sq *self, struct lode_err *err)
{
    int r = 0;
    pthread_mutex_lock(&self->watch_lock);
    if (!self->polling) {
        int made = pthread_create(&self->poller, NULL, poller, self);
        self->polling = made == 0;
        r = made
                ? lode_err_num(err, made, "cannot start the thread that follows the root's changes")
                : 0;
    }
    pthread_cond_broadcast(&self->changed); /* a new lease, a new watch: nap anew */
    pthread_mutex_unlock(&self->watch_lock);
    return r;
}

void lode_sq_poller_stop(struct lode_sq *self)
{
    pthread_mutex_lock(&self->watch_lock);
    bool polling = self->polling;
    self->stop = true;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->watch_lock);
    if (!polling)
        return;
    struct lode_turn *turn = NULL;
    int r = self->read_only ? LODE_READ_ONLY : lode_sq_turn(self, &turn, NULL);
    if (r == 0)
        lode_turn_announce(turn); /* it may sleep there; to others it is a false alarm */
    pthread_join(self->poller, NULL);
}

/* ---- reading the log ---- */

static bool starts_with(const char *key, const char *prefix)
{
    return strncmp(key, prefix, strlen(prefix)) == 0;
}

/* One row of the log. 1: go on, 0: the page is full. */
static int take_change(const struct sq_watch *w, sqlite3_stmt *s,
                       struct lode_coord_event_list *list, uint64_t *told, struct lode_err *err)
{
    uint64_t id = (uint64_t)sqlite3_column_int64(s, 0), revision = id >> LODE_SQ_LOG_SHIFT;
    const char *key = (const char *)sqlite3_column_text(s, 2);
    size_t key_len = (size_t)sqlite3_column_bytes(s, 2);
    if (!key)
        return lode_err_nomem(err, "events");
    if (!starts_with(key, w->prefix))
        return 1;
    bool starts = list->n == 0 || list->items[list->n - 1].revision != revision;
    if (starts && (list->n >= LODE_COORD_PAGE_MAX || list->bytes >= LODE_COORD_PAGE_BYTES)) {
        *told = revision - !LODE_PLANTED(coord_watch_gap);
        return 0;
    }
    struct lode_coord_event *e = lode_coord_event_add(list);
    if (!e)
        return lode_err_nomem(err, "events");
    e->kind = (enum lode_coord_event_kind)sqlite3_column_int(s, 1);
    e->revision = revision;
    e->index = (uint32_t)(id & ((1u << LODE_SQ_LOG_SHIFT) - 1));
    e->kv = (struct lode_coord_kv){.created = (uint64_t)sqlite3_column_int64(s, 4),
                                   .modified = revision,
                                   .lease = (uint64_t)sqlite3_column_int64(s, 5)};
    bool put = e->kind == LODE_COORD_EVENT_PUT;
    const void *value = put ? sqlite3_column_blob(s, 3) : NULL;
    size_t len = put ? (size_t)sqlite3_column_bytes(s, 3) : 0;
    list->bytes += key_len + len;
    int r = lode_coord_kv_set(&e->kv, key, key_len, put && !value ? "" : value, len, err);
    return r < 0 ? r : 1;
}

static int read_log(const struct sq_watch *w, struct lode_sq_conn *c,
                    struct lode_coord_event_list *list, uint64_t *told, struct lode_err *err)
{
    sqlite3_stmt *s = lode_sq_stmt(c, SQ_LOG_READ, err);
    if (!s || sqlite3_bind_int64(s, 1, (sqlite3_int64)(w->next << LODE_SQ_LOG_SHIFT)))
        return lode_sqlite_err(err, c->db, "cannot read the root's log");
    int r;
    do {
        r = lode_sq_step(s, err);
        if (r == 1)
            r = take_change(w, s, list, told, err);
    } while (r == 1);
    sqlite3_reset(s);
    return r;
}

static int compacted_err(uint64_t from, uint64_t compacted, struct lode_err *err)
{
    return lode_err_set(
        err, LODE_COMPACTED,
        "changes from revision %llu on are no longer kept (%llu is the oldest): list again",
        (unsigned long long)from, (unsigned long long)(compacted + 1));
}

/* Everything from w->next to the newest revision, or a page of it; *told is how far it goes. */
static int gather(const struct sq_watch *w, struct lode_sq_conn *c,
                  struct lode_coord_event_list *list, uint64_t *told, struct lode_err *err)
{
    uint64_t compacted;
    int r = lode_sq_run(c, SQ_BEGIN, err);
    if (r < 0)
        return r;
    r = lode_sq_state(c, told, &compacted, err);
    if (r == 0 && w->next <= compacted && !LODE_PLANTED(coord_compaction_silent))
        r = compacted_err(w->next, compacted, err);
    if (r == 0 && w->next <= *told)
        r = read_log(w, c, list, told, err);
    int ended = lode_sq_run(c, SQ_COMMIT, r < 0 ? NULL : err);
    return r < 0 ? r : ended;
}

static int read_events(struct sq_watch *w, struct lode_coord_events *out, struct lode_err *err)
{
    struct lode_coord_event_list list = {0};
    struct lode_sq_conn *c;
    uint64_t told;
    int r = lode_sq_reader_take(w->coord, &c, err);
    if (r < 0)
        return r;
    r = gather(w, c, &list, &told, err);
    lode_sq_reader_give(w->coord, c, r == 0 || r == LODE_COMPACTED);
    if (r < 0) {
        lode_coord_event_list_release(&list);
        return r;
    }
    w->next = lode_max(w->next, told + 1);
    *out = lode_coord_event_list_take(&list, told);
    return 0;
}

/* ---- the watch ---- */

static void count_watch(struct lode_sq *self, int by)
{
    pthread_mutex_lock(&self->watch_lock);
    self->n_watches = (unsigned)((int)self->n_watches + by);
    pthread_mutex_unlock(&self->watch_lock);
}

static int check_start(struct lode_sq *self, uint64_t from, struct lode_err *err)
{
    struct lode_sq_conn *c;
    uint64_t revision, compacted;
    int r = lode_sq_reader_take(self, &c, err);
    if (r < 0)
        return r;
    r = lode_sq_state(c, &revision, &compacted, err);
    lode_sq_reader_give(self, c, r == 0);
    if (r == 0)
        lode_sq_publish(self, revision);
    return r == 0 && from <= compacted ? compacted_err(from, compacted, err) : r;
}

int lode_sq_watch(struct lode_coord *coord, const char *prefix, uint64_t from,
                  struct lode_coord_watch **out, struct lode_err *err)
{
    struct lode_sq *self = lode_sq_of(coord);
    from = lode_max(from, (uint64_t)1);
    int r = check_start(self, from, err);
    if (r < 0)
        return r;
    struct sq_watch *w = lode_zalloc(sizeof *w);
    char *copy = lode_strdup(prefix);
    if (!w || !copy) {
        lode_free(w);
        lode_free(copy);
        return lode_err_nomem(err, "a watch");
    }
    *w = (struct sq_watch){.ops = self->base.ops, .coord = self, .prefix = copy, .next = from};
    count_watch(self, 1);
    r = lode_sq_poller_start(self, err);
    if (r < 0)
        lode_sq_watch_close((struct lode_coord_watch *)(void *)w);
    else
        *out = (struct lode_coord_watch *)(void *)w;
    return r;
}

/* Sleeps until there may be something to read. 1: read, 0: the time is up, negative: woken. */
static int wait_for_news(struct sq_watch *w, int64_t until, struct lode_err *err)
{
    struct lode_sq *self = w->coord;
    int r = 0;
    pthread_mutex_lock(&self->watch_lock);
    while (!w->woken && self->seen < w->next) {
        int64_t left = until < 0 ? -1 : until - lode_mono_ms();
        if (until >= 0 && left <= 0)
            break;
        lode_coord_cond_wait(&self->changed, &self->watch_lock, left);
    }
    if (w->woken)
        r = lode_err_set(err, LODE_CANCELLED, "the watch was woken");
    else if (self->seen >= w->next)
        r = 1;
    pthread_mutex_unlock(&self->watch_lock);
    return r;
}

int lode_sq_watch_next(struct lode_coord_watch *watch, int64_t timeout_ms,
                       struct lode_coord_events *out, struct lode_err *err)
{
    struct sq_watch *w = (struct sq_watch *)(void *)watch;
    int64_t until = timeout_ms < 0 ? -1 : lode_mono_ms() + timeout_ms;
    struct lode_coord_events found = {0};
    int r;
    do {
        r = wait_for_news(w, until, err);
        if (r == 1) {
            r = read_events(w, &found, err);
            r = r < 0 ? r : found.n == 0;
        } else if (r == 0) {
            break;
        }
    } while (r == 1);
    if (r < 0)
        return r;
    found.revision = w->next - 1;
    *out = found;
    return 0;
}

void lode_sq_watch_wake(struct lode_coord_watch *watch)
{
    struct sq_watch *w = (struct sq_watch *)(void *)watch;
    pthread_mutex_lock(&w->coord->watch_lock);
    w->woken = true;
    pthread_cond_broadcast(&w->coord->changed);
    pthread_mutex_unlock(&w->coord->watch_lock);
}

void lode_sq_watch_close(struct lode_coord_watch *watch)
{
    struct sq_watch *w = (struct sq_watch *)(void *)watch;
    count_watch(w->coord, -1);
    lode_free(w->prefix);
    lode_free(w);
}
