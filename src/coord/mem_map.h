/* The map behind mem: keys, their history and leases in memory, shared by all handles of one name
 * in this process.
 *
 * Invariants (all under `lock`)
 *  1. `entries` is sorted by key, bytewise; no key twice.
 *  2. `history` holds every change with a revision in (compacted, revision], in order.
 *  3. A change is made whole: all memory it needs is had before the first step that others can see.
 */
#pragma once
#include <pthread.h>
#include "coord/impl.h"

struct lode_mem_lease {
    uint64_t id;
    int64_t ttl_ms;
    int64_t deadline_ms; /* CLOCK_BOOTTIME */
};

struct lode_mem_map {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct lode_coord_kv **entries;
    size_t n, cap;
    struct lode_coord_event *history;
    size_t n_history, cap_history;
    uint64_t revision, compacted, log_keep;
    struct lode_mem_lease *leases;
    size_t n_leases, cap_leases;
    uint64_t last_lease;
};

int lode_mem_map_init(struct lode_mem_map *map, struct lode_err *err) lode_must_use;
void lode_mem_map_release(struct lode_mem_map *map);

/* Everything below is called with `lock` held. */

/* The first entry whose key is >= `key`. */
size_t lode_mem_map_seek(const struct lode_mem_map *map, const char *key);
struct lode_coord_kv *lode_mem_map_find(const struct lode_mem_map *map, const char *key);
struct lode_mem_lease *lode_mem_map_lease(struct lode_mem_map *map, uint64_t id);

/* Does the operations as one transaction of a new revision, unless they change nothing. LOST_LEASE,
 * NO_MEMORY. */
int lode_mem_map_apply(struct lode_mem_map *map, const struct lode_coord_op *ops, size_t n,
                       struct lode_err *err) lode_must_use;

/* Ends one lease now: its keys go by a transaction of their own. */
int lode_mem_map_end_lease(struct lode_mem_map *map, uint64_t id,
                           struct lode_err *err) lode_must_use;

/* Ends the leases whose time is over; every call on the map begins with it. */
int lode_mem_map_expire(struct lode_mem_map *map, struct lode_err *err) lode_must_use;

/* Milliseconds until the next lease ends; -1 when there is none. */
int64_t lode_mem_map_next_end_ms(const struct lode_mem_map *map);

/* Drops history beyond `keep` revisions. */
void lode_mem_map_trim(struct lode_mem_map *map, uint64_t keep);
