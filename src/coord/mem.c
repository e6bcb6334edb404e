/* The coord in memory: "mem:name" is one map for all handles of this process that name it, gone
 * with the last of them; "mem:" is the handle's own. For tests and for throw-away roots: nothing is
 * durable.
 *
 * The list of named maps is process-wide state by its nature; `names_lock` guards it and the counts
 * of users.
 */
#include <string.h>
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/plant.h"
#include "coord/backends.h"
#include "coord/mem_map.h"

struct named {
    struct lode_mem_map map;
    char *name;     /* owned; "" for a private one, which is not in the list */
    unsigned users; /* handles */
    struct named *next;
};

static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static struct named *names;

struct mem {
    struct lode_coord_base base;
    struct named *named;
    bool read_only;
};

struct mem_watch {
    const struct lode_coord_ops *ops;
    struct lode_mem_map *map;
    char *prefix;  /* owned */
    uint64_t next; /* revision to tell next; used by the one thread in next() */
    bool woken;    /* under the map's lock */
};

static struct lode_mem_map *map_of(struct lode_coord *self)
{
    return &((struct mem *)(void *)self)->named->map;
}

/* Locks the map and ends what is over, so that no caller sees a lease that ended. Unlocked again on
 * failure. */
static int enter(struct lode_mem_map *map, struct lode_err *err)
{
    pthread_mutex_lock(&map->lock);
    int r = lode_mem_map_expire(map, err);
    if (r < 0)
        pthread_mutex_unlock(&map->lock);
    return r;
}

static int leave(struct lode_mem_map *map, int r)
{
    pthread_mutex_unlock(&map->lock);
    return r;
}

/* ---- opening ---- */

static void named_free(struct named *n)
{
    lode_mem_map_release(&n->map);
    lode_free(n->name);
    lode_free(n);
}

static int named_new(const char *name, struct named **out, struct lode_err *err)
{
    struct named *n = lode_zalloc(sizeof *n);
    char *copy = lode_strdup(name);
    if (!n || !copy || lode_mem_map_init(&n->map, err) < 0) {
        lode_free(copy);
        lode_free(n);
        return lode_err_nomem(err, "a coord in memory");
    }
    n->name = copy;
    n->users = 1;
    *out = n;
    return 0;
}

/* names_lock is held. */
static int take_named(const struct lode_coord_config *config, const char *name, struct named **out,
                      struct lode_err *err)
{
    for (struct named *n = names; *name && n; n = n->next) {
        if (strcmp(n->name, name) == 0) {
            n->users++;
            *out = n;
            return 0;
        }
    }
    if (!config->create)
        return lode_err_set(err, LODE_NOT_FOUND, "there is no coord %s in this process",
                            lode_q(config->url));
    struct named *fresh = NULL;
    int r = named_new(name, &fresh, err);
    if (r < 0)
        return r;
    if (*name) {
        fresh->next = names;
        names = fresh;
    }
    *out = fresh;
    return 0;
}

static void drop_named(struct named *n)
{
    pthread_mutex_lock(&names_lock);
    bool last = --n->users == 0;
    for (struct named **at = &names; last && *at; at = &(*at)->next) {
        if (*at == n) {
            *at = n->next;
            break;
        }
    }
    pthread_mutex_unlock(&names_lock);
    if (last)
        named_free(n);
}

static int mem_open(const struct lode_coord_config *config, struct lode_coord **out,
                    struct lode_err *err)
{
    uint64_t keep;
    int r = lode_coord_option_u64(config, "log_keep", LODE_COORD_LOG_KEEP, &keep, err);
    if (r < 0)
        return r;
    struct mem *self = lode_zalloc(sizeof *self);
    char *url = lode_strdup(config->url);
    if (!self || !url) {
        lode_free(self);
        lode_free(url);
        return lode_err_nomem(err, "a coord in memory");
    }
    self->base = (struct lode_coord_base){.ops = &lode_coord_mem_ops, .url = url};
    self->read_only = config->read_only;
    pthread_mutex_lock(&names_lock);
    r = take_named(config, strchr(config->url, ':') + 1, &self->named, err);
    pthread_mutex_unlock(&names_lock);
    if (r < 0) {
        lode_free(url);
        lode_free(self);
        return r;
    }
    pthread_mutex_lock(&self->named->map.lock);
    self->named->map.log_keep = keep;
    pthread_mutex_unlock(&self->named->map.lock);
    *out = (struct lode_coord *)(void *)self;
    return 0;
}

static void mem_close(struct lode_coord *coord)
{
    struct mem *self = (struct mem *)(void *)coord;
    drop_named(self->named);
    lode_free(self->base.url);
    lode_free(self);
}

/* ---- reading ---- */

static int mem_revision(struct lode_coord *self, uint64_t *out, struct lode_err *err)
{
    struct lode_mem_map *map = map_of(self);
    int r = enter(map, err);
    if (r < 0)
        return r;
    *out = map->revision;
    return leave(map, 0);
}

static int mem_get(struct lode_coord *self, const char *key, struct lode_coord_kv *out,
                   struct lode_err *err)
{
    struct lode_mem_map *map = map_of(self);
    int r = enter(map, err);
    if (r < 0)
        return r;
    const struct lode_coord_kv *kv = lode_mem_map_find(map, key);
    if (!kv)
        return leave(map, lode_err_set(err, LODE_NOT_FOUND, "there is no key %s", lode_q(key)));
    return leave(map, lode_coord_kv_copy(out, kv, err));
}

static bool starts_with(const char *key, const char *prefix)
{
    return strncmp(key, prefix, strlen(prefix)) == 0;
}

static int collect(const struct lode_mem_map *map, const char *prefix, const char *after,
                   size_t limit, struct lode_coord_kvs *out, struct lode_err *err)
{
    bool skip = after && strcmp(after, prefix) > 0;
    size_t at = lode_mem_map_seek(map, skip ? after : prefix), bytes = 0;
    if (after && at < map->n && strcmp(map->entries[at]->key, after) == 0)
        at++;
    out->items = lode_calloc(limit, sizeof *out->items);
    if (!out->items)
        return lode_err_nomem(err, "a range of keys");
    for (; at < map->n && starts_with(map->entries[at]->key, prefix); at++) {
        if (out->n == limit || bytes > LODE_COORD_PAGE_BYTES) {
            out->more = true;
            break;
        }
        int r = lode_coord_kv_copy(&out->items[out->n], map->entries[at], err);
        if (r < 0)
            return r;
        bytes += strlen(map->entries[at]->key) + out->items[out->n++].len;
    }
    out->revision = map->revision;
    return 0;
}

static int mem_range(struct lode_coord *self, const char *prefix, const char *after, size_t limit,
                     struct lode_coord_kvs *out, struct lode_err *err)
{
    struct lode_mem_map *map = map_of(self);
    struct lode_coord_kvs found = {0};
    int r = enter(map, err);
    if (r < 0)
        return r;
    r = leave(map, collect(map, prefix, after, limit, &found, err));
    if (r < 0)
        lode_coord_kvs_release(&found);
    else
        *out = found;
    return r;
}

/* ---- writing ---- */

static bool compares_hold(const struct lode_mem_map *map, const struct lode_coord_txn *txn)
{
    for (size_t i = 0; i < txn->n_compares; i++) {
        const struct lode_coord_kv *kv = lode_mem_map_find(map, txn->compares[i].key);
        if ((kv ? kv->modified : 0) != txn->compares[i].modified)
            return LODE_PLANTED(coord_mem_no_compare);
    }
    return true;
}

static int read_else(const struct lode_mem_map *map, const struct lode_coord_txn *txn,
                     struct lode_coord_txn_result *out, struct lode_err *err)
{
    if (!txn->n_else_gets)
        return 0;
    out->gets = lode_calloc(txn->n_else_gets, sizeof *out->gets);
    if (!out->gets)
        return lode_err_nomem(err, "the answer of a transaction");
    for (; out->n_gets < txn->n_else_gets; out->n_gets++) {
        const struct lode_coord_kv *kv = lode_mem_map_find(map, txn->else_gets[out->n_gets]);
        int r = kv ? lode_coord_kv_copy(&out->gets[out->n_gets], kv, err) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int txn_locked(struct lode_mem_map *map, const struct lode_coord_txn *txn,
                      struct lode_coord_txn_result *out, struct lode_err *err)
{
    out->succeeded = compares_hold(map, txn);
    int r = out->succeeded ? lode_mem_map_apply(map, txn->ops, txn->n_ops, err)
                           : read_else(map, txn, out, err);
    out->revision = map->revision;
    return r;
}

static int refuse_read_only(struct lode_coord *self, struct lode_err *err)
{
    return ((struct mem *)(void *)self)->read_only
               ? lode_err_set(err, LODE_READ_ONLY, "%s was opened read-only",
                              ((struct lode_coord_base *)(void *)self)->url)
               : 0;
}

static int mem_txn(struct lode_coord *self, const struct lode_coord_txn *txn,
                   struct lode_coord_txn_result *out, struct lode_err *err)
{
    struct lode_mem_map *map = map_of(self);
    struct lode_coord_txn_result result = {0};
    int r = refuse_read_only(self, err);
    if (r == 0)
        r = enter(map, err);
    if (r < 0)
        return r;
    r = leave(map, txn_locked(map, txn, &result, err));
    if (r < 0)
        lode_coord_txn_result_release(&result);
    else
        *out = result;
    return r;
}

/* ---- watching ---- */

static int compacted(const struct lode_mem_map *map, uint64_t from, struct lode_err *err)
{
    return lode_err_set(
        err, LODE_COMPACTED,
        "changes from revision %llu on are no longer kept (%llu is the oldest): list again",
        (unsigned long long)from, (unsigned long long)(map->compacted + 1));
}

static int mem_watch(struct lode_coord *self, const char *prefix, uint64_t from,
                     struct lode_coord_watch **out, struct lode_err *err)
{
    struct lode_mem_map *map = map_of(self);
    struct mem_watch *w = lode_zalloc(sizeof *w);
    char *copy = lode_strdup(prefix);
    int r = w && copy ? enter(map, err) : lode_err_nomem(err, "a watch");
    if (r == 0)
        r = leave(map,
                  lode_max(from, (uint64_t)1) <= map->compacted ? compacted(map, from, err) : 0);
    if (r < 0) {
        lode_free(copy);
        lode_free(w);
        return r;
    }
    *w = (struct mem_watch){.ops = &lode_coord_mem_ops,
                            .map = map,
                            .prefix = copy,
                            .next = lode_max(from, (uint64_t)1)};
    *out = (struct lode_coord_watch *)(void *)w;
    return 0;
}

/* The first change of revision >= `from`. */
static size_t history_seek(const struct lode_mem_map *map, uint64_t from)
{
    size_t lo = 0, hi = map->n_history;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (map->history[mid].revision < from)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Copies whole transactions until about a page is full; *told is how far they go. */
static int gather(const struct mem_watch *w, struct lode_coord_event_list *list, uint64_t *told,
                  struct lode_err *err)
{
    const struct lode_mem_map *map = w->map;
    *told = map->revision;
    for (size_t i = history_seek(map, w->next); i < map->n_history; i++) {
        const struct lode_coord_event *e = &map->history[i];
        if (!starts_with(e->kv.key, w->prefix))
            continue;
        bool starts = list->n == 0 || list->items[list->n - 1].revision != e->revision;
        if (starts && (list->n >= LODE_COORD_PAGE_MAX || list->bytes >= LODE_COORD_PAGE_BYTES)) {
            *told = e->revision - 1;
            break;
        }
        struct lode_coord_event *copy = lode_coord_event_add(list);
        if (!copy)
            return lode_err_nomem(err, "events");
        *copy = (struct lode_coord_event){e->kind, e->revision, e->index, {0}};
        int r = lode_coord_kv_copy(&copy->kv, &e->kv, err);
        if (r < 0)
            return r;
        list->bytes += strlen(e->kv.key) + e->kv.len;
    }
    return 0;
}

/* One look, with the lock held: 1 when there is something to tell. */
static int look(struct mem_watch *w, struct lode_coord_events *out, struct lode_err *err)
{
    struct lode_coord_event_list list = {0};
    uint64_t told;
    if (w->woken)
        return lode_err_set(err, LODE_CANCELLED, "the watch was woken");
    if (w->next <= w->map->compacted)
        return compacted(w->map, w->next, err);
    int r = w->next <= w->map->revision ? gather(w, &list, &told, err) : 0;
    if (r < 0 || w->next > w->map->revision) {
        lode_coord_event_list_release(&list);
        return r;
    }
    w->next = told + 1;
    *out = lode_coord_event_list_take(&list, told); /* without events it owns nothing */
    return out->n > 0;
}

/* How long to sleep: until the caller's time is up or the next lease ends, which is an event too.
 */
static int64_t nap_ms(const struct lode_mem_map *map, int64_t until)
{
    int64_t left = until < 0 ? -1 : lode_max(until - lode_mono_ms(), (int64_t)0);
    int64_t lease = lode_mem_map_next_end_ms(map);
    if (lease < 0)
        return left;
    lease = lode_min(lease + 1, (int64_t)100); /* clocks of tests jump: look again soon */
    return left < 0 ? lease : lode_min(left, lease);
}

static int mem_watch_next(struct lode_coord_watch *watch, int64_t timeout_ms,
                          struct lode_coord_events *out, struct lode_err *err)
{
    struct mem_watch *w = (struct mem_watch *)(void *)watch;
    struct lode_mem_map *map = w->map;
    struct lode_coord_events found = {0};
    int64_t until = timeout_ms < 0 ? -1 : lode_mono_ms() + timeout_ms;
    int r;
    pthread_mutex_lock(&map->lock);
    for (;;) {
        r = lode_mem_map_expire(map, err);
        if (r == 0)
            r = look(w, &found, err);
        if (r != 0 || (until >= 0 && lode_mono_ms() >= until))
            break;
        lode_coord_cond_wait(&map->changed, &map->lock, nap_ms(map, until));
    }
    pthread_mutex_unlock(&map->lock);
    if (r < 0)
        return r;
    found.revision = w->next - 1;
    *out = found;
    return 0;
}

static void mem_watch_wake(struct lode_coord_watch *watch)
{
    struct mem_watch *w = (struct mem_watch *)(void *)watch;
    pthread_mutex_lock(&w->map->lock);
    w->woken = true;
    pthread_cond_broadcast(&w->map->changed);
    pthread_mutex_unlock(&w->map->lock);
}

static void mem_watch_close(struct lode_coord_watch *watch)
{
    struct mem_watch *w = (struct mem_watch *)(void *)watch;
    lode_free(w->prefix);
    lode_free(w);
}

/* ---- leases ---- */

static int grant_locked(struct lode_mem_map *map, int64_t ttl_ms, uint64_t *lease,
                        struct lode_err *err)
{
    if (lode_grow((void **)&map->leases, &map->cap_leases, map->n_leases + 1, sizeof *map->leases) <
        0)
        return lode_err_nomem(err, "a lease");
    *lease = ++map->last_lease;
    map->leases[map->n_leases++] = (struct lode_mem_lease){*lease, ttl_ms, lode_boot_ms() + ttl_ms};
    pthread_cond_broadcast(&map->changed); /* who sleeps must look at the new end */
    return 0;
}

static int mem_lease_grant(struct lode_coord *self, int64_t ttl_ms, uint64_t *lease,
                           struct lode_err *err)
{
    int r = refuse_read_only(self, err);
    if (r == 0)
        r = enter(map_of(self), err);
    return r < 0 ? r : leave(map_of(self), grant_locked(map_of(self), ttl_ms, lease, err));
}

static int mem_lease_keep(struct lode_coord *self, uint64_t id, struct lode_err *err)
{
    struct lode_mem_map *map = map_of(self);
    int r = refuse_read_only(self, err);
    if (r == 0)
        r = enter(map, err);
    if (r < 0)
        return r;
    struct lode_mem_lease *lease = lode_mem_map_lease(map, id);
    if (!lease)
        return leave(
            map, lode_err_set(err, LODE_LOST_LEASE, "lease %llu ended", (unsigned long long)id));
    lease->deadline_ms = lode_boot_ms() + lease->ttl_ms;
    return leave(map, 0);
}

static int mem_lease_revoke(struct lode_coord *self, uint64_t id, struct lode_err *err)
{
    int r = refuse_read_only(self, err);
    if (r == 0)
        r = enter(map_of(self), err);
    return r < 0 ? r : leave(map_of(self), lode_mem_map_end_lease(map_of(self), id, err));
}

static int mem_compact(struct lode_coord *self, struct lode_err *err)
{
    int r = enter(map_of(self), err);
    if (r < 0)
        return r;
    lode_mem_map_trim(map_of(self), map_of(self)->log_keep);
    return leave(map_of(self), 0);
}

const struct lode_coord_ops lode_coord_mem_ops = {
    .abi = LODE_COORD_ABI,
    .scheme = "mem",
    .open = mem_open,
    .close = mem_close,
    .revision = mem_revision,
    .get = mem_get,
    .range = mem_range,
    .txn = mem_txn,
    .watch = mem_watch,
    .watch_next = mem_watch_next,
    .watch_wake = mem_watch_wake,
    .watch_close = mem_watch_close,
    .lease_grant = mem_lease_grant,
    .lease_keep = mem_lease_keep,
    .lease_revoke = mem_lease_revoke,
    .compact = mem_compact,
};
