/* The map behind mem: see coord/mem_map.h. */
#include "coord/mem_map.h"
#include <string.h>
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/plant.h"

int lode_mem_map_init(struct lode_mem_map *map, struct lode_err *err)
{
    *map = (struct lode_mem_map){.log_keep = LODE_COORD_LOG_KEEP};
    int r = lode_coord_cond_init(&map->changed, err);
    if (r == 0)
        pthread_mutex_init(&map->lock, NULL);
    return r;
}

static void free_entry(struct lode_coord_kv *kv)
{
    if (kv)
        lode_coord_kv_release(kv);
    lode_free(kv);
}

void lode_mem_map_release(struct lode_mem_map *map)
{
    for (size_t i = 0; i < map->n; i++)
        free_entry(map->entries[i]);
    for (size_t i = 0; i < map->n_history; i++)
        lode_coord_kv_release(&map->history[i].kv);
    lode_free(map->entries);
    lode_free(map->history);
    lode_free(map->leases);
    pthread_cond_destroy(&map->changed);
    pthread_mutex_destroy(&map->lock);
}

size_t lode_mem_map_seek(const struct lode_mem_map *map, const char *key)
{
    size_t lo = 0, hi = map->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(map->entries[mid]->key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct lode_coord_kv *lode_mem_map_find(const struct lode_mem_map *map, const char *key)
{
    size_t at = lode_mem_map_seek(map, key);
    return at < map->n && strcmp(map->entries[at]->key, key) == 0 ? map->entries[at] : NULL;
}

struct lode_mem_lease *lode_mem_map_lease(struct lode_mem_map *map, uint64_t id)
{
    for (size_t i = 0; i < map->n_leases; i++) {
        if (map->leases[i].id == id)
            return &map->leases[i];
    }
    return NULL;
}

/* ---- a transaction: prepared whole, then applied without a step that can fail ---- */

struct prepared {
    struct lode_coord_kv **fresh; /* for each operation: the entry to be, NULL for a delete */
    struct lode_coord_event_list events;
    size_t n;
};

static void prepared_release(struct prepared *p)
{
    for (size_t i = 0; p->fresh && i < p->n; i++)
        free_entry(p->fresh[i]);
    lode_free(p->fresh);
    lode_coord_event_list_release(&p->events);
}

static int prepare_put(struct prepared *p, const struct lode_mem_map *map, size_t at,
                       const struct lode_coord_op *op, struct lode_err *err)
{
    const struct lode_coord_kv *old = lode_mem_map_find(map, op->key);
    struct lode_coord_kv *kv = p->fresh[at] = lode_zalloc(sizeof *kv);
    struct lode_coord_event *e = lode_coord_event_add(&p->events);
    if (!kv || !e)
        return lode_err_nomem(err, "a transaction");
    kv->modified = map->revision + 1;
    kv->created = old ? old->created : kv->modified;
    kv->lease = op->lease;
    int r = lode_coord_kv_set(kv, op->key, strlen(op->key), op->len ? op->value : "", op->len, err);
    if (r < 0)
        return r;
    *e = (struct lode_coord_event){
        LODE_COORD_EVENT_PUT, kv->modified, (uint32_t)(p->events.n - 1), {0}};
    return lode_coord_kv_copy(&e->kv, kv, err);
}

static int prepare_delete(struct prepared *p, const struct lode_mem_map *map,
                          const struct lode_coord_op *op, struct lode_err *err)
{
    const struct lode_coord_kv *old = lode_mem_map_find(map, op->key);
    if (!old)
        return 0;
    struct lode_coord_event *e = lode_coord_event_add(&p->events);
    if (!e)
        return lode_err_nomem(err, "a transaction");
    *e = (struct lode_coord_event){
        LODE_COORD_EVENT_DELETE, map->revision + 1, (uint32_t)(p->events.n - 1), {0}};
    e->kv.created = old->created;
    e->kv.modified = e->revision;
    return lode_coord_kv_set(&e->kv, op->key, strlen(op->key), NULL, 0, err);
}

static int check_leases(struct lode_mem_map *map, const struct lode_coord_op *ops, size_t n,
                        struct lode_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (ops[i].kind == LODE_COORD_PUT && ops[i].lease && !lode_mem_map_lease(map, ops[i].lease))
            return lode_err_set(err, LODE_LOST_LEASE, "lease %llu ended: %s was not written",
                                (unsigned long long)ops[i].lease, ops[i].key);
    }
    return 0;
}

static int prepare(struct prepared *p, struct lode_mem_map *map, const struct lode_coord_op *ops,
                   struct lode_err *err)
{
    p->fresh = lode_calloc(p->n, sizeof *p->fresh);
    if (!p->fresh ||
        lode_grow((void **)&map->entries, &map->cap, map->n + p->n, sizeof *map->entries) < 0 ||
        lode_grow((void **)&map->history, &map->cap_history, map->n_history + p->n,
                  sizeof *map->history) < 0)
        return lode_err_nomem(err, "a transaction");
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n; i++)
        r = ops[i].kind == LODE_COORD_PUT ? prepare_put(p, map, i, &ops[i], err)
                                          : prepare_delete(p, map, &ops[i], err);
    return r;
}

static void place(struct lode_mem_map *map, const char *key, struct lode_coord_kv *fresh)
{
    size_t at = lode_mem_map_seek(map, key);
    bool there = at < map->n && strcmp(map->entries[at]->key, key) == 0;
    if (there)
        free_entry(map->entries[at]);
    if (there && !fresh) {
        memmove(&map->entries[at], &map->entries[at + 1], (map->n - at - 1) * sizeof *map->entries);
        map->n--;
    } else if (!there && fresh) {
        memmove(&map->entries[at + 1], &map->entries[at], (map->n - at) * sizeof *map->entries);
        map->n++;
    }
    if (fresh)
        map->entries[at] = fresh;
}

int lode_mem_map_apply(struct lode_mem_map *map, const struct lode_coord_op *ops, size_t n,
                       struct lode_err *err)
{
    struct prepared p = {.n = n};
    int r = check_leases(map, ops, n, err);
    if (r == 0 && n)
        r = prepare(&p, map, ops, err);
    if (r < 0 || p.events.n == 0) {
        prepared_release(&p);
        return r;
    }
    for (size_t i = 0; i < n; i++)
        place(map, ops[i].key, lode_steal(p.fresh[i]));
    memcpy(&map->history[map->n_history], p.events.items, p.events.n * sizeof *map->history);
    map->n_history += p.events.n;
    p.events.n = 0; /* the history owns them now */
    map->revision++;
    prepared_release(&p);
    if (map->revision - map->compacted > map->log_keep + map->log_keep / 4)
        lode_mem_map_trim(map, map->log_keep);
    pthread_cond_broadcast(&map->changed);
    return 0;
}

void lode_mem_map_trim(struct lode_mem_map *map, uint64_t keep)
{
    if (map->revision <= keep)
        return;
    uint64_t until = map->revision - keep;
    size_t drop = 0;
    for (; drop < map->n_history && map->history[drop].revision <= until; drop++)
        lode_coord_kv_release(&map->history[drop].kv);
    memmove(map->history, map->history + drop, (map->n_history - drop) * sizeof *map->history);
    map->n_history -= drop;
    map->compacted = lode_max(map->compacted, until);
}

/* ---- leases ---- */

/* The keys stay valid while their entries do: apply reads each before it frees it. */
static int delete_bound(struct lode_mem_map *map, uint64_t id, struct lode_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < map->n; i++)
        n += map->entries[i]->lease == id;
    if (!n)
        return 0;
    _cleanup_free_ struct lode_coord_op *ops = lode_calloc(n, sizeof *ops);
    if (!ops)
        return lode_err_nomem(err, "the end of a lease");
    n = 0;
    for (size_t i = 0; i < map->n; i++) {
        if (map->entries[i]->lease == id)
            ops[n++] =
                (struct lode_coord_op){.kind = LODE_COORD_DELETE, .key = map->entries[i]->key};
    }
    return lode_mem_map_apply(map, ops, n, err);
}

int lode_mem_map_end_lease(struct lode_mem_map *map, uint64_t id, struct lode_err *err)
{
    struct lode_mem_lease *lease = lode_mem_map_lease(map, id);
    if (!lease)
        return 0;
    int r = delete_bound(map, id, err);
    if (r == 0)
        *lease = map->leases[--map->n_leases];
    return r;
}

int lode_mem_map_expire(struct lode_mem_map *map, struct lode_err *err)
{
    int64_t now = map->n_leases ? lode_boot_ms() : 0;
    int r = 0;
    for (size_t i = map->n_leases; r == 0 && i-- > 0;) {
        if (map->leases[i].deadline_ms <= now && !LODE_PLANTED(coord_mem_lease_never_ends))
            r = lode_mem_map_end_lease(map, map->leases[i].id, err);
    }
    return r;
}

int64_t lode_mem_map_next_end_ms(const struct lode_mem_map *map)
{
    int64_t next = -1, now = lode_boot_ms();
    for (size_t i = 0; i < map->n_leases; i++) {
        int64_t left = lode_max(map->leases[i].deadline_ms - now, (int64_t)0);
        next = next < 0 ? left : lode_min(next, left);
    }
    return next;
}
