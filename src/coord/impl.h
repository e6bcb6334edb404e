/* What the back ends of this room share: copying keys, growing answers, reading options, waiting.
 */
#pragma once
#include <pthread.h>
#include <lode/coord_ops.h>
#include "base/attr.h"
#include "base/err.h"

/* The value of an option, or NULL. */
const char *lode_coord_option(const struct lode_coord_config *config, const char *name);

/* A positive number as an option; `fallback` when absent. INVALID when it is none. */
int lode_coord_option_u64(const struct lode_coord_config *config, const char *name,
                          uint64_t fallback, uint64_t *out, struct lode_err *err) lode_must_use;

/* Fills key and value with owned copies; NO_MEMORY leaves kv empty. `value` may be NULL (no value
 * at all). */
int lode_coord_kv_set(struct lode_coord_kv *kv, const char *key, size_t key_len, const void *value,
                      size_t len, struct lode_err *err) lode_must_use;

/* A whole copy, numbers included. */
int lode_coord_kv_copy(struct lode_coord_kv *to, const struct lode_coord_kv *from,
                       struct lode_err *err) lode_must_use;

/* Events that grow one by one. */
struct lode_coord_event_list {
    struct lode_coord_event *items;
    size_t n, cap;
    size_t bytes; /* of keys and values, about */
};

/* A place for one more event, zeroed, counted in; NULL without memory. */
struct lode_coord_event *lode_coord_event_add(struct lode_coord_event_list *list);
void lode_coord_event_list_release(struct lode_coord_event_list *list);

/* Gives the events out as an answer; the list is left empty. */
struct lode_coord_events lode_coord_event_list_take(struct lode_coord_event_list *list,
                                                    uint64_t revision);

/* ---- waiting: condition variables on the monotonic clock ---- */

int lode_coord_cond_init(pthread_cond_t *cond, struct lode_err *err) lode_must_use;

/* Waits up to `ms` (< 0: for ever) with `lock` held; may wake early. */
void lode_coord_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ms);
